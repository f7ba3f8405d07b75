"""One attempt at one account: what the upstream may do, what becomes of the account, and what the client gets."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.http import header
from relay_trio.observe.invariants import LARGEST_READ_BYTES
from relay_trio.pool.health import AccountState
from relay_trio.relay.channel import CHANNEL_BYTES
from relay_trio.relay.events import Observer
from relay_trio.usage import UsageSource
from tests.explorer import Run, Steps, explore
from tests.support import bedrock_scripts, gemini_scripts, scripts
from tests.support.bedrock_frames import CLAUDE, CONVERSE, exception
from tests.support.gemini_answers import ARRAY, ERROR, EVENTS, pretty
from tests.support.memory_harness import HEAD, LAST_CHUNK, START, STREAM, TEXT, MemoryHarness, chunk, open_harness
from tests.support.scripts import JSON_HEAD, PING, first_account, sends, sse_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio.testing import MockClock

    from relay_trio.ledger.row import AttemptRecord
    from relay_trio.pool.health import HealthStatistics
    from tests.support.memory_harness import Script, UpstreamSide

INVALID = b'{"type":"error","error":{"type":"invalid_request_error","message":"too many tokens"},"request_id":"theirs"}'
DENIED = b'{"type":"error","error":{"type":"authentication_error","message":"sk-canary-account is revoked"}}'


def refuses(status: int, body: bytes, *headers: bytes) -> Script:
    """A script that answers every request with an error."""

    async def script(side: UpstreamSide) -> None:
        await side.request()
        lines = [b"content-type: application/json", b"content-length: %d" % len(body), *headers]
        await side.send(b"HTTP/1.1 %d No\r\n%b\r\n\r\n" % (status, b"\r\n".join(lines)), body)

    return script


def codes(harness: MemoryHarness) -> list[str]:
    return [row.outcome.code for row in harness.rows if row.outcome]


def health(harness: MemoryHarness, name: str) -> HealthStatistics:
    return harness.account(name).health.statistics(trio.current_time())


# --- connecting ---------------------------------------------------------------------------------------------------


async def never_connects(host: str, port: int) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_connect_that_hangs_ends_at_the_connect_limit_and_the_account_is_blamed(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.streams, timeouts={"connect_timeout_seconds": 4}) as harness:
        harness.upstream._open_stream = never_connects  # type: ignore[assignment]
        started = trio.current_time()
        client = await harness.serve(harness.request())
        assert trio.current_time() - started == pytest.approx(4)
        assert (client.status, codes(harness)) == (504, ["sC"])
        assert json.loads(client.body)["error"]["type"] == "timeout_error"
        assert harness.rows[0].connect_ms is None
        assert health(harness, "a").strikes == 1


async def test_a_connect_that_fails_is_sc_and_the_next_account_serves(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, accounts=2) as harness:
        open_stream = harness.upstream._open_stream

        async def first_refuses(host: str, port: int) -> trio.abc.Stream:
            if port == 1000:
                raise ConnectionRefusedError("refused")
            return await open_stream(host, port)

        harness.upstream._open_stream = first_refuses
        client = await harness.serve(harness.request())
        assert client.body == b"".join(STREAM)
        assert (harness.rows[0].attempts, harness.rows[0].account) == (2, "b")
        assert (health(harness, "a").strikes, health(harness, "b").strikes) == (1, 0)


async def test_a_connect_that_fails_everywhere_is_502_and_names_no_address(autojump_clock: MockClock) -> None:
    """Where upstreams live is the operator's business."""

    async def refuses_all(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError("refused")

    async with open_harness(scripts.streams) as harness:
        harness.upstream._open_stream = refuses_all  # type: ignore[assignment]
        client = await harness.serve(harness.request())
        assert (client.status, codes(harness)) == (502, ["SC"])
        assert b"127.0.0.1" not in client.body


async def test_connect_time_is_of_the_answering_attempt_and_zero_on_a_pooled_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.streams) as harness:
        open_stream = harness.upstream._open_stream

        async def slowly(host: str, port: int) -> trio.abc.Stream:
            await trio.sleep(2)
            return await open_stream(host, port)

        harness.upstream._open_stream = slowly
        await harness.serve(harness.request())
        await harness.serve(harness.request())
        assert [row.connect_ms for row in harness.rows] == pytest.approx([2000, 0])


# --- a credential that is refused ---------------------------------------------------------------------------------


async def test_a_401_disables_the_account_and_the_next_one_serves(autojump_clock: MockClock) -> None:
    async with open_harness(first_account(refuses(401, DENIED), scripts.streams), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert client.body == b"".join(STREAM)
        assert health(harness, "a").state is AccountState.AUTH_FAILED
        await harness.serve(harness.request())
        assert [row.attempts for row in harness.rows] == [2, 1]


async def test_a_401_of_the_only_account_is_a_permission_error_without_the_upstreams_words(
    autojump_clock: MockClock,
) -> None:
    """A 401 would tell the client to change *its* key, and the upstream's text may hold a piece of ours."""
    async with open_harness(refuses(401, DENIED)) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, codes(harness)) == (403, ["SH"])
        assert json.loads(client.body)["error"]["type"] == "permission_error"
        assert b"canary" not in client.body
        assert b"revoked" not in client.body


