"""What a simulated provider is: requests in, scripts out. A new one is a folder in ``vendors``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from relay_trio.simulator.effects import Dialect

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Script


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a provider sees it.

    ``document`` is None when the body holds no JSON object. ``specs`` are those found in the request (see ``plan``),
    the weakest first. ``is_generation``: it is one that makes tokens, and that default fault rates apply to.
    ``dialect``: the format of this answer's stream, where the provider has more than its own.
    """

    request: Request
    credential: str | None
    document: dict[str, Any] | None
    model: str
    specs: tuple[str, ...]
    is_stream: bool
    is_generation: bool
    dialect: Dialect | None = None


class Provider(Dialect, Protocol):
    """One simulated API, with what it remembers (caches, batches)."""

    name: str

    def serves(self, request: Request) -> bool:
        """Whether ``request`` may be for this provider; ``vendors.registry`` settles who answers what several serve."""

    def read(self, request: Request) -> Call:
        """Understand ``request`` as far as it goes. Never raises."""

    def answer(self, call: Call, plan: Plan, request_id: str) -> Script:
        """The answer when nothing goes wrong but the request itself. Never raises."""

    def error(
        self, status: int, message: str, request_id: str, retry_after: bytes | None = None, kind: str = ""
    ) -> Script:
        """An error, or below 400 a redirect, as the provider writes it; ``kind`` is its name for the error if not the
        usual one of ``status``."""
