"""Google's envelope, and delays inside it."""

from __future__ import annotations

import email.utils
import json
import time
from typing import TYPE_CHECKING

import pytest

from relay_trio.simulator.vendors.gemini.errors import (
    delay_details,
    envelope,
    in_stream,
    no_credential,
    wrong_key,
    wrong_token,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["gemini-400", "gemini-403", "gemini-429", "gemini-503", "vertex-429"])
def test_the_envelope_is_that_of_documented_errors(corpus: Path, name: str) -> None:
    wanted = json.loads((corpus / "errors" / f"{name}.json").read_text())["body"]["error"]
    made = envelope(wanted["code"], "m", delay_details(wanted["code"], b"34.4" if wanted["code"] == 429 else None))
    assert made["error"]["status"] == wanted["status"]
    assert made["error"].keys() == wanted.keys()
    assert [d["@type"] for d in made["error"].get("details", [])] == [d["@type"] for d in wanted.get("details", [])]
    if wanted["code"] == 429:
        assert made["error"]["details"][-1] == wanted["details"][-1]


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("googleai__unary-failure-api-key", wrong_key(is_vertex=False)),
        ("errors/gemini-403", no_credential(is_vertex=False)),
    ],
)
def test_credentials_are_refused_as_recorded(corpus: Path, name: str, refused: Exception) -> None:
    path = corpus / (f"{name}.json" if "/" in name else f"firebase-gemini/{name}.json")
    document = json.loads(path.read_text())
    wanted = document.get("body", document)["error"]
    assert str(refused).startswith(wanted["message"])
    assert getattr(refused, "status", 0) == wanted["code"]
    if "details" in wanted:
        assert getattr(refused, "details", [])[0] == wanted["details"][0]


def test_vertex_speaks_of_tokens() -> None:
    missing, wrong = no_credential(is_vertex=True), wrong_token(is_vertex=True)
    assert (missing.status, missing.details[0]["reason"]) == (401, "CREDENTIALS_MISSING")
    assert (wrong.status, wrong.details[0]["metadata"]["service"]) == (401, "aiplatform.googleapis.com")


@pytest.mark.parametrize(("given", "reported"), [(b"7", "7s"), (b"34.4", "34.4s"), (b"-5", "-5s"), (b"soon", "soon")])
def test_a_delay_is_told_in_seconds(given: bytes, reported: str) -> None:
    assert delay_details(503, given)[0]["retryDelay"] == reported


def test_a_date_becomes_the_seconds_until_then() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True).encode()
    assert 95 <= int(delay_details(429, date)[-1]["retryDelay"].removesuffix("s")) <= 101
    assert delay_details(500, None) == []


def test_an_error_in_mid_stream_has_the_code_of_its_word() -> None:
    assert in_stream("")["error"]["status"] == "UNAVAILABLE"
    assert in_stream("CANCELLED")["error"]["code"] == 499
    assert in_stream("FROM_THE_FUTURE")["error"]["code"] == 500
    assert envelope(529, "m")["error"]["status"] == "UNKNOWN"
    assert envelope(418, "m")["error"]["status"] == "INVALID_ARGUMENT"
