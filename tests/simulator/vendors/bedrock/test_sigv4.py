"""The verifier against AWS's own signer and its published examples, and what each mistake is called."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.bedrock.sigv4 import AccessKey, Refused, access_key_id, canonical_request, verify
from tests.support.field_signer import FieldSigner

if TYPE_CHECKING:
    from collections.abc import Mapping


KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TEMPORARY_ID, TOKEN = "ASIDEXAMPLE", "a/token+of==the tests"
KEYS = {KEY_ID: AccessKey(SECRET), TEMPORARY_ID: AccessKey(SECRET, TOKEN)}
URL = "http://127.0.0.1:9100/model/m/invoke"


def signed(
    url: str = URL,
    *,
    body: bytes = b"{}",
    method: str = "POST",
    key_id: str = KEY_ID,
    secret: str = SECRET,
    token: str | None = None,
    service: str = "bedrock",
    region: str = "us-east-1",
    **headers: str,
) -> Request:
    """A request as AWS's signer signs it and as it would arrive."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = AWSRequest(method, url, headers=named, data=body)
    SigV4Auth(Credentials(key_id, secret, token), service, region).add_auth(made)
    parts = urlsplit(url)
    fields = [("host", parts.netloc), *made.prepare().headers.items()]
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Request(method, target.encode(), [(n.lower().encode(), _bytes(v)) for n, v in fields], body, True)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def with_header(request: Request, name: bytes, change: bytes | None) -> Request:
    """The request with one header replaced, added or (None) dropped."""
    headers = [pair for pair in request.headers if pair[0] != name]
    headers += [] if change is None else [(name, change)]
    return Request(request.method, request.target, headers, request.body, True)


def refusal(request: Request, *, service: str = "bedrock", **options: float) -> tuple[str, str]:
    with pytest.raises(Refused) as raised:
        verify(request, KEYS, service=service, **options)  # type: ignore[arg-type]
    return raised.value.kind, raised.value.message


# --- what AWS publishes -------------------------------------------------------------------------------------------

