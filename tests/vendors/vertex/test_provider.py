"""Vertex AI: the same dialect at the account's own project, location and host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.api.credential import Credential
from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.http import ResponseHead, UpstreamRequest, header
from relay_trio.vendors.gemini import operations as gemini
from relay_trio.vendors.gemini.stream import ArrayReader
from relay_trio.vendors.vertex.provider import Vertex
from relay_trio.vendors.vertex.settings import VertexSettings
from tests.support.accounts import vertex_settings
from tests.support.vendor_calls import build_request, client_headers, new_reader
from tests.vendors.gemini.test_provider import JSON, VERTEX_PATH, incoming

if TYPE_CHECKING:
    from relay_trio.api.checked_request import CheckedRequest

VERTEX = Vertex()


def build(settings: VertexSettings, checked: CheckedRequest) -> UpstreamRequest:
    found = VERTEX.credential(settings)
    credential = found if isinstance(found, Credential) else Credential("ya29.token")
    return build_request(VERTEX, settings, checked, credential)


@pytest.mark.parametrize(
    ("path", "version"),
    [
        (b"/v1/models/g:streamGenerateContent", b"v1"),
        (b"/v1beta/models/g:streamGenerateContent", b"v1beta1"),
        (VERTEX_PATH, b"v1beta1"),
        (b"/v1/publishers/google/models/g:streamGenerateContent", b"v1"),
    ],
)
def test_whatever_the_client_believes_the_accounts_place_is_asked(path: bytes, version: bytes) -> None:
    """Project and location in a client's path are never looked at."""
    checked = incoming((b"x-goog-api-key", b"rt_client"), path=path, query=b"alt=sse&key=rt_client")
    sent = build(vertex_settings(), checked)
    place = b"/projects/mine/locations/europe-west4/publishers/google/models/g:streamGenerateContent?alt=sse"
    assert sent.target == b"/" + version + place
    assert (sent.scheme, sent.host, sent.port) == ("https", "europe-west4-aiplatform.googleapis.com", 443)
    assert header(sent.headers, b"authorization") == b"Bearer ya29.token"
    assert header(sent.headers, b"x-goog-api-key") is None
    assert sent.body == b'{"contents": []}'


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
    ],
)
def test_each_location_has_its_host(location: str, host: str) -> None:
    assert build(vertex_settings(location=location), incoming()).host == host


def test_a_location_that_makes_no_host_name_sends_nothing() -> None:
    """Configuration refuses it; this is the second lock."""
    settings = vertex_settings().model_copy(update={"location": "x.evil/"})
    with pytest.raises(ValueError, match="no host name"):
        build(settings, incoming())


def test_a_base_url_is_the_host() -> None:
    sent = build(vertex_settings(base_url="http://127.0.0.1:9"), incoming())
    assert (sent.scheme, sent.host, sent.port) == ("http", "127.0.0.1", 9)


def test_express_mode_has_a_key_and_neither_project_nor_location() -> None:
    sent = build(vertex_settings(api_key="AQ.key"), incoming(path=VERTEX_PATH))
    assert sent.target == b"/v1beta1/publishers/google/models/g:streamGenerateContent"
    assert sent.host == "aiplatform.googleapis.com"
    assert header(sent.headers, b"x-goog-api-key") == b"AQ.key"
    assert header(sent.headers, b"authorization") is None
    assert VERTEX.credential(vertex_settings(api_key="AQ.key")) == Credential("AQ.key")


def test_the_catalogue_is_nobodys_project() -> None:
    checked = incoming(
        operation=gemini.PUBLISHER_MODELS.name, path=VERTEX_PATH.removesuffix(b"/g:streamGenerateContent")
    )
    assert build(vertex_settings(), checked).target == b"/v1beta1/publishers/google/models"


def test_it_serves_what_means_the_same_and_nothing_else() -> None:
    assert {gemini.GENERATE.name, gemini.STREAM.name, gemini.COUNT_TOKENS.name, gemini.EMBED.name} < VERTEX.calls.keys()
    assert not {gemini.BATCH_EMBED.name, gemini.MODELS.name} & VERTEX.calls.keys()


def test_the_probe_counts_a_token_with_a_model_that_there_is_not() -> None:
    sent = VERTEX.probe_request(vertex_settings(), Credential("ya29.token"))
    place = b"/v1/projects/mine/locations/europe-west4/publishers/google/models/relay-trio-check:countTokens"
    assert (sent.method, sent.target) == ("POST", place)
    assert header(sent.headers, b"authorization") == b"Bearer ya29.token"
    assert VERTEX.judge_probe(ResponseHead(404, JSON.headers)) is ProbeAnswer.ACCEPTED
    assert VERTEX.judge_probe(ResponseHead(404, [(b"content-type", b"text/html")])) is ProbeAnswer.UNEXPECTED
    assert VERTEX.judge_probe(ResponseHead(401, JSON.headers)) is ProbeAnswer.REFUSED


def test_a_token_that_is_refused_is_not_the_clients_business() -> None:
    verdict = VERTEX.judge(ResponseHead(401, []), b"", 0)
    assert (verdict.is_credential_refused, verdict.is_retryable, verdict.is_passed_through) == (True, True, False)


def test_answers_are_read_as_the_gemini_apis() -> None:
    assert isinstance(new_reader(VERTEX, JSON, incoming()), ArrayReader)
    assert client_headers(VERTEX, ResponseHead(200, [*JSON.headers, (b"alt-svc", b"h3")]), incoming()) == JSON.headers


def test_a_token_is_not_in_the_configuration() -> None:
    assert not isinstance(VERTEX.credential(vertex_settings()), Credential)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"token_command": ["gcloud", "auth", "canary"]}, "token of gcloud, project my-ai in global"),
        ({"token_file": "/run/token"}, "token in /run/token, project my-ai in global"),
        ({"credentials": '{"type": "service_account"}'}, "Google credentials, project my-ai in global"),
        ({}, "Google's default credentials, project my-ai in global"),
        ({"api_key": "AQ.0123456789abcdef0123", "project": None, "location": None}, "key AQ.0123…123"),
    ],
)
def test_the_description_says_where_the_token_comes_from(changes: dict[str, object], shown: str) -> None:
    where = {"project": "my-ai", "location": "global"}
    plain = {"name": "v", "provider": "vertex", "max_concurrency": 1}
    settings = VertexSettings.model_validate(plain | where | changes)
    assert VERTEX.describe_credential(settings) == shown


def test_a_gateways_request_id_is_in_its_header() -> None:
    assert VERTEX.request_id(ResponseHead(200, [(b"request-id", b"r-1")])) == "r-1"
    assert VERTEX.request_id(ResponseHead(200, [])) == ""
