"""What all accounts have, whoever their vendor is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from relay_trio.http import BaseAddress
from relay_trio.settings import AccountSettings, TimeoutSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.relay_toml import Load


def test_an_accounts_own_timeouts_go_before_the_global_ones(load_text: Load) -> None:
    account = load_text().account[0].model_copy(update={"idle_timeout_seconds": 7.0})
    timeouts = account.timeouts_over(TimeoutSettings(connect_timeout_seconds=2))
    assert (timeouts.connect_timeout_seconds, timeouts.idle_timeout_seconds) == (2, 7)
    assert timeouts.total_timeout_seconds == 3600


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
