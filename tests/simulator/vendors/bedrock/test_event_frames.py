"""Frames against AWS's own decoder and its test vectors."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.simulator.vendors.bedrock import event_frames
from relay_trio.simulator.vendors.bedrock.event_frames import BROKEN, ODD
from tests.simulator.vendors.bedrock.asking import messages

if TYPE_CHECKING:
    from pathlib import Path

SHORT_TEXT = st.text(max_size=40)


@given(st.dictionaries(st.text(min_size=1, max_size=40), SHORT_TEXT, max_size=5), st.binary(max_size=300))
def test_awss_decoder_reads_what_was_encoded(headers: dict[str, str], payload: bytes) -> None:
    assert messages(event_frames.encode(headers.items(), payload)) == [(headers, payload)]


@pytest.mark.parametrize("name", ["empty_message", "payload_no_headers", "payload_one_str_header"])
def test_published_vectors_come_out_byte_for_byte(corpus: Path, name: str) -> None:
    folder = corpus / "eventstream-vectors"
    ((headers, payload),) = messages((folder / "encoded" / "positive" / name).read_bytes())
    assert event_frames.encode(headers.items(), payload) == (folder / "encoded" / "positive" / name).read_bytes()


@pytest.mark.parametrize("name", ["throttlingException", "modelStreamErrorException", "unmodeled-error"])
def test_errors_are_laid_out_as_awss_codec_lays_them_out(corpus: Path, name: str) -> None:
    expected = (corpus / "bedrock-exceptions" / f"{name}.bin").read_bytes()
    ((headers, payload),) = messages(expected)
    if ":error-code" in headers:
        made = event_frames.error(headers[":error-code"], headers[":error-message"])
    else:
        made = event_frames.exception(name, payload)
    assert made == expected


def test_an_events_headers_stand_in_the_order_of_recordings(corpus: Path) -> None:
    recorded = (corpus / "recordings" / "bedrock" / "converse-stream-001.body").read_bytes()
    headers, payload = messages(recorded)[0]
    assert recorded.startswith(event_frames.event(headers[":event-type"], payload))
    assert json.loads(payload)["role"] == "assistant"


@pytest.mark.parametrize("name", list(ODD))
def test_odd_frames_are_sound(name: str) -> None:
    after = event_frames.event("chunk", b"{}")
    assert len(messages(ODD[name] + after)) == 2


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_bytes_are_no_frame(name: str) -> None:
    """AWS's decoder refuses them, some with an error that is not its own."""
    with pytest.raises((ParserError, KeyError, struct.error)):
        messages(BROKEN[name])


@pytest.mark.parametrize("name", ["crc", "payload", "prelude_crc"])
def test_a_broken_checksum_is_all_that_is_wrong(name: str) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(BROKEN[name])
    with pytest.raises(ChecksumMismatch):
        next(buffer)