async def test_with_every_account_out_of_rotation_a_request_is_529_and_has_its_row(autojump_clock: MockClock) -> None:
    async with open_harness(refuses(401, DENIED)) as harness:
        await harness.serve(harness.request())
        client = await harness.serve(harness.request())
        assert (client.status, codes(harness)) == (529, ["SH", "RQ"])
        assert json.loads(client.body)["error"]["type"] == "overloaded_error"
        assert harness.rows[1].attempts == 0


@pytest.mark.parametrize("status", [402, 403, 302])
async def test_what_is_between_us_and_the_upstream_is_hidden(autojump_clock: MockClock, status: int) -> None:
    """Billing, permissions and redirects of the account are not the client's."""
    async with open_harness(refuses(status, DENIED, b"location: http://elsewhere/canary")) as harness:
        client = await harness.serve(harness.request())
        assert client.status == (502 if status == 302 else 403)
        assert b"canary" not in client.body
        assert header(client.sent[0]["headers"], b"location") is None


# --- errors that are the client's ---------------------------------------------------------------------------------


async def test_a_400_is_the_clients_and_no_other_account_is_tried(autojump_clock: MockClock) -> None:
    async with open_harness(refuses(400, INVALID, b"x-should-retry: false"), accounts=3) as harness:
        client = await harness.serve(harness.request())
        answer = json.loads(client.body)
        assert (client.status, answer["error"]["message"]) == (400, "too many tokens")
        assert answer["request_id"] == harness.rows[0].request_id
        headers = client.sent[0]["headers"]
        assert header(headers, b"content-length") == str(len(client.body)).encode()
        assert [name for name, _ in headers].count(b"content-length") == 1
        assert [name for name, _ in headers].count(b"content-type") == 1
        assert header(headers, b"x-should-retry") == b"false"
        assert (harness.rows[0].attempts, codes(harness), harness.rows[0].status) == (1, ["SH"], 400)
        assert harness.rows[0].outcome is not None
        assert harness.rows[0].outcome.word.value == "rejected_request"
        harness.assert_healthy()


NOT_FOUND = b'{"type":"error","error":{"type":"not_found_error","message":"model: m"},"request_id":"theirs"}'


async def test_a_model_that_only_one_account_lacks_is_served_by_another(autojump_clock: MockClock) -> None:
    async with open_harness(first_account(refuses(404, NOT_FOUND), scripts.streams), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, client.body, codes(harness)) == (200, b"".join(STREAM), ["--"])
        assert harness.rows[0].attempts == 2
        harness.assert_healthy()
        assert health(harness, "a").state is AccountState.READY


async def test_a_model_that_every_account_lacks_is_404_and_blames_nobody(autojump_clock: MockClock) -> None:
    async with open_harness(refuses(404, NOT_FOUND), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, json.loads(client.body)["error"]["message"]) == (404, "model: m")
        assert (harness.rows[0].attempts, codes(harness)) == (2, ["SH"])
        harness.assert_healthy()


async def test_that_another_account_lacks_a_model_does_not_hide_that_one_is_busy(autojump_clock: MockClock) -> None:
    script = first_account(scripts.is_overloaded, refuses(404, NOT_FOUND))
    async with open_harness(script, accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, json.loads(client.body)["error"]["type"]) == (529, "overloaded_error")
        assert harness.rows[0].attempts == 2


async def test_an_account_at_its_usage_limit_rests_for_a_day_at_most(autojump_clock: MockClock) -> None:
    message = "You have reached your specified API usage limits. You will regain access on 9999-01-01 at 00:00 UTC."
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).encode()
    async with open_harness(first_account(refuses(400, body), scripts.streams), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, harness.rows[0].attempts) == (200, 2)
        assert health(harness, "a").available_in_seconds == pytest.approx(86_400)
    async with open_harness(refuses(400, body)) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 403
        assert b"usage limits" not in client.body


async def test_a_compressed_400_still_says_what_is_wrong(autojump_clock: MockClock) -> None:
    """Every SDK accepts gzip, so the relay asks for it; what is wrong with the request then comes in gzip too."""
    async with open_harness(refuses(400, gzip.compress(INVALID), b"content-encoding: gzip")) as harness:
        client = await harness.serve(harness.request(headers=[(b"accept-encoding", b"gzip, deflate")]))
        assert client.status == 400
        assert header(client.sent[0]["headers"], b"content-encoding") is None
        assert json.loads(client.body)["error"]["message"] == "too many tokens"


async def test_an_error_body_that_is_no_json_becomes_an_envelope_of_ours(autojump_clock: MockClock) -> None:
    async with open_harness(refuses(413, b"<html>nginx canary</html>")) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 413
        assert json.loads(client.body)["type"] == "error"
        assert b"canary" not in client.body


