"""Faults by name: how they are written, and which rewriting of the script each one is.

Written ``name`` or ``name:argument``; several are joined by ``+`` and applied in that order. Default rates are
``name[:argument]:rate`` joined by commas.

STATUS[:[RETRY_AFTER][/TYPE]]
    300 to 599. RETRY_AFTER goes into the header as written, or is ``date`` (in 10 s), ``past``, ``junk``, ``none``;
    A vendor that has it in the body writes it there.
    429 has 1 unless another is written, the others have none. TYPE is the error's name in the dialect, if not the usual
    one of STATUS: ``429:none/ModelNotReadyException``.
html:STATUS  big_error:STATUS/BYTES
    an error whose body is not the dialect's
close_before_head  reset_before_head  silent
    FIN, RST, nothing at all, once the request was read
close_after_head  reset_after_head
close_after:N  reset_after:N  end_after:N  stall_after:N
    N body bytes, then FIN without the body's end, RST, an end that is right for HTTP, silence
close_after_events:N  reset_after_events:N  end_after_events:N  stall_after_events:N
    the same after N whole events
close  reset  end  stall
    the same after a number of events drawn for each request; an answer that is not a stream is cut at a drawn byte
drip[:SECONDS]  slow_head[:SECONDS]
    one byte at a time
resplit:N
    the body in HTTP chunks of N bytes, each in a send of its own
malformed[:KIND]
    events that break the format, before the second delta; KIND is one of the vendor's ``MALFORMED``
huge_event:MEGABYTES
    a valid event of that size, before the second delta
error_event:N[/TYPE]
    after N events an error event and a clean end
gzip  gzip_bomb:MEGABYTES
    compressed though the client accepts no encoding; as much white space, compressed
early_hints  continues:N  endless_continue
    103; N times 100; 100 for ever
huge_headers:BYTES  many_headers:N  bad_header  odd_headers
    odd_headers are legal: Set-Cookie, hop-by-hop fields, upstream ids, a retry-after on a good answer
trailers  http10  connection_close
    fields after the last chunk; a body that ends with the connection; a good answer that is the connection's last
junk  split
    not HTTP; two answers in one
wrong_length[:N]
    content-length wrong by N (100 unless written)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from relay_trio.simulator import effects
from relay_trio.simulator.script import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from relay_trio.simulator.effects import Dialect
    from relay_trio.simulator.script import Script


class SpecError(ValueError):
    """A spec names a key, a value or a fault that does not exist; the message says which and what there is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with its argument as written (empty: the default)."""

    name: str
    argument: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def status(self) -> int | None:
        """The status that this fault answers with as the dialect writes errors, or None."""
        return int(self.name) if self.name.isdecimal() else None

    @property
    def retry_after(self) -> bytes | None:
        """The ``retry-after`` that goes with a status fault."""
        text = self.argument.partition("/")[0] or ("1" if self.name == "429" else "none")
        return effects.retry_after(text)

    @property
    def kind(self) -> str:
        """The dialect's name for a status fault; empty for the usual one."""
        return self.argument.partition("/")[2]

    def apply(self, script: Script, rng: Random, dialect: Dialect) -> None:
        """Rewrite ``script``; ``rng`` draws where a cut without a place is made."""
        if self.status is None:
            _KINDS[self.name].apply(script, self.argument, rng, dialect)


@lru_cache(maxsize=1024)
def parse_faults(text: str) -> tuple[Fault, ...]:
    """The faults named in ``text``; ``none`` and the empty text name none.

    Raises:
        SpecError: there is no such fault, or its argument is not of its kind.
    """
    if text in {"", "none"}:
        return ()
    return tuple(_parse(part) for part in text.split("+"))


@lru_cache(maxsize=64)
def parse_rates(text: str) -> tuple[tuple[Fault, float], ...]:
    """Faults with their probabilities: ``429:0.02,reset_after:1000:0.01``.

    Raises:
        SpecError: no such fault, no rate, or rates that add up to more than 1.
    """
    rates = []
    for part in text.split(","):
        label, colon, rate = part.strip().rpartition(":")
        try:
            probability = float(rate)
        except ValueError:
            probability = -1.0
        if not colon or not 0 <= probability <= 1:
            raise SpecError(f'expected fault:rate with a rate from 0 to 1, got "{part.strip()}"')
        rates.append((_parse(label), probability))
    if sum(rate for _, rate in rates) > 1 + 1e-9:
        raise SpecError(f'the fault rates "{text}" add up to more than 1')
    return tuple(rates)


