"""The file below, the environment above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.config import ConfigError
from relay_trio.config.layers import read_toml
from relay_trio.settings import Listener

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.relay_toml import Load, Problems


def test_the_environment_wins_over_the_file(load_text: Load) -> None:
    settings = load_text(
        '[server]\nlisteners = ["127.0.0.1:1"]\ndrain_seconds = 5\n[breaker]\nstrikes = 9\n',
        {
            "RELAY_SERVER__LISTENERS": "127.0.0.1:9000, unix:/run/relay.sock",
            "RELAY_RETRY__ENABLED": "false",
            "RELAY_TIMEOUTS__IDLE_TIMEOUT_SECONDS": "7.5",
            "RELAY_ADMIN__TOKEN": "env:OTHER",
            "OTHER": "from-other",
        },
    )
    assert settings.server.listeners == (Listener("127.0.0.1", 9000), Listener(path="/run/relay.sock"))
    assert (settings.server.drain_seconds, settings.breaker.strikes) == (5, 9)
    assert not settings.retry.enabled
    assert settings.timeouts.idle_timeout_seconds == 7.5
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == "from-other"


def test_a_variable_without_a_double_underscore_is_not_ours(load_text: Load) -> None:
    """RELAY_KEY and RELAY_ADMIN_TOKEN are likely names for secrets, RELAY_PORT is what Kubernetes sets."""
    load_text(
        environ={"RELAY_KEY": "rt_x", "RELAY_ADMIN_TOKEN": "t", "RELAY_PORT": "tcp://10.0.0.1:80", "RELAY_SERVER": "x"}
    )


def test_a_bad_override_is_reported_under_the_name_of_its_variable(problems_of: Problems) -> None:
    problems = problems_of(
        environ={
            "RELAY_RETRY__MAX_ATTEMPTS": "many",
            "RELAY_QUEUE__MAX_WAITNG": "3",
            "RELAY_SERVER__LISTENERS": "127.0.0.1:1,nonsense",
            "RELAY_SREVER__LEDGER": "x",
            "RELAY_ACCOUNT__0__API_KEY": "x",
        }
    )
    assert problems == {
        "RELAY_RETRY__MAX_ATTEMPTS": 'must be a whole number, got "many"',
        "RELAY_QUEUE__MAX_WAITNG": "is not a setting   did you mean max_waiting?",
        "RELAY_SERVER__LISTENERS[1]": 'must be host:port with a port from 0 to 65535, or unix:/path, got "nonsense"',
        "RELAY_SREVER__LEDGER": "names no section, got srever   did you mean server?",
        "RELAY_ACCOUNT__0__API_KEY": "cannot override [[account]]: it stands in the file only",
    }


def test_a_missing_file_names_the_command_that_writes_one(config_file: Path) -> None:
    assert problem_of(config_file) == (
        f"does not exist in {config_file.parent}: name another file with --config, or relay-trio init writes one"
    )
    assert problem_of(config_file.parent / "nowhere" / "relay.toml") == (
        f"does not exist, and neither does {config_file.parent / 'nowhere'}"
    )
    config_file.touch()
    assert problem_of(config_file.with_name("realy.toml")).endswith("   did you mean relay.toml?")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[server]\nlisteners = \n", "line 2"),
        (b"[server\n", "line 1"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"[" + b".".join([b"a"] * 5000) + b"]", "nested more than"),
        (b"a = '\xff'", "not UTF-8 text (byte 5)"),
    ],
)
def test_what_is_no_toml_is_one_problem_with_its_place(config_file: Path, content: bytes, reason: str) -> None:
    config_file.write_bytes(content)
    assert reason in problem_of(config_file)


def test_a_directory_in_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == "cannot be read: Is a directory"


def problem_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    [problem] = caught.value.problems
    assert problem.path == str(path)
    return problem.message
