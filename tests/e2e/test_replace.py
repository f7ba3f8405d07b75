"""Other settings while the relay serves: what has begun goes on as it began, what begins next follows the new ones."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from pydantic import SecretStr

from relay_trio.config import ConfigError, Settings
from relay_trio.keys import ring
from relay_trio.keys.key_store import open_key_store
from tests.support.accounts import ACCOUNT_KEYS, account
from tests.support.raw_client import ask, message, open_raw, request
from tests.support.scripted_upstream import ScriptedUpstream, open_scripted, sized
from tests.support.socket_harness import KEY, OTHER_KEY, open_harness, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.socket_harness import SocketHarness

NEW_KEY = "rt_canary_new_client_key_99"
ANSWER = sized([b"{}"], headers=[("content-type", "application/json")])


class HoldingUpstream(ScriptedUpstream):
    """Answers nobody until ``let_go`` is set."""

    def __init__(self, port: int) -> None:
        super().__init__(port, ANSWER)
        self.let_go = trio.Event()

    async def prepare(self) -> None:
        await self.let_go.wait()


@asynccontextmanager
async def open_holding() -> AsyncIterator[HoldingUpstream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    upstream = HoldingUpstream(listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, upstream.serve, [listener])
        yield upstream
        nursery.cancel_scope.cancel()


def changed(harness: SocketHarness, **sections: dict[str, Any]) -> Settings:
    """The relay's settings with other values in some sections."""
    now = harness.relay.settings
    return now.model_copy(
        update={name: getattr(now, name).model_copy(update=values) for name, values in sections.items()}
    )


async def test_the_queue_is_as_long_and_as_patient_as_the_settings_say(folder: Path) -> None:
    """One slot, which a request holds that began before."""
    async with (
        open_holding() as upstream,
        open_harness(folder, [account("one", upstream.base_url, max_concurrency=1)]) as harness,
    ):
        async with open_raw(harness.port) as first:
            await first.send(request(message(stream=False)))
            await until(lambda: len(upstream.requests) == 1)
            await harness.relay.replace(changed(harness, queue={"queue_timeout_seconds": 0.05}))
            assert (await ask(harness.port, request(message(stream=False)))).status == 529
            await harness.relay.replace(changed(harness, queue={"max_waiting": 0, "queue_timeout_seconds": 30.0}))
            refused = await ask(harness.port, request(message(stream=False)))
            assert refused.error["message"].startswith("0 requests are waiting")
            upstream.let_go.set()
            answer = await first.read_answer()
            assert answer is not None
            assert answer.is_whole
        outcomes = [row["outcome"] for row in await harness.rows()]
        assert outcomes == ["completed", "rejected_capacity", "rejected_capacity"]


async def test_a_request_keeps_its_limits_on_time_and_the_next_has_others(folder: Path) -> None:
    """The first waits for its head longer than a new request may."""
    async with open_holding() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        async with open_raw(harness.port) as first:
            await first.send(request(message(stream=False)))
            await until(lambda: len(upstream.requests) == 1)
            await harness.relay.replace(changed(harness, timeouts={"whole_answer_timeout_seconds": 0.05}))
            assert (await ask(harness.port, request(message(stream=False)))).status == 504
            upstream.let_go.set()
            answer = await first.read_answer()
            assert answer is not None
            assert answer.status == 200


async def test_keys_of_the_configuration_come_and_go(folder: Path) -> None:
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = ANSWER
        old, other = harness.relay.settings.key
        new = type(old).model_validate({"name": "new", "secret": NEW_KEY})
        assert (await ask(harness.port, request(message(stream=False), key=KEY))).status == 200
        await harness.relay.replace(harness.relay.settings.model_copy(update={"key": (new, other)}))
        assert (await ask(harness.port, request(message(stream=False), key=KEY))).status == 401
        assert (await ask(harness.port, request(message(stream=False), key=NEW_KEY))).status == 200
        assert (
            await ask(harness.port, request(message("claude-sim-small", stream=False), key=OTHER_KEY))
        ).status == 200


