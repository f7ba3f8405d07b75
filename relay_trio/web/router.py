"""Which operation a request is for: by its method and the bytes of its path, over the routes of every dialect.

A path is matched as it came, because it goes upstream as it came: ``/v1/%6Dessages`` is another spelling of a route,
and is none. Most requests are found by one look into a dict; the others part by part in a tree of the templates.
Several dialects may have one route (``/v1/models``): then the first that claims the request has it.

Beside the templates that ``api/operation`` shows, one may end in a verb, ``/models/{model}:countTokens``. Clients may
write its colon as ``%3A``. A path that ends in a verb that no template has is no route, whatever else it could be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from relay_trio.errors import MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay_trio.api.dialect import Dialect
    from relay_trio.api.operation import Operation, Parameters
    from relay_trio.http import ClientHead

_VARIABLE = re.compile(r"{(?P<name>[a-z]+)(?P<is_rest>\.\.\.)?}(?::(?P<verb>[A-Za-z]+))?")
_PART = re.compile(rb"[A-Za-z0-9._~:%@=,+!-]{1,4096}")
"""What may stand for a ``{name}``."""

_CALLED = re.compile(rb"(?P<parameter>.+)(?::|%3[Aa])(?P<verb>[A-Za-z]+)", re.DOTALL)
_ENDS_IN_VERB = re.compile(rb"(?::|%3[Aa])[A-Za-z]+$")
_VERSIONS = frozenset({b"v1", b"v1beta", b"v1beta1", b"v1alpha"})
_SLASHES = re.compile(rb"//+")
_LONGEST_MISTAKE_BYTES = 1024
_NO_VALUES: tuple[bytes, ...] = ()
_PATH_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Target:
    """One route's operation. ``names`` are those of the template's parameters, in order."""

    dialect: Dialect
    operation: Operation
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What a request is for."""

    dialect: Dialect
    operation: Operation
    parameters: Parameters


Targets = dict[str, list[Target]]
"""By method."""


@dataclass(slots=True)
class _Node:
    """What can follow some first parts of a path: a literal part, a part with a verb, any part, any parts."""

    literals: dict[bytes, _Node] = field(default_factory=dict)
    verbs: dict[bytes, _Node] = field(default_factory=dict)
    part: _Node | None = None
    rest: _Node | None = None
    targets: Targets = field(default_factory=dict)


class Router:
    """The routes of ``dialects``, which are tried in this order where several have one."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._dialects = tuple(dialects)
        self._exact: dict[bytes, Targets] = {}
        self._root = _Node()
        for dialect in self._dialects:
            for operation in dialect.operations:
                for method, template in operation.routes:
                    self._add(method, template, dialect, operation)
        self._share(self._root)

    def match(self, head: ClientHead) -> Match:
        """What the request with ``head`` is for.

        Raises:
            NotFound, MethodNotAllowed: nothing.
        """
        targets, values = self._targets(head.raw_path)
        if targets is None:
            raise NotFound(self._no_route(head))
        found = targets.get("GET" if head.method == "HEAD" else head.method)
        if found is None:
            if values and _ENDS_IN_VERB.search(values[-1]):
                raise NotFound(self._no_route(head))
            allowed = {*targets, "HEAD"} if "GET" in targets else targets
            raise MethodNotAllowed(f"{shown_path(head)} does not answer {head.method}", allowed)
        target = found[0]
        if len(found) > 1:
            target = next((each for each in found if each.dialect.claims(head)), target)
        return Match(target.dialect, target.operation, dict(zip(target.names, map(_decoded, values), strict=True)))

    def _share(self, node: _Node) -> None:
        """Where both a one-part and a rest-of-path route fit one part, offer both, in the dialects' order."""
        if node.part is not None and node.rest is not None:
            for method, targets in node.rest.targets.items():
                shared = [*node.part.targets.get(method, ()), *targets]
                node.part.targets[method] = sorted(shared, key=lambda target: self._dialects.index(target.dialect))
        for child in (*node.literals.values(), *filter(None, (node.part,))):
            self._share(child)

    def _targets(self, raw_path: bytes) -> tuple[Targets | None, tuple[bytes, ...]]:
        """Those of the route that has this path, and the values of its parameters."""
        targets = self._exact.get(raw_path)
        if targets is not None:
            return targets, _NO_VALUES
        return _find(self._root, raw_path.split(b"/"), 1) or (None, _NO_VALUES)

    def _no_route(self, head: ClientHead) -> str:
        for meant, mistake in _meant_by(head.raw_path):
            if self._targets(meant)[0] is not None:
                shown = meant[:_PATH_SHOWN_CHARACTERS].decode("latin-1")
                return f"no such route: {head.method} {shown_path(head)}; {shown} is one: {mistake}"
        dialect = next((dialect for dialect in self._dialects if dialect.claims(head)), None)
        hint = f" ({dialect.path_hint})" if dialect is not None and dialect.path_hint else ""
        return f"no such route: {head.method} {shown_path(head)}{hint}"

    def _add(self, method: str, template: str, dialect: Dialect, operation: Operation) -> None:
        node, names = self._root, []
        for part in template.split("/")[1:]:
            variable = _VARIABLE.fullmatch(part)
            if variable is None:
                node = node.literals.setdefault(part.encode(), _Node())
                continue
            names.append(variable["name"])
            if variable["verb"]:
                node = node.verbs.setdefault(variable["verb"].encode(), _Node())
            elif variable["is_rest"]:
                node.rest = node.rest or _Node()
                node = node.rest
            else:
                node.part = node.part or _Node()
                node = node.part
        targets = node.targets if names else self._exact.setdefault(template.encode(), {})
        targets.setdefault(method, []).append(Target(dialect, operation, tuple(names)))


