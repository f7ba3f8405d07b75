"""Each fault that is Bedrock's own, and the general ones on its streams, over a raw socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from botocore.eventstream import ChecksumMismatch

from relay_trio.simulator import SpecError, Usage
from relay_trio.simulator.vendors.bedrock.event_frames import BROKEN
from relay_trio.simulator.vendors.bedrock.streams import (
    CONVERSE_EXCEPTIONS,
    INVOKE_EXCEPTIONS,
    MALFORMED,
    ConverseStream,
    InvokeStream,
)
from tests.simulator.conftest import connect
from tests.simulator.vendors.bedrock.asking import ask, kinds, messages

if TYPE_CHECKING:
    from relay_trio.simulator import Simulator
    from tests.simulator.conftest import Answer, SimulatorClient

STREAMS = ["invoke-with-response-stream", "converse-stream"]
EXCEPTIONS = {"invoke-with-response-stream": INVOKE_EXCEPTIONS, "converse-stream": CONVERSE_EXCEPTIONS}
LAST = {"invoke-with-response-stream": "chunk", "converse-stream": "metadata"}


@pytest.mark.parametrize("verb", STREAMS)
async def test_an_exception_ends_the_stream_in_a_frame_of_its_own(
    client: SimulatorClient, simulator: Simulator, verb: str
) -> None:
    for kind in sorted(EXCEPTIONS[verb]):
        answer = await ask(client, verb, f"fault=error_event:3/{kind}")
        assert (answer.status, answer.ended) == (200, "whole")
        *before, (headers, payload) = messages(answer.body)
        assert (len(before), headers[":message-type"], headers[":exception-type"]) == (3, "exception", kind)
        document = json.loads(payload)
        assert document.keys() >= {"message"}
        assert ("originalStatusCode" in document) == (kind == "modelStreamErrorException")
        record = simulator.truth.last
        assert not record.is_finished
        assert record.usage == (Usage(6, 1, 0, 0) if verb.startswith("invoke") else None)
    assert kinds((await ask(client, verb, "fault=error_event:0")).body) == ["modelStreamErrorException"]


async def test_converse_knows_one_exception_less(client: SimulatorClient) -> None:
    kind = "modelTimeoutException"
    assert kind in INVOKE_EXCEPTIONS - CONVERSE_EXCEPTIONS
    answer = await ask(client, "converse-stream", f"fault=error_event:1/{kind}")
    assert answer.status == 400
    assert kind in answer.json()["message"]


@pytest.mark.parametrize("verb", STREAMS)
async def test_an_unmodelled_error_has_code_and_message_and_no_payload(client: SimulatorClient, verb: str) -> None:
    answer = await ask(client, verb, "fault=error_event:2/InternalError")
    headers, payload = messages(answer.body)[-1]
    assert (headers[":message-type"], headers[":error-code"], payload) == ("error", "InternalError", b"")
    assert headers[":error-message"]


@pytest.mark.parametrize("verb", STREAMS)
@pytest.mark.parametrize(("name", "ended"), [("close", "fin"), ("reset", "reset"), ("end", "whole")])
async def test_the_body_is_cut_at_and_inside_frames(simulator: Simulator, verb: str, name: str, ended: str) -> None:
    frames = _frames((await alone(simulator, verb)).body)
    edges = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    cuts = {edge + offset for edge in edges for offset in (-1, 0, 1, 5, 12, 20)}
    for count in sorted(cut for cut in cuts if 0 <= cut < edges[-2])[::3]:
        answer = await alone(simulator, verb, f"fault={name}_after:{count}")
        assert (len(answer.body), answer.ended) == (count, ended)
        assert len(messages(answer.body)) == sum(edge <= count for edge in edges[1:])
        assert not simulator.truth.last.is_finished


@pytest.mark.parametrize("verb", STREAMS)
async def test_usage_counts_once_its_frame_was_sent_whole(simulator: Simulator, verb: str) -> None:
    total = len(_frames((await alone(simulator, verb)).body))
    reported = []
    for count in range(total + 1):
        await alone(simulator, verb, f"fault=close_after_events:{count}")
        reported.append((simulator.truth.last.output_tokens, simulator.truth.last.is_finished))
    if verb.startswith("invoke"):
        assert reported == [(0, False), *[(1, False)] * (total - 2), (5, False), (5, True)]
    else:
        assert reported == [*[(0, False)] * total, (5, True)]


@pytest.mark.parametrize("verb", STREAMS)
@pytest.mark.parametrize("kind", ["", *MALFORMED])
async def test_malformed_frames_stand_between_good_ones(client: SimulatorClient, verb: str, kind: str) -> None:
    answer = await ask(client, verb, f"fault=malformed:{kind}" if kind else "fault=malformed")
    dialect = ConverseStream() if verb.startswith("converse") else InvokeStream()
    before, _, after = answer.body.partition(dialect.malformed(kind).content)
    assert answer.ended == "whole"
    assert kinds(before)
    assert kinds(after)[-1] == LAST[verb]
    if kind and kind not in BROKEN:
        assert kinds(answer.body)[-1] == LAST[verb]


@pytest.mark.parametrize("kind", ["crc", "payload", "prelude_crc"])
async def test_a_corrupted_checksum_is_seen_by_awss_decoder(client: SimulatorClient, kind: str) -> None:
    answer = await ask(client, "converse-stream", f"fault=malformed:{kind}")
    with pytest.raises(ChecksumMismatch):
        messages(answer.body)


@pytest.mark.parametrize("dialect", [InvokeStream(), ConverseStream()])
def test_a_kind_that_does_not_exist_is_refused(dialect: InvokeStream) -> None:
    with pytest.raises(SpecError, match="prelude_crc"):
        dialect.malformed("nonsense")
    with pytest.raises(SpecError, match="throttlingException"):
        dialect.error_event("nonsenseException")


@pytest.mark.parametrize("verb", STREAMS)
async def test_a_huge_event_is_one_valid_frame(client: SimulatorClient, verb: str) -> None:
    answer = await ask(client, verb, "fault=huge_event:3")
    assert max(len(payload) for _, payload in messages(answer.body)) > 3_000_000
    assert kinds(answer.body)[-1] == LAST[verb]


@pytest.mark.parametrize("verb", STREAMS)
@pytest.mark.parametrize("fault", ["drip:0", "resplit:7", "gzip", "odd_headers", "http10"])
async def test_general_faults_leave_the_truth_true(simulator: Simulator, verb: str, fault: str) -> None:
    assert (await alone(simulator, verb, f"fault={fault}")).status == 200
    assert simulator.truth.last.usage == Usage(6, 5, 0, 0)
    assert simulator.truth.last.is_finished


async def alone(simulator: Simulator, verb: str, spec: str = "") -> Answer:
    """One request on a connection of its own."""
    client = await connect(simulator)
    async with client.stream:
        return await ask(client, verb, spec)


def _frames(body: bytes) -> list[bytes]:
    found = []
    while body:
        size = int.from_bytes(body[:4], "big")
        found.append(body[:size])
        body = body[size:]
    return found