async def test_an_error_body_larger_than_64_kib_is_cut_off_and_its_connection_closed(autojump_clock: MockClock) -> None:
    """A retry must not wait for megabytes of HTML, nor a slot be held for them."""
    async with open_harness(refuses(400, b'{"error": "' + b"x" * 300_000 + b'"}')) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 400
        assert len(client.body) < 1000
        assert json.loads(client.body)["request_id"] == harness.rows[0].request_id
        assert harness.sides[0].is_closed_by_the_relay
        harness.assert_healthy()


async def test_a_connection_that_dies_in_an_error_body_fails_over(autojump_clock: MockClock) -> None:
    async def dies(side: UpstreamSide) -> None:
        await side.request()
        await side.send(b"HTTP/1.1 529 No\r\ncontent-length: 100\r\n\r\n{")
        raise trio.BrokenResourceError

    async with open_harness(first_account(dies, scripts.streams), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert client.body == b"".join(STREAM)
        assert harness.rows[0].attempts == 2


async def test_an_error_body_that_never_ends_ends_at_the_first_byte_limit(autojump_clock: MockClock) -> None:
    async def drips(side: UpstreamSide) -> None:
        await side.request()
        await side.send(b"HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n")
        await side.wait_closed()

    async with open_harness(drips, timeouts={"first_byte_timeout_seconds": 6}) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, codes(harness)) == (504, ["sH"])


# --- how often ----------------------------------------------------------------------------------------------------


async def test_no_more_accounts_are_tried_than_may(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_overloaded, accounts=5, retry={"max_attempts": 2}) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, harness.rows[0].attempts) == (529, 2)


async def test_with_the_retry_budget_spent_the_first_failure_is_the_answer(autojump_clock: MockClock) -> None:
    """When everything fails, retries must not multiply the load."""
    budget = {"budget_ratio": 0, "budget_min_concurrent": 0}
    async with open_harness(scripts.is_overloaded, accounts=2, retry=budget) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, harness.rows[0].attempts) == (529, 1)


async def test_a_place_in_the_budget_is_free_again_after_the_request(autojump_clock: MockClock) -> None:
    budget = {"budget_ratio": 0, "budget_min_concurrent": 1}
    async with open_harness(
        first_account(scripts.dies_before_the_head, scripts.streams), accounts=2, retry=budget
    ) as harness:
        for _ in range(3):
            await harness.serve(harness.request())
        assert [row.attempts for row in harness.rows] == [2, 2, 2]
        assert codes(harness) == ["--", "--", "--"]


async def test_two_requests_do_not_share_one_place_in_the_budget(autojump_clock: MockClock) -> None:
    async def slow_to_fail(side: UpstreamSide) -> None:
        await side.request()
        await trio.sleep(1)
        if side.number in (0, 1):
            raise trio.BrokenResourceError
        await side.send(HEAD, *(chunk(event) for event in STREAM), LAST_CHUNK)

    async with open_harness(slow_to_fail, accounts=4, retry={"budget_ratio": 0, "budget_min_concurrent": 1}) as harness:
        clients = [harness.request(), harness.request()]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.run)
        harness.assert_at_rest()
        assert sorted(client.status or 0 for client in clients) == [200, 502]
        assert sorted(row.attempts for row in harness.rows) == [1, 2]


# --- what is left of an attempt -----------------------------------------------------------------------------------


class Attempts(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, AttemptRecord]] = []

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        self.seen.append((request_id, attempt))


def shown(attempts: Iterable[AttemptRecord]) -> list[tuple[str, str, str, int | None]]:
    return [(attempt.account, attempt.phase.value, attempt.reason.value, attempt.status) for attempt in attempts]


async def test_a_failed_attempt_is_recorded_though_another_account_then_serves(autojump_clock: MockClock) -> None:
    attempts = Attempts()
    async with open_harness(first_account(scripts.is_overloaded, scripts.streams), accounts=2) as harness:
        harness.core.events.observers.append(attempts)
        await harness.serve(harness.request())
        (row,) = harness.rows
    assert codes(harness) == ["--"]
    assert shown(row.attempt_log) == [("a", "H", "upstream_rate_limited", 529)]
    assert [request_id for request_id, _ in attempts.seen] == [row.request_id] * 2
    assert shown(attempt for _, attempt in attempts.seen) == [
        ("a", "H", "upstream_rate_limited", 529),
        ("b", "D", "completed", 200),
    ]


@pytest.mark.parametrize(("status", "answered"), [(400, 400), (429, 429), (500, 500), (401, 403), (302, 502)])
async def test_the_id_of_an_upstreams_error_is_in_the_row(
    autojump_clock: MockClock, status: int, answered: int
) -> None:
    """Whoever asks the upstream what happened needs it, also where the client sees an error of ours."""
    async with open_harness(refuses(status, INVALID, b"request-id: req_theirs")) as harness:
        client = await harness.serve(harness.request())
        assert client.status == answered
        assert b"req_theirs" not in str(client.sent).encode()
        assert harness.rows[0].upstream_request_id == "req_theirs"


