"""Serving an application: the one place that knows Hypercorn.

Hypercorn is embedded in our own ``trio.run``; its command line has no signal handling on trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypercorn.typing import Framework

    from relay_trio.config import Listener


async def serve(
    app: Framework,
    listeners: Sequence[Listener],
    *,
    grace_seconds: float,
    shutdown: trio.Event,
    certificate: tuple[str, str] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until ``shutdown`` is set; then refuse new connections and give open ones ``grace_seconds``.

    ``task_status`` gets the URLs that are bound, port 0 resolved.

    Raises:
        OSError: a listener cannot be bound.

    Cancelled here: destroys every connection at once.
    """
    config = Config()
    config.bind = [str(listener) for listener in listeners]
    config.backlog = 1024
    config.graceful_timeout = grace_seconds
    config.keep_alive_timeout = 75
    config.h11_max_incomplete_size = 32 * 1024
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    config.errorlog = None
    if certificate is not None:
        config.certfile, config.keyfile = certificate
    await hypercorn_serve(app, config, shutdown_trigger=shutdown.wait, task_status=task_status, mode="asgi")
