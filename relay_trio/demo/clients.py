"""The demo's clients: real TCP sockets, HTTP/1.1 by h11, and no manners.

A client makes one request after the other, all in one dialect. For some of them it decides beforehand to leave, when,
and in which of the ways a TCP peer can: FIN, RST, or only its sending half. What each client saw is a ``Sent``, which
``audit`` compares with the ledger.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from relay_trio.simulator.samples import SampleRequest

_TAIL_BYTES = 2048
_ADMISSION_POLL_SECONDS = 0.005
_ADMISSION_SECONDS = 5.0
_HALF_CLOSE_SECONDS = 5.0
"""The relay takes a half-close for a hang-up, and answers by closing: a client that waits longer has found a defect."""


class Way(Enum):
    """How a client hangs up."""

    FIN = auto()
    RESET = auto()
    HALF_CLOSE = auto()


class Moment(Enum):
    """When a client hangs up."""

    AT_ONCE = auto()  # the relay may not even have read the request
    ADMITTED = auto()  # as soon as the relay has it: queued, as a rule
    WAITING = auto()  # some time later, if no answer has come by then
    MIDSTREAM = auto()
    STALLED = auto()  # midstream, after not reading for a while


@dataclass(frozen=True, slots=True)
class Leave:
    """A plan to hang up. ``seconds`` belong to WAITING and STALLED, ``reads`` to MIDSTREAM and STALLED."""

    moment: Moment
    way: Way
    seconds: float = 0.0
    reads: int = 0


@dataclass(slots=True)
class Sent:
    """One request as its client saw it.

    ``is_admitted``: the relay certainly had it, because it answered or was seen to work on it. ``is_whole``: the answer
    ended as HTTP ends one; ``is_finished``: and as its dialect ends one, well or with
    an error event. ``is_held_open``: a
    half-close was not answered.
    """

    request_id: str
    has_left: bool = False
    is_admitted: bool = False
    status: int | None = None
    is_whole: bool = False
    is_finished: bool = False
    is_held_open: bool = False


def draw_leave(rng: Random, share: float) -> Leave | None:
    """A plan to hang up for ``share`` of the requests, None for the others."""
    if rng.random() >= share:
        return None
    moments = (Moment.AT_ONCE, Moment.ADMITTED, Moment.WAITING, Moment.MIDSTREAM, Moment.STALLED)
    moment = rng.choices(moments, (5, 15, 20, 50, 10))[0]
    return Leave(moment, rng.choice(tuple(Way)), rng.uniform(0.0, 0.5), rng.randint(1, 12))


class DemoClient:
    """One client. ``draw`` makes its requests; ``is_admitted`` says whether the relay has, or had, the request with
    that id."""

    def __init__(
        self,
        number: int,
        draw: Callable[[Random], SampleRequest],
        address: tuple[str, int],
        rng: Random,
        share: float,
        is_admitted: Callable[[str], bool],
    ) -> None:
        self.sent: list[Sent] = []
        self._number = number
        self._draw = draw
        self._address = address
        self._rng = rng
        self._share = share
        self._is_admitted = is_admitted
        self._wire: Wire | None = None

    async def run(self, stop: trio.Event) -> None:
        """Make requests until ``stop``; the last one is finished. Cancelled here: destroys; hangs up."""
        try:
            while not stop.is_set():
                await self._request()
                await trio.sleep(self._rng.uniform(0.0, 0.1))
        finally:
            self._hang_up(Way.FIN)

    async def _request(self) -> None:
        """Cancelled here: destroys; counts as having left."""
        sent = Sent(f"demo-{self._number}-{len(self.sent)}")
        leave = draw_leave(self._rng, self._share)
        self.sent.append(sent)
        try:
            if self._wire is None:
                self._wire = await Wire.open(self._address)
            await self._wire.send(sent.request_id, self._draw(self._rng))
            await self._answer(self._wire, sent, leave)
        except (trio.BrokenResourceError, h11.RemoteProtocolError, OSError):
            self._hang_up(Way.FIN)
        except trio.Cancelled:
            sent.has_left = True
            raise
        finally:
            sent.is_admitted = sent.status is not None or self._is_admitted(sent.request_id)

    async def _answer(self, wire: Wire, sent: Sent, leave: Leave | None) -> None:
        """Cancelled here: destroys."""
        if leave is None:
            await wire.receive(sent)
        else:
            with trio.CancelScope() as scope:
                if leave.moment is Moment.AT_ONCE:
                    scope.cancel()
                else:
                    await self._wait_admitted(sent.request_id)
                if leave.moment is Moment.WAITING:
                    scope.deadline = trio.current_time() + leave.seconds
                if leave.moment is not Moment.ADMITTED:
                    await wire.receive(sent, leave.reads or None)
                if leave.moment is Moment.STALLED:
                    await trio.sleep(leave.seconds)
            if not sent.is_whole:
                await self._leave(wire, sent, leave.way)
        if not wire.start_next():
            self._hang_up(Way.FIN)

    async def _wait_admitted(self, request_id: str) -> None:
        """Look again and again, as nobody tells a client what it has not been sent. Cancelled here: atomic."""
        with trio.move_on_after(_ADMISSION_SECONDS):
            while True:
                if self._is_admitted(request_id):
                    return
                await trio.sleep(_ADMISSION_POLL_SECONDS)

    async def _leave(self, wire: Wire, sent: Sent, way: Way) -> None:
        """Cancelled here: destroys."""
        sent.has_left = True
        if way is Way.HALF_CLOSE:
            wire.close_sending()
            with trio.move_on_after(_HALF_CLOSE_SECONDS) as limit:
                await wire.wait_closed()
            sent.is_held_open = limit.cancelled_caught
        self._hang_up(way)

    def _hang_up(self, way: Way) -> None:
        if self._wire is not None:
            self._wire.close(way)
            self._wire = None


class Wire:
    """One connection to the relay. Not used again after an exception."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._parser = h11.Connection(h11.CLIENT)
        self._request: SampleRequest | None = None

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Wire:
        """Connect. Raises OSError. Cancelled here: atomic."""
        return cls(await trio.open_tcp_stream(*address))

    def request(self, request_id: str, request: SampleRequest) -> tuple[bytes, bytes]:
        """Head and body of the connection's next request; nobody else sends them."""
        self._request = request
        headers = [("host", "demo"), *request.headers, ("content-type", "application/json")]
        headers += [("content-length", str(len(request.body))), ("x-request-id", request_id)]
        head = self._parser.send(h11.Request(method="POST", target=request.target, headers=headers))
        self._parser.send(h11.Data(request.body))
        self._parser.send(h11.EndOfMessage())
        assert head is not None
        return head, request.body

    async def send(self, request_id: str, request: SampleRequest) -> None:
        """Send one request. Cancelled here: destroys."""
        head, body = self.request(request_id, request)
        await self._stream.send_all(head + body)

    async def receive(self, sent: Sent, reads: int | None = None) -> None:
        """Read the answer into ``sent``, or no more than ``reads`` parts of its body.

        Raises:
            h11.RemoteProtocolError: the answer was cut.
            trio.BrokenResourceError: the connection was reset.

        Cancelled here: destroys.
        """
        assert self._request is not None
        tail = b""
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(await self._stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                sent.status = event.status_code
            elif isinstance(event, h11.Data):
                tail = (tail + bytes(event.data))[-_TAIL_BYTES:]
                if reads is not None:
                    reads -= 1
                    if reads <= 0:
                        return
            elif isinstance(event, h11.EndOfMessage):
                sent.is_whole = True
                sent.is_finished = sent.status != 200 or self._request.is_finished(tail)
                return

    async def wait_closed(self) -> None:
        """Read and drop until the relay closes. Cancelled here: safe to retry."""
        try:
            while await self._stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass

    def start_next(self) -> bool:
        """Whether the connection can carry another request."""
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
            return True
        return False

    def close_sending(self) -> None:
        """Half-close: a FIN, while reading goes on."""
        with suppress(OSError):  # reset by the relay a moment ago
            self._stream.socket.shutdown(socket.SHUT_WR)

    def close(self, way: Way) -> None:
        """Close at once; with a RST for RESET. Synchronous, so that it works in a cancelled task."""
        if way is Way.RESET:
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()
