"""Who a client is: by any of the secrets that its dialect finds in a request, or by a signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from pydantic import SecretStr

from relay_trio.config import Settings
from relay_trio.errors import AuthenticationFailed
from relay_trio.keys.ring import KeyRing
from relay_trio.settings import KeySettings
from relay_trio.vendors.claude.dialect import ClaudeDialect
from relay_trio.web.auth import authenticate
from tests.support.client_requests import client_head

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.dialect import Dialect
    from relay_trio.http import ClientHead
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.server.client_request import ClientRequest

GOOD = "rt_good_canary"
RING_KEYS = [KeySettings(name="team", secret=SecretStr(GOOD)), KeySettings(name="other", secret=SecretStr("rt_other"))]
SETTINGS = Settings()

Header = tuple[bytes, bytes]


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing(None, RING_KEYS)


def head_with(*headers: Header) -> ClientRequest:
    return client_head("POST", b"/v1/messages", b"", list(headers))


async def key_of(ring: KeyRing, *headers: Header) -> str:
    key, body_check = await authenticate(ring, ClaudeDialect(), head_with(*headers), SETTINGS)
    assert body_check is None
    return key.name


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
    assert await key_of(ring, *headers) == "team"


async def test_of_two_good_ones_the_first_counts(ring: KeyRing) -> None:
    assert await key_of(ring, (b"authorization", b"Bearer rt_other"), (b"x-api-key", GOOD.encode())) == "other"


async def test_without_any_the_client_is_told_where_it_goes(ring: KeyRing) -> None:
    with pytest.raises(AuthenticationFailed, match=r"x-api-key or as Authorization: Bearer"):
        await key_of(ring, (b"host", b"relay"))


@pytest.mark.parametrize(
    "secret",
    [b"rt_wrong", b"RT_GOOD_CANARY", GOOD.encode()[:-1], GOOD.encode() + b"x", b"\xff\xfe", b"\0", b"a" * 50_000],
)
async def test_an_unknown_one_is_refused_in_words_that_say_nothing_of_keys(ring: KeyRing, secret: bytes) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        await key_of(ring, (b"x-api-key", secret))
    assert refused.value.message == "the relay key is not valid"


async def test_cancelled_before_it_is_a_cancellation_not_a_refusal(ring: KeyRing) -> None:
    """Keys of the configuration need no reading, so there may be no checkpoint at all; never a wrong answer."""
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await key_of(ring, (b"x-api-key", GOOD.encode())) == "team"


# --- signatures ---------------------------------------------------------------------------------------------------


@dataclass
class Signed:
    """A signed head, and its authenticator."""

    key_id: str | None
    body_check: Any = field(default_factory=object)

    def signed_head(self, head: ClientHead, settings: object) -> Signed | None:
        assert settings is SETTINGS
        return self if any(name == b"signature" for name, _ in head.headers) else None

    def verified(self, key: ClientKey | None) -> tuple[ClientKey, BodyCheck]:
        if key is None:
            raise AuthenticationFailed("nobody's")
        return key, self.body_check


def signing(authenticator: Signed) -> Dialect:
    dialect = ClaudeDialect()
    dialect.authenticator = cast("Any", authenticator)
    return dialect


async def test_a_signature_is_looked_at_before_any_secret(ring: KeyRing) -> None:
    signed = Signed("cfg_other")
    head = head_with((b"signature", b""), (b"x-api-key", GOOD.encode()))
    key, body_check = await authenticate(ring, signing(signed), head, SETTINGS)
    assert (key.name, body_check) == ("other", signed.body_check)


async def test_without_a_signature_a_secret_will_do(ring: KeyRing) -> None:
    key, body_check = await authenticate(ring, signing(Signed("x")), head_with((b"x-api-key", GOOD.encode())), SETTINGS)
    assert (key.name, body_check) == ("team", None)


@pytest.mark.parametrize("key_id", [None, "k_99"])
async def test_a_pair_of_no_key_is_nobodys(ring: KeyRing, key_id: str | None) -> None:
    with pytest.raises(AuthenticationFailed, match="nobody's"):
        await authenticate(ring, signing(Signed(key_id)), head_with((b"signature", b"")), SETTINGS)
