"""The probe: whether each account's upstream can be reached and takes the credential, without spending a token.

A probe is no hot path, so it goes through httpx, over the same connections, trust and proxy as the relay's own calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.errors import RelayError
from relay_trio.http import ResponseHead
from relay_trio.pool.credentials import CredentialCache
from relay_trio.upstream.client import open_client
from relay_trio.upstream.httpx_transport import TrioTransport
from relay_trio.vendors.registry import provider_named

if TYPE_CHECKING:
    from relay_trio.api.provider import Provider
    from relay_trio.config import Settings
    from relay_trio.http import UpstreamRequest
    from relay_trio.settings import AccountSettings, TimeoutSettings

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
    """The results for ``settings.account``, in that order; all are probed at the same time.

    Cancelled here: atomic; the connections are closed.
    """
    results = [ProbeResult(False, "not probed")] * len(settings.account)

    async def probe(index: int, http: httpx2.AsyncClient) -> None:
        """Cancelled here: atomic, the result stays "not probed"."""
        account = settings.account[index]
        results[index] = await _probe(http, account, account.timeouts_over(settings.timeouts))

    async with (
        open_client(settings.upstream) as client,
        httpx2.AsyncClient(transport=TrioTransport(client), trust_env=False) as http,
        trio.open_nursery() as nursery,
    ):
        for index in range(len(settings.account)):
            nursery.start_soon(probe, index, http)
    return results


async def _probe(http: httpx2.AsyncClient, account: AccountSettings, timeouts: TimeoutSettings) -> ProbeResult:
    """Cancelled here: atomic; the connection is closed."""
    try:
        provider = provider_named(account.provider)
        credential = await CredentialCache(provider, account).current()
    except RelayError as error:
        return ProbeResult(False, str(error))
    request = provider.probe_request(account, credential)
    address = f"{request.host}:{request.port}"
    started = trio.current_time()
    try:
        response = await http.send(_httpx_request(request, timeouts), stream=True)
        milliseconds = (trio.current_time() - started) * 1000
        await response.aclose()
    except httpx2.ConnectTimeout:
        seconds = timeouts.connect_timeout_seconds
        return ProbeResult(
            False, f"not reachable: no connection to {address} within connect_timeout_seconds ({seconds:g} s)"
        )
    except httpx2.ReadTimeout:
        seconds = timeouts.first_byte_timeout_seconds
        return ProbeResult(
            False, f"not reachable: no answer from {address} within first_byte_timeout_seconds ({seconds:g} s)"
        )
    except httpx2.TransportError as error:
        return ProbeResult(False, f"not reachable: {error}")
    return judge(provider, ResponseHead(response.status_code, response.headers.raw), milliseconds)


def _httpx_request(request: UpstreamRequest, timeouts: TimeoutSettings) -> httpx2.Request:
    """``request``, with exactly its headers: a signature may cover them."""
    limits = httpx2.Timeout(timeouts.first_byte_timeout_seconds, connect=timeouts.connect_timeout_seconds)
    return httpx2.Request(
        request.method,
        httpx2.URL(scheme=request.scheme, host=request.host, port=request.port, raw_path=request.target),
        headers=request.headers,
        content=request.body,
        extensions={"timeout": limits.as_dict()},
    )


def judge(provider: Provider[Any], head: ResponseHead, milliseconds: float) -> ProbeResult:
    """The result of a probe that was answered with ``head``."""
    is_ok, meaning = _MEANINGS[provider.judge_probe(head)]
    return ProbeResult(is_ok, f"reachable {milliseconds:.0f} ms   {meaning.format(head.status)}")
