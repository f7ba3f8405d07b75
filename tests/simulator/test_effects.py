"""What faults do to a script, without a socket; ``test_faults`` has them on the wire."""

from __future__ import annotations

import zlib
from random import Random

import pytest

from relay_trio.simulator import Usage, effects
from relay_trio.simulator.script import Ending, Frame, Framing, Script, frame, whole


def script() -> Script:
    frames = [frame(b"first event"), frame(b"second", usage=Usage(1, 2, 3, 4), tokens=5, is_paced=True)]
    return Script(200, [], [*frames, frame(b"end", is_last=True)])


def performed(changed: Script) -> list[Frame]:
    return list(changed.frames)


def test_resplit_keeps_the_bytes_and_tells_usage_with_the_last_piece() -> None:
    changed = script()
    effects.resplit(changed, 4)
    frames = performed(changed)
    assert b"".join(piece.content for piece in frames) == b"first eventsecondend"
    assert max(len(piece.content) for piece in frames) == 4
    assert [piece.content for piece in frames if piece.usage is not None] == [b"nd"]
    assert sum(piece.tokens for piece in frames) == 5
    assert sum(piece.is_paced for piece in frames) == 1


def test_gzip_flushes_each_frame_so_that_it_can_be_read_at_once() -> None:
    changed = script()
    effects.gzipped(changed)
    inflate = zlib.decompressobj(wbits=31)
    pieces = [inflate.decompress(piece.content) for piece in performed(changed)]
    assert pieces == [b"first event", b"second", b"end", b""]
    assert inflate.eof


def test_a_cut_inside_a_frame_takes_its_usage_away() -> None:
    for count, usages in ((16, []), (17, [Usage(1, 2, 3, 4)])):
        changed = script()
        effects.cut_bytes(changed, count, Ending.RESET)
        frames = performed(changed)
        assert sum(len(piece.content) for piece in frames) == count
        assert [piece.usage for piece in frames if piece.usage is not None] == usages


def test_a_cut_before_the_last_lf_keeps_the_usage_that_a_reader_has() -> None:
    """After CR LF CR an event is whole: WHATWG ends the line there."""
    for count, usages in ((9, []), (10, [Usage(1)]), (11, [Usage(1)])):
        changed = Script(200, [], [frame(b"data: 1\r\n\r\n", usage=Usage(1)), frame(b"x")])
        effects.cut_bytes(changed, count, Ending.CLOSE)
        frames = performed(changed)
        assert sum(len(piece.content) for piece in frames) == count
        assert [piece.usage for piece in frames if piece.usage is not None] == usages


@pytest.mark.parametrize("ending", [Ending.STALL, Ending.CLOSE, Ending.RESET])
@pytest.mark.parametrize("count", [0, 1, 2, 99])
def test_a_body_with_a_length_is_never_cut_after_its_end(ending: Ending, count: int) -> None:
    """A stall after it would be one that nobody notices."""
    changed = whole(200, [], b"0123456789")
    effects.cut_events(changed, count, ending)
    assert sum(len(piece.content) for piece in performed(changed)) == (0 if count == 0 else 9)
    assert (changed.length, changed.ending) == (10, ending)


def test_a_cut_anywhere_leaves_something_out() -> None:
    """Of a stream some events, of a JSON body some bytes: each amount is drawn sooner or later, the whole never."""
    rng = Random(7)
    counts, sizes = set(), set()
    for _ in range(200):
        changed = script()
        effects.cut_anywhere(changed, rng, Ending.STALL)
        counts.add(len(performed(changed)))
        changed = whole(200, [], b"0123456789")
        effects.cut_anywhere(changed, rng, Ending.STALL)
        sizes.add(sum(len(piece.content) for piece in performed(changed)))
    assert counts == {0, 1, 2}
    assert sizes == set(range(10))


def test_an_insertion_stands_before_the_second_delta_or_the_end_and_never_first() -> None:
    extra, last = frame(b"extra"), frame(b"]", is_last=True)
    one, two = frame(b"1", is_paced=True), frame(b"2", is_paced=True)
    for frames, expected in (
        ([one, two, last], [b"1", b"extra", b"2", b"]"]),
        ([one, last], [b"1", b"extra", b"]"]),
        ([last], [b"]", b"extra"]),
        ([], [b"extra"]),
    ):
        changed = Script(200, [], frames)
        effects.insert(changed, extra)
        assert [piece.content for piece in performed(changed)] == expected


def test_a_clean_end_of_a_body_with_a_length_tells_the_new_length() -> None:
    for cut in (effects.cut_bytes, effects.cut_events):
        changed = whole(200, [], b"0123456789")
        cut(changed, 0, Ending.COMPLETE)
        assert (changed.framing, changed.length, performed(changed)) == (Framing.LENGTH, 0, [])
