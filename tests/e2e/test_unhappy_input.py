"""What clients should not send: refused in the envelope, on a connection that serves on or ends, no secret told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.http import BaseAddress
from tests.support.accounts import ACCOUNT_KEYS, account
from tests.support.cases import case
from tests.support.raw_client import RawClient, ask, message, open_raw, request
from tests.support.scripted_upstream import open_scripted, sized
from tests.support.socket_harness import CANARIES, KEY, OTHER_KEY, PROMPT, open_harness

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator import Simulator
    from tests.support.raw_client import RawAnswer
    from tests.support.socket_harness import SocketHarness

_SMALL_BODY: dict[str, dict[str, object]] = {"server": {"max_body_bytes": 300_000}}


async def check_refusal(
    harness: SocketHarness, client: RawClient, answer: RawAnswer, status: int, kind: str, *, rows: int = 1
) -> None:
    """Envelope, ids and row are right; then the connection serves another request, or is at its end.

    Cancelled here: destroys.
    """
    assert (answer.status, answer.error["type"]) == (status, kind), answer.body
    assert answer.is_whole
    assert answer.header(b"content-type") == b"application/json"
    assert answer.header(b"x-request-id") == answer.header(b"request-id")
    harness.assert_no_canary(answer.body, b"".join(name + value for name, value in answer.headers))
    found = [row for row in await harness.rows() if row["request_id"] == answer.request_id]
    assert len(found) == rows
    for row in found:
        assert (row["status"], row["attempts"], row["total_tokens"]) == (status, 0, 0)
        assert row["code"].startswith("P")
    await check_connection(client, answer)


async def check_connection(client: RawClient, answer: RawAnswer) -> None:
    """It serves another request, or it is closed when it said so. Cancelled here: destroys."""
    with trio.fail_after(3):
        if answer.header(b"connection") == b"close":
            await client.wait_closed()
            return
        again = await client.ask(request(message(stream=False)))
        assert (again.status, again.is_whole) == (200, True)


# --- bodies -------------------------------------------------------------------------------------------------------

_GOOD = message(stream=False)
_DEEP = b'{"model":"claude-sim","x":' + b"[" * 5000 + b"]" * 5000 + b"}"

BODIES: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \r\n\t ",
    "not json": b"model=claude-sim&" + PROMPT.encode(),
    "half": _GOOD[:-1],
    "trailing text": _GOOD + b"x",
    "two objects": _GOOD + _GOOD,
    "array": b"[" + _GOOD + b"]",
    "string": b'"claude-sim"',
    "number": b"1",
    "null": b"null",
    "single quotes": _GOOD.replace(b'"', b"'"),
    "trailing comma": _GOOD[:-1] + b",}",
    "comment": b"/* x */" + _GOOD,
    "nan": _GOOD[:-1] + b',"top_p":NaN}',
    "infinity": _GOOD[:-1] + b',"top_p":-Infinity}',
    "utf-16": _GOOD.decode().encode("utf-16"),
    "utf-16 without bom": _GOOD.decode().encode("utf-16-le"),
    "utf-32": _GOOD.decode().encode("utf-32"),
    "bom": b"\xef\xbb\xbf" + _GOOD,
    "invalid utf-8": _GOOD[:-1] + b',"x":"\xff\xfe"}',
    "raw control character": _GOOD[:-1] + b',"x":"\x01\x00"}',
    "nul at the end": _GOOD + b"\x00",
    "lone surrogate in the model": b'{"model":"claude-\\ud800","max_tokens":5}',
    "model missing": b'{"max_tokens":5}',
    "model null": b'{"model":null}',
    "model a number": b'{"model":5}',
    "model a list": b'{"model":["claude-sim"]}',
    "model an object": b'{"model":{"model":"claude-sim"}}',
    "model empty": b'{"model":""}',
    "model nested only": b'{"x":{"model":"claude-sim"}}',
    "model of 5000 letters": json.dumps({"model": "m" * 5000}).encode(),
    "stream a string": b'{"model":"claude-sim","stream":"true"}',
    "stream a number": b'{"model":"claude-sim","stream":1}',
    "model twice": b'{"model":"claude-sim","max_tokens":5,"model":"claude-other"}',
    "model twice, the same": b'{"model":"claude-sim","model":"claude-sim"}',
    "model twice, escaped": b'{"model":"claude-sim","max_tokens":5,"mod\\u0065l":"claude-other"}',
    "stream twice": b'{"model":"claude-sim","stream":false,"stream":true}',
    "other member twice": b'{"model":"claude-sim","max_tokens":5,"max_tokens":500000}',
    "deep": _DEEP,
    "deep, open": b"[" * 100_000,
    "a million brackets": b'{"model":"claude-sim","x":[' + b"[]," * 330_000 + b"0]}",
    "a million names": b'{"model":"claude-sim"' + b"".join(b',"k%d":0' % n for n in range(200_000)) + b"}",
    "brackets that do not match": b'{"model":"claude-sim","x":[}]',
    "many escapes, no end": b'{"model":"' + b'\\"' * 400_000,
    "digits, 5000, as the model": b'{"model":' + b"9" * 5000 + b"}",
}


async def test_a_body_that_cannot_be_relayed_is_a_bad_request(simulator: Simulator, relay: SocketHarness) -> None:
    """400 in the envelope, exactly one row, nothing sent upstream."""
    for name, body in BODIES.items():
        with case(name):
            async with open_raw(relay.port) as client:
                simulator.truth.clear()
                answer = await client.ask(request(body))
                assert simulator.truth.records == []
                await check_refusal(relay, client, answer, 400, "invalid_request_error")


@pytest.mark.parametrize("name", ["not json", "model twice, escaped", "deep, open", "utf-16"])
async def test_a_bad_body_is_refused_however_it_arrives(name: str, relay: SocketHarness) -> None:
    """Chunked, in pieces of seven bytes, and by the other route that has a body."""
    body = BODIES[name][:3000]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))
    head = request(framing="transfer-encoding: chunked")
    async with open_raw(relay.port) as client:
        answer = await client.ask(head + chunks + b"0\r\n\r\n")
        await check_refusal(relay, client, answer, 400, "invalid_request_error")
        answer = await client.ask(request(body, target="/v1/messages/count_tokens?beta=true"))
        await check_refusal(relay, client, answer, 400, "invalid_request_error")


async def test_bodies_that_look_bad_and_are_not_go_upstream_unchanged(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Odd is not wrong: the upstream decides."""
    deep = b"[" * 50 + b"]" * 50
    odd = (
        b"\r\n\t " + _GOOD + b"\n\n",
        _GOOD[:-1] + b',"x":"\\ud83d\\ude00 \\u0000 \xf0\x9f\x98\x80"}',
        _GOOD[:-1] + b',"x":"\\ud800"}',
        _GOOD[:-1] + b',"x":' + b"9" * 4000 + b"}",
        _GOOD[:-1] + b',"x":1e400}',
        _GOOD[:-1] + b',"x":' + deep + b"}",
        _GOOD[:-1] + b',"x":{"model":1,"model":2}}',
        _GOOD[:-1] + b',"x":"' + b"[{,:\\\\" * 20_000 + b'"}',
    )
    async with open_raw(relay.port) as client:
        for body in odd:
            answer = await client.ask(request(body))
            assert answer.status < 500, body[-80:]
            row = await relay.row(answer.request_id)
            if row["attempts"]:
                assert simulator.truth.last.body == body
            else:
                assert answer.error["type"] == "invalid_request_error"


