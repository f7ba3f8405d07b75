"""Bedrock's list of inference profiles."""

from __future__ import annotations

import pytest

from relay_trio.vendors.bedrock.model_list import listing_of

LISTING = listing_of("bedrock.invoke")
ARN = "arn:aws:bedrock:eu-central-1:1:application-inference-profile/x1"
OWN = LISTING.new_item("eu.vendor.m")
MADE = {"inferenceProfileId": "x1", "inferenceProfileArn": ARN, "type": "APPLICATION"}


def test_a_profile_is_named_as_a_request_names_it() -> None:
    assert LISTING.names_of(OWN)[0] == "eu.vendor.m"
    assert LISTING.names_of(MADE) == (ARN, "x1")


@pytest.mark.parametrize(
    ("query", "items"), [(b"", [OWN, MADE]), (b"type=SYSTEM_DEFINED", [OWN]), (b"type=APPLICATION", [MADE])]
)
def test_a_list_is_of_the_requested_type(query: bytes, items: list[object]) -> None:
    assert LISTING.page([OWN, MADE], query) == {"inferenceProfileSummaries": items}


def test_a_page_has_a_token_unless_it_is_the_last() -> None:
    first = LISTING.page([OWN, MADE], b"maxResults=1")
    assert first == {"inferenceProfileSummaries": [OWN], "nextToken": "eu.vendor.m"}
    assert LISTING.page([OWN, MADE], b"maxResults=1&nextToken=eu.vendor.m") == {"inferenceProfileSummaries": [MADE]}


@pytest.mark.parametrize(("token", "query"), [("a+b", b"maxResults=1000&nextToken=a%2Bb"), (None, None), ("", None)])
def test_the_next_page_is_requested_where_there_is_one(token: object, query: bytes | None) -> None:
    assert LISTING.next_query({"nextToken": token}) == query
