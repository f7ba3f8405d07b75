"""Cancel at every checkpoint: run a scenario again and again, and strike after step 0, 1, 2, … of it.

::

    async def scenario(run: Run) -> None:
        async with open_thing() as thing:          # set up: not explored
            with run.target():                     # explored: everything that happens while this block is open
                await thing.use()
            assert thing.in_use == 0               # the promise, checked whatever happened inside

    def test_cancel_anywhere_in_use_gives_it_back() -> None:
        explore(scenario)

A *step* is one stretch of one task between two yields to the scheduler: trio tells an ``Instrument`` after each. Each
run is a fresh ``trio.run`` with a ``MockClock`` that jumps (``autojump_threshold=0``), a seeded scheduler, and the
action after exactly one step. The exploration ends with the first run that is over before its step comes.

Besides what the scenario asserts, a run fails by: a ResourceWarning or a coroutine never awaited, an exception in a
finalizer, a file descriptor more than before, or standing still for an hour of mock time (a hang).

What to strike with is ``action(run)``, a plain function called between two steps: by default the target is cancelled.
It may do anything synchronous instead (close a memory stream, set an event, deliver a disconnect), with whatever the
scenario has put into ``run.stage``.

What counts as a step:

``Steps.TARGET``  steps of tasks below the target scope. The action comes just after the target did something.
``Steps.RUN``     steps of all tasks while the target is open. This also strikes when the target was rescheduled with a
                  value and has not resumed: the hand-over gap, which no step of the target's own can hit.

Lessons: a fake that stands for real I/O must end in ``trio.lowlevel.cancel_shielded_checkpoint()``, or losses of what
it returns cannot be seen; use several seeds; ``again`` strikes a second time (a cancel during the cleanup).
It cannot reach below the socket layer: storms of real aborts do that.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from trio._core import _run as trio_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    Scenario = Callable[["Run"], Awaitable[None]]
    Action = Callable[["Run"], None]

HANG_SECONDS = 3600.0
"""Of mock time, which passes only when nobody can run."""


class Steps(Enum):
    """Which steps are counted."""

    TARGET = "of tasks below the target"
    RUN = "of all tasks"


class Run:
    """One run, as its scenario and its action see it.

    ``stage`` is for the scenario: what it leaves there, the action finds. ``is_struck``: the action was called.
    """

    def __init__(self, counted: Steps, strikes: dict[int, Action]) -> None:
        self.stage = SimpleNamespace()
        self.steps = 0
        self.is_struck = False
        self.where: list[str] = []
        self.failure: Exception | None = None
        self._counted = counted
        self._strikes = strikes
        self._scope = trio.CancelScope()
        self._is_open = False

    @contextmanager
    def target(self) -> Iterator[trio.CancelScope]:
        """The block that is explored, and the scope that is cancelled. Once for each run."""
        with self._scope:
            self._is_open = True
            try:
                yield self._scope
            finally:
                self._is_open = False

    def cancel(self) -> None:
        """Cancel the target."""
        self._scope.cancel()

    def after_step(self, task: trio.lowlevel.Task) -> None:
        """Called by the instrument; must not raise."""
        if not self._is_open or (self._counted is Steps.TARGET and not self._is_below_target(task)):
            return
        action = self._strikes.pop(self.steps, None)
        self.steps += 1
        if action is None:
            return
        self.is_struck = True
        self.where.append(_position(task))
        try:
            action(self)
        except Exception as error:  # an instrument that raises is silently removed: keep it for the report
            self.failure = error

    def _is_below_target(self, task: trio.lowlevel.Task) -> bool:
        status: Any = task._cancel_status
        while status is not None:
            if status._scope is self._scope:
                return True
            status = status._parent
        return False


@dataclass(frozen=True)
class Exploration:
    """What was done: ``runs`` in all, and the ``steps`` of the longest run."""

    runs: int
    steps: int


class ExplorationFailed(AssertionError):
    """A run broke its promise; the message says after which step, the cause is the scenario's own exception."""


