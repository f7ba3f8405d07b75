"""Signatures are verified as AWS verifies them: what botocore signs is accepted, and nothing else is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.sigv4 import is_signature_of, is_signed, parse_claim
from relay_trio.wire.wire_error import WireError
from tests.support.field_signer import FieldSigner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.wire.sigv4 import Claim

ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
Headers = list[tuple[bytes, bytes]]


def signed(
    path: str = "/model/m/invoke", query: str = "", body: bytes = b"{}", headers: dict[str, str] | None = None
) -> Headers:
    """Headers as they arrive, of a request that botocore signed."""
    url = f"http://127.0.0.1:8400{path}" + (f"?{query}" if query else "")
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json", **(headers or {})})
    SigV4Auth(Credentials(ID, SECRET), "bedrock", "eu-central-1").add_auth(request)
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.items()]
    return [(b"host", b"127.0.0.1:8400"), *sent]


def is_right(
    claim: Claim, headers: Headers, path: str = "/model/m/invoke", query: str = "", body: bytes = b"{}"
) -> bool:
    digest = hashlib.sha256(body).hexdigest()
    return is_signature_of(claim, SECRET, "POST", path.encode(), query.encode(), headers, body_hash=digest)


_MODEL = st.text(st.sampled_from("abz09.:/-_~@=,+! "), min_size=1, max_size=40).filter(lambda text: text.strip("."))
_WORD = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=10)


@given(model=_MODEL, body=st.binary(max_size=50), pairs=st.lists(st.tuples(_WORD, _WORD), max_size=3))
def test_what_botocore_signs_is_accepted(model: str, body: bytes, pairs: list[tuple[str, str]]) -> None:
    path = f"/model/{quote(model, safe='')}/invoke"
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    headers = signed(path, query, body)
    claim = parse_claim(headers)
    assert (claim.access_key_id, claim.region, claim.service) == (ID, "eu-central-1", "bedrock")
    assert is_right(claim, headers, path, query, body)


def test_a_path_with_raw_colons_is_accepted_as_its_client_signed_it() -> None:
    """One client escapes only the slashes of an ARN."""
    path = "/model/arn:aws:bedrock:eu-central-1:123456789012:inference-profile%2Feu.m-v1:0/invoke"
    headers = signed(path)
    assert is_right(parse_claim(headers), headers, path)


def test_white_space_in_a_header_does_not_matter() -> None:
    headers = signed(headers={"X-Amzn-Bedrock-Trace": "a b"})
    spread = [(name, b"  a   b " if value == b"a b" else value) for name, value in headers]
    assert is_right(parse_claim(spread), spread)


@pytest.mark.parametrize(
    "changes", [{"path": "/model/n/invoke"}, {"query": "a=b"}, {"body": b"{} "}], ids=["path", "query", "body"]
)
def test_another_request_is_not_what_was_signed(changes: dict[str, str]) -> None:
    headers = signed()
    assert not is_right(parse_claim(headers), headers, **changes)  # type: ignore[arg-type]


def test_a_changed_header_or_secret_is_noticed() -> None:
    headers = signed()
    changed = [(name, b"text/plain" if name == b"content-type" else value) for name, value in headers]
    assert not is_right(parse_claim(headers), changed)
    digest = hashlib.sha256(b"{}").hexdigest()
    claim = parse_claim(headers)
    assert not is_signature_of(claim, SECRET + "x", "POST", b"/model/m/invoke", b"", headers, body_hash=digest)


def test_a_bearer_token_is_no_signature() -> None:
    assert not is_signed([(b"authorization", b"Bearer x")])
    assert not is_signed([(b"x-amz-date", b"20260101T000000Z")])
    assert is_signed(signed())


# --- pseudo-header fields of HTTP/2 -------------------------------------------------------------------------------


PSEUDO_FIELDS = {
    ":authority": "127.0.0.1:8400",
    ":method": "POST",
    ":path": "/model/m%3A0/invoke?a=b",
    ":scheme": "https",
}


def pseudo_signed(fields: Mapping[str, str]) -> Headers:
    request = AWSRequest("POST", "http://127.0.0.1:8400/model/m%3A0/invoke?a=b", data=b"{}")
    FieldSigner(Credentials(ID, SECRET), "bedrock", "eu-central-1", fields).add_auth(request)
    sent = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return [(b"host", b"127.0.0.1:8400"), *sent]


@pytest.mark.parametrize(
    "names",
    [
        [":authority"],
        [":authority", ":method", ":path", ":scheme"],
        [":authority", "host"],
        [":path", "host"],
    ],
    ids=lambda names: " ".join(names),
)
def test_a_signature_over_pseudo_header_fields_is_accepted(names: list[str]) -> None:
    """Any field that RFC 9113 section 8.3.1 gives a request; the authority is covered by one of its names."""
    values = {"host": PSEUDO_FIELDS[":authority"], **PSEUDO_FIELDS}
    headers = pseudo_signed({name: values[name] for name in names})
    claim = parse_claim(headers)
    assert set(names) <= set(claim.signed_headers)
    assert is_right(claim, headers, "/model/m%3A0/invoke", "a=b")


def test_the_scheme_that_was_signed_may_be_the_one_before_a_proxy_ended_tls() -> None:
    for scheme in ("http", "https"):
        headers = pseudo_signed({"host": "127.0.0.1:8400", ":scheme": scheme})
        assert is_right(parse_claim(headers), headers, "/model/m%3A0/invoke", "a=b")
    headers = pseudo_signed({"host": "127.0.0.1:8400", ":scheme": "ftp"})
    assert not is_right(parse_claim(headers), headers, "/model/m%3A0/invoke", "a=b")


@pytest.mark.parametrize("name", [name for name in PSEUDO_FIELDS])
def test_another_value_of_a_pseudo_header_field_is_noticed(name: str) -> None:
    values = PSEUDO_FIELDS | {name: PSEUDO_FIELDS[name] + "x"}
    headers = pseudo_signed(values)
    assert not is_right(parse_claim(headers), headers, "/model/m%3A0/invoke", "a=b")


def test_another_host_than_the_authority_that_was_signed_is_noticed() -> None:
    headers = _with(pseudo_signed({":authority": "127.0.0.1:8400"}), b"host", b"127.0.0.1:8401")
    assert not is_right(parse_claim(headers), headers, "/model/m%3A0/invoke", "a=b")


def test_what_the_aws_sdk_for_javascript_signed_over_http2_is_accepted() -> None:
    """client-bedrock-runtime 3.1164.0 with its defaults, as it arrived; its unsigned headers are left out."""
    body = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
    headers = [
        (b"host", b"127.0.0.1:35759"),
        (b"content-type", b"application/json"),
        (b"content-length", b"56"),
        (b"x-amz-user-agent", b"aws-sdk-js/3.1163.0"),
        (b"amz-sdk-invocation-id", b"a69c5265-8d46-4608-990b-d7d4632a4033"),
        (b"amz-sdk-request", b"attempt=1; max=1"),
        (b"x-amz-date", b"20261129T093456Z"),
        (b"x-amz-content-sha256", b"c3335e07d6e89650bf94cb98664be69f8774dbc3198df221f113db0a59ea14f0"),
        (
            b"authorization",
            b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261129/eu-central-1/bedrock/aws4_request, SignedHeaders="
            b":authority;amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;x-amz-content-sha256;"
            b"x-amz-date;x-amz-user-agent, "
            b"Signature=cf22fef9ff6a13b646148090bdba1ce98c577c0bee6480a42daba8434046f41b",
        ),
    ]
    claim = parse_claim(headers)
    assert is_right(claim, headers, "/model/anthropic.claude%3A0/converse-stream", body=body)
    assert not is_right(claim, _with(headers, b"host", b"127.0.0.1:1"), "/model/anthropic.claude%3A0/converse-stream")


def _with(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [(key, value if key == name else old) for key, old in headers]


def _edited(old: bytes, new: bytes) -> Headers:
    headers = signed()
    return [(name, value.replace(old, new) if name == b"authorization" else value) for name, value in headers]


BAD: dict[str, Headers] = {
    "nothing": [],
    "no date": [pair for pair in signed() if pair[0] != b"x-amz-date"],
    "two dates": [*signed(), (b"x-amz-date", b"20260101T000000Z")],
    "two signatures": [*signed(), (b"authorization", b"AWS4-HMAC-SHA256 x")],
    "date of another form": _with(signed(), b"x-amz-date", b"2026-01-01T00:00:00Z"),
    "date of another day": _with(signed(), b"x-amz-date", b"20010101T000000Z"),
    "another algorithm": _edited(b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256"),
    "host is not signed": _edited(b"content-type;host;", b"content-type;"),
    "no authority is signed": _edited(b"content-type;host;", b":method;:path;:scheme;content-type;"),
    "a status is signed": _edited(b"content-type;host;", b":status;content-type;host;"),
    "an authority without a host": [pair for pair in pseudo_signed({":authority": "h"}) if pair[0] != b"host"],
    "headers not in order": _edited(b"content-type;host", b"host;content-type"),
    "a header signed twice": _edited(b"content-type;host", b"content-type;host;host"),
    "a signed header was not sent": [pair for pair in signed() if pair[0] != b"content-type"],
    "an unsigned x-amz header": [*signed(), (b"x-amz-meta", b"1")],
    "an unsigned token": [*signed(), (b"x-amz-security-token", b"1")],
    "unsigned payload": signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}),
    "streaming payload": signed(headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}),
    "no signature": _edited(b"Signature=", b"Sig="),
    "long signature": [(name, value + b"0" if name == b"authorization" else value) for name, value in signed()],
}


@pytest.mark.parametrize("case", BAD)
def test_a_claim_that_leaves_something_open_is_refused(case: str) -> None:
    with pytest.raises(WireError):
        parse_claim(BAD[case])


def test_a_body_hash_in_a_header_is_part_of_the_claim() -> None:
    digest = hashlib.sha256(b"{}").hexdigest()
    headers = signed(headers={"X-Amz-Content-SHA256": digest})
    claim = parse_claim(headers)
    assert claim.body_hash == digest
    assert is_right(claim, headers)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_no_bytes_make_it_raise_anything_else(authorization: bytes, date: bytes) -> None:
    headers = [(b"authorization", b"AWS4-HMAC-SHA256 " + authorization), (b"x-amz-date", date), (b"host", b"h")]
    with pytest.raises(WireError):
        parse_claim(headers)
