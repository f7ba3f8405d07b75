"""Cancel, or disconnect, after every scheduler step of every path of a request; then every promise must hold.

Each path is a script of the upstream and a shape of the request. Three things strike: the client's disconnect, a
cancellation from outside (what a hard stop of the server is), and the relay's own stop with its last words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from relay_trio.errors import ShuttingDown
from relay_trio.outcome import Word
from tests.explorer import Run, Steps, cancel_target, explore
from tests.support import bedrock_scripts, gemini_scripts, scripts
from tests.support.bedrock_frames import CLAUDE, exception
from tests.support.gemini_answers import ARRAY, ERROR, EVENTS, pretty
from tests.support.memory_harness import (
    HEAD,
    START,
    STREAM,
    MemoryHarness,
    assert_client_was_not_deceived,
    open_harness,
    tasks_of_the_relay,
)
from tests.support.scripts import JSON_HEAD, PING, first_account, sends, sse_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.explorer import Action
    from tests.support.memory_harness import Client, Script


class Path:
    """One path of a request through the relay."""

    def __init__(
        self,
        script: Script,
        *,
        accounts: int = 1,
        strikes: dict[str, int] | None = None,
        body: tuple[bytes, ...] = (),
        stream: bool = True,
        around: Callable[[MemoryHarness, Client], Awaitable[None]] | None = None,
        settings: dict[str, Any] | None = None,
        forwards: bool = True,
        path: str = "/v1/messages",
    ) -> None:
        self.script = script
        self.accounts = accounts
        self.strikes = strikes or {}
        self.body = body
        self.stream = stream
        self.around = around
        self.settings = settings or {}
        self.forwards = forwards
        self.path = path


async def behind_another_request(harness: MemoryHarness, client: Client) -> None:
    """The only slot is held when the request comes, and given back while it waits."""
    lease = await harness.core.admission.acquire(harness.core.admission.new_request("m"))
    async with trio.open_nursery() as nursery:

        async def holder() -> None:
            with lease:
                await trio.sleep(1)

        nursery.start_soon(holder)
        await client.run()


async def to_a_client_that_stalls(harness: MemoryHarness, client: Client) -> None:
    """The client takes the head and then nothing until after the write timeout."""

    async def wake() -> None:
        await trio.sleep(0.5)
        client.reads = trio.Event()
        await trio.sleep(60)
        client.reads.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake)
        await client.run()
        nursery.cancel_scope.cancel()


async def and_the_end_of_its_connection(harness: MemoryHarness, client: Client) -> None:
    """The request, and after it the time in which the upstream may end its body."""
    await client.run()
    await trio.sleep(2)


BODY = (b'{"model": "m", ', b'"stream": true, "max_tokens": 1,', b' "messages": []}')

BEDROCK = bedrock_scripts.ACCOUNTS
GEMINI: dict[str, Any] = {
    "settings": gemini_scripts.accounts(),
    "path": gemini_scripts.STREAM,
    "body": (gemini_scripts.BODY,),
}

PATHS = {
    "stream": Path(scripts.streams),
    "slow stream": Path(scripts.streams_slowly),
    "whole message": Path(scripts.answers, stream=False),
    "body in parts": Path(scripts.streams, body=BODY),
    "bad request": Path(scripts.streams, body=(b'{"model": 1}',)),
    "upstream dies before the head": Path(scripts.dies_before_the_head, strikes={"a": 1}),
    "upstream dies before the first byte": Path(scripts.dies_before_the_first_byte, strikes={"a": 1}),
    "upstream dies midway": Path(scripts.dies_midway),
    "upstream ends without its last event": Path(scripts.ends_without_its_last_event),
    "upstream reports an error": Path(scripts.reports_an_error_midway),
    "upstream stalls": Path(scripts.stalls),
    "upstream is silent": Path(scripts.is_silent, strikes={"a": 1}),
    "overloaded": Path(scripts.is_overloaded),
    "fail-over from overloaded": Path(scripts.first_account_is_overloaded, accounts=2),
    "fail-over from a dead upstream": Path(scripts.first_account_dies_before_the_head, accounts=2, strikes={"a": 1}),
    "queued": Path(scripts.streams, around=behind_another_request),
    "stalled client": Path(scripts.floods, around=to_a_client_that_stalls),
    "stream, by the channel alone": Path(scripts.streams_slowly, forwards=False),
    "upstream dies midway, by the channel alone": Path(scripts.dies_midway, forwards=False),
    "stalled client, by the channel alone": Path(scripts.floods, around=to_a_client_that_stalls, forwards=False),
    "translated stream": Path(bedrock_scripts.streams, settings=BEDROCK),
    "translated stream with pings": Path(bedrock_scripts.pauses, settings=BEDROCK),
    "translated stream falls silent": Path(bedrock_scripts.falls_silent, settings=BEDROCK, strikes={"a": 1}),
    "translated stream dies midway": Path(bedrock_scripts.dies_midway, settings=BEDROCK),
    "translated stream ends between frames": Path(bedrock_scripts.ends_between_frames, settings=BEDROCK),
    "translated stream reports an exception": Path(
        bedrock_scripts.reports_an_exception, settings=BEDROCK, strikes={"a": 1}
    ),
    "fail-over of a translated stream": Path(bedrock_scripts.first_account_is_throttled, accounts=2, settings=BEDROCK),
    "native frames": Path(bedrock_scripts.streams, settings=BEDROCK, path=bedrock_scripts.INVOKE_STREAM),
    "gemini": Path(gemini_scripts.streams, **GEMINI),
    "gemini dies midway": Path(gemini_scripts.dies_midway, **GEMINI),
    "gemini ends between events": Path(gemini_scripts.ends_between_events, **GEMINI),
    "gemini reports an error": Path(gemini_scripts.reports_an_error, **GEMINI),
    "gemini array": Path(gemini_scripts.streams_an_array, **GEMINI),
    "gemini array ends between elements": Path(gemini_scripts.ends_between_elements, **GEMINI),
    "fail-over of gemini": Path(gemini_scripts.first_account_is_exhausted, accounts=2, **GEMINI),
    "native frames end midway": Path(
        bedrock_scripts.ends_between_frames, settings=BEDROCK, path=bedrock_scripts.INVOKE_STREAM
    ),
}

PATHS |= {  # the first event is held
    "error event first": Path(sends(HEAD, sse_error("overloaded_error"), then="stalls")),
    "the client's own error first": Path(sends(HEAD, sse_error("invalid_request_error"))),
    "fail-over from an error event": Path(
        first_account(sends(HEAD, PING, sse_error("overloaded_error"), then="stalls"), scripts.streams), accounts=2
    ),
    "fail-over from pings and silence": Path(
        first_account(sends(HEAD, PING, then="stalls"), scripts.streams), accounts=2, strikes={"a": 1}
    ),
    "fail-over from pings and death": Path(
        first_account(sends(HEAD, PING, then="dies"), scripts.streams), accounts=2, strikes={"a": 1}
    ),
    "part of an event": Path(scripts.streams_its_first_event_in_halves),
    "part of an event, and death": Path(sends(HEAD, START[:30], then="dies"), strikes={"a": 1}),
    "part of an event, and silence": Path(sends(HEAD, START[:30], then="stalls")),
    "fail-over from an exception": Path(
        first_account(
            sends(bedrock_scripts.HEAD, exception("throttlingException"), then="stalls"), bedrock_scripts.streams
        ),
        settings=BEDROCK,
    ),
    "fail-over from gemini's error": Path(
        first_account(
            sends(gemini_scripts.ARRAY_HEAD, b"[" + pretty(ERROR), then="stalls"), gemini_scripts.streams_an_array
        ),
        strikes={"a": 1},
        **GEMINI,
    ),
}
PATHS |= {  # status 200 is not success
    "fail-over from a page": Path(
        first_account(sends(HEAD, b"<html>", then="stalls"), scripts.streams), accounts=2, strikes={"a": 1}
    ),
    "fail-over from a page that says so": Path(
        first_account(sends(HEAD.replace(b"event-stream", b"html"), b"<html>"), scripts.streams),
        accounts=2,
        strikes={"a": 1},
    ),
    "nothing at all": Path(sends(HEAD), strikes={"a": 1}),
    "a document that is an error": Path(sends(JSON_HEAD, scripts.OVERLOADED), stream=False, strikes={"a": 1}),
    "fail-over from half a document": Path(
        first_account(sends(JSON_HEAD, scripts.MESSAGE[:-5]), scripts.answers),
        accounts=2,
        stream=False,
        strikes={"a": 1},
    ),
}
ENDINGS = {
    "late end": Path(scripts.ends_late, around=and_the_end_of_its_connection),
    "no end": Path(sends(HEAD, *STREAM, then="stalls"), around=and_the_end_of_its_connection),
    "death at the end": Path(sends(HEAD, *STREAM, then="dies"), around=and_the_end_of_its_connection),
    "no end, and more": Path(scripts.goes_on_after_its_end, around=and_the_end_of_its_connection),
    "no end of an error": Path(
        sends(HEAD, START, sse_error("api_error"), then="stalls"),
        around=and_the_end_of_its_connection,
        strikes={"a": 1},
    ),
    "no end of a translation": Path(
        sends(bedrock_scripts.HEAD, *CLAUDE, then="stalls"), settings=BEDROCK, around=and_the_end_of_its_connection
    ),
    "no end of gemini": Path(sends(HEAD, *EVENTS, then="stalls"), around=and_the_end_of_its_connection, **GEMINI),
    "no end of gemini's array": Path(
        sends(gemini_scripts.ARRAY_HEAD, *ARRAY, then="stalls"), around=and_the_end_of_its_connection, **GEMINI
    ),
}
"""The dialect's last event has come, and the body has not ended."""

