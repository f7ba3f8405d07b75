"""Where an AWS credential comes from: the configuration, a profile, the environment, a role."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from relay_trio.errors import UpstreamRefused
from relay_trio.vendors.bedrock.credentials import chained_credential, fixed_credential
from relay_trio.vendors.bedrock.signing import AwsKeys
from tests.support.accounts import bedrock_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PAIR = {"access_key_id": "AKIAFIXED", "secret_access_key": "fixed"}
ROLE = {"assume_role_arn": "arn:aws:iam::123456789012:role/relay"}


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with nothing of AWS in it, and a folder for ``~/.aws``."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_what_stands_in_the_configuration_needs_nobody() -> None:
    key = fixed_credential(bedrock_settings(api_key="ABSK-key"))
    assert key is not None
    assert (key.value, key.expires_at) == ("ABSK-key", math.inf)
    pair = fixed_credential(bedrock_settings(**PAIR, session_token="t"))
    assert pair is not None
    assert pair.value == AwsKeys("AKIAFIXED", "fixed", "t")
    assert fixed_credential(bedrock_settings()) is fixed_credential(bedrock_settings(**PAIR, **ROLE)) is None


def test_a_profile_is_read_from_its_file(aws: Path) -> None:
    (aws / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = d\n"
        "[team]\naws_access_key_id = AKIATEAM\naws_secret_access_key = t\naws_session_token = k\n"
    )
    assert chained_credential(bedrock_settings(profile="team")).value == AwsKeys("AKIATEAM", "t", "k")
    assert chained_credential(bedrock_settings()).value == AwsKeys("AKIADEFAULT", "d", None)


def test_keys_in_a_file_are_read_again_so_that_they_can_be_rotated(aws: Path) -> None:
    (aws / "credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = d\n")
    assert 0 < chained_credential(bedrock_settings()).expires_at - time.time() <= 3600


def test_the_environment_is_asked_first(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "e")
    assert chained_credential(bedrock_settings()).value == AwsKeys("AKIAENV", "e", None)


def test_a_program_that_a_profile_names_tells_when_its_keys_run_out(aws: Path) -> None:
    moment = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    answer = {
        "Version": 1, "AccessKeyId": "ASIAPROGRAM", "SecretAccessKey": "p", "SessionToken": "t",
        "Expiration": moment.isoformat(),
    }  # fmt: skip
    (aws / "answer.json").write_text(json.dumps(answer))
    (aws / "config").write_text(f"[profile program]\ncredential_process = cat {aws / 'answer.json'}\n")
    found = chained_credential(bedrock_settings(profile="program"))
    assert found.value == AwsKeys("ASIAPROGRAM", "p", "t")
    assert found.expires_at == moment.timestamp()


@pytest.fixture
def service() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A token service and a container's credential service in one, on loopback: its address, and what it was sent."""
    received: list[tuple[str, str]] = []
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            received.append((self.path, self.headers.get("authorization", "")))
            keys = {"AccessKeyId": "ASIACONTAINER", "SecretAccessKey": "c", "Token": "ct", "Expiration": expires}
            self._answer(json.dumps(keys).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            received.append((body, self.headers.get("authorization", "")))
            self._answer(
                "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>"
                "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>r</SecretAccessKey><SessionToken>rt</SessionToken>"
                f"<Expiration>{expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>".encode()
            )

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


Service = tuple[str, list[tuple[str, str]]]


def test_a_containers_role_is_asked_of_its_service(
    aws: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service[0] + "/role")
    found = chained_credential(bedrock_settings())
    assert found.value == AwsKeys("ASIACONTAINER", "c", "ct")
    assert 3500 < found.expires_at - time.time() <= 3600


def test_a_role_is_assumed_with_the_accounts_own_keys(
    aws: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service[0])
    found = chained_credential(bedrock_settings(**PAIR, **ROLE))
    assert found.value == AwsKeys("ASIAROLE", "r", "rt")
    assert 3500 < found.expires_at - time.time() <= 3600
    [(body, authorization)] = service[1]
    assert "Action=AssumeRole" in body
    assert "role%2Frelay" in body
    assert "Credential=AKIAFIXED/" in authorization
    assert "/eu-central-1/sts/" in authorization


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "found nowhere"),
        ({"profile": "nobody"}, "profile not found"),
        ({"profile": "half"}, "partial credentials error"),
    ],
)
def test_what_cannot_be_had_is_told_without_a_secret(aws: Path, changes: dict[str, str], word: str) -> None:
    (aws / "credentials").write_text("[half]\naws_access_key_id = AKIACANARY\n")
    with pytest.raises(UpstreamRefused, match=word) as caught:
        chained_credential(bedrock_settings(**changes))
    assert "CANARY" not in str(caught.value)


def test_a_role_that_is_denied_is_told_by_its_code(
    aws: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    with pytest.raises(UpstreamRefused, match="endpoint connection error"):
        chained_credential(bedrock_settings(**PAIR, **ROLE))
