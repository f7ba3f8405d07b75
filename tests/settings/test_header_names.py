"""Which header fields an account may add, and let through."""

from __future__ import annotations

import pytest

from relay_trio.settings.header_names import checked_name, checked_pattern, is_reserved


@pytest.mark.parametrize(
    "name",
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key", "x-amz-date", "amz-sdk-request",
     "connection", "keep-alive", "te", "transfer-encoding", "host", "content-length", "content-encoding",
     "accept-encoding", "x-access-token", "x-forwarded-authorization"],
)  # fmt: skip
def test_credentials_and_what_is_of_one_hop_are_reserved(name: str) -> None:
    assert is_reserved(name)
    with pytest.raises(ValueError, match="own to set"):
        checked_name(name.upper())
    with pytest.raises(ValueError, match="own to set"):
        checked_pattern(name)


@pytest.mark.parametrize("name", ["x-app", "x-goog-user-project", "x-forwarded-for", "anthropic-workspace-id"])
def test_others_are_names_in_lower_case(name: str) -> None:
    assert checked_name(name.title()) == checked_pattern(name.title()) == name


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "ä", "-a", "x" * 64])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="name of a header"):
        checked_name(text)
