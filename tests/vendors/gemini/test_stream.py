"""Usage, end and errors of Gemini's streams, whatever their form and however they are cut."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.inflater import InflatedReader, Inflater
from relay_trio.api.position import WHOLE
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import UpstreamErrorEvent, UpstreamRateLimited
from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.gemini.stream import ArrayReader, GeminiFold
from tests.support.cuts import cuts
from tests.support.gemini_answers import ARRAY, CHUNKS, ERROR, EVENTS, USAGE, candidate, counts, event, pretty
from tests.support.recordings import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from relay_trio.api.answer_reader import AnswerReader


def sse_reader() -> SseReader:
    return SseReader(GeminiFold())


FORMS: dict[str, tuple[Callable[[], AnswerReader], list[bytes]]] = {
    "events": (sse_reader, EVENTS),
    "array": (ArrayReader, ARRAY),
}
BOTH = pytest.mark.parametrize("form", FORMS)


def fed(reader: AnswerReader, pieces: Iterable[bytes]) -> UsageStats:
    for piece in pieces:
        assert reader.feed(piece) == piece
    return reader.finish()


def streamed(*chunks: object) -> SseReader:
    reader = sse_reader()
    fed(reader, [event(chunk) for chunk in chunks])
    return reader


# --- whole and cut ------------------------------------------------------------------------------------------------


@BOTH
def test_a_stream_is_metered_alike_at_every_cut(form: str) -> None:
    make, pieces = FORMS[form]
    for cut in cuts(b"".join(pieces), drawn=20):
        reader = make()
        assert fed(reader, cut) == USAGE
        assert reader.is_complete
        assert not reader.position.is_mid_event
        assert reader.error is None


def ends_of_elements(form: str) -> list[int]:
    """Where each event, or element, is whole; nobody misses an event's blank line."""
    _, pieces = FORMS[form]
    lengths = [len(piece) for piece in pieces[:3]]
    return [sum(lengths[:count]) - (4 if form == "events" else 0) for count in (1, 2, 3)]


@BOTH
def test_a_stream_that_was_cut_anywhere_is_not_complete(form: str) -> None:
    """Up to the last byte that matters: the blank line of the last event, the bracket of the array."""
    make, pieces = FORMS[form]
    whole = b"".join(pieces).rstrip()
    boundaries = {sum(map(len, pieces[:count])) for count in range(len(pieces))}
    for at in range(len(whole)):
        reader = make()
        usage = fed(reader, [whole[:at]])
        assert not reader.is_complete, at
        assert usage.source is not UsageSource.EXACT or form == "array"
        if at in boundaries:
            assert not reader.position.is_mid_event
        assert usage.total_tokens == (0, 11, 14, 20)[sum(at >= end for end in ends_of_elements(form))], at
    assert usage != NO_USAGE


def test_the_last_event_may_lack_its_blank_line() -> None:
    """Seen in Google's own examples; a part of that event may not."""
    whole = b"".join(EVENTS)
    for lacking in range(5):
        reader = sse_reader()
        assert fed(reader, [whole[: len(whole) - lacking]]) == USAGE
        assert reader.is_complete


def recorded(corpus: Path) -> Iterator[tuple[str, bytes, dict[str, int]]]:
    """Every mock stream of Google's with its expected usage."""
    expected = json.loads((corpus / "expected_usage.json").read_text())
    for name, row in expected["fixtures"].items():
        if name.startswith("firebase-gemini/") and "streaming" in name and row["usage"] is not None:
            yield name, (corpus / name).read_bytes(), row["usage"]


def as_expected(usage: dict[str, int]) -> UsageStats:
    assert usage["total"] == sum(count for name, count in usage.items() if name != "total")
    return UsageStats(usage["input"], usage["output"], usage["cache_creation"], usage["cache_read"], UsageSource.EXACT)


def test_every_mock_stream_has_its_usage_at_every_cut(corpus: Path) -> None:
    seen = 0
    for name, body, usage in recorded(corpus):
        for cut in cuts(body, drawn=4, seed=seen):
            reader = sse_reader()
            assert tokens(fed(reader, cut)) == as_expected(usage), name
            assert reader.is_complete, name
        seen += 1
    assert seen >= 10