async def test_connections_have_the_limits_that_they_were_accepted_with(folder: Path) -> None:
    """An idle connection of before waits on for a head; one that came after is given less time."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = ANSWER
        async with open_raw(harness.port) as before:
            await before.send(b"POST /v1/messages HTTP/1.1\r\n")
            await until(lambda: harness.relay.clients.accepted == 1)
            await harness.relay.replace(changed(harness, timeouts={"head_timeout_seconds": 0.05}))
            async with open_raw(harness.port) as after:
                await after.send(b"POST /v1/messages HTTP/1.1\r\n")
                answer = await after.read_answer()
                assert answer is None or answer.status == 408
            rest = request(message(stream=False)).partition(b"\r\n")[2]
            assert (await before.ask(rest)).status == 200


async def test_what_cannot_change_is_named_and_then_nothing_has_changed(folder: Path, tmp_path: Path) -> None:
    """All of it at one time, whatever else differs; and what can change but not be used, before anything does."""
    (tmp_path / "empty.pem").touch()
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        now = harness.relay.settings
        then = changed(
            harness,
            server={"ledger": tmp_path / "other.db", "listeners": (), "drain_seconds": 5.0},
            queue={"max_waiting": 0},
        )
        with pytest.raises(ConfigError) as caught:
            await harness.relay.replace(then)
        assert [problem.path for problem in caught.value.problems] == ["server.listeners", "server.ledger"]
        unusable = changed(harness, upstream={"ca_file": tmp_path / "empty.pem"}, queue={"max_waiting": 0})
        with pytest.raises(ConfigError, match=r"upstream\.ca_file cannot be used"):
            await harness.relay.replace(unusable)
        assert harness.relay.settings is now
        assert harness.relay.core.admission.max_waiting == now.queue.max_waiting


async def test_a_key_of_the_ledger_keeps_its_name(folder: Path) -> None:
    with open_key_store(folder / "relay.db") as store:
        store.create("team-x")
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        key = type(harness.relay.settings.key[0]).model_validate({"name": "team-x", "secret": NEW_KEY})
        with pytest.raises(ConfigError, match=r"key\[0\]\.name must be unique"):
            await harness.relay.replace(harness.relay.settings.model_copy(update={"key": (key,)}))


async def test_a_key_that_was_made_beside_the_relay_keeps_its_name_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay read its keys before, and nobody has asked for one since; where it cannot read, nothing is replaced."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        with open_key_store(folder / "relay.db") as store:
            store.create("team-x")
        now = harness.relay.settings
        key = type(now.key[0]).model_validate({"name": "team-x", "secret": NEW_KEY})
        with pytest.raises(ConfigError, match=r"key\[0\]\.name must be unique"):
            await harness.relay.replace(now.model_copy(update={"key": (key,)}))

        def fail(path: Path) -> object:
            raise OSError("disk I/O error")

        monkeypatch.setattr(ring, "_read_snapshot", fail)
        with pytest.raises(ConfigError, match=r"server\.ledger .*disk I/O error"):
            await harness.relay.replace(now.model_copy(update={"key": (key,)}))
        assert harness.relay.settings is now
        assert harness.relay.ring.statistics().failures_total == 1


async def test_a_larger_or_smaller_body_may_be_sent(folder: Path) -> None:
    """Whatever bound a body meets on its way is of the settings that count now."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = ANSWER
        large = message(stream=False, metadata={"user_id": "x" * 200_000})
        for most, status in ((100_000, 413), (300_000, 200), (1024, 413)):
            await harness.relay.replace(changed(harness, server={"max_body_bytes": most}))
            assert (await ask(harness.port, request(large))).status == status
        unsized = b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)
        chunked = request(framing="transfer-encoding: chunked", headers=("content-type: application/json",)) + unsized
        await harness.relay.replace(changed(harness, server={"max_body_bytes": 300_000}))
        assert (await ask(harness.port, chunked)).status == 200


