"""The current anthropic SDK shows its user the same through the relay as without it.

Each call is made twice, directly at the simulator and through the relay; and what the SDK counted is what the ledger
has and what the simulator served.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import trio

from tests.support.accounts import account
from tests.support.socket_harness import KEY, OTHER_KEY, PROMPT, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relay_trio.simulator import ServedRequest, Simulator
    from tests.support.socket_harness import Row, SocketHarness

    Call = Callable[[anthropic.Anthropic], object]

MODEL = "claude-sim:input=31,cache_creation=7,cache_read=5,chunks=6"
ASKED: dict[str, Any] = {"max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}
TOOL: Any = {"name": "weather", "description": "tells it", "input_schema": {"type": "object", "properties": {}}}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
BETAS: Any = ["context-1m-2025-08-07"]


# --- what its user sees -------------------------------------------------------------------------------------------


def shown(answer: Any) -> dict[str, Any]:
    """A message without what is new each time."""
    fields: dict[str, Any] = answer.model_dump(mode="json", exclude_unset=True, warnings=False)
    del fields["id"]
    for block in fields["content"]:
        block.pop("id", None)
    return fields


def create(client: anthropic.Anthropic, **more: Any) -> object:
    return shown(client.messages.create(**{"model": MODEL, **ASKED, **more}))


def helper(client: anthropic.Anthropic, **more: Any) -> object:
    with client.messages.stream(**{"model": MODEL, **ASKED, **more}) as events:
        kinds = [event.type for event in events]
        return kinds, shown(events.get_final_message())


def text_stream(client: anthropic.Anthropic) -> object:
    with client.messages.stream(model=MODEL, **ASKED) as events:
        return list(events.text_stream)


def plain_stream(client: anthropic.Anthropic, **more: Any) -> object:
    with client.messages.create(**{"model": MODEL, "stream": True, **ASKED, **more}) as events:
        dumped = [event.model_dump(mode="json", exclude_unset=True) for event in events]
    for event in dumped:
        event.get("message", {}).pop("id", None)
        event.get("content_block", {}).pop("id", None)
    return dumped


def beta_create(client: anthropic.Anthropic) -> object:
    return shown(client.beta.messages.create(model=MODEL, betas=BETAS, **ASKED))


def beta_helper(client: anthropic.Anthropic) -> object:
    with client.beta.messages.stream(model=MODEL, betas=BETAS, **ASKED) as events:
        return shown(events.get_final_message())


def beta_by_query(client: anthropic.Anthropic) -> object:
    return shown(client.messages.create(model=MODEL, extra_query={"beta": "true"}, **ASKED))


def counted(client: anthropic.Anthropic) -> object:
    return client.messages.count_tokens(model="claude-sim", messages=ASKED["messages"], tools=[TOOL]).model_dump()


def listed(client: anthropic.Anthropic) -> object:
    return [model.model_dump(mode="json") for model in client.models.list(limit=2)]


def retrieved(client: anthropic.Anthropic) -> object:
    return client.models.retrieve("claude-sim-small").model_dump(mode="json")


def headers(client: anthropic.Anthropic) -> object:
    answer = client.messages.with_raw_response.create(model=MODEL, **ASKED)
    names = ("content-type", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-reset")
    return answer.status_code, {name: answer.headers.get(name) for name in names}, shown(answer.parse())


CALLS: dict[str, Call] = {
    "create": create,
    "create, long": partial(create, model="claude-sim:chunks=400,chars=500", max_tokens=400),
    "create, cut by max_tokens": partial(create, max_tokens=3),
    "create, stop sequence": partial(create, stop_sequences=["slot"]),
    "create, tools": partial(create, tools=[TOOL], tool_choice={"type": "any"}),
    "create, thinking": partial(create, thinking=THINKING, max_tokens=3000),
    "create, system, cache": partial(
        create, system=[{"type": "text", "text": "s " * 50, "cache_control": {"type": "ephemeral"}}]
    ),
    "stream helper": helper,
    "stream helper, tools": partial(helper, tools=[TOOL], tool_choice={"type": "any"}),
    "stream helper, thinking": partial(helper, thinking=THINKING, max_tokens=3000),
    "stream helper, input changes": partial(helper, model=MODEL + ",delta_input=99"),
    "stream helper, output only": partial(helper, model=MODEL + ",delta_usage=output"),
    "text stream": text_stream,
    "stream=True": plain_stream,
    "stream=True, bytes drip": partial(plain_stream, model=MODEL + ",fault=resplit:3"),
    "beta create": beta_create,
    "beta stream": beta_helper,
    "beta by query": beta_by_query,
    "count tokens": counted,
    "list models": listed,
    "retrieve model": retrieved,
    "raw response": headers,
}


async def test_every_call_shows_the_same_and_its_numbers_are_everybodys(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Directly, then through the relay; SDK, ledger and simulator agree on every token."""
    with _client(simulator.base_url) as direct, _client(relay.url) as through:
        for name, call in CALLS.items():
            without = await trio.to_thread.run_sync(call, direct)
            simulator.truth.clear()
            seen = await trio.to_thread.run_sync(call, through)
            assert (name, seen) == (name, without)
            row = (await relay.rows())[-1]
            _check_row(name, row, simulator.truth.records[-1:])
            usage = _usage_in(seen)
            if usage is not None:
                assert (name, _tokens(row)) == (name, _tokens_of(usage))
                assert row["usage_source"] == "exact"


