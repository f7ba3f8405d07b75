"""What a simulator does by default: pace, length, delays, fault rates, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

Range = float | tuple[float, float]
Count = int | tuple[int, int]

Own = TypeVar("Own")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What the simulator does unless a request's spec says otherwise.

    Seconds and tokens; a pair is a range to draw from. ``faults`` are drawn for requests that generate:
    ``"429:0.02,stall:0.01"``, each a fault and its probability. ``accepted_keys`` None accepts every credential, but
    one must be presented. ``input_tokens`` None counts the request's words. ``keep_alive_seconds``: an idle
    connection is closed after so long; ``requests_per_connection``: the last answer says
    ``connection: close``.
    ``vendors``: settings that only one vendor has, at most one of each class.
    ``keep_bodies`` False leaves headers and bodies of requests out of the truth, for long runs.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    first_byte_delay_seconds: Range = 0.0
    chunk_interval_seconds: Range = 0.0
    jitter: float = 0.0
    chunks: Count = 20
    thinking_chunks: Count = 4
    tokens_per_chunk: int = 1
    chunk_chars: int | None = None
    input_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    batch_bytes: int = 16384
    faults: str = ""
    accepted_keys: frozenset[str] | None = None
    accepts_unknown_models: bool = True
    max_body_bytes: int = 32 * 1024 * 1024
    keep_alive_seconds: float | None = None
    requests_per_connection: int | None = None
    keep_bodies: bool = True
    vendors: tuple[object, ...] = ()

    def own(self, kind: type[Own]) -> Own:
        """A vendor's own settings: those of ``vendors`` that are of class ``kind``, else its defaults."""
        return next((given for given in self.vendors if isinstance(given, kind)), kind())
