"""The AWS event stream: AWS's own vectors, recorded streams against botocore, any cut, any damage, and bounds."""

from __future__ import annotations

import base64
import json
import struct
import time
import tracemalloc
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.event_stream import (
    MAX_HEADERS_BYTES,
    MAX_PAYLOAD_BYTES,
    EventStreamDecoder,
    Frame,
    HeaderType,
    Number,
    RawFrames,
    encode_frame,
)
from relay_trio.wire.wire_error import WireError
from tests.support.cuts import cuts

if TYPE_CHECKING:
    from pathlib import Path

UUID_VALUE = UUID("01020304-0506-0708-090a-0b0c0d0e0f10")

names = st.text(max_size=20).filter(lambda name: len(name.encode()) <= 255)
values = (
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.binary(max_size=30)
    | st.text(max_size=30)
    | st.uuids()
    | st.builds(Number, st.just(HeaderType.BYTE), st.integers(-128, 127))
    | st.builds(Number, st.just(HeaderType.SHORT), st.integers(-(1 << 15), (1 << 15) - 1))
    | st.builds(Number, st.just(HeaderType.LONG) | st.just(HeaderType.TIMESTAMP), st.integers(0, 1 << 40))
)


def frames_of(pieces: list[bytes]) -> list[Frame]:
    decoder = EventStreamDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert decoder.damage is None
    return frames


def framed(
    headers: bytes, payload: bytes = b"", *, total: int | None = None, headers_length: int | None = None
) -> bytes:
    """A frame whose checksums are right, whatever else is not."""
    total = 16 + len(headers) + len(payload) if total is None else total
    frame = struct.pack("!II", total, len(headers) if headers_length is None else headers_length)
    frame += crc32(frame).to_bytes(4, "big") + headers + payload
    return frame + crc32(frame).to_bytes(4, "big")


def recorded_streams(corpus: Path) -> list[Path]:
    place = corpus / "recordings" / "bedrock"
    return sorted(place.glob("*stream-*.body")) + sorted(place.glob("derived-*.body"))


def test_every_positive_vector_gives_its_headers_and_payload_at_any_cut(corpus: Path) -> None:
    vectors = corpus / "eventstream-vectors"
    files = sorted((vectors / "encoded" / "positive").iterdir())
    assert len(files) == 5
    for file in files:
        decoded = json.loads((vectors / "decoded" / "positive" / file.name).read_text())
        headers = {header["name"]: value_in(header) for header in decoded["headers"]}
        expected = Frame(headers, base64.b64decode(decoded["payload"]))
        for pieces in cuts(file.read_bytes()):
            assert frames_of(pieces) == [expected], file.name


def value_in(header: dict[str, object]) -> object:
    raw = base64.b64decode(header["value"]) if isinstance(header["value"], str) else header["value"]
    if header["type"] == HeaderType.STRING:
        return raw.decode()
    return UUID(bytes=raw) if header["type"] == HeaderType.UUID else raw


def test_every_negative_vector_is_refused_for_its_reason_at_any_cut(corpus: Path) -> None:
    vectors = corpus / "eventstream-vectors"
    files = sorted((vectors / "encoded" / "negative").iterdir())
    assert len(files) == 4
    for file in files:
        reason = (vectors / "decoded" / "negative" / file.name).read_text().strip()
        for pieces in cuts(file.read_bytes()):
            decoder = EventStreamDecoder()
            with pytest.raises(WireError) as raised:
                [decoder.feed(piece) for piece in pieces]
            assert str(raised.value).lower() == reason.lower(), file.name
            assert decoder.is_mid_frame


def test_recorded_streams_give_what_botocore_reads_at_any_cut(corpus: Path) -> None:
    files = recorded_streams(corpus)
    assert len(files) > 20
    for file in files:
        wire = file.read_bytes()
        buffer = EventStreamBuffer()
        buffer.add_data(wire)
        expected = [Frame(message.headers, message.payload) for message in buffer]
        assert expected
        for pieces in cuts(wire, drawn=3):
            assert frames_of(pieces) == expected, file.name


def test_exceptions_and_errors_come_as_frames(corpus: Path) -> None:
    wires = {file.stem: file.read_bytes() for file in (corpus / "bedrock-exceptions").iterdir()}
    for pieces in cuts(wires["throttlingException"] + wires["unmodeled-error"]):
        exception, error = frames_of(pieces)
        assert exception.headers[":message-type"] == "exception"
        assert exception.headers[":exception-type"] == "throttlingException"
        assert "message" in json.loads(exception.payload)
        assert error.headers[":message-type"] == "error"
        assert error.headers[":error-code"] == "InternalError"
        assert error.payload == b""


