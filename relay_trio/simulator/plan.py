"""How one request is to be answered: settings, overridden by specs, drawn from the seed.

A *spec* is ``key=value`` pairs joined by ``,`` or ``;``, for example ``chunks=50,pace=0.01,fault=reset_after:1000``.
It may stand, each overriding those before it, in

1. ``Simulator.plan_account(credential, spec)``: for every request of one account,
2. the model name, after the first colon that begins a pair: ``a-model:chunks=5,fault=429`` (a relay forwards it,
   and it passes an allow-list such as ``[A-Za-z0-9._:/@=,+-]``; names that hold colons themselves stay usable),
3. the request's metadata, where a vendor's API has any (see its ``requests``),
4. the header ``x-sim``,
5. ``Simulator.plan_next(spec, ...)``: for the next requests that arrive.

| key | value |
|---|---|
| ``delay`` | seconds before the first byte |
| ``pace`` | seconds between content deltas; 0 sends as fast as the socket takes |
| ``jitter`` | 0 to 1: each interval is drawn from ``pace * (1 - jitter)`` to ``pace * (1 + jitter)`` |
| ``chunks`` | content deltas; ``max_tokens`` of the request bounds it |
| ``thinking`` | deltas of thinking, when the request asks for thinking |
| ``tokens`` | tokens per delta |
| ``chars`` | characters per text delta |
| ``input``, ``cache_creation``, ``cache_read`` | tokens, in place of those computed from the request |
| ``delta_input`` | input tokens reported at the end, as after server tools; overrides those of the start |
| ``delta_usage`` | at the end, ``all`` fields, or only ``output`` or ``thoughts``, where a vendor has these |
| ``usage`` | ``normal``, or nonsense: ``missing``, ``null``, ``negative``, ``huge``, ``string``, ``decreasing`` |
| ``batch`` | bytes that unpaced events may share in one send; 1 sends each alone |
| ``tag`` | free text, kept in ``ServedRequest.tag`` |
| ``fault`` | see ``faults``; several are joined by ``+``; ``none`` also keeps drawn ones away |

Numbers may be ranges, ``low..high``, drawn evenly from the simulator's seed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.faults import SpecError, parse_faults, parse_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay_trio.simulator.faults import Fault
    from relay_trio.simulator.settings import Count, Range, SimulatorSettings

_SPEC_IN_MODEL = re.compile(r"^(?P<model>.+?):(?P<spec>[a-z_]+=.*)$", re.DOTALL)
_SETTINGS = {
    "delay": "first_byte_delay_seconds",
    "pace": "chunk_interval_seconds",
    "jitter": "jitter",
    "chunks": "chunks",
    "thinking": "thinking_chunks",
    "tokens": "tokens_per_chunk",
    "chars": "chunk_chars",
    "input": "input_tokens",
    "cache_creation": "cache_creation_tokens",
    "cache_read": "cache_read_tokens",
    "batch": "batch_bytes",
}
_DEFAULTS = {"delta_input": None, "delta_usage": "all", "usage": "normal", "tag": "", "fault": None}
_USAGE_KINDS = frozenset({"normal", "missing", "null", "negative", "huge", "string", "decreasing"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings and specs, settled for one request; fields as in the table above."""

    delay: float
    pace: float
    jitter: float
    chunks: int
    thinking: int
    tokens: int
    chars: int | None
    input: int | None
    cache_creation: int | None
    cache_read: int | None
    delta_input: int | None
    delta_usage: str
    usage: str
    batch: int
    tag: str
    fault: tuple[Fault, ...]
    rng: Random

    @property
    def fault_label(self) -> str:
        """The faults as a spec would name them."""
        return "+".join(fault.label for fault in self.fault)


def split_model(model: str) -> tuple[str, str]:
    """A model name as its plain name and the spec it carries, which may be empty."""
    match = _SPEC_IN_MODEL.match(model)
    return (match["model"], match["spec"]) if match else (model, "")


