"""Each kind of value: what it takes, and the words of its refusal."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from pydantic import TypeAdapter, ValidationError

from relay_trio.api.operation import checked_model
from relay_trio.errors import BadRequest
from relay_trio.settings.values import Patterns
from tests.support.relay_toml import ACCOUNT

if TYPE_CHECKING:
    from tests.support.relay_toml import Load, Problems


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"ten"', 'must be a whole number, got "ten"'),
        ("1.5", "must be a whole number, got 1.5"),
        ("true", "must be a number, got true"),
        ("0", "must be at least 1, got 0"),
        ("-3", "must be at least 1, got -3"),
        ("100001", "must be at most 100000, got 100001"),
        ("0x" + "f" * 5000, "must be at most 100000, got a number beyond 64 bits"),
        ("[1]", "must be a whole number, got a list"),
        ("2026-01-01", "must be a whole number, got a date or a time"),
    ],
)
def test_a_count_is_a_whole_number_in_its_range(problems_of: Problems, value: str, message: str) -> None:
    assert problems_of(account=ACCOUNT.replace("16", value)) == {"account[0].max_concurrency": message}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "must be more than 0, got 0"),
        ("-1.5", "must be more than 0, got -1.5"),
        ("inf", "must be a number, got inf"),
        ("nan", "must be a number, got nan"),
        ('"5s"', 'must be a number, got "5s"'),
        ("false", "must be a number, got false"),
        ("1e9", "must be at most 604800, got 1000000000.0"),
    ],
)
def test_a_time_is_a_number_of_seconds_above_zero(problems_of: Problems, value: str, message: str) -> None:
    problems = problems_of(f"[timeouts]\nidle_timeout_seconds = {value}\n")
    assert problems == {"timeouts.idle_timeout_seconds": message}


@pytest.mark.parametrize("value", ["-0.1", "1.1"])
def test_a_ratio_is_from_zero_to_one(problems_of: Problems, value: str) -> None:
    assert list(problems_of(f"[retry]\nbudget_ratio = {value}\n")) == ["retry.budget_ratio"]


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example", "https://app.example/", "https://App.example", "ftp://a"]
)
def test_an_origin_is_written_as_browsers_write_it(problems_of: Problems, origin: str) -> None:
    (place,) = problems_of(f'[server]\ncors_origins = ["https://app.example:8443", "{origin}"]\n')
    assert place.startswith("server.cors_origins")


@pytest.mark.parametrize("name", ["", "a b", "-a", "ä", "a" * 64, "a{b}", "a\\n"])
def test_a_name_is_safe_as_a_metric_label(problems_of: Problems, name: str) -> None:
    assert list(problems_of(account=ACCOUNT.replace("claude-a", name))) == ["account[0].name"]


@pytest.mark.parametrize(
    ("base_url", "hint"),
    [
        ("api.anthropic.com", "must be https://"),
        ("ftp://host", "must be https://"),
        ("https://", "must be https://"),
        ("https://host:port", "must be https://"),
        ("https://[::1", "must be https://"),
        ("https://host/?a=b", "query"),
        ("https://host/#a", "fragment"),
        ("https://user:hunter2@host", "user or a password"),
        ("http://host", "must be https://"),
        ("http://10.0.0.1:8400", "must be https://"),
    ],
)
def test_a_base_url_is_https_and_nothing_but_a_place(problems_of: Problems, base_url: str, hint: str) -> None:
    problems = problems_of(account=ACCOUNT + f'base_url = "{base_url}"\n')
    assert list(problems) == ["account[0].base_url"]
    assert hint in problems["account[0].base_url"]
    assert "hunter2" not in problems["account[0].base_url"]


@pytest.mark.parametrize(
    ("base_url", "kept"),
    [
        ("https://host", "https://host"),
        ("https://host:8443/proxy/", "https://host:8443/proxy"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("http://localhost:9/", "http://localhost:9"),
    ],
)
def test_http_is_for_loopback(load_text: Load, base_url: str, kept: str) -> None:
    assert load_text(account=ACCOUNT + f'base_url = "{base_url}"\n').account[0].base_url == kept


def test_allow_insecure_allows_http_to_other_machines(load_text: Load) -> None:
    settings = load_text("[server]\nallow_insecure = true\n", account=ACCOUNT + 'base_url = "http://host"\n')
    assert settings.account[0].base_url == "http://host"


@pytest.mark.parametrize("secret", ["", "with space", "line\nbreak", "tab\t", "nul\0", "umlaut-ä"])
def test_a_secret_that_cannot_travel_in_a_header_is_refused_unseen(problems_of: Problems, secret: str) -> None:
    problems = problems_of(environ={"ANTHROPIC_API_KEY": secret})
    assert list(problems) == ["account[0].api_key"]
    assert not secret or secret not in problems["account[0].api_key"]


def test_a_list_may_be_one_text_with_commas(load_text: Load) -> None:
    settings = load_text(account=ACCOUNT + 'models = "claude-*, other-*"\n')
    assert settings.account[0].models == ("claude-*", "other-*")


@pytest.mark.parametrize("models", ["[]", '[""]', '[" a"]', "[1]", "3"])
def test_patterns_are_texts_and_at_least_one(problems_of: Problems, models: str) -> None:
    assert problems_of(account=ACCOUNT + f"models = {models}\n").keys() <= {
        "account[0].models",
        "account[0].models[0]",
    }


@pytest.mark.parametrize("pattern", ["claude opus", "-large", "/x", "a..b", "#1", "modèle", "a?b#c"])
def test_a_pattern_that_no_name_can_match_is_refused(problems_of: Problems, pattern: str) -> None:
    message = problems_of(account=ACCOUNT + f'models = ["claude-*", "{pattern}"]\n')["account[0].models[1]"]
    assert message.startswith("must be a pattern that a model name can match")


@pytest.mark.parametrize("character", sorted(set(string.printable) - set("*?[]")))
def test_patterns_have_the_characters_of_model_names(character: str) -> None:
    """The two alphabets stand on different floors; they are the same but for those of patterns."""
    name = f"a{character}b"
    try:
        is_name = checked_model(name) == name
    except BadRequest:
        is_name = False
    try:
        is_pattern = TypeAdapter(Patterns).validate_python([name]) == (name,)
    except ValidationError:
        is_pattern = False
    assert is_name == is_pattern
