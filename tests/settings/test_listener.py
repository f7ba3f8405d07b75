"""Addresses as operators write them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.settings.listener import Listener, is_loopback_host


@pytest.mark.parametrize(
    ("written", "listener"),
    [
        ("127.0.0.1:8400", Listener("127.0.0.1", 8400)),
        ("localhost:0", Listener("localhost", 0)),
        ("relay.example-host.org:65535", Listener("relay.example-host.org", 65535)),
        ("[::1]:8400", Listener("::1", 8400)),
        ("unix:/run/relay.sock", Listener(path="/run/relay.sock")),
    ],
)
def test_a_listener_is_written_as_it_is_read(written: str, listener: Listener) -> None:
    assert Listener.parse(written) == listener
    assert str(listener) == written


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("", "host:port"),
        ("8400", "host:port"),
        ("localhost", "host:port"),
        (":8400", "0.0.0.0"),
        ("127.0.0.1:65536", "65535"),
        ("127.0.0.1:-1", "65535"),
        ("127.0.0.1:८४", "65535"),
        ("::1:8400", r"\[ and \]"),
        ("[nonsense]:8400", r"\[ and \]"),
        ("http://127.0.0.1:8400", r"\[ and \]"),
        ("a b:8400", "host name"),
        ("unix:relay.sock", "absolute"),
        ("unix:/" + "x" * 200, "107 bytes"),
        ("unix:/a\0b", "107 bytes"),
    ],
)
def test_what_is_no_listener_is_refused_with_what_was_expected(written: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        Listener.parse(written)


@given(st.text())
def test_any_text_is_a_listener_or_a_value_error(text: str) -> None:
    """A listener that was read can be written and read again; nothing else is raised but ValueError."""
    try:
        listener = Listener.parse(text)
    except ValueError:
        return
    assert Listener.parse(str(listener)) == listener


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_hosts_are_this_machine_only(host: str) -> None:
    assert is_loopback_host(host)
    assert not Listener(host, 1).is_public


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "relay", ""])
def test_every_other_host_may_be_reached_from_elsewhere(host: str) -> None:
    assert not is_loopback_host(host)
    assert Listener(host, 1).is_public


def test_a_unix_socket_is_refused_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ValueError, match="no unix sockets"):
        Listener.parse("unix:/run/relay.sock")


def test_a_unix_socket_is_neither_public_nor_loopback() -> None:
    listener = Listener(path="/run/relay.sock")
    assert listener.is_unix
    assert not listener.is_public
    assert not listener.is_loopback
