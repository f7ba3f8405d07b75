"""A list of models goes on as it came, or without those that the client cannot use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_trio.api.model_list import ModelListFilter
from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamProtocolError
from relay_trio.usage import NO_USAGE
from tests.support.cuts import cuts

LIST = b'{ "models": [ {"name": "models/a", "x": 1},\n {"name": "models/b"} ], "nextPageToken": "t\xc3\xa4" }\n'


def filtered(body: bytes, *listed: str) -> bytes:
    """What the client gets, the same at every cut."""
    seen = set()
    for cut in cuts(body, drawn=4):
        reader = ModelListFilter({"models": "name"}, listed.__contains__)
        seen.add(b"".join([reader.feed(piece) for piece in cut]))
        assert reader.is_complete
        assert reader.error is None
        assert reader.finish() == NO_USAGE
    [passed] = seen
    return passed


def test_where_everything_can_be_asked_for_the_bytes_are_the_upstreams() -> None:
    assert filtered(LIST, "a", "b") == LIST


@pytest.mark.parametrize(("listed", "left"), [(("b",), ["models/b"]), ((), []), (("models/a",), [])])
def test_what_cannot_is_left_out_and_the_rest_stays(listed: tuple[str, ...], left: list[str]) -> None:
    passed = json.loads(filtered(LIST, *listed))
    assert [model["name"] for model in passed["models"]] == left
    assert passed["nextPageToken"] == "tä"


@pytest.mark.parametrize("body", [b'{"name": "models/z"}', b'{"models": 3}', b"{}"])
def test_a_document_without_a_list_is_the_upstreams(body: bytes) -> None:
    assert filtered(body) == body


@pytest.mark.parametrize("item", [3, None, {}, {"name": 3}, []])
def test_an_item_without_a_name_is_left_out(item: Any) -> None:
    assert json.loads(filtered(json.dumps({"models": [item]}).encode(), "a"))["models"] == []


@pytest.mark.parametrize("body", [b"{]", b'{"models": x}', b'{"models": [' + b" " * 5_000_000])
def test_a_list_that_cannot_be_read_is_not_sent_at_all(body: bytes) -> None:
    reader = ModelListFilter({"models": "name"}, lambda name: True)
    assert reader.feed(body) == b""
    assert isinstance(reader.error, UpstreamProtocolError)
    assert reader.feed(b"}") == b""
    assert reader.position is WHOLE
    assert not reader.is_error_forwarded


def test_a_list_that_was_cut_is_not_complete() -> None:
    reader = ModelListFilter({"models": "name"}, lambda name: True)
    assert reader.feed(LIST[:40]) == b""
    assert not reader.is_complete
    assert not reader.position.is_mid_event