async def test_an_upstreams_id_is_that_of_the_last_attempt(autojump_clock: MockClock) -> None:
    failed = refuses(500, INVALID, b"request-id: req_first")
    script = first_account(failed, scripts.dies_before_the_head)
    async with open_harness(script, accounts=2) as harness:
        await harness.serve(harness.request())
        row = harness.rows[0]
        assert (row.account, row.attempts, row.upstream_request_id) == ("b", 2, "")


async def test_an_attempt_without_an_answer_is_recorded_with_its_time(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_silent, timeouts={"first_byte_timeout_seconds": 3}) as harness:
        await harness.serve(harness.request())
        (attempt,) = harness.rows[0].attempt_log
    assert shown([attempt]) == [("a", "H", "upstream_timeout", None)]
    assert attempt.duration_ms == pytest.approx(3000)


async def test_an_attempt_that_fails_in_the_middle_of_its_answer_is_recorded(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.dies_midway) as harness:
        await harness.serve(harness.request())
        assert shown(harness.rows[0].attempt_log) == [("a", "D", "upstream_error", 200)]


@pytest.mark.parametrize("script", [scripts.streams, refuses(400, INVALID)], ids=["answered", "400"])
async def test_an_attempt_that_was_answered_has_not_failed(autojump_clock: MockClock, script: Script) -> None:
    async with open_harness(script) as harness:
        await harness.serve(harness.request())
        assert harness.rows[0].attempt_log == ()


async def test_an_attempt_whose_client_left_ends_by_the_client_and_has_not_failed(autojump_clock: MockClock) -> None:
    attempts = Attempts()
    async with open_harness(scripts.stalls) as harness:
        harness.core.events.observers.append(attempts)
        client = harness.request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await trio.sleep(1)
            client.leave()
        harness.assert_at_rest()
        assert harness.rows[0].attempt_log == ()
    assert shown(attempt for _, attempt in attempts.seen) == [("a", "D", "client_disconnect", 200)]


# --- what lives in one account ------------------------------------------------------------------------------------

PINNED = {"path": "/v1/messages/batches", "method": "POST"}


async def test_a_batch_is_never_taken_to_another_account(autojump_clock: MockClock) -> None:
    """It would be created twice, or not be found."""
    async with open_harness(first_account(scripts.is_overloaded, scripts.answers), accounts=3) as harness:
        client = await harness.serve(harness.request(b'{"requests": []}', **PINNED))
        assert (client.status, harness.rows[0].attempts, harness.rows[0].account) == (529, 1, "a")
        assert {side.number for side in harness.sides} == {0}


async def test_a_batch_waits_for_its_account_though_others_are_free(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.answers, accounts=2) as harness:
        lease = await harness.core.admission.acquire(harness.core.admission.new_request("m", is_pinned=True))
        async with trio.open_nursery() as nursery:
            with lease:
                nursery.start_soon(harness.serve, client := harness.request(b"{}", **PINNED))
                await trio.sleep(3)
                assert client.status is None
        assert harness.rows[0].account == "a"
        assert harness.rows[0].queue_ms == pytest.approx(3000)


async def test_a_key_for_some_models_cannot_use_others_by_way_of_a_batch(autojump_clock: MockClock) -> None:
    """A batch names a model in each of its requests: what a key may not ask for one by one it may not ask for in it."""
    key = {"name": "narrow", "secret": "rt_test", "models": ["claude-haiku-*"]}
    params = {"model": "claude-opus-4", "max_tokens": 1, "messages": []}
    batch = json.dumps({"requests": [{"custom_id": "1", "params": params}]}).encode()
    async with open_harness(scripts.answers, key=[key]) as harness:
        client = await harness.serve(harness.request(batch, **PINNED))
        assert client.status == 403
        assert not harness.sides


# --- status 200 is not success, and the first byte is no answer -----------------------------------------------------

GZIP_HEAD = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")

NO_ANSWERS = {
    "error first": sends(HEAD, sse_error("overloaded_error"), then="stalls"),
    "error after pings": sends(HEAD, PING, b": comment\n\n", sse_error("api_error")),
    "error first, in gzip": sends(GZIP_HEAD, gzip.compress(sse_error("overloaded_error"))),
    "refused first": sends(HEAD, sse_error("authentication_error")),
    "pings, then an end": sends(HEAD, PING, PING),
    "pings, then silence": sends(HEAD, PING, then="stalls"),
    "pings, then death": sends(HEAD, PING, then="dies"),
    "nothing": sends(HEAD),
    "a page": sends(HEAD.replace(b"event-stream", b"html"), b"<html>canary of theirs</html>"),
    "a page that says it is events": sends(HEAD, b"<html>canary of theirs</html>"),
    "JSON": sends(HEAD.replace(b"text/event-stream", b"application/json"), scripts.MESSAGE),
}