def test_every_mock_stream_as_an_array_has_the_same_usage(corpus: Path) -> None:
    """No array was recorded: these are the events of the streams, in the other form."""
    for name, body, usage in recorded(corpus):
        lines = [line[6:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
        whole = b"[" + b"\n,\r\n".join(pretty(json.loads(line)) for line in lines) + b"\n]"
        for cut in cuts(whole, drawn=4):
            reader = ArrayReader()
            assert tokens(fed(reader, cut)) == as_expected(usage), name
            assert reader.is_complete, name


def test_googles_error_in_mid_stream_is_seen_at_every_cut(corpus: Path) -> None:
    """Lines of JSON without ``data:``, after chunks that all say STOP, and without a blank line at the end."""
    body = (corpus / "firebase-gemini" / "vertexai__streaming-failure-error-mid-stream.txt").read_bytes()
    for cut in cuts(body):
        reader = sse_reader()
        fed(reader, cut)
        assert isinstance(reader.error, UpstreamErrorEvent)
        assert reader.is_complete


def test_a_blocked_prompt_is_an_answer(corpus: Path) -> None:
    for name in (
        "googleai__streaming-failure-prompt-blocked-safety",
        "vertexai__streaming-failure-prompt-blocked-safety",
    ):
        for cut in cuts((corpus / "firebase-gemini" / f"{name}.txt").read_bytes()):
            reader = sse_reader()
            assert fed(reader, cut) == NO_USAGE
            assert reader.is_complete
            assert reader.error is None


# --- the usage ----------------------------------------------------------------------------------------------------


@BOTH
def test_a_stream_whose_records_have_no_total_is_booked_by_the_last_parts(form: str) -> None:
    make, _ = FORMS[form]
    events = [
        {"candidates": [candidate("a")], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}},
        {"candidates": [candidate("b", "STOP")], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4}},
    ]
    pieces = [event(one) for one in events] if form == "events" else [b"[", b",".join(map(pretty, events)), b"]"]
    reader = make()
    assert fed(reader, pieces) == UsageStats(9, 4, source=UsageSource.ESTIMATED)
    assert reader.is_complete


def test_parts_alone_do_not_replace_a_total_that_is_kept() -> None:
    reader = streamed(
        {"candidates": [candidate("a")], "usageMetadata": counts(12)},
        {"candidates": [candidate("b")], "usageMetadata": {"promptTokenCount": 10}},
        {"candidates": [candidate("c", "STOP")]},
    )
    assert reader.finish() == UsageStats(10, 2, source=UsageSource.PARTIAL)


def test_a_search_is_noted_at_the_end_of_a_stream() -> None:
    searched = candidate("b", "STOP") | {"groundingMetadata": {"webSearchQueries": ["who"]}}
    reader = streamed(
        {"candidates": [candidate("a")], "usageMetadata": counts(11)},
        {"candidates": [searched], "usageMetadata": counts(13)},
    )
    assert reader.finish() == UsageStats(10, 3, source=UsageSource.EXACT, details=UsageDetails(grounded_answers=1))


def test_the_newest_record_replaces_all_even_where_it_says_less() -> None:
    reader = streamed(
        {"candidates": [candidate("a")], "usageMetadata": counts(65, 169, candidatesTokenCount=21)},
        {"candidates": [candidate("b")], "usageMetadata": {"trafficType": "ON_DEMAND"}},
        {"candidates": [candidate("c", "STOP")], "usageMetadata": counts(80, 79)},
    )
    usage = reader.finish()
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (79, 1, UsageSource.EXACT)


def test_usage_that_came_before_the_end_only_is_partial() -> None:
    reader = streamed(
        {"candidates": [candidate("a")], "usageMetadata": counts(11)}, {"candidates": [candidate("b", "STOP")]}
    )
    assert reader.is_complete
    assert (reader.finish().source, reader.finish().total_tokens) == (UsageSource.PARTIAL, 11)


