"""Values that stand elsewhere: ``env:NAME`` and ``file:/path``, allowed for every text value of relay.toml.

A file must belong to its owner alone, as ssh asks of a private key: a secret that others can read is reported with the
command that repairs it, not used.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay_trio.config.problems import Where

HAS_MODES = os.name != "nt"
"""Windows shows the same mode for every file; its access lists are not looked at."""

LARGEST_FILE_BYTES = 65_536
"""A secret is a line, not a document: more than this is the wrong file."""


class ReferenceResolver:
    """Resolves the references of one configuration; a relative ``file:`` starts at ``directory``."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self.resolved: dict[Where, str] = {}
        """Where a value came from a reference, and the reference as it was written."""
        self.failures: dict[Where, str] = {}
        """Where a reference could not be resolved, and why."""

    def resolve(self, value: object, where: Where) -> object:
        """``value``, a table, list or plain value at ``where``, with every reference in it replaced."""
        if isinstance(value, dict):
            return {key: self.resolve(item, (*where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, (*where, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or not value.startswith(("env:", "file:")):
            return value
        self.resolved[where] = value
        try:
            return self._value_of(value)
        except ValueError as error:
            self.failures[where] = str(error)
            return value

    def _value_of(self, reference: str) -> str:
        scheme, _, name = reference.partition(":")
        if scheme == "env":
            if name not in self._environ:
                raise ValueError(f"refers to the environment variable {name or '(no name)'}, which is not set")
            return self._environ[name]
        return read_private(self._directory / name)


def read_private(path: Path) -> str:
    """The text of ``path`` without the newlines at its end.

    Raises:
        ValueError: it is not a readable file of text, or group or others may use it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"refers to {path}, which is not a file")
        if (mode := shared_mode(status)) is not None:
            raise ValueError(f"refers to {path}, which group or others may use (mode {mode:04o}): chmod 600 {path}")
        if status.st_size > LARGEST_FILE_BYTES:
            raise ValueError(f"refers to {path}, which is larger than {LARGEST_FILE_BYTES} bytes")
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"refers to {path}, which cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"refers to {path}, which is not UTF-8 text") from None


def shared_mode(status: os.stat_result) -> int | None:
    """The mode of a file that others than its owner may use; None for one that is private."""
    is_shared = HAS_MODES and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_IMODE(status.st_mode) if is_shared else None
