"""serve(): one application on some listeners, until a drain has ended.

::

    serve
    ├─ lifespan task                    the application's startup and shutdown
    └─ server nursery
       ├─ accept task per listener      cancelled when the drain begins
       └─ connection task ...           cancelled when the drain has ended
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from relay_trio.server import hypercorn_compat
from relay_trio.server.client_connection import admit, serve_connection

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    from relay_trio.server.context import ServerState
    from relay_trio.server.drain import Drain
    from relay_trio.server.limits import ListenSettings

try:
    import resource
except ImportError:  # Windows, where nothing bounds the number of sockets
    resource = None  # type: ignore[assignment]

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Out of file descriptors or memory: wait for connections to end instead of spinning (as trio.serve_listeners does)."""

_MOST_CONNECTIONS = 65_536
"""Where the system sets no limit."""

ACCEPT_PAUSE_SECONDS = 0.1
ACCEPT_BATCH = 16
"""How many connections one accept task takes before it lets the others run."""


async def serve(
    server: ServerState,
    settings: ListenSettings,
    *,
    drain: Drain,
    listeners: Sequence[socket.socket] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the application of ``server`` until ``drain`` has ended; reports the listeners' URLs once they accept.

    ``listeners`` are bound, non-blocking stdlib sockets to use instead of ``settings.listeners``; serve closes them.
    Does not run the drain's clock: ``Drain.run`` does, once for all servers that share it.

    Cancelled here: destroys, every connection is closed at once and the lifespan's shutdown does not run.

    Raises:
        OSError: an address cannot be bound, or the certificate cannot be read.
    """
    config = hypercorn_compat.hypercorn_config(settings, http2=server.limits.http2)
    context = hypercorn_compat.ssl_context(config)
    if listeners is None:
        listeners = hypercorn_compat.open_listeners(config, settings)
    else:
        for sock in listeners:
            settings.socket_options.apply(sock)
            sock.listen(settings.backlog)
    server.listeners = tuple(listeners)
    lifespan = hypercorn_compat.make_lifespan(server.app, config)
    try:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            with suppress(trio.ClosedResourceError):  # an application that returned at once has no lifespan
                await lifespan.wait_for_startup()
            await _serve_until_drained(
                server,
                context,
                drain,
                server.limits.max_connections or most_connections(),
                lambda: task_status.started(
                    [hypercorn_compat.url_of(sock, context is not None) for sock in server.listeners]
                ),
            )
            with suppress(trio.ClosedResourceError):
                await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()
    finally:
        for sock in server.listeners:
            sock.close()


async def _serve_until_drained(
    server: ServerState,
    context: ssl.SSLContext | None,
    drain: Drain,
    max_connections: int,
    started: Callable[[], None],
) -> None:
    """Accept, then drain. Cancelled here: destroys."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as accepting:
            async with trio.open_nursery() as accept_nursery:
                for sock in server.listeners:
                    accept_nursery.start_soon(_accept, sock, server, context, nursery, max_connections)
                started()
                await drain.began.wait()
                accepting.cancel()
        for sock in server.listeners:
            sock.close()
        server.listeners = ()
        server.is_draining = True
        for connection in tuple(server.connections):
            connection.begin_drain()
        nursery.start_soon(_cancel_when_stopped, drain, nursery.cancel_scope)
        while server.connections:
            server.all_closed = trio.Event()
            await server.all_closed.wait()
        nursery.cancel_scope.cancel()


async def _cancel_when_stopped(drain: Drain, scope: trio.CancelScope) -> None:
    """Cancel ``scope`` at the end of the drain. Cancelled here: atomic."""
    await drain.stopped.wait()
    scope.cancel()


async def _accept(
    listener: socket.socket,
    server: ServerState,
    context: ssl.SSLContext | None,
    nursery: trio.Nursery,
    max_connections: int,
) -> None:
    """Start a task for every connection; leaves them in the kernel's queue while there are too many that are not idle.

    Cancelled here: atomic, an accepted connection has its task.
    """
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _ in range(ACCEPT_BATCH):
            if not server.has_room(max_connections):
                await trio.sleep(ACCEPT_PAUSE_SECONDS)
                break
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _NO_ROOM:
                    await trio.sleep(ACCEPT_PAUSE_SECONDS)
                break  # anything else is a connection that failed before it was one
            sock.setblocking(False)
            nursery.start_soon(serve_connection, admit(sock, server, context), server)
            server.make_room(max_connections)


def most_connections() -> int:
    """Half of the file descriptors this process may have: the other half is for upstreams, files and the rest."""
    if resource is None:
        return _MOST_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft // 2, 16) if soft != resource.RLIM_INFINITY else _MOST_CONNECTIONS
