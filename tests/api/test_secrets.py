"""Where secrets stand in headers."""

from __future__ import annotations

import pytest

from relay_trio.api.secrets import secrets_of_headers

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
