"""Who asks: the relay key, wherever SDKs put it."""

from __future__ import annotations

import pytest
import trio
from pydantic import SecretStr

from relay_trio.errors import AuthenticationFailed
from relay_trio.keys.ring import KeyRing
from relay_trio.settings import KeySettings
from relay_trio.web.auth import authenticate, presented_secrets

GOOD = "rt_good_canary"
RING_KEYS = [KeySettings(name="team", secret=SecretStr(GOOD)), KeySettings(name="other", secret=SecretStr("rt_other"))]

Header = tuple[bytes, bytes]


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing(None, RING_KEYS)


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
        ([(b"x-goog-api-key", b" a")], ["a"]),
        ([(b"cookie", b"x-api-key=a"), (b"x-amz-security-token", b"a")], []),
    ],
)
def test_every_credential_of_a_request_in_order(headers: list[Header], expected: list[str]) -> None:
    assert presented_secrets(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", GOOD.encode())],
        [(b"authorization", b"Bearer " + GOOD.encode())],
        [(b"x-api-key", b"sk-ant-theirs"), (b"authorization", b"Bearer " + GOOD.encode())],
        [(b"x-api-key", GOOD.encode()), (b"authorization", b"Bearer eyJ.theirs")],
    ],
)
async def test_any_of_them_may_be_the_relays(ring: KeyRing, headers: list[Header]) -> None:
    assert (await authenticate(ring, headers)).name == "team"


async def test_one_that_came_elsewhere_is_tried_last(ring: KeyRing) -> None:
    """Gemini's clients may have it in the query."""
    assert (await authenticate(ring, [], ["rt_nobodys", GOOD])).name == "team"
    assert (await authenticate(ring, [(b"x-goog-api-key", b"rt_other")], [GOOD])).name == "other"


async def test_of_two_good_ones_the_first_counts(ring: KeyRing) -> None:
    headers = [(b"authorization", b"Bearer rt_other"), (b"x-api-key", GOOD.encode())]
    assert (await authenticate(ring, headers)).name == "other"


async def test_without_any_the_client_is_told_where_it_goes(ring: KeyRing) -> None:
    with pytest.raises(AuthenticationFailed, match=r"x-api-key or as Authorization: Bearer"):
        await authenticate(ring, [(b"host", b"relay")])


@pytest.mark.parametrize(
    "secret",
    [b"rt_wrong", b"RT_GOOD_CANARY", GOOD.encode()[:-1], GOOD.encode() + b"x", b"\xff\xfe", b"\0", b"a" * 50_000],
)
async def test_an_unknown_one_is_refused_in_words_that_tell_nothing_of_keys(ring: KeyRing, secret: bytes) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        await authenticate(ring, [(b"x-api-key", secret)])
    assert refused.value.message == "the relay key is not valid"


async def test_cancelled_before_it_is_a_cancellation_not_a_refusal(ring: KeyRing) -> None:
    """Keys of the configuration need no reading, so there may be no checkpoint at all; never a wrong answer."""
    with trio.CancelScope() as scope:
        scope.cancel()
        assert (await authenticate(ring, [(b"x-api-key", GOOD.encode())])).name == "team"
