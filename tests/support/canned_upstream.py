"""Real servers on loopback that answer every request alike, for verbs that ask one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Upstream:
    """What a served upstream received: ``requests`` holds request line and headers of each."""

    def __init__(self, status: int, port: int) -> None:
        self.status = status
        self.base_url = f"http://127.0.0.1:{port}"
        self.requests: list[tuple[str, dict[str, str]]] = []


@contextmanager
def served(status: int) -> Iterator[Upstream]:
    """An upstream that answers every request with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            upstream.requests.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(upstream.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A probe leaves once it has the head; that the body finds nobody is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    upstream = Upstream(status, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Served(Protocol):
    def __call__(self, status: int) -> AbstractContextManager[Upstream]: ...


@pytest.fixture
def serve_upstream() -> Served:
    return served


API_KEY = "sk-ant-api03-abcdefghi9f2"


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test writes its relay.toml, which is also the current directory; ANTHROPIC_API_KEY is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    return tmp_path / "relay.toml"


def account_toml(name: str, base_url: str, extra: str = "") -> str:
    return (
        f'[[account]]\nname = "{name}"\nprovider = "anthropic"\napi_key = "env:ANTHROPIC_API_KEY"\n'
        f'max_concurrency = 16\nbase_url = "{base_url}"\n{extra}'
    )
