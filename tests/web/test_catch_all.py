"""One rule for every request that has no other: any path, any method, without a look at werkzeug's map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from quart import Response, request

from relay_trio.web.quart_app import bare_app
from tests.support.memory_harness import Client

if TYPE_CHECKING:
    from trio.testing import MockClock

    from relay_trio.web.catch_all import CatchAllApp


def app() -> CatchAllApp:
    app = bare_app()

    @app.route("/own", methods=["GET"])
    async def own() -> Response:
        return Response("own")

    async def anything() -> Response:
        return Response(f"{request.method} {request.path}")

    app.catch_all(anything)
    return app


async def answer(path: str, method: str = "GET") -> tuple[int | None, bytes]:
    client = Client(app(), [b""], path=path, method=method)
    with trio.fail_after(100):
        await client.run()
    return client.status, client.body


@pytest.mark.parametrize("path", ["/", "/a", "/own/", "/own/x", "//a", "/a\nb", "*", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "BREW"])
async def test_whatever_is_no_path_of_its_own_is_caught(autojump_clock: MockClock, path: str, method: str) -> None:
    assert await answer(path, method) == (200, f"{method} /{path.lstrip('/')}".encode())  # as Quart shows a path


async def test_its_own_paths_are_quarts(autojump_clock: MockClock) -> None:
    assert await answer("/own") == (200, b"own")
    assert (await answer("/own", "POST"))[0] == 405
