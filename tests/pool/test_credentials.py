"""Credentials: at once when they stand in the configuration, else one resolution for all who wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.api.credential import Credential
from relay_trio.errors import UpstreamRefused
from relay_trio.pool.credentials import CredentialCache
from relay_trio.vendors.claude.provider import Claude
from tests.pool.pools import make_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.credential import ResolveCredential
    from relay_trio.settings import AccountSettings

CANARY = "canary-secret"


class Renewing(Claude):
    """Claude whose credentials come from elsewhere: each resolution runs ``answer`` in its thread."""

    def __init__(self, answer: Callable[[int], Credential]) -> None:
        self.answer = answer
        self.resolutions = 0
        self.gate = threading.Event()
        self.gate.set()

    def credential(self, account: AccountSettings) -> ResolveCredential:  # type: ignore[override]
        return self.resolve

    def resolve(self) -> Credential:
        self.resolutions += 1
        self.gate.wait(5)
        return self.answer(self.resolutions)


def cache(provider: Claude) -> CredentialCache:
    return CredentialCache(provider, make_account().settings)


def good_for(seconds: float) -> Callable[[int], Credential]:
    return lambda number: Credential(f"token {number}", time.time() + seconds)


def refuse(number: int) -> Credential:
    raise UpstreamRefused("no token")


async def test_a_configured_key_is_there_at_once() -> None:
    held = cache(Claude())
    credential = held.current_nowait()
    assert credential is not None
    assert credential.value == "sk-x"
    assert await held.current() is credential
    assert "sk-x" not in repr(credential)


async def test_one_resolution_serves_all_who_wait_and_those_after() -> None:
    provider = Renewing(good_for(3600))
    held = cache(provider)
    assert held.current_nowait() is None
    seen: list[str] = []

    async def ask() -> None:
        seen.append((await held.current()).value)

    provider.gate.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.01)
        provider.gate.set()
    await ask()
    assert (seen, provider.resolutions) == (["token 1"] * 11, 1)
    assert held.current_nowait() is not None


async def test_a_client_that_leaves_does_not_end_the_resolution_for_the_others() -> None:
    provider = Renewing(good_for(3600))
    held = cache(provider)
    provider.gate.clear()
    with trio.move_on_after(0.02) as scope:
        await held.current()
    assert scope.cancelled_caught
    provider.gate.set()
    assert (await held.current()).value == "token 1"
    assert provider.resolutions == 1


async def test_one_that_runs_out_soon_is_resolved_again_before_it_does() -> None:
    provider = Renewing(good_for(60))
    held = cache(provider)
    assert (await held.current()).value == "token 1"
    assert held.current_nowait() is None
    assert (await held.current()).value == "token 2"


async def test_one_that_still_holds_serves_while_no_new_one_can_be_had() -> None:
    provider = Renewing(good_for(60))
    held = cache(provider)
    await held.current()
    provider.answer = refuse
    assert (await held.current()).value == "token 1"


@pytest.mark.parametrize("crash", [UpstreamRefused("no token"), RuntimeError(CANARY)])
async def test_a_failure_is_an_error_without_secrets_and_is_not_repeated_for_each_request(crash: Exception) -> None:
    def answer(number: int) -> Credential:
        raise crash

    provider = Renewing(answer)
    held = cache(provider)
    for _ in range(20):
        with pytest.raises(UpstreamRefused) as refused:
            await held.current()
        assert CANARY not in str(refused.value)
    assert provider.resolutions == 1


async def test_after_a_while_a_failed_resolution_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    provider = Renewing(refuse)
    held = cache(provider)
    with pytest.raises(UpstreamRefused):
        await held.current()
    provider.answer = good_for(3600)
    await trio.sleep(3)
    assert (await held.current()).value == "token 2"


async def test_one_that_has_run_out_when_it_comes_is_none() -> None:
    with pytest.raises(UpstreamRefused, match="run out"):
        await cache(Renewing(good_for(-1))).current()


async def test_one_that_was_refused_is_resolved_again_if_it_can_be() -> None:
    provider = Renewing(good_for(3600))
    held = cache(provider)
    await held.current()
    assert held.forget()
    assert held.current_nowait() is None
    assert (await held.current()).value == "token 2"


def test_one_that_stands_in_the_configuration_stays() -> None:
    held = cache(Claude())
    assert not held.forget()
    assert held.current_nowait() is not None
