"""Raw requests against the routes, and faults in Gemini's forms; ``test_gemini_sdk`` has the SDK's view of them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from relay_trio.simulator import Simulator, SimulatorSettings, Usage, open_simulator, text_of
from relay_trio.simulator.vendors.gemini.forms import MALFORMED, MALFORMED_ELEMENTS
from tests.simulator.conftest import SimulatorClient, connect
from tests.support.sse import sse_events

if TYPE_CHECKING:
    from tests.simulator.conftest import Answer

KEY = "AIza-of-the-tests"
ASK: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "four words are here"}]}]}
EMBED: dict[str, Any] = {"content": {"parts": [{"text": "two words"}]}}
PROJECT = "/v1/projects/p/locations/l/publishers/google"
WITH_KEY = f"x-goog-api-key: {KEY}\r\n"


async def ask(
    client: SimulatorClient,
    spec: str = "",
    verb: str = "streamGenerateContent?alt=sse",
    *,
    scope: str = "/v1beta",
    document: object = ASK,
    extra: str = WITH_KEY,
) -> Answer:
    model = f"gemini-sim:{spec}" if spec else "gemini-sim"
    return await client.ask(document, target=f"{scope}/models/{model}:{verb}", extra=extra)


def documents(answer: Answer) -> list[dict[str, Any]]:
    """What a stream of either form held, as far as it came."""
    if (answer.header(b"content-type") or b"").startswith(b"application/json"):
        return list(json.loads(answer.body))
    return [json.loads(event.data) for event in sse_events(answer.body)]


def text(answers: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for one in answers for part in one["candidates"][0]["content"]["parts"])


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["/v1", "/v1beta", "/v1alpha", PROJECT, "/v1beta1/publishers/google"])
@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent", "generateContent"])
async def test_every_route_gives_the_same_text_and_the_truth_has_its_usage(
    client: SimulatorClient, simulator: Simulator, scope: str, verb: str
) -> None:
    answer = await ask(client, "chunks=7,cache_read=3", verb, scope=scope)
    assert (answer.status, answer.ended) == (200, "whole")
    answers = [answer.json()] if verb == "generateContent" else documents(answer)
    assert text(answers) == text_of(7)
    counts = answers[-1]["usageMetadata"]
    assert (counts["promptTokenCount"], counts["cachedContentTokenCount"], counts["candidatesTokenCount"]) == (
        9,
        3,
        7,
    )
    record = simulator.truth.last
    assert record.usage == Usage(6, 7, 0, 3)
    assert (record.model, record.credential, record.is_stream) == (
        "gemini-sim:chunks=7,cache_read=3",
        KEY,
        verb != "generateContent",
    )
    assert (record.is_finished, record.tokens_generated, record.closed_by) == (True, 7, None)
    assert simulator.truth.by_id(answers[0]["responseId"]) is record
    assert (answer.header(b"request-id") or b"").decode() == record.request_id


async def test_streams_are_events_between_cr_lf_or_an_array_in_elements(client: SimulatorClient) -> None:
    events = await ask(client, "batch=1")
    assert events.header(b"content-type") == b"text/event-stream"
    assert events.body.count(b"\r\n\r\n") == 5
    assert events.body.endswith(b"\r\n\r\n")
    assert b"[DONE]" not in events.body
    array = await ask(client, "batch=1", "streamGenerateContent")
    assert array.header(b"content-type") == b"application/json; charset=UTF-8"
    assert len(array.json()) == 5
    assert array.body.startswith(b'[{\n  "candidates"')


async def test_an_array_comes_piece_by_piece(client: SimulatorClient) -> None:
    """The first element is whole before the second is there."""
    await client.request(ASK, target="/v1beta/models/gemini-sim:pace=0.05:streamGenerateContent", extra=WITH_KEY)
    data = await client.receive_until(b"\n}")
    first = data.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2].removesuffix(b"\r\n")
    assert "candidates" in json.loads(first.removeprefix(b"["))
    assert b'"finishReason"' not in data


async def test_tokens_are_counted_as_they_are_charged(client: SimulatorClient, simulator: Simulator) -> None:
    counted = (await ask(client, "", "countTokens")).json()
    assert counted["totalTokens"] == counted["promptTokensDetails"][0]["tokenCount"] == 6
    wrapped = {"generateContentRequest": {"model": "models/gemini-sim", **ASK}}
    assert (await ask(client, "", "countTokens", document=wrapped)).json() == counted
    vertex = (await ask(client, "input=9", "countTokens", scope=PROJECT)).json()
    assert (vertex["totalTokens"], vertex["totalBillableCharacters"]) == (9, 36)
    assert simulator.truth.last.usage is None
    await ask(client, "", "generateContent")
    assert simulator.truth.last.input_tokens == 6


async def test_embeddings_tell_the_prompt(client: SimulatorClient, simulator: Simulator) -> None:
    answer = (await ask(client, "", "embedContent", document=EMBED)).json()
    assert (len(answer["embedding"]["values"]), answer["usageMetadata"]["promptTokenCount"]) == (768, 4)
    assert "totalTokenCount" not in answer["usageMetadata"]
    answer = (await ask(client, "", "batchEmbedContents", document={"requests": [EMBED, EMBED]})).json()
    assert len(answer["embeddings"]) == 2
    record = simulator.truth.last
    assert (record.usage, record.is_finished, record.tokens_generated) == (Usage(8), True, 0)
    answer = (await ask(client, "", "embedContent", scope=PROJECT, document=EMBED)).json()
    assert answer["usageMetadata"]["totalTokenCount"] == 4


async def test_models_are_listed_and_found(client: SimulatorClient) -> None:
    listed = (await client.ask(method="GET", target="/v1/models?pageSize=2&key=k")).json()
    assert [model["name"] for model in listed["models"]] == ["models/gemini-sim-pro", "models/gemini-sim"]
    assert listed["nextPageToken"] == "2"
    found = await client.ask(method="GET", target="/v1beta/models/gemini-sim", extra=WITH_KEY)
    assert found.json()["displayName"] == "Gemini Sim"
    vertex = await client.ask(method="GET", target="/v1beta1/publishers/google/models", extra=WITH_KEY)
    assert len(vertex.json()["publisherModels"]) == 3
    claude = await client.ask(method="GET", target="/v1/models")
    assert claude.json()["data"][0]["type"] == "model"


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"contents": None}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user"}]}, "contents[0].parts"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "max_output_tokens"),
    ],
)
@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"])
async def test_a_bad_request_is_refused_in_the_envelope(
    client: SimulatorClient, change: dict[str, Any], says: str, verb: str
) -> None:
    answer = await ask(client, "", verb, document={**ASK, **change})
    body = answer.json()
    error = (body[0] if verb == "streamGenerateContent" else body)["error"]
    assert (answer.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert says in error["message"]


async def test_no_json_no_route_and_a_bad_spec_are_refused(client: SimulatorClient) -> None:
    assert (await ask(client, document=["no", "object"])).status == 400
    assert 'no fault "nonsense"' in (await ask(client, "fault=nonsense")).json()["error"]["message"]
    assert (await ask(client, "", "fineTune")).json()["error"]["status"] == "NOT_FOUND"
    assert (
        await client.ask(ASK, target="/v1beta/models/m:generateContent", method="PUT", extra=WITH_KEY)
    ).status == 404
    assert (await client.ask(method="GET", target="/v1beta/files", extra=WITH_KEY)).json()["error"]["code"] == 404


async def test_a_credential_is_asked_for_in_each_services_words(client: SimulatorClient, simulator: Simulator) -> None:
    answer = await ask(client, extra="")
    assert (answer.status, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    answer = await ask(client, extra="", scope=PROJECT)
    assert (answer.status, answer.json()["error"]["details"][0]["reason"]) == (401, "CREDENTIALS_MISSING")
    assert simulator.truth.last.credential is None
    assert (await ask(client, extra="", verb="generateContent?key=in-the-query")).status == 200
    assert simulator.truth.last.credential == "in-the-query"
    assert (await ask(client, extra="authorization: Bearer ya29.t\r\n", scope=PROJECT)).status == 200
    assert simulator.truth.last.credential == "ya29.t"


async def test_only_accepted_keys_and_known_models_are_served_when_told_so() -> None:
    settings = SimulatorSettings(accepted_keys=frozenset({KEY}), accepts_unknown_models=False)
    async with open_simulator(settings) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            assert (await ask(raw, "chunks=1")).status == 200
            answer = await ask(raw, extra="x-goog-api-key: wrong\r\n")
            assert (answer.status, answer.json()["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
            answer = await ask(raw, extra="authorization: Bearer wrong\r\n")
            assert (answer.status, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
            target = "/v1beta/models/gemini-nope:generateContent"
            answer = await raw.ask(ASK, target=target, extra=WITH_KEY)
            assert answer.json()["error"]["message"].startswith(
                "models/gemini-nope is not found for API version v1beta"
            )
            answer = await raw.ask(ASK, target=PROJECT + target.removeprefix("/v1beta"), extra=WITH_KEY)
            assert "projects/p/locations/l/publishers/google/models/gemini-nope" in answer.json()["error"]["message"]


async def test_a_body_over_the_limit_is_refused() -> None:
    async with open_simulator(SimulatorSettings(max_body_bytes=50)) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            answer = await ask(raw)
            assert (answer.status, "payload size" in answer.json()["error"]["message"]) == (400, True)


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent", "generateContent"])
async def test_a_status_has_its_word_and_the_delay_is_in_the_body(
    client: SimulatorClient, simulator: Simulator, status: int, word: str, verb: str
) -> None:
    answer = await ask(client, f"fault={status}", verb)
    body = answer.json()
    error = (body[0] if verb == "streamGenerateContent" else body)["error"]
    assert (answer.status, error["code"], error["status"]) == (status, status, word)
    assert answer.header(b"retry-after") is None
    delays = [detail["retryDelay"] for detail in error.get("details", []) if "retryDelay" in detail]
    assert delays == (["1s"] if status == 429 else [])
    assert (simulator.truth.last.status, simulator.truth.last.usage) == (status, None)


@pytest.mark.parametrize(
    ("fault", "delay"), [("429:34.4", "34.4s"), ("503:7", "7s"), ("429:junk", "soon, or not at all")]
)
async def test_a_delay_is_told_as_the_fault_says(client: SimulatorClient, fault: str, delay: str) -> None:
    error = (await ask(client, f"fault={fault}")).json()["error"]
    assert error["details"][-1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


async def test_a_redirect_leads_nowhere(client: SimulatorClient) -> None:
    answer = await ask(client, "fault=302")
    assert (answer.status, answer.header(b"location"), answer.body) == (302, b"http://127.0.0.1:9/elsewhere", b"")


@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent"])
@pytest.mark.parametrize(("name", "ended"), [("close", "fin"), ("reset", "reset"), ("end", "whole")])
async def test_the_truth_has_the_usage_of_the_last_whole_chunk_before_a_cut(
    simulator: Simulator, client: SimulatorClient, name: str, ended: str, verb: str
) -> None:
    for count in (0, 1, 3):
        client = await connect(simulator)
        async with client.stream:
            answer = await ask(client, f"fault={name}_after_events:{count}", verb)
        assert answer.ended == ended
        assert answer.body.count(b'"finishReason"') == 0
        record = simulator.truth.last
        assert (record.usage, record.is_finished) == (Usage(6, count) if count else None, False)


@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent"])
async def test_a_cut_at_any_byte_agrees_with_what_can_be_read(simulator: Simulator, verb: str) -> None:
    """Around the end of the second chunk, byte by byte."""
    raw = await connect(simulator)
    async with raw.stream:
        whole = (await ask(raw, verb=verb)).body
    mark = b"\r\n\r\n" if "sse" in verb else b"\n}"
    end = whole.index(mark, whole.index(mark) + 1) + len(mark)
    seen = []
    for count in range(end - 3, end + 3):
        raw = await connect(simulator)
        async with raw.stream:
            answer = await ask(raw, f"fault=close_after:{count}", verb)
        assert len(answer.body) == count
        seen.append(simulator.truth.last.output_tokens)
    assert seen == ([1, 1, 2, 2, 2, 2] if "sse" in verb else [1, 1, 1, 2, 2, 2])


async def test_vertex_tells_nothing_until_the_last_chunk(simulator: Simulator, client: SimulatorClient) -> None:
    await ask(client, "fault=close_after_events:4", scope=PROJECT)
    assert simulator.truth.last.usage is None


@pytest.mark.parametrize("fault", ["drip:0", "resplit:1", "resplit:7", "http10", "trailers", "gzip", "slow_head:0"])
@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent", "generateContent"])
async def test_the_text_is_the_same_in_every_shape(
    simulator: Simulator, client: SimulatorClient, fault: str, verb: str
) -> None:
    answer = await ask(client, f"fault={fault}", verb)
    if fault == "gzip":
        answer.body = gzip.decompress(answer.body)
    assert text([answer.json()] if verb == "generateContent" else documents(answer)) == text_of(5)
    assert (simulator.truth.last.usage, simulator.truth.last.is_finished) == (Usage(6, 5), True)


@pytest.mark.parametrize("verb", ["streamGenerateContent?alt=sse", "streamGenerateContent"])
@pytest.mark.parametrize("chunks", [1, 5])
async def test_a_huge_event_is_one_more_chunk(client: SimulatorClient, verb: str, chunks: int) -> None:
    answers = documents(await ask(client, f"chunks={chunks},fault=huge_event:1", verb))
    assert len(answers) == chunks + 1
    assert max(map(len, map(str, answers))) > 1_000_000


@pytest.mark.parametrize(("verb", "kinds"), [("?alt=sse", MALFORMED), ("", MALFORMED_ELEMENTS)])
async def test_malformed_events_stand_between_good_ones(
    client: SimulatorClient, simulator: Simulator, verb: str, kinds: dict[str, bytes]
) -> None:
    for kind, content in kinds.items():
        body = (await ask(client, f"fault=malformed:{kind}", f"streamGenerateContent{verb}")).body
        assert b'"candidates"' in body.partition(content)[0]
        assert b'"finishReason"' in body.partition(content)[2]
        assert simulator.truth.last.usage == Usage(6, 5)
    answer = await ask(client, "fault=malformed:nonsense", f"streamGenerateContent{verb}")
    assert answer.status == 400


async def test_an_error_in_mid_stream_has_no_data_prefix(client: SimulatorClient, simulator: Simulator) -> None:
    answer = await ask(client, "fault=error_event:2/CANCELLED")
    good, _, raw = answer.body.rpartition(b"\r\n\r\n")
    assert good.count(b"data: ") == 2
    assert json.loads(raw)["error"]["code"] == 499
    assert (simulator.truth.last.usage, simulator.truth.last.is_finished) == (Usage(6, 2), False)
    array = await ask(client, "fault=error_event:2", "streamGenerateContent")
    assert [next(iter(element)) for element in array.json()] == ["candidates", "candidates", "error"]


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"])
async def test_a_stall_comes_before_the_end(client: SimulatorClient, simulator: Simulator, verb: str) -> None:
    for _ in range(5):
        raw = await connect(simulator)
        async with raw.stream:
            with trio.move_on_after(0.05) as scope:
                await ask(raw, "fault=stall", verb)
        assert scope.cancelled_caught
        await simulator.wait_idle()
        assert not simulator.truth.last.is_finished


async def test_a_client_that_leaves_is_told_with_the_usage_until_then(
    client: SimulatorClient, simulator: Simulator
) -> None:
    target = "/v1beta/models/gemini-sim:pace=0.01,chunks=1000:streamGenerateContent?alt=sse"
    await client.request(ASK, target=target, extra=WITH_KEY)
    await client.receive_until(b'"candidatesTokenCount": 3,')
    await client.stream.aclose()
    await simulator.wait_idle()
    record = simulator.truth.last
    assert (record.closed_by, record.is_finished, record.input_tokens) == ("client", False, 6)
    assert 3 <= record.output_tokens <= record.tokens_generated < 100


async def test_a_plan_for_an_account_and_a_header_override_the_model(
    client: SimulatorClient, simulator: Simulator
) -> None:
    simulator.plan_account(KEY, "fault=503")
    assert (await ask(client)).status == 503
    assert (await ask(client, "fault=429")).status == 429
    assert (await ask(client, "fault=429", extra=f"{WITH_KEY}x-sim: fault=none;tag=t\r\n")).status == 200
    assert simulator.truth.tagged("t") == [simulator.truth.last]
