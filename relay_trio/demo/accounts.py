"""The demo's accounts: one line each, at upstreams that are simulated and with credentials that only those take."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS

CLAUDE_MODEL = "claude-sonnet-4-5"
BEDROCK_MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
GEMINI_MODEL = "gemini-2.5-flash"
"""What the demo's clients ask for, each by the name that its API has for it."""

_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
_PAIR = {"access_key_id": _KEY_ID, "secret_access_key": ACCESS_KEYS[_KEY_ID].secret}


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """``pace`` is the simulator's spec for its answers (see ``simulator.plan``), ``own`` what its provider needs."""

    name: str
    provider: str
    slots: int
    pace: str
    own: dict[str, object] = field(default_factory=dict)

    @property
    def credential(self) -> str:
        """Key, or id of the pair that signs: how the simulator knows the account."""
        return str(self.own.get("access_key_id", self._api_key))

    @property
    def _api_key(self) -> str:
        return f"sk-simulated-{self.name}"

    def table(self, base_url: str) -> dict[str, object]:
        """The account as relay.toml would have it, at the upstream ``base_url``."""
        proof = {} if "access_key_id" in self.own else {"api_key": self._api_key}
        plain = {"name": self.name, "provider": self.provider, "base_url": base_url, "max_concurrency": self.slots}
        return plain | proof | self.own


ACCOUNTS = (
    DemoAccount("claude-a", "anthropic", 8, "delay=0.10..0.25,pace=0.035"),
    DemoAccount("claude-b", "anthropic", 6, "delay=0.15..0.40,pace=0.040"),
    DemoAccount(
        *("bedrock-eu", "bedrock", 10, "delay=0.20..0.60,pace=0.045"),
        {"region": "eu-central-1", "model_ids": {CLAUDE_MODEL: BEDROCK_MODEL}, **_PAIR},
    ),
    DemoAccount("gemini-1", "gemini", 8, "delay=0.05..0.20,pace=0.030"),
)
"""Together fewer slots than there are clients, so that some of them wait, and leave waiting. Claude's clients are
served by Bedrock too, translated."""
