"""One upstream account: its settings, its provider, its health, and the slots that its attempts hold."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.accounts.health import Health
    from relay_trio.config import AccountSettings, TimeoutSettings
    from relay_trio.providers.base import Provider


@dataclass(eq=False, slots=True)
class Account:
    """``timeouts`` are the account's own over the global ones."""

    settings: AccountSettings
    provider: Provider
    timeouts: TimeoutSettings
    health: Health

    @property
    def name(self) -> str:
        return self.settings.name

    def serves(self, model: str | None) -> bool:
        """Whether one of the account's patterns matches; a request without a model goes anywhere."""
        return model is None or is_match(model, self.settings.models)


def is_match(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model name matches one of the glob patterns. Case counts."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)
