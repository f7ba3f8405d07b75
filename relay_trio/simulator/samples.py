"""What a vendor's clients send, and what a relay's account at the vendor is: for the demo, the storm, the benchmarks.

Each vendor writes its own by hand (``vendors/*/samples.py``), and knows a good end of an answer by its bytes: a parser
of the relay's would forgive what the relay does wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a sample request asks for, in any dialect.

    ``key`` is the client's. ``model`` empty is the vendor's sample model; ``spec`` goes behind its name (see ``plan``).
    """

    text: str
    max_tokens: int
    key: str
    is_stream: bool = True
    model: str = ""
    spec: str = ""

    def model_or(self, sample: str) -> str:
        """The model to name in the request, with the spec; ``sample`` if no other is given."""
        name = self.model or sample
        return f"{name}:{self.spec}" if self.spec else name


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One request, a POST; ``headers`` are those of its dialect, with the credential.

    ``ends``: one of these is among the last bytes of every answer with status 200 that ended well, or with an error
    event. None: HTTP alone says where the answer ends.
    """

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ends: tuple[bytes, ...] = ()

    def encoded(self, *headers: tuple[str, str]) -> tuple[bytes, bytes]:
        """Head and body as HTTP/1.1 sends them, with more ``headers``."""
        lines = [f"POST {self.target} HTTP/1.1", "host: sample", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *headers)]
        return "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""]).encode(), self.body

    def is_finished(self, tail: bytes) -> bool:
        """Whether an answer with these last bytes ended as its dialect ends one."""
        return not self.ends or any(end in tail for end in self.ends)


@dataclass(frozen=True, slots=True)
class SampleAccount:
    """An account that a relay can have at the simulator.

    ``pace``: the spec for its answers. ``credential``: how the simulator knows it. ``settings``: what its provider
    needs in relay.toml beside what every account has.
    """

    name: str
    provider: str
    slots: int
    pace: str
    credential: str
    settings: Mapping[str, object]

    def table(self, base_url: str) -> dict[str, object]:
        """The account as relay.toml would have it, with the simulator at ``base_url``."""
        common = {"name": self.name, "provider": self.provider, "base_url": base_url, "max_concurrency": self.slots}
        return {**common, **self.settings}


@dataclass(frozen=True, slots=True)
class Samples:
    """One vendor's. ``requests``: a writer for each form of answer that its clients can ask for."""

    requests: tuple[Callable[[Prompt], SampleRequest], ...]
    accounts: tuple[SampleAccount, ...]


def with_api_key(name: str, provider: str, slots: int, pace: str) -> SampleAccount:
    """An account that an API key of its own opens."""
    key = f"sk-simulated-{name}"
    return SampleAccount(name, provider, slots, pace, key, {"api_key": key})
