"""Asking each account's upstream whether it can be reached and takes the credential, without spending a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.errors import RelayError
from relay_trio.outcome import Phase
from relay_trio.pool.credentials import CredentialCache
from relay_trio.upstream.client import open_client
from relay_trio.vendors.registry import provider_named

if TYPE_CHECKING:
    from relay_trio.api.provider import Provider
    from relay_trio.config import Settings
    from relay_trio.http import ResponseHead
    from relay_trio.settings import AccountSettings, TimeoutSettings
    from relay_trio.upstream.client import UpstreamClient


_MEANINGS = {
    ProbeAnswer.ACCEPTED: (True, "key accepted"),
    ProbeAnswer.REFUSED: (False, "key refused ({})"),
    ProbeAnswer.BUSY: (True, "answered {}: too busy to say whether it accepts the key"),
    ProbeAnswer.UNEXPECTED: (False, "answered {}: is base_url right?"),
}
"""Whether requests can be sent to the account, and what the operator reads; ``{}`` is the status."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one account's upstream said, as text for the operator; ``is_ok`` when requests can be sent to it."""

    is_ok: bool
    text: str


async def probe_accounts(settings: Settings) -> list[ProbeResult]:
    """The results for ``settings.account``, in that order; all are asked at one time.

    Cancelled here: atomic; the connections are closed.
    """
    results = [ProbeResult(False, "not asked")] * len(settings.account)

    async def probe(index: int, client: UpstreamClient) -> None:
        """Cancelled here: atomic, the result stays "not asked"."""
        account = settings.account[index]
        results[index] = await _probe(client, account, account.timeouts_over(settings.timeouts))

    async with open_client(settings.upstream) as client, trio.open_nursery() as nursery:
        for index in range(len(settings.account)):
            nursery.start_soon(probe, index, client)
    return results


async def _probe(client: UpstreamClient, account: AccountSettings, timeouts: TimeoutSettings) -> ProbeResult:
    """Cancelled here: atomic; the connection is closed."""
    try:
        provider = provider_named(account.provider)
        credential = await CredentialCache(provider, account).current()
    except RelayError as error:
        return ProbeResult(False, str(error))
    request = provider.probe_request(account, credential)
    address = f"{request.host}:{request.port}"
    started = trio.current_time()
    waiting_for = f"no connection to {address} within connect_timeout_seconds ({timeouts.connect_timeout_seconds:g} s)"

    def on_phase(phase: Phase) -> None:
        nonlocal waiting_for
        if phase is Phase.HEAD:
            scope.deadline = trio.current_time() + timeouts.first_byte_timeout_seconds
            seconds = timeouts.first_byte_timeout_seconds
            waiting_for = f"no answer from {address} within first_byte_timeout_seconds ({seconds:g} s)"

    with trio.move_on_after(timeouts.connect_timeout_seconds) as scope:
        try:
            async with client.open(request, on_phase) as response:
                milliseconds = (trio.current_time() - started) * 1000
                return judge(provider, response.head, milliseconds)
        except RelayError as error:
            return ProbeResult(False, f"not reachable: {error}")
    return ProbeResult(False, f"not reachable: {waiting_for}")


def judge(provider: Provider[Any], head: ResponseHead, milliseconds: float) -> ProbeResult:
    """The result of a probe that was answered with ``head``."""
    is_ok, meaning = _MEANINGS[provider.judge_probe(head)]
    return ProbeResult(is_ok, f"reachable {milliseconds:.0f} ms   {meaning.format(head.status)}")
