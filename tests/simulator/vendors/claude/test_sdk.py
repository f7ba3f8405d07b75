"""The official SDK against the API's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import trio

from relay_trio.simulator import Simulator, text_of, thinking_of
from relay_trio.simulator.vendors.claude.settings import ClaudeSettings
from tests.simulator.conftest import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e

ASK: dict[str, Any] = {"max_tokens": 1000, "messages": [{"role": "user", "content": "three words here"}]}
TOOL = {
    "name": "weather",
    "description": "the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "tags": {"type": "array"}},
    },
}


async def with_sdk(simulator: Simulator, use: Callable[[anthropic.Anthropic], Any]) -> Any:
    def work() -> Any:
        with anthropic.Anthropic(base_url=simulator.base_url, api_key=KEY, max_retries=0) as sdk:
            return use(sdk)

    return await trio.to_thread.run_sync(work)


async def test_the_sdk_streams_text_and_reports_the_usage_that_was_served(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        with sdk.messages.stream(model="claude-sim:chunks=7,pace=0.002", **ASK) as stream:
            text = "".join(stream.text_stream)
            return text, stream.get_final_message(), stream.response.headers["request-id"]

    text, final, request_id = await with_sdk(simulator, use)
    record = simulator.truth.by_id(request_id)
    assert text == text_of(7)
    assert (
        (final.usage.input_tokens, final.usage.output_tokens) == (record.input_tokens, record.output_tokens) == (6, 7)
    )
    assert (record.tokens_generated, record.is_finished, record.closed_by, record.status) == (7, True, None, 200)
    assert record.credential == KEY
    assert KEY not in repr(record)
    assert final.stop_reason == "end_turn"


async def test_a_whole_message_has_the_same_text_and_usage_as_the_stream(simulator: Simulator) -> None:
    final = await with_sdk(simulator, lambda sdk: sdk.messages.create(model="claude-sim:chunks=7", **ASK))
    record = simulator.truth.last
    assert final.content[0].text == text_of(7)
    assert (
        (final.usage.input_tokens, final.usage.output_tokens) == (record.input_tokens, record.output_tokens) == (6, 7)
    )
    assert (record.is_stream, record.is_finished, record.tokens_generated) == (False, True, 7)


async def test_thinking_comes_first_with_a_signature_and_is_counted(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        with sdk.messages.stream(model="claude-sim:thinking=3", thinking=thinking, **ASK) as stream:
            return stream.get_final_message()

    final = await with_sdk(simulator, use)
    first, second = final.content
    assert (first.type, first.thinking, second.type) == ("thinking", thinking_of(3), "text")
    assert first.signature
    assert final.usage.output_tokens == simulator.truth.last.output_tokens == 8
    assert final.usage.output_tokens_details.thinking_tokens == 3


@pytest.mark.parametrize("chunks", [1, 4, 500])
async def test_a_forced_tool_is_called_with_valid_json_in_pieces(simulator: Simulator, chunks: int) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        choice: Any = {"type": "tool", "name": "weather"}
        tools: Any = [TOOL]
        with sdk.messages.stream(model=f"claude-sim:chunks={chunks}", tools=tools, tool_choice=choice, **ASK) as stream:
            return stream.get_final_message()

    final = await with_sdk(simulator, use)
    assert final.stop_reason == "tool_use"
    assert final.content[0].name == "weather"
    assert final.content[0].input["days"] == 42
    record = simulator.truth.last
    assert final.usage.output_tokens == record.output_tokens == record.tokens_generated <= chunks


async def test_max_tokens_bounds_the_deltas(simulator: Simulator) -> None:
    ask = {**ASK, "max_tokens": 3}
    final = await with_sdk(simulator, lambda sdk: sdk.messages.create(model="claude-sim:chunks=50", **ask))
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 3)


async def test_counting_tokens_equals_the_input_tokens_of_the_message(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        messages, tools, system = ASK["messages"], [TOOL], "be brief"
        counted = sdk.messages.count_tokens(model="claude-sim", messages=messages, tools=tools, system=system)
        final = sdk.messages.create(model="claude-sim", tools=tools, system=system, **ASK)
        return counted.input_tokens, final.usage.input_tokens

    counted, used = await with_sdk(simulator, use)
    assert counted == used > 6


async def test_the_cache_is_written_once_and_read_by_the_same_account_only(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        system: Any = [{"type": "text", "text": "a long system prompt", "cache_control": {"type": "ephemeral"}}]
        first = sdk.messages.create(model="claude-sim", system=system, **ASK)
        second = sdk.messages.create(model="claude-sim", system=system, **ASK)
        other = sdk.with_options(api_key="sk-other").messages.create(model="claude-sim", system=system, **ASK)
        return [(u.usage.cache_creation_input_tokens, u.usage.cache_read_input_tokens) for u in (first, second, other)]

    assert await with_sdk(simulator, use) == [(7, 0), (0, 7), (7, 0)]
    served = [(record.cache_creation_tokens, record.cache_read_tokens) for record in simulator.truth.records]
    assert served == [(7, 0), (0, 7), (7, 0)]


async def test_the_end_may_change_the_input_count(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        with sdk.messages.stream(model="claude-sim:input=2068,delta_input=22397", **ASK) as stream:
            return stream.get_final_message().usage.input_tokens

    assert await with_sdk(simulator, use) == simulator.truth.last.input_tokens == 22397


async def test_models_are_listed_in_pages_and_found(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        return [model.id for model in sdk.models.list(limit=2)], sdk.models.retrieve("claude-sim").display_name

    listed, name = await with_sdk(simulator, use)
    assert listed == list(ClaudeSettings().models)
    assert name == "Claude Sim"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("400", anthropic.BadRequestError),
        ("401", anthropic.AuthenticationError),
        ("403", anthropic.PermissionDeniedError),
        ("404", anthropic.NotFoundError),
        ("413", anthropic.APIStatusError),
        ("429:7", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.APIStatusError),
        ("close_before_head", anthropic.APIConnectionError),
    ],
)
async def test_the_sdk_raises_its_error_for_a_fault(
    simulator: Simulator, fault: str, expected: type[anthropic.APIError]
) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        with pytest.raises(expected) as caught:
            sdk.messages.create(model=f"claude-sim:fault={fault}", **ASK)
        return caught.value

    error = await with_sdk(simulator, use)
    if isinstance(error, anthropic.APIStatusError):
        assert error.request_id == simulator.truth.last.request_id
        assert error.status_code == simulator.truth.last.status == int(fault[:3])


async def test_an_error_event_reaches_the_sdk_as_a_status_error(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        with (
            pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
            sdk.messages.stream(model="claude-sim:fault=error_event:5", **ASK) as stream,
        ):
            stream.until_done()

    await with_sdk(simulator, use)
    assert not simulator.truth.last.is_finished


async def test_batches_pass_through_create_get_list_results_and_cancel(simulator: Simulator) -> None:
    def use(sdk: anthropic.Anthropic) -> Any:
        params: Any = {"model": "claude-sim", **ASK}
        batch = sdk.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
        assert sdk.messages.batches.retrieve(batch.id).processing_status == "ended"
        assert [listed.id for listed in sdk.messages.batches.list()] == [batch.id]
        assert sdk.messages.batches.cancel(batch.id).request_counts.succeeded == 1
        return [line.to_dict() for line in sdk.messages.batches.results(batch.id)]

    (line,) = await with_sdk(simulator, use)
    assert line["custom_id"] == "one"
    assert line["result"]["message"]["usage"]["output_tokens"] == 5
