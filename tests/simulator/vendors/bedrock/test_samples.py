"""Bedrock's sample requests and account; what every vendor's must keep is in ``vendors/test_registry``."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.bedrock.samples import MODEL, SAMPLES, converse, invoke
from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS


@pytest.mark.parametrize(
    ("target", "verb"),
    [
        (invoke(Prompt("hi", 5, "k")).target, "invoke-with-response-stream"),
        (invoke(Prompt("hi", 5, "k", is_stream=False)).target, "invoke"),
        (converse(Prompt("hi", 5, "k")).target, "converse-stream"),
        (converse(Prompt("hi", 5, "k", is_stream=False)).target, "converse"),
    ],
)
def test_the_path_has_the_escaped_model_and_the_verb(target: str, verb: str) -> None:
    assert target.split("/")[3:] == [verb]
    assert unquote(target.split("/")[2]) == MODEL
    assert ":" not in target


def test_the_account_signs_with_a_pair_that_the_simulator_verifies() -> None:
    (account,) = SAMPLES.accounts
    assert account.settings["secret_access_key"] == ACCESS_KEYS[str(account.settings["access_key_id"])].secret
    assert account.credential == account.settings["access_key_id"]
    assert "api_key" not in account.settings
