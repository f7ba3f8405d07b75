"""google-genai shows its user the same through the relay as without it.

Each call is made twice, directly at the simulator and through the relay; and what the SDK counted is what the ledger
has and what the simulator served.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from google.genai import errors, types

from relay_trio.simulator import SimulatorSettings, open_simulator
from tests.support.accounts import gemini_account, vertex_account
from tests.support.google_clients import CONTENTS, google_client, vertex_client
from tests.support.socket_harness import KEY, OTHER_KEY, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google import genai

    from relay_trio.simulator import ServedRequest, Simulator
    from tests.support.socket_harness import Row, SocketHarness

    Call = Callable[[genai.Client], object]

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:google", "ignore::google.genai.errors.ExperimentalWarning"
)

MODEL = "gemini-sim:input=31,cache_read=5,chunks=6"
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", description="tells it")])
ANY = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))


@pytest.fixture
def accounts(simulator: Simulator) -> list[dict[str, object]]:
    """Two at the Gemini API."""
    return [gemini_account(name, simulator.base_url, number=number) for number, name in enumerate(("one", "two"))]


# --- what its user sees -------------------------------------------------------------------------------------------


def shown(answer: Any) -> dict[str, Any]:
    """An answer without what is new each time."""
    fields: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True, warnings=False)
    fields.pop("sdk_http_response", None)
    fields.pop("response_id", None)
    fields.pop("create_time", None)
    return fields


def generate(client: genai.Client, model: str = MODEL, **config: Any) -> object:
    return shown(client.models.generate_content(model=model, contents=CONTENTS, config=config or None))


def stream(client: genai.Client, model: str = MODEL, **config: Any) -> object:
    chunks = client.models.generate_content_stream(model=model, contents=CONTENTS, config=config or None)
    return [shown(chunk) for chunk in chunks]


def asynchronous(client: genai.Client) -> object:
    """In an event loop of asyncio, which is the only one that the SDK knows."""

    async def both() -> object:
        whole = await client.aio.models.generate_content(model=MODEL, contents=CONTENTS)
        chunks = await client.aio.models.generate_content_stream(model=MODEL, contents=CONTENTS)
        seen = [shown(whole), *[shown(chunk) async for chunk in chunks]]
        await client.aio.aclose()
        return seen

    return anyio.run(both, backend="asyncio")


def chat(client: genai.Client) -> object:
    session = client.chats.create(model=MODEL)
    return [shown(session.send_message("one")), *[shown(chunk) for chunk in session.send_message_stream("two")]]


def counted(client: genai.Client) -> object:
    return shown(client.models.count_tokens(model="gemini-sim", contents=CONTENTS))


def embedded(client: genai.Client) -> object:
    return shown(client.models.embed_content(model="gemini-embedding-sim", contents=["a b", "c"]))


def listed(client: genai.Client) -> object:
    return [shown(model) for model in client.models.list(config={"page_size": 2})]


def retrieved(client: genai.Client) -> object:
    return shown(client.models.get(model="gemini-sim-pro"))


GENERATING: dict[str, Call] = {
    "generate": generate,
    "generate, long": partial(generate, model="gemini-sim:chunks=400,chars=500"),
    "generate, cut by max tokens": partial(generate, max_output_tokens=3),
    "generate, tools": partial(generate, tools=[TOOL], tool_config=ANY),
    "generate, thinking": partial(generate, thinking_config={"include_thoughts": True}),
    "generate, a tool of Google's": partial(generate, tools=[types.Tool(google_search=types.GoogleSearch())]),
    "stream": stream,
    "stream, tools": partial(stream, tools=[TOOL], tool_config=ANY),
    "stream, thinking": partial(stream, thinking_config={"include_thoughts": True}),
    "stream, hidden thinking": partial(stream, thinking_config={"thinking_budget": 100}),
    "stream, input changes": partial(stream, model=MODEL + ",delta_input=11"),
    "stream, parts go missing": partial(
        stream, model=MODEL + ",delta_usage=thoughts", thinking_config={"thinking_budget": 9}
    ),
    "stream, counts decrease": partial(stream, model=MODEL + ",usage=decreasing"),
    "stream, bytes drip": partial(stream, model=MODEL + ",fault=resplit:3"),
    "stream, a system instruction": partial(stream, system_instruction="be brief"),
}
OTHERS: dict[str, Call] = {"count tokens": counted, "embed": embedded, "list models": listed, "get model": retrieved}


async def test_every_call_shows_the_same_and_its_numbers_are_everybodys(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Directly, then through the relay; SDK, ledger and simulator agree on every token."""
    direct, through = google_client(simulator.base_url), google_client(relay.url)
    for name, call in (GENERATING | OTHERS).items():
        without = await trio.to_thread.run_sync(call, direct)
        simulator.truth.clear()
        seen = await trio.to_thread.run_sync(call, through)
        assert (name, seen) == (name, without)
        row = (await relay.rows())[-1]
        _check_row(name, row, simulator.truth.records[-1:])
        if name in GENERATING:
            assert (name, _tokens(row)) == (name, _tokens_of(seen))
            assert row["usage_source"] == "exact", name


