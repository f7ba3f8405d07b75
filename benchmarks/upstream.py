"""The paced upstream: one thread, one epoll loop, no parsing beyond the end of a request.

It must not be what is measured, so chunks are framed beforehand, each event is one ``send``, and timers are one heap.
It is also the witness: it knows when each answer was requested, when each event was sent, and when it saw the close.

``GET /bench/log`` hands over what ended since the last time and what is still open; ``GET /bench/reset`` closes every
connection on which an answer is under way; everything else is an order.
Started as ``python -m benchmarks.upstream``; prints its port.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import select
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.dialects import BEDROCK, CLAUDE, GEMINI, Answers, answers_at
from benchmarks.meter import allow_many_sockets
from benchmarks.order import Order, find_order

_READ = select.EPOLLIN | select.EPOLLRDHUP
_BURST = 8
"""Events sent to one stream before the next one has its turn, when there is no pace."""
_STREAM_BUFFER_BYTES = 64 * 1024
"""Socket buffer of one answer: a stalled reader must be felt here after kilobytes, not after megabytes."""


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Chunked:
    """A dialect's stream as HTTP sends it."""

    head: bytes
    opening: bytes
    deltas: tuple[bytes, ...]

    @classmethod
    def of(cls, answers: Answers) -> Self:
        head = f"HTTP/1.1 200 OK\r\n{answers.headers}transfer-encoding: chunked\r\n\r\n"
        return cls(head.encode(), _chunk(answers.opening), tuple(_chunk(delta) for delta in answers.deltas))


_CHUNKED = {id(answers): Chunked.of(answers) for answers in (CLAUDE, BEDROCK, GEMINI)}


