"""Conversations over HTTP/2: streams, presence, GOAWAY, floods, crash inputs."""

from __future__ import annotations

import struct

import h2.errors
import h2.exceptions
import pytest
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.h2_frames import ENHANCE_YOUR_CALM, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, goaway_frame
from tests.server.h2_client import connect_h2, request_headers
from tests.server.serving import open_server

pytestmark = pytest.mark.e2e  # sockets, and their limits in real time


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream_id) + payload


@pytest.mark.parametrize("tls", [False, True])
async def test_streams_are_served_side_by_side(tls: bool) -> None:
    """Over TLS by ALPN, on a plain port by prior knowledge."""
    with trio.fail_after(10):
        async with open_server(tls=tls) as served:
            client = await connect_h2(served)
            hold = await client.request("/hold")
            body = b"b" * 40_000
            assert await client.get("/echo", body) == (200, body)
            assert await client.get("/hello") == (200, b"hello")
            assert (await client.get("/chunks"))[1] == b"".join(b"chunk %d;" % n for n in range(5))
            assert (await client.get("/big"))[1] == b"y" * 1_000_000
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)
            assert client.body[hold] == b"first;last"
            assert served.app.scopes[0]["http_version"] == "2"
            assert client.goaway is None


async def test_an_upload_larger_than_the_windows_goes_through() -> None:
    with trio.fail_after(10):
        async with open_server() as served:
            client = await connect_h2(served)
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, request_headers("/echo", "POST"))
            left = 3_000_000
            while left:
                room = min(client.h2.local_flow_control_window(stream), 16_384, left)
                if room <= 0:
                    before = client.h2.local_flow_control_window(stream)
                    await client.flush()
                    await client.pump(lambda b=before: client.h2.local_flow_control_window(stream) > b)
                    continue
                client.h2.send_data(stream, b"u" * room)
                left -= room
            client.h2.end_stream(stream)
            await client.flush()
            await client.pump(lambda: stream in client.ended)
            assert len(client.body[stream]) == 3_000_000


async def test_reset_cancels_that_request_alone() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            hold, wait = await client.request("/hold"), await client.request("/streamwait")
            await client.pump(lambda: client.body[hold] and client.body[wait])
            client.h2.reset_stream(wait, h2.errors.ErrorCodes.CANCEL)
            at = trio.current_time()
            await client.flush()
            await served.app.until(lambda: bool(served.app.losses))
            assert trio.current_time() - at < 0.25
            assert served.app.losses[0][:2] == ("/streamwait", DisconnectReason.LEFT)
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)
            assert client.body[hold] == b"first;last"


