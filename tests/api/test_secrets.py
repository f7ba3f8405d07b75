"""Where secrets stand in headers and queries."""

from __future__ import annotations

import pytest

from relay_trio.api.secrets import query_without, query_without_credentials, secrets_of_headers

Header = tuple[bytes, bytes]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([(b"x-api-key", b"a")], ["a"]),
        ([(b"x-api-key", b"  a ")], ["a"]),
        ([(b"x-api-key", b"")], []),
        ([(b"x-api-key", b"   ")], []),
        ([(b"authorization", b"Bearer a")], ["a"]),
        ([(b"authorization", b"bearer a")], ["a"]),
        ([(b"authorization", b"BEARER   a ")], ["a"]),
        ([(b"authorization", b"Bearer ")], []),
        ([(b"authorization", b"Bearer")], []),
        ([(b"authorization", b"Basic YTpi")], []),
        ([(b"authorization", b"a")], []),
        ([(b"x-api-key", b"a"), (b"authorization", b"Bearer b")], ["a", "b"]),
        ([(b"authorization", b"Bearer b"), (b"x-api-key", b"a"), (b"x-api-key", b"c")], ["b", "a", "c"]),
        ([(b"x-other", b"a"), (b"cookie", b"x-api-key=a"), (b"x-amz-security-token", b"a")], []),
    ],
)
def test_every_secret_of_a_request_in_order(headers: list[Header], expected: list[str]) -> None:
    assert secrets_of_headers(headers, {b"x-api-key"}) == expected


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        (b"", b""),
        (b"beta=true", b"beta=true"),
        (b"key=s", b""),
        (b"a=1&Key=s&b=%c3&&c", b"a=1&b=%c3&&c"),
        (b"api%5Fkey=s&nextToken=t&page_token=t", b"nextToken=t&page_token=t"),
        (b"monkey=1&keys=2", b"monkey=1&keys=2"),
    ],
)
def test_a_query_goes_on_byte_for_byte_without_the_parameters_that_hold_a_key(query: bytes, rest: bytes) -> None:
    assert query_without_credentials(query) == rest


@pytest.mark.parametrize("text", [b"a+b=c", b"%61+b=c", b"a%2Bb%3dc"])
@pytest.mark.parametrize("place", [b"x=%b", b"%b", b"x+=%b"])
def test_a_secret_is_found_in_a_query_however_it_is_written(text: bytes, place: bytes) -> None:
    query = b"y=%C3+&" + place % text + b"&z"
    assert query_without(query, ["another", "a+b=c"]) == b"y=%C3+&z"
    assert query_without(query, ["a+b"]) == query or place == b"%b"
    assert query_without(query, []) == query
