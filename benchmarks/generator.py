"""The load generator: one thread, one epoll loop, one job.

``python -m benchmarks.generator`` reads the job as JSON from standard input and prints the result as JSON.

A process of its own, so that its CPU is known and the bench's own work never delays a time stamp. It reads the
counters of the proxy itself, at the very moments at which it reads its own event count. Three kinds of job:

``hold``    open all streams, wait until each has its first event, measure a window, then let them end or hang up
``loop``    each client starts its next request when the last is answered, until the window is over
``leave``   each stream hangs up at its appointed moment; then wait and see
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import resource
import select
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.dialects import DIALECTS
from benchmarks.meter import Reading, allow_many_sockets, busy_seconds, cpu_seconds, memory_kib, tree
from benchmarks.order import Order
from benchmarks.stream import Stream, Target

if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN_LIMIT_SECONDS = 90.0
"""For a slow system to have given every stream its first event."""
_END_LIMIT_SECONDS = 30.0
_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """What to do. Times are seconds unless they say otherwise.

    ``leave_how``: "" lets streams end, else see ``Stream.leave``. In a ``hold`` the streams leave one after the other
    over ``leave_spread``; in a ``leave`` each at ``leave_events`` events or ``leave_ms`` after it was sent.
    ``blockers`` streams are opened before the others and stay; they fill the slots of a system with a queue.
    """

    kind: str
    target: Target
    order: Order
    clients: int
    proxy_pid: int
    upstream_pid: int
    ramp: float = 0.5
    settle: float = 0.3
    window: float = 0.0
    body_bytes: int = 1024
    receive_buffer: int = 0
    wants_memory: bool = False
    leave_how: str = ""
    leave_spread: float = 0.0
    leave_events: int = 0
    leave_ms: int = 0
    wait_after: float = 0.0
    blockers: int = 0
    first_id: int = 1

    @classmethod
    def from_json(cls, text: str) -> Job:
        fields = json.loads(text)
        target, order = fields.pop("target"), fields.pop("order")
        headers = tuple((name, value) for name, value in target.pop("headers"))
        return cls(**fields, target=Target(**target, headers=headers), order=Order(**order))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    events: int = 0
    completed: int = 0
    short: int = 0
    failed: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    answers: list[tuple[int, int, int]] = field(default_factory=list)  # sent_ns, to first byte, to the end
    left: list[dict[str, int]] = field(default_factory=list)


class Generator:
    """The loop and the streams on it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tally = Tally()
        self.with_first = 0
        self.under_way = 0
        self._poll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._next_id = job.first_id
        self._is_looping = job.kind == "loop"
        dialect = DIALECTS[job.target.dialect]
        self._events = job.order.deltas + dialect.beside_deltas  # of a stream that is not cut short
        self._sample = dialect.request(job.order.numbered(999_999_999), job.body_bytes)

    def run(self) -> dict[str, Any]:
        job, result = self.job, {}
        if job.wants_memory:
            result["memory_before_kib"] = memory_kib(tree(job.proxy_pid))
        for _ in range(job.blockers):
            self._start(Stream(), stays=True)
        self._until(lambda: self.with_first >= job.blockers, _OPEN_LIMIT_SECONDS)
        begin = time.monotonic()
        for number in range(job.clients):
            self._at(begin + job.ramp * number / job.clients, self._start_new)
        everyone = job.blockers + job.clients
        if job.kind == "hold":
            opened = self._until(lambda: self.with_first >= everyone, _OPEN_LIMIT_SECONDS)
            result["all_opened"] = opened
        elif job.kind == "loop":
            self._until(lambda: False, job.ramp)
        if job.kind != "leave":
            self._until(lambda: False, job.settle)
            result |= self._window()
        self._is_looping = False
        if job.kind == "hold" and job.leave_how:
            self._leave_in_turn()
        elif job.kind == "leave":
            everyone_left = lambda: len(self.tally.left) >= job.clients  # noqa: E731
            result["all_left"] = self._until(everyone_left, job.ramp + _OPEN_LIMIT_SECONDS)
            self._until(lambda: False, job.wait_after)
            if job.wants_memory:
                result["memory_after_kib"] = memory_kib(tree(job.proxy_pid))
        else:
            self._until(lambda: self.under_way == 0, _END_LIMIT_SECONDS)
        result["unfinished"] = self.under_way
        tally = asdict(self.tally)
        tally["answers"] = [a for a in self.tally.answers if result.get("from_ns", 0) <= a[0] <= result.get("to_ns", 0)]
        return result | tally | {"last_id": self._next_id - 1}

    def _window(self) -> dict[str, Any]:
        before, events, completed = self._reading(), self.tally.events, self.tally.completed
        self._until(lambda: False, self.job.window)
        after = self._reading()
        counted = {"window_events": self.tally.events - events, "window_requests": self.tally.completed - completed}
        if self.job.wants_memory:
            counted["memory_after_kib"] = memory_kib(tree(self.job.proxy_pid))
        return counted | after.since(before) | {"from_ns": int(before.at * 1e9), "to_ns": int(after.at * 1e9)}

    def _reading(self) -> Reading:
        own = resource.getrusage(resource.RUSAGE_SELF)
        proxy = cpu_seconds(tree(self.job.proxy_pid)) if self.job.proxy_pid else 0.0
        return Reading(
            time.monotonic(), proxy, cpu_seconds([self.job.upstream_pid]), own.ru_utime + own.ru_stime, busy_seconds()
        )

    def _until(self, is_over: Callable[[], bool], seconds: float) -> bool:
        """Run the loop until it ``is_over``; False if that took longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        timers, streams = self._timers, self._streams
        while not is_over():
            now = time.monotonic()
            if now >= deadline:
                return False
            wait = min(deadline, timers[0][0]) - now if timers else deadline - now
            for fd, _ in self._poll.poll(max(0.0, wait)):
                if (stream := streams.get(fd)) is not None:
                    self._receive(fd, stream)
            now = time.monotonic()
            while timers and timers[0][0] <= now:
                heapq.heappop(timers)[2]()
        return True

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, action))

    def _start_new(self) -> None:
        self._start(Stream())

    def _start(self, stream: Stream, *, stays: bool = False) -> None:
        job, number = self.job, self._next_id
        self._next_id += 1
        try:
            stream.open(job.target, receive_buffer=job.receive_buffer)
            # The id is patched in at equal length, so a request costs no JSON here.
            body = self._sample.body.replace(b"999999999", b"%09d" % number, 1)
            stream.send(job.target.request(self._sample.target, body), number)
        except OSError:
            self._failed(stream)
            return
        assert stream.sock is not None
        fd = stream.sock.fileno()
        self.under_way += 1
        if self._streams.get(fd) is not stream:
            self._streams[fd] = stream
            self._poll.register(fd, select.EPOLLIN)
        if job.kind == "leave" and job.leave_ms and not stays:
            self._at(time.monotonic() + job.leave_ms / 1000, lambda: self._leave(fd, stream, number))

    def _receive(self, fd: int, stream: Stream) -> None:
        had_first, events = stream.first_ns, stream.events
        is_open = stream.receive()
        if not had_first and stream.first_ns:
            self.with_first += 1
        self.tally.events += stream.events - events
        job = self.job
        if job.leave_events and events < job.leave_events <= stream.events and not stream.left_ns:
            self._leave(fd, stream, stream.number)
            return
        if stream.is_done or not is_open:
            self._ended(fd, stream, is_open=is_open)

    def _ended(self, fd: int, stream: Stream, *, is_open: bool) -> None:
        self.under_way -= 1
        tally = self.tally
        if not is_open:
            self._drop(fd, stream)
        if stream.left_ns:
            self._drop(fd, stream)
            return
        tally.statuses[stream.status] = tally.statuses.get(stream.status, 0) + 1
        if not stream.is_done or stream.status != 200:
            self._failed(stream)
            return
        tally.completed += 1
        order = self.job.order
        if order.stream and not order.seconds and stream.events != self._events:
            tally.short += 1
        now = time.monotonic_ns()
        tally.answers.append((stream.sent_ns, stream.first_ns - stream.sent_ns, now - stream.sent_ns))
        if self._is_looping:
            self._restart(fd, stream)
        else:
            self._drop(fd, stream)

    def _restart(self, fd: int, stream: Stream) -> None:
        self._start(stream)
        if stream.sock is None or stream.sock.fileno() != fd:
            self._streams.pop(fd, None)

    def _failed(self, stream: Stream) -> None:
        self.tally.failed += 1
        stream.close()
        if self._is_looping:
            self._at(time.monotonic() + _RETRY_SECONDS, lambda: self._start(stream))

    def _drop(self, fd: int, stream: Stream) -> None:
        if self._streams.pop(fd, None) is not None and stream.sock is not None:
            self._poll.unregister(fd)
        stream.close()

    def _leave(self, fd: int, stream: Stream, number: int) -> None:
        if self._streams.get(fd) is not stream or stream.number != number or stream.left_ns:
            if stream.number == number and not stream.left_ns:
                self.tally.left.append({"id": number, "left_ns": 0, "events": stream.events})  # it ended by itself
            return
        how = self.job.leave_how
        if how in ("close", "stall"):
            self._poll.unregister(fd)
            self.under_way -= 1
            del self._streams[fd]
        stream.leave(how)
        self.tally.left.append({"id": number, "left_ns": stream.left_ns, "events": stream.events})
        if how == "stall":
            _STALLED.append(stream)

    def _leave_in_turn(self) -> None:
        leaving = list(self._streams.items())
        begin = time.monotonic()
        for place, (fd, stream) in enumerate(leaving):
            when = begin + self.job.leave_spread * place / len(leaving)
            self._at(when, lambda fd=fd, stream=stream: self._leave(fd, stream, stream.number))  # type: ignore[misc]
        self._until(lambda: False, self.job.leave_spread + self.job.wait_after)


_STALLED: list[Stream] = []
"""Kept, because a socket that is collected is a socket that is closed."""


if __name__ == "__main__":
    allow_many_sockets()
    generator = Generator(Job.from_json(sys.stdin.read()))
    gc.freeze()
    gc.disable()
    json.dump(generator.run(), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # a thousand open sockets need no tidy end
