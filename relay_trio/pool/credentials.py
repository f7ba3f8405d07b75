"""The credential of one account: taken from the configuration, or resolved in a thread and kept until it runs out.

All requests that need it while it is being resolved wait for that one resolution, which runs in a task of its own: a
client that leaves does not end it for the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.api.credential import Credential
from relay_trio.errors import UpstreamError, UpstreamRefused, plain_name

if TYPE_CHECKING:
    from relay_trio.api.credential import ResolveCredential
    from relay_trio.api.provider import Provider
    from relay_trio.settings import AccountSettings

_FRESH_SECONDS = 120.0
"""A credential that runs out sooner is resolved again before it is used. If that fails, the old one serves until it has
run out. (Signed requests are good for five minutes.)"""

_RETRY_SECONDS = 2.0
"""After a resolution that failed, how long the next requests get the same error without another try."""


class CredentialCache:
    """The credential of one account."""

    def __init__(self, provider: Provider[Any], settings: AccountSettings) -> None:
        self._name = settings.name
        credential = provider.credential(settings)
        self._held = credential if isinstance(credential, Credential) else None
        self._resolve = None if isinstance(credential, Credential) else credential
        self._failure: UpstreamError | None = None
        self._failed_at = -_RETRY_SECONDS
        self._resolving: trio.Event | None = None

    def current_nowait(self) -> Credential | None:
        """The credential, if one is held that is good for a while. None: ``current``."""
        held = self._held
        return held if held is not None and held.expires_at > time.time() + _FRESH_SECONDS else None

    def forget(self) -> bool:
        """Drop the credential, which the upstream refused: it is resolved again before the next use. Returns False for
        one that stands in the configuration, which only an operator can change."""
        if self._resolve is None:
            return False
        self._held = None
        return True

    async def current(self) -> Credential:
        """The credential, resolved first if need be.

        Raises:
            UpstreamRefused: it cannot be had.

        Cancelled here: safe to retry; a resolution goes on for the others who wait for it.
        """
        held = self.current_nowait()
        if held is not None:
            return held
        has_just_failed = self._failure is not None and trio.current_time() < self._failed_at + _RETRY_SECONDS
        if self._resolve is not None and not has_just_failed:
            if self._resolving is None:
                self._resolving = trio.Event()
                trio.lowlevel.spawn_system_task(
                    self._renew, self._resolve, self._resolving, name=f"credential {self._name}"
                )
            await self._resolving.wait()
        if self._held is not None and self._held.expires_at > time.time():
            return self._held
        raise self._failure or UpstreamRefused("the account's credential has run out")

    async def _renew(self, resolve: ResolveCredential, done: trio.Event) -> None:
        """Cancelled here: only at the end of the run; the thread is left behind."""
        try:
            self._held = await trio.to_thread.run_sync(resolve, abandon_on_cancel=True)
            self._failure = None
        except UpstreamError as error:
            self._failure, self._failed_at = error, trio.current_time()
        except Exception as error:  # a library's own: its text may hold what it should not
            self._failed_at = trio.current_time()
            self._failure = UpstreamRefused(f"the account's credential cannot be had ({plain_name(error)})")
        finally:
            self._resolving = None
            done.set()
