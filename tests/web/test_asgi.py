"""Where quart-trio's request nursery is handed over: who may cancel it, when, and what the body's bound is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from quart import Response
from quart.wrappers.response import ResponseBody

from relay_trio.errors import BodyTooLarge
from relay_trio.outcome import DisconnectReason
from relay_trio.web.app import bare_app
from relay_trio.web.asgi import IncomingBody, RequestLink, StreamAborted, http_scope, link_of
from tests.explorer import Run, Steps, explore
from tests.relay.house import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from quart_trio import QuartTrio
    from trio.testing import MockClock

    Handler = Callable[[RequestLink], Awaitable[Response]]


def app_of(handler: Handler, max_body_bytes: int = 1000) -> QuartTrio:
    app = bare_app(max_body_bytes)

    @app.route("/", methods=["GET", "POST"])
    async def view() -> Response:
        response = await handler(link_of(http_scope()))
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


async def test_a_disconnect_before_the_answer_cancels_everything_in_the_request(autojump_clock: MockClock) -> None:
    ends: list[str] = []

    async def task(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(name)

    async def handler(link: RequestLink) -> Response:
        assert link.nursery is not None
        link.nursery.start_soon(task, "pump")
        await task("handler")
        raise AssertionError

    async with trio.open_nursery() as nursery:
        client = asking(app_of(handler))
        nursery.start_soon(client.run)
        await trio.sleep(3)
        client.left.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(ends) == ["handler", "pump"]
    assert client.sent == []


async def test_a_disconnect_in_the_middle_of_the_body_cancels_it_and_is_noted(autojump_clock: MockClock) -> None:
    links: list[RequestLink] = []

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await trio.sleep(1)

    async def handler(link: RequestLink) -> Response:
        links.append(link)
        return Response(Pieces(pieces()))

    async with trio.open_nursery() as nursery:
        client = asking(app_of(handler))
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        assert links[0].presence.left_at is None
        left_at = trio.current_time()
        client.left.set()
    assert links[0].presence.left_at == left_at
    assert not links[0].presence.has_timed_out
    assert not client.is_finished


async def test_the_disconnect_that_echoes_the_last_send_is_none(autojump_clock: MockClock) -> None:
    """Servers report the end of the exchange as a disconnect, inside the send that ends it. Were the request cancelled
    then, the send would not come to its end and the connection be neither recycled nor closed."""
    links: list[RequestLink] = []
    is_sent_to_its_end: list[bool] = []

    async def handler(link: RequestLink) -> Response:
        links.append(link)
        return Response(b"whole")

    client = asking(app_of(handler))
    send = client._send

    async def watched(message: dict[str, Any]) -> None:
        await send(message)
        if not message.get("more_body", True):
            await trio.sleep(1)
            is_sent_to_its_end.append(True)

    client._send = watched  # type: ignore[method-assign]
    await client.run()
    assert (client.is_finished, client.body) == (True, b"whole")
    assert is_sent_to_its_end == [True]
    assert links[0].presence.left_at is None


async def test_what_the_connection_knows_of_the_loss_is_taken_over(autojump_clock: MockClock) -> None:
    """Since when the client is gone, and that it was cut because it stopped reading."""

    class Lost:
        disconnected_at: float | None = -5.0
        disconnect_reason: DisconnectReason | None = DisconnectReason.STALLED

        def ask_for_body(self) -> None:
            raise AssertionError

    link = RequestLink([], Lost())
    link.note_loss()
    assert (link.presence.left_at, link.presence.has_timed_out) == (-5.0, True)


@pytest.mark.parametrize(
    ("loss", "timed_out"), [*((reason, reason.is_timeout) for reason in DisconnectReason), (None, False)]
)
async def test_only_a_client_that_was_cut_for_its_slowness_timed_out(
    autojump_clock: MockClock, loss: DisconnectReason | None, timed_out: bool
) -> None:
    class Connection:
        disconnected_at: float | None = None

        def __init__(self) -> None:
            self.disconnect_reason = loss

        def ask_for_body(self) -> None:
            pass

    link = RequestLink([], Connection())
    link.note_loss()
    assert (link.presence.left_at, link.presence.has_timed_out) == (trio.current_time(), timed_out)


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

    async def handler(link: RequestLink) -> Response:
        assert link.nursery is not None
        link.nursery.start_soon(pump)
        return Response(Pieces(pieces()))

    client = asking(app_of(handler))
    await client.run()
    assert (client.status, client.body, client.is_finished) == (200, b"half", False)
    assert ends == ["pump"]


async def test_a_body_that_crashes_does_not_end_finished_either(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    async def handler(link: RequestLink) -> Response:
        return Response(Pieces(pieces()))

    client = asking(app_of(handler))
    with pytest.RaisesGroup(ZeroDivisionError, allow_unwrapped=True, flatten_subgroups=True):
        await client.run()
    assert not client.is_finished


# --- the request's body -------------------------------------------------------------------------------------------


async def test_what_arrives_is_read_in_order_and_then_its_end(autojump_clock: MockClock) -> None:
    body = incoming(100)
    body.append(b"a", is_last=False)
    body.append(b"b", is_last=False)
    assert await body.receive_some() == b"ab"
    async with trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def read() -> None:
            received.append(await body.receive_some())

        nursery.start_soon(read)
        await trio.sleep(1)
        assert not received
        body.append(b"c", is_last=True)
    assert received == [b"c"]
    assert await body.receive_some() == b""
    assert await body.receive_some() == b""


async def test_an_empty_part_is_not_the_end(autojump_clock: MockClock) -> None:
    body = incoming(100)
    body.append(b"", is_last=False)
    with trio.move_on_after(1) as scope:
        await body.receive_some()
    assert scope.cancelled_caught


async def test_more_than_the_bound_is_refused_and_nothing_of_it_is_kept() -> None:
    body = incoming(10)
    body.append(b"x" * 10, is_last=False)
    body.append(b"y", is_last=False)
    for _ in range(1000):
        body.append(b"z" * 1000, is_last=False)
    assert body._parts == []
    for _ in range(2):
        with pytest.raises(BodyTooLarge, match="10 bytes"):
            await body.receive_some()


async def test_the_bound_is_on_what_waits_and_not_on_what_was_read() -> None:
    """The whole is bounded by the reader, who knows it."""
    body = incoming(10)
    for _ in range(3):
        body.append(b"x" * 10, is_last=False)
        assert await body.receive_some() == b"x" * 10


async def test_a_client_that_waits_for_100_continue_is_asked_when_the_body_is_wanted(autojump_clock: MockClock) -> None:
    """And not before: a request that is refused by its head has no body to send."""
    asked: list[float] = []

    class Connection:
        disconnected_at: float | None = None
        loss: str | None = None

        def ask_for_body(self) -> None:
            asked.append(trio.current_time())

    body = RequestLink([], Connection()).body
    body.max_unread_bytes = 10
    assert not asked
    body.append(b"x", is_last=True)
    await body.receive_some()
    assert asked


def test_cancel_anywhere_while_the_body_is_read_loses_no_byte() -> None:
    async def scenario(run: Run) -> None:
        body, received = incoming(100), []

        async def watcher() -> None:
            for part in (b"a", b"", b"bc", b"d"):
                await trio.sleep(1)
                body.append(part, is_last=part == b"d")

        async def read() -> None:
            while part := await body.receive_some():
                received.append(part)
                await trio.lowlevel.cancel_shielded_checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher)
            with run.target():
                await read()
            await read()
        assert b"".join(received) == b"abcd"

    explore(scenario, counted=(Steps.TARGET, Steps.RUN))


@pytest.mark.parametrize(("value", "expected"), [(b"0", 0), (b"33554432", 33_554_432)])
def test_the_declared_length_is_known_before_anything_arrives(value: bytes, expected: int) -> None:
    assert RequestLink([(b"a", b"b"), (b"content-length", value)]).body.declared_bytes == expected
    assert RequestLink([]).body.declared_bytes is None


@pytest.mark.parametrize("value", [b"abc", b"", b"-1", b"1_000", b"+5", b"0x10", b"1e3", b"\xb2"])
async def test_a_declared_length_that_is_no_number_is_a_400_in_dialect(autojump_clock: MockClock, value: bytes) -> None:
    """Our own server refuses it before; under another server, the application must not crash of it."""

    async def handler(link: RequestLink) -> Response:
        await link.body.receive_some()
        return Response(b"served")

    client = asking(app_of(handler), method="POST", headers=[(b"content-length", value)])
    await client.run()
    assert client.status == 400
    assert b"invalid_request_error" in client.body


def incoming(max_unread_bytes: int) -> IncomingBody:
    body = IncomingBody(None)
    body.max_unread_bytes = max_unread_bytes
    return body
