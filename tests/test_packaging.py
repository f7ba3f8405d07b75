"""What pyproject.toml says of the package is true, and said once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_license_that_is_named_is_shipped() -> None:
    [place] = PROJECT["license-files"]
    assert (ROOT / place).read_text().startswith(f"{PROJECT['license']} License\n")


def test_every_dependency_is_named_once() -> None:
    """For one environment: a marker makes another one of it."""
    for requirements in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        names = [re.sub(r"[<>=\[][^;]*", "", requirement, count=1) for requirement in requirements]
        assert len(set(names)) == len(names), names