PATHS |= ENDINGS


def disconnect(run: Run) -> None:
    run.stage.client.leave()


def stop_with_last_words(run: Run) -> None:
    live = run.stage.harness.core.live
    live.stop()
    live.end_all(ShuttingDown("the relay is shutting down"))


ACTIONS: dict[str, Action] = {
    "disconnect": disconnect,
    "cancel": cancel_target,
    "stop": stop_with_last_words,
}


def close_upstream_client(run: Run) -> None:
    """What the end of the process does, whatever still goes on there."""
    client = run.stage.harness.upstream
    client._pool.close()
    client._nursery.cancel_scope.cancel()


def scenario_of(path: Path, action: str) -> Callable[[Run], Awaitable[None]]:
    async def scenario(run: Run) -> None:
        async with open_harness(path.script, accounts=path.accounts, **path.settings) as harness:
            client = harness.request(*path.body, stream=path.stream, path=path.path, forwards=path.forwards)
            run.stage.harness, run.stage.client = harness, client
            tasks_before = tasks_of_the_relay()
            with run.target():
                if path.around is None:
                    await client.run()
                else:
                    await path.around(harness, client)
            await trio.testing.wait_all_tasks_blocked()
            harness.assert_at_rest()
            harness.assert_healthy(strikes=path.strikes)
            assert len(harness.rows) <= 1, "more than one row"
            if client.status == 200:
                assert len(harness.rows) == 1, "an answer without a row"
            assert_client_was_not_deceived(client)
            for row in harness.rows:
                assert row.outcome is not None
                if action != "cancel":  # a cancellation that nobody announced is a defect by definition
                    assert row.outcome.word is not Word.INTERNAL, row.outcome.code
            await trio.sleep(2)  # longer than the end of a body is awaited, and shorter than a connection is kept
            assert harness.upstream.statistics().ending_connections == 0, "a connection still awaits its end"
            left_open = sum(not side.is_closed_by_the_relay for side in harness.sides)
            assert left_open == harness.upstream.statistics().idle_connections, "the upstream was left open"
            assert tasks_of_the_relay() == tasks_before, "a task was left"

    return scenario


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("path", PATHS)
def test_struck_after_any_step_every_promise_holds(path: str, action: str) -> None:
    done = explore(scenario_of(PATHS[path], action), ACTIONS[action], counted=(Steps.RUN,))
    assert done.steps > 5