def _parse(text: str) -> Fault:
    name, _, argument = text.strip().partition(":")
    if name.isdecimal():
        if not 300 <= int(name) <= 599:
            raise SpecError(f'a status fault is from 300 to 599, got "{text}"')
        return Fault(name, argument)
    kind = _KINDS.get(name)
    if kind is None:
        close = difflib.get_close_matches(name.lower(), _KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are a status, {', '.join(FAULT_NAMES)}"
        raise SpecError(f'there is no fault "{name}"; {hint}')
    try:
        kind.check(argument)
    except ValueError as error:
        raise SpecError(f'fault "{text.strip()}": {error}') from None
    return Fault(name, argument)


# --- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    apply: Callable[[Script, str, Random, Dialect], None]
    check: Callable[[str], object] = str


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("expected a whole number")
    return int(text)


def _optional_seconds(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError:
        raise ValueError("expected a number of seconds") from None


def _optional_number(text: str) -> int:
    return _whole_number(text) if text else 0


def _optional_difference(text: str) -> int:
    return _optional_number(text.removeprefix("-"))


def _nothing(text: str) -> None:
    if text:
        raise ValueError("expected no argument")


def _status_and_bytes(text: str) -> tuple[int, int]:
    status, _, count = text.partition("/")
    return _whole_number(status), _optional_number(count)


def _count_and_type(text: str) -> tuple[int, str]:
    count, _, kind = text.partition("/")
    return _optional_number(count), kind


def _error_event(script: Script, argument: str, rng: Random, dialect: Dialect) -> None:
    count, kind = _count_and_type(argument)
    effects.error_event(script, count, dialect.error_event(kind))


def _plain(effect: Callable[[Script], None]) -> _Kind:
    return _Kind(lambda script, argument, rng, dialect: effect(script), _nothing)


def _counted(effect: Callable[[Script, int], None]) -> _Kind:
    return _Kind(lambda script, argument, rng, dialect: effect(script, int(argument)), _whole_number)


def _instead(ending: Ending) -> _Kind:
    return _plain(lambda script: effects.instead_of_head(script, ending))


def _cut(name: str, ending: Ending) -> dict[str, _Kind]:
    return {
        f"{name}_after": _counted(lambda script, count: effects.cut_bytes(script, count, ending)),
        f"{name}_after_events": _counted(lambda script, count: effects.cut_events(script, count, ending)),
        name: _Kind(
            lambda script, argument, rng, dialect: effects.cut_anywhere(script, rng, ending),
            _nothing,
        ),
    }


_KINDS: dict[str, _Kind] = {
    "html": _counted(effects.html_error),
    "big_error": _Kind(lambda s, a, rng, d: effects.big_error(s, *_status_and_bytes(a)), _status_and_bytes),
    "close_before_head": _instead(Ending.CLOSE),
    "reset_before_head": _instead(Ending.RESET),
    "silent": _instead(Ending.STALL),
    "close_after_head": _plain(lambda script: effects.cut_bytes(script, 0, Ending.CLOSE)),
    "reset_after_head": _plain(lambda script: effects.cut_bytes(script, 0, Ending.RESET)),
    **_cut("close", Ending.CLOSE),
    **_cut("reset", Ending.RESET),
    **_cut("end", Ending.COMPLETE),
    **_cut("stall", Ending.STALL),
    "drip": _Kind(lambda s, a, rng, d: effects.drip(s, float(a or 0.001)), _optional_seconds),
    "slow_head": _Kind(lambda s, a, rng, d: effects.slow_head(s, float(a or 0.01)), _optional_seconds),
    "resplit": _counted(effects.resplit),
    "malformed": _Kind(lambda s, a, rng, dialect: effects.insert(s, dialect.malformed(a)), str),
    "error_event": _Kind(_error_event, _count_and_type),
    "huge_event": _Kind(
        lambda s, a, rng, dialect: effects.insert(s, dialect.huge_event(int(a) * 1_000_000)), _whole_number
    ),
    "gzip": _plain(effects.gzipped),
    "gzip_bomb": _counted(effects.gzip_bomb),
    "early_hints": _plain(effects.early_hints),
    "continues": _counted(effects.continues),
    "endless_continue": _plain(effects.endless_continue),
    "huge_headers": _counted(effects.huge_headers),
    "many_headers": _counted(effects.many_headers),
    "bad_header": _plain(effects.bad_header),
    "odd_headers": _plain(effects.odd_headers),
    "trailers": _plain(effects.trailers),
    "http10": _plain(effects.http10),
    "junk": _plain(effects.junk),
    "split": _plain(effects.split),
    "wrong_length": _Kind(lambda s, a, rng, d: effects.wrong_length(s, int(a or 100)), _optional_difference),
    "connection_close": _plain(effects.connection_close),
}
FAULT_NAMES = tuple(sorted(_KINDS))
"""Every fault but the statuses, for tests that go through all of them."""
