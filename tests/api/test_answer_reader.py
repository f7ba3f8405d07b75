"""The reader of answers without tokens."""

from __future__ import annotations

from relay_trio.api.answer_reader import NullReader
from relay_trio.api.position import WHOLE
from relay_trio.usage import NO_USAGE


def test_an_answer_without_tokens_is_complete_and_has_none() -> None:
    reader = NullReader()
    body = b'{"usage": {"input_tokens": 3}}'
    assert reader.feed(body) is body
    assert reader.finish() == NO_USAGE
    assert (reader.is_complete, reader.position, reader.error) == (True, WHOLE, None)