@pytest.mark.parametrize("path", ["stream", "queued", "fail-over from overloaded"])
def test_struck_after_any_step_under_other_schedules_every_promise_holds(path: str) -> None:
    explore(scenario_of(PATHS[path], "disconnect"), disconnect, seeds=(1, 2, 3))


@pytest.mark.parametrize("path", ["stream", "queued", "fail-over from overloaded"])
def test_struck_twice_every_promise_holds(path: str) -> None:
    """A disconnect, and a hard cancel one to three steps later: during the cleanup."""
    explore(scenario_of(PATHS[path], "cancel"), disconnect, again=cancel_target, gaps=(0, 1, 2), counted=(Steps.RUN,))


def ending_scenario_of(path: Path) -> Callable[[Run], Awaitable[None]]:
    async def scenario(run: Run) -> None:
        async with open_harness(path.script, **path.settings) as harness:
            client = harness.request(*path.body, path=path.path)
            run.stage.harness = harness
            with run.target():
                await and_the_end_of_its_connection(harness, client)
        assert harness.slots.total_in_use() == 0, "a slot is still held"
        assert harness.ledger.open_rows == 0, "a row is still open"
        assert all(side.is_closed_by_the_relay for side in harness.sides), "the upstream was left open"
        statistics = harness.upstream.statistics()
        assert (statistics.open_connections, statistics.ending_connections) == (0, 0), "a connection is still counted"

    return scenario


@pytest.mark.parametrize("path", ENDINGS)
def test_with_its_client_closed_at_any_step_no_connection_is_left_that_awaits_its_end(path: str) -> None:
    explore(ending_scenario_of(ENDINGS[path]), close_upstream_client, counted=(Steps.RUN,))
