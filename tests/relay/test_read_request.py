"""Reading a request and checking its shape: what is refused, in which words, and how much of the loop it may take."""

from __future__ import annotations

import dataclasses
import gzip
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from relay_trio.errors import (
    AuthenticationFailed,
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    PermissionDenied,
    RelayError,
    UnsupportedEncoding,
    UpstreamTimeout,
)
from relay_trio.keys.client_key import ClientKey
from relay_trio.relay.authenticated_request import AuthenticatedRequest
from relay_trio.relay.deadline import RequestClock
from relay_trio.relay.read_request import read_request
from relay_trio.settings import TimeoutSettings
from relay_trio.vendors.bedrock.operations import INVOKE, INVOKE_STREAM
from relay_trio.vendors.claude.dialect import ClaudeDialect
from relay_trio.vendors.claude.operations import BATCHES, MESSAGES, MODELS
from relay_trio.vendors.gemini.operations import GENERATE
from tests.explorer import Run, explore
from tests.support.client_requests import MemoryStream, make_request

if TYPE_CHECKING:
    from trio.testing import MockClock

    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.operation import Operation

CANARY = "canaryprompttext"
LIMIT = 64 * 1024 * 1024
TIMEOUTS = TimeoutSettings(body_idle_timeout_seconds=30, body_total_timeout_seconds=120)


class Arriving(MemoryStream):
    """A body: parts, each after so many seconds; ``None`` is silence for ever."""

    def __init__(self, *parts: bytes | None, every: float = 0) -> None:
        super().__init__()
        self.reads = 0
        self._parts = list(parts)
        self._every = every

    async def receive_body_some(self) -> bytes:
        self.reads += 1
        await trio.sleep(self._every)
        if not self._parts:
            return b""
        part = self._parts[0]
        if part is None:
            await trio.sleep_forever()
        del self._parts[0]
        return part


def authenticated(
    body: Arriving,
    operation: Operation = MESSAGES,
    models: tuple[str, ...] = ("*",),
    parameters: dict[str, str] | None = None,
    declared_bytes: int | None = None,
    encoding: bytes | None = None,
    body_check: BodyCheck | None = None,
) -> AuthenticatedRequest:
    key = ClientKey("k_01", "test", b"", "", models)
    headers = [(b"a", b"b"), *([] if encoding is None else [(b"content-encoding", encoding)])]
    request = make_request(headers=headers, declared_bytes=declared_bytes, stream=body)
    return AuthenticatedRequest(request, ClaudeDialect(), operation, parameters or {}, key, b"beta=true", body_check)


async def read(
    *parts: bytes | None, max_body_bytes: int = LIMIT, clock: RequestClock | None = None, **changes: Any
) -> CheckedRequest:
    request = authenticated(Arriving(*parts), **changes)
    checked, _ = await read_request(request, clock or RequestClock(), TIMEOUTS, max_body_bytes)
    return checked


# --- what is read -------------------------------------------------------------------------------------------------


async def test_a_request_comes_out_byte_for_byte_with_its_model_and_stream() -> None:
    body = b' {"stream" : true,\n "model": "claude-x", "messages": [{"model": "not this"}]} '
    incoming = await read(body[:7], body[7:30], body[30:])
    assert (incoming.body, incoming.model, incoming.is_stream) == (body, "claude-x", True)
    assert (incoming.method, incoming.raw_path, incoming.query) == ("POST", b"/v1/messages", b"beta=true")
    assert incoming.headers == [(b"a", b"b")]


class Seen:
    """A body check that keeps what it was given."""

    body = b""

    def check(self, body: bytes) -> None:
        self.body = body


async def test_a_compressed_body_goes_on_without_its_compression_and_its_signature_is_over_what_came() -> None:
    body, seen = b'{"model": "claude-x"}', Seen()
    sent = gzip.compress(body)
    incoming = await read(sent[:9], sent[9:], encoding=b"gzip", body_check=seen)
    assert (incoming.body, incoming.model, seen.body) == (body, "claude-x", sent)


async def test_a_body_in_another_encoding_is_refused_before_it_is_read() -> None:
    with pytest.raises(UnsupportedEncoding):
        await read(None, encoding=b"br")


@pytest.mark.parametrize(
    ("members", "stream"),
    [({}, False), ({"stream": False}, False), ({"stream": None}, False), ({"stream": True}, True)],
)
async def test_stream_is_true_only_when_it_says_so(members: dict[str, object], stream: bool) -> None:
    assert (await read(json.dumps({"model": "m", **members}).encode())).is_stream is stream


@pytest.mark.parametrize(
    "model",
    [
        "claude-sonnet-4-5-20250929",
        "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude",
        "publishers/google/models/gemini-2.5-pro@001",
    ],
)
async def test_models_of_every_upstream_are_names(model: str) -> None:
    assert (await read(json.dumps({"model": model}).encode())).model == model