def _check_row(name: str, row: Row, records: list[ServedRequest]) -> None:
    assert (name, row["outcome"], row["code"], row["status"]) == (name, "completed", "--", 200)
    if row["route"].endswith(".models"):  # made of what is known of the pool
        assert (name, row["attempts"]) == (name, 0)
        return
    (served,) = records
    assert (name, row["attempts"]) == (name, 1)
    assert row["upstream_request_id"] == served.request_id, name
    if row["route"] == "claude.messages":
        truth = (served.input_tokens, served.output_tokens, served.cache_creation_tokens, served.cache_read_tokens)
        assert (name, _tokens(row)) == (name, truth)
        assert row["total_tokens"] == sum(truth)


def _usage_in(seen: Any) -> dict[str, Any] | None:
    if isinstance(seen, tuple):
        seen = seen[-1]
    usage: dict[str, Any] | None = seen.get("usage") if isinstance(seen, dict) else None
    return usage


def _tokens_of(usage: dict[str, Any]) -> tuple[int, ...]:
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return tuple(usage.get(name) or 0 for name in names)


def _tokens(row: Row) -> tuple[int, ...]:
    return tuple(row[f"{name}_tokens"] for name in ("input", "output", "cache_creation", "cache_read"))


# --- errors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Raised:
    """What a user's ``except`` sees. ``request_id`` is whose: ours or the upstream's."""

    kind: type[BaseException]
    status: int | None
    error: object


def raised(call: Call, client: anthropic.Anthropic) -> tuple[Raised, str]:
    """The exception of ``call`` and the request id it names."""
    try:
        call(client)
    except anthropic.APIStatusError as error:
        body: Any = error.body
        return Raised(type(error), error.status_code, body["error"]), body["request_id"]
    except anthropic.APIError as error:
        return Raised(type(error), None, None), ""
    raise AssertionError("no error was raised")


@pytest.mark.parametrize("call", [create, helper, plain_stream], ids=lambda call: call.__name__)
async def test_errors_are_of_the_same_class_and_status(call: Any, simulator: Simulator, folder: Path) -> None:
    """Statuses that are the request's fault or everybody's: class, status, type and message are the upstream's."""
    accounts = [account("one", simulator.base_url), account("two", simulator.base_url, number=1)]
    async with open_harness(folder, accounts, breaker={"enabled": False}) as relay:
        with _client(simulator.base_url) as direct, _client(relay.url) as through:
            for status in (400, 404, 405, 409, 413, 422, 429, 500, 502, 503, 504, 529):
                failing = partial(call, model=f"claude-sim:fault={status}")
                without, _ = await trio.to_thread.run_sync(raised, failing, direct)
                seen, request_id = await trio.to_thread.run_sync(raised, failing, through)
                assert seen == without
                row = await relay.row(request_id)
                assert (row["status"], row["code"]) == (status, "SH")
                assert row["attempts"] == (2 if status in (404, 429) or status >= 500 else 1)
            failing = partial(call, model="claude-sim:fault=error_event:3")
            if call is not create:
                without, _ = await trio.to_thread.run_sync(raised, failing, direct)
                seen, _ = await trio.to_thread.run_sync(raised, failing, through)
                assert seen == without
                assert seen.status == 200


