"""Finds settings that differ and cannot change without a restart. Applies nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.config.problems import Problem, Where, written

if TYPE_CHECKING:
    from relay_trio.config.root import Settings

FIXED: tuple[Where, ...] = (
    ("server", "listeners"),
    ("server", "tls_cert"),
    ("server", "tls_key"),
    ("server", "http2"),
    ("server", "ledger"),
    ("admin", "listener"),
    ("logging", "format"),
)
"""Settings that are used once, when the process starts: sockets are bound, files are opened, the log is set up."""


def fixed_problems(now: Settings, then: Settings) -> tuple[Problem, ...]:
    """The settings that differ and cannot change while the relay runs."""
    return tuple(
        Problem(written(where), "cannot change while the relay runs: restart it")
        for where in FIXED
        if _value(now, where) != _value(then, where)
    )


def _value(settings: Settings, where: Where) -> object:
    value: object = settings
    for name in where:
        value = getattr(value, str(name))
    return value