def _find(node: _Node, parts: list[bytes], at: int) -> tuple[Targets, tuple[bytes, ...]] | None:
    """The targets below ``node`` for ``parts`` from ``at`` on, and the values of their parameters.

    What is more definite comes first: a literal part, a verb, one part, the rest.
    """
    if at == len(parts):
        return (node.targets, _NO_VALUES) if node.targets else None
    part = parts[at]
    child = node.literals.get(part)
    if child is not None and (found := _find(child, parts, at + 1)) is not None:
        return found
    if node.verbs and at == len(parts) - 1 and (called := _CALLED.fullmatch(part)) is not None:
        child = node.verbs.get(called["verb"])
        if child is not None and _PART.fullmatch(called["parameter"]):
            return child.targets, (called["parameter"],)
    if node.part is not None and _PART.fullmatch(part) and (found := _find(node.part, parts, at + 1)) is not None:
        targets, values = found
        return targets, (part, *values)
    if node.rest is not None and all(map(_PART.fullmatch, parts[at:])):
        return node.rest.targets, (b"/".join(parts[at:]),)
    return None


def _meant_by(raw_path: bytes) -> Iterator[tuple[bytes, str]]:
    """Paths that a client may have meant whose base URL has too much or too little, and what is wrong with it."""
    if len(raw_path) > _LONGEST_MISTAKE_BYTES or not raw_path.startswith(b"/"):
        return
    path = _SLASHES.sub(b"/", raw_path)
    path = path.rstrip(b"/") or b"/"
    if path != raw_path:
        yield path, "there is a slash too many"
    parts = path.split(b"/", 3)
    if len(parts) > 3 and parts[1] in _VERSIONS and parts[2] in _VERSIONS:
        yield b"/%b/%b" % (parts[2], parts[3]), f"the base URL has one /{parts[1].decode()} too many"
        yield b"/%b/%b" % (parts[1], parts[3]), f"the base URL has one /{parts[2].decode()} too many"
    if parts[1] not in _VERSIONS:
        for version in (b"v1beta", b"v1") if _ENDS_IN_VERB.search(path) else (b"v1", b"v1beta"):
            yield b"/" + version + path, f"/{version.decode()} is missing"


def _decoded(value: bytes) -> str:
    return unquote_to_bytes(value).decode("latin-1")


def shown_path(head: ClientHead) -> str:
    """The path of ``head`` as an error message has it: escapes untouched, and the beginning only."""
    return head.raw_path[:_PATH_SHOWN_CHARACTERS].decode("latin-1")
