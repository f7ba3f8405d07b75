"""Access tokens for Vertex AI: from a command, from a file that something else renews, or by Google's own library.

google-auth knows service accounts, workload identity and the metadata server. It does blocking I/O, so all of this is
called in a thread. It comes with the extra ``vertex``, and is imported when it is first used.
"""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

from relay_trio.api.credential import Credential
from relay_trio.errors import UpstreamRefused, plain_name

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.vendors.vertex.settings import VertexSettings

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_ASK_AGAIN_SECONDS = 420.0
"""How long a token of a command or a file is taken for good, as neither says. gcloud prints tokens that have at least
five minutes left, and a token is renewed two minutes before this time is over: after five minutes."""

_COMMAND_SECONDS = 30.0
_SERVICE_SECONDS = 10.0
_LONGEST_TOKEN = 16_384
_TOKEN = re.compile(r"[\x21-\x7e]+")


def access_token(account: VertexSettings) -> Credential:
    """The account's token of now. Blocks.

    Raises:
        UpstreamRefused: there is none; the message holds nothing of what was found.
    """
    if account.token_command is not None:
        return _undated(_printed_by(account.token_command), "token_command")
    if account.token_file is not None:
        return _undated(_read(account.token_file), "token_file")
    return _by_google(account)


def token_source(account: VertexSettings) -> str:
    """Where ``access_token`` takes the account's token from, for an operator to read."""
    if account.token_command is not None:
        return f"token of {account.token_command[0]}"
    if account.token_file is not None:
        return f"token in {account.token_file}"
    return "Google's default credentials" if account.credentials is None else "Google credentials"


def _undated(text: str, source: str) -> Credential:
    token = text.strip()
    if len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise UpstreamRefused(f"{source} gave no token: one line of visible ASCII was expected")
    return Credential(token, time.time() + _ASK_AGAIN_SECONDS)


def _printed_by(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UpstreamRefused(f"token_command did not end within {_COMMAND_SECONDS:g} seconds") from None
    except OSError as error:
        raise UpstreamRefused(f"token_command cannot be run: {error.strerror or plain_name(error)}") from None
    if done.returncode != 0:
        raise UpstreamRefused(f"token_command ended with {done.returncode}")
    return done.stdout[: _LONGEST_TOKEN + 1].decode("latin-1")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_TOKEN + 1).decode("latin-1")
    except OSError as error:
        raise UpstreamRefused(f"token_file cannot be read: {error.strerror or plain_name(error)}") from None


def _by_google(account: VertexSettings) -> Credential:
    try:
        import google.auth
        import google.auth.exceptions
        import urllib3
        from google.auth.transport import urllib3 as transport
    except ImportError:
        raise UpstreamRefused("google-auth is not installed: pip install 'relay-trio[vertex]'") from None
    try:
        found = _found(google.auth, account)
        new_request: Any = transport.Request  # it is not typed
        with urllib3.PoolManager(timeout=_SERVICE_SECONDS, retries=False) as pool:
            found.refresh(new_request(pool))
    except google.auth.exceptions.GoogleAuthError as error:  # its text may quote what the token service said
        raise UpstreamRefused(f"Google credentials cannot be had ({plain_name(error)})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamRefused(f"credentials are not of a form that Google knows ({plain_name(error)})") from None
    return _undated(str(found.token), "google-auth") if found.expiry is None else _dated(found)


def _found(library: Any, account: VertexSettings) -> Any:
    """What ``credentials`` holds, or where there is none, what the machine itself has."""
    if account.credentials is None:
        return library.default(scopes=_SCOPES)[0]
    described = json.loads(account.credentials.get_secret_value())
    return _loader(described)(described, scopes=_SCOPES)


def _loader(described: dict[str, Any]) -> Any:
    """google-auth has one for each type, and none for all of them that is not deprecated."""
    kind = described["type"]
    if kind == "service_account":
        from google.oauth2 import service_account

        return service_account.Credentials.from_service_account_info
    if kind == "impersonated_service_account":
        from google.auth import impersonated_credentials

        return impersonated_credentials.Credentials.from_impersonated_service_account_info
    if kind == "authorized_user":
        from google.oauth2 import credentials

        return credentials.Credentials.from_authorized_user_info
    from google.auth import aws, identity_pool

    is_aws = str(described["credential_source"].get("environment_id")).startswith("aws")
    return aws.Credentials.from_info if is_aws else identity_pool.Credentials.from_info


def _dated(found: Any) -> Credential:
    """google-auth's times are UTC and do not say so."""
    return Credential(str(found.token), float(calendar.timegm(found.expiry.utctimetuple())))
