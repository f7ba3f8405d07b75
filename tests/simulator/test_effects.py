"""What faults do to a script, without a socket; ``test_faults`` has them on the wire."""

from __future__ import annotations

import zlib

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


def test_a_clean_end_of_a_body_with_a_length_tells_the_new_length() -> None:
    for cut in (effects.cut_bytes, effects.cut_events):
        changed = whole(200, [], b"0123456789")
        cut(changed, 0, Ending.COMPLETE)
        assert (changed.framing, changed.length, performed(changed)) == (Framing.LENGTH, 0, [])