DATE = (b"x-amz-date", b"20150830T123600Z")
HOST = (b"host", b"example.amazonaws.com")
EXAMPLES = {
    "the example of the documentation": (
        Request(
            "GET",
            b"/?Action=ListUsers&Version=2010-05-08",
            [
                (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
                (b"host", b"iam.amazonaws.com"),
                DATE,
            ],
            b"",
            True,
        ),
        "iam",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    ),
    "get-vanilla": (
        Request("GET", b"/", [HOST, DATE], b"", True),
        "service",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        Request("GET", b"/?Param2=value2&Param1=value1", [HOST, DATE], b"", True),
        "service",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-relative-relative": (
        Request("GET", b"/example1/example2/../..", [HOST, DATE], b"", True),
        "service",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-slashes": (
        Request("GET", b"//example//", [HOST, DATE], b"", True),
        "service",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-space": (
        Request("GET", b"/example space/", [HOST, DATE], b"", True),
        "service",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-utf8": (
        Request("GET", "/\u1234".encode(), [HOST, DATE], b"", True),
        "service",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-header-value-trim": (
        Request("GET", b"/", [HOST, DATE, (b"my-header1", b" value1"), (b"my-header2", b' "a   b   c"')], b"", True),
        "service",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-header-value-order": (
        Request("GET", b"/", [HOST, DATE, *((b"my-header1", b"value%d" % n) for n in (2, 2, 1))], b"", True),
        "service",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "post-x-www-form-urlencoded": (
        Request(
            "POST", b"/", [HOST, DATE, (b"content-type", b"application/x-www-form-urlencoded")], b"Param1=value1", True
        ),
        "service",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_published_examples_verify(name: str) -> None:
    """From AWS's documentation and its signature test suite."""
    request, service, signature = EXAMPLES[name]
    names = ";".join(sorted({header.decode() for header, _ in request.headers}))
    scope = f"{KEY_ID}/20150830/us-east-1/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
    arrived = with_header(request, b"authorization", text.encode())
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    assert verify(arrived, KEYS, service=service, now=now) == KEY_ID
    spoilt = with_header(request, b"authorization", text.encode()[:-1] + b"?")
    assert refusal(spoilt, service=service, now=now)[0] == "InvalidSignatureException"


# --- what AWS's signer signs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
        "/model/anthropic.claude-3-haiku-20240307-v1:0/invoke",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.x-v1%3A0/converse",
        "/model/arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.x/invoke-with-response-stream",
        "/model/claude%3Achunks%3D5%2Cpace%3D0.01/converse-stream",
        "/model/claude:chunks=5,pace=0.01;tag=a+b@c!$&'()*/invoke",
        "/model/%E3%83%A2%E3%83%87%E3%83%AB%20%C3%A9/invoke",
        "/model/a%2Fb%252Fc/invoke",
        "/model/~tilde_-./invoke",
        "//model//m/./x/../invoke/",
        "/inference-profiles?type=SYSTEM_DEFINED&maxResults=10",
        "/inference-profiles?type=APPLICATION&nextToken=a%2Fb%3D%3D&a=&b",
        "/p?z=1&a=2&a=1&A=3&a-b=4&a_b=5",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_awss_signer_signs_verifies_over_paths_and_queries(path: str, method: str) -> None:
    request = signed(f"http://127.0.0.1:9100{path}", method=method, body=b"" if method == "GET" else b'{"a": 1}')
    assert verify(request, KEYS, service="bedrock") == KEY_ID


@given(st.text(max_size=30), st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4))
def test_any_model_id_and_query_verify(model: str, query: Mapping[str, str]) -> None:
    pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    url = f"http://127.0.0.1:9100/model/{quote(model, safe='')}/invoke?{pairs}"
    assert verify(signed(url), KEYS, service="bedrock") == KEY_ID


@given(
    st.dictionaries(st.from_regex(r"x-[a-z]{1,8}", fullmatch=True), st.text("ab \t,;:\"'=é", max_size=20), max_size=5)
)
def test_any_headers_verify(headers: dict[str, str]) -> None:
    assert verify(signed(**headers), KEYS, service="bedrock") == KEY_ID


@pytest.mark.parametrize(
    "headers",
    [
        {"accept_encoding": "gzip, deflate", "content_length": "2", "x_stainless_lang": "python"},
        {"content_type": "application/json", "x_amzn_bedrock_accept": "*/*", "amz_sdk_request": "attempt=1"},
        {"x_amz_content_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
        {"date": "Sun, 30 Aug 2015 12:36:00 GMT"},  # replaced by the signer with today's
    ],
)
def test_any_set_of_signed_headers_verifies(headers: dict[str, str]) -> None:
    assert verify(signed(**headers), KEYS, service="bedrock") == KEY_ID


def test_a_query_with_spaces_travels_with_plus_signs_and_is_signed_with_escapes() -> None:
    made = AWSRequest("GET", "http://127.0.0.1:9100/p", params={"a b": "c d"}, headers={"host": "127.0.0.1:9100"})
    SigV4Auth(Credentials(KEY_ID, SECRET), "bedrock", "us-east-1").add_auth(made)
    prepared = made.prepare()
    assert prepared.url.endswith("/p?a+b=c+d")
    headers = [(name.lower().encode(), _bytes(value)) for name, value in prepared.headers.items()]
    assert verify(Request("GET", b"/p?a+b=c+d", headers, b"", True), KEYS, service="bedrock") == KEY_ID


def test_the_path_is_encoded_once_more_than_it_travels() -> None:
    request = Request("GET", b"/model/a%3A0:1/invoke", [], b"", True)
    assert canonical_request(request, ()).splitlines()[1] == "/model/a%253A0%3A1/invoke"


def test_the_authority_may_be_signed_in_place_of_host_or_beside_it() -> None:
    """As the AWS SDK for JavaScript signs it over HTTP/2, which a proxy may have turned into HTTP/1.1."""
    for names in ((":authority",), (":authority", "host")):
        request = authority_signed(*names)
        assert verify(request, KEYS, service="bedrock") == KEY_ID
        assert refusal(with_header(request, b"host", b"other:9100"))[1].startswith(MISMATCH)
        assert refusal(with_header(request, b"host", None))[1].startswith(MISMATCH)


def authority_signed(*names: str) -> Request:
    made = AWSRequest("POST", URL, data=b"{}")
    fields_signed = dict.fromkeys(names, urlsplit(URL).netloc)
    FieldSigner(Credentials(KEY_ID, SECRET), "bedrock", "us-east-1", fields_signed).add_auth(made)
    fields = [("host", urlsplit(URL).netloc), *made.prepare().headers.items()]
    headers = [(name.lower().encode(), _bytes(value)) for name, value in fields]
    return Request("POST", urlsplit(URL).path.encode(), headers, b"{}", True)


# --- what is refused ----------------------------------------------------------------------------------------------

MISMATCH = "The request signature we calculated does not match the signature you provided."


def test_whatever_is_changed_on_the_way_breaks_the_signature() -> None:
    request = signed(content_type="application/json", x_amz_meta="a")
    sha = (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")
    for changed in (
        Request("PUT", request.target, request.headers, request.body, True),
        Request("POST", b"/model/m/converse", request.headers, request.body, True),
        Request("POST", request.target + b"?a=b", request.headers, request.body, True),
        Request("POST", request.target, request.headers, b"{ }", True),
        Request("POST", request.target, [*request.headers, sha], request.body, True),
        Request("POST", request.target, [*request.headers, (b"content-type", b"text/plain")], request.body, True),
        with_header(request, b"content-type", b"text/plain"),
        with_header(request, b"content-type", None),
        with_header(request, b"x-amz-meta", None),
        with_header(request, b"x-amz-other", b"not signed"),
        with_header(request, b"host", b"other:9100"),
    ):
        kind, message = refusal(changed)
        assert (kind, message.startswith(MISMATCH)) == ("InvalidSignatureException", True)
    assert refusal(signed(secret="another"))[1].startswith(MISMATCH)


def test_a_header_that_is_signed_as_empty_must_be_there() -> None:
    request = signed(x_empty="")
    assert verify(request, KEYS, service="bedrock") == KEY_ID
    assert refusal(with_header(request, b"x-empty", None))[1].startswith(MISMATCH)


def test_headers_that_a_proxy_adds_do_not_matter() -> None:
    request = with_header(with_header(signed(), b"via", b"1.1 proxy"), b"x-amzn-trace-id", b"Root=1")
    assert verify(request, KEYS, service="bedrock") == KEY_ID


def test_host_must_be_signed() -> None:
    request = signed()
    text = request.header(b"authorization") or b""
    changed = with_header(request, b"authorization", text.replace(b"host;", b""))
    assert refusal(changed) == (
        "InvalidSignatureException",
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    )


def test_a_request_without_a_signature_misses_its_token() -> None:
    request = with_header(signed(), b"authorization", None)
    assert refusal(request) == ("MissingAuthenticationTokenException", "Missing Authentication Token")
    assert access_key_id(request) is None
    assert access_key_id(signed()) == KEY_ID


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        ("Basic abc", "AWS4-HMAC-SHA256"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0", "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256", "requires 'Credential' parameter. Authorization header requires 'Signature' parameter."),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host", "requires 'Signature' parameter."),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=0", "requires 'SignedHeaders' parameter."),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=0", "exactly 5 slash-delimited"),
        ("AWS4-HMAC-SHA256 Credential, SignedHeaders=host, Signature=0", "missing equal-sign"),
    ],
)
def test_a_header_that_lacks_a_part_is_incomplete(authorization: str, says: str) -> None:
    kind, message = refusal(with_header(signed(), b"authorization", authorization.encode()))
    assert kind == "IncompleteSignatureException"
    assert says in message


@pytest.mark.parametrize("date", [None, b"yesterday", b"2015-08-30T12:36:00Z"])
def test_a_request_without_a_date_is_incomplete(date: bytes | None) -> None:
    kind, message = refusal(with_header(signed(), b"x-amz-date", date))
    assert kind == "IncompleteSignatureException"
    assert "'X-Amz-Date' or a 'Date' header" in message


@pytest.mark.parametrize(("skew", "word"), [(-299, ""), (299, ""), (-301, "not yet current"), (301, "expired")])
def test_a_clock_may_differ_by_five_minutes(skew: int, word: str) -> None:
    request = signed()
    signed_at = time.strptime((request.header(b"x-amz-date") or b"").decode() + "+0000", "%Y%m%dT%H%M%SZ%z")
    now = datetime(*signed_at[:6], tzinfo=UTC).timestamp() + skew
    if not word:
        assert verify(request, KEYS, service="bedrock", now=now) == KEY_ID
        return
    kind, message = refusal(request, now=now)
    assert kind == "InvalidSignatureException"
    assert message.startswith(f"Signature {word}: ")


def test_the_scope_must_fit_date_region_service_and_end() -> None:
    assert "'bedrock'" in refusal(signed(service="bedrock-mantle"))[1]
    assert "not 'us-east-1'" in refusal(signed(), region="eu-west-1")[1]  # type: ignore[arg-type]
    assert verify(signed(region="eu-west-1"), KEYS, service="bedrock", region="eu-west-1") == KEY_ID
    request = signed()
    text = request.header(b"authorization") or b""
    changed = with_header(request, b"authorization", text.replace(b"aws4_request", b"aws5_request"))
    assert "valid terminator" in refusal(changed)[1]
    day = (request.header(b"x-amz-date") or b"")[:8]
    changed = with_header(request, b"authorization", text.replace(day, b"20150830"))
    assert "does not match YYYYMMDD" in refusal(changed)[1]


def test_a_temporary_credential_needs_its_token_and_a_lasting_one_has_none() -> None:
    good = signed(key_id=TEMPORARY_ID, token=TOKEN)
    assert verify(good, KEYS, service="bedrock") == TEMPORARY_ID
    for bad in (
        signed(key_id=TEMPORARY_ID),
        signed(key_id=TEMPORARY_ID, token="another"),
        signed(token=TOKEN),
        signed(key_id="AKIDNOBODY"),
        with_header(good, b"x-amz-security-token", None),
    ):
        assert refusal(bad) == (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    unsigned = with_header(
        good, b"authorization", (good.header(b"authorization") or b"").replace(b";x-amz-security-token", b"")
    )
    assert refusal(unsigned)[0] == "InvalidSignatureException"


def test_a_credential_expires() -> None:
    keys = {TEMPORARY_ID: AccessKey(SECRET, TOKEN, expires_at=time.time() - 1)}
    with pytest.raises(Refused, match="ExpiredTokenException: The security token included in the request is expired"):
        verify(signed(key_id=TEMPORARY_ID, token=TOKEN), keys, service="bedrock")


def test_secrets_stay_out_of_reprs() -> None:
    assert repr(KEYS[TEMPORARY_ID]) == "AccessKey(expires_at=None)"
