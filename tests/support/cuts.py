"""The same bytes, cut in every way a network may cut them."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def cuts(data: bytes, *, drawn: int = 8, seed: int = 0) -> Iterator[list[bytes]]:
    """``data`` whole, byte by byte, and cut at points drawn from ``seed``, from few to many."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    draw = random.Random(seed)
    for _ in range(drawn):
        count = draw.choice((1, 2, 5, 20))
        points = sorted(draw.randrange(len(data) + 1) for _ in range(count)) if data else []
        edges = [0, *points, len(data)]
        yield [data[start:end] for start, end in itertools.pairwise(edges)]
