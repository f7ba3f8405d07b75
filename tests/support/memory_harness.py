"""A whole relay without sockets: the real application, pump, admission and upstream client over memory streams.

What is doubled is only what would need threads or the network: the ledger (in memory, and strict about each row being
opened and closed once), the server (a ``ServerStream`` without a connection, whose client can leave and be slow), and
the upstream's server (a script that speaks HTTP/1.1 over ``trio.testing.memory_stream_pair``).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from relay_trio.config import Settings
from relay_trio.config.current import CurrentSettings
from relay_trio.keys.ring import KeyRing
from relay_trio.ledger.writer import LedgerStatistics
from relay_trio.observe.invariants import snapshot
from relay_trio.outcome import DisconnectReason, Word
from relay_trio.pool.account import Account
from relay_trio.pool.admission import Admission
from relay_trio.pool.health import Health
from relay_trio.pool.policy import LeastLoaded
from relay_trio.pool.pool import Pool
from relay_trio.pool.slots import SlotTable
from relay_trio.relay.core import Relay
from relay_trio.relay.events import Events
from relay_trio.relay.live import LiveRequests
from relay_trio.relay.model_catalog import ModelCatalog
from relay_trio.relay.retry import RetryBudget
from relay_trio.server.context import asgi_scope
from relay_trio.upstream.client import UpstreamClient, open_upstream_client
from relay_trio.vendors.bedrock.stream import InvokeStreamReader
from relay_trio.vendors.registry import LISTINGS, provider_named
from relay_trio.web.quart_app import client_app
from tests.support.client_requests import MemoryStream, make_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from quart_trio import QuartTrio

    from relay_trio.ledger.row import LedgerRow

    Script = Callable[["UpstreamSide"], Awaitable[None]]
    Headers = Sequence[tuple[bytes, bytes]]

KEY = "rt_test"

_CHECKPOINTS_OF_A_SEND = 3
"""A server's send takes a lock and a socket: long enough for a disconnect to be seen while it lasts."""


def event(data: dict[str, object]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


START = event({"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}})
TEXT = event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}})
DELTA = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
STOP = event({"type": "message_stop"})
STREAM = (START, TEXT, DELTA, STOP)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class MemoryLedger:
    """Rows in memory. Opening or closing one twice is an error here and now."""

    def __init__(self) -> None:
        self.opened: dict[str, LedgerRow] = {}
        self.closed: dict[str, LedgerRow] = {}
        self.batches: set[str] = set()

    def book_batch(self, batch_id: str) -> bool:
        is_first = batch_id not in self.batches
        self.batches.add(batch_id)
        return is_first

    @property
    def open_rows(self) -> int:
        return len(self.opened) - len(self.closed)

    def open_row(self, row: LedgerRow) -> None:
        assert row.request_id not in self.opened
        self.opened[row.request_id] = row

    def close_row(self, row: LedgerRow) -> None:
        assert self.opened[row.request_id] is row
        assert row.request_id not in self.closed
        assert row.outcome is not None
        self.closed[row.request_id] = row

    def statistics(self) -> LedgerStatistics:
        return LedgerStatistics(self.open_rows, 0, 0, 0, "", True)


class UpstreamSide:
    """The upstream's end of one connection, for a script."""

    def __init__(
        self, stream: trio.StapledStream[Any, Any], relays_end: trio.StapledStream[Any, Any], number: int
    ) -> None:
        self.number = number
        self.requests = 0
        self._stream = stream
        self._relays_end = relays_end

    @property
    def is_closed_by_the_relay(self) -> bool:
        return bool(self._relays_end.receive_stream._closed)

    async def request(self) -> bytes:
        """Read one whole request (head and body by content-length)."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += await self._receive()
        self.requests += 1
        return head

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self._stream.send_all(piece)

    async def wait_closed(self) -> None:
        """Stay silent until the relay closes the connection."""
        while True:
            await self._receive()

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    async def _receive(self) -> bytes:
        data = await self._stream.receive_some(65536)
        if not data:
            raise trio.BrokenResourceError
        return bytes(data)


class ClientStream(MemoryStream):
    """What our server makes for a client's request: as slow as the client, and as gone."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def send_nowait(self, body: bytes) -> int | None:
        client = self._client
        if not (client.forwards and self.has_begun) or self._last_was_given or client.unsent_bytes:
            return None
        if self.disconnected_at is not None:
            return None
        self.keep(body, is_last=False)
        client.forwarded += 1
        if not client.reads.is_set():
            client.unsent_bytes = len(body)
        return client.unsent_bytes

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        for _ in range(_CHECKPOINTS_OF_A_SEND):
            await trio.lowlevel.checkpoint()
        await self._client.reads.wait()
        self._client.unsent_bytes = 0
        if self.disconnected_at is None:
            self.keep(body, is_last)


