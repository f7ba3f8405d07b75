"""The conformance suite can fail: each of these providers breaks one promise, and the suite says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.usage import NO_USAGE
from relay_trio.vendors.registry import PROVIDERS
from tests.support.recordings import ours
from tests.support.vendor_samples import samples_of
from tests.vendors import test_conformance as suite

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.answer_reader import AnswerReader

NAME = "anthropic"
OPERATION = "claude.messages"


class Changed:
    """Something else, but for what is given."""

    def __init__(self, original: object, **members: object) -> None:
        self._original = original
        self.__dict__.update(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a provider into the registry whose call, or whose own members, are changed."""

    def put(call: dict[str, object] | None = None, **members: object) -> None:
        original = PROVIDERS[NAME]
        calls = {**original.calls, OPERATION: Changed(original.calls[OPERATION], **(call or {}))}
        monkeypatch.setitem(PROVIDERS, NAME, Changed(original, calls=calls, **members))  # type: ignore[arg-type]

    return put


def recorded(name: str) -> Any:
    return next(each for each in ours() if each.id == f"{NAME}/{name}")


def reading(**members: object) -> dict[str, object]:
    """A call whose readers are changed."""
    original = PROVIDERS[NAME].calls[OPERATION]
    return {"answer": lambda head, checked: Changed(original.answer(head, checked), **members)}


def test_the_suite_passes_what_is_not_changed(broken: Callable[..., None]) -> None:
    broken()
    suite.test_an_answer_is_the_same_at_any_cut(recorded("messages-sse"))
    suite.test_a_stream_is_not_complete_before_its_end(recorded("messages-sse"))
    suite.test_a_refusal_is_judged_by_what_it_is_about(recorded("messages-refused"))
    suite.test_of_an_answers_headers_a_client_sees_what_is_about_the_answer(recorded("messages-sse"))


@pytest.mark.parametrize(
    "members",
    [
        {"feed": lambda data: data.upper()},
        {"feed": lambda data: data[:100]},
        {"finish": lambda: NO_USAGE},
        {"is_complete": False},
    ],
    ids=["alters bytes", "loses bytes", "counts nothing", "sees no end"],
)
def test_a_reader_that_is_wrong_is_caught(broken: Callable[..., None], members: dict[str, object]) -> None:
    broken(reading(**members))
    with pytest.raises(AssertionError):
        suite.test_an_answer_is_the_same_at_any_cut(recorded("messages-sse"))


def test_a_reader_that_sees_the_end_too_early_is_caught(broken: Callable[..., None]) -> None:
    broken(reading(is_complete=True))
    with pytest.raises(AssertionError):
        suite.test_a_stream_is_not_complete_before_its_end(recorded("messages-sse"))


def test_a_reader_that_overlooks_an_error_is_caught(broken: Callable[..., None]) -> None:
    broken(reading(error=None))
    with pytest.raises(AssertionError):
        suite.test_an_error_inside_a_stream_is_forwarded_or_followed_by_our_event(recorded("messages-sse-error"))


def test_a_reader_that_raises_away_from_whole_events_is_caught(broken: Callable[..., None]) -> None:
    original = PROVIDERS[NAME].calls[OPERATION]

    def answer(head: Any, checked: Any) -> AnswerReader:
        reader = original.answer(head, checked)
        return Changed(reader, feed=lambda data: reader.feed(data) if len(data) > 1 else b"")  # type: ignore[return-value]

    broken({"answer": answer})
    with pytest.raises(AssertionError):
        suite.test_an_answer_is_the_same_at_any_cut(recorded("messages-sse"))


def test_headers_that_a_client_must_not_see_are_caught(broken: Callable[..., None]) -> None:
    broken({"client_headers": lambda head, checked: head.headers})
    with pytest.raises(AssertionError):
        suite.test_of_an_answers_headers_a_client_sees_what_is_about_the_answer(recorded("messages-sse"))


def test_a_clients_credential_that_goes_upstream_is_caught(broken: Callable[..., None]) -> None:
    original = PROVIDERS[NAME].calls[OPERATION]

    def request(account: Any, checked: Any, credential: Any) -> Any:
        built = original.request(account, checked, credential)
        return replace(built, headers=[*built.headers, *checked.headers])

    broken({"request": request})
    with pytest.raises(AssertionError):
        suite.test_a_request_goes_out_with_the_accounts_credential_and_nothing_of_the_clients(
            NAME, samples_of(NAME).accounts[0]
        )


@pytest.mark.parametrize(
    "change", [{"is_passed_through": True}, {"is_credential_refused": False}, {"is_retryable": False}]
)
def test_a_verdict_that_blames_the_wrong_one_is_caught(broken: Callable[..., None], change: dict[str, bool]) -> None:
    original = PROVIDERS[NAME].judge
    broken(judge=lambda head, body, now: replace(original(head, body, now), **change))
    with pytest.raises(AssertionError):
        suite.test_a_refusal_is_judged_by_what_it_is_about(recorded("messages-refused"))


def test_an_operation_without_recordings_is_caught(broken: Callable[..., None]) -> None:
    broken()
    with pytest.raises(AssertionError):
        suite.test_every_operation_has_a_recorded_answer(NAME, "claude.nobody_has_recorded_this")
