"""What each fault does to a script; ``faults`` has their names. Bytes in, bytes out: nothing here waits or sends."""

from __future__ import annotations

import email.utils
import itertools
import time
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from relay_trio.simulator.script import Ending, Frame, Framing, Script, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random


class Dialect(Protocol):
    """What a fault must know of a provider's stream format."""

    def error_event(self, kind: str) -> Frame:
        """An error inside a stream; ``kind`` is the dialect's name for it, empty for the usual one."""

    def malformed(self, kind: str) -> Frame:
        """Bytes that break the format, in the way named ``kind``; empty for all ways at once."""

    def huge_event(self, size: int) -> Frame:
        """One valid event of ``size`` bytes."""


# --- before the body ----------------------------------------------------------------------------------------------


def retry_after(text: str) -> bytes | None:
    """The header's value for a name or the literal ``text``; None for ``none``."""
    if text == "none":
        return None
    if text in {"date", "past"}:
        return email.utils.formatdate(time.time() + (10 if text == "date" else -3600), usegmt=True).encode()
    return b"soon, or not at all" if text == "junk" else text.encode()


def instead_of_head(script: Script, ending: Ending) -> None:
    script.instead_of_head = ending


def slow_head(script: Script, seconds: float) -> None:
    script.head_interval = seconds


