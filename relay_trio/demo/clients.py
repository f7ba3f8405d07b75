"""The demo's clients: real TCP sockets, and half of the requests are hung up on.

A client makes one request after the other, all of one form. For some of them it decides beforehand to leave, when, and
in which of the ways that ``http_client`` has. What it saw of each request is a ``Sent``, which ``audit`` compares with
the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import trio

from relay_trio.demo.http_client import Way, open_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from relay_trio.demo.http_client import HttpClient
    from relay_trio.simulator.samples import SampleRequest

_TAIL_BYTES = 2048
_ADMISSION_POLL_SECONDS = 0.005
_ADMISSION_SECONDS = 5.0
_HALF_CLOSE_SECONDS = 5.0
"""The relay takes a half-close for a hang-up, and closes its half too: a client that waits longer found a defect."""


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
    ended as HTTP ends one; ``is_finished``: and as its dialect ends one, well or with an error event. ``is_held_open``:
    the relay left a half-closed connection open.
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
        self._client: HttpClient | None = None

    async def run(self, stop: trio.Event) -> None:
        """Make requests until ``stop``; the last one is finished. Cancelled here: destroys; hangs up."""
        try:
            while not stop.is_set():
                await self._make_request()
                await trio.sleep(self._rng.uniform(0.0, 0.1))
        finally:
            self._close()

    async def _make_request(self) -> None:
        """Cancelled here: destroys; counts as having left."""
        sent = Sent(f"demo-{self._number}-{len(self.sent)}")
        leave = draw_leave(self._rng, self._share)
        self.sent.append(sent)
        try:
            client = self._client = self._client or await open_client(self._address)
            request = self._draw(self._rng)
            await client.send(b"".join(request.encoded(("x-request-id", sent.request_id))))
            await self._live(client, request, sent, leave)
        except (trio.BrokenResourceError, OSError):
            self._close()
        except trio.Cancelled:
            sent.has_left = True
            raise
        finally:
            sent.is_admitted = sent.status is not None or self._is_admitted(sent.request_id)

    async def _live(self, client: HttpClient, request: SampleRequest, sent: Sent, leave: Leave | None) -> None:
        """The request from here on, until its end or that of the client's patience. Cancelled here: destroys."""
        if leave is None:
            await receive(client, request, sent)
        else:
            with trio.CancelScope() as scope:
                if leave.moment is Moment.AT_ONCE:
                    scope.cancel()
                else:
                    await self._wait_admitted(sent.request_id)
                if leave.moment is Moment.WAITING:
                    scope.deadline = trio.current_time() + leave.seconds
                if leave.moment is not Moment.ADMITTED:
                    await receive(client, request, sent, leave.reads or None)
                if leave.moment is Moment.STALLED:
                    await trio.sleep(leave.seconds)
            if not sent.is_whole and client.ended is None:
                sent.has_left = True
                sent.is_held_open = await hang_up(client, leave.way)
        if not client.can_go_on:
            self._close()

    async def _wait_admitted(self, request_id: str) -> None:
        """Look again and again: nothing shows a client when the relay has its request. Cancelled here: atomic."""
        with trio.move_on_after(_ADMISSION_SECONDS):
            while True:
                if self._is_admitted(request_id):
                    return
                await trio.sleep(_ADMISSION_POLL_SECONDS)

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


async def receive(client: HttpClient, request: SampleRequest, sent: Sent, parts: int | None = None) -> None:
    """Read the answer to ``request`` into ``sent``, or no more than ``parts`` of its body. Cancelled here: destroys."""
    answer = await client.receive_head()
    if answer is None:
        return
    sent.status = answer.status
    count = 0
    while count != parts and await client.receive_part(answer):
        count += 1
    sent.is_whole = answer.is_whole
    sent.is_finished = answer.is_whole and (answer.status != 200 or request.is_finished(answer.tail(_TAIL_BYTES)))


async def hang_up(client: HttpClient, way: Way) -> bool:
    """Leave in that ``way``; True if the relay did not take a half-close for a leave. Cancelled here: destroys."""
    client.leave(way)
    if way is not Way.HALF_CLOSE:
        return False
    client.open_window()
    with trio.move_on_after(_HALF_CLOSE_SECONDS) as limit:
        await client.wait_closed()
    client.close()
    return limit.cancelled_caught
