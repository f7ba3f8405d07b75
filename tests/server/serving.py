"""What the tests of the server share: a server on port 0, an application that shows what it saw, a raw client."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trustme

from relay_trio.demo.http_client import HttpClient
from relay_trio.errors import RelayError, UpstreamTruncated
from relay_trio.server.context import REQUEST_KEY, ServerState
from relay_trio.server.drain import Drain
from relay_trio.server.limits import ConnectionLimits, ListenSettings, SocketOptions
from relay_trio.server.listen import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMITS = ConnectionLimits()


def is_expected(error: BaseException) -> bool:
    """As in the relay: its errors cut a response on purpose."""
    return isinstance(error, RelayError)


class Application:
    """An ASGI application with one behaviour per path, and a memory of how each request ended."""

    def __init__(self) -> None:
        self.running = 0
        self.started: list[str] = []
        self.losses: list[tuple[str, str | None, float]] = []  # path, loss, seconds from disconnected_at to receive()
        self.bodies: list[bytes] = []
        self.sent = 0
        self.returned: list[int | None] = []  # what send_nowait returned
        self.lifespan: list[str] = []
        self.go = trio.Event()
        self.scopes: list[dict[str, Any]] = []
        self.changed = trio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        name = scope["path"].split("/")[1] or "hello"
        self.scopes.append(scope)
        self.started.append(scope["path"])
        self.running += 1
        self._note()
        try:
            await getattr(self, f"on_{name}")(scope, receive, send)
        finally:
            self.running -= 1
            self._note()

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, claim: Callable[[], bool]) -> None:
        while not claim():
            await self.changed.wait()

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            self.lifespan.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def body_of(self, scope: dict[str, Any], receive: Any) -> bytes | None:
        """The whole body; None when the client was lost before its end."""
        body: bytes | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                assert (await receive())["type"] == "http.disconnect"
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            parts = []
            while part := await scope[REQUEST_KEY].receive_body_some():
                parts.append(part)
            body = b"".join(parts)
            nursery.cancel_scope.cancel()
        return body

    async def _start(self, send: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def _body(self, send: Any, body: bytes = b"", more: bool = False) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})
        self.sent += len(body)

    def _lost(self, scope: dict[str, Any]) -> None:
        request = scope[REQUEST_KEY]
        assert request.disconnected_at is not None
        self.losses.append((scope["path"], request.disconnect_reason, trio.current_time() - request.disconnected_at))
        self._note()

    # --- behaviours ---

    async def on_hello(self, scope: Any, receive: Any, send: Any) -> None:
        await self.on_echo(scope, receive, send, greeting=b"hello")

    async def on_echo(self, scope: Any, receive: Any, send: Any, greeting: bytes = b"") -> None:
        body = await self.body_of(scope, receive)
        if body is None:
            self._lost(scope)
            return
        self.bodies.append(body)
        reply = greeting + body
        await self._start(send, 200, (b"content-length", b"%d" % len(reply)))
        await self._body(send, reply)

    async def on_wait(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing until the client is lost."""
        while (await receive())["type"] != "http.disconnect":
            self._note()
        self._lost(scope)

    async def on_streamwait(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send)
        await self._body(send, b"first", more=True)
        await self.on_wait(scope, receive, send)

    async def on_nobody(self, scope: Any, receive: Any, send: Any) -> None:
        """Stay away from ``receive`` until ``go`` is set."""
        await self.go.wait()
        await self.on_echo(scope, receive, send)

    async def on_early(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer without having looked at the body."""
        await self._start(send, 401, (b"content-length", b"2"))
        await self._body(send, b"no")

    async def on_earlystream(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 429)
        await self._body(send, b"n", more=True)
        await self._body(send, b"o")

    async def on_direct(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the middle of the body without ``send``, as a pump does; what it returns goes into ``returned``."""
        send_nowait = scope[REQUEST_KEY].stream.send_nowait
        self.returned.append(send_nowait(b"too early"))
        sized = scope["path"].endswith("sized")
        await self._start(send, 200, *([(b"content-length", b"15")] if sized else []))
        self.returned.append(send_nowait(b"too early"))
        await self._body(send, b"first;", more=True)
        self.returned += [send_nowait(b"middle;"), send_nowait(b""), send_nowait(b"x" * 100_000)]
        if sized:
            self.returned.append(send_nowait(b"more than declared"))
        await self._body(send, b"la" if sized else b"last")
        self.returned.append(send_nowait(b"too late"))

    async def on_directflood(self, scope: Any, receive: Any, send: Any) -> None:
        """Send without ``send`` until the socket is full, then wait for the client as a body does."""
        send_nowait = scope[REQUEST_KEY].stream.send_nowait
        await self._start(send)
        await self._body(send, b"y", more=True)
        while (unsent := send_nowait(b"y" * 60_000)) == 0:
            self.sent += 60_000
        self.sent += 60_000
        self.returned += [unsent, send_nowait(b"behind other bytes")]
        self._note()
        await self._body(send, b"", more=True)
        self.returned.append(send_nowait(b"y"))
        await self._body(send)

    async def on_chunks(self, scope: Any, receive: Any, send: Any) -> None:
        await self.body_of(scope, receive)
        await self._start(send, 200, (b"content-type", b"text/event-stream"))
        for number in range(5):
            await self._body(send, b"chunk %d;" % number, more=True)
        await self._body(send)

    async def on_flood(self, scope: Any, receive: Any, send: Any) -> None:
        """Send for ever, watching for a disconnect as Quart does."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await self.on_wait(scope, receive, send)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._start(send)
            while True:
                await self._body(send, b"x" * 16_384, more=True)
                await trio.lowlevel.checkpoint()

    async def on_slowflood(self, scope: Any, receive: Any, send: Any) -> None:
        """A fixed 400 kB."""
        await self._start(send)
        for _ in range(25):
            await self._body(send, b"x" * 16_000, more=True)
        await self._body(send)

    async def on_fail(self, scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("the application has a defect")

    async def on_failgroup(self, scope: Any, receive: Any, send: Any) -> None:
        raise ExceptionGroup("two", [ValueError("one"), KeyError("other")])

    async def on_midway(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send)
        await self._body(send, b"half", more=True)
        raise UpstreamTruncated("the upstream closed in the middle")

    async def on_midwayreturn(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send)
        await self._body(send, b"half", more=True)

    async def on_abort(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send)
        await self._body(send, b"half", more=True)
        scope[REQUEST_KEY].stream.abort()
        await self._body(send, b"never seen")

    async def on_short(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 200, (b"content-length", b"10"))
        await self._body(send, b"half", more=True)
        await self._body(send, b"")

    async def on_long(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 200, (b"content-length", b"3"))
        await self._body(send, b"abc", more=True)
        await self._body(send, b"d")

    async def on_close(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 200, (b"connection", b"close"))
        await self._body(send, b"bye")

    async def on_status(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, int(scope["path"].split("/")[2]), (b"content-length", b"4"))
        await self._body(send, b"body")

    async def on_split(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 200, (b"x-evil", b"a\r\nx-injected: 1"))
        await self._body(send, b"body")

    async def on_headonly(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send)
        await self._body(send, b"", more=True)
        await self.go.wait()
        await self._body(send, b"late")

    async def on_hold(self, scope: Any, receive: Any, send: Any) -> None:
        """Stream one chunk, then the rest once ``go`` is set."""
        await self._start(send)
        await self._body(send, b"first;", more=True)
        await self.go.wait()
        await self._body(send, b"last")

    async def on_big(self, scope: Any, receive: Any, send: Any) -> None:
        await self._start(send, 200, (b"content-length", b"1000000"))
        await self._body(send, b"y" * 1_000_000)


@dataclass
class Served:
    """A running server."""

    app: Any
    port: int
    drain: Drain
    errors: list[BaseException]
    bad_heads: list[str]
    tls: bool = False
    finished: trio.Event = field(default_factory=trio.Event)
    sockets: list[trio.socket.SocketType] = field(default_factory=list)

    async def connect(self, *, rcvbuf: int | None = None, alpn: list[str] | None = None) -> Client:
        sock = trio.socket.socket()
        self.sockets.append(sock)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        await sock.connect(("127.0.0.1", self.port))
        stream: trio.abc.Stream = trio.SocketStream(sock)
        if self.tls:
            context = client_context(*(alpn or ()))
            stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
            await stream.do_handshake()
        return Client(stream, sock)

    def close_clients(self) -> None:
        for sock in self.sockets:
            sock.close()

    async def probe(self) -> None:
        """The server answers a new connection."""
        with trio.fail_after(5):
            async with await self.connect() as client:
                status, _, body = await client.exchange(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert (status, body) == (200, b"hello")


class Client(HttpClient):
    """The client that can hang up, and reads bytes: these tests are of the very bytes that the server writes, of
    continues, of answers in one segment and of both versions, which a parser of answers would hide."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        super().__init__(stream, sock)
        self.buffer = b""

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self.stream)

    async def more(self) -> bool:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        self.buffer += data
        return bool(data)

    async def until(self, end: bytes) -> bytes:
        """Read up to and including ``end``."""
        while end not in self.buffer:
            if not await self.more():
                raise EOFError(self.buffer)
        found, _, self.buffer = self.buffer.partition(end)
        return found + end

    async def rest(self) -> bytes:
        """Everything until the end of the connection."""
        while await self.more():
            pass
        return self.buffer

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = (await self.until(b"\r\n\r\n")).split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), fields

    async def response(self) -> tuple[int, dict[bytes, bytes], bytes]:
        status, fields = await self.head()
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            while len(self.buffer) < size:
                if not await self.more():
                    raise EOFError(self.buffer)
            body, self.buffer = self.buffer[:size], self.buffer[size:]
        elif fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(await self.until(b"\r\n"), 16):
                while len(self.buffer) < size + 2:
                    if not await self.more():
                        raise EOFError(self.buffer)
                body += self.buffer[:size]
                self.buffer = self.buffer[size + 2 :]
            assert await self.until(b"\r\n") == b"\r\n"
        else:
            body, self.buffer = await self.rest(), b""
        return status, fields, body

    async def exchange(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        await self.send(request)
        return await self.response()

    async def until_broken(self) -> None:
        """Read on until the connection is reset."""
        while await self.stream.receive_some(65_536):
            pass


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def client_context(*alpn: str) -> ssl.SSLContext:
    """Trusts the authority of the tests alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@functools.cache
def certificate() -> str:
    """Path of a certificate for localhost, its key in the same file."""
    path = Path(tempfile.mkdtemp()) / "localhost.pem"
    authority().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@contextlib.asynccontextmanager
async def open_server(
    app: Any = None,
    *,
    tls: bool = False,
    drain_seconds: float = 5.0,
    may_report: bool = False,
    options: SocketOptions | None = None,
    **limits: Any,
) -> AsyncIterator[Served]:
    """A server for one test; on leaving it must end, and have reported nothing unless the test says it may."""
    app = Application() if app is None else app
    settings = ListenSettings(
        listeners=("127.0.0.1:0",),
        tls_cert=certificate() if tls else None,
        tls_key=certificate() if tls else None,
        socket_options=options or SocketOptions(),
    )
    errors: list[BaseException] = []
    bad_heads: list[str] = []
    drain = Drain()
    state = ServerState(app, replace(LIMITS, **limits), errors.append, is_expected, bad_heads.append)
    async with trio.open_nursery() as nursery:
        finished = trio.Event()

        async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
            try:
                await serve(state, settings, drain=drain, task_status=task_status)
            finally:
                finished.set()

        urls = await nursery.start(run)
        nursery.start_soon(drain.run, drain_seconds)
        served = Served(app, int(urls[0].rsplit(":", 1)[1]), drain, errors, bad_heads, tls, finished)
        try:
            yield served
            drain.stop_now()
            with trio.fail_after(3):
                await finished.wait()
        finally:
            drain.stop_now()
            served.close_clients()
        nursery.cancel_scope.cancel()
    if not may_report:
        assert errors == []
