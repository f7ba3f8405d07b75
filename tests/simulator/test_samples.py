"""Sample prompts, requests and accounts as values; what each vendor makes of them is in ``vendors``."""

from __future__ import annotations

from relay_trio.simulator.samples import Prompt, SampleRequest, with_api_key


def test_a_prompt_names_its_own_model_or_the_sample_with_the_spec_behind_it() -> None:
    assert Prompt("hi", 1, "k").model_or("sample") == "sample"
    assert Prompt("hi", 1, "k", model="mine", spec="chunks=2").model_or("sample") == "mine:chunks=2"


def test_one_of_the_ends_is_enough_and_without_any_http_decides() -> None:
    assert SampleRequest("/", (), b"", (b"stop", b"error")).is_finished(b"... error ...")
    assert not SampleRequest("/", (), b"", (b"stop", b"error")).is_finished(b"...")
    assert SampleRequest("/", (), b"").is_finished(b"")


def test_a_request_is_encoded_with_its_headers_and_more() -> None:
    head, body = SampleRequest("/a", (("x-api-key", "k"),), b"{}").encoded(("x-request-id", "1"))
    first, *fields = head.split(b"\r\n")
    assert first == b"POST /a HTTP/1.1"
    assert {b"x-api-key: k", b"x-request-id: 1", b"content-length: 2"} < set(fields)
    assert (fields[-2:], body) == ([b"", b""], b"{}")


def test_an_account_with_a_key_is_known_by_it() -> None:
    account = with_api_key("one", "some", 3, "pace=1")
    assert account.table("http://127.0.0.1:9") == {
        "name": "one",
        "provider": "some",
        "base_url": "http://127.0.0.1:9",
        "max_concurrency": 3,
        "api_key": account.credential,
    }