@pytest.mark.parametrize("way", ["fin", "rst", "goaway with an error"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_lost_connection_loses_all_its_streams(way: str, tls: bool) -> None:
    with trio.fail_after(5):
        async with open_server(tls=tls) as served:
            client = await connect_h2(served)
            for path in ("/wait", "/streamwait", "/wait"):
                await client.request(path)
            await served.app.until(lambda: served.app.running == 3)
            at = trio.current_time()
            if way == "fin":
                client.client.sock.close()
            elif way == "rst":
                client.client.reset()
            else:
                await client.client.send(goaway_frame(0, 2))
            await served.app.until(lambda: len(served.app.losses) == 3)
            assert trio.current_time() - at < 0.25


async def test_a_graceful_goaway_leaves_open_streams_alone() -> None:
    """The AWS JavaScript SDK sends one as soon as the heads of an event stream arrive (RFC 9113 6.8)."""
    with trio.fail_after(5):
        async with open_server(linger_seconds=0.2) as served:
            client = await connect_h2(served)
            hold = await client.request("/hold")
            await client.pump(lambda: hold in client.status)
            await client.client.send(goaway_frame(0, 0))
            await trio.sleep(0.05)
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)
            assert client.body[hold] == b"first;last"
            with pytest.raises(EOFError):
                await client.pump(lambda: False)


async def test_a_goaway_may_come_before_the_request() -> None:
    """A client's GOAWAY is about streams that we would open, not about its own (RFC 9113 6.8)."""
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            await client.client.send(goaway_frame(0, 0))
            await trio.sleep(0.05)
            assert await client.get("/hello") == (200, b"hello")


@pytest.mark.parametrize("path", ["/midway", "/midwayreturn", "/abort", "/short", "/long"])
async def test_a_body_that_fails_midway_resets_the_stream(path: str) -> None:
    with trio.fail_after(5):
        async with open_server(may_report=True) as served:
            client = await connect_h2(served)
            status, _ = await client.get(path)
            assert status == 200
            assert list(client.reset.values()) == [INTERNAL_ERROR]
            assert client.ended == set()
            assert await client.get("/hello") == (200, b"hello")
            assert bool(served.errors) is (path in ("/short", "/long"))


async def test_a_failing_application_gives_500_and_the_connection_lives() -> None:
    with trio.fail_after(5):
        async with open_server(may_report=True) as served:
            client = await connect_h2(served)
            for path in ("/fail", "/failgroup", "/split"):
                assert (await client.get(path))[0] == 500
            assert await client.get("/hello") == (200, b"hello")


async def test_an_early_reply_ends_the_upload_and_not_the_connection() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            for _ in range(100):
                stream = client.h2.get_next_available_stream_id()
                client.h2.send_headers(stream, request_headers("/early", "POST"))
                client.h2.send_data(stream, b"x" * 1000)
                await client.flush()
                await client.pump(lambda stream=stream: stream in client.ended)
                assert client.status[stream] == 401
                # DATA after the response: KeyError in stock Hypercorn, and the end of the process
                await client.client.send(frame(0, 0, stream, b"late" * 100))
            assert await client.get("/echo", b"next") == (200, b"next")


async def test_a_slow_body_is_timed_out_alone() -> None:
    with trio.fail_after(5):
        async with open_server(body_idle_timeout_seconds=0.2) as served:
            client = await connect_h2(served)
            hold = await client.request("/hold")
            slow = client.h2.get_next_available_stream_id()
            client.h2.send_headers(slow, request_headers("/echo", "POST"))
            await client.flush()
            await client.pump(lambda: slow in client.status)
            assert client.status[slow] == 408
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)


async def test_the_body_timeout_waits_for_an_application_that_does_not_read() -> None:
    with trio.fail_after(5):
        async with open_server(body_idle_timeout_seconds=0.1, body_total_timeout_seconds=0.2) as served:
            client = await connect_h2(served)
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, request_headers("/nobody", "POST"))
            client.h2.send_data(stream, b"x" * 1000)
            await client.flush()
            await trio.sleep(0.5)
            served.app.go.set()
            client.h2.end_stream(stream)
            await client.flush()
            await client.pump(lambda: stream in client.ended)
            assert client.body[stream] == b"x" * 1000


async def test_too_many_header_fields_get_431() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            status, _ = await client.get("/hello", **{f"x-{number}": "y" for number in range(101)})
            assert status == 431
            assert served.bad_heads == ["more than 100 header fields"]
            assert await client.get("/hello") == (200, b"hello")


async def test_an_idle_connection_is_closed() -> None:
    with trio.fail_after(5):
        async with open_server(keep_alive_timeout_seconds=0.2) as served:
            client = await connect_h2(served)
            assert await client.get("/hello") == (200, b"hello")
            with pytest.raises(EOFError):
                await client.pump(lambda: False)
            assert client.goaway == 0


async def test_a_drain_lets_streams_finish_and_refuses_new_ones() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            idle, client = await connect_h2(served), await connect_h2(served)
            await idle.get("/hello")
            hold = await client.request("/hold")
            await client.pump(lambda: hold in client.status)
            served.drain.begin()
            with pytest.raises(EOFError):
                await idle.pump(lambda: False)
            late = client.h2.get_next_available_stream_id()
            client.h2.send_headers(late, request_headers("/hello"), end_stream=True)
            await client.flush()
            served.app.go.set()
            raw = await client.client.rest()
            assert b"last" in raw
            assert frame(3, 0, late, struct.pack(">I", REFUSED_STREAM)) in raw
            await served.finished.wait()


# --- what ends the stock server, and the known floods ---

