"""Google's own SDK against the simulator: what its users see is what the truth says was served.

The one module that imports the SDK, which takes a second.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - the SDK's async client knows no trio; it gets a thread and a loop of its own
from typing import TYPE_CHECKING, Any

import pytest
import trio
from google import genai
from google.genai import errors, types

from relay_trio.simulator import Simulator, Usage, text_of, thinking_of
from relay_trio.simulator.vendors.gemini.settings import GeminiSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = pytest.mark.e2e

KEY = "AIza-of-the-tests"
PROMPT = "four words are here"
WEATHER = types.FunctionDeclaration(
    name="weather",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={"city": types.Schema(type=types.Type.STRING), "days": types.Schema(type=types.Type.INTEGER)},
    ),
)


def sdk_client(simulator: Simulator, *, is_vertex: bool = False, version: str | None = None) -> genai.Client:
    options = types.HttpOptions(base_url=simulator.base_url, api_version=version)
    return genai.Client(api_key=KEY, vertexai=is_vertex, http_options=options)


async def with_sdk(simulator: Simulator, use: Callable[[genai.Client], Any], **options: Any) -> Any:
    def work() -> Any:
        with sdk_client(simulator, **options) as client:
            return use(client)

    return await trio.to_thread.run_sync(work)


async def with_async_sdk(simulator: Simulator, use: Callable[[Any], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        async with sdk_client(simulator).aio as client:
            return await use(client)

    return await trio.to_thread.run_sync(lambda: asyncio.run(work()))


def used(answer: types.GenerateContentResponse) -> Usage:
    """What the SDK reports, in our columns."""
    counts = answer.usage_metadata
    assert counts is not None
    cached = counts.cached_content_token_count or 0
    prompt = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
    return Usage(prompt - cached, (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0), 0, cached)


def folded(chunks: Iterator[types.GenerateContentResponse]) -> tuple[str, Usage, str]:
    """The text, the last chunk's usage and its finish reason."""
    seen = list(chunks)
    reason = seen[-1].candidates[0].finish_reason if seen[-1].candidates else None
    return "".join(chunk.text or "" for chunk in seen), used(seen[-1]), reason.value if reason else ""


@pytest.mark.parametrize("version", [None, "v1beta"])
@pytest.mark.parametrize("is_vertex", [False, True])
async def test_the_sdk_streams_text_and_reports_the_usage_that_was_served(
    simulator: Simulator, is_vertex: bool, version: str | None
) -> None:
    def use(client: genai.Client) -> Any:
        model = "gemini-sim:chunks=7,pace=0.002,cache_read=2"
        return folded(client.models.generate_content_stream(model=model, contents=PROMPT))

    seen = await with_sdk(simulator, use, is_vertex=is_vertex, version=version)
    record = simulator.truth.last
    assert seen == (text_of(7), record.usage, "STOP")
    assert record.usage == Usage(6, 7, 0, 2)
    assert (record.is_finished, record.credential, record.closed_by) == (True, KEY, None)


async def test_a_whole_answer_has_the_same_text_and_usage_as_the_stream(simulator: Simulator) -> None:
    def use(client: genai.Client) -> Any:
        return client.models.generate_content(model="gemini-sim:chunks=7", contents=PROMPT)

    answer = await with_sdk(simulator, use)
    record = simulator.truth.last
    assert (answer.text, used(answer), answer.response_id) == (text_of(7), record.usage, record.request_id)
    assert (record.usage, record.is_stream, record.tokens_generated) == (Usage(6, 7), False, 7)


async def test_the_async_client_sees_the_same(simulator: Simulator) -> None:
    async def use(client: Any) -> Any:
        whole = await client.models.generate_content(model="gemini-sim", contents=PROMPT)
        stream = await client.models.generate_content_stream(model="gemini-sim", contents=PROMPT)
        return whole, folded(iter([chunk async for chunk in stream]))

    whole, streamed = await with_async_sdk(simulator, use)
    assert (whole.text, used(whole), "STOP") == streamed == (text_of(5), Usage(6, 5), "STOP")
    assert [record.usage for record in simulator.truth.records] == [Usage(6, 5)] * 2


@pytest.mark.parametrize("is_shown", [True, False])
async def test_thoughts_are_counted_whether_shown_or_not(simulator: Simulator, is_shown: bool) -> None:
    def use(client: genai.Client) -> Any:
        thinking = types.ThinkingConfig(include_thoughts=is_shown)
        config = types.GenerateContentConfig(thinking_config=thinking)
        return client.models.generate_content(model="gemini-sim:thinking=3", contents=PROMPT, config=config)

    answer = await with_sdk(simulator, use)
    thoughts = [part.text for part in answer.candidates[0].content.parts if part.thought]
    assert thoughts == ([thinking_of(3)] if is_shown else [])
    assert (answer.text, answer.usage_metadata.thoughts_token_count) == (text_of(5), 3)
    assert used(answer) == simulator.truth.last.usage == Usage(6, 8)


