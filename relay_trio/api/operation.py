"""What a client can request: the operations of a dialect, and how each is read out of a request.

A route is a method and a template of the path. In a template ``{name}`` stands for one part of the path, and
``{name...}``, at its end, for one or more of them::

    /v1/messages
    /model/{model}/invoke
    /v1/models/{model...}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from relay_trio.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay_trio.api.model_list import ModelListing
    from relay_trio.http import ClientHead

    Parameters = Mapping[str, str]
    """What stands in the path for each ``{name}`` of the route's template, without escapes."""

    Read = Callable[[ClientHead, Parameters, dict[str, Any]], "Reading"]

_MODEL = re.compile(r"[A-Za-z0-9@~][A-Za-z0-9._:/@=,+!~()\[\]-]{0,255}", re.ASCII)
"""Names of models, inference profiles and ARNs, such as ``claude-opus-4-6[1m]``, ``claude-sonnet-4@20250514`` and
``@cf/meta/llama-4``. No space, no quote, no ``?``, ``#`` or ``%``: it ends up in paths."""


class Affinity(Enum):
    """Which accounts may serve an operation."""

    NONE = auto()  # any account that can
    PINNED = auto()  # what it is about lives in one account: always the first that could have it, and no other


@dataclass(frozen=True, slots=True)
class Reading:
    """What an operation reads out of a request.

    ``model`` is None where the operation has none. ``document`` is the parsed body, empty where it was not looked at.
    """

    model: str | None = None
    is_stream: bool = False
    document: dict[str, Any] = field(default_factory=dict, repr=False)


def nothing(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """A request that names no model, such as one for a list."""
    return Reading()


def model_of_path(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """A request whose path has the model as ``{model}``.

    Raises:
        BadRequest: it is not the name of a model.
    """
    return Reading(checked_model(parameters.get("model")), document=document)


def one_or_all(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """A request for one model, or for the list of them.

    Raises:
        BadRequest: the path has something else than a model's name in its place.
    """
    return (model_of_path if "model" in parameters else nothing)(head, parameters, document)


def stream_of_path(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """As ``model_of_path``, of an operation whose answer is a stream.

    Raises:
        BadRequest: it is not the name of a model.
    """
    return Reading(checked_model(parameters.get("model")), is_stream=True, document=document)


def checked_model(model: object) -> str:
    """``model``, if it can be the name of a model.

    Raises:
        BadRequest: it cannot.
    """
    if not isinstance(model, str) or not _MODEL.fullmatch(model) or ".." in model:
        raise BadRequest("model: must be the name of a model")
    return model


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a dialect, such as ``claude.messages``.

    ``name`` is that of the ledger, and of the call that serves it at a provider. ``routes`` are pairs of method and
    template. ``read`` finds what a request is for in its head, the parameters of its path and its document, and
    raises BadRequest where it cannot be said. ``is_json``: the body must be one JSON object, which is parsed for
    ``read``; else it is not looked at. ``lists``: the answer lists models, and how; one that names no model is answered
    here, with those that the client can use.
    """

    name: str
    routes: tuple[tuple[str, str], ...]
    read: Read = nothing
    is_json: bool = False
    affinity: Affinity = Affinity.NONE
    lists: ModelListing | None = None