class Connection:
    """One connection from a proxy, and the answer it is being given, if any."""

    __slots__ = ("answer", "inbox", "pending", "poll_out", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = b""
        self.pending = b""
        self.poll_out = False
        self.answer: Answer | None = None


class Answer:
    """One answer under way. ``stage``: 0 head, 1 opening, 2 deltas, 3 end of the body."""

    __slots__ = ("answers", "asked_ns", "chunked", "due", "ends", "order", "sent", "stage", "times", "wide")

    def __init__(self, order: Order, answers: Answers, now_ns: int) -> None:
        self.order = order
        self.answers = answers
        self.chunked = _CHUNKED[id(answers)]
        self.asked_ns = now_ns
        self.stage = 0
        self.sent = 0
        self.due = now_ns / 1e9 + order.head / 1000
        self.ends = self.due + order.seconds if order.seconds else float("inf")
        self.times: list[int] = []
        self.wide = _chunk(answers.delta("x" * order.size)) if order.size else b""

    def record(self, ended_ns: int | None, *, finished: bool) -> dict[str, Any]:
        return {
            "id": self.order.id,
            "asked_ns": self.asked_ns,
            "ended_ns": ended_ns,
            "finished": finished,
            "sent": self.sent,
            "times": self.times,
        }


class Upstream:
    """The loop and what it owns."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self.listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Connection, Answer]] = []
        self._timer_number = 0
        self._ended: list[dict[str, Any]] = []

    def run(self) -> None:
        listener_fd = self.listener.fileno()
        timers = self._timers
        while True:
            wait = max(0.0, timers[0][0] - time.monotonic()) if timers else -1
            for fd, mask in self._poll.poll(wait):
                if fd == listener_fd:
                    self._accept()
                elif (connection := self._connections.get(fd)) is not None:
                    if mask & ~select.EPOLLOUT:
                        self._read(connection)
                    if mask & select.EPOLLOUT and fd in self._connections:
                        self._flush(connection)
            now = time.monotonic()
            while timers and timers[0][0] <= now:
                _, _, connection, answer = heapq.heappop(timers)
                if connection.answer is answer:
                    self._step(connection, answer, now)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _STREAM_BUFFER_BYTES)
                self._connections[sock.fileno()] = Connection(sock)
                self._poll.register(sock, _READ)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.inbox += data
        head, separator, rest = connection.inbox.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        if b"chunked" in lower and not rest.endswith(b"0\r\n\r\n"):
            return
        at = lower.find(b"content-length:")
        length = 0 if at < 0 else int(lower[at + 15 : (lower + b"\r\n").find(b"\r\n", at)])
        if len(rest) < length:
            return
        connection.inbox = b""
        order = find_order(rest)
        if order is None:
            if head.startswith(b"GET /bench/reset"):
                self._reset()
            self._send(connection, _whole(self._log() if head.startswith(b"GET /bench/log") else b"{}"))
            return
        answer = connection.answer = Answer(order, answers_at(head.split(b" ", 2)[1]), time.monotonic_ns())
        self._step(connection, answer, time.monotonic())

    def _step(self, connection: Connection, answer: Answer, now: float) -> None:
        """Send what is due, and say when the next thing is."""
        order, chunked = answer.order, answer.chunked
        while answer.due <= now and not connection.pending:
            if answer.stage == 0 and not order.stream:
                self._send(connection, _whole(answer.answers.whole(order)))
                self._finish(connection, answer)
                return
            if answer.stage == 0 and order.first:
                self._send(connection, chunked.head)
                answer.due += order.first / 1000
                answer.stage = 1
            elif answer.stage <= 1:
                self._send(connection, (chunked.head if answer.stage == 0 else b"") + chunked.opening)
                answer.due += order.gap_us / 1e6
                answer.stage = 2
            elif answer.stage == 2 and answer.sent < order.deltas and now < answer.ends:
                self._send(connection, answer.wide or chunked.deltas[answer.sent % 1000])
                answer.sent += 1
                if order.logged:
                    answer.times.append(time.monotonic_ns())
                if order.gap_us:
                    answer.due += order.gap_us / 1e6
                elif answer.sent % _BURST == 0:
                    now = 0.0
            elif answer.stage == 2:
                end = _chunk(answer.answers.closing(answer.sent))
                self._send(connection, end if order.hold else end + b"0\r\n\r\n")
                if not order.hold:
                    self._finish(connection, answer)
                    return
                answer.due = now + order.hold / 1000
                answer.stage = 3
            else:
                self._send(connection, b"0\r\n\r\n")
                self._finish(connection, answer)
                return
            if connection.answer is not answer:
                return
        if not connection.pending:
            self._timer_number += 1
            heapq.heappush(self._timers, (answer.due, self._timer_number, connection, answer))

    def _send(self, connection: Connection, data: bytes) -> None:
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent < len(data):
            connection.pending = data[sent:]
            if not connection.poll_out:
                connection.poll_out = True
                self._poll.modify(connection.sock, _READ | select.EPOLLOUT)

    def _flush(self, connection: Connection) -> None:
        data, connection.pending = connection.pending, b""
        if data:
            self._send(connection, data)
        if connection.pending or connection.sock.fileno() < 0:
            return
        connection.poll_out = False
        self._poll.modify(connection.sock, _READ)
        if (answer := connection.answer) is not None:
            now = time.monotonic()
            answer.due = max(answer.due, now) if answer.order.gap_us else now
            self._step(connection, answer, now)

    def _finish(self, connection: Connection, answer: Answer) -> None:
        if connection.answer is answer:
            self._ended.append(answer.record(time.monotonic_ns(), finished=True))
            connection.answer = None

    def _close(self, connection: Connection) -> None:
        if connection.answer is not None:
            self._ended.append(connection.answer.record(time.monotonic_ns(), finished=False))
            connection.answer = None
        del self._connections[connection.sock.fileno()]
        connection.sock.close()

    def _reset(self) -> None:
        for connection in list(self._connections.values()):
            if connection.answer is not None:
                self._close(connection)

    def _log(self) -> bytes:
        ended, self._ended = self._ended, []
        under_way = [c.answer.record(None, finished=False) for c in self._connections.values() if c.answer is not None]
        return json.dumps({"ended": ended, "open": under_way, "connections": len(self._connections)}).encode()


def _whole(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


if __name__ == "__main__":
    upstream = Upstream()
    print(upstream.port, flush=True)
    allow_many_sockets()
    gc.freeze()
    gc.disable()
    upstream.run()