@dataclass
class Client:
    """One client's request, as our server would carry it. ``path`` is as it is written, escapes and all."""

    app: QuartTrio
    body_parts: list[bytes]
    path: str = "/v1/messages"
    query: bytes = b""
    method: str = "POST"
    credentials: tuple[tuple[bytes, bytes], ...] = ((b"x-api-key", KEY.encode()),)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    host: bytes = b"relay"
    reads: trio.Event = field(default_factory=trio.Event)
    forwards: bool = True
    """Whether its server lets the pump write to it: HTTP/1.1 does, HTTP/2 does not."""
    is_whole: bool = True
    """Whether its body comes to an end."""

    forwarded: int = 0
    unsent_bytes: int = 0

    def __post_init__(self) -> None:
        self.reads.set()
        self.stream = ClientStream(self)

    async def run(self) -> None:
        """Send the request, its body part by part, and take the answer."""
        request = make_request(
            method=self.method,
            raw_path=self.path.encode(),
            query=self.query,
            headers=[(b"host", self.host), *self.credentials, *self.headers],
            stream=self.stream,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_request_body)
            await self.app(asgi_scope(request), self.stream.receive, self._send)  # type: ignore[arg-type]
            nursery.cancel_scope.cancel()

    def leave(self) -> None:
        """Hang up."""
        self.stream.lose(DisconnectReason.LEFT)

    async def _send_request_body(self) -> None:
        for number, part in enumerate(self.body_parts, 1):
            await trio.lowlevel.checkpoint()
            self.stream.deliver(part, is_last=self.is_whole and number == len(self.body_parts))

    async def _send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()  # our server has none here, so that a cancel falls between handler and body
        await self.stream.send(message)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What it was sent, as ASGI messages."""
        return self.stream.sent

    @property
    def status(self) -> int | None:
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), None)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent if message["type"] == "http.response.body")

    @property
    def is_finished(self) -> bool:
        """Whether the response was ended as complete."""
        return any(m["type"] == "http.response.body" and not m.get("more_body", False) for m in self.sent)


class MemoryHarness:
    """The relay and everything around it."""

    def __init__(self, core: Relay, slots: SlotTable, ledger: MemoryLedger, client: UpstreamClient) -> None:
        self.core = core
        self.slots = slots
        self.ledger = ledger
        self.upstream = client
        self.sides: list[UpstreamSide] = []
        self.ring = KeyRing(None, core.settings.key)
        self.app = client_app(core, self.ring)

    def request(self, *body_parts: bytes, stream: bool = True, model: str = "m", **changes: Any) -> Client:
        """A client with a message request, its body in one part unless given."""
        body = json.dumps({"model": model, "stream": stream, "max_tokens": 9, "messages": []}).encode()
        return Client(self.app, list(body_parts) or [body], **changes)

    def account(self, name: str) -> Account:
        return next(account for account in self.core.pool.accounts if account.name == name)

    @property
    def rows(self) -> list[LedgerRow]:
        return list(self.ledger.closed.values())

    async def serve(self, client: Client) -> Client:
        """``client``, its request ended. Cancelled here: destroys."""
        with trio.fail_after(100_000):
            await client.run()
        self.assert_at_rest()
        return client

    def assert_at_rest(self) -> None:
        """Every promise about the end of a request, whatever ended it."""
        assert self.slots.total_in_use() == 0, "a slot is still held"
        assert self.slots.total_reserved() == 0, "a slot is still reserved"
        assert self.core.admission.statistics().waiting == 0, "somebody still waits"
        assert len(self.core.live) == 0, "a request is still live"
        assert self.ledger.open_rows == 0, "a row is still open"
        assert not self.core.live.attempts(), "an attempt is still live"
        statistics = self.upstream.statistics()
        assert statistics.calls == 0, "an upstream call is still open"
        kept = statistics.idle_connections + statistics.ending_connections
        assert statistics.open_connections == kept, "a connection is neither closed nor pooled"
        assert snapshot(self.core, self.ring)["ok"], snapshot(self.core, self.ring)["invariants"]

    def assert_healthy(self, *, strikes: dict[str, int] | None = None) -> None:
        """No account was blamed beyond ``strikes``."""
        for account in self.core.pool.accounts:
            statistics = account.health.statistics(trio.current_time())
            assert statistics.strikes <= (strikes or {}).get(account.name, 0), f"{account.name} was blamed"


def tasks_of_the_relay() -> list[str]:
    """The names of all tasks that live now, but for those of the upstream's scripts."""
    tasks = [trio.lowlevel.current_task()]
    while (parent := tasks[0].parent_nursery) is not None:
        tasks[0] = parent.parent_task
    for task in tasks:
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return sorted(task.name for task in tasks if not task.name.startswith("upstream "))


