"""Pairs are derived, belong to one key, and are nobody's without it."""

from __future__ import annotations

import dataclasses
from base64 import b64decode

import pytest

from relay_trio.keys.access_pairs import AccessPairs
from relay_trio.keys.client_key import ClientKey

PAIRS = AccessPairs("m" * 32)
KEY = ClientKey("k_01", "team", b"digest", "last")


def test_a_pair_is_the_same_each_time_and_leads_back_to_its_key() -> None:
    pair = PAIRS.pair_of(KEY)
    assert AccessPairs("m" * 32).pair_of(KEY) == pair
    assert PAIRS.key_id_of(pair.access_key_id) == "k_01"
    assert len(b64decode(pair.secret_access_key)) == 32
    assert pair.secret_access_key not in repr(pair)


@pytest.mark.parametrize("key_id", ["k_1", "k_123456", "cfg_a", "cfg_" + "x" * 63, "cfg_a.b-c_d"])
def test_an_id_of_any_length_is_one_word_for_an_aws_client(key_id: str) -> None:
    pair = PAIRS.pair_of(dataclasses.replace(KEY, id=key_id))
    assert pair.access_key_id.isalnum()
    assert pair.access_key_id.isascii()
    assert 16 <= len(pair.access_key_id) <= 128
    assert PAIRS.key_id_of(pair.access_key_id) == key_id


def test_another_key_secret_or_master_has_another_pair() -> None:
    others = [
        PAIRS.pair_of(dataclasses.replace(KEY, id="k_02")),
        PAIRS.pair_of(dataclasses.replace(KEY, digest=b"another")),
        AccessPairs("n" * 32).pair_of(KEY),
    ]
    assert len({pair.secret_access_key for pair in [PAIRS.pair_of(KEY), *others]}) == 4


def test_an_id_that_was_never_given_out_is_nobodys() -> None:
    """It is guessable which key exists, and not which tag it has."""
    given = PAIRS.pair_of(KEY).access_key_id
    wrong = "A" if given[-1] != "A" else "B"
    for claimed in (
        given[:-1] + wrong,
        given.lower(),
        given + "A",
        given[4:],
        "RTAK",
        "",
        "AKIAIOSFODNN7EXAMPLE",
        "ä" * 30,
    ):
        assert PAIRS.key_id_of(claimed) is None
    assert AccessPairs("n" * 32).key_id_of(given) is None
