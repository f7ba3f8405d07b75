"""The three moments of a shutdown, and the signals that cause them.

    began      no new connections; idle ones close; what runs may finish            SIGTERM, SIGINT
    expired    the time is up: open requests end with an error in their dialect     drain_seconds later
    stopped    everything is cancelled                                              one second later, or at once:
                                                                                    a second signal

One ``Drain`` is shared by everything that takes part: several servers, ``/readyz``, the relay's own streams.
"""

from __future__ import annotations

import signal

import trio

CLOSING_SECONDS = 1.0
"""Between ``expired`` and ``stopped``: what the streams get to send their closing event. Together with the cancellation
itself this must stay under the two seconds that are promised after the drain."""

CLOSING_AT_ONCE_SECONDS = 0.05
"""The same after a signal that says "now": long enough for tasks to run, too short to be noticed."""


class Drain:
    """The state of one shutdown; it only goes forward."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.expired = trio.Event()
        self.stopped = trio.Event()
        self._at_once = trio.Event()

    def begin(self) -> None:
        """Stop taking new work."""
        self.began.set()

    def stop_now(self) -> None:
        """Do not wait for what runs."""
        self.began.set()
        self._at_once.set()

    async def run(self, drain_seconds: float) -> None:
        """Go through the moments once ``begin`` was called; returns when ``stopped`` is set.

        Cancelled here: safe to retry; ``stopped`` is not set by it.
        """
        await self.began.wait()
        with trio.move_on_after(drain_seconds):
            await self._at_once.wait()
        self.expired.set()
        with trio.move_on_after(CLOSING_SECONDS):
            await self._at_once.wait()
            await trio.sleep(CLOSING_AT_ONCE_SECONDS)
        self.stopped.set()


async def obey_signals(drain: Drain, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Make the first SIGTERM or SIGINT a drain, and the second an end at once. Runs until cancelled.

    Cancelled here: atomic; the signals get their former handlers back.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if drain.began.is_set():
                drain.stop_now()
            else:
                drain.begin()
