"""What every test may use, and the fast lane.

``python -m pytest -m "not explore and not e2e"`` is the fast lane: half a minute, and every promise but those that only
all schedules or a whole program can show. Both marks are given here, so that a new test cannot forget its own:
``explore`` to each test that calls the explorer, ``e2e`` to all of ``tests/e2e``. A test elsewhere that starts a
process, speaks through a real SDK or takes more than a second carries ``e2e`` itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog

from relay_trio.ledger import writer
from relay_trio.observe import log as observe_log
from tests.support.recordings import Recording, foreign, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

END_TO_END = Path(__file__).parent / "e2e"
WHOLE_MODULE = "\npytestmark = pytest.mark.e2e"

hypothesis.settings.register_profile("fast", max_examples=20)
"""A fifth of the examples: the fast lane draws often, the whole draws deep."""


def is_fast_lane(config: pytest.Config) -> bool:
    expression = config.getoption("markexpr")
    return "not explore" in expression and "not e2e" in expression


def pytest_configure(config: pytest.Config) -> None:
    if is_fast_lane(config):
        hypothesis.settings.load_profile("fast")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The fast lane does not even load what is end to end as a whole: SDKs take longer to load than many a test."""
    if not is_fast_lane(config):
        return None
    if collection_path == END_TO_END:
        return True
    return True if collection_path.suffix == ".py" and WHOLE_MODULE in collection_path.read_text() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(END_TO_END):
            item.add_marker("e2e")
        if names(getattr(getattr(item, "function", None), "__code__", None), "explore"):
            item.add_marker("explore")


def names(code: CodeType | None, name: str) -> bool:
    """Whether a function, or one inside of it, names ``name``."""
    if code is None:
        return False
    return name in code.co_names or any(names(inner, name) for inner in code.co_consts if isinstance(inner, CodeType))


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    """A configured logger keeps the file that it first wrote to, which here is one test's captured output."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        for logger in (observe_log._log, writer._log):
            vars(logger).pop("bind", None)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of a foreign corpus. It is other people's test data, so it is not in this project."""
    place = Path(os.environ.get("RELAY_TRIO_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
    if not place.is_dir():
        pytest.skip("corpus not found: set RELAY_TRIO_CORPUS")
    return place


@pytest.fixture(scope="session", params=["ours", "foreign"])
def recordings(request: pytest.FixtureRequest) -> list[Recording]:
    """Those in the tree; and once more with the foreign corpus, where there is one."""
    return list(ours()) if request.param == "ours" else foreign(request.getfixturevalue("corpus"))