_MODELS = [
    "../../admin",
    "..",
    ".",
    "/etc/passwd",
    "a/../b?x",
    "a?x=1",
    "a#frag",
    "a%2F..%2Fb",
    "a%00b",
    "a b",
    "a\nb",
    "a\r\nx: y",
    "a\x00b",
    "a\\b",
    "a'b",
    'a"b',
    "a;b c",
    "<script>",
    "${x}",
    "{{x}}",
    "modèle",
    "a\u202eb",
    " claude-sim",
    "claude-sim ",
    "-claude",
    "http://elsewhere/?",
]


async def test_model_names_that_could_steer_a_path_are_refused(simulator: Simulator, relay: SocketHarness) -> None:
    """No name with ``?``, ``#``, ``%``, white space or quotes ever leaves; none changes the path."""
    for model in _MODELS:
        with case(model):
            async with open_raw(relay.port) as client:
                answer = await client.ask(request(message(model, stream=False)))
                if answer.status == 200:
                    assert simulator.truth.last.target == b"/v1/messages"
                    assert not set(model) & set("?#% \n\"'")
                else:
                    await check_refusal(relay, client, answer, 400, "invalid_request_error")
    assert {record.target for record in simulator.truth.records} == {b"/v1/messages"}


# --- keys ---------------------------------------------------------------------------------------------------------


