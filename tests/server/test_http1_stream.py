"""What goes onto the wire for what the application sends."""

from __future__ import annotations

import pytest
import trio

from relay_trio.server.context import REQUEST_KEY
from tests.server.serving import open_server
from tests.server.test_http1 import get


async def test_head_and_first_chunk_leave_together_and_the_head_alone_when_asked() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            async with await served.connect() as client:
                await client.send(get(b"hold"))
                await client.more()
                assert client.buffer.endswith(b"\r\n\r\n6\r\nfirst;\r\n")
            async with await served.connect() as client:
                await client.send(get(b"headonly"))
                await client.more()
                assert client.buffer.endswith(b"transfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("path", [b"midway", b"midwayreturn", b"abort", b"short", b"long"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_response_that_fails_midway_is_never_whole(path: bytes, tls: bool) -> None:
    """The relay's own errors are not reported; a defect of the application is."""
    with trio.fail_after(5):
        async with open_server(tls=tls, may_report=True) as served, await served.connect() as client:
            await client.send(get(path))
            received = await client.rest()
            assert not received.endswith(b"0\r\n\r\n")
            assert b"never seen" not in received
            if b"content-length" not in received:
                assert received.endswith(b"half\r\n")
            await served.app.until(lambda: served.app.running == 0)
            assert bool(served.errors) is (path in (b"short", b"long"))


async def test_an_http_1_0_response_that_fails_is_reset() -> None:
    """Its end is the end of the connection: a FIN would make it whole."""
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(b"GET /midway HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await client.until_broken()


async def test_an_application_that_fails_before_it_answers_gives_500() -> None:
    with trio.fail_after(5):
        async with open_server(may_report=True) as served:
            for path in (b"fail", b"failgroup", b"split", b"nosuch"):
                async with await served.connect() as client:
                    status, fields, body = await client.exchange(get(path))
                    assert (status, fields[b"connection"]) == (500, b"close")
                    assert b"x-injected" not in fields
                    assert b"defect" not in body
            assert len(served.errors) == 4


async def test_a_head_response_and_the_bodiless_statuses_have_no_body() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.head())[1][b"content-length"] == b"5"
            for status in (204, 304):
                await client.send(get(b"status/%d" % status))
                assert (await client.head())[0] == status
            await client.send(b"HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.head())[0] == 200
            assert client.buffer == b""
            assert (await client.exchange(get()))[::2] == (200, b"hello")


async def test_a_large_body_is_sent_in_bounded_pieces() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            for _ in range(2):
                assert (await client.exchange(get(b"big")))[2] == b"y" * 1_000_000


async def test_a_last_send_that_was_cancelled_while_it_waited_still_ends_the_response() -> None:
    """Quart cancels its request as soon as the last send is done, and may do so a step earlier."""

    async def app(scope: dict, receive: object, send: object) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        for _ in range(100):
            with trio.move_on_after(0.05) as scope_:
                await send({"type": "http.response.body", "body": b"x" * 60_000, "more_body": True})  # type: ignore[operator]
            if scope_.cancelled_caught:
                break
        with trio.move_on_after(0.05):
            await send({"type": "http.response.body", "body": b"y" * 10_000})  # type: ignore[operator]

    with trio.fail_after(5):
        async with open_server(app) as served, await served.connect(rcvbuf=4096) as client:
            await client.send(get())
            await trio.sleep(0.3)
            body = (await client.response())[2]
            assert body.endswith(b"y" * 10_000)
            assert (await client.exchange(get(b"", b"Connection: close\r\n")))[0] == 200


# --- sending from another task ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
async def test_the_middle_of_a_body_can_be_sent_at_once(tls: bool) -> None:
    """Not before the head has left, not after the end, not in pieces larger than a send."""
    with trio.fail_after(5):
        async with open_server(tls=tls) as served, await served.connect() as client:
            for _ in range(2):
                assert (await client.exchange(get(b"direct")))[2] == b"first;middle;last"
            assert served.app.returned == [None, None, 0, None, None, None] * 2


async def test_what_is_sent_at_once_counts_for_the_declared_length() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            for _ in range(2):
                assert (await client.exchange(get(b"direct/sized")))[2] == b"first;middle;la"
            assert served.app.returned == [None, None, 0, None, None, None, None] * 2


@pytest.mark.parametrize("tls", [False, True])
async def test_what_the_socket_does_not_take_is_told_and_the_next_send_waits_for_it(tls: bool) -> None:
    with trio.fail_after(10):
        async with open_server(tls=tls) as served, await served.connect() as client:
            await client.send(get(b"directflood"))
            await served.app.until(lambda: len(served.app.returned) == 2)
            await trio.sleep(0.05)
            unsent, behind = served.app.returned
            assert unsent is not None
            assert 0 < unsent <= 60_000
            assert behind is None
            assert len((await client.response())[2]) == served.app.sent + 1
            assert served.app.returned[2] == 0


async def test_nothing_is_sent_to_a_client_that_left() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(get(b"streamwait"))
            await client.until(b"first")
            client.sock.close()
            await served.app.until(lambda: bool(served.app.losses))
            assert served.app.scopes[0][REQUEST_KEY].stream.send_nowait(b"x") is None
