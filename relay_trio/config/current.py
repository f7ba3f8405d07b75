"""The settings that count now.

One holder for the whole process, with one writer: ``App.replace``. Whoever needs a value reads it here when it needs
it, and keeps it for as long as one request lasts at the most, so that a change reaches everything that begins later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.config.root import Settings


@dataclass(slots=True)
class CurrentSettings:
    """``value`` is replaced as a whole, never changed."""

    value: Settings