_WRONG_KEYS = [
    (),
    ("x-api-key:",),
    ("x-api-key: rt_unknown",),
    ("authorization: Bearer rt_unknown",),
    ("authorization: Bearer",),
    (f"authorization: Basic {KEY}",),
    (f"authorization: {KEY}",),
    ("x-api-key: " + "k" * 8000,),
    ("x-api-key: \xff\xfe",),
    (f"x-api-key: {KEY[:-1]}",),
    (f"x-api-key: {KEY}x",),
    (f"x-api-key: {KEY.upper()}",),
    (f"cookie: key={KEY}",),
    (f"x-api-key: {ACCOUNT_KEYS[0]}",),
    ("authorization: Bearer ' OR 1=1 --",),
]


async def test_without_a_valid_key_there_is_no_row(simulator: Simulator, relay: SocketHarness) -> None:
    """401, told alike for all, nothing booked, nothing sent, nothing quoted back."""
    for headers in _WRONG_KEYS:
        data = request(message(), key=None)
        at = data.index(b"content-length")
        data = data[:at] + "".join(f"{line}\r\n" for line in headers).encode("latin-1") + data[at:]
        with case(headers):
            async with open_raw(relay.port) as client:
                answer = await client.ask(data)
                await check_refusal(relay, client, answer, 401, "authentication_error", rows=0)
    assert len(await relay.rows()) == len(simulator.truth.records)  # those that checked the connections


async def test_a_key_in_the_query_is_no_key(relay: SocketHarness) -> None:
    """It would be in every proxy's log."""
    answer = await ask(relay.port, request(message(), target=f"/v1/messages?key={KEY}", key=None))
    assert (answer.status, answer.error["type"]) == (401, "authentication_error")
    assert await relay.rows() == []


async def test_a_key_may_not_use_other_models(simulator: Simulator, relay: SocketHarness) -> None:
    """403, one row, nothing sent."""
    async with open_raw(relay.port) as client:
        answer = await client.ask(request(message("claude-sim-large"), key=OTHER_KEY))
        await check_refusal(relay, client, answer, 403, "permission_error")
        answer = await client.ask(request(message("claude-sim-small", stream=False), key=OTHER_KEY))
        assert answer.status == 200
    assert [record.model for record in simulator.truth.records] == ["claude-sim", "claude-sim-small"]


async def test_a_key_may_not_use_other_models_by_way_of_a_batch(simulator: Simulator, relay: SocketHarness) -> None:
    """A batch names a model in each of its requests; the key's limit holds for every one of them."""
    params = json.loads(message("claude-sim-large", stream=False))
    body = json.dumps({"requests": [{"custom_id": "a", "params": params}]}).encode()
    answer = await ask(relay.port, request(body, target="/v1/messages/batches", key=OTHER_KEY))
    assert (answer.status, answer.error["type"]) == (403, "permission_error")
    assert simulator.truth.records == []


async def test_a_model_that_no_account_has_is_not_found(simulator: Simulator, folder: Path) -> None:
    """404, one row."""
    async with open_harness(folder, [account("one", simulator.base_url, models=["claude-sim*"])]) as harness:
        async with open_raw(harness.port) as client:
            answer = await client.ask(request(message("gpt-none")))
            await check_refusal(harness, client, answer, 404, "not_found_error")


# --- routes, methods, heads ---------------------------------------------------------------------------------------


_ROUTES = [
    ("GET", "/v1/messages", 405, "invalid_request_error"),
    ("PUT", "/v1/messages", 405, "invalid_request_error"),
    ("DELETE", "/v1/models", 405, "invalid_request_error"),
    ("OPTIONS", "/v1/messages", 405, "invalid_request_error"),
    ("PATCH", "/v1/messages", 405, "invalid_request_error"),
    ("POST", "/v1/unknown", 404, "not_found_error"),
    ("POST", "/v1/messages/", 404, "not_found_error"),
    ("POST", "/v1/./messages", 404, "not_found_error"),
    ("POST", "/V1/MESSAGES", 404, "not_found_error"),
    ("GET", "/debug/invariants", 404, "not_found_error"),
    ("GET", "/debug/tasks", 404, "not_found_error"),
    ("GET", "/metrics", 404, "not_found_error"),
    ("GET", "/v1/files", 404, "not_found_error"),
    ("GET", "/%ff%fe", 404, "not_found_error"),
    ("GET", "/%00", 404, "not_found_error"),
    ("GET", "/" + "p" * 4000, 404, "not_found_error"),
]


