"""What every vendor promises, for each provider of the registry and each of its operations.

A vendor passes this to be one. It brings ``tests/vendors/<vendor>/samples.py``, and recordings made from it
(``python -m tests.recordings.record``); nothing here names a vendor. What only one of them has is tested beside it.
"""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from relay_trio.api.position import Form
from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.errors import ErrorKind, UpstreamError, UpstreamProtocolError
from relay_trio.http import ResponseHead, header
from relay_trio.outcome import Phase, Word
from relay_trio.simulator import SimulatorSettings, open_simulator
from relay_trio.usage import UsageSource
from relay_trio.vendors.registry import PROVIDERS, VENDORS
from tests.recordings.record import exchange
from tests.support.cases import case
from tests.support.cuts import cuts
from tests.support.recordings import foreign, ours, ours_of, tokens
from tests.support.vendor_samples import call_of, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.call import Call
    from relay_trio.http import Headers
    from tests.support.recordings import Recording
    from tests.support.vendor_samples import SampleAccount

PAIRS = [(provider, operation) for provider in PROVIDERS for operation in PROVIDERS[provider].calls]
ACCOUNTS = [
    pytest.param(provider, account, id=f"{provider}-{number}")
    for provider in PROVIDERS
    for number, account in enumerate(samples_of(provider).accounts)
]
GOOD = [each for each in ours() if each.is_good]
STREAMS = [each for each in GOOD if each.is_stream and not each.is_gzip]
REFUSALS = [each for each in ours() if not each.is_good]
BUSY = frozenset({429, 503, 529})

OUR_ID = "req_ours"
CLIENTS = "rt_canary_of_the_client"
THEIRS = b"canary-of-theirs"

every_pair = pytest.mark.parametrize(("provider", "operation"), PAIRS)


def every(recordings: Iterable[Recording]) -> Any:
    return pytest.mark.parametrize("recording", [pytest.param(each, id=each.id) for each in recordings])


def call_for(recording: Recording) -> Call[Any]:
    return PROVIDERS[recording.provider].calls[recording.operation]


def natives_call(operation: str) -> Call[Any]:
    """The call of the vendor whose dialect has ``operation``: it passes, so its reader reads what clients are sent."""
    [vendor] = [v for v in VENDORS if v.dialect and operation in {each.name for each in v.dialect.operations}]
    native = vendor.provider.calls.get(operation)
    return native or next(each.calls[operation] for each in PROVIDERS.values() if operation in each.calls)


def is_translated(recording: Recording) -> bool:
    return recording.operation in samples_of(recording.provider).translated


def new_reader(recording: Recording) -> AnswerReader:
    return call_for(recording).answer(recording.head, recording.checked)


def clients_reader(recording: Recording) -> AnswerReader:
    """Reads what the client of ``recording`` is sent, as its own dialect has it."""
    head = ResponseHead(200, call_for(recording).client_headers(recording.head, recording.checked))
    return natives_call(recording.operation).answer(head, recording.checked)


def fed(reader: AnswerReader, pieces: Iterable[bytes]) -> bytes:
    return b"".join(reader.feed(piece) for piece in pieces)


# --- what a vendor has to bring -----------------------------------------------------------------------------------


@every_pair
def test_every_operation_has_a_recorded_answer(provider: str, operation: str) -> None:
    """Whole ones; of what streams, also one that was cut and one with an error inside; of what can come compressed,
    one that did."""
    recorded = [each for each in ours_of(provider, operation) if each.is_good]
    assert "complete" in {each.ends for each in recorded}
    if any(each.is_stream for each in recorded):
        assert {each.ends for each in recorded if each.is_stream} == {"complete", "cut", "error"}
    if any(each.usage.total_tokens for each in recorded) and accepts_gzip(provider, operation):
        assert any(each.is_gzip for each in recorded) or not any(each.is_stream for each in recorded)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_recorded_refusals(provider: str) -> None:
    """Of a credential, of a model that there is not, and for now."""
    kinds = {kind_of(each) for each in REFUSALS if each.provider == provider}
    assert kinds == {"credential", "model", "busy"}


@every(ours())
def test_every_recorded_request_takes_a_route_of_its_operation(recording: Recording) -> None:
    assert recording.call.match.operation.name == recording.operation
    assert recording.operation in PROVIDERS[recording.provider].calls


