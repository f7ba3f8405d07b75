"""What may differ while the relay runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_trio.config import Settings
from relay_trio.config.reload import FIXED, fixed_problems
from relay_trio.config.root import tables


def test_the_same_settings_differ_in_nothing() -> None:
    assert fixed_problems(Settings(), Settings()) == ()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"server": {"listeners": ["127.0.0.1:1"]}}, "server.listeners"),
        ({"server": {"tls_cert": "cert.pem", "tls_key": "key.pem"}}, "server.tls_cert"),
        ({"server": {"http2": False}}, "server.http2"),
        ({"server": {"ledger": Path("other.db")}}, "server.ledger"),
        ({"admin": {"listener": "127.0.0.1:1"}}, "admin.listener"),
        ({"logging": {"format": "json"}}, "logging.format"),
    ],
)
def test_what_the_process_starts_with_is_named(changes: dict[str, object], path: str) -> None:
    problem, *others = fixed_problems(Settings(), Settings.model_validate(changes))
    assert problem.path == path
    assert "restart" in problem.message
    assert len(others) == (path == "server.tls_cert")


def test_every_fixed_setting_is_one() -> None:
    """A setting that was renamed must not become changeable by it."""
    names = {name for table in tables() for name in table.model_fields} | Settings.model_fields.keys()
    assert {where[-1] for where in FIXED} <= names
