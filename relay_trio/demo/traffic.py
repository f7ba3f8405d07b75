"""What the demo's clients ask: every form of request that a vendor of the simulator has samples of."""

from __future__ import annotations

import textwrap
from shlex import quote
from typing import TYPE_CHECKING

from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from relay_trio.simulator.samples import SampleRequest

KEY = "rt_demo"
"""The client key that the demo's relay accepts."""

_WIDTH = 72
_STREAMS = 0.85
"""Share of the requests whose answer is a stream."""

ACCOUNTS = tuple(account for vendor in VENDORS for account in vendor.samples.accounts)
"""Together fewer slots than there are clients, so that some of them wait, and leave waiting."""


def _rotation() -> tuple[Callable[[Prompt], SampleRequest], ...]:
    """As many forms of each vendor as of any other, vendor after vendor."""
    forms = [vendor.samples.requests for vendor in VENDORS]
    rounds = max(map(len, forms))
    return tuple(own[number % len(own)] for number in range(rounds) for own in forms)


FORMS = _rotation()
"""The first client keeps to the first form, the next one to the second, and so on, over and over."""


def draw_request(form: Callable[[Prompt], SampleRequest], rng: Random) -> SampleRequest:
    """A request of that form with a prompt, a length and a way to be answered that are drawn."""
    text = "tell me about slots " * rng.randint(1, 20)
    return form(Prompt(text, rng.randint(10, 40), KEY, is_stream=rng.random() < _STREAMS))


def curl_command(url: str) -> str:
    """Some lines for a shell, none of them longer than 80 characters: a stream in the first form from the relay at
    ``url``."""
    request = FORMS[0](Prompt("hi", 200, KEY))
    headers = " ".join(f"-H {quote(f'{name}: {value}')}" for name, value in request.headers)
    # A line ends between two members, where JSON may have white space.
    body = textwrap.fill(request.body.decode(), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"curl -N {url}{request.target} \\\n  {headers} \\\n  -d {quote(body)}"
