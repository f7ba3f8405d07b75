"""Paths and queries of the Gemini API and of Gemini on Vertex AI: one dialect, two families of paths.

::

    /v1beta/models/MODEL:VERB                                                        the Gemini API
    /v1beta1/projects/P/locations/L/publishers/google/models/MODEL:VERB              Vertex AI
    /v1beta1/publishers/google/models/MODEL:VERB                                     Vertex AI, express

A client's path is parsed into a ``GeminiPath``, and written for the service of the account that gets the request.
Project and location are the account's: those in the client's path are ignored. The model keeps its escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_plus, unquote_to_bytes

from relay_trio.errors import BadRequest

_CALL = rb"(?:/(?P<call>[A-Za-z0-9._~:%@=,+!-]{1,1024}))?"
_GEMINI = re.compile(rb"/(?P<version>v1|v1beta|v1alpha)/models" + _CALL)
_VERTEX = re.compile(
    rb"/(?P<version>v1|v1beta1)/(?:projects/[^/]{1,256}/locations/[^/]{1,64}/)?publishers/google/models" + _CALL
)
_VERB = re.compile(rb"(?P<model>.+)(?::|%3[Aa])(?P<verb>[A-Za-z]+)", re.DOTALL)

VERBS = frozenset({"generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"})

_CREDENTIALS = frozenset({"key", "access_token", "oauth_token", "userproject"})
"""Parameters that hold a credential or name who pays: these are the account's to say. Each of Google's system
parameters may begin with ``$``."""

_HIDDEN_REQUESTS = ("$http", "$req", "$ct")
"""How parameters begin in which Google's JavaScript client can hide headers, a method and a body."""

_FORMATS = re.compile(r"(?:json|sse)?(?:;enum-encoding=[a-z]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GeminiPath:
    """``model`` has its escapes, and is empty for the list of models. ``verb``, such as ``generateContent``, is empty
    for a request that lists or describes models."""

    version: str
    is_vertex: bool
    model: bytes
    verb: str

    @property
    def model_name(self) -> str:
        """The model without escapes."""
        return unquote_to_bytes(self.model).decode("latin-1")

    def for_gemini(self) -> bytes:
        """The path at the Gemini API."""
        version = {"v1beta1": "v1beta"}.get(self.version, self.version)
        return f"/{version}/models".encode() + self._rest()

    def for_vertex(self, project: str | None, location: str | None) -> bytes:
        """The path at Vertex AI; without a project it is that of express mode, or of the catalogue."""
        version = "v1" if self.version == "v1" else "v1beta1"
        scope = f"projects/{project}/locations/{location}/" if project else ""
        return f"/{version}/{scope}publishers/google/models".encode() + self._rest()

    def _rest(self) -> bytes:
        if not self.model:
            return b""
        return b"/" + self.model + (b":" + self.verb.encode() if self.verb else b"")


def parse_path(raw_path: bytes) -> GeminiPath | None:
    """The path of a request line, escapes untouched; None when it is none of these."""
    for pattern, is_vertex in ((_GEMINI, False), (_VERTEX, True)):
        match = pattern.fullmatch(raw_path)
        if match is not None:
            model, verb = match["call"] or b"", ""
            parts = _VERB.fullmatch(model)
            if parts is not None and (found := parts["verb"].decode()) in VERBS:
                model, verb = parts["model"], found  # any other colon is a part of the name
            return GeminiPath(match["version"].decode(), is_vertex, model, verb)
    return None


def keys_in(query: bytes) -> list[str]:
    """The values of the parameter ``key``, where browsers and curl put their API key."""
    return [unquote_plus(value) for name, value in _parameters(query) if name.removeprefix("$") == "key" and value]


def forwarded_query(query: bytes) -> bytes:
    """``query`` as it came, without the parameters in ``_CREDENTIALS``.

    Raises:
        BadRequest: a parameter would make the answer one whose tokens cannot be counted, or hides another request.
    """
    kept = []
    for part, (name, value) in zip(query.split(b"&"), _parameters(query), strict=True):
        bare = name.removeprefix("$")
        if bare in _CREDENTIALS:
            continue
        if bare == "alt" and not _FORMATS.fullmatch(unquote_plus(value)):
            raise BadRequest("alt: must be json or sse")
        if bare in ("callback", "fields") or name.startswith(_HIDDEN_REQUESTS):
            raise BadRequest("the query has a parameter that is not relayed: callback, fields, $http…, $req or $ct")
        kept.append(part)
    return b"&".join(kept)


def _parameters(query: bytes) -> list[tuple[str, str]]:
    """Names without escapes and in lower case; values as they came."""
    pairs = (part.decode("latin-1").partition("=") for part in query.split(b"&"))
    return [(unquote_plus(name).lower(), value) for name, _, value in pairs]
