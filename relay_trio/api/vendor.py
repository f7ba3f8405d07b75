"""What one line of the registry holds: a kind of upstream account, and the dialect that comes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.api.provider import Provider


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider, and the dialect of its own clients; None where these use another vendor's dialect."""

    provider: Provider[Any]
    dialect: Dialect | None = None
