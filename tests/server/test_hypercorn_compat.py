"""What we rely on inside Hypercorn: these fail first when its version is raised."""

from __future__ import annotations

import importlib.metadata
import re
import ssl
import tomllib
from pathlib import Path

import pytest
import trio
from hypercorn.utils import LifespanFailureError

from relay_trio.server import hypercorn_compat as hypercorn_compat
from relay_trio.server.context import ServerState
from relay_trio.server.drain import Drain
from relay_trio.server.limits import ConnectionLimits, ListenSettings
from relay_trio.server.listen import serve
from tests.server.serving import certificate

PACKAGE = Path(hypercorn_compat.__file__).parent


def test_the_pin_is_exact_and_installed() -> None:
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    pins = [line for line in project["project"]["dependencies"] if line.startswith("hypercorn")]
    assert pins == [f"hypercorn=={importlib.metadata.version('hypercorn')}"]


def test_hypercorn_is_imported_in_one_place() -> None:
    others = [
        path.name
        for path in PACKAGE.glob("*.py")
        if path.name != "hypercorn_compat.py" and re.search(r"^\s*(from|import) hypercorn\b", path.read_text(), re.M)
    ]
    assert others == []


def test_listeners_are_bound_non_blocking_and_stream_sockets() -> None:
    settings = ListenSettings(listeners=("127.0.0.1:0", "[::1]:0"))
    sockets = hypercorn_compat.open_listeners(hypercorn_compat.hypercorn_config(settings), settings)
    for sock in sockets:
        assert sock.gettimeout() == 0
        assert hypercorn_compat.url_of(sock, is_tls=False).startswith("http://")
        sock.close()
    assert len(sockets) == 2


def test_the_tls_context_cannot_renegotiate() -> None:
    settings = ListenSettings(("127.0.0.1:0",), certificate(), certificate())
    context = hypercorn_compat.ssl_context(hypercorn_compat.hypercorn_config(settings, http2=False))
    assert context is not None
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_no_certificate_means_no_tls() -> None:
    assert hypercorn_compat.ssl_context(hypercorn_compat.hypercorn_config(ListenSettings())) is None


async def test_an_application_that_fails_to_start_is_not_served() -> None:
    async def app(scope: dict, receive: object, send: object) -> None:
        assert scope["type"] == "lifespan"
        await receive()  # type: ignore[operator]
        await send({"type": "lifespan.startup.failed", "message": "no database"})  # type: ignore[operator]

    with trio.fail_after(5), pytest.RaisesGroup(pytest.RaisesExc(LifespanFailureError, match="no database")):
        await serve(ServerState(app, ConnectionLimits(), print), ListenSettings(("127.0.0.1:0",)), drain=Drain())