async def test_unknown_routes_and_methods_are_refused_in_the_envelope(relay: SocketHarness) -> None:
    """No row, no foreign error page, and the connection lives on."""
    for method, target, status, kind in _ROUTES:
        body = b"{}" if method in ("PUT", "POST", "PATCH") else b""
        with case((method, target)):
            async with open_raw(relay.port) as client:
                answer = await client.ask(request(body, method=method, target=target))
                await check_refusal(relay, client, answer, status, kind, rows=0)


@pytest.mark.parametrize(
    "target", ["//v1/messages", "/v1%2Fmessages", "/v1/%6dessages", "/%761/messages", "/v1/messages%3F"]
)
async def test_another_spelling_of_a_route_is_not_a_way_around_the_meter(target: str, folder: Path) -> None:
    """Either it is no route, or it is the route: an upstream that understands it is never used without being booked."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = sized(
            [b'{"usage":{"input_tokens":3,"output_tokens":4}}'], headers=[("content-type", "application/json")]
        )
        answer = await ask(harness.port, request(message(stream=False), target=target))
        if upstream.requests:
            assert (await harness.row(answer.request_id))["total_tokens"] == 7
        else:
            assert (answer.status, answer.error["type"]) == (404, "not_found_error")


async def test_paths_that_climb_never_reach_another_path_upstream(simulator: Simulator, relay: SocketHarness) -> None:
    """The account's credential goes with a path, so one that leads elsewhere is no route at all."""
    for target in (
        "/v1/models/../messages",
        "/v1/models/..%2f..%2fadmin",
        "/v1/models/%2e%2e/files",
        "/v1/models/..%5cfiles",
        "/v1/messages/batches/../../x",
        "/v1/messages/batches/%2e%2e",
        "/v1/messages/batches/..%2f..%2fx/results",
    ):
        with case(target):
            answer = await ask(relay.port, request(method="GET", target=target))
            assert (answer.status, answer.error["type"]) == (404, "not_found_error")
            assert simulator.truth.records == []


_HEADS: dict[str, bytes] = {
    "content-length: text": b"content-length: ten\r\n",
    "content-length: negative": b"content-length: -1\r\n",
    "content-length: plus": b"content-length: +5\r\n",
    "content-length: two different": b"content-length: 5\r\ncontent-length: 6\r\n",
    "content-length: list": b"content-length: 5, 6\r\n",
    "content-length: huge": b"content-length: " + b"9" * 40 + b"\r\n",
    "content-length: hex": b"content-length: 0x5\r\n",
    "both framings": b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "unknown coding": b"transfer-encoding: gzip\r\n",
    "coding list": b"transfer-encoding: gzip, chunked\r\n",
    "folded": b"x-a: b\r\n c\r\n",
    "no colon": b"nonsense\r\n",
    "space before colon": b"x-a : b\r\n",
    "nul in value": b"x-a: b\x00c\r\n",
    "bad name": b"x\x01a: b\r\n",
    "too large": b"x-a: " + b"v" * 70_000 + b"\r\n",
    "too many": b"".join(b"x-%d: v\r\n" % n for n in range(2000)),
}


