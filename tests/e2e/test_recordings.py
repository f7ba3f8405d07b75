"""Every recorded answer through a whole relay, for every provider: bytes, ends, headers and what is booked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.vendors.registry import LISTINGS, PROVIDERS
from tests.support.cases import case
from tests.support.cuts import cuts
from tests.support.raw_client import open_raw, request
from tests.support.scripted_upstream import chunked, open_scripted, sized
from tests.support.socket_harness import NEVER_RESTS, open_harness
from tests.support.vendor_samples import samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay_trio.errors import UpstreamError
    from tests.support.raw_client import RawAnswer
    from tests.support.recordings import Recording
    from tests.support.scripted_upstream import Play
    from tests.support.socket_harness import Row

PASSES_BYTE_BY_BYTE = 1500
"""Bodies up to this size, in bytes, are also sent one byte at a time."""

OURS = {
    b"request-id", b"x-request-id", b"x-amzn-requestid", b"x-relay-attempts", b"server-timing", b"date",
    b"content-length", b"transfer-encoding", b"connection", b"cache-control", b"x-accel-buffering",
}  # fmt: skip
"""Response headers that the relay sets itself."""


def account_of(provider: str, base_url: str) -> dict[str, object]:
    """The account as relay.toml would have it; of a kind whose credential need not be resolved."""
    account = next(each for each in samples_of(provider).accounts if each.token is None)
    common = {"name": "one", "provider": provider, "base_url": base_url, "max_concurrency": 4}
    return {**common, **account.settings, "models": ["*"]}


def pieces_of(recording: Recording, seed: int) -> Iterator[list[bytes]]:
    """Whole and cut, and byte by byte where that is not long."""
    for pieces in cuts(recording.body, drawn=2, seed=seed):
        if len(pieces) < len(recording.body) or len(recording.body) <= PASSES_BYTE_BY_BYTE:
            yield pieces


def play(recording: Recording, pieces: list[bytes]) -> Play:
    """Chunked, but for some answers that are no stream."""
    headers = [(name.decode(), value.decode("latin-1")) for name, value in recording.head.headers]
    make = sized if not recording.is_stream and len(pieces) % 2 else chunked
    return make(pieces, status=recording.head.status, headers=headers)


def sent_by(recording: Recording) -> bytes:
    """The client's request; its key is the relay's."""
    headers = tuple(
        f"{name.decode()}: {value.decode()}" for name, value in recording.call.headers
        if name in (b"accept-encoding",)
    )  # fmt: skip
    return request(recording.call.body, method=recording.call.method, target=recording.call.target, headers=headers)


def is_list(recording: Recording) -> bool:
    """Whether it is a list of models, which the relay makes itself (``tests/relay/test_model_catalog.py``)."""
    return recording.operation in LISTINGS


def expected_body(recording: Recording) -> bytes:
    """What the reader of the provider's call makes of it, which ``test_conformance`` judges."""
    call = PROVIDERS[recording.provider].calls[recording.operation]
    return call.answer(recording.head, recording.checked).feed(recording.body)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_every_recording_arrives_as_it_was_sent_whole_and_cut(
    recordings: list[Recording], provider: str, folder: Path
) -> None:
    """A stream that was cut, or whose error is in another dialect, ends with our event and a broken
    connection. The request's body went up as it came, or translated."""
    replayed: dict[str, Recording] = {}
    async with open_scripted() as upstream:
        async with open_harness(folder, [account_of(provider, upstream.base_url)], breaker=NEVER_RESTS) as harness:
            for number, recording in enumerate(recordings):
                if recording.provider != provider or not recording.is_good or is_list(recording):
                    continue
                for pieces in pieces_of(recording, number):
                    with case(recording.id):
                        upstream.play = play(recording, pieces)
                        async with open_raw(harness.port) as client:
                            answer = await client.ask(sent_by(recording))
                        check_answer(answer, recording)
                        replayed[answer.request_id] = recording
            assert replayed
            check_rows(await harness.rows(), replayed)


def check_answer(answer: RawAnswer, recording: Recording) -> None:
    body = expected_body(recording)
    call = PROVIDERS[recording.provider].calls[recording.operation]
    assert answer.status == 200, answer.body
    if recording.ends == "complete":
        assert (answer.body, answer.is_whole) == (body, True)
    else:
        assert answer.body.startswith(body)
        assert answer.is_whole == (answer.body == body and recording.ends == "error")
    shown = dict(call.client_headers(recording.head, recording.checked))
    got = [(name, value) for name, value in answer.headers if name not in OURS]
    assert got == [(name, value) for name, value in shown.items() if name not in OURS]


def check_rows(rows: list[Row], replayed: dict[str, Recording]) -> None:
    assert len(rows) == len(replayed)
    for row in rows:
        recording = replayed[row["request_id"]]
        with case(recording.id):
            outcomes = {"complete": {"completed"}}.get(recording.ends, {"upstream_error", "upstream_rate_limited"})
            assert row["outcome"] in outcomes
            assert row["usage_source"] == recording.usage.source
            assert {name: row[name] for name in recording.tokens} == recording.tokens


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_recorded_refusals_of_a_request_are_the_clients_to_read(
    recordings: list[Recording], provider: str, folder: Path
) -> None:
    """The upstream's message, with our id in place of its own; the account is not to blame."""
    async with open_scripted() as upstream:
        async with open_harness(folder, [account_of(provider, upstream.base_url)]) as harness:
            for recording in recordings:
                verdict = (
                    PROVIDERS[provider].judge(recording.head, recording.body, 0) if not recording.is_good else None
                )
                if recording.provider != provider or verdict is None or verdict.is_retryable:
                    continue
                with case(recording.id):
                    upstream.play = play(recording, [recording.body])
                    async with open_raw(harness.port) as client:
                        answer = await client.ask(sent_by(recording))
                    assert answer.is_whole
                    assert answer.body == passed_on(recording, answer.request_id, verdict.error)
                    their_id = PROVIDERS[provider].request_id(recording.head)
                    assert not their_id or their_id.encode() not in answer.body
                    assert answer.header(b"set-cookie") is None
                    row = await harness.row(answer.request_id)
                    assert (row["code"], row["outcome"], row["usage_source"]) == ("SH", "rejected_request", "none")


def passed_on(recording: Recording, request_id: str, error: UpstreamError) -> bytes:
    call: Any = PROVIDERS[recording.provider].calls[recording.operation]
    _, body = call.error(recording.head, recording.body) or (0, recording.body)
    return recording.call.dialect.passed_on(error, recording.head, body, request_id)[2]
