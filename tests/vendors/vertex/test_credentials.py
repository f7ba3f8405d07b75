"""Tokens: from a command, from a file, and from Google's library against a token service on loopback."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import google.auth
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from relay_trio.errors import UpstreamRefused
from relay_trio.vendors.vertex.credentials import access_token
from tests.support.accounts import vertex_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay_trio.vendors.vertex.settings import VertexSettings

CANARY = "canary-secret"
ANSWER = {"access_token": "ya29.minted", "expires_in": 3600, "token_type": "Bearer"}


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_prints_the_token_which_is_good_for_a_while() -> None:
    credential = access_token(vertex_settings(token_command=command("print('ya29.printed')")))
    assert credential.value == "ya29.printed"
    assert 120 < credential.expires_at - time.time() < 600


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (f"import sys; print('{CANARY}', file=sys.stderr); sys.exit(3)", "ended with 3"),
        ("print()", "no token"),
        (f"print('{CANARY} and more')", "no token"),
        (f"print('{CANARY}\\n{CANARY}')", "no token"),
        ("print('x' * 20000)", "no token"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "no token"),
    ],
)
def test_a_command_that_prints_no_token_is_refused_without_its_words(code: str, word: str) -> None:
    with pytest.raises(UpstreamRefused, match=word) as caught:
        access_token(vertex_settings(token_command=command(code)))
    assert CANARY not in str(caught.value)


def test_a_command_that_is_not_there_or_hangs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpstreamRefused, match="cannot be run"):
        access_token(vertex_settings(token_command=["/nowhere/at/all"]))
    monkeypatch.setattr("relay_trio.vendors.vertex.credentials._COMMAND_SECONDS", 0.2)
    with pytest.raises(UpstreamRefused, match="did not end"):
        access_token(vertex_settings(token_command=command("import time; time.sleep(60)")))


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    """Somebody else renews it."""
    path = tmp_path / "token"
    for token in ("ya29.one", "ya29.two"):
        path.write_text(f"{token}\n")
        assert access_token(vertex_settings(token_file=str(path))).value == token


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UpstreamRefused, match="cannot be read"):
        access_token(vertex_settings(token_file=str(tmp_path / "absent")))


# --- Google's library ---------------------------------------------------------------------------------------------


@contextmanager
def token_service(status: int = 200, answer: object = ANSWER) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Its URL, and the forms that it was sent."""
    forms: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            forms.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token", forms
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def service_account(url: str, private_key: str, **changes: object) -> VertexSettings:
    described = {
        "type": "service_account",
        "client_email": "relay@mine.iam.gserviceaccount.com",
        "private_key": private_key,
        "private_key_id": "1",
        "token_uri": url,
        **changes,
    }
    return vertex_settings(credentials=SecretStr(json.dumps(described)))


def test_a_service_account_signs_for_a_token(private_key: str) -> None:
    with token_service() as (url, forms):
        credential = access_token(service_account(url, private_key))
    assert credential.value == "ya29.minted"
    assert 3000 < credential.expires_at - time.time() <= 3600
    [form] = forms
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert form["assertion"][0].count(".") == 2


def test_a_token_service_that_refuses_is_an_error_without_its_words(private_key: str) -> None:
    refusal = {"error": "invalid_grant", "error_description": CANARY}
    with token_service(400, refusal) as (url, _), pytest.raises(UpstreamRefused, match="refresh error") as caught:
        access_token(service_account(url, private_key))
    assert CANARY not in str(caught.value)


def test_a_token_service_that_is_not_there_is_an_error(private_key: str) -> None:
    with pytest.raises(UpstreamRefused, match="transport error"):
        access_token(service_account("http://127.0.0.1:9/token", private_key))


@pytest.mark.parametrize(
    "described",
    [
        {"type": "service_account"},
        {"type": "service_account", "private_key": CANARY},
        {"type": "external_account"},
        {"type": "external_account", "credential_source": CANARY},
        {"type": "external_account", "credential_source": {"file": CANARY}, "audience": CANARY},
        {"type": "impersonated_service_account", "source_credentials": CANARY},
        {"type": "authorized_user", "refresh_token": CANARY},
    ],
)
def test_a_description_that_google_does_not_know_is_an_error_without_its_words(described: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        access_token(vertex_settings(credentials=SecretStr(json.dumps(described))))
    assert CANARY not in str(caught.value)


def test_workload_identity_exchanges_its_own_token_for_googles(tmp_path: Path) -> None:
    """The token of the workload, in a file, goes to Google's token service; nothing is stored."""
    (tmp_path / "token").write_text("eyJ.workload")
    answer = {**ANSWER, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    with token_service(answer=answer) as (url, forms):
        described = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": url,
            "credential_source": {"file": str(tmp_path / "token")},
        }
        credential = access_token(vertex_settings(credentials=SecretStr(json.dumps(described))))
    assert credential.value == "ya29.minted"
    assert forms[0]["subject_token"] == ["eyJ.workload"]


def test_without_any_the_machines_own_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds them is Google's; what is checked here is that it is asked, for the one scope that is needed."""
    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=1000)

    class Found:
        token = "ya29.machine"

        def __init__(self) -> None:
            self.expiry = expiry

        def refresh(self, request: object) -> None:
            assert callable(request)

    def default(scopes: tuple[str, ...]) -> tuple[Found, str]:
        assert scopes == ("https://www.googleapis.com/auth/cloud-platform",)
        return Found(), "project"

    monkeypatch.setattr(google.auth, "default", default)
    credential = access_token(vertex_settings())
    assert credential.value == "ya29.machine"
    assert 990 < credential.expires_at - time.time() <= 1000


def test_without_googles_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = vertex_settings()
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UpstreamRefused, match=r"relay-trio\[vertex\]"):
        access_token(settings)
