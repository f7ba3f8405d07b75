"""Where clients' secrets stand in headers and queries, which most dialects have alike."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from relay_trio.http import Headers

_BEARER = "bearer "
_NAMES = frozenset({"key", "api_key", "apikey", "api-key", "x-api-key", "access_token", "auth_token", "authorization"})


def secrets_of_headers(headers: Headers, names: Container[bytes]) -> list[str]:
    """The values of ``names`` and of ``Authorization: Bearer``, in the order in which they came; no empty ones."""
    secrets = []
    for name, value in headers:
        text = value.decode("latin-1").strip()
        if name == b"authorization":
            text = text[len(_BEARER) :].strip() if text[: len(_BEARER)].lower() == _BEARER else ""
        elif name not in names:
            continue
        if text:
            secrets.append(text)
    return secrets


def query_without_credentials(query: bytes) -> bytes:
    """``query`` as it came, without the parameters that clients of several APIs put a key or a token in."""
    if not query:
        return query
    return b"&".join(part for part in query.split(b"&") if _unescaped(part.partition(b"=")[0]).lower() not in _NAMES)


def query_without(query: bytes, secrets: Collection[str]) -> bytes:
    """``query`` as it came, without the parameters that are one of ``secrets``, whatever they are called."""
    if not query or not secrets:
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_one_of(part, secrets))


def _is_one_of(part: bytes, secrets: Collection[str]) -> bool:
    name, _, value = part.partition(b"=")
    return any(
        _unescaped(text) in secrets or unquote(text.decode("latin-1"), "latin-1") in secrets
        for text in (part, name, value)
    )


def _unescaped(text: bytes) -> str:
    return unquote_plus(text.decode("latin-1"), "latin-1")