async def test_requests_leave_by_the_way_that_the_settings_say(folder: Path) -> None:
    """Under another name, and through a proxy."""
    async with (
        open_scripted() as upstream,
        open_scripted() as proxy,
        open_harness(folder, [account("one", upstream.base_url)]) as harness,
    ):
        upstream.play = proxy.play = ANSWER
        body = request(message(stream=False))
        await ask(harness.port, body)
        await harness.relay.replace(changed(harness, upstream={"user_agent": "another/1"}))
        await ask(harness.port, body)
        assert [b"user-agent: another/1\r\n" in head for head, _ in upstream.requests] == [False, True]
        await harness.relay.replace(changed(harness, upstream={"proxy": SecretStr(f"http://127.0.0.1:{proxy.port}")}))
        await ask(harness.port, body)
        assert len(upstream.requests) == 2
        assert proxy.requests[0][0].startswith(f"POST {upstream.base_url}/v1/messages HTTP/1.1\r\n".encode())


async def test_operators_need_the_token_that_the_settings_say(folder: Path) -> None:
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        port = int(harness.bound.admin_url.rpartition(":")[2])
        look = request(method="GET", target="/debug/invariants", key=None)
        assert (await ask(port, look)).status == 200
        await harness.relay.replace(changed(harness, admin={"token": SecretStr("t")}))
        assert (await ask(port, look)).status == 401


async def test_a_drain_lasts_as_long_as_the_settings_say_when_it_begins(folder: Path) -> None:
    async with open_holding() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        await harness.relay.replace(changed(harness, server={"drain_seconds": 0.0}))
        async with open_raw(harness.port) as client:
            await client.send(request(message()))
            await until(lambda: len(upstream.requests) == 1)
            harness.drain.begin()
            answer = await client.read_answer()
            assert answer is not None
            assert answer.status == 529


async def test_accounts_come_change_and_go_while_a_request_holds_one(folder: Path) -> None:
    """The request ends with the account that it began with, which is gone then; the next one has the new list."""
    async with (
        open_holding() as old,
        open_scripted() as new,
        open_harness(folder, [account("one", old.base_url, max_concurrency=1)]) as harness,
    ):
        new.play = ANSWER
        pool = harness.relay.core.pool
        async with open_raw(harness.port) as first:
            await first.send(request(message(stream=False)))
            await until(lambda: len(old.requests) == 1)
            (one,) = harness.relay.settings.account
            two = type(one).model_validate(account("two", new.base_url, max_concurrency=7))
            await harness.relay.replace(harness.relay.settings.model_copy(update={"account": (two,)}))
            assert [account.name for account in pool.retiring] == ["one"]
            assert (await ask(harness.port, request(message(stream=False)))).status == 200
            old.let_go.set()
            answer = await first.read_answer()
            assert answer is not None
            assert answer.status == 200
        await until(lambda: not pool.retiring)
        assert [(account.name, pool.slots.capacity(account.name)) for account in pool.accounts] == [("two", 7)]
        assert [row["account"] for row in await harness.rows()] == ["one", "two"]


def with_accounts(harness: SocketHarness, *tables: dict[str, object]) -> Settings:
    """The relay's settings with these accounts in place of those before."""
    accounts = Settings.model_validate({"account": tables}).account
    return harness.relay.settings.model_copy(update={"account": accounts})


async def test_an_account_that_goes_ends_what_it_has_begun_and_one_that_comes_serves_the_next(folder: Path) -> None:
    """Both upstreams have seen one request; the request that began at the first had its answer from there."""
    async with (
        open_holding() as old,
        open_scripted() as new,
        open_harness(folder, [account("one", old.base_url)]) as harness,
    ):
        new.play = ANSWER
        async with open_raw(harness.port) as first:
            await first.send(request(message(stream=False)))
            await until(lambda: len(old.requests) == 1)
            await harness.relay.replace(with_accounts(harness, account("two", new.base_url, number=1)))
            assert (await ask(harness.port, request(message(stream=False)))).status == 200
            old.let_go.set()
            answer = await first.read_answer()
            assert answer is not None
            assert answer.status == 200
        assert [row["account"] for row in await harness.rows()] == ["one", "two"]
        assert (len(old.requests), len(new.requests)) == (1, 1)