def kind_of(recording: Recording) -> str:
    """What a refusal is about."""
    [sample] = [each for each in samples_of(recording.provider).samples if each.name == recording.name]
    if sample.is_refused:
        return "credential"
    return "busy" if recording.head.status in BUSY else "model"


# --- answers ------------------------------------------------------------------------------------------------------


@every(GOOD)
def test_an_answer_is_the_same_at_any_cut(recording: Recording) -> None:
    """Bytes out are bytes in where nothing is translated; usage, end and error are what was served."""
    check_at_any_cut(recording)


def check_at_any_cut(recording: Recording, drawn: int = 4) -> None:
    outs = set()
    for pieces in cuts(recording.body, drawn=drawn):
        reader = new_reader(recording)
        outs.add(fed(reader, pieces))
        assert tokens(reader.finish()) == recording.usage
        assert (reader.error is not None) == (recording.ends == "error")
        if reader.error is None:
            assert reader.is_complete == (recording.ends == "complete")
    [out] = outs
    if not is_translated(recording):
        assert out == recording.body
    elif recording.ends == "complete":
        reader = clients_reader(recording)
        fed(reader, [out])
        assert reader.is_complete
        assert tokens(reader.finish()) == recording.usage


@every(STREAMS)
def test_a_stream_is_not_complete_before_its_end(recording: Recording) -> None:
    """After every byte: nothing but the separator of its last event may be missing from a stream that is complete, and
    its usage is not exact before it is final."""
    reader = new_reader(recording)
    for at in range(len(recording.body)):
        rest = recording.body[at:].strip()
        if rest:
            assert not reader.is_complete or reader.error is not None, at
        usage = reader.finish()
        if usage.source is UsageSource.EXACT:
            assert tokens(usage) == recording.usage, at
        reader.feed(recording.body[at : at + 1])


@every(each for each in STREAMS if each.ends == "complete")
def test_a_stream_cut_anywhere_ends_as_an_error_or_without_an_end(recording: Recording) -> None:
    """What the client has, and the dialect's closing event: read as the client reads it, that is never a good end, and
    between two events it is an error."""
    for at in drawn_cuts(recording):
        reader = new_reader(recording)
        out = fed(reader, [recording.body[:at]])
        if reader.is_complete:
            continue
        position = reader.position
        closing = recording.call.dialect.closing_event(UpstreamError("the upstream broke"), OUR_ID, position)
        client = clients_reader(recording)
        fed(client, [out, closing])
        assert not client.is_complete or client.error is not None, at
        if not position.is_mid_event:
            assert client.error is not None, at
            assert b"the upstream broke" in closing


def drawn_cuts(recording: Recording) -> list[int]:
    """Every edge of an event, the bytes beside it, and some others."""
    reader = new_reader(recording)
    edges = set()
    was_inside = False
    for at in range(len(recording.body)):
        reader.feed(recording.body[at : at + 1])
        if reader.position.is_mid_event != was_inside:
            edges |= {at, at + 1, at + 2}
            was_inside = not was_inside
    return sorted(at for at in {0, *edges, *random.Random(0).sample(range(len(recording.body)), 20)})


@every(each for each in GOOD if each.ends == "error")
def test_an_error_inside_a_stream_is_forwarded_or_followed_by_our_event(recording: Recording) -> None:
    """Once, either way; and our own message for it holds nothing of the upstream's."""
    reader = new_reader(recording)
    out = fed(reader, [recording.body])
    assert reader.error is not None
    assert "simulated" not in str(reader.error).lower()
    assert reader.error.outcome_in(Phase.DATA).word in (Word.UPSTREAM_ERROR, Word.UPSTREAM_RATE_LIMITED)
    assert recording.usage == tokens(reader.finish())
    client = clients_reader(recording)
    fed(client, [out])
    assert (client.error is not None) == reader.is_error_forwarded
    if not reader.is_error_forwarded:
        assert reader.feed(b"more") == b""
        closing = recording.call.dialect.closing_event(reader.error, OUR_ID, reader.position)
        fed(client, [closing])
        assert client.error is not None


# --- compressed answers -------------------------------------------------------------------------------------------

GZIP = (b"accept-encoding", b"gzip, br")


