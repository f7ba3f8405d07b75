"""``[[account]] provider = "vertex"``: a project, a location, and one way to get a token; or an API key alone.

Location and project become parts of a host name and of a path that credentials are sent to, so both are checked here
and are never a client's text.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import Command, FilePath, OptionalSecret, OptionalSecretText, Patterns
from relay_trio.vendors.gemini.settings import GOOGLE_MODELS

_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_LOCATION = re.compile(r"global|us|eu|[a-z]{2,20}(-[a-z]{2,20}){1,2}[0-9]{1,2}", re.ASCII)

_CREDENTIALS = ("service_account", "external_account", "impersonated_service_account", "authorized_user")
_TOKENS = ("credentials", "token_command", "token_file")


def _project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise PydanticCustomError("project", "must be the id or the number of a Google Cloud project")
    return value


def _location(value: str) -> str:
    if not _LOCATION.fullmatch(value):
        raise PydanticCustomError(
            "location", "must be the name of a Google Cloud location, such as europe-west4 or global"
        )
    return value


def _credentials(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not _is_credentials(value.get_secret_value()):
        raise PydanticCustomError(
            "secret", "must be Google's JSON: a service account's key, or a workload identity configuration"
        )
    return value


class VertexSettings(AccountSettings):
    """An account of Vertex AI; repeat the table for each."""

    provider: Literal["vertex"] = Field(description="Gemini on Google's Vertex AI")
    models: Patterns = Field(default=GOOGLE_MODELS, description="as glob patterns; default: Google's own names")
    project: Annotated[str, AfterValidator(_project)] | None = Field(
        default=None, description="id of the Google Cloud project", examples=["my-ai"]
    )
    location: Annotated[str, AfterValidator(_location)] | None = Field(
        default=None, description="where", examples=["europe-west4"]
    )
    credentials: Annotated[OptionalSecretText, AfterValidator(_credentials)] = Field(
        default=None,
        description="Google's JSON; without it or a token: the machine's own credentials",
        examples=["file:service-account.json"],
    )
    token_command: Command | None = Field(
        default=None,
        description="program that prints an access token, run again every 5 minutes",
        examples=[["gcloud", "auth", "print-access-token"]],
    )
    token_file: FilePath | None = Field(
        default=None,
        description="file with an access token, read again every 5 minutes",
        examples=["/run/secrets/vertex-token"],
    )
    api_key: OptionalSecret = Field(
        default=None, description="for express mode, with nothing of the above", examples=["env:GOOGLE_API_KEY"]
    )

    def own_address(self) -> BaseAddress:
        """The host of the location; ``global`` and the continents have names of their own (Vertex AI, "Locations")."""
        location = self.location or "global"
        if location == "global":
            return BaseAddress.of_host("aiplatform.googleapis.com")
        if location in ("us", "eu"):
            return BaseAddress.of_host(f"aiplatform.{location}.rep.googleapis.com")
        return BaseAddress.of_host(f"{location}-aiplatform.googleapis.com")

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is missing for the way in which the account authenticates, and what belongs to another way."""
        if self.api_key is not None:  # express mode
            for name in ("project", *_TOKENS):
                if getattr(self, name) is not None:
                    yield name, "must not be set beside api_key: with a key, Vertex AI is in express mode"
            return
        if self.project is None:
            yield "project", "is required for provider vertex (or api_key, for express mode)"
        if self.location is None:
            yield "location", "is required for provider vertex, such as europe-west4 or global"
        given = [name for name in _TOKENS if getattr(self, name) is not None]
        for name in given[1:]:
            yield name, f"must not be set beside {given[0]}: an account authenticates in one way"
        if (not given or given == ["credentials"]) and not _has_google_auth():
            missing = given[0] if given else "token_command"
            yield missing, "needs google-auth here, which is not installed: pip install 'relay-trio[vertex]'"


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
