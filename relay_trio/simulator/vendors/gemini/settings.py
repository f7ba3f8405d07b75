"""What the simulated Gemini API has of its own to set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeminiSettings:
    """``models`` are those in the list."""

    models: tuple[str, ...] = ("gemini-sim-pro", "gemini-sim", "gemini-embedding-sim")
