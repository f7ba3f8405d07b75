"""The record of what was served."""

from __future__ import annotations

import pytest

from relay_trio.simulator import ServedRequest, Truth, Usage


def served(number: int, usage: Usage | None, tag: str = "") -> ServedRequest:
    return ServedRequest(
        f"req_{number}", "POST", b"/", [(b"x", b"y")], b"secret", 0.0, 1, credential="secret", usage=usage, tag=tag
    )


def test_records_are_found_and_summed() -> None:
    truth = Truth([served(1, Usage(1, 2, 3, 4)), served(2, None), served(3, Usage(10, 20, 30, 40), "t")])
    assert truth.usage() == Usage(11, 22, 33, 44)
    assert truth.usage().total_tokens == 110
    assert truth.usage(truth.tagged("t")) == Usage(10, 20, 30, 40)
    assert (truth.by_id("req_2").output_tokens, truth.last.request_id) == (0, "req_3")
    assert truth.last.header(b"x") == b"y"
    truth.clear()
    with pytest.raises(KeyError):
        truth.by_id("req_2")


def test_neither_credential_nor_body_is_ever_printed() -> None:
    assert "secret" not in repr(Truth([served(1, None)]))