async def fetch(app: QuartTrio, path: str, method: str = "GET", headers: Headers = ()) -> Client:
    """A client whose request without a body was answered by ``app``. Cancelled here: destroys."""
    client = Client(app, [b""], path=path, method=method, headers=list(headers))
    with trio.fail_after(100):
        await client.run()
    return client


def _raise(error: Exception) -> None:
    raise error


@asynccontextmanager
async def open_harness(
    script: Script, *, accounts: int = 1, slots: int = 1, **settings: Any
) -> AsyncIterator[MemoryHarness]:
    """A relay whose upstream connections all speak by ``script``."""
    loaded = Settings.model_validate(
        {
            "account": [
                {
                    "name": name,
                    "provider": "anthropic",
                    "api_key": f"sk-{name}",
                    "base_url": f"http://127.0.0.1:{1000 + number}",
                    "max_concurrency": slots,
                    "models": ["*"],
                }
                for number, name in enumerate("abcdef"[:accounts])
            ],
            "key": [{"name": "test", "secret": KEY}],
            **settings,
        }
    )
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            harness: MemoryHarness

            async def serve(side: UpstreamSide) -> None:
                try:
                    while True:
                        await script(side)
                except trio.BrokenResourceError:
                    side.close()

            async def open_stream(host: str, port: int) -> trio.StapledStream[Any, Any]:
                async with (
                    trio.open_nursery() as attempts
                ):  # as trio.open_tcp_stream: its cancellation comes in a group
                    attempts.start_soon(trio.lowlevel.checkpoint)
                    attempts.start_soon(trio.lowlevel.checkpoint)
                ours, theirs = trio.testing.memory_stream_pair()
                side = UpstreamSide(theirs, ours, port - 1000)
                harness.sides.append(side)
                nursery.start_soon(serve, side, name=f"upstream {port}")
                await trio.lowlevel.cancel_shielded_checkpoint()  # real connects end like this; losses hide without it
                return ours

            async with open_upstream_client(open_stream=open_stream) as client:
                ledger, table = MemoryLedger(), SlotTable()
                made = [
                    Account(a, provider_named(a.provider), a.timeouts_over(loaded.timeouts), Health(loaded.breaker))
                    for a in loaded.account
                ]
                pool = Pool(made, table)
                admission = Admission(pool, LeastLoaded(), max_waiting=loaded.queue.max_waiting)
                events = Events(on_error=_raise)
                live = LiveRequests(ledger, events)
                catalog = ModelCatalog(pool, client, LISTINGS)
                core = Relay(CurrentSettings(loaded), pool, admission, client, live, events, catalog, RetryBudget())
                harness = MemoryHarness(core, table, ledger, client)
                try:
                    yield harness
                except Exception as error:
                    failure = error
                finally:
                    nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure  # as it is, and never lost to the cancellation that ends the scripts


def assert_client_was_not_deceived(client: Client) -> None:
    """A response ends complete, in an error of its dialect, or aborted: never cleanly in the middle."""
    if not client.is_finished or client.status != 200:
        return
    body = client.body
    if body.startswith(b"\0"):
        meter = InvokeStreamReader()
        meter.feed(body)
        assert meter.is_complete, "an event stream was ended in the middle"
        return
    if body.startswith(b"["):
        json.loads(body)  # an array says where it ends
        return
    if body.startswith(b"data: {"):
        assert b'"finishReason": "STOP"' in body or b'\n  "error": {' in body, body[-200:]
        return
    assert b'"message_stop"' in body or b"event: error" in body or body.startswith(b"{"), body[-200:]


def assert_no_defect(harness: MemoryHarness) -> None:
    for row in harness.rows:
        assert row.outcome is not None
        assert row.outcome.word is not Word.INTERNAL, row.outcome.code
