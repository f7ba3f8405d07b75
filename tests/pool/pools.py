"""Small pools for tests."""

from __future__ import annotations

from typing import Any

from relay_trio.pool.account import Account
from relay_trio.pool.admission import Admission
from relay_trio.pool.health import Health
from relay_trio.pool.policy import LeastLoaded
from relay_trio.pool.pool import Pool
from relay_trio.pool.slots import SlotTable
from relay_trio.settings import BreakerSettings, TimeoutSettings
from relay_trio.vendors.claude.settings import ClaudeSettings
from relay_trio.vendors.registry import provider_named


def make_account(name: str = "a", breaker: BreakerSettings | None = None, **changes: Any) -> Account:
    settings = ClaudeSettings.model_validate(
        {"name": name, "provider": "anthropic", "api_key": "sk-x", "max_concurrency": 1, "models": ["*"], **changes}
    )
    return Account(settings, provider_named("anthropic"), TimeoutSettings(), Health(breaker or BreakerSettings()))


def make_pool(*accounts: Account, max_waiting: int = 100) -> tuple[Admission, SlotTable]:
    slots = SlotTable()
    return Admission(Pool(accounts, slots), LeastLoaded(), max_waiting=max_waiting), slots
