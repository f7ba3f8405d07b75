"""The application that clients reach, beside its relayed routes: probes, refusals in dialect, and crashes."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import pytest
import structlog

from relay_trio.errors import BadRequest
from relay_trio.http import header
from relay_trio.observe.log import configure_log
from relay_trio.web.admin import admin_app
from relay_trio.web.quart_app import bare_app
from tests.support import scripts
from tests.support.memory_harness import Client, fetch, open_harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart import Response
    from trio.testing import MockClock

CANARY = "canaryprompttext"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process logs, as JSON lines."""
    lines = io.StringIO()
    with redirect_stderr(lines):
        configure_log("json")
    structlog.configure(cache_logger_on_first_use=False)
    yield lines
    structlog.reset_defaults()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/api/hello"])
async def test_probes_are_answered_without_a_key_a_row_and_a_line_of_the_log(
    autojump_clock: MockClock, log: io.StringIO, path: str, method: str
) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await fetch(harness.app, path, method)
        assert (client.status, client.is_finished) == (200, True)
        assert not harness.rows
        assert log.getvalue() == ""


HOSTS_NO_NAME = [b"a..b", b"." * 3, b"x" * 64 + b".example", b"[", b"\xc3\xa4..", b""]


@pytest.mark.parametrize("host", HOSTS_NO_NAME)
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
async def test_a_host_that_is_no_name_is_nothing_that_a_probe_needs(
    autojump_clock: MockClock, log: io.StringIO, host: bytes, path: str
) -> None:
    async with open_harness(scripts.streams) as harness:
        for app in (harness.app, admin_app(harness.core, harness.ring)):
            client = Client(app, [b""], path=path, method="GET", host=host)
            await client.run()
            assert client.status == (404 if app is not harness.app and path == "/" else 200)
        assert log.getvalue() == ""


@pytest.mark.parametrize("path", ["/%68ealthz", "/healthz%2F", "/api%2fhello", "/%72eadyz", "//healthz"])
async def test_another_spelling_of_an_own_path_is_no_route(autojump_clock: MockClock, path: str) -> None:
    async with open_harness(scripts.streams) as harness:
        for app in (harness.app, admin_app(harness.core, harness.ring)):
            client = await fetch(app, path)
            assert client.status == 404
            assert path in json.loads(client.body)["error"]["message"]


async def test_another_path_is_404_in_dialect_with_an_id_to_quote(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await fetch(harness.app, "/admin")
        shown = json.loads(client.body)
        assert (client.status, shown["type"], shown["error"]["type"]) == (404, "error", "not_found_error")
        assert shown["request_id"].encode() == header(client.sent[0]["headers"], b"request-id")
        assert header(client.sent[0]["headers"], b"content-length") == str(len(client.body)).encode()


@pytest.mark.parametrize(
    ("path", "method", "allow"), [("/v1/messages", "PUT", b"POST"), ("/healthz", "POST", b"GET, HEAD, OPTIONS")]
)
async def test_a_method_that_a_path_does_not_have_is_405_with_those_that_it_has(
    autojump_clock: MockClock, path: str, method: str, allow: bytes
) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await fetch(harness.app, path, method)
        assert (client.status, header(client.sent[0]["headers"], b"allow")) == (405, allow)
        assert json.loads(client.body)["type"] == "error"


@pytest.mark.parametrize("path", ["//", "//v1/messages", "/v1/messages/", "/healthz/", "/v1/../v1/messages", "/v1//"])
async def test_no_path_is_redirected(autojump_clock: MockClock, path: str) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await fetch(harness.app, path, "POST")
        assert (client.status, json.loads(client.body)["type"]) == (404, "error")


async def test_a_long_path_is_told_shortened(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await fetch(harness.app, "/" + "x" * 10_000)
        assert len(client.body) < 400


async def test_the_relays_own_insides_are_not_on_the_client_listener(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        for path in ("/debug/invariants", "/debug/tasks", "/static/x"):
            assert (await fetch(harness.app, path)).status == 404


async def test_a_crash_is_500_in_dialect_with_an_id_and_without_its_words(
    autojump_clock: MockClock, log: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the answer nor in the log: an exception's message and its variables may hold a prompt or a key."""
    app = bare_app()

    @app.route("/crash")
    async def crash() -> Response:
        prompt = f"a local with {CANARY}"
        raise RuntimeError(prompt)

    client = await fetch(app, "/crash")
    shown = json.loads(client.body)
    assert (client.status, shown["error"]["type"]) == (500, "api_error")
    assert shown["request_id"] in shown["error"]["message"]
    assert CANARY not in client.body.decode()
    (line,) = log.getvalue().splitlines()
    logged = json.loads(line)
    assert (logged["request_id"], logged["error"], logged["level"]) == (shown["request_id"], "RuntimeError", "error")
    assert "crash" in logged["where"]
    assert CANARY not in line
    assert not caplog.records  # Quart has a logger of its own, which would print the traceback with its message


async def test_an_error_of_ours_outside_a_relayed_route_keeps_its_status(
    autojump_clock: MockClock, log: io.StringIO
) -> None:
    app = bare_app()

    @app.route("/refuse")
    async def refuse() -> Response:
        raise BadRequest("not like this")

    client = await fetch(app, "/refuse")
    assert (client.status, json.loads(client.body)["error"]["message"]) == (400, "not like this")
    assert log.getvalue() == ""


async def test_no_limit_of_quarts_own_is_left_on(autojump_clock: MockClock) -> None:
    """Each would cut what the relay has its own limit for, without a row and without a word."""
    app = bare_app()
    for name in ("RESPONSE_TIMEOUT", "BODY_TIMEOUT", "MAX_CONTENT_LENGTH"):
        assert app.config[name] is None
    assert app.static_folder is None