def early_hints(script: Script) -> None:
    script.preamble = [b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"]


def continues(script: Script, count: int) -> None:
    script.preamble = itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", count)


def endless_continue(script: Script) -> None:
    script.preamble = itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")
    script.preamble_interval = 0.005


def huge_headers(script: Script, size: int) -> None:
    script.headers.append((b"x-padding", b"p" * size))


def many_headers(script: Script, count: int) -> None:
    script.headers += [(b"x-field-%d" % index, b"value") for index in range(count)]


def bad_header(script: Script) -> None:
    script.headers.append((b"x-bad name\x00", b"one\rtwo\x00three"))


def odd_headers(script: Script) -> None:
    script.headers += [
        (b"set-cookie", b"__cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None"),
        (b"set-cookie", b"session=simulated; path=/"),
        (b"retry-after", b"17"),
        (b"x-should-retry", b"true"),
        (b"keep-alive", b"timeout=5"),
        (b"alt-svc", b'h3=":443"; ma=86400'),
        (b"via", b"1.1 simulator"),
        (b"server", b"simulator"),
        (b"cf-ray", b"0123456789abcdef-SIM"),
        (b"x-odd", b"caf\xe9 \x80"),
        (b"x-empty", b""),
    ]


def connection_close(script: Script) -> None:
    script.is_kept_alive = False


def junk(script: Script) -> None:
    script.raw_head = b"SSH-2.0-OpenSSH_9.2p1 not what you expect\r\n\x00\x01\x02\x03\r\n"
    script.frames = ()
    script.framing = Framing.CLOSE


def split(script: Script) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    script.raw_head = answer + answer.replace(b"{}", b"[]")
    script.frames = ()
    script.framing = Framing.LENGTH


# --- the body's frame ---------------------------------------------------------------------------------------------


def html_error(script: Script, status: int) -> None:
    _error_body(script, status, b"text/html", b"<html><body><h1>%d</h1><hr>a proxy</body></html>\r\n" % status)


def big_error(script: Script, status: int, size: int) -> None:
    _error_body(script, status, b"text/plain", b"e" * size)


def _error_body(script: Script, status: int, content_type: bytes, body: bytes) -> None:
    script.status = status
    script.headers = [(b"content-type", content_type)]
    script.frames = [frame(body, is_last=True)]
    script.framing, script.length = Framing.LENGTH, len(body)


def wrong_length(script: Script, difference: int) -> None:
    frames = list(script.frames)
    script.frames = frames
    script.framing = Framing.LENGTH
    script.length = max(0, sum(len(piece.content) for piece in frames) + difference)


def trailers(script: Script) -> None:
    script.framing = Framing.CHUNKED
    script.trailers = [(b"x-checksum", b"0123456789"), (b"set-cookie", b"late=simulated")]


def http10(script: Script) -> None:
    script.framing = Framing.CLOSE
    script.is_kept_alive = False


def drip(script: Script, seconds: float) -> None:
    script.byte_interval = seconds


def resplit(script: Script, size: int) -> None:
    script.batch_bytes = 1
    script.framing = Framing.CHUNKED
    script.frames = _resplit(script.frames, max(1, size))


def _resplit(frames: Iterable[Frame], size: int) -> Iterator[Frame]:
    for piece in frames:
        content = piece.content
        last = max(0, (len(content) - 1) // size) * size
        for start in range(0, last, size):
            yield frame(content[start : start + size], is_paced=piece.is_paced and start == 0)
        tail = frame(content[last:])
        known = None if piece.usage_bytes is None else max(0, piece.usage_bytes - last)
        is_paced = piece.is_paced and last == 0
        yield replace(piece, content=tail.content, chunk=tail.chunk, is_paced=is_paced, usage_bytes=known)


def gzipped(script: Script) -> None:
    script.headers.append((b"content-encoding", b"gzip"))
    script.framing = Framing.CHUNKED
    script.frames = _gzipped(script.frames)


def _gzipped(frames: Iterable[Frame]) -> Iterator[Frame]:
    squeeze = zlib.compressobj(wbits=31)
    for piece in frames:
        squeezed = frame(squeeze.compress(piece.content) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        yield replace(piece, content=squeezed.content, chunk=squeezed.chunk, usage_bytes=None)
    yield frame(squeeze.flush(zlib.Z_FINISH))


def gzip_bomb(script: Script, megabytes: int) -> None:
    script.headers.append((b"content-encoding", b"gzip"))
    script.framing = Framing.CHUNKED
    script.frames = _gzipped(itertools.repeat(frame(b" " * 1_000_000), megabytes))


# --- the body's course --------------------------------------------------------------------------------------------


def cut_bytes(script: Script, count: int, ending: Ending) -> None:
    """``count`` body bytes, then ``ending``. A clean one announces the shorter length, where the body has a length."""
    script.frames = _first_bytes(script.frames, count)
    if ending is Ending.COMPLETE:
        script.length = min(script.length, count)
    script.ending = ending


def _first_bytes(frames: Iterable[Frame], count: int) -> Iterator[Frame]:
    for piece in frames:
        if len(piece.content) > count:
            if count:
                usage = piece.usage if count >= piece.known_after_bytes else None
                cut = frame(piece.content[:count], is_paced=piece.is_paced, usage=usage)
                yield replace(cut, usage_bytes=piece.usage_bytes)
            return
        yield piece
        count -= len(piece.content)


def cut_events(script: Script, count: int, ending: Ending) -> None:
    """``count`` whole frames, then ``ending``.

    A body with a length keeps its last byte back unless the end is a clean one: after that byte HTTP expects nothing
    more, and nobody would notice a stall.
    """
    if script.framing is Framing.LENGTH:
        frames = script.frames = list(script.frames)
        sizes = [len(piece.content) for piece in frames]
        size = sum(sizes[:count])
        cut_bytes(script, size if ending is Ending.COMPLETE else max(0, min(size, sum(sizes) - 1)), ending)
    else:
        script.frames = itertools.islice(script.frames, count)
        script.ending = ending


def cut_anywhere(script: Script, rng: Random, ending: Ending) -> None:
    """A drawn number of whole frames, of a body with a length a drawn number of bytes, never all; then ``ending``."""
    if script.framing is Framing.LENGTH:
        cut_bytes(script, rng.randrange(max(1, script.length)), ending)
    else:
        frames = script.frames = list(script.frames)
        cut_events(script, rng.randrange(max(1, len(frames))), ending)


def insert(script: Script, extra: Frame) -> None:
    """``extra`` before the second paced frame; where there is none before the last, but not before the first."""
    if script.framing is Framing.LENGTH:
        script.framing = Framing.CHUNKED
    script.frames = _with_extra(script.frames, extra)


def _with_extra(frames: Iterable[Frame], extra: Frame) -> Iterator[Frame]:
    paced, is_inserted = 0, False
    for position, piece in enumerate(frames):
        paced += piece.is_paced
        if not is_inserted and ((paced == 2 and piece.is_paced) or (piece.is_last and position)):
            yield extra
            is_inserted = True
        yield piece
    if not is_inserted:
        yield extra


def error_event(script: Script, count: int, error: Frame) -> None:
    """``count`` whole frames, then ``error`` and a clean end."""
    if script.framing is Framing.LENGTH:
        script.framing = Framing.CHUNKED
    script.frames = itertools.chain(itertools.islice(script.frames, count), [error])
