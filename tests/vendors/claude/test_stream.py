"""Claude's answers metered: every recording at any cut, and what no recording holds."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import (
    UpstreamError,
    UpstreamErrorEvent,
    UpstreamRateLimited,
)
from relay_trio.http import ResponseHead
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.vendors.claude.provider import Claude
from relay_trio.vendors.claude.stream import ClaudeFold, new_message_reader
from tests.support.cuts import cuts
from tests.support.vendor_calls import new_reader

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.api.answer_reader import AnswerReader

CLAUDE = Claude()
SSE = ResponseHead(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
JSON = ResponseHead(200, [(b"content-type", b"application/json")])


def incoming(
    *headers: tuple[bytes, bytes], query: bytes = b"", path: bytes = b"/v1/messages", operation: str = "claude.messages"
) -> CheckedRequest:
    return CheckedRequest(operation, "POST", path, query, list(headers), b"{}", "m", True)


def exact(expected: dict[str, int] | None) -> UsageStats | None:
    if expected is None:
        return None
    stats = UsageStats(
        expected["input"],
        expected["output"],
        expected["cache_creation"],
        expected["cache_read"],
        UsageSource.EXACT,
    )
    assert stats.total_tokens == expected["total"]
    return stats


def metered(reader: AnswerReader, pieces: list[bytes]) -> UsageStats:
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def test_every_stream_of_other_test_suites_gives_its_usage(corpus: Path) -> None:
    expected = json.loads((corpus / "expected_usage.json").read_text())["fixtures"]
    names = [name for name in expected if name.startswith(("anthropic-sdk-fixtures/", "vercel-ai-fixtures/anthropic"))]
    assert len(names) >= 5
    for name in names:
        body = (corpus / name).read_bytes()
        if name.endswith(".chunks.txt"):
            body = b"".join(b"data: " + line + b"\n\n" for line in body.splitlines() if line.strip())
        if name.endswith(".json"):
            continue
        for pieces in cuts(body, drawn=3):
            usage = metered(SseReader(ClaudeFold()), pieces)
            want = exact(expected[name]["usage"])
            assert want is not None
            assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (
                want.input_tokens,
                want.output_tokens,
                want.total_tokens,
            ), name


def event(data: dict[str, object]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


START = event({"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}})
DELTA = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
STOP = event({"type": "message_stop"})


def test_a_later_figure_overwrites_when_it_is_lower_and_not_when_it_is_zero() -> None:
    for figure, expected in ((4, 4), (0, 10)):
        usage = {"input_tokens": figure, "output_tokens": 7.0}
        late = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
        assert metered(SseReader(ClaudeFold()), [START, late]) == UsageStats(expected, 7, source=UsageSource.EXACT)


def test_a_null_figure_overwrites_nothing() -> None:
    late = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": None}})
    assert metered(SseReader(ClaudeFold()), [START, late]).input_tokens == 10


def test_a_stream_cut_before_its_final_usage_is_partial() -> None:
    reader = SseReader(ClaudeFold())
    assert metered(reader, [START, DELTA[:-20]]) == UsageStats(10, 1, source=UsageSource.PARTIAL)
    assert not reader.is_complete
    assert reader.position.is_mid_event


def test_a_stream_with_its_final_usage_is_exact_before_its_last_event() -> None:
    reader = SseReader(ClaudeFold())
    assert metered(reader, [START, DELTA]) == UsageStats(10, 7, source=UsageSource.EXACT)
    assert not reader.is_complete
    reader.feed(STOP)
    assert reader.is_complete


def test_a_stream_cut_before_its_first_event_has_no_usage() -> None:
    assert metered(SseReader(ClaudeFold()), [START[:30]]) == NO_USAGE


@pytest.mark.parametrize("figure", [-1, 1e300, "12", True, 2**60, [], {}])
def test_a_figure_that_is_no_count_makes_usage_unknown(figure: object) -> None:
    bad = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": figure}})
    assert metered(SseReader(ClaudeFold()), [START, bad, STOP]) == NO_USAGE


def test_a_number_of_five_thousand_digits_breaks_nothing() -> None:
    bad = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":' + b"9" * 5000 + b"}}\n\n"
    assert metered(SseReader(ClaudeFold()), [START, bad, STOP]).source is UsageSource.PARTIAL


def test_text_that_talks_about_usage_is_not_usage() -> None:
    spoken = {"type": "content_block_delta", "delta": {"text": '"message_delta" {"usage": {"output_tokens": 99}}'}}
    assert metered(SseReader(ClaudeFold()), [START, event(spoken), DELTA, STOP]).output_tokens == 7


def in_pieces(wire: bytes) -> list[bytes]:
    return [wire[at : at + 65_536] for at in range(0, len(wire), 65_536)]


@pytest.mark.parametrize("spaces", ["", " "])
def test_a_tool_input_of_many_megabytes_changes_nothing(spaces: str) -> None:
    """Held or not: where the type is written with a space it is."""
    delta = {
        "type": "content_block_delta",
        "delta": {"type": "input_json_delta", "partial_json": "a word " * 2_000_000},
    }
    large = b"data: " + json.dumps(delta, separators=(",", ":" + spaces)).encode() + b"\n\n"
    reader = SseReader(ClaudeFold())
    assert metered(reader, [START, *in_pieces(large), DELTA, STOP]) == UsageStats(10, 7, source=UsageSource.EXACT)
    assert reader.is_complete


def test_a_large_event_with_usage_is_read() -> None:
    """Whatever a gateway may put into it."""
    final = {"type": "message_delta", "echo": "QUJD" * 5_000_000, "delta": {"stop_reason": "end_turn"}}
    reader = SseReader(ClaudeFold())
    usage = metered(reader, [START, *in_pieces(event(final | {"usage": {"output_tokens": 9}})), STOP])
    assert usage == UsageStats(10, 9, source=UsageSource.EXACT)


@pytest.mark.e2e
def test_an_event_too_large_to_look_at_makes_usage_unknown_and_the_end_is_still_seen() -> None:
    reader = SseReader(ClaudeFold())
    huge = b"data: " + b"some words " * 3_200_000 + b"\n\n"
    assert metered(reader, [START, *in_pieces(huge), DELTA, STOP]) == NO_USAGE
    assert reader.is_complete


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", UpstreamRateLimited),
        ("rate_limit_error", UpstreamRateLimited),
        ("api_error", UpstreamErrorEvent),
        (["overloaded_error"], UpstreamErrorEvent),
    ],
)
def test_an_error_inside_the_stream_is_known_by_its_type(kind: object, error: type[UpstreamError]) -> None:
    reader = SseReader(ClaudeFold())
    metered(reader, [START, event({"type": "error", "error": {"type": kind, "message": "secret prompt"}})])
    assert type(reader.error) is error
    assert "secret" not in str(reader.error)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_make_a_reader_raise(garbage: bytes, at: int) -> None:
    stream = START + DELTA + STOP
    mixed = stream[:at] + garbage + stream[at:]
    for reader in (SseReader(ClaudeFold()), new_message_reader()):
        assert metered(reader, [mixed]).total_tokens >= 0


@pytest.mark.e2e
def test_a_gzip_bomb_is_looked_into_only_so_far() -> None:
    head = ResponseHead(200, [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")])
    reader = new_reader(CLAUDE, head, incoming((b"accept-encoding", b"gzip")))
    bomb = gzip.compress(bytes(65 * 1024 * 1024), 1)
    reader.feed(bomb)
    assert reader.finish() == NO_USAGE
