"""Where clients' secrets stand in headers, which most dialects have alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from relay_trio.http import Headers

_BEARER = "bearer "


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
