"""What an account of provider vertex may and must have; and what others may not."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.relay_toml import Load, Problems

PLAIN = '[[account]]\nname = "v"\nprovider = "vertex"\nmax_concurrency = 1\n'
PROJECT = 'project = "my-ai"\n'
WHERE = PROJECT + 'location = "europe-west4"\n'
KEY = 'api_key = "env:ANTHROPIC_API_KEY"\n'
CREDENTIALS = 'credentials = "env:SERVICE_ACCOUNT"\n'
ENVIRON = {"SERVICE_ACCOUNT": '{"type": "service_account"}'}
COMMAND = 'token_command = ["gcloud", "auth", "print-access-token"]\n'


def test_project_and_location_are_enough_and_the_machine_proves_the_rest(load_text: Load) -> None:
    [account] = load_text(account=PLAIN + WHERE).account
    assert account.api_key is account.credentials is account.token_command is account.token_file is None


def test_a_key_alone_is_express_mode(load_text: Load) -> None:
    [account] = load_text(account=PLAIN + KEY).account
    assert account.project is account.location is None


def test_a_token_file_stands_beside_the_configuration(load_text: Load, tmp_path: Path) -> None:
    [account] = load_text(account=PLAIN + WHERE + 'token_file = "token"\n').account
    assert account.token_file is not None
    assert account.token_file.is_absolute()
    assert account.token_file.name == "token"


def test_credentials_are_a_reference_to_googles_json(load_text: Load) -> None:
    [account] = load_text(environ=ENVIRON, account=PLAIN + WHERE + CREDENTIALS).account
    assert account.credentials is not None
    assert "service_account" not in repr(account)


@pytest.mark.parametrize("project", ["my-ai", "123456789012", "example.com:my-ai"])
def test_projects_have_ids_and_numbers(load_text: Load, project: str) -> None:
    text = PLAIN + f'project = "{project}"\nlocation = "global"\n' + COMMAND
    assert load_text(account=text).account[0].project == project


@pytest.mark.parametrize("location", ["global", "us", "eu", "us-central1", "northamerica-northeast2", "me-west1"])
def test_locations_are_regions_continents_and_all_of_them(load_text: Load, location: str) -> None:
    text = PLAIN + PROJECT + f'location = "{location}"\n' + COMMAND
    assert load_text(account=text).account[0].location == location


@pytest.mark.parametrize(
    ("more", "key", "word"),
    [
        ('location = "global"\n', "project", "required"),
        (PROJECT, "location", "required"),
        *(
            (PROJECT + f'location = "{location}"\n', "location", "name of a Google Cloud location")
            for location in ("evil.example/", "us-central1.evil", "US", "", "us-central1#", "a@b", "../x", "europe")
        ),
        *(
            (f'project = "{project}"\nlocation = "us"\n', "project", "id or the number")
            for project in ("a/b", "../x", "", "a b", "A", "x?y", "-a")
        ),
        (KEY + PROJECT, "project", "express mode"),
        (KEY + COMMAND, "token_command", "express mode"),
        (WHERE + COMMAND + 'token_file = "t"\n', "token_file", "one way"),
        (WHERE + COMMAND + CREDENTIALS, "token_command", "one way"),
        (WHERE + 'credentials = "not json"\n', "credentials", "Google's JSON"),
        (WHERE + """credentials = '{"type": "magic"}'\n""", "credentials", "Google's JSON"),
        (WHERE + "credentials = '[]'\n", "credentials", "Google's JSON"),
        (WHERE + "token_command = []\n", "token_command", "empty"),
        (WHERE + 'token_command = "gcloud"\n', "token_command", "list"),
        (WHERE + 'region = "eu-central-1"\n', "region", "bedrock"),
    ],
)
def test_what_does_not_fit_is_a_problem_of_its_setting(problems_of: Problems, more: str, key: str, word: str) -> None:
    problems = problems_of(environ=ENVIRON, account=PLAIN + more)
    assert list(problems) == [f"account[0].{key}"]
    assert word in problems[f"account[0].{key}"]


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_other_providers_have_none_of_it(problems_of: Problems, provider: str) -> None:
    text = PLAIN.replace("vertex", provider) + KEY
    assert problems_of(account=text + PROJECT) == {"account[0].project": 'is only for provider = "vertex"'}


def test_gemini_needs_its_key(problems_of: Problems) -> None:
    assert problems_of(account=PLAIN.replace("vertex", "gemini")) == {"account[0].api_key": "is required"}


@pytest.mark.parametrize("found", [None, ModuleNotFoundError("no google")])
@pytest.mark.parametrize(("more", "key"), [("", "token_command"), (CREDENTIALS, "credentials")])
def test_what_only_googles_library_can_do_says_how_to_get_it(
    problems_of: Problems,
    load_text: Load,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    key: str,
    found: Exception | None,
) -> None:
    def find_spec(name: str) -> None:
        assert name == "google.auth"
        if found is not None:
            raise found

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    problems = problems_of(environ=ENVIRON, account=PLAIN + WHERE + more)
    assert list(problems) == [f"account[0].{key}"]
    assert "pip install 'relay-trio[vertex]'" in problems[f"account[0].{key}"]
    assert load_text(account=PLAIN + WHERE + COMMAND).account[0].token_command


def test_a_credential_that_is_refused_is_not_shown(problems_of: Problems) -> None:
    assert "canary" not in str(problems_of(account=PLAIN + WHERE + 'credentials = "canary"\n'))
