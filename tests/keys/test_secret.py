"""Secrets: random enough, one word, and a scanner knows them."""

from __future__ import annotations

import string
import zlib

from hypothesis import given
from hypothesis import strategies as st

from relay_trio.keys.secret import digest_of, generate_secret


def test_a_secret_is_one_word_with_all_its_bits() -> None:
    secrets = {generate_secret() for _ in range(200)}
    assert len(secrets) == 200
    for secret in secrets:
        assert secret.startswith("rt_")
        assert len(secret) == 3 + 43 + 6
        assert set(secret[3:]) <= set(string.ascii_letters + string.digits)


def test_its_last_letters_are_the_checksum_of_the_others() -> None:
    """What secret scanners check: CRC-32 in base 62."""
    secret = generate_secret()
    checksum = 0
    for letter in secret[-6:]:
        checksum = checksum * 62 + (string.digits + string.ascii_letters).index(letter)
    assert checksum == zlib.crc32(secret[:-6].encode())


@given(st.text())
def test_any_text_has_a_digest(text: str) -> None:
    assert len(digest_of(text)) == 32
    assert len(digest_of(text + "\ud800")) == 32
