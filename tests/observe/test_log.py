"""One line per ended request: its fields, its level, and what never stands in it."""

from __future__ import annotations

import errno
import io
import json
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from relay_trio.http import header
from relay_trio.ledger.row import LedgerRow
from relay_trio.observe.log import LOST_LINES, Log, configure_log, log_defect
from relay_trio.outcome import COMPLETED, Outcome, Phase, Who, Word, ended_by_client, ended_by_defect
from relay_trio.pool.health import AccountChange, Change
from relay_trio.relay.events import Rejection
from relay_trio.usage import UsageSource, UsageStats
from tests.support import scripts
from tests.support.memory_harness import open_harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

CANARY = "canaryprompttext"

FIELDS = {
    *("event", "level", "timestamp", "request_id", "key", "key_name", "account", "provider", "model"),
    *("outcome", "code", "status"),
    *("ttft_ms", "duration_ms", "queue_ms", "bytes", "chunks", "attempts", "slot_release_ms", "upstream_close_ms"),
    *("input_tokens", "cache_creation_tokens", "cache_read_tokens", "output_tokens", "total_tokens", "usage_source"),
    "cancelled_by",
}


class Stderr(io.StringIO):
    """Standard error: a terminal or not, and maybe on a full disk."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self.is_terminal = is_terminal
        self.is_full = False

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stderr]:
    stderr = Stderr()
    monkeypatch.setattr(LOST_LINES, "count", 0)
    configure("json", stderr)
    yield stderr
    structlog.reset_defaults()


def configure(log_format: str, stderr: Stderr) -> None:
    """As a process does it, but the next test may configure it anew."""
    with redirect_stderr(stderr):
        configure_log(log_format)
    structlog.configure(cache_logger_on_first_use=False)


def row(outcome: Outcome = COMPLETED, **fields: object) -> LedgerRow:
    made = LedgerRow("req_1", "k_01", 1.0, "messages", outcome=outcome)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_line_has_the_listed_fields_and_no_other(stderr: Stderr) -> None:
    usage = UsageStats(1, 2, 3, 4, UsageSource.EXACT)
    Log().request_settled(
        row(model="m", account="a", status=200, usage=usage, ttft_ms=12.3456, release_ms=None, sent_bytes=77)
    )
    (line,) = stderr.lines
    assert set(line) == FIELDS
    assert (line["outcome"], line["code"], line["status"], line["bytes"]) == ("completed", "--", 200, 77)
    assert (line["ttft_ms"], line["slot_release_ms"]) == (12.35, None)
    assert [line[f"{name}_tokens"] for name in ("input", "output", "cache_creation", "cache_read", "total")] == [
        *(1, 2, 3, 4, 10)
    ]


def test_a_line_has_the_id_and_the_name_of_the_key(stderr: Stderr) -> None:
    """The id finds its rows in the ledger; the name says at once whose request it was."""
    Log().request_settled(row(key_name="team-x"))
    (line,) = stderr.lines
    assert (line["key"], line["key_name"]) == ("k_01", "team-x")


def test_a_field_that_is_added_to_the_row_does_not_come_into_the_log_by_itself(stderr: Stderr) -> None:
    """The list allows; what a client chose freely (its own id) and what upstreams chose stay out."""
    Log().request_settled(row(client_request_id=CANARY, upstream_request_id=CANARY))
    assert CANARY not in stderr.getvalue()


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (COMPLETED, "info"),
        (ended_by_client(Phase.DATA), "info"),
        (Outcome(Word.REJECTED_REQUEST, Who.POLICY, Phase.READING), "info"),
        (Outcome(Word.CLIENT_TIMEOUT, Who.CLIENT_TIMEOUT, Phase.DATA), "info"),
        (Outcome(Word.REJECTED_CAPACITY, Who.RELAY, Phase.QUEUED), "info"),
        (Outcome(Word.SHUTDOWN, Who.DRAIN, Phase.DATA), "info"),
        (Outcome(Word.REJECTED_REQUEST, Who.UPSTREAM, Phase.HEAD), "info"),
        (Outcome(Word.UPSTREAM_ERROR, Who.UPSTREAM, Phase.DATA), "warning"),
        (Outcome(Word.IDLE_TIMEOUT, Who.UPSTREAM_TIMEOUT, Phase.DATA), "warning"),
        (ended_by_defect(Phase.DATA), "error"),
    ],
    ids=lambda value: value.code if isinstance(value, Outcome) else value,
)
def test_the_level_is_whose_fault_it_is(stderr: Stderr, outcome: Outcome, level: str) -> None:
    """A client that leaves wakes nobody at night; an upstream is worth a look; a defect of ours is an alarm."""
    Log().request_settled(row(outcome))
    assert stderr.lines[0]["level"] == level


def test_a_line_is_one_line_whatever_stands_in_it(stderr: Stderr) -> None:
    Log().request_settled(row(model='m"\n{"level": "error"}\r\n\x1b[31m\u2028'))
    assert len(stderr.getvalue().split("\n")) == 2
    assert stderr.lines[0]["level"] == "info"
    assert "\x1b" not in stderr.getvalue()


def test_a_full_disk_loses_lines_which_are_counted_and_nothing_else(stderr: Stderr) -> None:
    stderr.is_full = True
    Log().request_settled(row())
    Log().request_settled(row(ended_by_defect(Phase.DATA)))
    log_defect(RuntimeError())
    assert LOST_LINES.count == 3
    stderr.is_full = False
    Log().request_settled(row())
    assert len(stderr.lines) == 1


# --- attempts -----------------------------------------------------------------------------------------------------


async def test_a_failed_attempt_is_a_line_though_another_account_then_serves(
    stderr: Stderr, autojump_clock: MockClock
) -> None:
    async with open_harness(scripts.first_account_is_overloaded, accounts=2) as harness:
        harness.core.events.observers.append(Log())
        await harness.request().run()
    (line,) = [line for line in stderr.lines if line["event"] == "attempt"]
    assert line["request_id"] == harness.rows[0].request_id
    shown = ("level", "account", "phase", "reason", "status")
    assert [line[name] for name in shown] == ["warning", "a", "head", "upstream_rate_limited", 529]
    assert line["duration_ms"] >= 0


# --- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "level", "fields"),
    [
        (
            AccountChange("a", Change.EJECTED, "3 failures in a row", 30.04),
            "warning",
            {"change": "ejected", "reason": "3 failures in a row", "seconds": 30.0},
        ),
        (
            AccountChange("a", Change.COOLED_DOWN, "the upstream answered 429", 5.0),
            "warning",
            {"change": "cooled_down", "reason": "the upstream answered 429", "seconds": 5.0},
        ),
        (
            AccountChange("a", Change.DISABLED, "the credential was refused"),
            "error",
            {"change": "disabled", "reason": "the credential was refused"},
        ),
        (AccountChange("a", Change.BACK), "info", {"change": "back"}),
    ],
    ids=lambda value: value.change.value if isinstance(value, AccountChange) else "",
)
def test_an_account_that_changes_is_one_line(
    stderr: Stderr, change: AccountChange, level: str, fields: dict[str, object]
) -> None:
    Log().account_changed(change)
    (line,) = stderr.lines
    del line["timestamp"]
    assert line == {"event": "account", "level": level, "account": "a", **fields}


async def test_an_account_that_is_taken_out_by_a_request_leaves_a_line(
    stderr: Stderr, autojump_clock: MockClock
) -> None:
    async with open_harness(scripts.is_overloaded) as harness:
        harness.core.events.observers.append(Log())
        await harness.request().run()
    assert [line["change"] for line in stderr.lines if line["event"] == "account"] == ["cooled_down"]


# --- rejections ---------------------------------------------------------------------------------------------------


def test_rejections_of_one_kind_are_a_line_a_second_which_counts_the_others(stderr: Stderr) -> None:
    now = 0.0
    log = Log(lambda: now)
    for second in (0.0, 0.1, 0.9, 1.0, 5.0):
        now = second
        log.request_rejected(Rejection("authentication", f"req_{second}"))
        log.request_rejected(Rejection("bad_head", reason="a line must end in CR LF"))
    lines = [line for line in stderr.lines if line["kind"] == "authentication"]
    assert [(line["request_id"], line["suppressed"]) for line in lines] == [
        ("req_0.0", 0),
        ("req_1.0", 2),
        ("req_5.0", 0),
    ]
    other = next(line for line in stderr.lines if line["kind"] == "bad_head")
    del other["timestamp"]
    assert other == {
        **{"event": "rejected", "level": "info", "kind": "bad_head"},
        **{"reason": "a line must end in CR LF", "suppressed": 0},
    }


@pytest.mark.parametrize(
    ("path", "method", "key", "kind"),
    [
        ("/v1/messages", "POST", f"rt_{CANARY}", "authentication"),
        ("/v1/messages", "POST", "", "authentication"),
        (f"/v1/{CANARY}", "POST", "rt_test", "not_found"),
        ("/v1/messages", "DELETE", "rt_test", "method_not_allowed"),
        (f"/v1beta/models/m:{CANARY}", "POST", "rt_test", "not_found"),
        (f"/model/{CANARY}", "POST", "rt_test", "not_found"),
    ],
)
async def test_what_never_reaches_the_pump_leaves_a_line_with_the_id_that_the_client_has(
    stderr: Stderr, autojump_clock: MockClock, path: str, method: str, key: str, kind: str
) -> None:
    """And nothing of what it sent: a path may hold a key, and a key that is wrong may be right elsewhere."""
    async with open_harness(scripts.streams) as harness:
        harness.core.events.observers.append(Log())
        client = harness.request(path=path, method=method, credentials=((b"x-api-key", key.encode()),))
        await client.run()
        statistics = harness.core.events.statistics()
    (line,) = stderr.lines
    given = header(client.sent[0]["headers"], b"request-id")
    assert given is not None
    assert (line["event"], line["kind"], line["request_id"]) == ("rejected", kind, given.decode())
    assert statistics.rejected == {kind: 1}
    assert not harness.rows
    assert CANARY not in stderr.getvalue()


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("json", True, True),
        ("json", False, True),
        ("pretty", False, False),
    ],
)
def test_the_format_is_as_configured(stderr: Stderr, log_format: str, is_terminal: bool, is_json: bool) -> None:
    """``auto``: for people on a terminal, for machines anywhere else."""
    stderr.is_terminal = is_terminal
    configure(log_format, stderr)
    Log().request_settled(row())
    assert stderr.getvalue()
    assert stderr.getvalue().startswith("{") is is_json


# --- canaries -----------------------------------------------------------------------------------------------------


def fails_with_a_prompt() -> None:
    prompt = f"local {CANARY}"
    raise ValueError(prompt)


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_a_defect_is_where_it_happened_without_message_and_variables(stderr: Stderr, log_format: str) -> None:
    stderr.is_terminal = log_format == "auto"
    configure(log_format, stderr)
    try:
        fails_with_a_prompt()
    except ValueError as error:
        log_defect(error, "req_7")
    assert "fails_with_a_prompt" in stderr.getvalue()
    assert "ValueError" in stderr.getvalue()
    assert "req_7" in stderr.getvalue()
    assert CANARY not in stderr.getvalue()


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_a_traceback_that_somebody_logs_shows_no_variables(stderr: Stderr, log_format: str) -> None:
    """structlog's own renderers print the locals of each frame by default, and a local may be a prompt or a key."""
    stderr.is_terminal = log_format == "auto"
    configure(log_format, stderr)

    def holds_a_prompt() -> None:
        prompt = f"local {CANARY}"
        assert prompt
        raise ValueError

    try:
        holds_a_prompt()
    except ValueError:
        structlog.get_logger().error("a library failed", exc_info=True)
    assert "a library failed" in stderr.getvalue()
    shown = [line for line in stderr.getvalue().splitlines() if 'f"local {' not in line]
    assert f"local {CANARY}" not in "\n".join(shown)


async def test_no_line_of_a_request_holds_prompt_answer_or_key(stderr: Stderr, autojump_clock: MockClock) -> None:
    """Whatever way it ends."""
    prompt = f'{{"model": "m", "stream": true, "system": "{CANARY}"}}'.encode()
    for script in (scripts.streams, scripts.dies_midway, scripts.is_overloaded, scripts.ends_without_its_last_event):
        async with open_harness(script) as harness:
            harness.core.events.observers.append(Log())
            await harness.request(prompt, headers=[(b"x-request-id", CANARY.encode())]).run()
            await harness.request(prompt[:-9]).run()
    assert [line["event"] for line in stderr.lines].count("request") == 8
    for canary in (CANARY, "rt_test", "sk-a", "hello"):
        assert canary not in stderr.getvalue()