def cancel_target(run: Run) -> None:
    """The default action."""
    run.cancel()


def do_nothing(run: Run) -> None:
    """An action for trying a scenario out, and for pairs with ``again`` alone."""


def explore(
    scenario: Scenario,
    action: Action = cancel_target,
    *,
    counted: Sequence[Steps] = (Steps.TARGET, Steps.RUN),
    seeds: Sequence[int] = (0,),
    again: Action | None = None,
    gaps: Sequence[int] = (0,),
    autojump_threshold: float = 0,
    max_steps: int = 2000,
) -> Exploration:
    """Run ``scenario`` with ``action`` after each of its steps.

    ``again`` strikes a second time, 1 + gap steps after the first. ``autojump_threshold`` (real seconds) must be above
    zero where real sockets or threads take part. ``max_steps`` bounds a scenario that never gets longer than its step.

    Raises:
        ExplorationFailed: at the first run that fails.
    """
    runs = longest = 0
    gc.collect()
    gc.freeze()  # makes the collection after each run cheap
    try:
        for mode in counted:
            for seed in seeds:
                for gap in gaps if again is not None else (0,):
                    for step in range(max_steps):
                        strikes = {step: action}
                        if again is not None:
                            strikes[step + 1 + gap] = again
                        run = Run(mode, strikes)
                        _run_once(scenario, run, seed, step, autojump_threshold)
                        runs += 1
                        longest = max(longest, run.steps)
                        if not run.is_struck:
                            break
                    else:
                        raise ExplorationFailed(f"the scenario has more than {max_steps} steps")
    finally:
        gc.unfreeze()
    return Exploration(runs, longest)


class _Stepper(trio.abc.Instrument):
    def __init__(self, run: Run) -> None:
        self._run = run

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._run.after_step(task)


def _run_once(scenario: Scenario, run: Run, seed: int, step: int, autojump_threshold: float) -> None:
    async def limited() -> None:
        with trio.fail_after(HANG_SECONDS):
            await scenario(run)

    clock = trio.testing.MockClock(autojump_threshold=autojump_threshold)
    unraisable: list[str] = []
    error: Exception | None = None
    descriptors = _open_descriptors()
    with _seeded(seed), _finalizers_watched(unraisable), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            trio.run(limited, clock=clock, instruments=[_Stepper(run)])
        except Exception as failure:
            error = failure
        left_open = _open_descriptors() - descriptors
        gc.collect()
    leaks = [w for w in caught if issubclass(w.category, (ResourceWarning, RuntimeWarning))]
    problems = [*unraisable, *(str(warning.message) for warning in leaks)]
    if left_open > 0:
        problems.append(f"{left_open} file descriptors left open")
    error = error or run.failure
    if error is None and not problems:
        return
    if error is not None:
        problems.insert(0, "".join(traceback.format_exception_only(error)).strip())
    where = "; then ".join(run.where) or "no strike"
    raise ExplorationFailed(
        f"step {step} {run._counted.value}, seed {seed}, after {where}:\n" + "\n".join(problems)
    ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make trio's scheduler repeatable: it shuffles what is runnable, on purpose."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r = random.Random(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before  # type: ignore[misc]


@contextmanager
def _finalizers_watched(unraisable: list[str]) -> Iterator[None]:
    before = sys.unraisablehook
    sys.unraisablehook = lambda args: unraisable.append(f"in a finalizer: {args.exc_value!r}")
    try:
        yield
    finally:
        sys.unraisablehook = before


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _position(task: trio.lowlevel.Task) -> str:
    """Where ``task`` stands, innermost frame first."""
    frames = []
    coroutine: Any = task.coro
    while coroutine is not None and hasattr(coroutine, "cr_frame"):
        if coroutine.cr_frame is not None:
            code = coroutine.cr_frame.f_code
            frames.append(f"{os.path.basename(code.co_filename)}:{coroutine.cr_frame.f_lineno} {code.co_name}")
        coroutine = coroutine.cr_await
    return f"{task.name} at " + " < ".join(reversed(frames[-6:]))
