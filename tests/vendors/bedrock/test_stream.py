"""Bedrock's streams metered: every recording at any cut, and what frames can say beside events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.errors import UpstreamErrorEvent, UpstreamProtocolError, UpstreamRateLimited
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.vendors.bedrock.stream import (
    ConverseStreamReader,
    InvokeStreamReader,
    chunk_bytes,
    parsed_object,
    reported_error,
)
from relay_trio.wire.event_stream import EventStreamDecoder
from tests.support.bedrock_frames import CLAUDE, CONVERSE, METRICS, chunk, event, exception
from tests.support.cuts import cuts

if TYPE_CHECKING:
    from pathlib import Path

AnswerReader = InvokeStreamReader | ConverseStreamReader


def exact(expected: dict[str, int] | None) -> UsageStats:
    if expected is None:
        return NO_USAGE
    names = ("input", "output", "cache_creation", "cache_read")
    stats = UsageStats(*(expected[name] for name in names), UsageSource.EXACT)
    assert stats.total_tokens == expected["total"]
    return stats


def fed(reader: AnswerReader, *pieces: bytes) -> AnswerReader:
    for piece in pieces:
        assert reader.feed(piece) is piece
    return reader


def test_metrics_that_repeat_claudes_usage_are_not_added() -> None:
    metered = fed(InvokeStreamReader(), *CLAUDE)
    assert metered.finish() == UsageStats(10, 7, source=UsageSource.EXACT)


def test_metrics_that_differ_from_claudes_usage_do_not_replace_it() -> None:
    frames = [
        *CLAUDE[:-1],
        chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 99}}),
    ]
    assert fed(InvokeStreamReader(), *frames).finish().input_tokens == 10


def test_a_stream_cut_before_its_final_usage_is_partial() -> None:
    metered = fed(InvokeStreamReader(), *CLAUDE[:3])
    assert metered.finish() == UsageStats(10, 1, source=UsageSource.PARTIAL)
    assert not metered.is_complete


def test_other_models_have_only_the_metrics() -> None:
    frames = [chunk({"generation": "a"}), chunk({"generation": "b", "amazon-bedrock-invocationMetrics": METRICS})]
    metered = fed(InvokeStreamReader(), *frames)
    assert metered.finish() == UsageStats(10, 7, source=UsageSource.EXACT)
    assert metered.is_complete
    assert not fed(InvokeStreamReader(), frames[0]).is_complete


def test_what_a_guardrail_says_in_the_models_place_is_an_end() -> None:
    spoken = {"outputText": "no", "amazon-bedrock-guardrailAction": "INTERVENED"}
    assert not fed(InvokeStreamReader(), chunk(spoken)).is_complete
    assert fed(InvokeStreamReader(), chunk({**spoken, "amazon-bedrock-trace": {}})).is_complete


def test_text_that_talks_about_metrics_is_no_end() -> None:
    text = '"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5}'
    metered = fed(InvokeStreamReader(), chunk({"generation": text}))
    assert (metered.is_complete, metered.finish()) == (False, NO_USAGE)
    spoken = event("contentBlockDelta", {"delta": {"text": ":event-type metadata"}})
    assert not fed(ConverseStreamReader(), spoken).is_complete


@pytest.mark.parametrize("reader", [InvokeStreamReader, ConverseStreamReader])
@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (exception("throttlingException"), UpstreamRateLimited),
        (exception("serviceUnavailableException"), UpstreamRateLimited),
        (exception("modelStreamErrorException", originalStatusCode=529), UpstreamRateLimited),
        (exception("modelStreamErrorException", originalStatusCode=500), UpstreamErrorEvent),
        (exception("modelTimeoutException"), UpstreamErrorEvent),
        (exception("from_the_future\r\n<x>"), UpstreamErrorEvent),
    ],
)
def test_an_exception_frame_is_an_error_that_the_client_has(
    reader: type[AnswerReader], frame: bytes, error: type[Exception]
) -> None:
    metered = fed(reader(), CLAUDE[0] if reader is InvokeStreamReader else CONVERSE[0], frame)
    assert type(metered.error) is error
    assert "theirs" not in str(metered.error)
    assert "\n" not in str(metered.error)
    assert metered.is_error_forwarded
    assert metered.is_complete


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("throttlingException", UpstreamRateLimited),
        ("modelStreamErrorException", UpstreamRateLimited),  # of a 529
        ("unmodeled-error", UpstreamErrorEvent),
        ("unknown-event", None),
    ],
)
def test_every_frame_of_the_corpus_is_judged(corpus: Path, name: str, error: type[Exception] | None) -> None:
    body = (corpus / "bedrock-exceptions" / f"{name}.bin").read_bytes()
    [frame] = EventStreamDecoder().feed(body)
    assert (type(reported_error(frame)) if error else reported_error(frame)) == error
    for reader in (InvokeStreamReader, ConverseStreamReader):
        for pieces in cuts(body):
            metered = fed(reader(), *pieces)
            assert (type(metered.error) if error else metered.error) == error


@pytest.mark.parametrize(("reader", "frames"), [(InvokeStreamReader, CLAUDE), (ConverseStreamReader, CONVERSE)])
def test_a_flipped_bit_anywhere_is_damage_and_spoils_the_figures(
    reader: type[AnswerReader], frames: list[bytes]
) -> None:
    whole = b"".join(frames)
    for at in range(0, len(whole), 7):
        damaged = whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        metered = fed(reader(), damaged)
        assert isinstance(metered.error, UpstreamProtocolError) or metered.position.is_mid_event
        assert metered.finish() == NO_USAGE or metered.position.is_mid_event
        fed(metered, b"more")


def test_frames_of_many_megabytes_change_nothing() -> None:
    """Those of content are not held; others are, because the usage of models that are not Claude's may be in any."""
    text = "y" * 4_000_000
    content = {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": text}}
    metrics = {"inputTokenCount": 3, "outputTokenCount": 9}
    other = chunk({"image": text, "amazon-bedrock-invocationMetrics": metrics})
    delta = event("contentBlockDelta", {"delta": {"text": text}})
    for make, frames, expected in (
        (InvokeStreamReader, [*CLAUDE[:2], chunk(content), *CLAUDE[2:]], InvokeStreamReader),
        (ConverseStreamReader, [*CONVERSE[:2], delta, *CONVERSE[2:]], ConverseStreamReader),
    ):
        small = [frame for frame in frames if len(frame) < 1_000_000]
        wire = b"".join(frames)
        reader = fed(make(), *(wire[at : at + 65_536] for at in range(0, len(wire), 65_536)))
        assert reader.finish() == fed(expected(), *small).finish()
        assert reader.is_complete
        assert reader.error is None
    assert fed(InvokeStreamReader(), other).finish() == UsageStats(3, 9, source=UsageSource.EXACT)


def test_a_chunk_is_read_however_it_is_written() -> None:
    assert chunk_bytes(b'{"bytes":"aGk=","p":"ab"}') == b"hi"
    assert chunk_bytes(b'{ "p": "\\"bytes\\":\\"x", "bytes" : "aGk=" }') == b"hi"
    assert chunk_bytes(b'{"bytes":"a\\u0047k="}') == b"hi"
    for broken in (b"", b"{}", b'{"bytes":"aGk"}', b'{"bytes":"a"}', b'{"bytes":', b'{"bytes":7}', b'{"p":"', b"[]"):
        assert chunk_bytes(broken) is None
    assert parsed_object(b"[]") is None


@given(st.binary(max_size=300), st.integers(0, 4))
def test_no_bytes_make_a_reader_raise(garbage: bytes, after: int) -> None:
    for reader, frames in ((InvokeStreamReader(), CLAUDE), (ConverseStreamReader(), CONVERSE)):
        fed(reader, *frames[:after], garbage, *frames)
        assert reader.finish().total_tokens >= 0


def test_figures_that_are_no_counts_make_usage_unknown() -> None:
    metered = fed(ConverseStreamReader(), event("metadata", {"usage": {"inputTokens": -1, "outputTokens": 3}}))
    assert metered.finish() == NO_USAGE
    assert metered.is_complete