def settle(settings: SimulatorSettings, specs: Iterable[str], rng: Random, *, draws_faults: bool) -> Plan:
    """The plan for one request: ``specs`` over ``settings``, the later the stronger.

    What is random about a request is drawn from a generator of its own, which ``rng`` seeds: the same requests in the
    same order get the same plans, however their answers overlap.

    Raises:
        SpecError: a spec names a key, a value or a fault that does not exist.
    """
    chosen: dict[str, Any] = {key: getattr(settings, name) for key, name in _SETTINGS.items()}
    chosen |= _DEFAULTS
    rng = Random(rng.getrandbits(64))
    for spec in specs:
        chosen.update(_parse(spec))
    for key, value in chosen.items():
        if isinstance(value, tuple) and key != "fault":
            low, high = value
            chosen[key] = rng.randint(low, high) if isinstance(low, int) else rng.uniform(low, high)
    if chosen["fault"] is None:
        chosen["fault"] = _drawn(settings.faults, rng) if draws_faults else ()
    return Plan(rng=rng, **chosen)


def check_spec(spec: str) -> None:
    """Read ``spec`` and throw it away, so that a mistake is found where it was made.

    Only a vendor knows the kinds of its own errors and broken events: these are checked with the request.

    Raises:
        SpecError: ``spec`` names a key, a value or a fault that does not exist.
    """
    _parse(spec)


def settle_settings(spec: str, rates: str) -> dict[str, Any]:
    """``spec`` as fields of ``SimulatorSettings``; both texts are checked.

    Raises:
        SpecError: ``spec`` or ``rates`` cannot be read, or a key of ``spec`` is no setting.
    """
    if rates:
        parse_rates(rates)
    unknown = [key for key, _ in _parse(spec) if key not in _SETTINGS]
    if unknown:
        raise SpecError(f"{unknown[0]} is of one request, not a setting")
    return {_SETTINGS[key]: value for key, value in _parse(spec)}


@lru_cache(maxsize=4096)
def _parse(spec: str) -> tuple[tuple[str, Any], ...]:
    pairs: list[tuple[str, Any]] = []
    for pair in re.split("[,;]", spec):
        if not pair.strip():
            continue
        key, equals, text = pair.strip().partition("=")
        parser = _PARSERS.get(key)
        if parser is None or not equals:
            raise SpecError(f'"{pair}" is not key=value with a key of {", ".join(sorted(_PARSERS))}')
        try:
            pairs.append((key, parser(text)))
        except ValueError as error:
            raise SpecError(f"{key}={text}: {error}") from None
    return tuple(pairs)


def _drawn(rates: str, rng: Random) -> tuple[Fault, ...]:
    if not rates:
        return ()
    ticket = rng.random()
    for fault, rate in parse_rates(rates):
        ticket -= rate
        if ticket < 0:
            return (fault,)
    return ()


def _seconds(text: str) -> Range:
    low, dots, high = text.partition("..")
    pair = _number(low), _number(high if dots else low)
    return pair if dots else pair[0]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError("expected a finite number of 0 or more")
    return value


def _count(text: str) -> Count:
    low, dots, high = text.partition("..")
    try:
        pair = int(low), int(high if dots else low)
    except ValueError:
        pair = -1, -1
    if min(pair) < 0 or pair[0] > pair[1]:
        raise ValueError("expected a whole number of 0 or more, or low..high")
    return pair if dots else pair[0]


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    known = frozenset(names)

    def choose(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected one of {', '.join(sorted(known))}")
        return text

    return choose


_PARSERS: dict[str, Callable[[str], Any]] = {
    "delay": _seconds,
    "pace": _seconds,
    "jitter": _number,
    "chunks": _count,
    "thinking": _count,
    "tokens": _count,
    "chars": _count,
    "input": _count,
    "cache_creation": _count,
    "cache_read": _count,
    "delta_input": _count,
    "delta_usage": _one_of({"all", "output", "thoughts"}),
    "usage": _one_of(_USAGE_KINDS),
    "batch": _count,
    "tag": str,
    "fault": parse_faults,
}
assert {field.name for field in fields(Plan)} == {*_PARSERS, "rng"}
