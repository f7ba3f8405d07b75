"""What a Messages request asks for: its model and whether it is a stream, both in its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from relay_trio.errors import BadRequest
from relay_trio.vendors.claude.operations import BATCHES, COUNT_TOKENS, MESSAGES, MODELS

if TYPE_CHECKING:
    from relay_trio.http import ClientHead

HEAD = cast("ClientHead", None)  # not looked at


@pytest.mark.parametrize("operation", [MESSAGES, COUNT_TOKENS])
@pytest.mark.parametrize(
    ("members", "is_stream"),
    [({}, False), ({"stream": False}, False), ({"stream": None}, False), ({"stream": True}, True)],
)
def test_a_stream_is_one_only_when_the_body_says_so(operation: Any, members: dict[str, Any], is_stream: bool) -> None:
    document = {"model": "m", **members}
    reading = operation.read(HEAD, {}, document)
    assert (reading.model, reading.is_stream, reading.document) == ("m", is_stream, document)
    assert operation.is_json


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "model: this member is required"),
        ({"model": None}, "model: this member is required"),
        ({"model": 3}, "model: must be the name of a model"),
        ({"model": "m", "stream": "yes"}, "stream: must be true or false"),
        ({"model": "m", "stream": 1}, "stream: must be true or false"),
    ],
)
def test_what_it_does_not_say_is_refused_in_words_of_ours(document: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        MESSAGES.read(HEAD, {}, document)
    assert refused.value.message == message


@pytest.mark.parametrize("operation", [MODELS, BATCHES])
def test_the_others_name_no_model(operation: Any) -> None:
    assert operation.read(HEAD, {"id": "x"}, {}).model is None
    assert not operation.is_json