@pytest.mark.parametrize("first", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_tried_elsewhere_and_the_client_sees_nothing_of_it(
    autojump_clock: MockClock, first: Script
) -> None:
    gzip_too = {"headers": [(b"accept-encoding", b"gzip")]}
    async with open_harness(first_account(first, scripts.streams), accounts=2) as harness:
        client = await harness.serve(harness.request(**gzip_too))
        assert (client.status, client.body, client.is_finished) == (200, b"".join(STREAM), True)
        assert (harness.rows[0].attempts, codes(harness)) == (2, ["--"])
        assert harness.rows[0].usage.source is UsageSource.EXACT
    async with open_harness(first) as harness:
        client = await harness.serve(harness.request(**gzip_too))
        assert client.status in (403, 502, 504, 529)
        assert json.loads(client.body)["type"] == "error"
        assert b"canary" not in client.body
        assert codes(harness)[0][1] == "H"


NO_DOCUMENTS = {
    "a page": sends(JSON_HEAD.replace(b"json", b"html"), b"<html>canary of theirs</html>"),
    "a long page": sends(JSON_HEAD, b" <html>" + b"canary of theirs" * 5000),
    "nothing": sends(JSON_HEAD),
    "an error": sends(JSON_HEAD, scripts.OVERLOADED),
    "cut by the close": sends(JSON_HEAD, scripts.MESSAGE[:-5]),
}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("first", NO_DOCUMENTS.values(), ids=NO_DOCUMENTS)
async def test_what_is_no_document_is_tried_elsewhere(autojump_clock: MockClock, first: Script, path: str) -> None:
    async with open_harness(first_account(first, scripts.answers), accounts=2) as harness:
        client = await harness.serve(harness.request(stream=False, path=path))
        assert (client.status, client.body) == (200, scripts.MESSAGE)
        assert harness.rows[0].attempts == 2
    async with open_harness(first) as harness:
        client = await harness.serve(harness.request(stream=False, path=path))
        assert client.status in (502, 529)
        assert b"canary" not in client.body


async def test_a_whole_document_that_ends_with_its_connection_is_an_answer(autojump_clock: MockClock) -> None:
    async with open_harness(sends(JSON_HEAD, scripts.MESSAGE[:30], scripts.MESSAGE[30:])) as harness:
        client = await harness.serve(harness.request(stream=False))
        assert (client.body, client.is_finished, codes(harness)) == (scripts.MESSAGE, True, ["--"])


async def test_an_error_of_the_clients_own_comes_first_in_the_upstreams_words(autojump_clock: MockClock) -> None:
    error = sse_error("invalid_request_error")
    async with open_harness(sends(HEAD, error), accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, client.body, harness.rows[0].attempts) == (200, error, 1)
        assert harness.rows[0].outcome is not None
        assert harness.rows[0].outcome.word == "rejected_request"
        harness.assert_healthy()


@pytest.mark.parametrize("path", ["/v1/messages", bedrock_scripts.INVOKE_STREAM, "/model/x.m/converse-stream"])
async def test_an_exception_as_first_frame_is_tried_elsewhere(autojump_clock: MockClock, path: str) -> None:
    frames = CONVERSE if "converse" in path else CLAUDE
    first = sends(bedrock_scripts.HEAD, exception("throttlingException"), then="stalls")
    others = sends(bedrock_scripts.HEAD, *frames)
    async with open_harness(first_account(first, others), **bedrock_scripts.ACCOUNTS) as harness:
        client = await harness.serve(harness.request(path=path))
        assert (client.status, client.is_finished, harness.rows[0].attempts) == (200, True, 2)
        assert harness.rows[0].usage.total_tokens == 17
        assert health(harness, "a").state is AccountState.COOLING


@pytest.mark.parametrize("is_array", [True, False])
async def test_an_error_first_in_geminis_forms_is_tried_elsewhere(autojump_clock: MockClock, is_array: bool) -> None:
    if is_array:
        first = sends(gemini_scripts.ARRAY_HEAD, b"[" + pretty(ERROR), then="stalls")
        others = gemini_scripts.streams_an_array
    else:
        first, others = sends(HEAD, pretty(ERROR) + b"\n\n", then="stalls"), gemini_scripts.streams
    async with open_harness(first_account(first, others), **gemini_scripts.accounts()) as harness:
        client = await harness.serve(harness.request(gemini_scripts.BODY, path=gemini_scripts.STREAM))
        assert (client.status, client.is_finished, harness.rows[0].attempts) == (200, True, 2)


async def test_a_good_first_event_is_not_delayed_and_a_half_one_for_two_seconds(autojump_clock: MockClock) -> None:
    async def streams(side: UpstreamSide) -> None:
        await side.request()
        await side.send(HEAD, chunk(START[:30] if side.number else START))
        await trio.sleep(10)
        await side.send(chunk(START[30:] if side.number else b": \n\n"), *(chunk(e) for e in STREAM[1:]), LAST_CHUNK)

    for number, seconds in ((0, 0), (1, 2)):
        async with open_harness(streams, accounts=2) as harness:
            if number:
                harness.account("a").health.disable("not this one")
            client = await harness.serve(harness.request())
            assert client.is_finished
            assert harness.rows[0].ttft_ms == pytest.approx(seconds * 1000)


# --- complete is complete -------------------------------------------------------------------------------------------

AFTER_THE_END = ("stalls", "dies", "ends")


@pytest.mark.parametrize("then", AFTER_THE_END)
@pytest.mark.parametrize("pieces", [STREAM, (*STREAM[:-1], STREAM[-1][:-1])], ids=["whole", "without its blank line"])
async def test_after_message_stop_an_answer_is_complete_whatever_the_upstream_does(
    autojump_clock: MockClock, then: str, pieces: tuple[bytes, ...]
) -> None:
    async with open_harness(sends(HEAD, *pieces, then=then)) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request())
        assert trio.current_time() - began <= 1.1
        assert (client.body, client.is_finished, codes(harness)) == (b"".join(pieces), True, ["--"])
        assert (harness.rows[0].usage.source, harness.rows[0].usage.total_tokens) == (UsageSource.EXACT, 17)
        harness.assert_healthy()
        await trio.sleep(2)
        statistics = harness.upstream.statistics()
        assert (statistics.ending_connections, statistics.idle_connections) == (0, 1 if then == "ends" else 0)


