"""The task tree: every task, below its parent, where it waits, and no value of any variable.

Each check is a run of its own: below pytest-trio's task the tree would be that of the test.
"""

from __future__ import annotations

import trio
import trio.testing

from relay_trio.observe.tasks import task_tree

CANARY = "canaryprompttext"


async def sleeps(secret: str) -> None:
    prompt = f"{secret} {CANARY}"
    await trio.sleep_forever()
    assert prompt


async def starts_slowly(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    await trio.sleep_forever()


def test_each_task_stands_below_its_parent_with_the_innermost_place_first() -> None:
    seen: list[str] = []

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeps, "sk-a", name="the child")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent, name="the parent")
            await trio.testing.wait_all_tasks_blocked()
            seen.extend(task_tree().splitlines())
            nursery.cancel_scope.cancel()

    trio.run(main)
    (above,) = [line for line in seen if "the parent" in line]
    (below,) = [line for line in seen if "the child" in line]
    assert seen.index(below) == seen.index(above) + 1
    assert len(below) - len(below.lstrip()) == len(above) - len(above.lstrip()) + 2
    assert below.index("sleep_forever") < below.index("sleeps observe/test_tasks.py:")
    assert CANARY not in "".join(seen)
    assert "sk-a" not in "".join(seen)


def test_a_task_that_has_not_said_started_is_shown() -> None:
    """That is every request that waits for its slot or its head."""
    seen: list[str] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nursery.start, starts_slowly)
            await trio.testing.wait_all_tasks_blocked()
            seen.append(task_tree())
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert "starts_slowly" in seen[0]


def test_an_async_generator_that_is_awaited_shows_its_place() -> None:
    seen: list[str] = []

    async def numbers():  # type: ignore[no-untyped-def]
        await trio.sleep_forever()
        yield 1

    async def reads() -> None:
        async for _ in numbers():
            pass

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reads, name="the reader")
            await trio.testing.wait_all_tasks_blocked()
            seen.append(task_tree())
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert "sleep_forever" in next(line for line in seen[0].splitlines() if "the reader" in line)
