"""Bytes out are bytes in, however they were cut, and the ledger has what they say."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.support.accounts import account
from tests.support.cases import case
from tests.support.cuts import cuts
from tests.support.raw_client import RawClient, message, open_raw, request
from tests.support.scripted_upstream import ScriptedUpstream, open_scripted, sized, stream
from tests.support.socket_harness import open_harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.socket_harness import Row, SocketHarness


async def relayed(
    harness: SocketHarness, client: RawClient, upstream: ScriptedUpstream, data: bytes
) -> tuple[bytes, Row]:
    """The body of a good answer, and its row. Cancelled here: destroys."""
    answer = await client.ask(data)
    assert answer.status == 200, answer.body
    assert answer.is_whole
    return answer.body, await harness.row(answer.request_id)


async def test_a_multibyte_character_is_cut_everywhere_and_arrives_whole(folder: Path) -> None:
    """Two pieces, cut at each byte of an event with four-byte characters."""
    events = _stream(
        b'event: content_block_delta\ndata: {"type":"content_block_delta","t":"\xf0\x9f\x8c\x8d\xc3\xa9"}\n\n'
    )
    start = events.index(b"\xf0")
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            for at in range(start - 2, start + 8):
                upstream.play = stream([events[:at], events[at:]])
                body, row = await relayed(harness, client, upstream, request(message()))
                assert body == events
                assert (row["usage_source"], row["total_tokens"]) == ("exact", 12)


ODDITIES: dict[str, bytes] = {
    "unknown event": b'event: from_the_future\ndata: {"type":"from_the_future","x":[1,{"y":null}]}\n\n',
    "unknown delta": b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"new"}}\n\n',
    "comments": b": keep-alive\n\n:\n\n: \xff\n\n",
    "crlf": b"event: ping\r\ndata: {}\r\n\r\n",
    "cr": b"event: ping\rdata: {}\r\r",
    "bom": b"\xef\xbb\xbfevent: ping\ndata: {}\n\n",
    "invalid utf-8": b'event: ping\ndata: {"\xff\xfe\x80": "\xc3"}\n\n',
    "no colon": b"this line has no colon\n\n",
    "empty data": b"data\n\ndata:\n\ndata:\ndata:\n\n",
    "unknown fields": b"id: 7\nretry: 10\nwhat: ever\n\n",
    "bad json": b"event: content_block_delta\ndata: {not json\n\n",
    "nul": b"event: ping\x00\ndata: \x00\x01\x02\n\n",
    "blank lines": b"\n\n\n\r\n\r\n\n",
    "several data lines": b'data: {"type":\ndata: "ping"}\n\n',
    "padding": b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0 }       \n\n',
    "long line": b"data: " + b"l" * 300_000 + b"\n\n",
    "words of the end inside text": b'data: {"type":"content_block_delta","t":"event: message_stop \\"error\\""}\n\n',
}


def _stream(middle: bytes) -> bytes:
    usage = b'"usage":{"input_tokens":5,"output_tokens":1}'
    return (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1",'
        + usage
        + b"}}\n\n"
        + middle
        + b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
        b'"usage":{"output_tokens":7}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


async def test_what_no_parser_expects_passes_unchanged_and_spoils_nothing(folder: Path) -> None:
    """The meter skips what it does not know; the bytes go through, whole and cut into pieces of 97."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            for name, middle in ODDITIES.items():
                events = _stream(middle)
                for pieces in ([events], [events[at : at + 97] for at in range(0, len(events), 97)][:1000]):
                    with case(name):
                        whole = b"".join(pieces)
                        upstream.play = stream([*pieces, events[len(whole) :]])
                        body, row = await relayed(harness, client, upstream, request(message()))
                        assert body == events
                        assert (row["outcome"], row["usage_source"]) == ("completed", "exact")
                        assert (row["input_tokens"], row["output_tokens"]) == (5, 7)


async def test_a_stream_with_crlf_throughout_is_metered_and_unchanged(folder: Path) -> None:
    """The WHATWG rules: line ends may be CR LF."""
    events = _stream(b"event: ping\ndata: {}\n\n").replace(b"\n", b"\r\n")
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            for pieces in (cut for cut in cuts(events, drawn=5) if len(cut) < len(events)):
                upstream.play = stream(pieces)
                body, row = await relayed(harness, client, upstream, request(message()))
                assert body == events
                assert (row["usage_source"], row["total_tokens"]) == ("exact", 12)


