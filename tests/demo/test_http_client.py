"""The client against a server of a few lines: each way to leave is the one it says, and no end is taken for another."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.demo.http_client import Ended, HttpClient, open_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 429 Too Many Requests\r\nX-A: b\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
async def ends() -> AsyncIterator[tuple[HttpClient, trio.SocketStream]]:
    """A client and the server's end of its connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(10):
        async with listener:
            client = await open_client(listener.socket.getsockname())
            async with await listener.accept() as server:
                yield client, server
                client.close()


Ends = tuple[HttpClient, trio.SocketStream]


async def test_what_is_sent_arrives_as_it_is(ends: Ends) -> None:
    client, server = ends
    await client.send(b"POST / HTT")
    assert await server.receive_some() == b"POST / HTT"


async def test_answers_are_read_one_at_a_time(ends: Ends) -> None:
    client, server = ends
    await server.send_all(WHOLE + SIZED + WHOLE)
    for status, body in ((200, b"onetwo"), (429, b"{}"), (200, b"onetwo")):
        answer = await client.receive_answer()
        assert answer is not None
        assert (answer.status, answer.body, answer.is_whole, answer.ended) == (status, body, True, None)
        assert client.can_go_on
    assert answer.header(b"x-a") is None


async def test_a_head_has_the_only_value_of_a_name_and_interim_ones_are_passed_over(ends: Ends) -> None:
    client, server = ends
    await server.send_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + SIZED)
    answer = await client.receive_head()
    assert answer is not None
    assert (answer.status, answer.header(b"x-a"), answer.header(b"x-b")) == (429, b"b", None)
    assert not client.can_go_on


async def test_parts_come_as_the_server_framed_them_and_an_empty_one_is_the_end(ends: Ends) -> None:
    client, server = ends
    await server.send_all(WHOLE)
    answer = await client.receive_head()
    assert answer is not None
    assert [await client.receive_part(answer) for _ in range(3)] == [b"one", b"two", b""]
    assert (answer.is_whole, answer.tail(4)) == (True, b"etwo")


async def test_the_answer_to_head_has_no_body(ends: Ends) -> None:
    client, server = ends
    await server.send_all(SIZED.removesuffix(b"{}") + WHOLE)
    answer = await client.receive_answer("HEAD")
    assert answer is not None
    assert (answer.is_whole, answer.body) == (True, b"")
    answer = await client.receive_answer()
    assert answer is not None
    assert answer.status == 200


async def test_cancelled_reading_goes_on_later(ends: Ends) -> None:
    client, server = ends
    await server.send_all(HEAD + b"3\r\non")
    answer = await client.receive_head()
    assert answer is not None
    assert await client.receive_part(answer) == b"on"
    with trio.move_on_after(0.01) as limit:
        await client.receive_part(answer)
    assert limit.cancelled_caught
    await server.send_all(b"e\r\n0\r\n\r\n")
    assert [await client.receive_part(answer) for _ in range(2)] == [b"e", b""]
    assert (answer.body, answer.is_whole) == (b"one", True)


@pytest.mark.parametrize("sent", [HEAD + b"3\r\non", SIZED[:-1], HEAD])
async def test_an_answer_that_is_cut_is_not_whole(ends: Ends, sent: bytes) -> None:
    client, server = ends
    await server.send_all(sent)
    await server.send_eof()
    answer = await client.receive_answer()
    assert answer is not None
    assert (answer.is_whole, answer.ended, client.ended) == (False, Ended.EOF, Ended.EOF)
    assert not client.can_go_on


async def test_an_answer_that_ends_with_the_connection_never_says_that_it_is_whole(ends: Ends) -> None:
    client, server = ends
    await server.send_all(b"HTTP/1.1 200 OK\r\n\r\nbody")
    await server.send_eof()
    answer = await client.receive_answer()
    assert answer is not None
    assert (answer.body, answer.is_whole, answer.ended) == (b"body", False, Ended.EOF)


async def test_a_reset_is_told_from_an_end(ends: Ends) -> None:
    client, server = ends
    await server.send_all(HEAD)
    answer = await client.receive_head()
    assert answer is not None
    await client.send(b"never read, so that the close is a reset")
    await server.aclose()
    assert await client.receive_part(answer) == b""
    assert (answer.is_whole, answer.ended) == (False, Ended.RESET)
    assert await client.wait_closed() is Ended.RESET


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH\r\n\r\n", HEAD + b"zz\r\n", b"HTTP/1.1 200"])
async def test_what_is_not_http_is_junk(ends: Ends, sent: bytes) -> None:
    client, server = ends
    await server.send_all(sent)
    await server.send_eof()
    await client.receive_answer()
    assert client.ended is Ended.JUNK
    assert await client.receive_head() is None
    assert await client.wait_closed() is Ended.EOF


async def test_a_connection_that_ends_without_an_answer_has_none(ends: Ends) -> None:
    client, server = ends
    await server.send_eof()
    assert await client.receive_answer() is None
    assert client.ended is Ended.EOF


async def test_after_an_answer_that_is_the_connections_last_there_is_no_other(ends: Ends) -> None:
    client, server = ends
    await server.send_all(SIZED.replace(b"X-A: b", b"connection: close"))
    answer = await client.receive_answer()
    assert answer is not None
    assert answer.is_whole
    assert not client.can_go_on
    await server.send_eof()
    assert await client.receive_answer() is None


async def test_close_is_an_end_to_the_server(ends: Ends) -> None:
    client, server = ends
    client.close()
    assert await server.receive_some() == b""
    client.close()


async def test_reset_is_a_reset_to_the_server(ends: Ends) -> None:
    client, server = ends
    client.reset()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_a_half_close_ends_only_one_direction(ends: Ends) -> None:
    client, server = ends
    client.close_sending()
    assert await server.receive_some() == b""
    await server.send_all(WHOLE)
    answer = await client.receive_answer()
    assert answer is not None
    assert answer.is_whole
    assert not client.can_go_on


async def test_wait_closed_drops_what_comes_before_the_end(ends: Ends) -> None:
    client, server = ends
    await server.send_all(WHOLE)
    await server.send_eof()
    assert await client.wait_closed() is Ended.EOF


async def test_a_small_window_makes_the_server_wait_until_it_is_opened() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(20):
        async with listener:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client = await open_client(listener.socket.getsockname(), receive_buffer_bytes=1)
            async with await listener.accept() as server:
                with trio.move_on_after(0.1) as limit:
                    await server.send_all(b"x" * 1_000_000)
                assert limit.cancelled_caught
                client.open_window()
                await server.aclose()
                assert await client.wait_closed() in (Ended.EOF, Ended.RESET)
            client.close()


async def test_nobody_listening_is_an_os_error() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            await open_client(sock.getsockname())
