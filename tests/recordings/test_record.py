"""The recordings are what the recorder makes, and no secret is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.vendors.registry import PROVIDERS
from tests.recordings.record import record
from tests.support.recordings import OURS, Recording, ours, ours_of
from tests.support.vendor_samples import samples_of

if TYPE_CHECKING:
    from tests.support.vendor_samples import Sample


def same(one: Recording, other: Recording) -> bool:
    """But for how gzip packs, which is zlib's own affair."""
    return (one.document(), one.plain) == (other.document(), other.plain)


@pytest.mark.parametrize(
    ("provider", "sample"),
    [
        pytest.param(name, sample, id=f"{name}/{sample.name}")
        for name in PROVIDERS
        for sample in samples_of(name).samples
    ],
)
async def test_recording_it_again_gives_the_same(provider: str, sample: Sample) -> None:
    [recorded] = [each for each in ours_of(provider) if each.name == sample.name]
    assert same(recorded, await record(provider, sample)), (
        "python -m tests.recordings.record, and look at the difference"
    )


def test_every_file_belongs_to_a_recording() -> None:
    bodies = {path.relative_to(OURS).with_suffix("") for path in OURS.glob("*/*.body")}
    assert {each.id for each in ours()} == {path.as_posix() for path in bodies}
    assert {each.provider for each in ours()} == set(PROVIDERS)


def test_every_kind_of_ending_is_among_them() -> None:
    for provider in PROVIDERS:
        recorded = ours_of(provider)
        assert {each.ends for each in recorded if each.is_good} == {"complete", "cut", "error"}
        assert {each.is_stream for each in recorded if each.usage.total_tokens} == {True, False}


def test_no_credential_was_recorded() -> None:
    secrets = [
        secret.encode()
        for provider in PROVIDERS
        for account in (*samples_of(provider).accounts, samples_of(provider).wrong)
        for secret in account.secrets
    ]
    for path in OURS.glob("*/*"):
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path
