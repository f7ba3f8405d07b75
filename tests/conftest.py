"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of recorded provider traffic. It is other people's test data, so it is not in this project."""
    place = Path(os.environ.get("RELAY_TRIO_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
    if not place.is_dir():
        pytest.skip("corpus not found: set RELAY_TRIO_CORPUS")
    return place