def accepts_gzip(provider: str, operation: str) -> bool:
    """Whether an upstream of ``provider`` learns that a client takes gzip."""
    recording = next(each for each in ours_of(provider, operation) if each.is_good)
    settings, credential = samples_of(provider).accounts[0].open(PROVIDERS[provider])
    built = PROVIDERS[provider].calls[operation].request(settings, recording.call.checked(GZIP), credential)
    return b"gzip" in (header(built.headers, b"accept-encoding") or b"")


def compressed(recording: Recording, encoding: bytes) -> ResponseHead:
    kept = [field for field in recording.head.headers if field[0] != b"content-encoding"]
    return ResponseHead(200, [*kept, (b"content-encoding", encoding)])


@every(each for each in GOOD if not each.is_gzip)
def test_where_gzip_was_accepted_it_passes_and_is_read(recording: Recording) -> None:
    if not accepts_gzip(recording.provider, recording.operation):
        with pytest.raises(UpstreamProtocolError):
            call_for(recording).answer(compressed(recording, b"gzip"), recording.call.checked(GZIP))
        return
    body = gzip.compress(recording.body, mtime=0)
    for pieces in cuts(body, drawn=2):
        reader = call_for(recording).answer(compressed(recording, b"gzip"), recording.call.checked(GZIP))
        assert fed(reader, pieces) == body
        assert tokens(reader.finish()) == recording.usage
        assert reader.is_complete == (recording.ends != "cut")
        assert reader.position.form is Form.WHOLE, "an event cannot follow what is compressed"


@every(each for each in GOOD if not each.is_gzip)
def test_an_encoding_that_was_not_accepted_is_refused(recording: Recording) -> None:
    for encoding, accepted in ((b"br", GZIP), (b"gzip", (b"accept-encoding", b"identity")), (b"gzip", (b"x", b"y"))):
        with pytest.raises(UpstreamProtocolError):
            call_for(recording).answer(compressed(recording, encoding), recording.call.checked(accepted))


# --- refusals -----------------------------------------------------------------------------------------------------


@every(REFUSALS)
def test_a_refusal_is_judged_by_what_it_is_about(recording: Recording) -> None:
    """A refused credential is the account's affair, and another one's chance; so is a model, which blames nobody."""
    verdict = PROVIDERS[recording.provider].judge(recording.head, recording.body, 0.0)
    word = verdict.error.outcome_in(Phase.HEAD).word
    match kind_of(recording):
        case "credential":
            assert verdict.is_credential_refused or verdict.is_strike
            assert (verdict.is_retryable, verdict.is_passed_through) == (True, False)
            assert word is Word.UPSTREAM_ERROR
        case "busy":
            assert (verdict.is_retryable, verdict.is_credential_refused, verdict.is_strike) == (True, False, False)
            assert verdict.cooldown_seconds is not None
            assert word is Word.UPSTREAM_RATE_LIMITED
        case _:
            blame = (verdict.is_retryable, verdict.is_credential_refused, verdict.is_strike, verdict.cooldown_seconds)
            assert blame == (True, False, False, None)
            assert verdict.is_passed_through
            assert word is Word.REJECTED_REQUEST
    assert "simulated" not in str(verdict.error).lower()


@every(REFUSALS)
def test_a_refusal_is_answered_in_the_clients_dialect_with_our_id(recording: Recording) -> None:
    """The upstream's message where the client may see it, ours where not; the upstream's id never."""
    provider, dialect, call = PROVIDERS[recording.provider], recording.call.dialect, call_for(recording)
    verdict = provider.judge(recording.head, recording.body, 0.0)
    their_id = provider.request_id(recording.head)
    assert their_id
    if verdict.is_passed_through:
        status, body = call.error(recording.head, recording.body) or (recording.head.status, recording.body)
        allowed = call.client_headers(ResponseHead(status, recording.head.headers), recording.checked)
        status, headers, answer = dialect.passed_on(verdict.error, ResponseHead(status, allowed), body, OUR_ID)
    else:
        status, headers, answer = dialect.error_response(verdict.error, OUR_ID)
    assert 400 <= status <= 599
    assert isinstance(json.loads(answer), dict)
    assert their_id.encode() not in answer + repr(headers).encode()
    assert dict(headers)[b"content-type"].startswith(b"application/json")
    assert b"content-length" not in dict(headers)


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_dialect_has_an_answer_for_every_kind_of_error(kind: ErrorKind) -> None:
    error = type("Failed", (UpstreamError,), {"kind": kind})("it failed", retry_after=3.2)
    for vendor in VENDORS:
        if vendor.dialect is not None:
            status, headers, body = vendor.dialect.error_response(error, OUR_ID)
            assert 400 <= status <= 599
            assert vendor.dialect.status_of(error) == status
            assert b"it failed" in body
            assert isinstance(json.loads(body), dict)
            assert dict(headers)[b"content-type"].startswith(b"application/json")


