"""What only ``[[account]] provider = "vertex"`` can have: a project, a location, and one way to get a token.

Location and project become parts of a host name and of a path that credentials are sent to, so both are checked here
and are never a client's word.
"""

from __future__ import annotations

import importlib.util
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.settings.sections import AccountSettings

SETTINGS = ("project", "location", "credentials", "token_command", "token_file")
_TOKENS = ("credentials", "token_command", "token_file")

_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_LOCATION = re.compile(r"global|us|eu|[a-z]{2,20}(-[a-z]{2,20}){1,2}[0-9]{1,2}", re.ASCII)


def vertex_problems(account: AccountSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with an account, as (setting, message), first things first."""
    if account.provider != "vertex":
        for name in SETTINGS:
            if getattr(account, name) is not None:
                yield name, 'is only for provider = "vertex"'
        return
    if account.location is not None and not _LOCATION.fullmatch(account.location):
        yield "location", "must be the name of a Google Cloud location, such as europe-west4 or global"
    if account.api_key is not None:  # express mode
        for name in ("project", *_TOKENS):
            if getattr(account, name) is not None:
                yield name, "must not be set beside api_key: with a key, Vertex AI is in express mode"
        return
    if account.project is None:
        yield "project", "is required for provider vertex (or api_key, for express mode)"
    elif not _PROJECT.fullmatch(account.project):
        yield "project", "must be the id or the number of a Google Cloud project"
    if account.location is None:
        yield "location", "is required for provider vertex, such as europe-west4 or global"
    given = [name for name in _TOKENS if getattr(account, name) is not None]
    for name in given[1:]:
        yield name, f"must not be set beside {given[0]}: an account proves itself in one way"
    if account.credentials is not None and not _is_credentials(account.credentials.get_secret_value()):
        yield "credentials", "must be Google's JSON: a service account's key, or a workload identity configuration"
    if (not given or given == ["credentials"]) and not _has_google_auth():
        missing = given[0] if given else "token_command"
        yield missing, "needs google-auth here, which is not installed: pip install 'relay-trio[vertex]'"


_CREDENTIALS = ("service_account", "external_account", "impersonated_service_account", "authorized_user")


def _is_credentials(text: str) -> bool:
    try:
        described = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(described, dict) and described.get("type") in _CREDENTIALS


def _has_google_auth() -> bool:
    try:
        return importlib.util.find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False
