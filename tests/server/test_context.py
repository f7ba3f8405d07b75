"""What a server reports, and to whom: nothing that its application raises on purpose."""

from __future__ import annotations

import socket

from relay_trio.server.context import ServerState
from relay_trio.server.limits import ConnectionLimits, SocketOptions


def is_expected(error: BaseException) -> bool:
    return isinstance(error, EOFError)


def test_only_errors_that_nobody_expected_are_reported() -> None:
    heard: list[BaseException] = []
    state = ServerState(None, ConnectionLimits(), heard.append, is_expected)  # type: ignore[arg-type]
    state.report(EOFError("x"))
    state.report(ExceptionGroup("", [EOFError("x"), ExceptionGroup("", [EOFError("y")])]))
    assert heard == []
    state.report(ExceptionGroup("", [EOFError("x"), ValueError("y")]))
    assert len(heard) == 1


def test_a_server_that_is_told_nothing_expects_nothing() -> None:
    heard: list[BaseException] = []
    ServerState(None, ConnectionLimits(), heard.append).report(EOFError("x"))  # type: ignore[arg-type]
    assert len(heard) == 1


def test_a_reporter_that_fails_is_contained() -> None:
    def fail(error: BaseException) -> None:
        raise RuntimeError("no disk for the log")

    state = ServerState(None, ConnectionLimits(), fail)  # type: ignore[arg-type]
    state.report(ValueError("x"))
    assert state.contained == 2


def test_other_limits_count_for_sockets_that_are_accepted_from_now_on() -> None:
    """An accepted socket has the options of its listener at that moment."""
    state = ServerState(None, ConnectionLimits(), print)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state.listeners = (listener,)
        limits = ConnectionLimits(head_timeout_seconds=1.0)
        state.replace_limits(limits, SocketOptions(user_timeout_seconds=7.0))
        assert state.limits is limits
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
