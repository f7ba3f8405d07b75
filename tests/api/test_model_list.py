"""Pages of a list, and the parameters by which a client requests them."""

from __future__ import annotations

import pytest

from relay_trio.api.model_list import page_size, parameter, place_of, token_page
from relay_trio.errors import BadRequest

ITEMS = [{"n": name} for name in "abcde"]


@pytest.mark.parametrize(("query", "value"), [(b"", None), (b"x=1", None), (b"a=", None), (b"a=%2Fb&a=2", "/b")])
def test_a_parameter_is_the_first_of_its_name(query: bytes, value: str | None) -> None:
    assert parameter(query, "a") == value


def test_a_page_has_the_size_that_was_requested() -> None:
    assert (page_size(b"", "limit", usual=20), page_size(b"limit=1000", "limit", usual=20)) == (20, 1000)


@pytest.mark.parametrize("size", ["0", "1001", "-1", "1.5", "x", "9" * 5000, "\u0663"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(BadRequest, match="from 1 to 1000"):
        page_size(b"limit=" + size.encode("latin-1", "replace"), "limit", usual=20)


def test_a_token_of_another_list_is_refused() -> None:
    assert place_of("abc", "b", "pageToken") == 1
    with pytest.raises(BadRequest, match="pageToken"):
        place_of("abc", "x", "pageToken")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_all_pages_together_are_the_list(size: int) -> None:
    seen: list[object] = []
    query = b"size=%d" % size
    while True:
        page, token = token_page(ITEMS, "abcde", query, size="size", token="token", usual=5)
        assert len(page) <= size
        seen += page
        if token is None:
            break
        query = b"size=%d&token=%b" % (size, token.encode())
    assert seen == ITEMS
