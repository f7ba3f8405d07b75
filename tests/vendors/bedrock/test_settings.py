"""What an account of provider bedrock may and must have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.vendors.bedrock.settings import REGIONS

if TYPE_CHECKING:
    from tests.support.relay_toml import Load, Problems

PLAIN = '[[account]]\nname = "b"\nprovider = "bedrock"\nmax_concurrency = 1\n'
WHERE = 'region = "eu-central-1"\n'
KEY = 'api_key = "env:ANTHROPIC_API_KEY"\n'
PAIR = 'access_key_id = "env:ANTHROPIC_API_KEY"\nsecret_access_key = "env:ANTHROPIC_API_KEY"\n'


def test_a_region_is_enough_and_the_chain_proves_the_rest(load_text: Load) -> None:
    [account] = load_text(account=PLAIN + WHERE).account
    assert account.api_key is account.access_key_id is account.profile is None


def test_models_are_bedrocks_own_and_those_that_are_translated(load_text: Load) -> None:
    """A Claude name without a translation would only be refused upstream."""
    ids = '[account.model_ids]\n"claude-x" = "eu.anthropic.claude-x-v1:0"\n'
    [account] = load_text(account=PLAIN + WHERE + ids).account
    assert account.models == ("[a-z]*.[a-z]*", "arn:*", "claude-x")
    assert account.model_ids == {"claude-x": "eu.anthropic.claude-x-v1:0"}


def test_models_that_are_given_are_those(load_text: Load) -> None:
    [account] = load_text(account=PLAIN + WHERE + 'models = ["eu.*"]\n').account
    assert account.models == ("eu.*",)


@pytest.mark.parametrize(
    ("more", "key", "word"),
    [
        ("", "region", "required"),
        ('region = "eu-nowhere-9"\n', "region", "base_url"),
        *(
            (f'region = "{region}"\nbase_url = "https://x.example"\n', "region", "name of an AWS region")
            for region in ("evil.example/", "eu-central-1.evil.example", "EU-CENTRAL-1", "", "eu-central-1#", "a@b")
        ),
        (WHERE + 'access_key_id = "env:ANTHROPIC_API_KEY"\n', "secret_access_key", "other half"),
        (WHERE + 'secret_access_key = "env:ANTHROPIC_API_KEY"\n', "access_key_id", "other half"),
        (WHERE + 'session_token = "env:ANTHROPIC_API_KEY"\n', "session_token", "belongs to"),
        (WHERE + KEY + 'profile = "p"\n', "profile", "one way"),
        (WHERE + KEY + PAIR, "access_key_id", "one way"),
        (WHERE + 'profile = "p"\n' + PAIR, "profile", "one way"),
        (WHERE + 'assume_role_arn = "role/relay"\n', "assume_role_arn", "arn:aws:iam"),
        (WHERE + 'model_ids = { "a b" = "c" }\n', "model_ids.a b.[key]", "name of a model"),
        (WHERE + 'model_ids = { a = "../b" }\n', "model_ids.a", "name of a model"),
    ],
)
def test_what_does_not_fit_is_a_problem_of_its_setting(problems_of: Problems, more: str, key: str, word: str) -> None:
    problems = problems_of(account=PLAIN + more)
    assert list(problems) == [f"account[0].{key}"]
    assert word in problems[f"account[0].{key}"]


def test_a_region_too_new_for_the_list_is_reached_by_its_host(load_text: Load) -> None:
    more = 'region = "mars-north-1"\nbase_url = "https://bedrock-runtime.mars-north-1.amazonaws.com"\n'
    assert load_text(account=PLAIN + more).account[0].region == "mars-north-1"
    assert "mars-north-1" not in REGIONS


@pytest.mark.parametrize(
    "setting",
    ['region = "eu-central-1"', 'profile = "p"', 'access_key_id = "env:ANTHROPIC_API_KEY"', 'model_ids = { a = "b" }'],
)
def test_settings_of_bedrock_are_no_others(problems_of: Problems, setting: str) -> None:
    account = PLAIN.replace("bedrock", "anthropic") + 'api_key = "env:ANTHROPIC_API_KEY"\n' + setting
    assert list(problems_of(account=account).values()) == ['is only for provider = "bedrock"']


def test_the_signing_secret_is_long_enough_to_derive_from(problems_of: Problems, load_text: Load) -> None:
    [problem] = problems_of('[server]\nsigv4_secret = "env:S"\n', {"S": "short"}).values()
    assert "32 characters" in problem
    assert "short" not in problem
    assert load_text('[server]\nsigv4_secret = "env:S"\n', {"S": "x" * 32}).server.sigv4_secret is not None


@pytest.mark.parametrize(("region", "meant"), [("eu-centrl-1", "eu-central-1"), ("us_east_1", "us-east-1")])
def test_a_region_that_was_misspelt_is_suggested(problems_of: Problems, region: str, meant: str) -> None:
    problems = problems_of(account=PLAIN + f'region = "{region}"\n')
    assert problems["account[0].region"].endswith(f"   did you mean {meant}?")
