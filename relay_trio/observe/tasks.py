"""The live task tree of the process: which task, below which, and where each one waits.

Names and places in the code only, no values: a prompt or a key in a local variable stays there. It is our own because
the ready-made one leaves out tasks that ``nursery.start`` has not let go yet, which is every request that waits for its
slot or its head.
"""

from __future__ import annotations

import gc
import os
from inspect import isasyncgen
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES = 4


def task_tree() -> str:
    """One line per task, indented below its parent, innermost place first."""
    root = trio.lowlevel.current_root_task()
    assert root is not None  # there is one wherever a task can ask
    return "\n".join(_lines(root, 0)) + "\n"


def _lines(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{task.name}   {_place(task.coro)}"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _lines(child, depth + 1)


def _place(coroutine: Any) -> str:
    frames: list[str] = []
    while coroutine is not None:
        if not hasattr(coroutine, "cr_frame"):  # one step of an async generator names its generator to nobody else
            coroutine = next((inner for inner in gc.get_referents(coroutine) if isasyncgen(inner)), coroutine)
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            frames.append(f"{frame.f_code.co_qualname} {_shown(frame.f_code.co_filename)}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return " < ".join(reversed(frames[-_FRAMES:]))


def _shown(path: str) -> str:
    """Folder and file name, because file names repeat."""
    return "/".join(path.split(os.sep)[-2:])
