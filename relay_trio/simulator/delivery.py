"""Performing one script on a connection, and writing down what really left.

The record is written by what the kernel took: a frame counts when its last byte was handed over, in whole order, also
when the connection dies in the middle of a batch.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.simulator.script import Ending, Framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.simulator.connection import Connection
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.script import Frame, Script, Usage
    from relay_trio.simulator.truth import ServedRequest


async def perform(
    script: Script,
    plan: Plan,
    connection: Connection,
    record: ServedRequest,
    on_head: Callable[[], None],
    *,
    has_body: bool,
    is_last: bool,
) -> bool:
    """Send the whole answer; return whether the connection may serve another request.

    ``on_head`` is called when the head was handed to the kernel. ``has_body`` False (a HEAD request) sends no body.

    Raises:
        OSError: the client is gone.

    Cancelled here: destroys; some, all or none of the answer was sent, and the connection must be closed.
    """
    if script.delay:
        await trio.sleep(script.delay)
    if script.generation_steps and script.status == 200:
        await _generate(script, plan, record)
    for piece in script.preamble:
        await connection.send(piece)
        await trio.sleep(script.preamble_interval)
    if script.instead_of_head is not Ending.COMPLETE:
        return await _end(script.instead_of_head, connection)
    is_kept = script.is_kept_alive and not is_last and script.framing is not Framing.CLOSE
    outbox = Outbox(connection, record, script)
    outbox.put_head(script.head(is_last_on_connection=not is_kept), on_head)
    if script.head_interval is not None:
        await outbox.flush(script.head_interval)
    if has_body:
        await _send_frames(script, plan, outbox, record)
        if script.ending is Ending.COMPLETE:
            outbox.put(script.terminator())
    await outbox.flush(script.byte_interval)
    record.is_finished = record.is_finished or not has_body
    if script.ending is Ending.COMPLETE and is_kept:
        return True
    return await _end(Ending.CLOSE if script.ending is Ending.COMPLETE else script.ending, connection)


async def _generate(script: Script, plan: Plan, record: ServedRequest) -> None:
    """The time that an answer takes without a stream. Cancelled here: destroys; tokens made by then are counted."""
    started = trio.current_time()
    seconds = script.generation_steps * plan.pace
    try:
        if seconds:
            await trio.sleep(seconds)
    finally:
        made = script.generation_steps if not seconds else (trio.current_time() - started) / plan.pace
        record.tokens_generated += min(script.generation_steps, int(made + 1e-6)) * script.step_tokens


async def _send_frames(script: Script, plan: Plan, outbox: Outbox, record: ServedRequest) -> None:
    """The body's frames, each paced one at its time. Cancelled here: destroys; sent frames are in the record."""
    is_chunked = script.framing is Framing.CHUNKED
    pace, jitter, uniform = plan.pace, plan.jitter, plan.rng.uniform
    interval, batch_bytes = script.byte_interval, script.batch_bytes
    is_generated = not script.generation_steps
    due = trio.current_time()
    for frame in script.frames:
        if frame.is_paced:
            if pace:
                due += pace * uniform(1 - jitter, 1 + jitter) if jitter else pace
                await outbox.flush(interval)
                await trio.sleep_until(due)
            if is_generated:
                record.tokens_generated += frame.tokens
        outbox.put(frame.chunk if is_chunked else frame.content, frame)
        if outbox.size >= batch_bytes:
            await outbox.flush(interval)
            await trio.lowlevel.checkpoint()


async def _end(ending: Ending, connection: Connection) -> bool:
    """End the connection as ``ending`` says. Cancelled here: destroys; the caller closes it."""
    if ending is Ending.STALL:
        await trio.sleep_forever()
    if ending is Ending.RESET:
        await connection.reset()
    else:
        connection.close()
    return False


class Outbox:
    """Bytes that wait to go out together, with what to note once they have."""

    def __init__(self, connection: Connection, record: ServedRequest, script: Script) -> None:
        self.size = 0
        self._connection = connection
        self._record = record
        self._status = script.status
        self._parts: list[bytes] = []
        self._marks: list[tuple[int, Callable[[], None]]] = []
        self._head_size = 0
        self._on_head: Callable[[], None] = _nothing

    def put_head(self, head: bytes, on_head: Callable[[], None]) -> None:
        """Queue the head; ``on_head`` when it was sent."""
        self._on_head = on_head
        self._head_size = len(head)
        self.put(head)
        self._marks.append((self.size, self._note_head))

    def put(self, data: bytes, frame: Frame | None = None) -> None:
        """Queue ``data``, which is ``frame`` as HTTP frames it; its usage and its end are noted when they were sent."""
        self._parts.append(data)
        self.size += len(data)
        if frame is None:
            return
        end = self.size - (2 if data is frame.chunk else 0)  # a chunk's own CR LF adds nothing that a reader needs
        if frame.usage is not None:
            known = end - len(frame.content) + frame.known_after_bytes
            self._marks.append((known, partial(self._note_usage, frame.usage)))
        if frame.is_last:
            self._marks.append((end, self._note_last))

    async def flush(self, interval: float | None = None) -> None:
        """Send what is queued, byte by byte when there is an ``interval`` in seconds.

        Raises:
            OSError: the client is gone.

        Cancelled here: destroys; what was sent is noted, the rest is lost.
        """
        if not self._parts:
            return
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        marks, head_size = self._marks, self._head_size
        self._parts, self._marks, self.size, self._head_size = [], [], 0, 0
        pieces = (data,) if interval is None else [data[at : at + 1] for at in range(len(data))]
        start = self._connection.bytes_sent
        for piece in pieces:
            before = self._connection.bytes_sent - start
            try:
                await self._connection.send(piece)
            finally:
                sent = self._connection.bytes_sent - start
                self._record.sent_bytes += max(0, sent - max(head_size, before))
                while marks and marks[0][0] <= sent:
                    marks.pop(0)[1]()
            if interval is not None:
                await trio.sleep(interval)

    def _note_head(self) -> None:
        self._record.status = self._status
        self._record.head_sent_at = time.monotonic()
        self._on_head()

    def _note_usage(self, usage: Usage) -> None:
        self._record.usage = usage

    def _note_last(self) -> None:
        self._record.is_finished = True


def _nothing() -> None:
    pass