NON_ASCII_PATH = [*request_headers("/x")[:1], (b":path", b"/\xc3\xa4\xff"), *request_headers("/x")[2:]]
NON_ASCII_METHOD = [(b":method", b"G\xc3\x84T"), *request_headers("/x")[1:]]
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"a:443")]
NO_PATH = [header for header in request_headers("/x") if header[0] != b":path"]
TWICE = [*request_headers("/x")[:2], (b":path", b"/y"), *request_headers("/x")[2:]]
UPPER = [*request_headers("/x"), (b"X-Upper", b"y")]
HOP = [*request_headers("/x"), (b"connection", b"close")]
LENGTH = [*request_headers("/x"), (b"content-length", b"five")]
SHORT = [*request_headers("/x"), (b"content-length", b"5")]
STATUS = [(b":status", b"200"), *request_headers("/x")]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "block",
    [NON_ASCII_PATH, NON_ASCII_METHOD, CONNECT, NO_PATH, TWICE, UPPER, HOP, LENGTH, SHORT, STATUS],
    ids=["path", "method", "connect", "no path", "two paths", "upper case", "hop-by-hop", "length", "short", "status"],
)
async def test_a_malformed_head_ends_its_stream_alone(block: list[tuple[bytes, bytes]], tls: bool) -> None:
    """RFC 9113 8.1.1. The connection's header compression stays in step."""
    with trio.fail_after(5):
        async with open_server(tls=tls) as served:
            client = await connect_h2(served)
            hold = await client.request("/hold")
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, [*block, (b"x-indexed", b"1")], end_stream=True)
            await client.flush()
            await client.pump(lambda: stream in client.reset)
            assert client.reset == {stream: PROTOCOL_ERROR}
            assert len(served.bad_heads) == 1
            assert await client.get("/hello", **{"x-indexed": "1"}) == (200, b"hello")
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)
            assert (client.body[hold], client.goaway) == (b"first;last", None)
            assert all(path in ("/hold", "/hello") for path in served.app.started)


@pytest.mark.parametrize("way", ["too long", "too short", "trailers that end nothing", "a trailer with a bad name"])
async def test_a_malformed_body_ends_its_stream_alone(way: str) -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            hold = await client.request("/hold")
            stream = client.h2.get_next_available_stream_id()
            length = {"content-length": "5"} if way.startswith("too") else {}
            client.h2.send_headers(stream, request_headers("/echo", "POST", **length))
            await client.flush()
            await served.app.until(lambda: "/echo" in served.app.started)
            client.h2.send_data(stream, b"123456" if way == "too long" else b"1234", end_stream=way == "too short")
            await client.flush()
            if "trailer" in way:
                block = client.h2.encoder.encode([(b"X-Sum" if "name" in way else b"x-sum", b"1")])
                await client.client.send(frame(1, 0x5 if "name" in way else 0x4, stream, block))
            await client.pump(lambda: stream in client.reset)
            assert client.reset[stream] == PROTOCOL_ERROR
            await served.app.until(lambda: bool(served.app.losses))
            assert [(path, loss) for path, loss, _ in served.app.losses] == [("/echo", DisconnectReason.MISBEHAVED)]
            assert await client.get("/hello") == (200, b"hello")
            served.app.go.set()
            await client.pump(lambda: hold in client.ended)
            assert (client.body[hold], client.goaway) == (b"first;last", None)


async def test_malformed_heads_are_bounded() -> None:
    with trio.fail_after(20):
        async with open_server(h2_reset_burst=10, h2_reset_per_second=1) as served:
            client = await connect_h2(served)
            wait = await client.request("/wait")
            for _ in range(20):
                stream = client.h2.get_next_available_stream_id()
                client.h2.send_headers(stream, UPPER, end_stream=True)
            await client.flush()
            with pytest.raises(EOFError):
                await client.pump(lambda: False)
            assert client.goaway == ENHANCE_YOUR_CALM
            assert len(client.reset) <= 11
            assert wait not in client.status
            await served.app.until(lambda: bool(served.app.losses))
            assert [loss for _, loss, _ in served.app.losses] == [DisconnectReason.MISBEHAVED]


