"""What the simulated Bedrock has of its own to set: whose signatures it takes, and for which region."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay_trio.simulator.vendors.bedrock.sigv4 import AccessKey
from relay_trio.simulator.vendors.claude.settings import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ACCESS_KEYS = {
    "AKIAIOSFODNN7EXAMPLE": AccessKey(_SECRET),
    "ASIAIOSFODNN7EXAMPLE": AccessKey(_SECRET, session_token="simulated-session-token"),
}
"""AWS's own example credentials, from its documentation: a lasting pair, and a temporary one with its token."""


@dataclass(frozen=True, slots=True)
class BedrockSettings:
    """``models`` are those in the list of inference profiles.

    ``access_keys``: by their ids, those whose signatures are verified; ``region`` None takes a signature for any.
    """

    models: tuple[str, ...] = MODELS
    access_keys: Mapping[str, AccessKey] = field(default_factory=ACCESS_KEYS.copy)
    region: str | None = None
