"""What passes by allow-list, what is compressed, and what reads an answer that passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.api.answer_reader import NullReader
from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.inflater import InflatedReader
from relay_trio.api.pass_through import AllowList, PassThrough, accept_encoding, reader_for
from relay_trio.api.sse_reader import SseReader
from relay_trio.http import BaseAddress, Headers, ResponseHead
from tests.api.test_sse_reader import Notes

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader

SENT: Headers = [(b"a", b"1"), (b"x-own-b", b"2"), (b"secret", b"3"), (b"a", b"4"), (b"content-length", b"5")]


def checked(*headers: tuple[bytes, bytes]) -> CheckedRequest:
    return CheckedRequest("o", "GET", b"/", b"", list(headers), b"")


def head(kind: bytes = b"application/json", *headers: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(200, [(b"content-type", kind), *headers])


def test_only_what_is_listed_passes_in_its_order() -> None:
    assert AllowList(frozenset({b"a"})).of(SENT) == [(b"a", b"1"), (b"a", b"4")]
    assert AllowList(frozenset({b"a"}), (b"x-own-",)).of(SENT) == [(b"a", b"1"), (b"x-own-b", b"2"), (b"a", b"4")]


def test_an_answer_keeps_its_length() -> None:
    address = BaseAddress("https", "api.example", 443)
    call: PassThrough[Any] = PassThrough(
        lambda account, checked, credential: address.request("GET", b"/", [], b""),
        lambda head, checked: NullReader(),
        AllowList(frozenset({b"a", b"content-length"})),
    )
    answer = ResponseHead(200, SENT)
    assert call.client_headers(answer, checked()) == [(b"a", b"1"), (b"a", b"4"), (b"content-length", b"5")]
    assert call.error(answer, b"theirs") is None


@pytest.mark.parametrize(("accepted", "encoding"), [(b"br, GZip", b"gzip"), (b"br", b"identity"), (b"", b"identity")])
def test_an_answer_is_compressed_where_the_client_takes_it(accepted: bytes, encoding: bytes) -> None:
    assert accept_encoding(checked((b"accept-encoding", accepted))) == (b"accept-encoding", encoding)


GZIP = (b"content-encoding", b"gzip")


@pytest.mark.parametrize(
    ("answer", "new_reader", "kind"),
    [
        (head(b"text/event-stream"), None, SseReader),
        (head(b"text/event-stream", GZIP), None, InflatedReader),
        (head(), None, NullReader),
        (head(b"application/json", GZIP), None, InflatedReader),
        (head(), lambda: SseReader(Notes()), SseReader),
        (head(b"application/json", GZIP), lambda: SseReader(Notes()), InflatedReader),
    ],
)
def test_each_answer_has_its_reader(answer: ResponseHead, new_reader: Any, kind: type) -> None:
    request = checked((b"accept-encoding", b"gzip"))
    reader: AnswerReader = reader_for(answer, request, new_fold=Notes, new_reader=new_reader)
    assert type(reader) is kind
