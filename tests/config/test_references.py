"""``env:NAME`` and ``file:/path``: what they stand for, and what is said when they stand for nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from relay_trio.config import references
from relay_trio.config.references import LARGEST_FILE_BYTES, ReferenceResolver, read_private

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.config import Settings
    from tests.support.relay_toml import Load, Problems


def secret_file(path: Path, text: str = "sk-from-file\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_read_without_the_newline_at_its_end(load_text: Load, tmp_path: Path) -> None:
    path = secret_file(tmp_path / "key")
    assert secret_of(load_text(account=account_with(f"file:{path}"))) == "sk-from-file"


def test_a_relative_file_starts_at_the_configuration(load_text: Load, tmp_path: Path) -> None:
    secret_file(tmp_path / "key")
    assert secret_of(load_text(account=account_with("file:key"))) == "sk-from-file"


def test_any_text_may_be_a_reference(load_text: Load, tmp_path: Path) -> None:
    secret_file(tmp_path / "name", "team-x")
    settings = load_text(
        '[queue]\nmax_waiting = "env:WAITING"\n',
        {"WAITING": "7"},
        account=account_with("env:ANTHROPIC_API_KEY", "file:name"),
    )
    assert settings.queue.max_waiting == 7
    assert settings.account[0].name == "team-x"


def test_a_missing_variable_is_named(problems_of: Problems) -> None:
    message = "refers to the environment variable NOPE, which is not set"
    assert problems_of(account=account_with("env:NOPE")) == {"account[0].api_key": message}


def test_where_files_have_no_modes_they_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "HAS_MODES", False)
    assert read_private(secret_file(tmp_path / "secret", mode=0o666)) == "sk-from-file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_that_others_may_use_is_refused_with_the_command_that_repairs_it(
    problems_of: Problems, tmp_path: Path, mode: int
) -> None:
    path = secret_file(tmp_path / "key", mode=mode)
    message = problems_of(account=account_with(f"file:{path}"))["account[0].api_key"]
    assert message.endswith(f"(mode {mode:04o}): chmod 600 {path}")
    assert "sk-from-file" not in message


def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "binary").chmod(0o600)
    secret_file(tmp_path / "large", "x" * (LARGEST_FILE_BYTES + 1))
    for name, reason in {
        "absent": "No such file",
        "fifo": "not a file",
        "": "not a file",
        "binary": "not UTF-8",
        "large": "larger than",
        "a\0b": "refers to|null",
    }.items():
        with pytest.raises(ValueError, match=reason):
            read_private(tmp_path / name)


def test_a_bad_value_behind_a_reference_is_not_shown(problems_of: Problems) -> None:
    """``max_waiting = "env:ANTHROPIC_API_KEY"`` is a mistake that must not print the key."""
    problems = problems_of(
        '[queue]\nmax_waiting = "env:ANTHROPIC_API_KEY"\n[server]\nlisteners = ["env:ANTHROPIC_API_KEY"]\n'
    )
    assert problems["queue.max_waiting"] == "must be a whole number, got the value of env:ANTHROPIC_API_KEY"
    assert problems["server.listeners[0]"].endswith("got the value of env:ANTHROPIC_API_KEY")


def test_what_is_no_reference_stays_as_it_is(tmp_path: Path) -> None:
    resolver = ReferenceResolver(tmp_path, {})
    tree = {"a": [1, True, None, "text", {"b": "unix:/x"}]}
    assert resolver.resolve(tree, ()) == tree
    assert not resolver.resolved
    assert not resolver.failures


def account_with(api_key: str, name: str = "a") -> str:
    return f'[[account]]\nname = "{name}"\nprovider = "anthropic"\napi_key = "{api_key}"\nmax_concurrency = 1\n'


def secret_of(settings: Settings) -> str:
    return settings.account[0].api_key.get_secret_value()


def test_a_variable_that_is_set_but_empty_is_called_so(problems_of: Problems) -> None:
    """Today's shells and compose files make such variables of a typo; "is empty" alone would not say which."""
    assert problems_of("", {"ANTHROPIC_API_KEY": ""}) == {
        "account[0].api_key": "must not be empty, and ANTHROPIC_API_KEY is set but empty"
    }
    bedrock = '[[account]]\nname = "b"\nprovider = "bedrock"\nmax_concurrency = 1\nregion = "env:AWS_REGION"\n'
    message = problems_of(account=bedrock, environ={"AWS_REGION": ""})["account[0].region"]
    assert message.endswith(", such as eu-central-1, and AWS_REGION is set but empty")


def test_a_file_that_is_empty_is_called_so(problems_of: Problems, tmp_path: Path) -> None:
    path = secret_file(tmp_path / "key", "")
    assert problems_of(account=account_with(f"file:{path}")) == {
        "account[0].api_key": f"must not be empty, and {path} is empty"
    }