async def test_a_head_that_is_not_http_is_refused_and_the_connection_ends(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """4xx or a close, never 5xx, never a second reading of the same bytes."""
    for name, fields in _HEADS.items():
        head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: " + KEY.encode() + b"\r\n" + fields + b"\r\n"
        with case(name), trio.fail_after(5):
            async with open_raw(relay.port) as client:
                await _check_refused_head(relay, client, head + b"0\r\n\r\n")
    assert simulator.truth.records == []


async def _check_refused_head(harness: SocketHarness, client: RawClient, data: bytes) -> None:
    try:
        await client.send(data)
    except trio.BrokenResourceError:
        return
    answer = await client.read_answer()
    if answer is not None:
        assert 400 <= answer.status < 500, answer.body
        harness.assert_no_canary(answer.body)
        await client.wait_closed()


_NOT_HTTP = (
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"hello\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\r\n\r\n\r\n\r\nx",
    b"POST /v1/messages HTTP/1.1\r\n\r\n",
)


async def test_bytes_that_are_not_http_end_only_their_connection(relay: SocketHarness) -> None:
    """Whatever comes back is no 5xx but 505; the next connection is served."""
    for data in _NOT_HTTP:
        with case(data):
            async with open_raw(relay.port) as client:
                await client.send(data)
                with trio.move_on_after(0.5):
                    answer = await client.read_answer()
                    assert answer is None or answer.status < 500 or answer.status == 505
            assert (await ask(relay.port, request(message(stream=False)))).status == 200


# --- large bodies, early answers ----------------------------------------------------------------------------------


async def test_a_body_larger_than_allowed_is_refused_by_its_length(simulator: Simulator, folder: Path) -> None:
    """413 before the body is sent, one row."""
    async with open_harness(folder, [account("one", simulator.base_url)], **_SMALL_BODY) as harness:
        async with open_raw(harness.port) as client:
            head = request(framing="content-length: 300001")
            with trio.fail_after(3):
                answer = await client.ask(head)
                await check_refusal(harness, client, answer, 413, "request_too_large")
        assert simulator.truth.records == []


async def test_a_body_larger_than_allowed_is_refused_as_it_arrives(simulator: Simulator, folder: Path) -> None:
    """Chunked, the length is known when it is passed: 413 then, and nothing is kept."""
    async with open_harness(folder, [account("one", simulator.base_url)], **_SMALL_BODY) as harness:
        for _ in range(5):
            async with open_raw(harness.port) as client:
                with trio.fail_after(5):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_send_chunks, client, 3_000_000)
                        answer = await client.read_answer()
                        assert answer is not None
                        nursery.cancel_scope.cancel()
                    assert (answer.status, answer.error["type"]) == (413, "request_too_large")
                    row = await harness.row(answer.request_id)
                    assert (row["status"], row["code"]) == (413, "PR")
        assert simulator.truth.records == []


async def _send_chunks(client: RawClient, size: int) -> None:
    try:
        await client.send(request(framing="transfer-encoding: chunked"))
        for _ in range(0, size, 10_000):
            await client.send(b"2710\r\n" + b" " * 10_000 + b"\r\n")
    except trio.BrokenResourceError:
        return


async def test_a_body_just_within_the_limit_is_served(simulator: Simulator, folder: Path) -> None:
    """The limit is a limit, not a guess."""
    body = message(stream=False)
    padded = body[:-1] + b" " * (300_000 - len(body)) + b"}"
    async with open_harness(folder, [account("one", simulator.base_url)], **_SMALL_BODY) as harness:
        async with open_raw(harness.port) as client:
            for framing in (None, "transfer-encoding: chunked"):
                sent = padded if framing is None else b"%x\r\n%s\r\n0\r\n\r\n" % (len(padded), padded)
                answer = await client.ask(request(sent, framing=framing))
                assert answer.status == 200
            answer = await client.ask(request(padded + b" "))
            assert answer.status == 413


async def test_a_large_request_right_after_an_answer_is_served(simulator: Simulator, relay: SocketHarness) -> None:
    """A kept connection, bodies as large as coding agents send: each is sent the moment the last answer ended."""
    body = message(stream=False)
    padded = body[:-1] + b" " * (200_000 - len(body)) + b"}"
    async with open_raw(relay.port) as client:
        for number in range(30):
            await client.send(request(padded))
            answer = await client.read_answer()
            assert answer is not None, f"request {number} was not answered"
            assert (answer.status, answer.is_whole) == (200, True)