@given(st.lists(st.tuples(st.dictionaries(names, values, max_size=4), st.binary(max_size=40)), max_size=4))
def test_what_is_encoded_is_decoded_at_any_cut_and_botocore_agrees(messages: list[tuple[dict, bytes]]) -> None:
    wire = b"".join(encode_frame(headers, payload) for headers, payload in messages)
    expected = [
        Frame({name: v.value if isinstance(v, Number) else v for name, v in headers.items()}, payload)
        for headers, payload in messages
    ]
    for pieces in cuts(wire, drawn=2):
        assert frames_of(pieces) == expected
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    for message, frame in zip(buffer, expected, strict=True):
        assert message.payload == frame.payload
        raw_uuids = {name: v.bytes if isinstance(v, UUID) else v for name, v in frame.headers.items()}
        assert message.headers == raw_uuids


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (True, b"\0"),
        (False, b"\1"),
        (Number(HeaderType.BYTE, -2), b"\2\xfe"),
        (Number(HeaderType.SHORT, -2), b"\3\xff\xfe"),
        (-2, b"\4\xff\xff\xff\xfe"),
        ((1 << 31) - 1, b"\4\x7f\xff\xff\xff"),
        (1 << 31, b"\5\0\0\0\0\x80\0\0\0"),
        (Number(HeaderType.LONG, 1), b"\5\0\0\0\0\0\0\0\1"),
        (b"\xff", b"\6\0\1\xff"),
        ("é", b"\7\0\2\xc3\xa9"),
        (Number(HeaderType.TIMESTAMP, 1), b"\x08\0\0\0\0\0\0\0\1"),
        (UUID_VALUE, b"\x09\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"),
    ],
)
def test_each_type_of_header_has_its_bytes(value: object, encoded: bytes) -> None:
    wire = framed(b"\1n" + encoded)
    assert encode_frame({"n": value}) == wire
    (frame,) = frames_of([wire])
    assert frame.headers == {"n": value.value if isinstance(value, Number) else value}
    assert type(frame.headers["n"]) is (int if isinstance(value, Number) else type(value))


def test_every_flipped_bit_is_damage_and_the_frame_before_it_is_kept() -> None:
    """CRC32 finds every error of one bit; a length that was flipped is found by the prelude's own."""
    before = encode_frame({":event-type": "chunk"}, b"1")
    frame = encode_frame({":event-type": "chunk", "n": 7}, b'{"bytes":"eA=="}')
    after = encode_frame({}, b"3")
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        wire = before + bytes(flipped) + after
        for pieces in ([wire], [wire[:50], wire[50:]], [wire[:100], wire[100:]]):
            decoder = EventStreamDecoder()
            frames = []
            with pytest.raises(WireError, match="checksum"):
                for piece in [*pieces, b""]:
                    frames += decoder.feed(piece)
            assert [frame.payload for frame in frames] == [b"1"]
            assert decoder.is_mid_frame


def test_damage_is_raised_after_the_frames_before_it_and_from_then_on() -> None:
    wire = encode_frame({}, b"1") + b"damage, twelve bytes of it at least" + encode_frame({}, b"2")
    decoder = EventStreamDecoder()
    assert [frame.payload for frame in decoder.feed(wire)] == [b"1"]
    assert decoder.damage == "prelude checksum mismatch"
    for data in (b"", encode_frame({}, b"3")):
        with pytest.raises(WireError, match="prelude checksum mismatch"):
            decoder.feed(data)


def test_headers_are_damage_in_the_frame_that_has_them() -> None:
    wire = encode_frame({}, b"1") + framed(b"\1n\x0a") + encode_frame({}, b"2") + b"not a prelude"
    for pieces in cuts(wire):
        decoder = EventStreamDecoder()
        frames = []
        with pytest.raises(WireError, match="unknown header type 10"):
            for piece in [*pieces, b""]:
                frames += decoder.feed(piece)
        assert [frame.payload for frame in frames] == [b"1"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (b"\1n\x0a", "unknown header type 10"),
        (b"\1n\xff", "unknown header type 255"),
        (b"\1", "beyond the headers' length"),
        (b"\1n", "beyond the headers' length"),
        (b"\5n\0", "beyond the headers' length"),
        (b"\1n\2", "beyond the headers' length"),
        (b"\1n\4\0\0\0", "beyond the headers' length"),
        (b"\1n\7\0", "beyond the headers' length"),
        (b"\1n\7\0\2a", "beyond the headers' length"),
        (b"\1n\6\xff\xffa", "beyond the headers' length"),
        (b"\1n\x09" + bytes(15), "beyond the headers' length"),
        (b"\1\xff\0", "not UTF-8"),
        (b"\1n\7\0\1\xff", "not UTF-8"),
        (b"\1n\0\1n\1", "twice"),
    ],
)
def test_bad_headers_under_good_checksums_are_refused(headers: bytes, reason: str) -> None:
    """botocore raises KeyError and struct.error on some of these. The payload must not be read as a header's rest."""
    with pytest.raises(WireError, match=reason):
        EventStreamDecoder().feed(framed(headers, b"payload of the frame"))