async def test_a_line_of_five_megabytes_passes_and_the_events_around_it_are_counted(folder: Path) -> None:
    """It is forwarded as it comes, and is no reason to lose count."""
    line = b"data: " + b"x" * 5_000_000 + b"\n\n"
    events = _stream(line)
    pieces = [events[at : at + 65_536] for at in range(0, len(events), 65_536)]
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            upstream.play = stream(pieces)
            body, row = await relayed(harness, client, upstream, request(message()))
            assert body == events
            assert (row["outcome"], row["usage_source"], row["total_tokens"]) == ("completed", "exact", 12)


async def test_a_message_without_a_usage_that_can_be_read_passes_unchanged(folder: Path) -> None:
    """A whole answer is the upstream's too, as long as it is JSON."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            for content in (
                b'{"usage": "none"}',
                b'{"usage":{"input_tokens":-1}}',
            ):
                upstream.play = sized([content], headers=[("content-type", "application/json")])
                body, row = await relayed(harness, client, upstream, request(message(stream=False)))
                assert body == content
                assert (row["outcome"], row["usage_source"]) == ("completed", "none")


async def test_compression_reaches_only_the_client_that_asked(folder: Path) -> None:
    """gzip is passed on when it was asked for; unasked, it is an upstream's fault and nothing the client can read."""
    squeezed = gzip.compress(b'{"usage":{"input_tokens":3,"output_tokens":4}}')
    headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            upstream.play = sized([squeezed], headers=headers)
            data = request(message(stream=False), headers=("accept-encoding: gzip",))
            body, row = await relayed(harness, client, upstream, data)
            assert body == squeezed
            assert (row["usage_source"], row["total_tokens"]) == ("exact", 7)
            assert b"\r\naccept-encoding: gzip\r\n" in upstream.requests[-1][0]

            answer = await client.ask(request(message(stream=False)))
            assert (answer.status, answer.error["type"]) == (502, "api_error")
            assert b"\r\naccept-encoding: identity\r\n" in upstream.requests[-1][0]


async def test_the_request_goes_up_by_allow_list_and_byte_for_byte(folder: Path) -> None:
    """The client's credential, cookies and hop-by-hop fields stay here; body, path and query do not change."""
    headers = (
        "anthropic-beta: one-2025-01-01,two", "cookie: session=1", "x-forwarded-for: 10.0.0.1", "forwarded: for=1",
        "x-amz-date: 1", "x-goog-api-key: 1", "x-stainless-timeout: NOT_GIVEN", "te: trailers",
        "proxy-authorization: x",
        "authorization: Bearer something-else", "user-agent: a client",
    )  # fmt: skip
    body = b'  {"model" : "claude-sim",\t"messages":[{"content":"\xc3\xa9\\u00e9 / \\/"}] ,"max_tokens":1e1}\r\n'
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as client:
            await client.ask(request(body, target="/v1/messages?beta=true&x=%2F%20+&y", headers=headers))
        head, sent = upstream.requests[-1]
    lines = head.split(b"\r\n")
    names = {line.partition(b":")[0] for line in lines[1:] if line}
    assert lines[0] == b"POST /v1/messages?beta=true&x=%2F%20+&y HTTP/1.1"
    assert sent == body
    assert names == {
        b"host", b"content-type", b"content-length", b"anthropic-version", b"anthropic-beta", b"accept-encoding",
        b"user-agent", b"x-api-key",
    }  # fmt: skip
    assert b"anthropic-beta: one-2025-01-01,two" in lines
    assert b"x-api-key: sk-canary-account-one" in lines


async def test_two_kept_connections_never_mix_answers(folder: Path) -> None:
    """Answers of different lengths, one after another, over one client connection and pooled upstream ones."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as first, open_raw(harness.port) as second:
            for number in range(20):
                client, middle = (first, second)[number % 2], b": %d\n\n" % number * (number * 7)
                upstream.play = stream([_stream(middle)])
                body, _ = await relayed(harness, client, upstream, request(message()))
                assert body == _stream(middle)
        assert len(await harness.rows()) == 20
