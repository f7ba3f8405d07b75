"""Signatures cover exactly what goes out; the verifier, which shares no code with the signer, says so."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from relay_trio.vendors.bedrock.signing import AwsKeys, signed_headers
from relay_trio.wire.sigv4 import is_signature_of, parse_claim

KEYS = AwsKeys("AKIDEXAMPLE", "secret/+x", "token")
URL = "https://bedrock-runtime.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    "target",
    [
        "/model/eu.anthropic.claude-v1%3A0/invoke",
        "/model/eu.anthropic.claude-v1:0/invoke",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fm/invoke",
        "/inference-profiles?type=SYSTEM_DEFINED&maxResults=10&nextToken=a%2Fb%3D",
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff" * 5000], ids=len)
def test_the_signature_covers_method_target_headers_and_body(target: str, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-amzn-bedrock-trace", b"ENABLED  FULL")]
    built = signed_headers(KEYS, "eu-central-1", "POST", URL + target, headers, body)
    assert built[:2] == headers
    assert {name for name, _ in built[2:]} == {b"x-amz-date", b"x-amz-security-token", b"authorization"}
    arriving = [(b"host", b"bedrock-runtime.eu-central-1.amazonaws.com"), *built]
    claim = parse_claim(arriving)
    assert {"host", "content-type", "x-amzn-bedrock-trace", "x-amz-security-token"} < set(claim.signed_headers)
    assert claim.scope == f"{claim.date[:8]}/eu-central-1/bedrock/aws4_request"
    path, _, query = target.encode().partition(b"?")
    digest = hashlib.sha256(body).hexdigest()
    assert is_signature_of(claim, KEYS.secret_access_key, "POST", path, query, arriving, body_hash=digest)


def test_a_pair_without_a_token_sends_none_and_a_port_is_signed() -> None:
    built = signed_headers(AwsKeys("A" * 8, "s"), "us-east-1", "POST", "http://127.0.0.1:81/model/m/invoke", [], b"{}")
    assert {name for name, _ in built} == {b"x-amz-date", b"authorization"}
    arriving = [(b"host", b"127.0.0.1:81"), *built]
    digest = hashlib.sha256(b"{}").hexdigest()
    assert is_signature_of(parse_claim(arriving), "s", "POST", b"/model/m/invoke", b"", arriving, body_hash=digest)


def test_the_secret_is_not_shown() -> None:
    assert "secret/+x" not in repr(KEYS)
    assert "token" not in repr(KEYS).replace("session_token", "")


@pytest.mark.e2e
def test_a_relay_without_aws_accounts_does_not_import_botocore() -> None:
    """A tenth of a second at every start, for nothing."""
    code = (
        "import sys; import relay_trio.app, relay_trio.cli.main; "
        "from relay_trio.vendors.bedrock.provider import Bedrock; sys.exit('botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
