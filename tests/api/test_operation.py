"""What an operation reads out of a request: the model where its path names it, in the rules of names."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import pytest

from relay_trio.api.operation import Affinity, Operation, Reading, checked_model, model_of_path, nothing, stream_of_path
from relay_trio.errors import BadRequest

if TYPE_CHECKING:
    from relay_trio.http import ClientHead

HEAD = cast("ClientHead", None)  # not looked at


def test_an_operation_asks_for_nothing_unless_it_says_so() -> None:
    operation = Operation("toy.list", (("GET", "/list"),))
    assert operation.read(HEAD, {}, {}) == Reading(None, is_stream=False, document={})
    assert (operation.is_json, operation.affinity, operation.lists) == (False, Affinity.NONE, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        operation.name = "another"  # type: ignore[misc]


def test_a_model_in_the_path_is_the_model_and_whether_there_is_a_stream_is_the_operations() -> None:
    document = {"stream": True, "model": "not this"}
    assert model_of_path(HEAD, {"model": "m"}, document) == Reading("m", is_stream=False, document=document)
    assert stream_of_path(HEAD, {"model": "m"}, document) == Reading("m", is_stream=True, document=document)
    assert nothing(HEAD, {"id": "x"}, {}).model is None


@pytest.mark.parametrize("model", [None, 3, "", "a b", "a%2Fb", "../a", "a/../b", "a?b", "ä", "m" * 257])
def test_a_model_keeps_to_the_rules_of_names(model: object) -> None:
    with pytest.raises(BadRequest, match="must be the name of a model"):
        checked_model(model)


def test_a_prompt_is_in_no_representation() -> None:
    assert "canary" not in repr(Reading("m", document={"system": "canary"}))
