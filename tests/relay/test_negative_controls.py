"""The explorer has to catch what it is for: relays with one deliberate flaw each must fail it.

Every flaw is one that real relays have (a slot that outlives its task, an await in the wrong place, a release that can
be cancelled, an end that means nothing), set into an otherwise sound relay.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from quart import Response

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.pool.admission import Admission, Lease, SlotRequest
from relay_trio.upstream.connection_pool import END_SECONDS, ConnectionPool
from relay_trio.vendors.claude.operations import MESSAGES
from relay_trio.web.asgi import RequestConnection
from relay_trio.web.client_body import ClientBody
from relay_trio.web.quart_app import bare_app
from tests.explorer import ExplorationFailed, Run, Steps, cancel_target, explore
from tests.relay.test_exploration import (
    ENDINGS,
    PATHS,
    Path,
    close_upstream_client,
    disconnect,
    ending_scenario_of,
    scenario_of,
)
from tests.support import scripts
from tests.support.memory_harness import open_harness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from quart_trio import QuartTrio

    from relay_trio.upstream.http1 import UpstreamConnection
    from tests.support.memory_harness import MemoryHarness

STREAM = Path(scripts.streams)


def test_the_sound_relay_passes_the_same_exploration() -> None:
    explore(scenario_of(STREAM, "disconnect"), disconnect, counted=(Steps.RUN,))


# --- a slot taken in the handler and given back in the body generator ---------------------------------------------


def slot_in_the_handler(harness: MemoryHarness) -> QuartTrio:
    """The obvious way to write it: acquire, return a generator, release in its ``finally``."""
    app = bare_app()
    core = harness.core

    @app.route("/v1/messages", methods=["POST"])
    async def messages() -> Response:
        lease = await core.admission.acquire(core.admission.new_request("m"))
        account = lease.__enter__()

        async def body() -> AsyncIterator[bytes]:
            try:
                request = await account.build(
                    CheckedRequest(MESSAGES.name, "POST", b"/v1/messages", b"", [], b"{}", "m", True)
                )
                async with core.client.open(request, lambda phase: None) as response:
                    while data := await response.receive_some():
                        yield data
            finally:
                lease.__exit__(None, None, None)

        return Response(body(), content_type="text/event-stream")

    return app


def test_a_slot_that_changes_hands_between_handler_and_body_is_caught() -> None:
    async def scenario(run: Run) -> None:
        async with open_harness(scripts.streams) as harness:
            harness.app = slot_in_the_handler(harness)
            client = harness.request()
            run.stage.client = client
            with run.target():
                await client.run()
            await trio.testing.wait_all_tasks_blocked()
            assert harness.slots.total_in_use() == 0, "a slot is still held"

    with pytest.raises(ExplorationFailed, match="a slot is still held"):
        explore(scenario, disconnect, counted=(Steps.RUN,))


# --- an await between acquiring and the block that gives back -----------------------------------------------------


def test_an_await_between_the_grant_and_its_block_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Admission.acquire

    async def then_awaits(self: Admission, wanted: SlotRequest) -> Lease:
        lease = await sound(self, wanted)
        await trio.lowlevel.checkpoint()
        return lease

    monkeypatch.setattr(Admission, "acquire_nowait", lambda self, wanted: None)
    monkeypatch.setattr(Admission, "acquire", then_awaits)
    with pytest.raises(ExplorationFailed, match="a slot is still reserved"):
        explore(scenario_of(STREAM, "cancel"), cancel_target, counted=(Steps.RUN,))


# --- a release that can be cancelled ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_shielded", [True, False])
def test_a_release_that_awaits_is_caught_unless_it_is_shielded(is_shielded: bool) -> None:
    @asynccontextmanager
    async def lease(admission: Admission) -> AsyncIterator[None]:
        lease = await admission.acquire(admission.new_request("m"))
        lease.__enter__()
        try:
            yield
        finally:
            with trio.CancelScope(shield=is_shielded):
                await trio.lowlevel.checkpoint()  # a call to a store that counts slots elsewhere
                lease.__exit__(None, None, None)

    async def scenario(run: Run) -> None:
        async with open_harness(scripts.streams) as harness:
            with run.target():
                async with lease(harness.core.admission):
                    await trio.sleep(1)
            harness.assert_at_rest()

    if is_shielded:
        explore(scenario, cancel_target)
    else:
        with pytest.raises(ExplorationFailed, match="a slot is still held"):
            explore(scenario, cancel_target)


# --- an end that means nothing ------------------------------------------------------------------------------------


def test_a_body_that_takes_the_closed_channel_for_its_end_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deceived(self: ClientBody) -> bytes:
        try:
            chunk = await self._receiver.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if isinstance(chunk, bytes):
            return chunk
        raise StopAsyncIteration

    monkeypatch.setattr(ClientBody, "__anext__", deceived)
    with pytest.raises(ExplorationFailed):
        explore(scenario_of(PATHS["upstream dies midway"], "disconnect"), disconnect, counted=(Steps.RUN,))


# --- a connection that is forgotten while the end of its answer is awaited ----------------------------------------


def test_a_connection_whose_answer_did_not_end_and_is_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(self: ConnectionPool, connection: UpstreamConnection, *, is_usable: Callable[[], bool]) -> None:
        with trio.move_on_after(END_SECONDS):
            await connection.read_end()
            connection.end_answer()
            self.release(connection, is_usable=is_usable())

    monkeypatch.setattr(ConnectionPool, "finish", forgets)
    with pytest.raises(ExplorationFailed, match="a connection is neither closed nor pooled"):
        explore(scenario_of(ENDINGS["no end"], "disconnect"), disconnect, counted=(Steps.RUN,))


def test_a_connection_that_is_forgotten_as_its_client_closes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(self: ConnectionPool, connection: UpstreamConnection, *, is_usable: Callable[[], bool]) -> None:
        self.ending_connections += 1
        with trio.move_on_after(END_SECONDS):
            await connection.read_end()
        connection.end_answer()
        self.ending_connections -= 1
        self.release(connection, is_usable=is_usable())

    monkeypatch.setattr(ConnectionPool, "finish", forgets)
    explore(scenario_of(ENDINGS["no end"], "disconnect"), disconnect, counted=(Steps.RUN,))
    with pytest.raises(ExplorationFailed, match="the upstream was left open"):
        explore(ending_scenario_of(ENDINGS["no end"]), close_upstream_client, counted=(Steps.RUN,))


# --- a relay that does not notice ---------------------------------------------------------------------------------


def test_a_watcher_that_ignores_the_disconnect_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def blind(self: RequestConnection, nursery: trio.Nursery, request: object, receive: object) -> None:
        pass

    monkeypatch.setattr(RequestConnection, "handle_messages", blind)

    async def scenario(run: Run) -> None:
        async with open_harness(scripts.is_silent) as harness:
            client = harness.request()
            run.stage.client = client
            with run.target(), trio.move_on_after(100):
                await client.run()
            await trio.testing.wait_all_tasks_blocked()
            assert not run.is_struck or trio.current_time() < 1, "the upstream went on for nobody"

    with pytest.raises(ExplorationFailed, match="went on for nobody"):
        explore(scenario, disconnect, counted=(Steps.RUN,))
