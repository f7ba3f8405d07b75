"""One upstream account: its settings, its provider, its health, its credential, and what it serves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.pool.credentials import CredentialCache
from relay_trio.pool.health import AccountChange, Change
from relay_trio.settings.patterns import common, is_match

if TYPE_CHECKING:
    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.api.provider import Provider
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import UpstreamRequest
    from relay_trio.pool.health import Health
    from relay_trio.settings import AccountSettings, TimeoutSettings

_BUILT_INLINE_BYTES = 128 * 1024
"""A larger body is hashed in a thread: SHA-256 takes some 2 ms for a megabyte."""

_TUNING = {
    *("models", "max_concurrency", "weight", "priority"),
    *("connect_timeout_seconds", "first_byte_timeout_seconds", "whole_answer_timeout_seconds"),
    *("idle_timeout_seconds", "total_timeout_seconds"),
}
"""Settings that say how an account is used. All others say which upstream it is, and how it authenticates there."""

_RENEWAL_SECONDS = 10.0
"""How long an account rests whose credential was refused and can be resolved again."""


@dataclass(eq=False, slots=True)
class Account:
    """One account. ``timeouts`` are the general ones, with the account's own in place of those it may set."""

    settings: AccountSettings
    provider: Provider[Any]
    timeouts: TimeoutSettings
    health: Health
    credentials: CredentialCache = field(init=False)

    def __post_init__(self) -> None:
        self.credentials = CredentialCache(self.provider, self.settings)

    @property
    def name(self) -> str:
        return self.settings.name

    def serves(self, model: str | None, operation: str | None = None) -> bool:
        """Whether the provider has the operation, and the patterns of its call and the account's own match the model.
        None stands for any."""
        if operation is not None:
            call = self.provider.calls.get(operation)
            if call is None or not (model is None or is_match(model, call.models(self.settings))):
                return False
        return model is None or is_match(model, self.settings.models)

    def offers(self, model: str) -> bool:
        """Whether the account serves the model for any operation."""
        return any(self.serves(model, operation) for operation in self.provider.calls)

    def patterns(self, operation: str) -> tuple[str, ...]:
        """The patterns of the names that the account serves for ``operation``."""
        call = self.provider.calls.get(operation)
        return () if call is None else common(call.models(self.settings), self.settings.models)

    def call_for(self, checked: CheckedRequest) -> Call[Any]:
        """How the account serves ``checked``, which it does (``serves``)."""
        return self.provider.calls[checked.operation]

    def build_nowait(self, checked: CheckedRequest) -> UpstreamRequest | None:
        """The request for this account, if it can be built here and now. None: ``build``."""
        credential = self.credentials.current_nowait()
        if credential is None or self._is_costly(checked):
            return None
        return self._request(checked, credential)

    async def build(self, checked: CheckedRequest) -> UpstreamRequest:
        """The request for this account, once it has a credential.

        Raises:
            UpstreamRefused: the credential cannot be had.

        Cancelled here: safe to retry; a refresh goes on for the others who wait for it.
        """
        credential = await self.credentials.current()
        if not self._is_costly(checked):
            return self._request(checked, credential)
        return await trio.to_thread.run_sync(self._request, checked, credential, abandon_on_cancel=True)

    def continue_from(self, former: Account) -> None:
        """Take the place of ``former``. If it is the same upstream and the same credential, what is known of them
        stays known: the health, and a credential that was resolved."""
        if type(self.settings) is not type(former.settings):
            return
        if self.settings.model_dump(exclude=_TUNING) != former.settings.model_dump(exclude=_TUNING):
            return
        former.health.breaker = self.health.breaker
        self.health, self.credentials = former.health, former.credentials

    def _request(self, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
        request = self.call_for(checked).request(self.settings, checked, credential)
        return self.settings.with_headers(checked.headers, request)

    def _is_costly(self, checked: CheckedRequest) -> bool:
        return self.call_for(checked).hashes_body and len(checked.body) > _BUILT_INLINE_BYTES

    # --- health: changed here and nowhere else ---------------------------------------------------------------------

    def note(self, verdict: Verdict) -> AccountChange | None:
        """Apply the verdict on a failed attempt. Returns the change if it took the account out of rotation just now."""
        health, now, reason = self.health, trio.current_time(), verdict.error.message
        before = health.available_at()
        change = Change.COOLED_DOWN
        if verdict.is_credential_refused and self.credentials.forget():
            health.cool_down(now, _RENEWAL_SECONDS, reason)
        elif verdict.is_credential_refused:
            health.disable(reason)
            change = Change.DISABLED
        elif verdict.cooldown_seconds is not None:
            health.cool_down(now, verdict.cooldown_seconds, reason, is_dated=verdict.is_dated)
        elif verdict.is_strike:
            health.strike(now)
            change = Change.EJECTED
        after = health.available_at()
        has_left = before <= now < after
        is_newly_disabled = before < after == math.inf
        if not (has_left or is_newly_disabled):
            return None
        health.was_out = True
        return AccountChange(self.name, change, health.reason, None if health.is_disabled else after - now)

    def note_success(self) -> AccountChange | None:
        """An attempt was answered. Returns the change if it is the first since the account came back into rotation."""
        health = self.health
        health.succeed()
        if not health.was_out or health.available_at() > trio.current_time():
            return None
        health.was_out = False
        return AccountChange(self.name, Change.BACK)
