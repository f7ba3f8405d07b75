"""What is asked of a Gemini model stands in the path, at either of Google's services."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from relay_trio.errors import BadRequest
from relay_trio.vendors.gemini.operations import MODELS, OPERATIONS, PUBLISHER_MODELS, STREAM
from relay_trio.vendors.gemini.paths import VERBS, parse_path

if TYPE_CHECKING:
    from relay_trio.http import ClientHead

HEAD = cast("ClientHead", None)  # not looked at


def test_every_route_is_one_that_can_be_written_for_an_account() -> None:
    """A path is read again when it is written for the service at which the account is."""
    for operation in OPERATIONS:
        for method, template in operation.routes:
            path = parse_path(template.replace("{model...}", "g").replace("{model}", "g").encode())
            assert path is not None
            assert (method == "POST") is (path.verb in VERBS)
            assert path.is_vertex is ("publishers" in template)


def test_a_list_names_no_model_and_the_question_for_one_does() -> None:
    for operation in (MODELS, PUBLISHER_MODELS):
        assert operation.read(HEAD, {}, {}).model is None
        assert operation.read(HEAD, {"model": "g"}, {}).model == "g"
        with pytest.raises(BadRequest):
            operation.read(HEAD, {"model": "a b"}, {})


def test_a_stream_is_one_by_its_path_alone() -> None:
    assert all(
        operation.read(HEAD, {"model": "g"}, {"stream": True}).is_stream is (operation is STREAM)
        for operation in OPERATIONS
    )
