"""``relay-trio serve``: what keeps it from starting, and real processes that serve, are drained and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.cli.serve import serve
from relay_trio.simulator import SimulatorSettings, open_simulator
from relay_trio.storage.lock import sole_writer
from relay_trio.storage.schema import SCHEMA_VERSION
from relay_trio.storage.sqlite import open_database, open_read_only
from tests.support.canned_upstream import API_KEY, account_toml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "rt_canary_client_key"

LOCAL = '[server]\nlisteners = ["127.0.0.1:0"]\n[admin]\nlistener = "127.0.0.1:0"\n'
UPSTREAM = account_toml("claude-a", "http://127.0.0.1:9")
CLIENT = f'[[key]]\nname = "team"\nsecret = "{KEY}"\n'


# --- what keeps it from starting ----------------------------------------------------------------------------------


def refused(config: Path, content: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``serve`` says about ``content``, on its way to exit status 1."""
    config.write_text(content)
    config.chmod(0o600)
    assert serve(config=config) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert API_KEY not in shown.err
    assert KEY not in shown.err
    return shown.err


def test_without_a_configuration_it_says_how_to_get_one(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(config=config_file) == 1
    assert "relay-trio init" in capsys.readouterr().err


def test_without_an_account_it_does_not_start(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = refused(config_file, LOCAL + CLIENT, capsys)
    assert "account" in printed
    assert "Nothing was started" in printed
    assert not (config_file.parent / "relay.db").exists()


def test_a_secret_that_others_can_read_is_not_used(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = config_file.parent / "key.txt"
    secret.write_text(API_KEY)
    secret.chmod(0o644)
    printed = refused(config_file, LOCAL + UPSTREAM.replace("env:ANTHROPIC_API_KEY", f"file:{secret}"), capsys)
    assert f"chmod 600 {secret}" in printed
    assert "account[0].api_key" in printed


@pytest.mark.parametrize(
    ("server", "keys", "fixes"),
    [
        ("", CLIENT, ("tls_cert",)),
        ("allow_insecure = true\n", "", ("relay-trio keys create",)),
    ],
)
def test_a_public_address_needs_keys_and_tls(
    config_file: Path, capsys: pytest.CaptureFixture[str], server: str, keys: str, fixes: tuple[str, ...]
) -> None:
    public = LOCAL.replace("127.0.0.1:0", "0.0.0.0:0", 1).replace("[admin]", f"{server}[admin]")
    printed = refused(config_file, public + UPSTREAM + keys, capsys)
    for fix in fixes:
        assert fix in printed
    assert ("tls_cert" in printed, "keys create" in printed) == ("tls_cert" in fixes, "relay-trio keys create" in fixes)


def test_a_ledger_of_a_newer_version_is_left_as_it_is(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = config_file.parent / "relay.db"
    with closing(open_database(ledger)) as database:
        database.query(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    printed = refused(config_file, LOCAL + UPSTREAM + CLIENT, capsys)
    assert f"schema {SCHEMA_VERSION + 1}" in printed
    assert "install the newer relay-trio" in printed
    with closing(sqlite3.connect(ledger)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)


def test_a_second_process_on_the_same_ledger_names_the_first(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sole_writer(config_file.parent / "relay.db"):
        printed = refused(config_file, LOCAL + UPSTREAM + CLIENT, capsys)
    assert f"pid {os.getpid()}" in printed
    assert "server.ledger" in printed


@pytest.mark.parametrize("taken", ["server", "admin"])
def test_a_port_in_use_is_said_with_address_reason_and_fix(
    config_file: Path, capsys: pytest.CaptureFixture[str], taken: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server, admin = LOCAL.split("[admin]")
        content = f"{server}[admin]{admin}"
        if taken == "server":
            content = content.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        else:
            content = server + "[admin]" + admin.replace("127.0.0.1:0", f"127.0.0.1:{port}")
        printed = refused(config_file, content + UPSTREAM + CLIENT, capsys)
    setting = "server.listeners[0]" if taken == "server" else "admin.listener"
    assert printed == (
        f"relay-trio: {setting} cannot listen on 127.0.0.1:{port}: Address already in use; "
        "another program, or another relay, has it: stop that, or set another port\n"
    )
    with sole_writer(config_file.parent / "relay.db"):
        """The failed start let go of the ledger."""


# --- real processes -----------------------------------------------------------------------------------------------


class Served:
    """A relay process that has printed where it listens."""

    def __init__(self, process: trio.Process, started: str) -> None:
        self.process = process
        self.text = started
        self.url = re.findall(r"relay +(http://\S+)", started)[0]
        self.admin_url = re.findall(r"admin +(http://\S+)", started)[0]

    async def ended(self) -> int:
        """The exit status; what it still prints is added to ``text``."""
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.text += data.decode()
        return await self.process.wait()


@asynccontextmanager
async def served(config: Path) -> AsyncIterator[Served]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "COV"))}
    environ |= {"ANTHROPIC_API_KEY": API_KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "relay_trio", "serve", "--config", str(config)]
    with trio.fail_after(25):
        process = await trio.lowlevel.open_process(
            command, cwd=config.parent, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            assert process.stderr is not None
            started = ""
            while not re.search(r"account +claude-a[^\n]*\n", started):
                data = await process.stderr.receive_some()
                assert data, started
                started += data.decode()
            yield Served(process, started)
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def connect(url: str) -> trio.SocketStream:
    host, _, port = url.removeprefix("http://").partition(":")
    return await trio.open_tcp_stream(host, int(port))


@asynccontextmanager
async def streaming(url: str, model: str = "claude-sim") -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A connection on which a stream runs, and what came of it so far."""
    body = json.dumps({"model": model, "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
    head = f"POST /v1/messages HTTP/1.1\r\nhost: relay\r\nx-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n"
    async with await connect(url) as stream:
        await stream.send_all(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        begun = await read_until(stream, b"content_block_delta")
        assert begun.startswith(b"HTTP/1.1 200 "), begun
        yield stream, begun


END = b"0\r\n\r\n"
"""What a response in chunks ends with, if it ends as complete."""


async def read_until(stream: trio.SocketStream, wanted: bytes) -> bytes:
    """What comes up to ``wanted``, or to the end."""
    data = b""
    while wanted not in data:
        more = await stream.receive_some()
        if not more:
            break
        data += more
    return data


def codes(folder: Path) -> list[str]:
    with closing(open_read_only(folder / "relay.db")) as database:
        return [code for (code,) in database.query("SELECT code FROM requests ORDER BY started_at")]


def configure(config: Path, upstream_url: str, drain_seconds: float) -> None:
    server = LOCAL.replace("[admin]", f"drain_seconds = {drain_seconds}\n[admin]")
    config.write_text(server + account_toml("claude-a", upstream_url) + CLIENT)
    config.chmod(0o600)


open_slow_simulator = partial(open_simulator, SimulatorSettings(chunks=12, chunk_interval_seconds=0.05))
open_endless_simulator = partial(open_simulator, SimulatorSettings(chunks=100_000, chunk_interval_seconds=0.05))


@pytest.mark.e2e
async def test_it_serves_and_a_sigterm_lets_the_running_stream_finish(config_file: Path) -> None:
    """New work is refused at once, the old is finished, exit 0; nothing secret was printed."""
    async with open_slow_simulator() as simulator:
        configure(config_file, simulator.base_url, drain_seconds=20)
        async with served(config_file) as relay, streaming(relay.url) as (stream, begun):
            relay.process.send_signal(signal.SIGTERM)
            await trio.sleep(0.1)
            with pytest.raises(OSError, match="all attempts to connect"):
                await connect(relay.url)
            whole = begun + await read_until(stream, END)
            assert b"message_stop" in whole
            assert whole.endswith(END)
            assert await relay.ended() == 0
    assert re.search(r"draining 1 streams, \d+ s left", relay.text)
    for canary in (KEY, API_KEY):
        assert canary not in relay.text
    assert codes(config_file.parent) == ["--"]
    (line,) = [json.loads(line) for line in relay.text.splitlines() if line.startswith("{")]
    assert (line["outcome"], line["account"]) == ("completed", "claude-a")


@pytest.mark.e2e
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_stops_at_once_and_every_row_is_closed(config_file: Path, second: signal.Signals) -> None:
    """However long the drain would be: Ctrl-C after a SIGTERM, and a service manager that loses its patience."""
    async with open_endless_simulator() as simulator:
        configure(config_file, simulator.base_url, drain_seconds=600)
        async with served(config_file) as relay, streaming(relay.url):
            started = trio.current_time()
            relay.process.send_signal(signal.SIGTERM)
            await trio.sleep(0.2)
            relay.process.send_signal(second)
            assert await relay.ended() == 0
            assert trio.current_time() - started < 2
    assert "Traceback" not in relay.text
    assert codes(config_file.parent) == ["KD"]


@pytest.mark.e2e
async def test_one_ctrl_c_drains_as_sigterm_does(config_file: Path) -> None:
    """OPERATOR.md: "a second Ctrl-C stops at once", so the first does not."""
    async with open_slow_simulator() as simulator:
        configure(config_file, simulator.base_url, drain_seconds=20)
        async with served(config_file) as relay, streaming(relay.url) as (stream, begun):
            relay.process.send_signal(signal.SIGINT)
            assert b"message_stop" in begun + await read_until(stream, END)
            assert await relay.ended() == 0
    assert codes(config_file.parent) == ["--"]


@pytest.mark.e2e
async def test_at_the_end_of_the_drain_a_running_stream_gets_an_error_and_is_cut(config_file: Path) -> None:
    async with open_endless_simulator() as simulator:
        configure(config_file, simulator.base_url, drain_seconds=0.3)
        async with served(config_file) as relay, streaming(relay.url) as (stream, _):
            started = trio.current_time()
            relay.process.send_signal(signal.SIGTERM)
            rest = await read_until(stream, b"no such text")
            assert b"event: error" in rest
            assert not rest.endswith(END)
            assert await relay.ended() == 0
            assert trio.current_time() - started < 2.3
    assert codes(config_file.parent) == ["KD"]


@pytest.mark.e2e
async def test_a_signal_while_the_last_rows_are_written_does_not_lose_them(config_file: Path) -> None:
    """The ledger is locked by another program when the relay stops: it waits some seconds to write. A service manager
    or an operator who signals again meanwhile must not kill it in the middle."""
    async with open_endless_simulator() as simulator:
        configure(config_file, simulator.base_url, drain_seconds=0)
        async with served(config_file) as relay, streaming(relay.url):
            await trio.sleep(0.2)
            with closing(sqlite3.connect(config_file.parent / "relay.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                relay.process.send_signal(signal.SIGTERM)
                await trio.sleep(1.5)
                relay.process.send_signal(signal.SIGTERM)
                await trio.sleep(0.1)
                other.execute("ROLLBACK")
            assert await relay.ended() == 0
    assert codes(config_file.parent) == ["KD"]
