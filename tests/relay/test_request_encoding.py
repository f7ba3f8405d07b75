"""Compressed bodies: whole, within the limit, and never at the cost of the others."""

from __future__ import annotations

import gzip
import random

import pytest
import trio

from relay_trio.errors import BadRequest, BodyTooLarge, UnsupportedEncoding
from relay_trio.relay.request_encoding import check_encoding, inflated

LIMIT = 1024 * 1024


@pytest.mark.parametrize(
    ("encoding", "is_gzip"), [(None, False), (b"identity", False), (b" GZip", True), (b"x-gzip", True)]
)
def test_gzip_and_none_are_accepted(encoding: bytes | None, is_gzip: bool) -> None:
    assert check_encoding(encoding) is is_gzip


@pytest.mark.parametrize(
    "encoding", [b"deflate", b"br", b"zstd", b"gzip, gzip", b"identity, gzip", b"aws-chunked", b"?"]
)
def test_every_other_encoding_is_refused(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncoding, match="gzip"):
        check_encoding(encoding)


@pytest.mark.parametrize("body", [b"", b"{}", b"a" * LIMIT, random.Random(1).randbytes(LIMIT)], ids=len)
async def test_a_body_comes_out_as_it_was(body: bytes) -> None:
    assert await inflated(gzip.compress(body), LIMIT) == body


async def test_no_more_is_inflated_than_a_body_may_have() -> None:
    bomb = gzip.compress(b"a" * (64 * LIMIT))
    assert len(bomb) < 100_000
    with pytest.raises(BodyTooLarge, match="without its compression"):
        await inflated(bomb, LIMIT)
    with pytest.raises(BodyTooLarge):
        await inflated(gzip.compress(b"a" * (LIMIT + 1)), LIMIT)


async def test_others_run_while_a_body_is_inflated() -> None:
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await inflated(gzip.compress(b"a" * LIMIT * 16), LIMIT * 16)
        nursery.cancel_scope.cancel()
    assert steps >= 60


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") * 2,
        gzip.compress(random.Random(1).randbytes(100_000)) + b"x" * 100_000,
        gzip.compress(b"{}")[:-4] + b"0000",
    ],
    ids=["empty", "plain", "cut", "more", "two members", "more than a slice of more", "wrong sum"],
)
async def test_what_is_no_gzip_or_more_than_one_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="gzip"):
        await inflated(body, LIMIT)