async def test_an_operation_without_a_model_takes_any_body_unseen() -> None:
    """Batches and model lists: their bodies are the upstream's business."""
    incoming = await read(b"\xff not json", operation=MODELS)
    assert (incoming.body, incoming.model, incoming.is_stream) == (b"\xff not json", None, False)


# --- what is refused ----------------------------------------------------------------------------------------------

MALFORMED = {
    "nothing": b"",
    "white space": b"  \n",
    "text": CANARY.encode(),
    "an array": f'[{{"model": "m", "messages": "{CANARY}"}}]'.encode(),
    "a string": f'"{CANARY}"'.encode(),
    "a number": b"12",
    "null": b"null",
    "cut in a string": f'{{"model": "m", "system": "{CANARY}'.encode(),
    "cut before its end": f'{{"model": "m", "system": "{CANARY}"'.encode(),
    "two objects": f'{{"model": "m"}}{{"system": "{CANARY}"}}'.encode(),
    "text after it": f'{{"model": "m"}} {CANARY}'.encode(),
    "text before it": f'{CANARY} {{"model": "m"}}'.encode(),
    "single quotes": f"{{'model': '{CANARY}'}}".encode(),
    "a comma too many": f'{{"model": "m", "system": "{CANARY}",}}'.encode(),
    "no colon": f'{{"model" "m", "system": "{CANARY}"}}'.encode(),
    "a name without quotes": f'{{model: "{CANARY}"}}'.encode(),
    "brackets that do not match": f'{{"model": "m", "a": ["{CANARY}"}}'.encode(),
    "a line break in a string": f'{{"model": "m", "system": "{CANARY}\n"}}'.encode(),
    "a bad escape": f'{{"model": "m", "system": "{CANARY}\\x"}}'.encode(),
    "half a surrogate": f'{{"model": "m", "system": "{CANARY}\\ud800"}}'.encode(),
    "not a number": f'{{"model": "m", "temperature": NaN, "system": "{CANARY}"}}'.encode(),
    "infinity": f'{{"model": "m", "temperature": -Infinity, "system": "{CANARY}"}}'.encode(),
    "a number with a zero in front": f'{{"model": "m", "n": 01, "system": "{CANARY}"}}'.encode(),
    "not UTF-8": b'{"model": "m", "system": "\xff' + CANARY.encode() + b'"}',
    "UTF-16": f'{{"model": "m", "system": "{CANARY}"}}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model": "m"}',
    "model twice": f'{{"model": "m", "model": "{CANARY}"}}'.encode(),
    "model twice, once escaped": f'{{"model": "m", "mod\\u0065l": "{CANARY}"}}'.encode(),
    "another member twice": f'{{"model": "m", "system": "a", "system": "{CANARY}"}}'.encode(),
    "no model": f'{{"system": "{CANARY}"}}'.encode(),
    "a model inside only": f'{{"a": {{"model": "m"}}, "system": "{CANARY}"}}'.encode(),
    "a model that is null": b'{"model": null}',
    "a model that is a number": b'{"model": 3}',
    "a model that is an object": f'{{"model": {{"name": "{CANARY}"}}}}'.encode(),
    "an empty model": b'{"model": ""}',
    "a model with a space": f'{{"model": "a {CANARY}"}}'.encode(),
    "a model with a line break": f'{{"model": "{CANARY}\\n"}}'.encode(),
    "a model that is a path upward": b'{"model": "../../admin"}',
    "a model with a question mark": f'{{"model": "{CANARY}?x"}}'.encode(),
    "a model with a hash": f'{{"model": "{CANARY}#x"}}'.encode(),
    "a model with an escape": f'{{"model": "{CANARY}%2F"}}'.encode(),
    "a model beyond ASCII": f'{{"model": "{CANARY}ä"}}'.encode(),
    "a model of 257 characters": f'{{"model": "{"m" * 257}"}}'.encode(),
    "a model of 70 KiB": f'{{"model": "{CANARY * 5000}"}}'.encode(),
    "a stream that is text": f'{{"model": "m", "stream": "{CANARY}"}}'.encode(),
    "a stream that is a number": b'{"model": "m", "stream": 1}',
    "a tower of brackets": b'{"model": "m", "a": ' + b"[" * 100_000,
    "a tower that is closed": b'{"model": "m", "a": ' + b"[" * 70 + b"]" * 70 + b"}",
    "a forest of values": b'{"model": "m", "a": [' + b"1," * 200_001 + b"1]}",
    "a name of 70 KiB": f'{{"model": "m", "{CANARY * 5000}": 1}}'.encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_a_body_that_is_not_one_sound_object_is_refused_in_words_of_ours(body: bytes) -> None:
    """The message says what was expected and quotes nothing: it goes into answers and may go into logs."""
    with pytest.raises(BadRequest) as refused:
        await read(body)
    assert CANARY not in refused.value.message
    assert len(refused.value.message) < 120
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


async def test_a_path_upward_inside_a_model_name_is_refused() -> None:
    """It ends up in the paths of some upstreams, where one step up is another resource."""
    with pytest.raises(BadRequest):
        await read(b'{"model": "models/../../files"}')


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
async def test_what_is_refused_does_not_depend_on_how_it_arrived(cut: int) -> None:
    for body in (MALFORMED["cut in a string"], MALFORMED["model twice"], b'{"model": "m"}'):
        parts = [body[at : at + cut] for at in range(0, len(body), cut)]
        outcomes = []
        for pieces in ([body], parts):
            try:
                outcomes.append((await read(*pieces)).model)
            except BadRequest as error:
                outcomes.append(error.message)
        assert outcomes[0] == outcomes[1]


# --- what the key may use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [("*",), ("claude-*",), ("gemini-*", "claude-haiku")])
async def test_a_model_that_one_of_the_keys_patterns_matches_is_permitted(models: tuple[str, ...]) -> None:
    assert (await read(b'{"model": "claude-haiku"}', models=models)).model == "claude-haiku"


@pytest.mark.parametrize("models", [(), ("gemini-*",), ("Claude-*",), ("claude",), ("*-opus",)])
async def test_any_other_model_is_not_and_the_message_names_it_shortened(models: tuple[str, ...]) -> None:
    name = "claude-" + "x" * 200
    with pytest.raises(PermissionDenied) as refused:
        await read(json.dumps({"model": name}).encode(), models=models)
    assert name[:64] in refused.value.message
    assert name[:65] not in refused.value.message


async def test_what_is_kept_at_one_account_is_for_keys_that_may_use_every_model() -> None:
    """A batch names a model in each of its requests, which nobody looks at."""
    assert (await read(b"{}", operation=BATCHES)).model is None
    with pytest.raises(PermissionDenied, match=r"claude\.batches"):
        await read(b"{}", operation=BATCHES, models=("claude-*",))


async def test_the_document_is_at_hand_until_the_request_is_checked() -> None:
    """For what a request may cost; an operation whose body is not looked at has none."""
    _, reading = await read_request(
        authenticated(Arriving(b'{"model": "m", "max_tokens": 9}')), RequestClock(), TIMEOUTS, LIMIT
    )
    assert reading.document == {"model": "m", "max_tokens": 9}
    _, reading = await read_request(authenticated(Arriving(b"{}"), MODELS), RequestClock(), TIMEOUTS, LIMIT)
    assert reading.document == {}


# --- how large, how slow ------------------------------------------------------------------------------------------


async def test_a_body_that_is_declared_too_large_is_refused_before_a_byte_is_read() -> None:
    body = Arriving(b"x")
    with pytest.raises(BodyTooLarge, match="100 bytes"):
        await read_request(authenticated(body, declared_bytes=101), RequestClock(), TIMEOUTS, 100)
    assert body.reads == 0


async def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() -> None:
    body = b'{"model": "m"}'
    await read(body, max_body_bytes=len(body))
    with pytest.raises(BodyTooLarge):
        await read(body, b" ", max_body_bytes=len(body))


async def test_an_undeclared_body_is_refused_as_soon_as_it_is_too_large_and_no_further_part_is_asked_for() -> None:
    body = Arriving(*[b"x" * 60] * 10)
    with pytest.raises(BodyTooLarge):
        await read_request(authenticated(body), RequestClock(), TIMEOUTS, 100)
    assert body.reads == 2


async def test_a_body_that_stops_arriving_is_refused_at_the_idle_limit(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with pytest.raises(BodyTooSlow, match=r"stopped arriving.* 30 seconds between parts"):
        await read(b'{"model"', None)
    assert trio.current_time() - started == 30


async def test_a_body_that_drips_is_refused_at_the_total_limit(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    body = Arriving(*[b" "] * 1000, every=20)
    with pytest.raises(BodyTooSlow, match=r"was not whole .* 120 seconds in all"):
        await read_request(authenticated(body), RequestClock(), TIMEOUTS, LIMIT)
    assert trio.current_time() - started == 120


async def test_a_slow_body_within_the_limits_is_read(autojump_clock: MockClock) -> None:
    body = Arriving(b'{"model"', b': "m"', b"}", every=29)
    checked, _ = await read_request(authenticated(body), RequestClock(), TIMEOUTS, LIMIT)
    assert checked.model == "m"


async def test_the_requests_total_limit_holds_while_its_body_arrives(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.set_total(10)
    with pytest.raises(UpstreamTimeout):
        await read(None, clock=clock)


# --- how much of the loop -----------------------------------------------------------------------------------------


class Slices(trio.abc.Instrument):
    """Counts the steps of one task: how often it let others run."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self._task = task
        self.steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task is self._task


@pytest.mark.parametrize("filling", [b"x", b'\\"', b"[],"], ids=["a string", "escapes", "brackets"])
async def test_a_large_body_is_looked_into_in_slices_of_64_kib(filling: bytes) -> None:
    """Between two of them every other stream of the process gets its turn. Counted, not timed."""
    inside = filling * (8 * 1024 * 1024 // len(filling))
    body = b'{"model": "m", "messages": "' + inside + b'"}'
    slices = Slices(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(slices)
    assert (await read(body)).model == "m"
    trio.lowlevel.remove_instrument(slices)
    assert slices.steps >= len(body) // (64 * 1024)


async def test_a_small_body_costs_no_turn_of_its_own() -> None:
    async def steps(operation: Operation) -> int:
        slices = Slices(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(slices)
        await read(b'{"model": "m"}', operation=operation)
        trio.lowlevel.remove_instrument(slices)
        return slices.steps

    assert await steps(MESSAGES) == await steps(MODELS)


def test_cancel_anywhere_while_reading_is_a_cancellation_and_no_error() -> None:
    async def scenario(run: Run) -> None:
        body = b'{"model": "m", "system": "' + b"x" * 200_000 + b'"}'
        source = Arriving(body[:10], body[10:100_000], body[100_000:], every=1)
        with run.target() as scope:
            try:
                await read_request(authenticated(source), RequestClock(), TIMEOUTS, LIMIT)
            except RelayError as error:
                raise AssertionError("a cancellation became an error") from error
        assert scope.cancelled_caught or source.reads == 4

    assert explore(scenario).steps > 6


# --- the model in the path, and what is proved by the body --------------------------------------------------------


async def of_path(model: str | None, *, models: tuple[str, ...] = ("*",), is_stream: bool = False) -> CheckedRequest:
    operation = INVOKE_STREAM if is_stream else INVOKE
    request = authenticated(Arriving(b"\0 no json"), operation, models, {} if model is None else {"model": model})
    checked, _ = await read_request(request, RequestClock(), TIMEOUTS, LIMIT)
    return checked


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_model_in_the_path_is_the_model_and_the_body_is_not_looked_at(is_stream: bool) -> None:
    incoming = await of_path("arn:aws:x:inference-profile/m", is_stream=is_stream)
    assert (incoming.model, incoming.is_stream) == ("arn:aws:x:inference-profile/m", is_stream)
    assert incoming.body == b"\0 no json"


@pytest.mark.parametrize(
    ("body", "is_sound"),
    [(b"{}", True), (b'{"model": 3, "stream": 7}', True), (b"", False), (b"[]", False), (b'{"a": 1, "a": 2}', False)],
)
async def test_a_body_that_has_to_be_json_is_looked_at_for_its_form_alone(body: bytes, is_sound: bool) -> None:
    """Model and stream are the path's."""
    request = authenticated(Arriving(body), GENERATE, parameters={"model": "g"})
    if not is_sound:
        with pytest.raises(BadRequest):
            await read_request(request, RequestClock(), TIMEOUTS, LIMIT)
        return
    incoming, _ = await read_request(request, RequestClock(), TIMEOUTS, LIMIT)
    assert (incoming.model, incoming.is_stream, incoming.body) == ("g", False, body)


@pytest.mark.parametrize("model", [None, "", "a b", "a%2Fb", "../a", "a/../b", "a?b", "ä", "m" * 257])
async def test_a_model_in_the_path_keeps_to_the_rules_of_names(model: str | None) -> None:
    with pytest.raises(BadRequest, match="model"):
        await of_path(model)


async def test_a_key_may_use_its_own_models_in_the_path_too() -> None:
    assert (await of_path("a.b", models=("a.*",))).model == "a.b"
    with pytest.raises(PermissionDenied):
        await of_path("c.b", models=("a.*",))


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_signature_is_proved_by_the_whole_body_before_anything_else_is_told(size: int) -> None:
    """A large one in a thread."""

    class BodyCheck:
        def check(self, body: bytes) -> None:
            threads.append(threading.current_thread())
            if len(body) != size:
                raise AuthenticationFailed("not the one that was signed")

    threads: list[threading.Thread] = []
    for body, error in ((b"x" * size, BadRequest), (b"x" * size + b"y", AuthenticationFailed)):
        request = dataclasses.replace(authenticated(Arriving(body[:5], body[5:])), body_check=BodyCheck())
        with pytest.raises(error):
            await read_request(request, RequestClock(), TIMEOUTS, LIMIT)
    assert all((thread is threading.main_thread()) is (size == 10) for thread in threads)
    assert len(threads) == 2
