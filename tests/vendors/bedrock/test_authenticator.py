"""Who an AWS SDK that signs is: only the pair of a key that works counts, for this request, now."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from relay_trio.config import Settings
from relay_trio.errors import AuthenticationFailed
from relay_trio.keys.access_pairs import AccessPairs
from relay_trio.keys.client_key import ClientKey
from relay_trio.keys.key_store import open_key_store
from relay_trio.keys.ring import KeyRing, open_key_ring
from relay_trio.server.h2_frames import read_request
from relay_trio.vendors.bedrock import authenticator
from relay_trio.vendors.bedrock.dialect import BedrockDialect
from relay_trio.web.auth import authenticate
from tests.support.client_requests import client_head
from tests.support.field_signer import FieldSigner

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.keys.access_pairs import AccessKeyPair
    from relay_trio.server.client_request import ClientRequest

MASTER = "m" * 32
REGION = "eu-central-1"
PATH = "/model/x.m/invoke"


def settings(**server: Any) -> Settings:
    account = {
        "name": "b", "provider": "bedrock", "region": REGION, "api_key": "k", "max_concurrency": 1,
    }  # fmt: skip
    return Settings.model_validate({"server": {"sigv4_secret": MASTER} | server, "account": [account]})


async def identify(
    keys: KeyRing, head: ClientRequest, by: Settings | None = None
) -> tuple[ClientKey, BodyCheck | None]:
    return await authenticate(keys, BedrockDialect(), head, by or settings())


def ring(secret: str = "rt_1") -> KeyRing:
    return KeyRing(None, Settings.model_validate({"key": [{"name": "team", "secret": secret}]}).key)


async def pair(keys: KeyRing, key_id: str = "cfg_team") -> AccessKeyPair:
    key = await keys.find(key_id)
    assert key is not None
    return AccessPairs(MASTER).pair_of(key)


def head_with(*headers: tuple[bytes, bytes]) -> ClientRequest:
    return client_head("POST", PATH.encode(), b"", [(b"host", b"h:1"), *headers])


def signed(
    pair: AccessKeyPair, body: bytes = b"{}", *, region: str = REGION, service: str = "bedrock", host: str = "h:1",
    **headers: str,
) -> ClientRequest:  # fmt: skip
    """A request that botocore signed with ``pair``."""
    request = AWSRequest("POST", f"http://{host}{PATH}", data=body, headers=headers)
    SigV4Auth(Credentials(pair.access_key_id, pair.secret_access_key), service, region).add_auth(request)
    return head_with(*((name.lower().encode(), value.encode()) for name, value in request.headers.items()))


async def refusal(
    request: ClientRequest, *, keys: KeyRing | None = None, by: Settings | None = None, body: bytes = b"{}"
) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        _, signature = await identify(keys or ring(), request, by)
        assert signature is not None
        signature.check(body)
    return caught.value.message


async def test_the_pair_of_a_key_is_that_key_once_the_body_is_proved() -> None:
    keys = ring()
    key, signature = await identify(keys, signed(await pair(keys)))
    assert key.id == "cfg_team"
    assert signature is not None
    signature.check(b"{}")
    with pytest.raises(AuthenticationFailed):
        signature.check(b"{} ")


async def test_a_relay_key_as_api_key_needs_no_more_proof() -> None:
    for name, value in ((b"authorization", b"Bearer rt_1"), (b"x-api-key", b"rt_1")):
        key, signature = await identify(ring(), head_with((name, value)))
        assert (key.id, signature) == ("cfg_team", None)
    with pytest.raises(AuthenticationFailed):
        await identify(ring(), head_with((b"authorization", b"Bearer rt_2")))
    with pytest.raises(AuthenticationFailed):
        await identify(ring(), head_with())


async def test_a_client_that_signs_the_host_without_its_port_is_known() -> None:
    keys = ring()
    _, signature = await identify(keys, signed(await pair(keys), host="h"))
    assert signature is not None
    signature.check(b"{}")


@pytest.mark.parametrize("sent", [[":authority"], ["host"], [":authority", "host"]], ids=lambda names: " ".join(names))
@pytest.mark.parametrize("named", [[":authority"], ["host"], [":authority", "host"]], ids=lambda names: " ".join(names))
@pytest.mark.parametrize("signed_host", ["h:1", "h"])
async def test_over_http2_the_authority_is_known_by_either_name(
    signed_host: str, named: list[str], sent: list[str]
) -> None:
    """Whichever field holds it and whichever was signed: RFC 9113 section 8.3.1 makes them the same."""
    keys = ring()
    own = await pair(keys)
    request = AWSRequest("POST", f"http://h:1{PATH}", data=b"{}")
    credentials = Credentials(own.access_key_id, own.secret_access_key)
    FieldSigner(credentials, "bedrock", REGION, dict.fromkeys(named, signed_host)).add_auth(request)
    fields = {":method": "POST", ":path": PATH, ":scheme": "http"} | dict.fromkeys(sent, "h:1")
    block = [(name.lower().encode(), value.encode()) for name, value in (*fields.items(), *request.headers.items())]
    head = read_request(block, has_body=True)
    assert head is not None
    _, signature = await identify(keys, client_head("POST", head.raw_path, head.query, head.headers))
    assert signature is not None
    signature.check(b"{}")


async def test_another_secret_is_nobodys() -> None:
    keys = ring()
    own = await pair(keys)
    assert "not valid" in await refusal(signed(dataclasses.replace(own, secret_access_key="wrong")))
    stranger = dataclasses.replace(own, access_key_id="AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(AuthenticationFailed):  # before any body
        await identify(keys, signed(stranger))


async def test_a_key_whose_secret_changed_has_another_pair() -> None:
    assert "not valid" in await refusal(signed(await pair(ring())), keys=ring("rt_2"))


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_a_signature_of_another_time_is_refused(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ring()
    request = signed(await pair(keys))
    now = time.time()
    monkeypatch.setattr(authenticator.time, "time", lambda: now + seconds)
    assert "more than 300 seconds" in await refusal(request)


@pytest.mark.parametrize("seconds", [-290, 290])
async def test_a_clock_may_be_a_little_wrong(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ring()
    request = signed(await pair(keys))
    now = time.time()
    monkeypatch.setattr(authenticator.time, "time", lambda: now + seconds)
    assert (await identify(keys, request))[0].id == "cfg_team"


@pytest.mark.parametrize("scoped", [{"region": "us-east-1"}, {"service": "s3"}])
async def test_a_signature_for_another_region_or_service_is_refused(scoped: dict[str, str]) -> None:
    assert "bedrock in eu-central-1" in await refusal(signed(await pair(ring()), **scoped))


async def test_a_body_that_is_left_open_is_refused() -> None:
    own = await pair(ring())
    unsigned = signed(own, **{"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert "body" in await refusal(unsigned)
    declared = signed(own, **{"X-Amz-Content-SHA256": "0" * 64})
    assert "body" in await refusal(declared)


async def test_without_a_master_secret_no_signature_counts() -> None:
    assert "sigv4_secret" in await refusal(signed(await pair(ring())), by=settings(sigv4_secret=None))


async def test_a_signature_that_cannot_be_read_is_refused() -> None:
    assert "authorization" in await refusal(head_with((b"authorization", b"AWS4-HMAC-SHA256 x")))


async def test_a_revoked_key_takes_its_pair_with_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with open_key_store(path) as store:
        key, _ = store.create("team")
    keys = await open_key_ring(path)
    request = signed(await pair(keys, key.id))
    assert (await identify(keys, request))[0].id == key.id
    with open_key_store(path) as store:
        store.revoke(key.id)
    keys = await open_key_ring(path)
    with pytest.raises(AuthenticationFailed):
        await identify(keys, request)


async def test_settings_that_change_are_followed() -> None:
    """Nothing of them is kept between two requests."""
    keys = ring()
    request = signed(await pair(keys), region="us-east-1")
    assert "bedrock in eu-central-1" in await refusal(request, keys=keys)
    moved = settings()
    account = moved.account[0].model_copy(update={"region": "us-east-1"})
    key, _ = await identify(keys, request, moved.model_copy(update={"account": (account,)}))
    assert key.id == "cfg_team"


def test_the_lines_for_a_client_hold_the_pair_of_its_key() -> None:
    key = ClientKey("k_01", "team", b"digest", "last")
    accounts = settings().account
    lines = "\n".join(authenticator.SigV4Authenticator().client_lines("http://relay", key, MASTER, accounts))
    pair = AccessPairs(MASTER).pair_of(key)
    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://relay\n" in lines
    assert f"AWS_REGION={REGION}" in lines
    assert f"AWS_ACCESS_KEY_ID={pair.access_key_id} AWS_SECRET_ACCESS_KEY={pair.secret_access_key}" in lines
