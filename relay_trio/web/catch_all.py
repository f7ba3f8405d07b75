"""A Quart-trio application with one rule for everything that it has no other rule for.

Quart would look into werkzeug's map of rules for each request: bind an adapter to it, and match a regular expression
that matches anything. That costs ten times what the relay's own router does, and says nothing. So where the path is
none of the application's own, Quart is given the one rule at once; all that follows (context, handlers, errors) is
Quart's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from quart_trio import QuartTrio

from relay_trio.web.asgi import client_request_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart import Response
    from quart.wrappers.base import BaseRequestWebsocket
    from werkzeug.routing import MapAdapter, Rule


class _Everything:
    """What Quart has in place of an adapter: every request matches the same rule."""

    def __init__(self, rule: Rule) -> None:
        self._match: tuple[Rule, dict[str, Any]] = (rule, {})

    def match(self, *, return_rule: bool) -> tuple[Rule, dict[str, Any]]:
        return self._match


class CatchAllApp(QuartTrio):
    """``catch_all`` comes after every other rule has been added, none of which has a variable part."""

    _own_paths: frozenset[bytes] = frozenset()
    _everything: _Everything | None = None

    def catch_all(self, view: Callable[[], Awaitable[Response]]) -> None:
        """Have ``view`` answer every request, by whichever method, whose path has no rule of its own.

        The rule stays out of werkzeug's map, where it would answer wrong methods on our own paths.
        """
        self._own_paths = frozenset(rule.rule.encode() for rule in self.url_map.iter_rules())
        rule = self.url_rule_class("/", endpoint="catch_all", methods=None)
        rule.provide_automatic_options = False
        self.view_functions["catch_all"] = view
        self._everything = _Everything(rule)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """As Quart's, for its own paths."""
        if self._everything is None or request is None or client_request_of(request).raw_path in self._own_paths:
            return super().create_url_adapter(request)
        return cast("MapAdapter", self._everything)
