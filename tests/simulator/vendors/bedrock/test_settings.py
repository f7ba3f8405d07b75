"""The defaults of the simulated Bedrock."""

from __future__ import annotations

from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS, BedrockSettings


def test_the_default_access_keys_are_a_lasting_pair_and_a_temporary_one() -> None:
    keys = BedrockSettings().access_keys
    assert keys == ACCESS_KEYS
    assert keys is not ACCESS_KEYS
    assert [key.session_token is not None for key in keys.values()] == [False, True]
    assert not any(key.secret in repr(BedrockSettings()) for key in keys.values())