def test_words_of_the_format_inside_text_mean_nothing() -> None:
    quoted = json.dumps({"usageMetadata": counts(99), "finishReason": "STOP", "error": ERROR})
    call = {
        "functionCall": {"name": "f", "args": {"usageMetadata": counts(99), "error": ERROR, "finishReason": "STOP"}}
    }
    reader = streamed(
        {"candidates": [candidate(quoted)], "usageMetadata": counts(11)},
        {"candidates": [{"content": {"parts": [call]}}]},
    )
    assert not reader.is_complete
    assert reader.finish().total_tokens == 11
    assert reader.error is None


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "FROM_THE_FUTURE", 1, 17])
def test_every_finish_reason_is_an_end(reason: object) -> None:
    """Numbers come with ``$alt=json;enum-encoding=int``."""
    assert streamed({"candidates": [candidate("") | {"finishReason": reason}]}).is_complete


@pytest.mark.parametrize("reason", [None, "", 0, "FINISH_REASON_UNSPECIFIED"])
def test_an_unspecified_reason_is_none(reason: object) -> None:
    assert not streamed({"candidates": [candidate("") | {"finishReason": reason}]}).is_complete
    assert not streamed({"promptFeedback": {"blockReason": reason}}).is_complete


def test_every_candidate_has_to_finish() -> None:
    first, second = candidate("a", "STOP", index=0), candidate("b", index=1)
    reader = streamed({"candidates": [first]}, {"candidates": [second]})
    assert not reader.is_complete
    reader.feed(event({"candidates": [candidate("", "STOP", index=1)]}))
    assert reader.is_complete


def test_a_candidate_that_goes_on_has_not_finished() -> None:
    """Some models say STOP in every chunk, and none may be cut off at one that does not."""
    assert not streamed(CHUNKS[2], CHUNKS[0]).is_complete


def test_a_stream_of_nothing_is_not_complete() -> None:
    for reader in (sse_reader(), ArrayReader(), streamed({"usageMetadata": {"trafficType": "ON_DEMAND"}})):
        assert not reader.is_complete
    reader = ArrayReader()
    fed(reader, [b"[]"])
    assert reader.is_complete  # an array says where it ends


def test_a_stream_of_usage_without_a_candidate_is_an_empty_answer() -> None:
    reader = streamed({"usageMetadata": counts(10)})
    assert reader.is_complete
    assert reader.finish() == UsageStats(10, 0, source=UsageSource.EXACT)


def test_a_candidate_after_usage_alone_has_to_finish() -> None:
    reader = streamed({"usageMetadata": counts(10)}, {"candidates": [candidate("a")], "usageMetadata": counts(11)})
    assert not reader.is_complete
    assert reader.finish().source is UsageSource.PARTIAL


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [("UNAVAILABLE", UpstreamRateLimited), ("RESOURCE_EXHAUSTED", UpstreamRateLimited),
     ("INTERNAL", UpstreamErrorEvent), (None, UpstreamErrorEvent), (3, UpstreamErrorEvent)],
)  # fmt: skip
@pytest.mark.parametrize("form", ["lines", "data", "array"])
def test_an_error_inside_a_stream_is_known_by_its_status(status: object, error: type[Exception], form: str) -> None:
    reported = {"error": {"code": 1, "message": "a canary prompt", "status": status}}
    reader: AnswerReader = ArrayReader() if form == "array" else sse_reader()
    if form == "array":
        fed(reader, [ARRAY[0], b"\n,\r\n", pretty(reported), b"\n]"])
    else:
        fed(reader, [EVENTS[0], pretty(reported) + b"\n" if form == "lines" else event(reported)])
    assert type(reader.error) is error
    assert reader.error is reader.error
    assert "canary" not in str(reader.error)
    assert reader.is_complete
    assert reader.finish().source is UsageSource.PARTIAL


