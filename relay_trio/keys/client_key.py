"""One client's key, without its secret."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client's key, without its secret. Times are epoch seconds."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    last4: str
    models: tuple[str, ...] = ("*",)
    created_at: float = 0.0
    revoked_at: float | None = None


def id_in_file(name: str) -> str:
    """The id of a key of that name that stands in the configuration, such as ``cfg_team-x``."""
    return f"cfg_{name}"