@pytest.mark.parametrize(
    ("total", "headers_length", "reason"),
    [
        (0, 0, "cannot hold"),
        (15, 0, "cannot hold"),
        (16, 1, "cannot hold"),
        (0xFFFFFFFF, 0, "a payload of 4294967279 bytes"),
        (16 + MAX_PAYLOAD_BYTES + 1, 0, "a payload of"),
        (0xFFFFFFFF, 0xFFFFFFFF, "headers of 4294967295 bytes"),
        (1 << 20, MAX_HEADERS_BYTES + 1, "headers of"),
    ],
)
def test_lengths_that_no_frame_has_are_refused_with_the_prelude(total: int, headers_length: int, reason: str) -> None:
    """Nothing is buffered for them: the twelve bytes are enough."""
    prelude = framed(b"", total=total, headers_length=headers_length)[:12]
    decoder = EventStreamDecoder()
    assert decoder.feed(prelude[:11]) == []
    with pytest.raises(WireError, match=reason):
        decoder.feed(prelude[11:])


def never(beginning: bytes) -> bool:
    return False


def test_a_large_frame_that_nobody_needs_is_dropped_and_the_next_one_is_read() -> None:
    small, large = encode_frame({}, b"1"), encode_frame({"n": 1}, b"x" * 500)
    for large_bytes, is_needed, count in (
        (len(large) - 1, never, 2),
        (len(large), never, 3),
        (0, lambda beginning: True, 3),
        (0, None, 3),
        (20, lambda beginning: beginning == large[: 12 + 7 + 256], 3),
    ):
        for pieces in cuts(small + large + small, drawn=5):
            frames = RawFrames(is_needed, large_bytes=large_bytes)
            found = [frame for piece in pieces for frame in frames.feed(piece)]
            assert found == [small, large, small] if count == 3 else [small, small]
            assert not frames.is_mid_frame


def test_a_frame_that_is_dropped_is_checked_too() -> None:
    frame = encode_frame({"n": 1}, b"x" * 50)
    for at in range(12, len(frame)):
        broken = frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]
        for pieces in cuts(broken, drawn=2):
            with pytest.raises(WireError, match="message checksum"):
                [raw for frames in [RawFrames(never, large_bytes=40)] for piece in pieces for raw in frames.feed(piece)]


def test_a_frame_that_is_dropped_is_not_held() -> None:
    frames = RawFrames(never)
    wire = encode_frame({}, bytes(4_000_000))
    pieces = [wire[at : at + 1000] for at in range(0, len(wire), 1000)]
    tracemalloc.start()
    try:
        for piece in pieces:
            assert not frames.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
    assert not frames.is_mid_frame


def test_the_largest_frame_that_the_format_allows_is_read() -> None:
    frame = encode_frame({":event-type": "chunk"}, bytes(24 * 1024 * 1024))
    assert RawFrames().feed(frame) == [frame]


def test_a_cut_stream_ends_inside_a_frame_unless_it_was_cut_between_two() -> None:
    """boto3 reports nothing here: the relay has to see it."""
    frame = encode_frame({"a": "b"}, b"payload")
    wire = frame * 2
    for large_bytes in (1 << 20, 20):
        for length in range(len(wire) + 1):
            frames = RawFrames(never, large_bytes=large_bytes)
            frames.feed(wire[:length])
            assert frames.is_mid_frame is (length % len(frame) != 0)


def test_a_tee_gets_the_bytes_of_each_frame() -> None:
    parts = [encode_frame({"n": number}, bytes(number)) for number in range(5)]
    for pieces in cuts(b"".join(parts)):
        frames = RawFrames()
        assert [raw for piece in pieces for raw in frames.feed(piece)] == parts


def in_tens(wire: bytes) -> list[bytes]:
    return [wire[at : at + 10] for at in range(0, len(wire), 10)]


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ([encode_frame({"n": 1}, b"x") * 3_000], [encode_frame({"n": 1}, b"x") * 30_000]),
        (in_tens(encode_frame({}, bytes(100_000))), in_tens(encode_frame({}, bytes(1_000_000)))),
    ],
    ids=["frames in one feed", "pieces of one frame"],
)
def test_ten_times_the_bytes_take_no_more_than_thirty_times_the_time(few: list[bytes], many: list[bytes]) -> None:
    """They take ten; it would be a hundred if bytes were copied again for each frame, or for each piece."""

    def seconds(pieces: list[bytes]) -> float:
        begin = time.process_time()
        assert frames_of(pieces)
        return time.process_time() - begin

    assert min(seconds(many) for _ in range(2)) < 30 * min(seconds(few) for _ in range(3))


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({"n" * 256: True}, b""),
        ({"n": "x" * 65536}, b""),
        ({"n": b"x" * 65536}, b""),
        ({"n": 1 << 63}, b""),
        ({"n": Number(HeaderType.BYTE, 128)}, b""),
        ({"n": Number(HeaderType.STRING, 1)}, b""),
        ({"n": "\ud800"}, b""),
        ({str(number): "x" * 65535 for number in range(3)}, b""),
        ({}, bytes(MAX_PAYLOAD_BYTES + 1)),
    ],
)
def test_what_does_not_fit_the_format_is_not_encoded(headers: dict, payload: bytes) -> None:
    with pytest.raises(WireError):
        encode_frame(headers, payload)