def test_half_an_error_is_a_stream_that_was_cut() -> None:
    reported = pretty(ERROR)
    for at in range(1, len(reported) - 1):
        reader = sse_reader()
        fed(reader, [EVENTS[2], reported[:at]])
        assert not reader.is_complete
        assert reader.error is None
        assert reader.position.is_mid_event


# --- what is too large, compressed, or broken ---------------------------------------------------------------------

WORDS = {"candidates": [candidate("some words " * 3_200_000)]}


@BOTH
def test_an_image_of_many_megabytes_hides_neither_the_usage_behind_it_nor_the_end(form: str) -> None:
    make, pieces = FORMS[form]
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K" * 5_000_000}}
    last = {
        "candidates": [{"content": {"parts": [image]}, "finishReason": "STOP"}],
        "usageMetadata": counts(1300, 10, candidatesTokenCount=1290),
    }
    whole = event(last) if form == "events" else b",\n" + pretty(last) + b"]"
    reader = make()
    usage = fed(reader, [pieces[0], *in_pieces(whole)])
    assert usage == UsageStats(10, 1290, source=UsageSource.EXACT)
    assert reader.is_complete


@pytest.mark.e2e
@BOTH
def test_an_event_that_is_too_large_to_look_at_spoils_nothing_that_comes_after_it(form: str) -> None:
    """The newest record says it all."""
    make, pieces = FORMS[form]
    whole = event(WORDS) if form == "events" else b",\n" + pretty(WORDS)
    reader = make()
    assert fed(reader, [pieces[0], *in_pieces(whole), *pieces[1:]]) == USAGE
    assert reader.is_complete


def in_pieces(wire: bytes) -> list[bytes]:
    return [wire[at : at + 65_536] for at in range(0, len(wire), 65_536)]


@pytest.mark.e2e
def test_a_last_event_that_is_too_large_to_look_at_may_have_been_the_end() -> None:
    reader = sse_reader()
    whole = event(WORDS)
    fed(reader, [EVENTS[0], whole[:-3]])
    assert not reader.is_complete
    assert fed(reader, [whole[-3:]]) == NO_USAGE
    assert reader.is_complete


def test_a_large_event_is_parsed_when_it_tells_something() -> None:
    large = {"candidates": [candidate("x" * 100_000, "STOP")], "usageMetadata": counts(20)}
    assert streamed(large).finish().total_tokens == 20


@BOTH
def test_a_compressed_stream_is_looked_into_and_has_no_place_for_an_error(form: str) -> None:
    make, pieces = FORMS[form]
    for cut in cuts(gzip.compress(b"".join(pieces)), drawn=3):
        reader = InflatedReader(make(), Inflater())
        assert fed(reader, cut) == USAGE
        assert reader.is_complete
        assert reader.position is WHOLE


@BOTH
def test_a_compression_that_cannot_be_read_is_not_judged(form: str) -> None:
    make, _ = FORMS[form]
    reader = InflatedReader(make(), Inflater())
    assert fed(reader, [b"not gzip"]) == NO_USAGE
    assert reader.is_complete


@given(st.binary(max_size=300), st.integers(0, 900))
def test_no_bytes_make_a_reader_raise(garbage: bytes, at: int) -> None:
    for make, pieces in FORMS.values():
        whole = b"".join(pieces)
        reader = make()
        assert fed(reader, [whole[:at] + garbage, whole[at:]]).total_tokens >= 0
        assert reader.is_complete in (True, False)


def test_a_damaged_array_has_no_usage_and_no_end() -> None:
    reader = ArrayReader()
    assert fed(reader, [ARRAY[0], b"{}", *ARRAY[1:]]) == NO_USAGE
    assert not reader.is_complete
    assert reader.position.separator is None


@pytest.mark.parametrize("odd", [b"[1, null]", b'{"candidates": 3}', b'{"candidates": [null]}', b"[[[", b"3", b"{}"])
def test_events_of_another_shape_are_passed_over(odd: bytes) -> None:
    reader = sse_reader()
    assert fed(reader, [EVENTS[0], b"data: " + odd + b"\r\n\r\n", *EVENTS[1:]]) == USAGE