async def test_its_asynchronous_client_sees_the_same(simulator: Simulator, relay: SocketHarness) -> None:
    without = await trio.to_thread.run_sync(asynchronous, google_client(simulator.base_url))
    assert await trio.to_thread.run_sync(asynchronous, google_client(relay.url)) == without
    rows = await relay.rows()
    assert [(row["is_stream"], row["usage_source"]) for row in rows] == [(0, "exact"), (1, "exact")]
    gc.collect()


async def test_a_chat_sees_the_same(simulator: Simulator, relay: SocketHarness) -> None:
    without = await trio.to_thread.run_sync(chat, google_client(simulator.base_url))
    assert await trio.to_thread.run_sync(chat, google_client(relay.url)) == without


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_every_version_is_served(version: str, simulator: Simulator, relay: SocketHarness) -> None:
    """The current generation calls v1, the one before it v1beta."""
    client = google_client(relay.url, version=version)
    assert await trio.to_thread.run_sync(stream, client)
    assert simulator.truth.last.target.startswith(f"/{version}/models/gemini-sim:".encode())


def _check_row(name: str, row: Row, records: list[ServedRequest]) -> None:
    assert (name, row["outcome"], row["code"], row["status"]) == (name, "completed", "--", 200)
    if row["route"].endswith(".models"):  # made of what is known of the pool
        assert (name, row["attempts"]) == (name, 0)
        return
    (served,) = records
    assert (name, row["attempts"]) == (name, 1)
    if served.usage is not None:
        truth = (served.input_tokens, served.output_tokens, served.cache_creation_tokens, served.cache_read_tokens)
        assert (name, _tokens(row)) == (name, truth)
        assert row["total_tokens"] == sum(truth)
        assert row["usage_source"] == "exact", name


def _tokens_of(seen: Any) -> tuple[int, ...]:
    """What the SDK tells its user, by the rule of one meaning for every provider."""
    usage = (seen[-1] if isinstance(seen, list) else seen)["usage_metadata"]
    put_in = usage["prompt_token_count"] + usage.get("tool_use_prompt_token_count", 0)
    cached = usage.get("cached_content_token_count", 0)
    return put_in - cached, usage["total_token_count"] - put_in, 0, cached


def _tokens(row: Row) -> tuple[int, ...]:
    return tuple(row[f"{name}_tokens"] for name in ("input", "output", "cache_creation", "cache_read"))


# --- Vertex AI ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_express", [True, False])
async def test_a_client_of_vertex_is_served_by_either_service(
    is_express: bool, simulator: Simulator, folder: Path
) -> None:
    """Its own project and location reach nobody."""
    for make, place in (
        (gemini_account, b"/v1beta/models/gemini-sim"),
        (vertex_account, b"/v1beta1/projects/mine/locations/europe-west4/publishers/google/models/gemini-sim"),
    ):
        async with open_harness(folder, [make("one", simulator.base_url)]) as harness:
            client = vertex_client(harness.url, is_express=is_express)
            chunks: Any = await trio.to_thread.run_sync(stream, client)
            assert simulator.truth.last.target.startswith(place)
            assert b"theirs" not in simulator.truth.last.target
            row = (await harness.rows())[-1]
            _check_row(place.decode(), row, simulator.truth.records[-1:])
            assert _tokens(row) == _tokens_of(chunks)
            assert await trio.to_thread.run_sync(counted, client)


async def test_a_client_of_the_gemini_api_is_served_by_vertex(simulator: Simulator, folder: Path) -> None:
    """Where it means the same; a batch of embeddings is not to be had there."""
    async with open_harness(folder, [vertex_account("one", simulator.base_url)]) as harness:
        client = google_client(harness.url)
        for name, call in GENERATING.items():
            seen = await trio.to_thread.run_sync(call, client)
            row = (await harness.rows())[-1]
            _check_row(name, row, simulator.truth.records[-1:])
            assert (name, _tokens(row)) == (name, _tokens_of(seen))
            assert simulator.truth.last.header(b"x-goog-api-key") is None
        with pytest.raises(errors.ClientError) as refused:
            await trio.to_thread.run_sync(embedded, client)
        assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


