"""A relay.toml in a temporary directory, loaded with an environment of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
import trustme

from relay_trio.config import ConfigError, Settings, load

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = """
[[account]]
name = "claude-a"
provider = "anthropic"
api_key = "env:ANTHROPIC_API_KEY"
max_concurrency = 16
"""
ENVIRON = {"ANTHROPIC_API_KEY": "sk-ant-of-the-tests"}


class Load(Protocol):
    """Load ``text``; ``environ`` is added to the account's key."""

    def __call__(
        self, text: str = "", environ: dict[str, str] | None = None, *, account: str = ACCOUNT
    ) -> Settings: ...


class Problems(Protocol):
    """As ``Load``, for a configuration that must fail: its problems by path."""

    def __call__(
        self, text: str = "", environ: dict[str, str] | None = None, *, account: str = ACCOUNT
    ) -> dict[str, str]: ...


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


@pytest.fixture
def load_text(config_file: Path) -> Load:
    def load_text(text: str = "", environ: dict[str, str] | None = None, *, account: str = ACCOUNT) -> Settings:
        config_file.write_text(text + account)
        return load(config_file, ENVIRON | (environ or {}))

    return load_text


@pytest.fixture
def problems_of(load_text: Load) -> Problems:
    def problems_of(text: str = "", environ: dict[str, str] | None = None, *, account: str = ACCOUNT) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, environ, account=account)
        problems = {problem.path: problem.message for problem in caught.value.problems}
        assert len(problems) == len(caught.value.problems), "one problem for each place"
        return problems

    return problems_of


def write_certificate(directory: Path, name: str = "") -> None:
    """A certificate and its key, as ``cert.pem`` and ``key.pem`` with ``name`` before that."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(directory / f"{name}cert.pem")
    key = directory / f"{name}key.pem"
    key.touch(0o600)
    key.write_bytes(certificate.private_key_pem.bytes())