async def test_the_slot_is_free_at_the_last_event_and_a_late_end_keeps_the_connection(
    autojump_clock: MockClock,
) -> None:
    async def ends_late(side: UpstreamSide) -> None:
        await side.request()
        await side.send(HEAD, *(chunk(event) for event in STREAM))
        await trio.sleep(0.5)
        await side.send(LAST_CHUNK)

    async with open_harness(ends_late) as harness:
        began = trio.current_time()
        await harness.serve(harness.request())
        assert trio.current_time() == began
        assert harness.upstream.statistics().ending_connections == 1
        await trio.sleep(1)
        assert harness.upstream.statistics().idle_connections == 1
        await harness.serve(harness.request())
        assert harness.upstream.statistics().reused_total == 1


@pytest.mark.parametrize("then", AFTER_THE_END)
@pytest.mark.parametrize("path", ["/v1/messages", bedrock_scripts.INVOKE_STREAM, "/model/x.m/converse-stream"])
async def test_after_the_last_frame_an_answer_is_complete(autojump_clock: MockClock, then: str, path: str) -> None:
    frames = CONVERSE if "converse" in path else CLAUDE
    script = sends(bedrock_scripts.HEAD, *frames, then=then)
    async with open_harness(script, **bedrock_scripts.ACCOUNTS) as harness:
        client = await harness.serve(harness.request(path=path))
        assert (client.is_finished, codes(harness)) == (True, ["--"])
        assert (harness.rows[0].usage.source, harness.rows[0].usage.total_tokens) == (UsageSource.EXACT, 17)


@pytest.mark.parametrize("then", AFTER_THE_END)
@pytest.mark.parametrize("is_array", [True, False])
async def test_after_its_last_candidate_gemini_is_complete(
    autojump_clock: MockClock, then: str, is_array: bool
) -> None:
    head, pieces = (gemini_scripts.ARRAY_HEAD, ARRAY) if is_array else (HEAD, EVENTS)
    async with open_harness(sends(head, *pieces, then=then), **gemini_scripts.accounts()) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request(gemini_scripts.BODY, path=gemini_scripts.STREAM))
        assert trio.current_time() - began <= 1.1
        assert (client.body, client.is_finished, codes(harness)) == (b"".join(pieces), True, ["--"])
        assert harness.rows[0].usage.source is UsageSource.EXACT


@pytest.mark.parametrize("then", AFTER_THE_END)
async def test_a_compressed_stream_is_complete_with_its_last_event(autojump_clock: MockClock, then: str) -> None:
    body = gzip.compress(b"".join(STREAM))
    async with open_harness(sends(GZIP_HEAD, body, then=then)) as harness:
        client = await harness.serve(harness.request(headers=[(b"accept-encoding", b"gzip")]))
        assert (client.body, client.is_finished, codes(harness)) == (body, True, ["--"])


@pytest.mark.parametrize("then", AFTER_THE_END)
async def test_after_an_error_event_nothing_is_added_whatever_the_upstream_does(
    autojump_clock: MockClock, then: str
) -> None:
    pieces = (START, sse_error("api_error"))
    async with open_harness(sends(HEAD, *pieces, then=then)) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request())
        assert trio.current_time() - began <= 1.1
        assert (client.body, codes(harness)) == (b"".join(pieces), ["SD"])
        assert harness.rows[0].outcome is not None
        assert harness.rows[0].outcome.word == "upstream_error"


# --- a whole answer takes its time ----------------------------------------------------------------------------------


async def test_a_whole_answer_may_take_ten_minutes(autojump_clock: MockClock) -> None:
    async def takes_its_time(side: UpstreamSide) -> None:
        await side.request()
        await trio.sleep(590)
        await side.send(JSON_HEAD, scripts.MESSAGE)
        raise trio.BrokenResourceError

    async with open_harness(takes_its_time, accounts=2) as harness:
        client = await harness.serve(harness.request(stream=False))
        assert (client.status, harness.rows[0].attempts) == (200, 1)


