"""What an error status means, and what follows from it: also the outcome that is booked when a client gets it."""

from __future__ import annotations

import pytest

from relay_trio.api.verdict import (
    Meaning,
    NamesInAnswers,
    VerdictTable,
    verdict_in_stream,
    verdict_without_answer,
)
from relay_trio.errors import (
    UpstreamError,
    UpstreamErrorEvent,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
)
from relay_trio.outcome import Phase

TABLE = VerdictTable(
    cooldowns={429: 10.0},
    statuses={402: Meaning.UNPAID, 408: Meaning.TIMED_OUT, 424: Meaning.FAILED_ONCE},
    names={
        "Quota": Meaning.LIMITED,
        "Expired": Meaning.CREDENTIAL_REFUSED,
        "Shut": Meaning.UNSERVED,
        "NoAccess": Meaning.LACKS_MODEL,
    },
)


@pytest.mark.parametrize(
    ("status", "name", "meaning", "outcome"),
    [
        (429, "", Meaning.LIMITED, "upstream_rate_limited"),
        (429, "Expired", Meaning.LIMITED, "upstream_rate_limited"),
        (400, "Quota", Meaning.LIMITED, "upstream_rate_limited"),
        (402, "", Meaning.UNPAID, "upstream_error"),
        (401, "", Meaning.CREDENTIAL_REFUSED, "upstream_error"),
        (403, "Expired", Meaning.CREDENTIAL_REFUSED, "upstream_error"),
        (403, "", Meaning.FORBIDDEN, "upstream_error"),
        (302, "", Meaning.FORBIDDEN, "upstream_error"),
        (408, "", Meaning.TIMED_OUT, "upstream_timeout"),
        (424, "", Meaning.FAILED_ONCE, "upstream_error"),
        (500, "", Meaning.FAILED, "upstream_error"),
        (400, "", Meaning.REJECTED, "rejected_request"),
        (409, "Other", Meaning.REJECTED, "rejected_request"),
        (404, "Other", Meaning.NOT_HERE, "rejected_request"),
        (403, "NoAccess", Meaning.LACKS_MODEL, "upstream_error"),
        (403, "Shut", Meaning.UNSERVED, "upstream_error"),
    ],
)
def test_a_status_and_a_name_have_one_meaning_and_one_outcome(
    status: int, name: str, meaning: Meaning, outcome: str
) -> None:
    assert TABLE.meaning_of(status, name) is meaning
    assert TABLE.judge(status, name).error.outcome_in(Phase.HEAD).word.value == outcome


def test_only_what_is_the_accounts_or_the_upstreams_is_tried_elsewhere() -> None:
    assert not TABLE.judge(400).is_retryable
    assert all(TABLE.judge(status).is_retryable for status in (401, 402, 403, 408, 424, 429, 500))


def test_only_faults_of_the_upstream_and_refusals_strike() -> None:
    assert {status for status in (302, 400, 401, 402, 403, 408, 424, 429, 500) if TABLE.judge(status).is_strike} == {
        302,
        403,
        500,
    }


def test_what_an_account_lacks_is_tried_elsewhere_and_blames_nobody() -> None:
    for verdict, is_passed_through in ((TABLE.judge(404), True), (TABLE.judge(403, "NoAccess"), False)):
        assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, False, None)
        assert verdict.is_passed_through is is_passed_through


def test_an_account_that_is_served_nothing_rests_and_its_text_is_kept_from_the_client() -> None:
    verdict = TABLE.judge(403, "Shut")
    assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, False, 300.0)
    assert not verdict.is_passed_through


def test_an_account_rests_for_what_the_upstream_asks_else_for_the_tables_time() -> None:
    assert TABLE.judge(429).cooldown_seconds == 10.0
    assert TABLE.judge(429, retry_after=7.0).cooldown_seconds == 7.0
    assert TABLE.judge(400, "Quota").cooldown_seconds == 5.0
    assert TABLE.judge(402).cooldown_seconds == 300.0
    assert TABLE.judge(500).cooldown_seconds is None


def test_what_names_the_accounts_credential_or_bill_is_kept_from_the_client() -> None:
    kept = [status for status in (302, 400, 401, 402, 403, 408, 424, 429, 500) if TABLE.judge(status).is_passed_through]
    assert kept == [400, 408, 424, 429, 500]


def test_a_call_without_an_answer_is_a_strike_and_tried_elsewhere() -> None:
    verdict = verdict_without_answer(UpstreamError("no connection"))
    assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, True, None)


def test_an_error_inside_a_stream_is_final_for_the_request() -> None:
    limited = verdict_in_stream(UpstreamRateLimited("overloaded"))
    assert (limited.is_retryable, limited.is_strike, limited.cooldown_seconds) == (False, False, 2.0)
    failed = verdict_in_stream(UpstreamError("broken"))
    assert (failed.is_retryable, failed.is_strike, failed.cooldown_seconds) == (False, True, None)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("busy", UpstreamRateLimited, "the upstream reported busy inside its answer"),
        ("barred", UpstreamRefused, "the upstream refused the account inside its answer"),
        ("wrong", UpstreamRejected, "the upstream reported wrong inside its answer"),
        ("other", UpstreamErrorEvent, "the upstream reported an error inside its answer"),
        ("", UpstreamErrorEvent, "the upstream reported an error inside its answer"),
        *(
            (no_name, UpstreamErrorEvent, "the upstream reported an error inside its answer")
            for no_name in (7, ["busy"])
        ),
    ],
)
def test_a_name_inside_an_answer_has_one_meaning_and_an_unknown_one_is_not_shown(
    name: object, kind: type[UpstreamError], message: str
) -> None:
    names = NamesInAnswers(frozenset({"busy"}), frozenset({"barred"}), frozenset({"wrong"}))
    error = names.error(name)
    assert (type(error), error.message) == (kind, message)


def test_a_name_is_shown_as_the_vendor_writes_it() -> None:
    names = NamesInAnswers(frozenset({"busy"}), frozenset(), frozenset())
    assert names.error("busy", "Busy").message == "the upstream reported Busy inside its answer"
    assert names.error("other", "Other").message == "the upstream reported Other inside its answer"