# --- what passes of headers and credentials -----------------------------------------------------------------------

HOSTILE_REQUEST: Headers = [
    (b"host", b"relay.example"),
    (b"content-length", b"999"),
    (b"authorization", f"Bearer {CLIENTS}".encode()),
    (b"x-api-key", CLIENTS.encode()),
    (b"x-goog-api-key", CLIENTS.encode()),
    (b"x-amz-security-token", CLIENTS.encode()),
    (b"x-amz-date", b"20260101T000000Z"),
    (b"x-amz-content-sha256", b"0" * 64),
    (b"proxy-authorization", f"Basic {CLIENTS}".encode()),
    (b"cookie", f"session={CLIENTS}".encode()),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"forwarded", b"for=10.0.0.1"),
    (b"via", b"1.1 theirs"),
    (b"connection", b"keep-alive, x-hop"),
    (b"x-hop", CLIENTS.encode()),
    (b"keep-alive", b"timeout=5"),
    (b"te", b"trailers"),
    (b"trailer", b"x-hop"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"h2c"),
    (b"expect", b"100-continue"),
    (b"x-request-id", CLIENTS.encode()),
    (b"remote-addr", b"10.0.0.1"),
]
OURS_TO_SET = {b"authorization", b"x-api-key", b"x-goog-api-key", b"x-amz-date", b"x-amz-content-sha256"}
"""Names under which an account's own credential may go out."""