async def test_a_connection_error_loses_its_streams_as_the_doing_of_a_client_that_broke_the_protocol() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            await client.request("/wait")
            await served.app.until(lambda: bool(served.app.started))
            await client.client.send(frame(1, 5, 3, b"\xff\xff\xff\xff\xff\xff"))
            await served.app.until(lambda: bool(served.app.losses))
            assert [loss for _, loss, _ in served.app.losses] == [DisconnectReason.MISBEHAVED]


FLOODS = {
    "ping": frame(6, 0, 0, b"12345678") * 500,
    "settings": frame(4, 0, 0) * 500,
    "settings with values": frame(4, 0, 0, struct.pack(">HI", 4, 1000) * 100) * 100,
    "priority": frame(2, 0, 1, b"\0\0\0\0\1") * 500,
    "empty data": None,
    "window update": frame(8, 0, 0, struct.pack(">I", 1)) * 500,
    "unknown frames": frame(0x77, 0, 0, b"x") * 500,
    "continuation": frame(1, 0, 1, b"") + frame(9, 0, 1, b"") * 2000,
    "push promise": frame(5, 4, 1, b"\0\0\0\2"),
    "large frame": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "data on stream 0": frame(0, 0, 0, b"x"),
    "headers on stream 0": frame(1, 5, 0, b"\x82"),
    "even stream": frame(1, 5, 2, b"\x82"),
    "bad hpack": frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"),
    "bad padding": frame(1, 0xD, 1, b"\xff\x82"),
    "rst of an idle stream": frame(3, 0, 99, b"\0\0\0\0"),
    "window overflow": frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "zero window increment": frame(8, 0, 0, b"\0\0\0\0"),
    "short goaway": frame(7, 0, 0, b"\0"),
    "goaway": goaway_frame(0, 0) * 600,
    "huge header list": None,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_bounded_and_others_are_served(name: str) -> None:
    """The connection is ended, a bystander's stream goes on, a probe is answered within 250 ms all the while."""
    with trio.fail_after(20):
        async with open_server() as served:
            bystander = await connect_h2(served)
            hold = await bystander.request("/hold")
            client = await connect_h2(served)
            data = FLOODS[name]
            if name == "empty data":
                stream = client.h2.get_next_available_stream_id()
                client.h2.send_headers(stream, request_headers("/echo", "POST"))
                await client.flush()
                data = frame(0, 0, stream) * 600
            elif name == "huge header list":
                block = client.h2.encoder.encode([*request_headers("/x"), (b"x", b"y" * 4000)])
                again = client.h2.encoder.encode([(b"x", b"y" * 4000)] * 1000)
                data = frame(1, 5, 1, block + again)
            assert data is not None
            worst = 0.0
            try:
                for _ in range(10):
                    await client.client.send(data)
                    at = trio.current_time()
                    await served.probe()
                    worst = max(worst, trio.current_time() - at)
            except (trio.BrokenResourceError, OSError):
                pass
            with pytest.raises((EOFError, h2.exceptions.ProtocolError)):
                await client.pump(lambda: False)
            assert worst < 0.25
            served.app.go.set()
            await bystander.pump(lambda: hold in bystander.ended)
            assert bystander.body[hold] == b"first;last"


async def test_rapid_reset_is_bounded() -> None:
    """CVE-2023-44487."""
    with trio.fail_after(20):
        async with open_server() as served:
            client = await connect_h2(served)
            try:
                for _ in range(1000):
                    stream = client.h2.get_next_available_stream_id()
                    client.h2.send_headers(stream, request_headers("/wait"), end_stream=True)
                    client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                    await client.flush()
                with pytest.raises(EOFError):
                    await client.pump(lambda: False)
                assert client.goaway == ENHANCE_YOUR_CALM
            except trio.BrokenResourceError:
                pass
            assert len(served.app.started) <= 300
            await served.app.until(lambda: served.app.running == 0)
            await served.probe()


async def test_a_client_that_does_not_read_its_acknowledgements_is_cut() -> None:
    with trio.fail_after(10):
        async with open_server(h2_control_burst=10**9) as served:
            client = await connect_h2(served, rcvbuf=4096)
            pings = frame(6, 0, 0, b"12345678") * 1_000_000  # 17 MB
            with pytest.raises(trio.BrokenResourceError):
                await client.client.send(pings)
            await served.probe()