@pytest.mark.parametrize(
    ("stream", "after_timeout", "attempts"), [(False, False, 1), (False, True, 2), (True, False, 2)]
)
async def test_a_whole_answer_that_an_upstream_works_at_is_not_paid_twice_unless_configured(
    autojump_clock: MockClock, stream: bool, after_timeout: bool, attempts: int
) -> None:
    retry, timeouts = {"after_timeout": after_timeout}, {"whole_answer_timeout_seconds": 200}
    async with open_harness(scripts.is_silent, accounts=2, retry=retry, timeouts=timeouts) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request(stream=stream))
        assert (client.status, harness.rows[0].attempts) == (504, attempts)
        assert trio.current_time() - began == pytest.approx(attempts * (120 if stream else 200))


# --- an answer that is cut ----------------------------------------------------------------------------------------


async def test_a_message_that_is_cut_is_not_finished_and_nothing_is_appended(autojump_clock: MockClock) -> None:
    """JSON has no place for last words: the client sees the connection end before ``content-length``."""

    async def dies(side: UpstreamSide) -> None:
        await side.request()
        await side.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n", b'{"a":')
        await trio.sleep(3)  # until then, the client has seen nothing
        raise trio.BrokenResourceError

    async with open_harness(dies) as harness:
        client = await harness.serve(harness.request(stream=False))
        assert (client.status, client.body, client.is_finished) == (200, b'{"a":', False)
        assert codes(harness) == ["SD"]
        assert header(client.sent[0]["headers"], b"content-length") == b"500"


async def test_a_gzipped_stream_that_is_cut_gets_no_plain_text_appended(autojump_clock: MockClock) -> None:
    """The client's decoder would read it as damage. The cut itself is all that can be said."""
    body = gzip.compress(START + TEXT)

    async def dies(side: UpstreamSide) -> None:
        await side.request()
        head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        await side.send(head, chunk(body[:-4]))
        raise trio.BrokenResourceError

    async with open_harness(dies) as harness:
        client = await harness.serve(harness.request(headers=[(b"accept-encoding", b"gzip")]))
        assert (client.body, client.is_finished) == (body[:-4], False)
        assert codes(harness) == ["SD"]
        assert harness.rows[0].usage.source is UsageSource.PARTIAL


async def test_a_gzipped_stream_is_passed_as_it_is_and_metered(autojump_clock: MockClock) -> None:
    body = gzip.compress(b"".join(STREAM))

    async def streams(side: UpstreamSide) -> None:
        await side.request()
        head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        await side.send(head, chunk(body[:30]), chunk(body[30:]), LAST_CHUNK)

    async with open_harness(streams) as harness:
        client = await harness.serve(harness.request(headers=[(b"accept-encoding", b"gzip")]))
        assert (client.body, client.is_finished) == (body, True)
        assert (codes(harness), harness.rows[0].usage.total_tokens) == (["--"], 17)


async def test_an_encoding_nobody_asked_for_is_a_502_before_a_byte(autojump_clock: MockClock) -> None:
    async def answers_in_brotli(side: UpstreamSide) -> None:
        await side.request()
        await side.send(HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: br\r\n\r\n"), chunk(b"\x01\x02"), LAST_CHUNK)

    async with open_harness(answers_in_brotli) as harness:
        client = await harness.serve(harness.request())
        assert (client.status, codes(harness)) == (502, ["SH"])


async def test_a_model_by_head_has_no_body_and_is_completed(autojump_clock: MockClock) -> None:
    async def answers_head(side: UpstreamSide) -> None:
        if len(harness.sides) == 1:  # the list, which the relay looks into first
            await refuses(404, b"")(side)
            return
        assert (await side.request()).startswith(b"HEAD /v1/models/c ")
        await side.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n")

    async with open_harness(answers_head) as harness:
        client = harness.request(path="/v1/models/c", method="HEAD")
        client.body_parts = [b""]
        await harness.serve(client)
        assert (client.status, client.body, client.is_finished) == (200, b"", True)
        assert codes(harness) == ["--"]


# --- a body that gives up -----------------------------------------------------------------------------------------


async def test_a_send_that_breaks_without_a_disconnect_ends_upstream_and_row(autojump_clock: MockClock) -> None:
    """A server whose send raises, and whose disconnect never comes: nothing may be left, whoever's defect it is."""
    async with open_harness(scripts.floods) as harness:
        client = harness.request()

        async def broken_send(message: dict[str, object]) -> None:
            await trio.lowlevel.checkpoint()
            if message.get("body"):
                raise OSError("broken pipe")

        client._send = broken_send  # type: ignore[method-assign]
        with pytest.raises((OSError, ExceptionGroup)):
            await client.run()
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert codes(harness) == ["ID"]
        assert harness.sides[0].is_closed_by_the_relay
        harness.assert_healthy()


# --- the client's leaving is no verdict ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("silent", scripts.is_silent),
        ("slow", scripts.streams_slowly),
        ("stalled", scripts.stalls),
        ("flood", scripts.floods),
        ("whole", scripts.streams),
    ],
)
def test_a_client_that_leaves_at_any_step_blames_no_account(name: str, script: Script) -> None:
    """Not a strike, not a cool-down, not a forgotten strike: as if the request had never been."""

    async def scenario(run: Run) -> None:
        async with open_harness(script, accounts=2) as harness:
            for account in harness.core.pool.accounts:
                account.health.strike(trio.current_time())
            client = harness.request()
            run.stage.client = client
            with run.target(), trio.move_on_after(20):
                await client.run()
            if run.is_struck:
                await trio.testing.wait_all_tasks_blocked()
                harness.assert_at_rest()
            for account in ("a", "b"):
                assert health(harness, account).state is AccountState.READY
                assert health(harness, account).strikes <= 1

    def leave(run: Run) -> None:
        run.stage.client.leave()

    explore(scenario, leave, counted=(Steps.RUN,))


