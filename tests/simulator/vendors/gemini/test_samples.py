"""Gemini's sample requests; what every vendor's must keep is in ``vendors/test_registry``."""

from __future__ import annotations

from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.gemini.samples import MODEL, array, events


def test_the_path_has_the_model_the_verb_and_the_form() -> None:
    prompt, whole = Prompt("hi", 5, "k", spec="chunks=2"), Prompt("hi", 5, "k", is_stream=False)
    assert events(prompt).target == f"/v1beta/models/{MODEL}:chunks=2:streamGenerateContent?alt=sse"
    assert array(prompt).target == f"/v1beta/models/{MODEL}:chunks=2:streamGenerateContent"
    assert events(whole).target == array(whole).target == f"/v1beta/models/{MODEL}:generateContent"


def test_an_array_ends_with_a_bracket_at_the_beginning_of_a_line() -> None:
    request = array(Prompt("hi", 5, "k"))
    assert request.is_finished(b"}\n]")
    assert not request.is_finished(b'"parts": [ ]')
