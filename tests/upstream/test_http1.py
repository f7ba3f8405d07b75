"""One exchange on one connection, as seen through ``UpstreamClient.open`` over real sockets."""

from __future__ import annotations

import pytest
import trio

from relay_trio.errors import UpstreamClosed, UpstreamProtocolError
from tests.support.upstream_scripts import OK, ScriptedConnection, answering, body_of, ignore_phase, staying, talking

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BIG = b"x" * 32_000_000


async def test_head_and_body_leave_in_one_piece_with_nothing_added() -> None:
    """The upstream reads exactly the given headers, host and content-length, in its first read."""
    first_reads = []

    async def script(connection: ScriptedConnection) -> None:
        first_reads.append(await connection.stream.receive_some())
        await connection.send(OK)

    async with talking(script) as (upstream, client):
        request = upstream.request(target=b"/a%2Fb/../c?q=%zz&r=1", headers=[(b"x-One", b"1"), (b"accept", b"a/b")])
        assert await body_of(client, request) == b"hello"
        port = b"%d" % upstream.port
    assert first_reads == [
        b"POST /a%2Fb/../c?q=%zz&r=1 HTTP/1.1\r\nhost: 127.0.0.1:" + port + b"\r\nx-One: 1\r\naccept: a/b\r\n"
        b"content-length: 2\r\n\r\n{}"
    ]


async def test_the_head_comes_with_lower_case_names_and_untouched_values() -> None:
    """Order and repetition are kept; white space around values is not part of them."""
    head = b"HTTP/1.1 201 Made\r\nX-A:  b c \t\r\nset-cookie: 1\r\nSet-Cookie: 2\r\nContent-Length: 0\r\n\r\n"
    async with talking(staying(head)) as (upstream, client), client.open(upstream.request(), ignore_phase) as response:
        assert response.head.status == 201
        assert response.head.headers == [
            (b"x-a", b"b c"),
            (b"set-cookie", b"1"),
            (b"set-cookie", b"2"),
            (b"content-length", b"0"),
        ]
        assert await response.receive_some() == b""
        assert await response.receive_some() == b""


async def test_each_read_is_handed_on_as_one_item_and_at_once() -> None:
    """Several chunks of one read come together; a part of a chunk is not held back for its rest."""
    async with talking(staying(CHUNKED, b"2\r\nab\r\n3\r\ncde\r\n", b"5\r\nfg", b"hij\r\n", b"0\r\n\r\n")) as (
        up,
        client,
    ):
        async with client.open(up.request(), ignore_phase) as response:
            items = [await response.receive_some() for _ in range(4)]
        assert items == [b"abcde", b"fg", b"hij", b""]
        assert client.statistics().idle_connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"9\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n",
    ],
    ids=["short length", "no last chunk", "inside a chunk", "inside the last chunk", "inside the trailer"],
)
@pytest.mark.parametrize("end", [ScriptedConnection.close, ScriptedConnection.reset], ids=["FIN", "RST"])
async def test_a_cut_body_never_ends_cleanly(answer: bytes, end: object) -> None:
    """Only the framing says that a body is whole: otherwise the end is UpstreamClosed, after all bytes that came."""
    async with talking(answering(answer, then=end)) as (upstream, client):  # type: ignore[arg-type]
        async with client.open(upstream.request(), ignore_phase) as response:
            assert await response.receive_some() == b"hello"
            with pytest.raises(UpstreamClosed):
                await response.receive_some()
        assert client.statistics().open_connections == 0


async def test_a_body_without_framing_ends_with_the_connection() -> None:
    """Neither length nor chunks: FIN is its end, and the connection is gone."""
    async with talking(answering(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")) as (upstream, client):
        assert await body_of(client, upstream.request()) == b"hello"
        assert client.statistics().open_connections == 0


async def test_a_body_without_framing_that_is_reset_is_cut() -> None:
    """A reset is never an end."""
    async with talking(answering(b"HTTP/1.1 200 OK\r\n\r\nhel", then=ScriptedConnection.reset)) as (upstream, client):
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request())


@pytest.mark.parametrize("end", [ScriptedConnection.close, ScriptedConnection.reset], ids=["FIN", "RST"])
async def test_a_fresh_connection_that_dies_before_its_answer_is_not_tried_again(end: object) -> None:
    """Once a fresh connection took the request, the upstream may have begun to work on it."""
    async with talking(answering(then=end)) as (upstream, client):  # type: ignore[arg-type]
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request())
        assert upstream.accepted == 1


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not\r\ncontent-length: 99\r\n\r\n"),
    ],
)
async def test_answers_without_a_body_end_with_their_head(method: str, head: bytes) -> None:
    """Whatever length they announce; the connection is used again."""
    async with talking(staying(head, times=2)) as (upstream, client):
        for _ in range(2):
            assert await body_of(client, upstream.request(method=method, body=b"")) == b""
        assert upstream.accepted == 1


