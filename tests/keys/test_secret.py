"""Secrets: random enough, one word, and a typo is noticed."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from relay_trio.keys.secret import digest_of, generate_secret, is_well_formed


def test_a_secret_is_one_word_with_all_its_bits() -> None:
    secrets = {generate_secret() for _ in range(200)}
    assert len(secrets) == 200
    for secret in secrets:
        assert secret.startswith("rt_")
        assert len(secret) == 3 + 43 + 6
        assert set(secret[3:]) <= set(string.ascii_letters + string.digits)
        assert is_well_formed(secret)


@given(at=st.integers(0, 51), letter=st.sampled_from(string.ascii_letters + string.digits))
def test_any_one_wrong_letter_is_noticed(at: int, letter: str) -> None:
    secret = generate_secret()
    typo = secret[:at] + letter + secret[at + 1 :]
    assert is_well_formed(typo) is (typo == secret)


@given(st.text())
def test_no_text_breaks_the_check_or_the_digest(text: str) -> None:
    assert not is_well_formed(text)
    assert len(digest_of(text)) == 32
    assert len(digest_of(text + "\ud800")) == 32


def test_a_secret_cut_short_or_with_a_space_is_a_typo() -> None:
    secret = generate_secret()
    assert not any(map(is_well_formed, (secret[:-1], secret + "x", f" {secret}", secret[3:], secret.upper(), "")))
