"""Addresses that cannot be had are found, and named by their setting; whoever has them is left alone."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from relay_trio.cli.listeners import unusable_listeners, unusable_of
from relay_trio.config import Settings

if TYPE_CHECKING:
    from pathlib import Path


def settings(*listeners: str, admin: str = "127.0.0.1:0") -> Settings:
    server = {"listeners": list(listeners), "allow_insecure": True}
    return Settings.model_validate({"server": server, "admin": {"listener": admin}})


def test_free_addresses_are_no_problem_and_stay_free(tmp_path: Path) -> None:
    found = settings("127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/relay.sock")
    assert list(unusable_listeners(found)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        [unusable] = unusable_listeners(settings("127.0.0.1:0", address))
    assert (unusable.setting, unusable.is_taken) == ("server.listeners[1]", True)
    assert unusable.message.startswith(f"cannot listen on {address}: Address already in use; another program")


def test_a_host_that_does_not_exist_is_a_problem() -> None:
    [unusable] = unusable_listeners(settings("no-such-host.invalid:1"))
    assert not unusable.is_taken
    assert unusable.message.startswith("cannot listen on no-such-host.invalid:1: ")


def test_a_unix_socket_needs_its_directory(tmp_path: Path) -> None:
    [unusable] = unusable_listeners(settings("127.0.0.1:0", admin=f"unix:{tmp_path}/run/relay.sock"))
    assert unusable.setting == "admin.listener"
    assert unusable.message.endswith("its directory does not exist: create it, or set another path")


def test_a_unix_socket_in_use_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX) as holder, socket.socket(socket.AF_UNIX) as client:
        holder.bind(str(path))
        holder.listen()
        assert list(unusable_listeners(settings(f"unix:{path}"))) == []
        client.connect(str(path))


@pytest.mark.parametrize(("address", "setting"), [("127.0.0.1:8400", "server.listeners[0]"), ("/etc/x", None)])
def test_an_error_is_assigned_to_the_listener_that_it_names(address: str, setting: str | None) -> None:
    unusable = unusable_of(OSError(errno.EADDRINUSE, "in use", address), settings("127.0.0.1:8400"))
    assert (unusable.setting if unusable else None) == setting
