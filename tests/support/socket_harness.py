"""A running relay on real sockets, and what a test may ask of it: rows, rest, log, canaries.

The relay is the product's own (``open_relay``, ``run_relay``); its upstreams are the simulator's or a scripted one.
"""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
import trio

from relay_trio.app import open_relay, run_relay
from relay_trio.config import Settings
from relay_trio.observe import log as observe_log
from relay_trio.observe.invariants import snapshot
from relay_trio.server.drain import Drain
from tests.support.accounts import ACCOUNT_KEYS, AWS_PAIR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from relay_trio.app import App, Bound

LIMIT_SECONDS = 25.0
"""No test takes longer; real time."""

KEY = "rt_canary_client_key_4f1d"
OTHER_KEY = "rt_canary_narrow_key_77aa"
NEVER_RESTS: dict[str, object] = {"enabled": False, "retry_after_max_seconds": 0.001}
"""A breaker that leaves every account in rotation, whatever its upstream answers or asks for."""

PROMPT = "canaryprompttext"
SIGV4_SECRET = "canary-of-the-master-secret-0123456789"

CANARIES = tuple(
    text.encode() for text in (KEY, OTHER_KEY, SIGV4_SECRET, *ACCOUNT_KEYS, AWS_PAIR["secret_access_key"], PROMPT)
)
"""Every secret and every prompt of these tests, so that one search finds any of them where none may be."""

Row = dict[str, Any]


@dataclass(slots=True)
class SocketHarness:
    """``url`` is where clients connect; ``log`` collects what the relay logs."""

    relay: App
    bound: Bound
    folder: Path
    log: io.StringIO
    drain: Drain = field(default_factory=Drain)
    expects_defect: bool = False

    @property
    def url(self) -> str:
        return self.bound.client_urls[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def rows(self) -> list[Row]:
        """The ledger's rows in order of arrival, all requests settled and written.

        Cancelled here: atomic.
        """
        await self.relay.core.live.wait_idle()
        await until(lambda: not self.relay.ledger.statistics().pending)
        return await trio.to_thread.run_sync(self._read)

    async def row(self, request_id: str | None = None) -> Row:
        """The row of ``request_id``, or the only one. Cancelled here: atomic."""
        found = [row for row in await self.rows() if request_id in (None, row["request_id"])]
        assert len(found) == 1, f"expected one row, got {len(found)}"
        return found[0]

    def _read(self) -> list[Row]:
        with contextlib.closing(sqlite3.connect(self.folder / "relay.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM requests ORDER BY started_at, rowid")]

    async def assert_at_rest(self) -> None:
        """Nothing is held, every row is closed, every invariant holds. Cancelled here: atomic."""
        rows = await self.rows()
        now = snapshot(self.relay.core, self.relay.ring)
        with trio.move_on_after(2):  # a connection may be a step behind its request's row
            while now["upstream"]["calls"] or now["requests"]["live"]:  # type: ignore[index]
                await trio.sleep(0.005)
                now = snapshot(self.relay.core, self.relay.ring)
        assert now["ok"], now
        held = {
            "slots": sum(account["slots"] for account in now["accounts"].values()),  # type: ignore[attr-defined]
            "live": now["requests"]["live"],  # type: ignore[index]
            "waiting": now["queue"]["waiting"],  # type: ignore[index]
            "calls": now["upstream"]["calls"],  # type: ignore[index]
            "buffered": now["buffered_bytes"]["total"],  # type: ignore[index]
            "open rows": len([row for row in rows if row["outcome"] is None]),
        }
        assert not any(held.values()), held
        assert self.expects_defect or "internal" not in {row["outcome"] for row in rows}
        assert len({row["request_id"] for row in rows}) == len(rows)

    def assert_no_canary(self, *texts: bytes) -> None:
        """No secret and no prompt in the ledger's files, the log or ``texts``."""
        for file in self.folder.iterdir():
            _search(file.name, file.read_bytes())
        _search("the log", self.log.getvalue().encode())
        for text in texts:
            _search("an answer", text)

    def assert_no_defect(self) -> None:
        """The relay did not report a defect of its own."""
        for line in self.log.getvalue().splitlines():
            assert json.loads(line)["event"] != "defect", line


async def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition()`` holds, for what is nobody's event. Cancelled here: atomic."""
    while not condition():  # noqa: ASYNC110 -- the product announces none of what is waited for here
        await trio.sleep(0.002)


def _search(where: str, text: bytes) -> None:
    for canary in CANARIES:
        assert canary not in text, f"{canary!r} is in {where}"


@asynccontextmanager
async def open_harness(
    folder: Path, accounts: list[dict[str, object]], **sections: dict[str, object]
) -> AsyncIterator[SocketHarness]:
    """A running relay, which takes signatures too; leaving it checks that it is at rest, without a defect, and that no
    canary got anywhere.

    Cancelled here: destroys.
    """
    server = {
        "listeners": ["127.0.0.1:0"],
        "ledger": str(folder / "relay.db"),
        "drain_seconds": 0.2,
        "sigv4_secret": SIGV4_SECRET,
    }
    settings = Settings.model_validate(
        {
            "admin": {"listener": "127.0.0.1:0"},
            "account": accounts,
            "key": [
                {"name": "all", "secret": KEY},
                {"name": "narrow", "secret": OTHER_KEY, "models": ["claude-sim-small*"]},
            ],
            **sections,
            "server": server | sections.get("server", {}),
        }
    )
    with _collected_log() as log, trio.fail_after(LIMIT_SECONDS):
        async with open_relay(settings, observers=[observe_log.Log()]) as relay, trio.open_nursery() as nursery:
            drain = Drain()
            bound = await nursery.start(run_relay, relay, drain)
            harness = SocketHarness(relay, bound, folder, log, drain)
            yield harness
            with trio.fail_after(5):
                await harness.assert_at_rest()
            harness.assert_no_canary()
            if not harness.expects_defect:
                harness.assert_no_defect()
            drain.begin()


@contextlib.contextmanager
def _collected_log() -> Iterator[io.StringIO]:
    """The product's own log processors, writing into memory. The logger is new: the old one remembers its file."""
    log = io.StringIO()
    kept = observe_log._log
    observe_log.configure_log("json")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log), cache_logger_on_first_use=False)
    observe_log._log = structlog.get_logger("relay_trio.requests")
    try:
        yield log
    finally:
        observe_log._log = kept
        structlog.reset_defaults()
