"""What no table can check by itself: names used twice, addresses that clash, secrets that would travel in the clear."""

from __future__ import annotations

import os
import ssl
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from relay_trio.config.problems import Problem, Where, written
from relay_trio.config.references import HAS_MODES
from relay_trio.settings.listener import is_loopback_host
from relay_trio.settings.sections import AdminSettings, KeySettings, ServerSettings, UpstreamSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from relay_trio.config.root import Settings
    from relay_trio.settings.listener import Listener

Finding = tuple[Where, str]

SHORTEST_PUBLIC_SECRET = 16
"""Characters. On loopback a short one is for trying out; beyond it everybody may guess as long as they like."""


def inconsistencies(
    raw: Mapping[str, Any], sections: Mapping[str, BaseModel | None], keys: Mapping[int, KeySettings]
) -> Iterator[Finding]:
    """Findings over several tables. ``raw`` holds all of them, sound or not; the others only what is sound."""
    server, admin, upstream = sections.get("server"), sections.get("admin"), sections.get("upstream")
    yield from _repeated_names("account", raw)
    yield from _repeated_names("key", raw)
    yield from _repeated_secrets(keys)
    if isinstance(upstream, UpstreamSettings) and upstream.ca_file is not None:
        yield from _untrustworthy(upstream.ca_file)
    if not isinstance(server, ServerSettings):
        return
    yield from _clashing_addresses(server, admin.listener if isinstance(admin, AdminSettings) else None)
    yield from _unencrypted(server)
    yield from _missing_files(server)
    yield from _unusable_tls(server)
    if not server.allow_insecure:
        yield from _clear_base_urls(raw)


def start_problems(settings: Settings, stored: Collection[str]) -> tuple[Problem, ...]:
    """What a relay still needs before it may start.

    ``stored``: names of the client keys in the database that work, which only the caller can read.
    """
    findings = [
        *_unencrypted(settings.server),
        *(() if settings.key or stored else _keyless(settings.server)),
        *_guessable(settings),
        *names_in_two_places(settings, stored),
    ]
    return tuple(Problem(written(where), message) for where, message in findings)


def names_in_two_places(settings: Settings, stored: Collection[str]) -> Iterator[Finding]:
    """Keys of the file that have the name of one in the database."""
    for index, key in enumerate(settings.key):
        if key.name in stored:
            yield ("key", index, "name"), "must be unique, and a key in the ledger has the same: revoke or rename one"


def _unencrypted(server: ServerSettings) -> Iterator[Finding]:
    if server.tls_cert is None and not server.allow_insecure:
        for where, listener in _public(server):
            yield where, f"{listener} can be reached from elsewhere: set tls_cert and tls_key, or allow_insecure = true"


def _keyless(server: ServerSettings) -> Iterator[Finding]:
    for where, listener in _public(server):
        yield where, f"{listener} can be reached from elsewhere and no client has a key: relay-trio keys create NAME"


def _guessable(settings: Settings) -> Iterator[Finding]:
    """Secrets that were typed, not drawn, where anybody may try some."""
    message = (
        f"must have {SHORTEST_PUBLIC_SECRET} characters or more, because {{}} can be reached from elsewhere; "
        "try openssl rand -hex 32"
    )
    listener = next((listener for _, listener in _public(settings.server)), None)
    if listener is not None:
        for index, key in enumerate(settings.key):
            if len(key.secret.get_secret_value()) < SHORTEST_PUBLIC_SECRET:
                yield ("key", index, "secret"), message.format(listener)
    token, admin = settings.admin.token, settings.admin.listener
    if admin.is_public and token is not None and len(token.get_secret_value()) < SHORTEST_PUBLIC_SECRET:
        yield ("admin", "token"), message.format(admin)


def _public(server: ServerSettings) -> Iterator[tuple[Where, Listener]]:
    return ((where, listener) for where, listener in _listeners(server) if listener.is_public)


def _listeners(server: ServerSettings) -> Iterator[tuple[Where, Listener]]:
    for index, listener in enumerate(server.listeners):
        yield ("server", "listeners", index), listener


def _clashing_addresses(server: ServerSettings, admin: Listener | None) -> Iterator[Finding]:
    taken: dict[Listener, Where] = {}
    for where, listener in (*_listeners(server), *([(("admin", "listener"), admin)] if admin else [])):
        is_any_free_port = not listener.is_unix and listener.port == 0
        if not is_any_free_port and taken.setdefault(listener, where) != where:
            yield where, f"must be unique, and {written(taken[listener])} is {listener} too"


def _missing_files(server: ServerSettings) -> Iterator[Finding]:
    for key, path in (("tls_cert", server.tls_cert), ("tls_key", server.tls_key)):
        if path is not None and not _is_readable(path):
            yield ("server", key), f"must be a file that can be read, got {path}"
    if not server.ledger.parent.is_dir():
        yield ("server", "ledger"), f"must be in a directory that exists: mkdir -p {server.ledger.parent}"
    elif server.ledger.is_dir():
        yield ("server", "ledger"), f"must be a file, and {server.ledger} is a directory"


def _unusable_tls(server: ServerSettings) -> Iterator[Finding]:
    """What would end a start, or leave the private key to whoever has an account on this machine."""
    cert, key = server.tls_cert, server.tls_key
    if cert is None or key is None or not (_is_readable(cert) and _is_readable(key)):
        return
    mode = stat.S_IMODE(key.stat().st_mode)
    if HAS_MODES and mode & stat.S_IRWXO:
        yield ("server", "tls_key"), f"must be private, and others may use {key} (mode {mode:04o}): chmod 600 {key}"
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield (
                ("server", "tls_key"),
                f"must be the private key of tls_cert, and {key} belongs to another certificate",
            )
        else:
            yield ("server", "tls_cert"), f"must be a certificate in PEM, and tls_key its key; {cert} with {key} is not"
    except _Encrypted:
        yield ("server", "tls_key"), f"must be a key without a password, and {key} has one"


class _Encrypted(Exception):
    """The key needs a password, for which nobody is there."""


def _no_password() -> str:
    raise _Encrypted


def _is_readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _untrustworthy(ca_file: Path) -> Iterator[Finding]:
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        reason = "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        yield ("upstream", "ca_file"), f"must be a file of certificates, and {ca_file}: {reason}"


def _repeated_names(section: str, raw: Mapping[str, Any]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, table in _tables(section, raw):
        name = table.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield (section, index, "name"), f"must be unique, and {section}[{first[name]}] has the same"


def _repeated_secrets(keys: Mapping[int, KeySettings]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, key in keys.items():
        secret = key.secret.get_secret_value()
        if first.setdefault(secret, index) != index:
            yield ("key", index, "secret"), f"must be unique, and key[{first[secret]}] has the same"


def _clear_base_urls(raw: Mapping[str, Any]) -> Iterator[Finding]:
    for index, table in _tables("account", raw):
        base_url = table.get("base_url")
        try:
            url = urlsplit(base_url) if isinstance(base_url, str) else None
        except ValueError:
            continue  # the table's own problem
        if url and url.scheme == "http" and not is_loopback_host(url.hostname or ""):
            message = "must be https:// (http:// is for loopback only, or with allow_insecure = true in [server])"
            yield ("account", index, "base_url"), message


def _tables(section: str, raw: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    tables = raw.get(section)
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, dict):
            yield index, table
