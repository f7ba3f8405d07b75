"""Everything we rely on inside Hypercorn, which is pinned exactly; ``tests/server/test_hypercorn_compat.py`` checks it.

What is used:

- ``Config``: parses listener addresses; ``create_sockets`` (bound, non-blocking, not listening);
  ``create_ssl_context``.
- ``hypercorn.trio.lifespan.Lifespan``: runs the application's lifespan in a task; startup and shutdown are awaited.
- ``hypercorn.utils.wrap_app``: gives Lifespan the five-argument form of an ASGI application.

What is not: ``TCPServer`` and everything under ``hypercorn.protocol``. Its connection layer lets one crafted connection
end the process (pgjones/hypercorn #225), shields sends without a deadline and stops reading while a response runs.
"""

from __future__ import annotations

import socket
import ssl
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from hypercorn.config import Config, Sockets
from hypercorn.trio.lifespan import Lifespan
from hypercorn.utils import repr_socket_addr, wrap_app

if TYPE_CHECKING:
    from relay_trio.server.limits import ListenSettings

LIFESPAN_SECONDS = 60.0
"""An application that does not finish its own startup or shutdown in this time is given up."""


def hypercorn_config(settings: ListenSettings, *, http2: bool = True) -> Config:
    """Hypercorn's view of our settings. ``http2``: whether TLS offers it."""
    config = Config()
    config.bind = list(settings.listeners)
    config.backlog = settings.backlog
    config.certfile = settings.tls_cert
    config.keyfile = settings.tls_key
    config.alpn_protocols = ["h2", "http/1.1"] if http2 else ["http/1.1"]
    config.errorlog = None  # errors go to the caller's ``on_error``
    config.accesslog = None
    config.startup_timeout = config.shutdown_timeout = LIFESPAN_SECONDS
    return config


def open_listeners(config: Config, settings: ListenSettings) -> list[socket.socket]:
    """Bound and listening sockets, with the options that accepted connections inherit.

    Raises:
        OSError: an address cannot be bound, which it has as its ``filename``; those bound before it are closed again.
    """
    listeners: list[socket.socket] = []
    try:
        for address in settings.listeners:  # one by one: create_sockets forgets the others when one fails
            config.bind = [address]
            try:
                sockets = _create_sockets(config)
                bound = [*sockets.secure_sockets, *sockets.insecure_sockets]
                listeners += bound
                for sock in bound:
                    settings.socket_options.apply(sock)
                    sock.listen(settings.backlog)
            except OSError as error:
                error.filename = address
                raise
    except BaseException:
        for sock in listeners:
            sock.close()
        raise
    return listeners


def _create_sockets(config: Config) -> Sockets:
    """Hypercorn's sockets. When one cannot be bound Hypercorn drops it unclosed; only its frame still knows it."""
    try:
        return config.create_sockets()
    except OSError as error:
        for frame, _ in walk_tb(error.__traceback__):
            if isinstance(sock := frame.f_locals.get("sock"), socket.socket):
                sock.close()
        raise


def ssl_context(config: Config) -> ssl.SSLContext | None:
    """Hypercorn's context, or None without a certificate; renegotiation is off, which ``TlsTransport`` needs."""
    context = config.create_ssl_context()
    if context is not None:
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def make_lifespan(app: Any, config: Config) -> Lifespan:
    """The application's lifespan. Its ``state`` reaches no request: requests bring their own object."""
    return Lifespan(wrap_app(app, config.wsgi_max_body_size, "asgi"), config, {})


def url_of(sock: socket.socket, is_tls: bool) -> str:
    """Where a listener can be reached."""
    return f"{'https' if is_tls else 'http'}://{repr_socket_addr(sock.family, sock.getsockname())}"
