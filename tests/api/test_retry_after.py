"""``Retry-After`` in every form that upstreams send, and in none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.retry_after import client_retry_after, retry_after_seconds, retry_fields
from relay_trio.errors import QueueTimeout, RelayError, UpstreamError, UpstreamRateLimited, UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 7 ", 7.0),
        (b"1.5", 1.5),
        (b"-3", 0.0),
        (b"Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        (b"Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        (b"Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        (b"Sun, 06 Nov 1994 09:49:47 +0100", 10.0),
    ],
)
def test_seconds_and_dates(value: bytes, seconds: float) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [None, b"", b"soon", b"inf", b"nan", b"-inf", b"1e999", b"Sun, 99 Nov 1994 08:49:47 GMT", b"\xff\xfe", b"\0"],
)
def test_nonsense_is_no_value(value: bytes | None) -> None:
    """The default of the status is used instead; never an exception, which would end the request as a defect."""
    assert retry_after_seconds(value, NOW) is None


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is 14 hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-14")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("value", [b"Sun Nov  6 08:49:47 1994", b"Sun, 06 Nov 1994 08:49:47 -0000"])
def test_a_date_without_a_zone_is_in_utc_whatever_the_machine_says(value: bytes, far_east: None) -> None:
    """RFC 9110 section 5.6.7: the asctime form has no zone and is UTC."""
    assert retry_after_seconds(value, NOW) == 10.0


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_comes_is_a_number_of_seconds_or_none(value: bytes) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.lists(st.sampled_from(["Sun,", "06", "Nov", "1994", "08:49:47", "GMT", "-0000", "99", "+9999", "A", ":"])))
def test_whatever_looks_like_a_date_is_a_number_of_seconds_or_none(words: list[str]) -> None:
    seconds = retry_after_seconds(" ".join(words).encode(), NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(("seconds", "sent"), [(0.2, b"1"), (1, b"1"), (3600.2, b"3601")])
def test_clients_are_sent_whole_seconds_and_the_truth(seconds: float, sent: bytes) -> None:
    assert client_retry_after(seconds) == sent


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (QueueTimeout("no slot", retry_after=1), [(b"retry-after", b"1"), (b"x-should-retry", b"true")]),
        (UpstreamRateLimited("used up", retry_after=7200), [(b"retry-after", b"7200"), (b"x-should-retry", b"false")]),
        (UpstreamRefused("no"), [(b"x-should-retry", b"false")]),
        (UpstreamError("failed"), []),
    ],
)
def test_an_error_says_whether_to_try_again_where_that_is_known(error: RelayError, fields: object) -> None:
    """A window that is used up for hours must not make SDKs sleep for hours."""
    assert retry_fields(error) == fields
