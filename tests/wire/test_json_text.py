"""The members of a JSON object as the texts that they are."""

from __future__ import annotations

import json

import pytest

from relay_trio.wire.json_text import element_texts, member_texts, value_text


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("{}", []),
        (" { } ", []),
        ('{"a":1}', [("a", '"a":1')]),
        ('\n{ "a" :\t1 , "b" : [ 1, {"c": "}"} ] }\n', [("a", '"a" :\t1'), ("b", '"b" : [ 1, {"c": "}"} ]')]),
        (r'{"\u0061": "\"", "": null}', [("a", r'"\u0061": "\""'), ("", '"": null')]),
        ('{"n": 1e999, "m": -0.10}', [("n", '"n": 1e999'), ("m", '"m": -0.10')]),
    ],
)
def test_each_member_is_the_text_that_it_was(text: str, members: list[tuple[str, str]]) -> None:
    assert member_texts(text) == members


def test_a_number_of_any_length_is_one() -> None:
    assert member_texts('{"n": ' + "9" * 10_000 + "}")[0][0] == "n"


@pytest.mark.parametrize("indent", [None, 2])
def test_put_together_again_they_are_the_same_object(indent: int | None) -> None:
    document = {"a": [1, {"b": None}], "c": "ä\n{", "d": {"e": True}}
    texts = [text for _, text in member_texts(json.dumps(document, indent=indent))]
    assert json.loads("{" + ",".join(texts) + "}") == document


@pytest.mark.parametrize(
    ("text", "elements"),
    [("[]", []), (" [ ] ", []), ("[1]", ["1"]), ('\n[ 1e999 , {"a": [1 ]},"]" ]', ["1e999", '{"a": [1 ]}', '"]"'])],
)
def test_each_element_is_the_text_that_it_was(text: str, elements: list[str]) -> None:
    assert element_texts(text) == elements


@pytest.mark.parametrize("member", ['"a":1.10', '"a" : \n1.10', r'"\u0061:":1.10'])
def test_the_value_of_a_member(member: str) -> None:
    assert value_text(member) == "1.10"
