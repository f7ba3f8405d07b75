"""The pool alone, with connections that are nothing but a flag: every rule of ownership, and its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_trio.upstream.connection_pool import ConnectionPool

if TYPE_CHECKING:
    from trio.testing import MockClock

    from relay_trio.upstream.http1 import Origin, UpstreamConnection

A: Origin = ("https", "a", 443)
B: Origin = ("https", "b", 443)


class FakeConnection:
    def __init__(self, origin: Origin = A) -> None:
        self.origin = origin
        self.is_clean = True
        self.is_silent = True
        self.is_reused = False
        self.idle_since = 0.0
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def opened(pool: ConnectionPool, origin: Origin = A) -> tuple[UpstreamConnection, FakeConnection]:
    fake = FakeConnection(origin)
    connection = cast("UpstreamConnection", fake)
    pool.opened(connection)
    return connection, fake


async def test_the_most_recently_used_connection_is_taken_first(autojump_clock: MockClock) -> None:
    """Surplus connections grow old and expire."""
    pool = ConnectionPool(idle_expiry_seconds=10)
    pairs = [opened(pool) for _ in range(3)]
    for connection, _ in pairs:
        pool.release(connection, is_usable=True)
        await trio.sleep(1)
    assert pool.take(A) is pairs[2][0]
    await trio.sleep(8.5)
    assert pool.take(A) is None
    assert [fake.closed for _, fake in pairs] == [1, 1, 0]
    assert pool.open_connections == 1


async def test_an_origin_gets_only_its_own_connections() -> None:
    """Credentials of one upstream never travel to another."""
    pool = ConnectionPool()
    connection, _ = opened(pool, A)
    pool.release(connection, is_usable=True)
    assert pool.take(B) is None
    assert pool.take(A) is connection
    assert connection.is_reused


@pytest.mark.parametrize(("is_usable", "is_clean"), [(False, True), (True, False)])
async def test_a_connection_with_a_doubt_is_closed(is_usable: bool, is_clean: bool) -> None:
    """Both its user and its framing must say that it is in order."""
    pool = ConnectionPool()
    connection, fake = opened(pool)
    fake.is_clean = is_clean
    pool.release(connection, is_usable=is_usable)
    assert (fake.closed, pool.open_connections, pool.idle_connections) == (1, 0, 0)


async def test_idle_connections_that_are_not_silent_are_closed_on_the_way() -> None:
    """The first silent one is taken."""
    pool = ConnectionPool()
    pairs = [opened(pool) for _ in range(3)]
    for connection, fake in pairs:
        pool.release(connection, is_usable=True)
        fake.is_silent = fake is pairs[0][1]
    assert pool.take(A) is pairs[0][0]
    assert pool.open_connections == 1


async def test_more_idle_connections_than_allowed_close_the_oldest() -> None:
    """Of all origins together."""
    pool = ConnectionPool(max_idle=2)
    pairs = [opened(pool, origin) for origin in (A, B, B)]
    for connection, _ in pairs:
        pool.release(connection, is_usable=True)
    assert [fake.closed for _, fake in pairs] == [1, 0, 0]
    assert pool.take(A) is None


async def test_idle_connections_can_be_closed_and_later_ones_are_kept() -> None:
    """A connection in use is not idle."""
    pool = ConnectionPool()
    (idle, first), (used, second) = opened(pool), opened(pool)
    pool.release(idle, is_usable=True)
    pool.close_idle()
    assert (first.closed, second.closed, pool.open_connections) == (1, 0, 1)
    pool.release(used, is_usable=True)
    assert pool.take(A) is used


async def test_after_close_nothing_is_kept() -> None:
    """What is still in use is closed when it is released."""
    pool = ConnectionPool()
    (idle, idle_fake), (used, used_fake) = opened(pool), opened(pool)
    pool.release(idle, is_usable=True)
    pool.close()
    pool.release(used, is_usable=True)
    assert (idle_fake.closed, used_fake.closed, pool.open_connections) == (1, 1, 0)


async def test_the_sweep_sleeps_while_there_is_nothing_to_close(autojump_clock: MockClock) -> None:
    """No polling: between two wake-ups lies an expiry."""
    pool = ConnectionPool(idle_expiry_seconds=50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.sweep)
        await trio.sleep(1000)
        for round_ in range(3):
            connection, fake = opened(pool)
            pool.release(connection, is_usable=True)
            await trio.sleep(49)
            assert not fake.closed, round_
            await trio.sleep(2)
            assert fake.closed
        nursery.cancel_scope.cancel()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=3 * settings().max_examples // 2)
@given(st.lists(st.sampled_from(["open", "take A", "take B", "release", "drop", "stale", "wait"]), max_size=40))
def test_every_connection_is_in_exactly_one_place(steps: list[str]) -> None:
    """Whatever is done in whatever order: in use, idle, or closed once; the counts agree."""

    async def play() -> None:
        pool = ConnectionPool(max_idle=3, idle_expiry_seconds=3)
        everything: list[FakeConnection] = []
        in_use: list[UpstreamConnection] = []
        for number, step in enumerate(steps):
            if step == "open":
                connection, fake = opened(pool, B if number % 3 else A)
                everything.append(fake)
                in_use.append(connection)
            elif step.startswith("take") and (found := pool.take(A if step == "take A" else B)):
                in_use.append(found)
            elif step in ("release", "drop") and in_use:
                pool.release(in_use.pop(number % len(in_use)), is_usable=step == "release")
            elif step == "stale" and everything:
                everything[number % len(everything)].is_silent = False
            elif step == "wait":
                await trio.sleep(1)
            alive = [fake for fake in everything if not fake.closed]
            assert all(fake.closed <= 1 for fake in everything)
            assert len(alive) == pool.open_connections == pool.idle_connections + len(in_use)
            assert not any(cast("FakeConnection", connection).closed for connection in in_use)
            assert len(set(in_use)) == len(in_use)
            assert pool.idle_connections <= 3
        for connection in in_use:
            pool.release(connection, is_usable=True)
        pool.close()
        assert pool.open_connections == 0
        assert not pool._by_origin

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
