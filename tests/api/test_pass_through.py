"""What passes by allow-list, what is compressed, and what reads an answer that passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.api.answer_reader import NullReader
from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.inflater import InflatedReader
from relay_trio.api.model_list import ModelListFilter
from relay_trio.api.pass_through import AllowList, PassThrough, accept_encoding, reader_for
from relay_trio.api.sse_reader import SseReader
from relay_trio.http import BaseAddress, Headers, ResponseHead
from tests.api.test_sse_reader import Notes

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader

SENT: Headers = [(b"a", b"1"), (b"x-own-b", b"2"), (b"secret", b"3"), (b"a", b"4"), (b"content-length", b"5")]


def checked(*headers: tuple[bytes, bytes], is_list: bool = False) -> CheckedRequest:
    return CheckedRequest("o", "GET", b"/", b"", list(headers), b"", is_listed=bool if is_list else None)


def head(kind: bytes = b"application/json", *headers: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(200, [(b"content-type", kind), *headers])


def test_only_what_is_listed_passes_in_its_order() -> None:
    assert AllowList(frozenset({b"a"})).of(SENT) == [(b"a", b"1"), (b"a", b"4")]
    assert AllowList(frozenset({b"a"}), (b"x-own-",)).of(SENT) == [(b"a", b"1"), (b"x-own-b", b"2"), (b"a", b"4")]


def test_a_list_that_may_be_shortened_has_no_length() -> None:
    address = BaseAddress("https", "api.example", 443)
    call: PassThrough[Any] = PassThrough(
        lambda account, checked, credential: address.request("GET", b"/", [], b""),
        lambda head, checked: NullReader(),
        AllowList(frozenset({b"a", b"content-length"})),
    )
    answer = ResponseHead(200, SENT)
    assert call.client_headers(answer, checked()) == [(b"a", b"1"), (b"a", b"4"), (b"content-length", b"5")]
    assert call.client_headers(answer, checked(is_list=True)) == [(b"a", b"1"), (b"a", b"4")]
    assert call.error(answer, b"theirs") is None


@pytest.mark.parametrize(
    ("accepted", "is_list", "encoding"),
    [
        (b"br, GZip", False, b"gzip"),
        (b"br", False, b"identity"),
        (b"", False, b"identity"),
        (b"gzip", True, b"identity"),
    ],
)
def test_an_answer_is_compressed_where_the_client_takes_it_and_nobody_alters_it(
    accepted: bytes, is_list: bool, encoding: bytes
) -> None:
    assert accept_encoding(checked((b"accept-encoding", accepted), is_list=is_list)) == (b"accept-encoding", encoding)


GZIP = (b"content-encoding", b"gzip")


@pytest.mark.parametrize(
    ("answer", "is_list", "new_reader", "kind"),
    [
        (head(b"text/event-stream"), False, None, SseReader),
        (head(b"text/event-stream", GZIP), False, None, InflatedReader),
        (head(), True, None, ModelListFilter),
        (head(), False, None, NullReader),
        (head(b"application/json", GZIP), False, None, NullReader),
        (head(), False, lambda: SseReader(Notes()), SseReader),
        (head(b"application/json", GZIP), False, lambda: SseReader(Notes()), InflatedReader),
    ],
)
def test_each_answer_has_its_reader(answer: ResponseHead, is_list: bool, new_reader: Any, kind: type) -> None:
    request = checked((b"accept-encoding", b"gzip"), is_list=is_list)
    reader: AnswerReader = reader_for(
        answer, request, new_fold=Notes, model_lists={"data": "id"}, new_reader=new_reader
    )
    assert type(reader) is kind