# --- errors -------------------------------------------------------------------------------------------------------


def raised(call: Call, client: genai.Client) -> tuple[str, int, str | None, str | None]:
    """What a user's ``except`` sees."""
    try:
        call(client)
    except errors.APIError as error:
        return type(error).__name__, error.code, error.status, error.message
    raise AssertionError("no error was raised")


@pytest.mark.parametrize("call", [generate, stream], ids=lambda call: call.__name__)
async def test_errors_are_of_the_same_class_and_status(call: Any, simulator: Simulator, folder: Path) -> None:
    """Statuses that are the request's fault or everybody's: class, status and message are the upstream's."""
    accounts = [gemini_account("one", simulator.base_url), gemini_account("two", simulator.base_url, number=1)]
    direct = google_client(simulator.base_url)
    async with open_harness(folder, accounts, breaker={"enabled": False}) as relay:
        through = google_client(relay.url)
        for fault in ("400", "404", "409", "413", "500", "503:0", "504", "429:0"):
            model = f"gemini-sim:fault={fault}"
            without = await trio.to_thread.run_sync(raised, partial(call, model=model), direct)
            assert await trio.to_thread.run_sync(raised, partial(call, model=model), through) == without, fault
            assert (await relay.rows())[-1]["status"] == int(fault[:3])


async def test_an_error_inside_a_stream_is_the_upstreams(simulator: Simulator, relay: SocketHarness) -> None:
    for word in ("UNAVAILABLE", "CANCELLED", "INTERNAL"):
        spec = f"fault=error_event:3/{word}"
        simulator.plan_next(spec, spec)
        without = await trio.to_thread.run_sync(raised, stream, google_client(simulator.base_url))
        assert await trio.to_thread.run_sync(raised, stream, google_client(relay.url)) == without
        row = (await relay.rows())[-1]
        assert (row["code"], row["status"], row["usage_source"]) == ("SD", 200, "partial")


@pytest.mark.parametrize(
    ("key", "model", "code", "status"),
    [
        ("rt_wrong", "gemini-sim", 401, "UNAUTHENTICATED"),
        (OTHER_KEY, "gemini-sim", 403, "PERMISSION_DENIED"),
        (KEY, "claude-sim", 404, "NOT_FOUND"),
    ],
)
async def test_our_own_errors_are_errors_of_the_sdk(
    key: str, model: str, code: int, status: str, simulator: Simulator, folder: Path
) -> None:
    account = gemini_account("one", simulator.base_url, models=["gemini-*"])
    async with open_harness(folder, [account]) as harness:
        for call in (generate, stream):
            seen = await trio.to_thread.run_sync(
                raised, partial(call, model=model), google_client(harness.url, key=key)
            )
            assert seen[:3] == ("ClientError", code, status)
        assert not simulator.truth.records


async def test_a_wrong_key_of_an_account_is_not_the_clients_business(folder: Path) -> None:
    """Google says 400 to that, and the next account is asked."""
    settings = SimulatorSettings(accepted_keys=frozenset({"sk-canary-account-two"}))
    async with open_simulator(settings) as simulator:
        accounts = [
            gemini_account("one", simulator.base_url, priority=0),
            gemini_account("two", simulator.base_url, number=1, priority=1),
        ]
        async with open_harness(folder, accounts) as harness:
            assert await trio.to_thread.run_sync(generate, google_client(harness.url))
            row = await harness.row()
            assert (row["account"], row["attempts"], row["status"]) == ("two", 2, 200)
            assert await trio.to_thread.run_sync(generate, google_client(harness.url))
            assert (await harness.rows())[-1]["attempts"] == 1


# --- leaving ------------------------------------------------------------------------------------------------------


async def test_a_user_that_stops_reading_ends_the_upstream(simulator: Simulator, relay: SocketHarness) -> None:
    """``break`` out of the loop and drop the iterator."""

    def leave(client: genai.Client) -> None:
        chunks = client.models.generate_content_stream(model="gemini-sim:chunks=500,pace=0.01", contents=CONTENTS)
        next(iter(chunks))
        chunks.close()
        client.close()

    await trio.to_thread.run_sync(leave, google_client(relay.url))
    row = await relay.row()
    assert (row["outcome"], row["code"], row["usage_source"]) == ("client_disconnect", "CD", "partial")
    assert simulator.truth.last.closed_by == "client"
