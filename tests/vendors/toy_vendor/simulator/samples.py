"""Sample requests and accounts of the toy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.simulator.samples import SampleRequest, Samples, with_api_key

if TYPE_CHECKING:
    from relay_trio.simulator.samples import Prompt


def speak(prompt: Prompt) -> SampleRequest:
    """Words, as events or in one document."""
    document = {"model": prompt.model_or("toy-1"), "say": prompt.text, "stream": prompt.is_stream}
    ends = (b'"usage"', b'"error"') if prompt.is_stream else ()
    return SampleRequest("/toy/speak", (("x-toy-key", prompt.key),), json.dumps(document).encode(), ends)


SAMPLES = Samples(requests=(speak,), accounts=(with_api_key("toy-a", "toy", 8, "delay=0.01,pace=0.001"),))