async def test_interim_answers_are_skipped() -> None:
    """100 and 103 come before the answer, not instead of it, and leave no header behind."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with (
        talking(staying(interim, interim + OK)) as (up, client),
        client.open(up.request(), ignore_phase) as answer,
    ):
        assert answer.head.headers == [(b"content-length", b"5")]
        assert await answer.receive_some() == b"hello"


async def test_endless_interim_answers_are_refused() -> None:
    """A per-read timeout would never end them."""
    async with talking(staying(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 40)) as (upstream, client):
        with pytest.raises(UpstreamProtocolError, match="32 interim"):
            await body_of(client, upstream.request())


async def test_bytes_after_the_answer_end_the_connection() -> None:
    """A second answer that nobody asked for must not become the answer to the next request."""
    async with talking(staying(OK + OK), staying(OK)) as (upstream, client):
        assert await body_of(client, upstream.request()) == b"hello"
        assert client.statistics().open_connections == 0
        assert await body_of(client, upstream.request()) == b"hello"
        assert upstream.accepted == 2


async def test_an_upstream_that_closes_after_the_answer_is_not_asked_again() -> None:
    """``connection: close`` and HTTP/1.0 are believed."""
    for head in (b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"):
        async with talking(staying(head + b"content-length: 2\r\n\r\nhi")) as (upstream, client):
            assert await body_of(client, upstream.request()) == b"hi"
            assert client.statistics().open_connections == 0


async def test_an_early_error_ends_the_sending_of_a_large_body() -> None:
    """413 and no more reading: both sides waiting for the other would be for ever."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await trio.sleep_forever()

    async with talking(script) as (upstream, client):
        async with client.open(upstream.request(body=BIG), ignore_phase) as response:
            assert response.head.status == 413
            assert await response.receive_some() == b"big"
            assert await response.receive_some() == b""
        assert client.statistics().open_connections == 0


async def test_an_early_error_followed_by_a_reset_is_still_read() -> None:
    """Sending fails first; what the upstream said before that explains why."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n")
        connection.close()  # with unread data: RST

    async with talking(script) as (upstream, client), client.open(upstream.request(body=BIG), ignore_phase) as response:
        assert response.head.status == 429


async def test_an_early_success_does_not_end_the_sending() -> None:
    """An upstream may begin its answer before it has read everything; it gets everything."""
    received = 0

    async def script(connection: ScriptedConnection) -> None:
        nonlocal received
        await connection.read_head()
        await connection.send(CHUNKED + b"5\r\nearly\r\n")
        await trio.sleep(0.02)
        while received < len(BIG) - 200_000:
            received += len(await connection.stream.receive_some(1_000_000))
        await connection.send(b"4\r\nlate\r\n0\r\n\r\n")
        await connection.wait_closed()

    async with talking(script) as (upstream, client):
        assert await body_of(client, upstream.request(body=BIG)) == b"earlylate"


async def test_a_large_body_arrives_whole_and_the_connection_is_kept() -> None:
    """32 MB, byte for byte, then a small request on the same connection."""

    async def script(connection: ScriptedConnection) -> None:
        assert (await connection.read_request()).endswith(b"\r\n\r\n" + BIG)
        await connection.send(OK)
        await answering(OK)(connection)

    async with talking(script) as (upstream, client):
        assert await body_of(client, upstream.request(body=BIG)) == b"hello"
        assert await body_of(client, upstream.request()) == b"hello"
        assert upstream.accepted == 1


async def test_a_dead_upstream_ends_the_sending_of_a_large_body() -> None:
    """A reset without a word is UpstreamClosed, not a hang."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_head()
        connection.reset()

    async with talking(script) as (upstream, client):
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request(body=BIG))


async def test_an_upstream_that_only_stops_talking_ends_the_sending_of_a_large_body() -> None:
    """Its FIN is enough: there will be no answer, and it does not read either."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_head()
        await connection.transport.send_eof()
        await trio.sleep_forever()

    async with talking(script) as (upstream, client):
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request(body=BIG))


async def test_leaving_in_the_middle_of_the_body_closes_at_once() -> None:
    """The upstream notices although nobody waited for anything."""
    noticed = trio.Event()

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED + b"5\r\nhello\r\n")
        await connection.wait_closed()
        noticed.set()

    async with talking(script) as (upstream, client):
        async with client.open(upstream.request(), ignore_phase) as response:
            assert await response.receive_some() == b"hello"
        assert client.statistics().open_connections == 0
        with trio.fail_after(1):
            await noticed.wait()


async def test_an_answer_cannot_be_read_after_its_exchange() -> None:
    """Its connection may carry somebody else's answer by then."""
    async with talking(staying(OK)) as (upstream, client):
        async with client.open(upstream.request(), ignore_phase) as response:
            pass
        with pytest.raises(trio.ClosedResourceError):
            await response.receive_some()


async def test_a_cancelled_read_loses_no_byte() -> None:
    """Safe to retry: the next call gets what came meanwhile."""
    script = staying(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")
    async with talking(script) as (upstream, client), client.open(upstream.request(), ignore_phase) as response:
        with trio.move_on_after(0.001) as scope:
            await response.receive_some()
        assert scope.cancelled_caught
        assert await response.receive_some() == b"hello"
        assert await response.receive_some() == b""


async def test_a_cancelled_read_keeps_what_came_with_the_head() -> None:
    """Safe to retry here too."""
    async with talking(staying(OK)) as (upstream, client), client.open(upstream.request(), ignore_phase) as response:
        with trio.CancelScope() as scope:
            scope.cancel()
            await response.receive_some()
        assert scope.cancelled_caught
        assert await response.receive_some() == b"hello"
        assert await response.receive_some() == b""
