"""Rows as aligned text: words to the left, numbers to the right, the same on a terminal and in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, numbers_from: int | None = None, gap: str = "   ") -> list[str]:
    """One line for each row of equal length; columns from ``numbers_from`` on stand to the right. ``gap`` separates the
    columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.rjust(width) if numbers_from is not None and column >= numbers_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
