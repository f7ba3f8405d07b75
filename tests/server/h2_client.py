"""An HTTP/2 client over a raw connection, with its hands on every frame."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.serving import Client, Served

Headers = list[tuple[bytes, bytes]]


def request_headers(path: str, method: str = "GET", **more: str) -> Headers:
    fields = {":method": method, ":path": path, ":scheme": "http", ":authority": "a", **more}
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]


class H2Client:
    """``pump`` reads until a claim holds; everything that came is kept by stream."""

    def __init__(self, client: Client, window: int | None = None) -> None:
        self.client = client
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if window is not None:
            self.h2.local_settings = h2.settings.Settings(
                client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.acknowledges = window is None
        self.status: dict[int, int] = {}
        self.body: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.goaway: int | None = None
        self.pings = 0
        self.closed = False

    async def flush(self) -> None:
        await self.client.send(self.h2.data_to_send())

    async def request(self, path: str, body: bytes | None = None, method: str = "GET", **more: str) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, request_headers(path, method, **more), end_stream=body is None)
        if body is not None:
            for start in range(0, len(body), 16_384):
                self.h2.send_data(stream_id, body[start : start + 16_384])
            self.h2.end_stream(stream_id)
        await self.flush()
        return stream_id

    async def pump(self, claim: Callable[[], Any]) -> None:
        while not claim():
            if self.closed:
                raise EOFError
            try:
                data = await self.client.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                self.closed = True
                continue
            for event in self.h2.receive_data(data):
                self.on_event(event)
            if pending := self.h2.data_to_send():
                await self.client.send(pending)

    def on_event(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.status[event.stream_id] = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.body[event.stream_id] += event.data
            if self.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.reset[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pings += 1

    async def get(self, path: str, body: bytes | None = None, **more: str) -> tuple[int, bytes]:
        stream_id = await self.request(path, body, "GET" if body is None else "POST", **more)
        await self.pump(lambda: stream_id in self.ended or stream_id in self.reset)
        return self.status[stream_id], self.body[stream_id]


async def connect_h2(served: Served, window: int | None = None, rcvbuf: int | None = None) -> H2Client:
    client = H2Client(await served.connect(alpn=["h2"], rcvbuf=rcvbuf), window)
    client.h2.initiate_connection()
    await client.flush()
    return client
