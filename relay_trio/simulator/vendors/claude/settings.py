"""What the simulated Claude API has of its own to set."""

from __future__ import annotations

from dataclasses import dataclass

MODELS = ("claude-sim-large", "claude-sim-small", "claude-sim")


@dataclass(frozen=True, slots=True)
class ClaudeSettings:
    """``models`` are those in the list; ``batch_seconds``: how long a batch takes."""

    models: tuple[str, ...] = MODELS
    batch_seconds: float = 0.0
