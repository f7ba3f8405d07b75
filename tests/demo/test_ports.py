"""The demo's ports: two demos that begin at one moment never get the same."""

from __future__ import annotations

import pytest

from relay_trio.demo.ports import PortUnusable, listen


def test_a_usual_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    with listen("--port", 0, 8400) as first:
        taken = first.getsockname()[1]
        with listen("--port", None, taken) as second:
            assert second.getsockname()[1] not in (0, taken)


def test_a_chosen_port_that_is_taken_is_an_error_that_names_the_option() -> None:
    with listen("--admin-port", 0, 8401) as first:
        taken = first.getsockname()[1]
        with pytest.raises(PortUnusable, match=rf"^--admin-port {taken}: the port is taken by another program; choose"):
            listen("--admin-port", taken, 8401)


def test_a_port_is_taken_from_the_moment_it_is_given() -> None:
    """Bound is not enough: with SO_REUSEADDR, two sockets can be bound to one port, and the second ``listen`` fails."""
    with listen("--port", 0, 8400) as first, listen("--port", None, first.getsockname()[1]) as second:
        assert first.getsockname() != second.getsockname()
