"""The types of values that settings have: what each accepts, and the message where it does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from relay_trio.settings.header_names import checked_name, checked_pattern
from relay_trio.settings.listener import Listener

_SHORTEST_SIGNING_SECRET = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?(:[0-9]{1,5})?", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9@~*?\[][A-Za-z0-9._:/@=,+!~()*?\[\]-]{0,511}", re.ASCII)
"""The characters that names of models have (``api.operation.checked_model``), and those of patterns."""


def _number(value: object) -> object:
    """Refuse true and false, which pydantic would read as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_is_bool", "must be a number")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise PydanticCustomError(
            "name", "must be 1 to 63 of the characters a-z A-Z 0-9 _ . - and start with a letter or a digit"
        )
    return value


def _pattern(value: str) -> str:
    """What no name of a model can match is a mistake that would show as requests that nobody serves."""
    if not _PATTERN.fullmatch(value) or ".." in value:
        raise PydanticCustomError(
            "pattern",
            'must be a pattern that a model name can match, such as "*-large": it begins with a letter, a digit or '
            "one of @ ~ * ? [ and has no spaces, quotes or two dots in a row",
        )
    return value


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise PydanticCustomError(
            "origin", "must be http://host or https://host, with a port if it has one, and no path"
        )
    return value


def _listener(value: object) -> Listener:
    if isinstance(value, Listener):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("listener", "must be text of the form host:port or unix:/path")
    try:
        return Listener.parse(value)
    except ValueError as error:
        raise PydanticCustomError("listener", "{reason}", {"reason": str(error)}) from None


def _several(value: object) -> object:
    """A list may be written as one string with commas, which is its only form in an environment variable."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _path(value: Path, info: ValidationInfo) -> Path:
    """A relative path starts at the ``directory`` of the validation's context, where one is given."""
    if "\0" in str(value) or value == Path():
        raise PydanticCustomError("path", "must be the path of a file")
    return value if info.context is None else info.context["directory"] / value


def _header_safe(value: SecretStr) -> SecretStr:
    """A secret travels in a header: anything but visible ASCII would break it or smuggle another one in."""
    text = value.get_secret_value()
    if not text:
        raise PydanticCustomError("secret", "must not be empty")
    if not all("!" <= character <= "~" for character in text):
        raise PydanticCustomError("secret", "must be visible ASCII without spaces, and holds another character")
    return value


def _header_text(value: str) -> str:
    if not value or value != value.strip() or not all(" " <= character <= "~" for character in value):
        raise PydanticCustomError("header", "must be visible ASCII, with spaces inside only")
    return value


def _header_name(value: str) -> str:
    try:
        return checked_name(value)
    except ValueError as error:
        raise PydanticCustomError("header_name", "{reason}", {"reason": str(error)}) from None


def _header_pattern(value: str) -> str:
    try:
        return checked_pattern(value)
    except ValueError as error:
        raise PydanticCustomError("header_pattern", "{reason}", {"reason": str(error)}) from None


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < _SHORTEST_SIGNING_SECRET:
        raise PydanticCustomError(
            "secret",
            "must have 32 characters or more: every client's pair is derived from it; try openssl rand -hex 32",
        )
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _base_url(value: str) -> str:
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise PydanticCustomError("base_url", "must be https://host or https://host:port, with or without a path")
    if url.username is not None or url.password is not None:
        raise PydanticCustomError("base_url", "must not hold a user or a password: the credential is api_key")
    if "?" in value or "#" in value or not all("!" <= character <= "~" for character in value):
        raise PydanticCustomError("base_url", "must not hold a query, a fragment, spaces or characters beyond ASCII")
    return value.rstrip("/")


def _proxy_url(value: SecretStr) -> SecretStr:
    """It may hold a password, so no message repeats it."""
    text = value.get_secret_value()
    try:
        url = urlsplit(text)
        is_proxy = url.scheme == "http" and bool(url.hostname) and bool(url.port) and url.path in ("", "/")
    except ValueError:
        is_proxy = False
    if not is_proxy or url.query or url.fragment or not all("!" <= character <= "~" for character in text):
        raise PydanticCustomError("proxy", "must be http://host:port or http://user:password@host:port")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[Number, Field(gt=0, le=7 * 86400)]
Name = Annotated[str, AfterValidator(_name)]
Secret = Annotated[SecretStr, AfterValidator(_header_safe)]
ApiKey = Annotated[Secret, Field(description="env:NAME or file:/path (chmod 600), so that it stays out of this file")]
OptionalSecret = Annotated[Secret | None, BeforeValidator(_empty_is_none)]
OptionalProxyUrl = Annotated[Annotated[SecretStr, AfterValidator(_proxy_url)] | None, BeforeValidator(_empty_is_none)]
OptionalSecretText = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
Command = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
SigningSecret = Annotated[SecretStr, AfterValidator(_header_safe), AfterValidator(_long_enough)]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1), BeforeValidator(_several)
]
OptionalPatterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(_several)]
ListenerSetting = Annotated[
    Listener,
    PlainValidator(_listener),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8400", "unix:/run/relay.sock"]}),
]
ListenerSettings = Annotated[tuple[ListenerSetting, ...], Field(min_length=1), BeforeValidator(_several)]
HeaderText = Annotated[str, AfterValidator(_header_text)]
AddedHeaders = dict[Annotated[str, AfterValidator(_header_name)], HeaderText]
HeaderPatterns = Annotated[tuple[Annotated[str, AfterValidator(_header_pattern)], ...], BeforeValidator(_several)]
FilePath = Annotated[Path, AfterValidator(_path)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]

Origins = tuple[Annotated[str, AfterValidator(_origin)], ...]
"""Web pages' origins, as browsers write them."""
