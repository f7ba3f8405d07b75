"""Names of header fields that an account may add or let through, and those that no configuration can."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9*?-]{1,63}", re.ASCII)

RESERVED = (
    *("authorization", "proxy-*", "cookie*", "set-cookie*", "x-api-key", "api-key", "x-goog-api-key", "x-amz-*"),
    *("amz-sdk-*", "*-token", "*-secret", "*-authorization", "sec-*"),
    *("connection", "keep-alive", "te", "trailer*", "transfer-encoding", "upgrade*", "http2-settings", "expect"),
    *("host", "content-*", "accept-encoding", "user-agent", "x-relay-*"),
)
"""Patterns of names with a credential, of one hop, or about the body and the connection, which are the relay's."""


def is_reserved(name: str) -> bool:
    """Whether no account can add or let through a field of this name, in lower case."""
    return any(fnmatchcase(name, pattern) for pattern in RESERVED)


def checked_name(value: str) -> str:
    """A name in lower case, for a field that is added.

    Raises:
        ValueError: it is no name, or a reserved one.
    """
    name = value.lower()
    if not _NAME.fullmatch(name):
        raise ValueError("must be the name of a header field, such as x-goog-user-project")
    if is_reserved(name):
        raise ValueError("is a credential's, or the relay's own to set")
    return name


def checked_pattern(value: str) -> str:
    """A pattern in lower case, of names that are let through.

    Raises:
        ValueError: it is no pattern, or matches only what is reserved.
    """
    pattern = value.lower()
    if not _PATTERN.fullmatch(pattern):
        raise ValueError('must be a pattern for header names, such as "x-app" or "x-team-*"')
    if is_reserved(pattern):
        raise ValueError("is a credential's, or the relay's own to set")
    return pattern