async def test_who_waits_for_a_slot_gets_one_of_an_account_that_has_come(folder: Path) -> None:
    async with open_holding() as old, open_scripted() as new:
        busy = account("one", old.base_url, max_concurrency=1)
        async with (
            open_harness(folder, [busy]) as harness,
            open_raw(harness.port) as first,
            open_raw(harness.port) as second,
        ):
            new.play = ANSWER
            await first.send(request(message(stream=False)))
            await until(lambda: len(old.requests) == 1)
            await second.send(request(message(stream=False)))
            await until(lambda: harness.relay.core.admission.statistics().waiting == 1)
            await harness.relay.replace(with_accounts(harness, busy, account("two", new.base_url, number=1)))
            answer = await second.read_answer()
            assert answer is not None
            assert answer.status == 200
            old.let_go.set()
            assert await first.read_answer() is not None


async def test_another_key_of_an_account_that_was_refused_brings_it_back(folder: Path) -> None:
    """No restart: what was known of the former key does not concern the new one."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = sized([b"{}"], status=401, headers=[("content-type", "application/json")])
        assert (await ask(harness.port, request(message(stream=False)))).status == 403
        assert (await ask(harness.port, request(message(stream=False)))).status == 529
        assert len(upstream.requests) == 1
        upstream.play = ANSWER
        await harness.relay.replace(with_accounts(harness, account("one", upstream.base_url, number=1)))
        assert (await ask(harness.port, request(message(stream=False)))).status == 200
        assert ACCOUNT_KEYS[1].encode() in upstream.requests[-1][0]


async def test_what_happens_at_an_account_that_was_replaced_is_not_its_successors(folder: Path) -> None:
    """The request that the former upstream refuses is tried at the successor, which is not said to be disabled."""
    async with (
        open_holding() as old,
        open_scripted() as new,
        open_harness(folder, [account("one", old.base_url)]) as harness,
    ):
        old.play = sized([b"{}"], status=401, headers=[("content-type", "application/json")])
        new.play = ANSWER
        async with open_raw(harness.port) as client:
            await client.send(request(message(stream=False)))
            await until(lambda: len(old.requests) == 1)
            await harness.relay.replace(with_accounts(harness, account("one", new.base_url, number=1)))
            old.let_go.set()
            answer = await client.read_answer()
            assert answer is not None
            assert answer.status == 200
        row = await harness.row()
        assert (row["attempts"], row["account"]) == (2, "one")
        assert "disabled" not in harness.log.getvalue()
        assert not harness.relay.core.pool.accounts[0].health.is_disabled


async def test_the_breaker_of_an_account_follows_and_its_strikes_are_kept(folder: Path) -> None:
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = sized([b"{}"], status=500, headers=[("content-type", "application/json")])
        await ask(harness.port, request(message(stream=False)))
        await harness.relay.replace(changed(harness, breaker={"strikes": 2}))
        [one] = harness.relay.core.pool.accounts
        assert one.health.statistics(trio.current_time()).strikes == 1
        await ask(harness.port, request(message(stream=False)))
        assert one.health.statistics(trio.current_time()).reason == "2 failures in a row"


async def test_of_two_writers_at_one_time_the_last_one_wins_in_every_part(folder: Path) -> None:
    """Settings and the way to the upstreams are never of two of them."""
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        before = harness.relay.settings
        async with trio.open_nursery() as nursery:
            for number in range(5):
                settings = changed(harness, upstream={"user_agent": f"agent/{number}"}) if number % 2 else before
                nursery.start_soon(harness.relay.replace, settings)
        upstream.play = ANSWER
        await ask(harness.port, request(message(stream=False)))
        agent = f"user-agent: {harness.relay.settings.upstream.user_agent}\r\n".encode()
        assert agent in upstream.requests[0][0]
