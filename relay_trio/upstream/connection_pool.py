"""Idle connections, and the count of all of them: the one synchronous owner of both.

Flat and without a request queue (admission is the scheduler's): whoever needs a connection takes an idle one or opens
one. Every step is O(1) whatever the number of connections. The most recently used connection goes out first, so that
surplus ones grow old; the oldest is always the leftmost of its origin.

A connection is in exactly one place: idle here, or with the task that took or opened it, which gives it back with
``release``. ``release`` never waits, so a cancelled task can always do it. Between a call and the pool stands, for a
second at most, a connection on which nothing but the end of its last answer is to come: ``finish`` has it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.upstream.http1 import Origin, UpstreamConnection

MAX_IDLE = 512
"""Idle connections kept for all origins together; beyond it the oldest is closed. Precedents: Go 100, httpx 20."""

IDLE_EXPIRY_SECONDS = 50.0
"""Below the 60 s after which AWS load balancers and many proxies close; nginx has 75 s. What an upstream closes sooner
is noticed when the connection is taken."""


END_SECONDS = 1.0
"""How long the end of a body is waited for whose content is complete, so that its connection can be kept."""


class ConnectionPool:
    """All connections of one client."""

    def __init__(self, max_idle: int = MAX_IDLE, idle_expiry_seconds: float = IDLE_EXPIRY_SECONDS) -> None:
        self.open_connections = 0
        self.ending_connections = 0
        self.opened_total = 0
        self.reused_total = 0
        self._max_idle = max_idle
        self._expiry = idle_expiry_seconds
        self._by_origin: dict[Origin, deque[UpstreamConnection]] = {}
        self._by_age: OrderedDict[UpstreamConnection, None] = OrderedDict()
        self._has_idle = trio.Event()
        self._is_closed = False

    @property
    def idle_connections(self) -> int:
        return len(self._by_age)

    def take(self, origin: Origin) -> UpstreamConnection | None:
        """An idle connection to ``origin`` that is still open and silent, or None."""
        self._close_expired()
        stack = self._by_origin.get(origin)
        while stack:
            connection = stack.pop()
            del self._by_age[connection]
            if not stack:
                del self._by_origin[origin]
            if connection.is_silent:
                connection.is_reused = True
                self.reused_total += 1
                return connection
            self._close(connection)
        return None

    def opened(self, connection: UpstreamConnection) -> None:
        """Count a new connection; it belongs to the caller until ``release``."""
        self.open_connections += 1
        self.opened_total += 1

    def release(self, connection: UpstreamConnection, *, is_usable: bool) -> None:
        """Take ``connection`` back: keep it if it ``is_usable`` and its call ended clean, close it otherwise."""
        if not is_usable or not connection.is_clean or self._is_closed or self._max_idle == 0:
            self._close(connection)
            return
        connection.idle_since = trio.current_time()
        self._by_origin.setdefault(connection.origin, deque()).append(connection)
        self._by_age[connection] = None
        if len(self._by_age) > self._max_idle:
            self._close_oldest()
        self._close_expired()
        self._has_idle.set()

    async def finish(self, connection: UpstreamConnection, *, is_usable: Callable[[], bool]) -> None:
        """Take ``connection`` back once the end of its last answer has come; close it if that takes too long, or if
        it is no longer usable by then.

        Cancelled here: destroys; the connection is closed.
        """
        self.ending_connections += 1
        try:
            with trio.move_on_after(END_SECONDS):
                await connection.read_end()
        finally:
            connection.end_answer()
            self.ending_connections -= 1
            self.release(connection, is_usable=is_usable())

    def close(self) -> None:
        """Close every idle connection; those in use are closed as they are released."""
        self._is_closed = True
        self.close_idle()

    def close_idle(self) -> None:
        """Close every connection that nobody uses."""
        while self._by_age:
            self._close_oldest()

    async def sweep(self) -> None:
        """Close connections as they expire, for ever. Sleeps to the next expiry, and without idle ones not at all.

        Cancelled here: atomic.
        """
        while True:
            if not self._by_age:
                self._has_idle = trio.Event()
                await self._has_idle.wait()
                continue
            oldest = next(iter(self._by_age))
            await trio.sleep_until(oldest.idle_since + self._expiry)
            self._close_expired()

    def _close_expired(self) -> None:
        limit = trio.current_time() - self._expiry
        while self._by_age and next(iter(self._by_age)).idle_since <= limit:
            self._close_oldest()

    def _close_oldest(self) -> None:
        connection, _ = self._by_age.popitem(last=False)
        stack = self._by_origin[connection.origin]
        stack.popleft()
        if not stack:
            del self._by_origin[connection.origin]
        self._close(connection)

    def _close(self, connection: UpstreamConnection) -> None:
        self.open_connections -= 1
        connection.close()