# --- another dialect ----------------------------------------------------------------------------------------------


async def test_an_upstreams_error_comes_in_the_clients_dialect(autojump_clock: MockClock) -> None:
    """Status and body are translated; what the upstream's own clients would look at stays behind."""
    busy = refuses(503, b'{"message":"busy"}', b"x-amzn-errortype: ServiceUnavailableException:http://x/")
    async with open_harness(busy, **bedrock_scripts.ACCOUNTS, retry={"enabled": False}) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 529
        envelope = json.loads(client.body)
        assert envelope["error"] == {"type": "overloaded_error", "message": "busy"}
        assert envelope["request_id"] == harness.rows[0].request_id
        headers = client.sent[0]["headers"]
        assert header(headers, b"x-amzn-errortype") is None
        assert (harness.rows[0].status, codes(harness)) == (529, ["SH"])


async def test_what_the_upstream_does_not_know_is_named_in_a_header_and_in_the_row(autojump_clock: MockClock) -> None:
    """The header has the names of what is new; the row has words of a closed list."""
    async with open_harness(bedrock_scripts.streams, **bedrock_scripts.ACCOUNTS) as harness:
        sent = {"model": "m", "stream": True, "context_management": {}, "new_1": 1, "new_2": 1}
        client = await harness.serve(harness.request(json.dumps(sent).encode()))
        assert client.status == 200
        named = header(client.sent[0]["headers"], b"x-relay-dropped")
        assert named == b"context_management, member:new_1, member:new_2"
        assert harness.rows[0].dropped == "context_management,member"


async def test_an_upstreams_error_in_the_same_dialect_keeps_its_name(autojump_clock: MockClock) -> None:
    busy = refuses(503, b'{"message":"busy"}', b"x-amzn-errortype: ServiceUnavailableException:http://x/")
    async with open_harness(busy, **bedrock_scripts.ACCOUNTS, retry={"enabled": False}) as harness:
        client = await harness.serve(harness.request(path="/model/x.m/invoke"))
        assert (client.status, client.body) == (503, b'{"message":"busy"}')
        named = [value for name, value in client.sent[0]["headers"] if name == b"x-amzn-errortype"]
        assert named == [b"ServiceUnavailableException:http://x/"]


async def test_a_translated_stream_that_broke_is_ended_at_once(autojump_clock: MockClock) -> None:
    """The upstream has nothing to say any more, whatever it goes on sending."""

    async def goes_on(side: UpstreamSide) -> None:
        await side.request()
        await side.send(bedrock_scripts.HEAD, chunk(CLAUDE[0]), chunk(exception("modelStreamErrorException")))
        await side.wait_closed()

    async with open_harness(goes_on, **bedrock_scripts.ACCOUNTS) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request())
        assert trio.current_time() - began < 1
        assert client.body.count(b"event: error\n") == 1
        assert not client.is_finished
        assert codes(harness) == ["SD"]


@pytest.mark.parametrize("is_fixed", [True, False])
async def test_a_refused_credential_that_can_be_resolved_again_is(
    is_fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that a file or a role gives may have been rotated; those of the configuration wait for an operator."""
    settings = {"account": [dict(bedrock_scripts.ACCOUNTS["account"][0])]}
    if not is_fixed:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "e")
        del settings["account"][0]["access_key_id"], settings["account"][0]["secret_access_key"]
    unknown = refuses(403, b'{"message":"who?"}', b"x-amzn-errortype: UnrecognizedClientException")
    async with open_harness(unknown, **settings) as harness:
        client = await harness.serve(harness.request(path="/model/x.m/invoke"))
        assert client.status == 403
        assert b"who?" not in client.body
        account = harness.account("a")
        assert health(harness, "a").state is (AccountState.AUTH_FAILED if is_fixed else AccountState.COOLING)
        assert (account.credentials.current_nowait() is None) is not is_fixed


async def test_a_long_first_event_is_sent_as_it_comes_and_a_stalled_client_holds_no_more_than_the_limit(
    autojump_clock: MockClock,
) -> None:
    """What is held until the first event has a bound, and what is handed to the channel too."""
    first = b"event: content_block_delta\ndata: " + b"x" * 2_000_000

    async def script(side: UpstreamSide) -> None:
        await side.request()
        await side.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", first)
        await trio.sleep_forever()

    async with open_harness(script) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        client.reads = trio.Event()
        nursery.start_soon(harness.serve, client)
        await trio.sleep(3)
        _, fullest = harness.core.live.held_bytes()
        assert fullest <= CHANNEL_BYTES + LARGEST_READ_BYTES
        nursery.cancel_scope.cancel()