HOSTILE_RESPONSE: Headers = [
    (name, THEIRS)
    for name in (
        *(b"set-cookie", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer", b"te"),
        *(b"proxy-authenticate", b"www-authenticate", b"proxy-connection", b"server", b"via", b"alt-svc", b"date"),
        *(b"request-id", b"x-request-id", b"x-amzn-requestid", b"x-amzn-trace-id", b"x-amz-cf-id", b"cf-ray"),
        *(b"x-goog-request-id", b"anthropic-organization-id", b"strict-transport-security", b"location", b"x-hop"),
    )
]


@pytest.mark.parametrize(("provider", "account"), ACCOUNTS)
def test_a_request_goes_out_with_the_accounts_credential_and_nothing_of_the_clients(
    provider: str, account: SampleAccount
) -> None:
    vendor = PROVIDERS[provider]
    settings, credential = account.open(vendor)
    for sample in samples_of(provider).samples:
        call = call_of(sample)
        built = vendor.calls[sample.operation].request(settings, call.checked(*HOSTILE_REQUEST), credential)
        names = {name for name, _ in built.headers}
        passed = b" ".join([built.target, built.body, *(value for _, value in built.headers)])
        assert CLIENTS.encode() not in passed, sample.name
        assert not names & ({name for name, _ in HOSTILE_REQUEST} - OURS_TO_SET), sample.name
        for secret in account.secrets:
            assert secret.encode() not in built.target + built.body, sample.name
            assert sum(secret.encode() in value for _, value in built.headers) <= 1, sample.name
        assert names & OURS_TO_SET, sample.name
        assert built.scheme == "https"
        assert header(built.headers, b"accept-encoding") is not None, "httpx and others would add their own"
        if sample.operation not in samples_of(provider).translated:
            assert (built.method, built.body) == (call.method, call.body)


@every(ours())
def test_of_an_answers_headers_a_client_sees_what_is_about_the_answer(recording: Recording) -> None:
    """No cookie, no hop-by-hop field, no id of the upstream's."""
    names = {name for name, _ in HOSTILE_RESPONSE}
    theirs = [field for field in recording.head.headers if field[0] not in names]
    head = ResponseHead(recording.head.status, [*theirs, *HOSTILE_RESPONSE, (b"x-nobody-knows", THEIRS)])
    shown = call_for(recording).client_headers(head, recording.checked)
    assert THEIRS not in dict(shown).values()
    assert len(dict(shown)) == len(shown)
    assert dict(shown)[b"content-type"]
    if not is_translated(recording):
        assert dict(shown)[b"content-type"] == header(recording.head.headers, b"content-type")
        assert dict(shown).get(b"content-encoding") == header(recording.head.headers, b"content-encoding")


# --- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "account"), ACCOUNTS)
def test_an_account_is_described_without_its_secret(provider: str, account: SampleAccount) -> None:
    settings, credential = account.open(PROVIDERS[provider])
    described = PROVIDERS[provider].describe_credential(settings)
    assert described
    for secret in account.secrets:
        for text in (described, repr(settings), repr(credential)):
            assert secret not in text


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_probe_shows_whether_a_credential_is_accepted(provider: str) -> None:
    """By a request that generates nothing."""
    samples = samples_of(provider)
    accepted = frozenset(secret for account in samples.accounts for secret in account.secrets)
    cases = [*((account, ProbeAnswer.ACCEPTED) for account in samples.accounts), (samples.wrong, ProbeAnswer.REFUSED)]
    settings = SimulatorSettings(accepted_keys=accepted, accepts_unknown_models=False)
    async with open_simulator(settings) as simulator:
        for account, expected in cases:
            opened, credential = account.open(PROVIDERS[provider], base_url=simulator.base_url)
            probe = PROVIDERS[provider].probe_request(opened, credential)
            head, _ = await trio.to_thread.run_sync(exchange, probe)
            assert PROVIDERS[provider].judge_probe(head) is expected
        assert simulator.truth.usage().total_tokens == 0
    assert PROVIDERS[provider].judge_probe(ResponseHead(429, [])) is ProbeAnswer.BUSY
    html = ResponseHead(404, [(b"content-type", b"text/html")])
    assert PROVIDERS[provider].judge_probe(html) is ProbeAnswer.UNEXPECTED


@every(each for each in GOOD if each.checked.model)
def test_a_model_has_a_place_in_the_price_list(recording: Recording) -> None:
    assert recording.checked.model is not None
    account, _ = samples_of(recording.provider).accounts[0].open(PROVIDERS[recording.provider])
    pairs = PROVIDERS[recording.provider].price_of(account, recording.checked.model)
    assert pairs
    assert all(name and model for name, model in pairs)


# --- a foreign corpus, where there is one -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus_recordings(corpus: Path) -> list[Recording]:
    found = foreign(corpus)
    assert {each.provider for each in found} == set(PROVIDERS)
    assert len(found) > 100
    return found


def test_every_answer_of_a_corpus_is_the_same_at_any_cut(corpus_recordings: list[Recording]) -> None:
    for recording in corpus_recordings:
        if recording.is_good:
            with case(recording.id):
                check_at_any_cut(recording, drawn=2)


def test_no_stream_of_a_corpus_is_complete_before_its_end(corpus_recordings: list[Recording]) -> None:
    """At every edge of an event and beside it."""
    for recording in corpus_recordings:
        if recording.is_good and recording.is_stream and not recording.is_gzip:
            for at in drawn_cuts(recording):
                reader = new_reader(recording)
                fed(reader, [recording.body[:at]])
                with case((recording.id, at)):
                    assert not reader.is_complete or not recording.body[at:].strip()


def test_every_answer_of_a_corpus_is_read_compressed(corpus_recordings: list[Recording]) -> None:
    for recording in corpus_recordings:
        if recording.is_good and not recording.is_gzip and accepts_gzip(recording.provider, recording.operation):
            with case(recording.id):
                reader = call_for(recording).answer(compressed(recording, b"gzip"), recording.call.checked(GZIP))
                fed(reader, [gzip.compress(recording.body, 1)])
                assert tokens(reader.finish()) == recording.usage


def test_the_refusals_of_a_corpus_blame_nobody(corpus_recordings: list[Recording]) -> None:
    """All of them are about the request."""
    for recording in corpus_recordings:
        if not recording.is_good:
            with case(recording.id):
                verdict = PROVIDERS[recording.provider].judge(recording.head, recording.body, 0.0)
                assert (verdict.is_strike, verdict.is_passed_through) == (False, True)