async def test_a_forced_function_is_called_with_fitting_arguments(simulator: Simulator) -> None:
    def use(client: genai.Client) -> Any:
        calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[WEATHER])],
            tool_config=types.ToolConfig(function_calling_config=calling),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        return list(client.models.generate_content_stream(model="gemini-sim", contents=PROMPT, config=config))

    first, last = await with_sdk(simulator, use)
    (call,) = first.function_calls
    assert (call.name, call.args["days"]) == ("weather", 42)
    assert used(last) == simulator.truth.last.usage


async def test_the_output_limit_and_googles_tools_are_honoured(simulator: Simulator) -> None:
    def use(client: genai.Client) -> Any:
        tools: Any = [types.Tool(google_search=types.GoogleSearch())]
        config = types.GenerateContentConfig(max_output_tokens=3, tools=tools, system_instruction="be brief")
        return folded(client.models.generate_content_stream(model="gemini-sim", contents=PROMPT, config=config))

    text, usage, reason = await with_sdk(simulator, use)
    assert (text, reason, usage) == (text_of(3), "MAX_TOKENS", simulator.truth.last.usage)
    assert (usage.input_tokens > 100, usage.output_tokens) == (True, 3)


@pytest.mark.parametrize("is_vertex", [False, True])
async def test_counting_tokens_equals_the_prompt_of_the_answer(simulator: Simulator, is_vertex: bool) -> None:
    def use(client: genai.Client) -> Any:
        counted = client.models.count_tokens(model="gemini-sim", contents=PROMPT).total_tokens
        return counted, used(client.models.generate_content(model="gemini-sim", contents=PROMPT)).input_tokens

    counted, charged = await with_sdk(simulator, use, is_vertex=is_vertex)
    assert counted == charged == 6


async def test_embeddings_have_the_size_asked_for(simulator: Simulator) -> None:
    def use(client: genai.Client) -> Any:
        config = types.EmbedContentConfig(output_dimensionality=16)
        embed = client.models.embed_content
        return [embed(model="gemini-embedding-sim", contents=PROMPT, config=config) for _ in range(2)]

    first, second = await with_sdk(simulator, use)
    assert len(first.embeddings[0].values) == 16
    assert first.embeddings == second.embeddings
    assert simulator.truth.last.target.endswith(b":batchEmbedContents")
    assert simulator.truth.last.usage == Usage(6)


async def test_models_are_listed_in_pages_and_found(simulator: Simulator) -> None:
    def use(client: genai.Client) -> Any:
        listed = [model.name for model in client.models.list(config={"page_size": 2})]
        return listed, client.models.get(model="gemini-sim").display_name

    listed, name = await with_sdk(simulator, use)
    assert listed == [f"models/{model}" for model in GeminiSettings().models]
    assert name == "Gemini Sim"
    assert [record.target for record in simulator.truth.records][1] == b"/v1/models?pageSize=2&pageToken=2"


@pytest.mark.parametrize(
    ("fault", "expected", "word"),
    [
        ("400", errors.ClientError, "INVALID_ARGUMENT"),
        ("403", errors.ClientError, "PERMISSION_DENIED"),
        ("404", errors.ClientError, "NOT_FOUND"),
        ("429:7", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, "INTERNAL"),
        ("503", errors.ServerError, "UNAVAILABLE"),
    ],
)
async def test_the_sdk_raises_its_error_for_a_fault(
    simulator: Simulator, fault: str, expected: type[errors.APIError], word: str
) -> None:
    def use(client: genai.Client) -> Any:
        with pytest.raises(expected) as caught:
            client.models.generate_content(model=f"gemini-sim:fault={fault}", contents=PROMPT)
        return caught.value

    error = await with_sdk(simulator, use)
    assert (error.code, error.status) == (simulator.truth.last.status, word)
    if word == "RESOURCE_EXHAUSTED":
        assert error.details["error"]["details"][-1]["retryDelay"] == "7s"


@pytest.mark.parametrize(("fault", "code"), [("error_event:2", 503), ("error_event:2/CANCELLED", 499)])
async def test_an_error_in_mid_stream_reaches_the_sdk_after_the_text(
    simulator: Simulator, fault: str, code: int
) -> None:
    def use(client: genai.Client) -> Any:
        texts: list[Any] = []
        with pytest.raises(errors.APIError) as caught:
            for chunk in client.models.generate_content_stream(model=f"gemini-sim:fault={fault}", contents=PROMPT):
                texts.append(chunk.text)  # noqa: PERF401 - what came before the error
        return "".join(texts), caught.value.code

    assert await with_sdk(simulator, use) == (text_of(2), code)
    assert (simulator.truth.last.usage, simulator.truth.last.is_finished) == (Usage(6, 2), False)
