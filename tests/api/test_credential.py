"""How much of a secret is shown."""

from __future__ import annotations

import pytest

from relay_trio.api.credential import Credential, masked


@pytest.mark.parametrize(
    ("secret", "shown"),
    [("sk-ant-api03-abcdef9f2", "sk-ant-…9f2"), ("x" * 20, "xxxxxxx…xxx"), ("x" * 19, "…"), ("", "…")],
)
def test_a_secret_is_masked_and_a_short_one_wholly(secret: str, shown: str) -> None:
    assert masked(secret) == shown


def test_a_credential_does_not_show_itself() -> None:
    assert "canary" not in repr(Credential("canary"))
