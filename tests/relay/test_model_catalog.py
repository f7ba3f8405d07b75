"""The models that a client is shown: of all accounts, in time, and none that it cannot use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from relay_trio.observe.invariants import snapshot
from tests.support.memory_harness import KEY, Client, MemoryHarness, open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import Script, UpstreamSide


def answer(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def models(*ids: str, **more: object) -> bytes:
    return answer({"data": [{"id": each, "display_name": each.upper()} for each in ids], **more})


def by_account(*answers: bytes | Script, heads: list[bytes] | None = None) -> Script:
    """A script in which each account has its own answer, or its own script."""

    async def script(side: UpstreamSide) -> None:
        chosen = answers[side.number]
        if not isinstance(chosen, bytes):
            await chosen(side)
            return
        while True:
            head = await side.request()
            if heads is not None:
                heads.append(head)
            await side.send(chosen)

    return script


async def is_silent(side: UpstreamSide) -> None:
    await side.request()
    await trio.sleep_forever()


async def dies(side: UpstreamSide) -> None:
    await side.request()
    raise trio.BrokenResourceError


async def ask(harness: MemoryHarness, path: str = "/v1/models", *, query: bytes = b"", **changes: Any) -> Client:
    client = harness.request(b"", method=changes.pop("method", "GET"), path=path, query=query, **changes)
    return await harness.serve(client)


def ids(client: Client) -> list[str]:
    return [item["id"] for item in json.loads(client.body)["data"]]


async def test_a_list_is_of_all_accounts_and_each_model_stands_once(autojump_clock: MockClock) -> None:
    async with open_harness(by_account(models("c-1", "c-2"), models("c-2", "c-3")), accounts=2) as harness:
        client = await ask(harness, query=b"limit=1000")
        document = json.loads(client.body)
        assert ids(client) == ["c-1", "c-2", "c-3"]
        assert (document["first_id"], document["last_id"], document["has_more"]) == ("c-1", "c-3", False)
        assert document["data"][0]["display_name"] == "C-1"
        (row,) = harness.rows
        assert (row.route, row.status, row.attempts, row.account) == ("claude.models", 200, 0, "")
        harness.assert_healthy()


async def test_a_client_sees_no_model_that_its_key_does_not_allow(autojump_clock: MockClock) -> None:
    key = [{"name": "test", "secret": KEY, "models": ["c-1"]}]
    async with open_harness(by_account(models("c-1", "c-2")), key=key) as harness:
        assert ids(await ask(harness)) == ["c-1"]
        assert json.loads((await ask(harness, "/v1/models/c-1")).body)["id"] == "c-1"
        assert (await ask(harness, "/v1/models/c-2")).status == 403
        page = json.loads((await ask(harness, query=b"limit=1")).body)
        assert (page["has_more"], page["last_id"]) == (False, "c-1")


async def test_a_list_is_fetched_once_for_a_while(autojump_clock: MockClock) -> None:
    heads: list[bytes] = []
    async with open_harness(by_account(models("c-1"), heads=heads)) as harness:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(harness.request(b"", method="GET", path="/v1/models").run)
        assert len(heads) == 1
        assert heads[0].startswith(b"GET /v1/models?limit=1000 HTTP/1.1")
        assert b"anthropic-version: " in heads[0]
        await trio.sleep(301)
        await ask(harness)
        assert len(heads) == 2


async def test_the_pages_of_an_upstream_are_read_to_the_last(autojump_clock: MockClock) -> None:
    async def script(side: UpstreamSide) -> None:
        assert b"after_id" not in await side.request()
        await side.send(models("c-1", has_more=True, last_id="c-1"))
        assert b"GET /v1/models?limit=1000&after_id=c-1 " in await side.request()
        await side.send(models("c-2", has_more=False, last_id="c-2"))

    async with open_harness(script) as harness:
        assert ids(await ask(harness)) == ["c-1", "c-2"]


@pytest.mark.parametrize("failing", [is_silent, dies, answer([1]), answer({"data": 7}), b"HTTP/1.1 500 No\r\n\r\n"])
async def test_an_upstream_that_fails_holds_nobody_up_and_is_left_alone_for_a_while(
    autojump_clock: MockClock, failing: bytes | Script
) -> None:
    async with open_harness(by_account(models("c-1"), failing), accounts=2) as harness:
        before = trio.current_time()
        assert ids(await ask(harness)) == ["c-1"]
        assert trio.current_time() - before < 3
        before, sides = trio.current_time(), len(harness.sides)
        assert ids(await ask(harness)) == ["c-1"]
        assert (trio.current_time() - before, len(harness.sides)) == (0, sides)
        harness.assert_healthy()


async def test_what_was_known_stays_known_while_an_upstream_is_away(autojump_clock: MockClock) -> None:
    async def script(side: UpstreamSide) -> None:
        await side.request()
        if side.number == 0 and side.requests == 1:
            await side.send(models("c-1"))
            await side.request()
        await trio.sleep_forever()

    async with open_harness(script) as harness:
        assert ids(await ask(harness)) == ["c-1"]
        await trio.sleep(1000)
        assert ids(await ask(harness)) == ["c-1"]


async def test_a_head_request_has_the_lists_head_alone(autojump_clock: MockClock) -> None:
    async with open_harness(by_account(models("c-1"))) as harness:
        assert (await ask(harness, method="HEAD")).status == 200


async def test_a_name_that_no_list_has_is_the_upstreams_to_know(autojump_clock: MockClock) -> None:
    async def script(side: UpstreamSide) -> None:
        await side.request()
        await side.send(models("c-1-20260101"))
        assert b"GET /v1/models/c-1 " in await side.request()
        await side.send(answer({"id": "c-1-20260101"}))

    async with open_harness(script) as harness:
        assert json.loads((await ask(harness, "/v1/models/c-1")).body) == {"id": "c-1-20260101"}


async def test_names_in_the_settings_are_listed_whether_the_upstream_lists_them_or_not(
    autojump_clock: MockClock,
) -> None:
    account = {"name": "a", "provider": "anthropic", "api_key": "k", "max_concurrency": 1, "models": ["c-1", "d-*"]}
    pool = {"account": [account | {"base_url": "http://127.0.0.1:1000"}]}
    async with open_harness(dies, **pool) as harness:
        assert ids(await ask(harness)) == ["c-1"]
    async with open_harness(by_account(models("d-1", "e-1")), **pool) as harness:
        assert ids(await ask(harness)) == ["d-1", "c-1"]


def bedrock(**changes: Any) -> dict[str, Any]:
    common = {"provider": "bedrock", "region": "eu-central-1", "api_key": "k", "max_concurrency": 1}
    return {"account": [{"name": "b", "base_url": "http://127.0.0.1:1000", **common, **changes}]}


PROFILES = answer({
    "inferenceProfileSummaries": [
        {"inferenceProfileId": name, "inferenceProfileArn": f"arn:aws:bedrock:eu:1:inference-profile/{name}",
         "inferenceProfileName": name, "type": "SYSTEM_DEFINED", "models": []}
        for name in ("eu.anthropic.claude-x-v1:0", "eu.amazon.nova-lite-v1:0")
    ]
})  # fmt: skip


async def test_a_pool_of_bedrock_alone_has_models_for_claude_clients(autojump_clock: MockClock) -> None:
    pool = bedrock(model_ids={"claude-x": "eu.anthropic.claude-x-v1:0"})
    async with open_harness(by_account(PROFILES), **pool) as harness:
        client = await ask(harness)
        assert ids(client) == ["eu.anthropic.claude-x-v1:0", "claude-x"]
        assert all(item["display_name"] for item in json.loads(client.body)["data"])
        assert json.loads((await ask(harness, "/v1/models/claude-x")).body)["id"] == "claude-x"
        assert (await ask(harness, "/v1/models/claude-y")).status == 404


async def test_bedrocks_profiles_are_those_that_the_key_may_use(autojump_clock: MockClock) -> None:
    key = [{"name": "test", "secret": KEY, "models": ["*.anthropic.*"]}]
    async with open_harness(by_account(PROFILES), **bedrock(), key=key) as harness:
        listed = json.loads((await ask(harness, "/inference-profiles", query=b"type=SYSTEM_DEFINED")).body)
        names = [each["inferenceProfileId"] for each in listed["inferenceProfileSummaries"]]
        assert names == ["eu.anthropic.claude-x-v1:0"]
        one = await ask(harness, "/inference-profiles/eu.anthropic.claude-x-v1%3A0")
        assert json.loads(one.body)["inferenceProfileName"] == names[0]
        assert (await ask(harness, "/inference-profiles/eu.amazon.nova-lite-v1%3A0")).status == 403


async def test_a_fetch_is_a_call_that_the_invariants_know(autojump_clock: MockClock) -> None:
    """It has no slot, and is none too many; no fetch is counted after its end, also of an upstream that is silent."""
    async with open_harness(is_silent) as harness, trio.open_nursery() as nursery:
        nursery.start_soon(ask, harness)
        await trio.sleep(1)
        assert harness.upstream.statistics().calls == harness.core.catalog.fetches == 1
        shown = snapshot(harness.core, harness.ring)
        assert shown["ok"], shown["invariants"]
        await trio.sleep(2)
        assert harness.core.catalog.fetches == 0
