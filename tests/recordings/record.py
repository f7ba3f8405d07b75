"""Makes the recordings: each vendor's samples, sent to our own simulator, and what it answered.

    python -m tests.recordings.record            writes tests/recordings/<provider>/<name>.{body,json}
    python -m tests.recordings.record FOLDER     the same into another folder

The request is what the provider would send, the HTTP client is the standard library's, and usage and end are those
that the simulator knows it served: nothing of the relay reads the answer. Identifiers are counted from 1, so the same
simulator gives the same bytes.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from relay_trio.http import ResponseHead
from relay_trio.simulator import SimulatorSettings, ids, open_simulator
from relay_trio.vendors.registry import PROVIDERS
from tests.support.recordings import OURS, Recording, usage_of
from tests.support.vendor_samples import call_of, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.http import UpstreamRequest
    from relay_trio.simulator import ServedRequest
    from tests.support.vendor_samples import Sample, SampleAccount

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})


async def record(provider: str, sample: Sample) -> Recording:
    """What an upstream of ``provider`` answers to ``sample``. Cancelled here: atomic."""
    samples = samples_of(provider)
    account = samples.wrong if sample.is_refused else samples.accounts[0]
    accepted = frozenset(secret for each in samples.accounts for secret in each.secrets)
    async with open_simulator(SimulatorSettings(accepted_keys=accepted, accepts_unknown_models=False)) as simulator:
        simulator.plan_next(sample.spec)
        with _counted_ids():
            head, body = await trio.to_thread.run_sync(exchange, _request(provider, account, sample, simulator.port))
        await simulator.wait_idle()
        return _recording(provider, sample, head, body, simulator.truth.last)


def _request(provider: str, account: SampleAccount, sample: Sample, port: int) -> UpstreamRequest:
    vendor = PROVIDERS[provider]
    settings, credential = account.open(vendor, base_url=f"http://127.0.0.1:{port}")
    return vendor.calls[sample.operation].request(settings, call_of(sample).checked(), credential)


def exchange(request: UpstreamRequest) -> tuple[ResponseHead, bytes]:
    """Head and body of the answer, neither framing nor compression of which is the body's. Blocking."""
    connection = http.client.HTTPConnection(request.host, request.port, timeout=10)
    try:
        connection.putrequest(
            request.method, request.target.decode(), skip_accept_encoding=True
        )  # the host is the address, which is what was signed
        for name, value in request.headers:
            connection.putheader(name.decode(), value)
        if request.body or request.method == "POST":
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.getheaders()]
        return ResponseHead(answer.status, [pair for pair in fields if pair[0] not in _FRAMING]), answer.read()
    finally:
        connection.close()


def _recording(provider: str, sample: Sample, head: ResponseHead, body: bytes, served: ServedRequest) -> Recording:
    ends = "error" if "error_event" in served.fault else "complete" if served.is_finished else "cut"
    used = served.usage if head.status == 200 else None
    counts = None
    if used is not None:
        counts = {
            "input": used.input_tokens,
            "output": used.output_tokens,
            "cache_creation": used.cache_creation_tokens,
            "cache_read": used.cache_read_tokens,
        }
    usage = usage_of(counts, is_exact=ends == "complete")
    return Recording(provider, sample.name, sample.operation, call_of(sample), head, body, ends, usage)


@contextmanager
def _counted_ids() -> Iterator[None]:
    before = ids._process, ids._serial
    ids._process, ids._serial = "recorded", itertools.count(1)
    try:
        yield
    finally:
        ids._process, ids._serial = before


async def record_all(folder: Path) -> list[Recording]:
    """Every sample of every provider, written to ``folder``. Cancelled here: atomic, but for what is written."""
    made = []
    for provider in PROVIDERS:
        names = [sample.name for sample in samples_of(provider).samples]
        assert len(set(names)) == len(names), f"two samples of {provider} have one name"
        for sample in samples_of(provider).samples:
            recording = await record(provider, sample)
            recording.write(folder)
            made.append(recording)
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", nargs="?", type=Path, default=OURS)
    folder: Path = options.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = trio.run(record_all, folder)
    print(f"{len(made)} recordings, {sum(len(each.body) for each in made):,} bytes, in {folder}")


if __name__ == "__main__":
    main()
