"""Which operation a request is for: by method and raw path alone, and by the dialects where several have the path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from relay_trio.api.operation import Operation
from relay_trio.errors import MethodNotAllowed, NotFound
from relay_trio.vendors.registry import DIALECTS
from relay_trio.web.router import Router
from tests.support.client_requests import client_head

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.server.client_request import ClientRequest


@dataclass
class Toy:
    """As much of a dialect as a router looks at: who sends its name as a header is its client."""

    name: str
    operations: tuple[Operation, ...]
    path_hint: str = ""

    def claims(self, head: ClientRequest) -> bool:
        return any(name == self.name.encode() for name, _ in head.headers)


def operation(name: str, *routes: str) -> Operation:
    return Operation(name, tuple((method, path) for method, _, path in (route.partition(" ") for route in routes)))


def router(*dialects: Toy) -> Router:
    return Router(cast("tuple[Dialect, ...]", dialects))


ONE = router(
    Toy(
        "toy",
        (
            operation("all", "GET /v1/models", "GET /v1/models/{id...}"),
            operation("call", "POST /v1/models/{model}:call"),
            operation("stream", "POST /v1/models/{model}:stream"),
            operation("parts", "POST /a/{x}/b/{y}"),
            operation("literal", "POST /a/exact/b/{y}", "DELETE /a/{x}"),
        ),
        path_hint="as it should be",
    )
)


def found(router: Router, request: str, *claims: str) -> tuple[str, dict[str, str]]:
    method, _, path = request.partition(" ")
    match = router.match(client_head(method, path.encode(), b"", [(name.encode(), b"") for name in claims]))
    return match.operation.name, dict(match.parameters)


@pytest.mark.parametrize(
    ("request_", "name", "parameters"),
    [
        ("GET /v1/models", "all", {}),
        ("HEAD /v1/models", "all", {}),
        ("GET /v1/models/a", "all", {"id": "a"}),
        ("GET /v1/models/a/b/c", "all", {"id": "a/b/c"}),
        ("GET /v1/models/a%2Fb%20c", "all", {"id": "a/b c"}),
        ("GET /v1/models/a:word", "all", {"id": "a:word"}),
        ("POST /v1/models/a:call", "call", {"model": "a"}),
        ("POST /v1/models/a%3Astream", "stream", {"model": "a"}),
        ("POST /v1/models/a%3astream", "stream", {"model": "a"}),
        ("POST /v1/models/a:b:stream", "stream", {"model": "a:b"}),
        ("POST /v1/models/a%3Ab:stream", "stream", {"model": "a:b"}),
        ("POST /a/1/b/2", "parts", {"x": "1", "y": "2"}),
        ("POST /a/exact/b/2", "literal", {"y": "2"}),
        ("DELETE /a/exact", "literal", {"x": "exact"}),
    ],
)
def test_a_template_says_what_its_parameters_are(request_: str, name: str, parameters: dict[str, str]) -> None:
    assert found(ONE, request_) == (name, parameters)


@pytest.mark.parametrize(
    "request_",
    [
        "GET /",
        "GET *",
        "GET /v1",
        "GET /v1/models/",
        "GET /v1/models/a/",
        "GET /v1/models//a",
        "GET //v1/models",
        "GET /V1/models",
        "GET /v1/model%73",
        "GET /v1/models/ä",
        "GET /v1/models/a b",
        "GET /v1/models/a?b",
        "GET /v1/models/" + "a" * 4097,
        "POST /v1/models/:call",
        "POST /v1/models/a:call/",
        "POST /v1/models/a/b:call",
        "POST /v1/models/a:other",
        "POST /a//b/2",
        "POST /a/1/c/2",
        "POST /a/1/b/2/3",
    ],
)
def test_another_spelling_of_a_path_is_no_route(request_: str) -> None:
    with pytest.raises(NotFound, match="no such route"):
        found(ONE, request_)


ALL = Router(DIALECTS)


@pytest.mark.parametrize(
    ("request_", "meant"),
    [
        ("POST /v1/v1/messages", "/v1/messages is one: the base URL has one /v1 too many"),
        ("POST /messages", "/v1/messages is one: /v1 is missing"),
        ("POST /v1/messages/", "/v1/messages is one: there is a slash too many"),
        ("POST //v1/messages", "/v1/messages is one: there is a slash too many"),
        ("POST /v1//messages/count_tokens", "/v1/messages/count_tokens is one"),
        ("POST /models/g:generateContent", "/v1beta/models/g:generateContent is one: /v1beta is missing"),
        ("POST /v1beta/v1/models/g:generateContent", "the base URL has one /v1beta too many"),
        ("GET /models", "/v1/models is one: /v1 is missing"),
    ],
)
def test_a_mistake_in_a_base_url_is_named(request_: str, meant: str) -> None:
    with pytest.raises(NotFound) as caught:
        found(ALL, request_)
    assert meant in caught.value.message


def test_a_method_that_is_none_names_those_that_are() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        found(ALL, "PUT /v1/models")
    assert caught.value.allowed == ("GET", "HEAD")


@pytest.mark.parametrize(
    "request_",
    [
        "POST /v1/models",
        "PUT /v1/models/a",
        "GET /v1/models/a:call",
        "BREW /v1/models",
        "GET /a/1/b/2",
        "get /v1/models",
    ],
)
def test_another_method_is_not_answered(request_: str) -> None:
    with pytest.raises(MethodNotAllowed, match="does not answer"):
        found(ONE, request_)


def test_whoever_the_request_is_of_says_what_its_paths_look_like() -> None:
    with pytest.raises(NotFound) as refused:
        found(ONE, "GET /nothing", "toy")
    assert refused.value.message == "no such route: GET /nothing (as it should be)"
    with pytest.raises(NotFound) as refused:
        found(ONE, "GET /" + "x" * 1000)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("second", ["GET /v1/models/{model}", "GET /v1/models/{model...}"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_route_that_several_have_goes_to_the_first_that_claims_it(second: str, is_first: bool) -> None:
    """Whether either has one part of the path or all the rest."""
    dialects = [
        Toy("one", (operation("one.models", "GET /v1/models", "GET /v1/models/{id...}"),)),
        Toy("two", (operation("two.models", "GET /v1/models", second),)),
    ]
    shared = router(*(dialects if is_first else reversed(dialects)))
    for path in ("/v1/models", "/v1/models/m"):
        for name, key in (("one", "id"), ("two", "model")):
            expected = {key: "m"} if path.endswith("m") else {}
            assert found(shared, f"GET {path}", name) == (f"{name}.models", expected)
        assert found(shared, f"GET {path}")[0] == ("one.models" if is_first else "two.models")
    assert found(shared, "GET /v1/models/a/b", "one") == ("one.models", {"id": "a/b"})


def test_every_route_of_the_registry_leads_to_its_operation() -> None:
    """A template that stands in the shadow of another one would never be reached."""
    ours = Router(DIALECTS)
    for dialect in DIALECTS:
        for each in dialect.operations:
            for method, template in each.routes:
                path = template.replace("...", "").replace("{", "").replace("}", "")
                targets: Any = ours.match(client_head(method, path.encode(), b"", []))
                assert targets.operation is each or path.startswith("/v1/models"), (method, template)