@pytest.mark.parametrize("key", [None, "rt_wrong", KEY])
async def test_an_answer_before_the_body_was_sent_hangs_nobody(key: str | None, relay: SocketHarness) -> None:
    """Fifty times: the answer comes while half the body is missing; then the rest, and a second request or the end."""
    body = b"x" * 20_000
    target = "/v1/messages" if key != KEY else "/v1/none"
    for number in range(50):
        async with open_raw(relay.port) as client:
            with trio.fail_after(3):
                data = request(body, key=key, target=target)
                await client.send(data[:-10_000])
                answer = await client.read_answer()
                assert answer is not None
                assert answer.status == (404 if key == KEY else 401)
                assert answer.error
                if number % 2:
                    await trio.sleep(0.002)
                try:
                    await client.send(data[-10_000:])
                    await client.send(request(message(stream=False)))
                    again = await client.read_answer()
                except (trio.BrokenResourceError, AssertionError):
                    again = None  # closed, with a reset: it said so
                assert again is None or again.status == 200
                if again is None:
                    assert answer.header(b"connection") == b"close"
    assert {row["outcome"] for row in await relay.rows()} <= {"completed"}


async def test_a_body_that_stops_arriving_times_out_in_the_envelope(simulator: Simulator, folder: Path) -> None:
    """408, one row with its own code, no slot taken."""
    timeouts = {"body_idle_timeout_seconds": 0.2}
    async with open_harness(folder, [account("one", simulator.base_url)], timeouts=timeouts) as harness:
        async with open_raw(harness.port) as client:
            await client.send(request(message())[:-5])
            with trio.fail_after(3):
                answer = await client.read_answer()
                assert answer is not None
                assert answer.status == 408
                assert answer.error
                await client.wait_closed()
        row = await harness.row(answer.request_id)
        assert (row["outcome"], row["code"], row["status"]) == ("client_timeout", "cR", 408)
        assert simulator.truth.records == []


# --- canaries -----------------------------------------------------------------------------------------------------


async def test_secrets_and_prompts_are_nowhere_after_every_kind_of_end(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Ledger files, log, answers and admin pages, after success, refusal, fault, disconnect and timeout.

    While a request with the prompt is open, the admin pages are read too.
    """
    answers: list[bytes] = []
    faults = ("none", "400", "401", "403", "404", "429", "500", "529", "html:502", "junk", "close_before_head")
    faults += ("error_event:2", "close_after_events:3", "end_after_events:3", "odd_headers", "bad_header", "redirect")
    for fault in faults:
        simulator.plan_next(f"fault={fault}" if fault != "redirect" else "fault=302")
        answer = await ask(relay.port, request(message(metadata={"user_id": PROMPT})))
        answers += [value for _, value in answer.headers] + [answer.body]
        for name in ("one", "two"):  # every fault is to meet a willing account
            health = next(a for a in relay.relay.core.pool.accounts if a.name == name).health
            health.__init__(relay.relay.settings.breaker)  # type: ignore[misc]
    for body in BODIES.values():
        answers.append((await ask(relay.port, request(body[:5000]))).body)
    simulator.plan_next("chunks=2000,pace=0.01")
    async with open_raw(relay.port) as client:
        await client.send(request(message(max_tokens=5000)))
        await client.read_answer(limit_bytes=500)
        for page in ("/debug/invariants", "/debug/tasks", "/healthz", "/readyz"):
            admin = int(relay.bound.admin_url.rpartition(":")[2])
            answers.append((await ask(admin, request(method="GET", target=page, key=None))).body)
        client.reset()
    await relay.rows()
    assert relay.log.getvalue().count('"event": "request"') == len(await relay.rows())
    relay.assert_no_canary(*answers)


async def test_a_defect_is_told_without_values(
    simulator: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of ours with secrets and prompt in its frames: 500 in the envelope, an alarm, no value anywhere."""

    def crash(self: BaseAddress, *parts: object) -> None:
        prompt, secret = PROMPT, f"{KEY} {ACCOUNT_KEYS[0]}"
        raise RuntimeError("a defect", len(prompt), len(secret))

    async with open_harness(folder, [account("one", simulator.base_url)]) as harness:
        with monkeypatch.context() as patch:
            patch.setattr(BaseAddress, "request", crash)
            answer = await ask(harness.port, request(message()))
        assert (answer.status, answer.error["type"]) == (500, "api_error")
        row = await harness.row()
        assert (row["outcome"], row["code"]) == ("internal", "IQ")
        log = harness.log.getvalue()
        found = [canary for canary in CANARIES if canary in log.encode() or canary in answer.body]
        assert '"event": "defect"' in log
        assert answer.request_id in log
        harness.expects_defect = True
        assert found == []
