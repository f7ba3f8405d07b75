"""Quart's side of a request: where its nursery is found, who may cancel it, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from quart import Response
from quart.wrappers.response import ResponseBody

from relay_trio.outcome import DisconnectReason
from relay_trio.web.asgi import StreamAborted, client_request
from relay_trio.web.quart_app import bare_app
from tests.support.memory_harness import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from quart_trio import QuartTrio
    from trio.testing import MockClock

    from relay_trio.server.client_request import ClientRequest

    Handler = Callable[[ClientRequest], Awaitable[Response]]


def app_of(handler: Handler) -> QuartTrio:
    app = bare_app()

    @app.route("/", methods=["GET", "POST"])
    async def view() -> Response:
        response = await handler(client_request())
        response.timeout = None
        return response

    return app


def asking(app: QuartTrio, *body_parts: bytes, **changes: Any) -> Client:
    return Client(app, list(body_parts) or [b""], path="/", **changes)


class Pieces(ResponseBody):
    """A body that is iterated in the handler's task, as the relay's is."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def __aenter__(self) -> Pieces:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pieces.aclose()  # type: ignore[attr-defined]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


# --- the disconnect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", DisconnectReason)
async def test_a_disconnect_before_the_answer_cancels_everything_in_the_request(
    autojump_clock: MockClock, reason: DisconnectReason
) -> None:
    ends: list[str] = []

    async def task(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(name)

    async def handler(request: ClientRequest) -> Response:
        assert request.nursery is not None
        request.nursery.start_soon(task, "pump")
        await task("handler")
        raise AssertionError

    async with trio.open_nursery() as nursery:
        client = asking(app_of(handler))
        nursery.start_soon(client.run)
        await trio.sleep(3)
        client.stream.lose(reason)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(ends) == ["handler", "pump"]
    assert client.sent == []


async def test_a_disconnect_in_the_middle_of_the_body_cancels_it_and_is_noted(autojump_clock: MockClock) -> None:
    requests: list[ClientRequest] = []

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await trio.sleep(1)

    async def handler(request: ClientRequest) -> Response:
        requests.append(request)
        return Response(Pieces(pieces()))

    async with trio.open_nursery() as nursery:
        client = asking(app_of(handler))
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        assert requests[0].disconnected_at is None
        left_at = trio.current_time()
        client.leave()
    assert (requests[0].disconnected_at, requests[0].disconnect_reason) == (left_at, DisconnectReason.LEFT)
    assert not client.is_finished


async def test_a_disconnect_in_the_last_send_lets_the_send_come_to_its_end(autojump_clock: MockClock) -> None:
    """Were the request cancelled then, the connection would be neither recycled nor closed."""
    is_sent_to_its_end: list[bool] = []

    async def handler(request: ClientRequest) -> Response:
        return Response(b"whole")

    client = asking(app_of(handler))
    send_body = client.stream._send_body

    async def slow(body: bytes, is_last: bool) -> None:
        await send_body(body, is_last)
        if is_last:
            client.leave()
            await trio.sleep(1)
            is_sent_to_its_end.append(True)

    client.stream._send_body = slow  # type: ignore[method-assign]
    await client.run()
    assert (client.is_finished, client.body) == (True, b"whole")
    assert is_sent_to_its_end == [True]


# --- a body that must not look finished ---------------------------------------------------------------------------


async def test_an_aborted_stream_ends_without_its_final_message_and_is_no_crash(autojump_clock: MockClock) -> None:
    ends: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise StreamAborted

    async def pump() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append("pump")

    async def handler(request: ClientRequest) -> Response:
        assert request.nursery is not None
        request.nursery.start_soon(pump)
        return Response(Pieces(pieces()))

    client = asking(app_of(handler))
    await client.run()
    assert (client.status, client.body, client.is_finished) == (200, b"half", False)
    assert ends == ["pump"]


async def test_a_body_that_crashes_does_not_end_finished_either(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    async def handler(request: ClientRequest) -> Response:
        return Response(Pieces(pieces()))

    client = asking(app_of(handler))
    with pytest.RaisesGroup(ZeroDivisionError, allow_unwrapped=True, flatten_subgroups=True):
        await client.run()
    assert not client.is_finished


# --- the request's body -------------------------------------------------------------------------------------------


async def test_the_handler_reads_the_body_from_the_request_and_quart_takes_none_of_it(
    autojump_clock: MockClock,
) -> None:
    """Quart would take it all before the handler has decided whether it wants any."""

    async def handler(request: ClientRequest) -> Response:
        await trio.sleep(1)
        assert request.stream.body_bytes == 3
        return Response(await request.receive_body_some() + await request.receive_body_some())

    client = asking(app_of(handler), b"a", b"bc", method="POST")
    await client.run()
    assert (client.status, client.body) == (200, b"abc")
