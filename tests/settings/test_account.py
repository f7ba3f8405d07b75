"""What all accounts have, whoever their vendor is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from relay_trio.http import BaseAddress, UpstreamRequest
from relay_trio.settings import AccountSettings, TimeoutSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.relay_toml import Load, Problems


ACCOUNT = """
[[account]]
name = "a"
provider = "anthropic"
api_key = "env:ANTHROPIC_API_KEY"
max_concurrency = 1
"""


def test_an_accounts_own_timeouts_go_before_the_global_ones(load_text: Load) -> None:
    account = load_text().account[0].model_copy(update={"idle_timeout_seconds": 7.0})
    timeouts = account.timeouts_over(TimeoutSettings(connect_timeout_seconds=2))
    assert (timeouts.connect_timeout_seconds, timeouts.idle_timeout_seconds) == (2, 7)
    assert timeouts.total_timeout_seconds == 3600


SENT = [(b"x-app", b"cli"), (b"x-team-id", b"7"), (b"accept", b"theirs"), (b"x-api-key", b"k"), (b"cookie", b"c"),
        (b"x-amz-security-token", b"t"), (b"connection", b"close"), (b"x-other", b"o")]  # fmt: skip
REQUEST = UpstreamRequest("POST", "https", "h", 443, b"/", [(b"accept", b"ours"), (b"authorization", b"a")], b"")


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ("", [*REQUEST.headers]),
        ('forward_headers = ["x-app", "X-Team-*"]\n', [*REQUEST.headers, (b"x-app", b"cli"), (b"x-team-id", b"7")]),
        (
            'forward_headers = ["*"]\n',
            [*REQUEST.headers, (b"x-app", b"cli"), (b"x-team-id", b"7"), (b"x-other", b"o")],
        ),
        (
            'headers = { Accept = "mine", X-Goog-User-Project = "p" }\n',
            [REQUEST.headers[1], (b"accept", b"mine"), (b"x-goog-user-project", b"p")],
        ),
        ('headers = { x-app = "mine" }\nforward_headers = "x-app"\n', [*REQUEST.headers, (b"x-app", b"mine")]),
    ],
)
def test_headers_that_are_added_and_let_through(
    load_text: Load, settings: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Never a credential, a field of one hop, or one that the request has already."""
    account = load_text(account=ACCOUNT + settings).account[0]
    assert account.with_headers(SENT, REQUEST).headers == headers


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ('headers = { authorization = "Bearer x" }', "credential"),
        ('headers = { X-Amz-Security-Token = "x" }', "credential"),
        ('headers = { content-length = "1" }', "own to set"),
        ('headers = { "a b" = "1" }', "name of a header"),
        ('headers = { a = "b\\nc" }', "visible ASCII"),
        ('forward_headers = ["cookie"]', "credential"),
        ('forward_headers = ["x-amz-*"]', "credential"),
        ('forward_headers = ["a b"]', "pattern"),
    ],
)
def test_credentials_and_fields_of_one_hop_cannot_be_configured(problems_of: Problems, setting: str, word: str) -> None:
    [problem] = problems_of(account=ACCOUNT + setting).values()
    assert word in problem


class Picky(AccountSettings):
    """With two things to find."""

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.priority > self.weight:
            yield "priority", "must not be more than weight"
            yield "weight", "must not be less than priority"


def test_base_url_is_the_address_in_place_of_the_vendors_own(load_text: Load) -> None:
    account = load_text().account[0]
    assert account.address == account.own_address()
    moved = account.model_validate(account.model_dump() | {"base_url": "http://127.0.0.1:9/a"})
    assert moved.address == BaseAddress("http", "127.0.0.1", 9, b"/a")


def test_the_first_problem_of_a_whole_account_names_its_setting() -> None:
    plain = {"name": "a", "provider": "x", "max_concurrency": 1}
    assert Picky.model_validate(plain | {"weight": 2, "priority": 2}).priority == 2
    with pytest.raises(ValidationError) as caught:
        Picky.model_validate(plain | {"priority": 2})
    [problem] = caught.value.errors()
    assert (problem["ctx"]["key"], problem["msg"]) == ("priority", "must not be more than weight")