async def test_a_request_that_the_upstream_refuses_is_refused_in_its_words(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Validation is the upstream's: the relay only looks for the model."""
    with _client(simulator.base_url) as direct, _client(relay.url) as through:
        for more in ({"max_tokens": 0}, {"messages": []}, {"messages": [{"role": "nobody", "content": "x"}]}):
            failing = partial(create, **more)
            without, _ = await trio.to_thread.run_sync(raised, failing, direct)
            seen, request_id = await trio.to_thread.run_sync(raised, failing, through)
            assert seen == without
            assert seen.kind is anthropic.BadRequestError
            row = await relay.row(request_id)
            assert (row["outcome"], row["code"]) == ("rejected_request", "SH")


async def test_errors_of_the_relay_itself_have_the_sdks_classes(relay: SocketHarness) -> None:
    """A bad key, a model the key may not use, a route that is not there."""
    for url, key, call, kind, status in (
        (relay.url, "rt_wrong", create, anthropic.AuthenticationError, 401),
        (relay.url, OTHER_KEY, create, anthropic.PermissionDeniedError, 403),
        (relay.url + "/elsewhere", KEY, create, anthropic.NotFoundError, 404),
        (relay.url, KEY, partial(create, model="a b"), anthropic.BadRequestError, 400),
        (relay.url, KEY, partial(create, model="claude-sim?x"), anthropic.BadRequestError, 400),
    ):
        with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
            seen, request_id = await trio.to_thread.run_sync(raised, call, client)
        assert (seen.kind, seen.status) == (kind, status)
        assert request_id.startswith("req_")
    with anthropic.Anthropic(base_url=relay.url, api_key=OTHER_KEY, max_retries=0) as client:
        await trio.to_thread.run_sync(partial(create, model="claude-sim-small"), client)


async def test_the_sdks_retries_wait_as_long_as_our_retry_after_says(simulator: Simulator, folder: Path) -> None:
    """One account, told to wait a second: the SDK's second attempt comes after that and succeeds."""
    async with open_harness(folder, [account("one", simulator.base_url)]) as relay:
        simulator.plan_next("fault=429:1")
        with anthropic.Anthropic(base_url=relay.url, api_key=KEY, max_retries=2) as client:
            began = trio.current_time()
            await trio.to_thread.run_sync(create, client)
            assert 0.9 <= trio.current_time() - began < 4
        rows = await relay.rows()
        assert [(row["status"], row["code"]) for row in rows] == [(429, "SH"), (200, "--")]
        assert rows[0]["outcome"] == "upstream_rate_limited"


async def test_the_sdk_does_not_retry_what_cannot_help(simulator: Simulator, relay: SocketHarness) -> None:
    """A refusal that is the request's fault is asked once, even with retries on."""
    with anthropic.Anthropic(base_url=relay.url, api_key=KEY, max_retries=2) as client:
        for model in ("claude-sim:fault=400", "a b"):
            await trio.to_thread.run_sync(raised, partial(create, model=model), client)
    assert len(simulator.truth.records) == 1
    assert len(await relay.rows()) == 2


# --- batches ------------------------------------------------------------------------------------------------------


async def test_a_batch_lives_its_whole_life_at_one_account(simulator: Simulator, relay: SocketHarness) -> None:
    """Created, found, listed, read, cancelled, deleted: always at the account that has it. It is booked once, with the
    results that were read first."""
    for url in (simulator.base_url, relay.url):
        with _client(url) as client:
            await trio.to_thread.run_sync(_batch_life, client)
    through = [r for r in simulator.truth.records if r.credential != KEY]
    assert len({record.credential for record in through}) == 1
    rows = await relay.rows()
    assert len(rows) == len(through)
    assert {(row["route"], row["outcome"]) for row in rows} == {("claude.batches", "completed")}
    [booked] = [row for row in rows if row["usage_source"] == "exact"]
    assert booked["batch_id"].startswith("msgbatch_")
    assert booked["output_tokens"] > 0
    assert not any(row["total_tokens"] or row["batch_id"] for row in rows if row is not booked)


def _batch_life(client: anthropic.Anthropic) -> None:
    params: Any = {"model": "claude-sim", **ASKED}
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    assert client.messages.batches.retrieve(batch.id).processing_status == "ended"
    assert batch.id in [listed.id for listed in client.messages.batches.list()]
    for _ in range(2):
        [result] = client.messages.batches.results(batch.id)
        assert result.custom_id == "a"
        assert result.result.type == "succeeded"
    client.messages.batches.cancel(batch.id)
    client.messages.batches.delete(batch.id)


# --- leaving ------------------------------------------------------------------------------------------------------


async def test_closing_the_stream_midway_is_booked_as_a_disconnect(simulator: Simulator, relay: SocketHarness) -> None:
    """The upstream is closed, the slot is back, and what was seen is in the ledger as partial."""
    model = "claude-sim:chunks=2000,pace=0.01,input=31,cache_read=5"
    with _client(relay.url) as client:
        texts = await trio.to_thread.run_sync(partial(_leave_midway, client, model))
        assert len(texts) == 3
        row = await relay.row()
    assert (row["outcome"], row["code"], row["cancelled_by"]) == ("client_disconnect", "CD", "client")
    assert (row["usage_source"], row["input_tokens"], row["cache_read_tokens"]) == ("partial", 31, 5)
    with trio.fail_after(2):
        await simulator.wait_idle()
    served = simulator.truth.last
    assert (served.closed_by, served.is_finished) == ("client", False)
    assert row["output_tokens"] <= served.output_tokens
    assert row["release_ms"] < 250


def _leave_midway(client: anthropic.Anthropic, model: str) -> list[str]:
    texts = []
    with client.messages.stream(model=model, **(ASKED | {"max_tokens": 5000})) as events:
        for text in events.text_stream:
            texts.append(text)
            if len(texts) == 3:
                break
    return texts


# --- the asynchronous client --------------------------------------------------------------------------------------


async def test_the_asynchronous_client_sees_the_same(simulator: Simulator, relay: SocketHarness) -> None:
    """On trio, ten at a time."""
    seen: list[object] = []
    for url in (simulator.base_url, relay.url):
        simulator.truth.clear()
        whole: list[object] = []
        streamed: list[object] = []
        async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(_async_create, client, whole)
                    nursery.start_soon(_async_stream, client, streamed)
        assert whole == [whole[0]] * 5
        assert streamed == [streamed[0]] * 5
        seen.append((whole, streamed))
        assert simulator.truth.usage().input_tokens == 310
    assert seen[0] == seen[1]
    rows = await relay.rows()
    assert [(row["outcome"], *_tokens(row)) for row in rows] == [("completed", 31, 6, 7, 5)] * 10


async def _async_create(client: anthropic.AsyncAnthropic, results: list[object]) -> None:
    results.append(shown(await client.messages.create(model=MODEL, **ASKED)))


async def _async_stream(client: anthropic.AsyncAnthropic, results: list[object]) -> None:
    async with client.messages.stream(model=MODEL, **ASKED) as events:
        results.append(shown(await events.get_final_message()))


@pytest.mark.filterwarnings(
    "ignore:Async generator:ResourceWarning"
)  # the SDK leaves its own generators to the collector
async def test_the_asynchronous_client_raises_the_same_and_may_be_cancelled(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Status errors, an error event, and trio's cancellation, which the relay sees as a disconnect."""
    async with anthropic.AsyncAnthropic(base_url=relay.url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(**{"model": "claude-sim:fault=400", **ASKED})
        with pytest.raises(anthropic.APIStatusError) as info:
            await _async_stream_of(client, "claude-sim:fault=error_event:3")
        assert info.value.status_code == 200
        with trio.move_on_after(0.2) as scope:
            await _async_stream_of(client, "claude-sim:chunks=2000,pace=0.01")
        assert scope.cancelled_caught
        gc.collect()
        rows = await relay.rows()
    assert [row["code"] for row in rows] == ["SH", "SD", "CD"]
    assert rows[2]["usage_source"] == "partial"
    with trio.fail_after(2):
        await simulator.wait_idle()


async def _async_stream_of(client: anthropic.AsyncAnthropic, model: str) -> None:
    async with client.messages.stream(**{"model": model, **ASKED, "max_tokens": 5000}) as events:
        async for _ in events.text_stream:
            pass


async def test_many_clients_at_once_share_the_slots_and_every_token_is_booked(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Forty streams over eight slots: nobody fails, the sum of the ledger is the sum of what was served."""
    async with anthropic.AsyncAnthropic(base_url=relay.url, api_key=KEY, max_retries=0) as client:
        results: list[object] = []
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(_async_stream, client, results)
    rows = await relay.rows()
    assert {row["outcome"] for row in rows} == {"completed"}
    truth = simulator.truth.usage()
    assert sum(row["total_tokens"] for row in rows) == sum(
        (truth.input_tokens, truth.output_tokens, truth.cache_creation_tokens, truth.cache_read_tokens)
    )
    assert {row["account"] for row in rows} == {"one", "two"}


async def test_the_clients_own_request_id_is_kept_beside_ours(relay: SocketHarness) -> None:
    """``x-request-id`` of the client is echoed and booked; ``request-id`` stays ours."""
    with _client(relay.url) as client:
        call = partial(
            client.messages.with_raw_response.create, model=MODEL, extra_headers={"x-request-id": "mine-1"}, **ASKED
        )
        answer = await trio.to_thread.run_sync(call)
    assert answer.headers["x-request-id"] == "mine-1"
    row = await relay.row(answer.headers["request-id"])
    assert row["client_request_id"] == "mine-1"
    assert row["upstream_request_id"] != row["request_id"]


def _client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)
