"""Names of models, glob patterns of them, and patterns compared with each other: may one name match both?"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONG_CONTEXT = "[1m]"
_SET = re.compile(r"\[!?+\]?+[^\]]*+\]")


def bare_name(model: str) -> str:
    """``model`` without what Claude Code appends to a name to choose the long context: ``claude-opus-4-6[1m]``."""
    return model.removesuffix(LONG_CONTEXT)


def is_match(model: str, patterns: Sequence[str]) -> bool:
    """Whether the name of a model matches one of the glob patterns, with its suffix or without. Case counts."""
    if any(fnmatchcase(model, pattern) for pattern in patterns):
        return True
    return model.endswith(LONG_CONTEXT) and is_match(bare_name(model), patterns)


def common(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Patterns of the names that may match a pattern of each: of two that overlap, the narrower one."""
    found: dict[str, None] = {}
    for one, other in product(some, others):
        if _may_overlap(_plain(one), _plain(other)):
            found[other if fnmatchcase(other, one) else one] = None
    return tuple(found)


def may_overlap(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a name may match a pattern of each. A set such as ``[ab]`` counts as any character, so it may say yes
    where there is no such name, never no where there is one."""
    return any(_may_overlap(one, other) for one, other in product(map(_plain, some), map(_plain, others)))


def are_close(one: str, other: str) -> bool:
    """Whether one of the patterns matches what the other says with a letter for each wildcard: ``gemini-*`` and
    ``gemini*`` are close, ``gemini*`` and ``*.*`` only overlap."""
    return is_match(_spelt_out(one), [other]) or is_match(_spelt_out(other), [one])


def _spelt_out(pattern: str) -> str:
    return re.sub(r"[?*]", "x", _plain(pattern))


def _plain(pattern: str) -> str:
    return _SET.sub("?", pattern)


def _may_overlap(one: str, other: str) -> bool:
    """Walk both at once: each step takes one character of the name, or the nothing that a star stands for."""
    seen: set[tuple[int, int]] = set()
    steps = [(0, 0)]
    while steps:
        i, j = step = steps.pop()
        if step in seen or i > len(one) or j > len(other):
            continue
        seen.add(step)
        if i == len(one) and j == len(other):
            return True
        if one[i : i + 1] == "*" or other[j : j + 1] == "*":
            steps += [(i + 1, j), (i, j + 1)]
        elif i < len(one) and j < len(other) and (one[i] == other[j] or "?" in (one[i], other[j])):
            steps.append((i + 1, j + 1))
    return False
