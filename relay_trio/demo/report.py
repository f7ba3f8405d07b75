"""What the demo prints at its beginning and at its end, in lines that fit a terminal of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio import __version__
from relay_trio.demo.traffic import curl_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.app import Bound
    from relay_trio.demo.audit import Audit


def start_lines(bound: Bound, seed: int) -> list[str]:
    """Where everything is, and a command to try."""
    url = bound.client_urls[0]
    return [
        f"relay-trio {__version__}   demo: simulated upstreams, no keys, no network",
        f"  relay    {url}",
        f"  inside   {bound.admin_url}/debug/invariants",
        f"  again    relay-trio demo --seed {seed}",
        "  try it, then press Ctrl-C in curl and watch the slot come back:",
        "",
        curl_command(url),
        "",
    ]


def end_lines(
    found: Audit, problems: Sequence[str], *, traffic_seconds: float, last_seconds: float, faults: str, others: int
) -> list[str]:
    """The closing account. ``traffic_seconds``: while clients made requests; ``last_seconds``: until the last of these
    had ended. ``faults``: those that were injected, as written; ``others``: requests that were not the demo's."""
    ended = [f"{found.completed} completed", f"{found.gone} hung up", f"{found.failed} failed"]
    if found.refused:
        ended.append(f"{found.refused} found no slot")
    lines = [
        f"  time      {traffic_seconds:.1f} s of traffic, and {last_seconds:.1f} s to the end of the last requests",
        f"  requests  {found.requests}: {', '.join(ended)}",
        f"  injected  {faults or 'no faults'}",
        f"  usage     {found.rows} rows for {found.requests} requests",
        f"  tokens    {', '.join(f'{provider} {count:,}' for provider, count in found.tokens.items()) or 'none'}",
    ]
    if found.unread:
        lines.append(f"  no row    {found.unread} more, that hung up before the relay had read them")
    if others:
        lines.append(f"  yours     {others} requests")
    lines += [f"  problem   {problem}" for problem in problems]
    if problems:
        lines.append(f"FAIL  {'1 problem' if len(problems) == 1 else f'{len(problems)} problems'}, listed above")
    else:
        lines.append(f"PASS  every slot, row and token adds up{_injected(found.failed)}")
    return lines


def _injected(failed: int) -> str:
    if not failed:
        return ""
    return "; the failure was injected" if failed == 1 else f"; the {failed} failures were injected"
