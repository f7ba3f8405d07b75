"""Fuzzes every parser of ``wire/`` with the checks of ``invariants``.

    python -m tests.wire.fuzz --seconds 30                all checks, the time divided among them
    python -m tests.wire.fuzz --runs 10000000             all checks, so many inputs each: nightly
    python -m tests.wire.fuzz --check sse --replay FILE   one input again, with its traceback

Guided by coverage where atheris is installed (``pip install atheris``; Linux). Elsewhere the same checks run on inputs
that are mutated blindly, which finds less in the same time, and says so. Exit status 1: a parser broke its promise;
the input that did it is kept and its place is printed. What is found joins the parser's tests, as bytes.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

if __name__ == "__main__" and "--guided" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["relay_trio.wire"]):
        from tests.wire.invariants import CHECKS, check
else:
    from tests.wire.invariants import CHECKS, check

from relay_trio.wire.event_stream import encode_frame

MAX_INPUT_BYTES = 512

SEEDS = {
    "sse": [
        b"\xef\xbb\xbfevent: a\r\ndata: 1\rdata: 2\n\n: c\n\n",
        b'event: message_delta\ndata: {"usage":1}\n\n',
        b"data: more than the smaller limit allows\n\ndata: x\n\n",
    ],
    "json_members": [
        b'{"a": [{"usage": "\\"}"}], "usage": {"n": 1}, "mod\\u0065l": "\xc3\xa9", "a": null}',
        b'{"model":"m","x":{"model":2}}',
    ],
    "event_stream": [
        encode_frame({":message-type": "event", "n": 1, "t": True}, b'{"bytes":"eA=="}') * 2,
    ],
    "event_stream_headers": [
        b"\x01a\x07\x00\x01x\x01b\x04\x00\x00\x00\x01\x01c\x09" + bytes(16) + b"\x01d\x06\x00\x02yy\x01e\x03\x00\x01",
    ],
    "event_stream_frames": [b"", b"payload", encode_frame({}) + encode_frame({"a": "b"})[:-1]],
    "json_array": [
        b'[{"a": "}\\\\\\""}\r\n,\n{"b": {"c": [1, {}]}}]\n',
        b'{\n "error": {"code": 429}}\n',
        b'[{"a": 1}, {"usageMetadata": {"totalTokenCount": 3}}',
    ],
}

TOKENS = {
    "sse": [b"data", b"event", b": ", b"\r\n", b"\n\n", b"\xef\xbb\xbf"],
    "json_members": [b'"a"', b'"usage"', b'"\\u0061"', b'\\"', b"\\\\", b"{", b"}", b"[", b"]", b",", b":", b"null"],
    "event_stream": [b"\0\0\0\x10\0\0\0\0", encode_frame({})],
    "event_stream_headers": [b"\1a\7\0\1", b"\1a\0", b"\1b\5", b"\1b\6\0\2", b"\1b\x08", b"\1b\x09"],
    "event_stream_frames": [encode_frame({}), encode_frame({"a": True})],
    "json_array": [b"[{", b"}]", b"},{", b'{"a":', b'\\"', b"\\\\", b'"', b"{}", b"\r\n,\r\n"],
}


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with; the first two bytes say how the rest is cut."""
    return [cut + wire for wire in SEEDS[name] for cut in (b"\0\0", b"\5\x0c")]


def main(arguments: list[str] | None = None) -> int:
    """Run the checks one after the other; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=30.0, help="for all checks together")
    options.add_argument("--runs", type=int, help="inputs for each check, however long they take")
    options.add_argument("--check", choices=CHECKS, help="this one only")
    options.add_argument("--replay", type=Path, help="a file that holds one input")
    options.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options.add_argument("--artifacts", type=Path, help="the folder for inputs that break a parser")
    options.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.replay:
        if not given.check:
            options.error("--replay needs --check")
        check(given.check, given.replay.read_bytes())
        return 0
    names = [given.check] if given.check else list(CHECKS)
    seconds = given.seconds / len(names)
    artifacts = given.artifacts or Path(tempfile.mkdtemp(prefix="fuzz-"))
    artifacts.mkdir(parents=True, exist_ok=True)
    if given.guided:
        _guided(names[0], seconds, given.runs, given.seed, artifacts)
    has_atheris = find_spec("atheris") is not None
    if not has_atheris:
        print("atheris is not installed: inputs are mutated blindly (pip install atheris)", file=sys.stderr)
    fuzz = _guided_elsewhere if has_atheris else blind
    broken = [name for name in names if not fuzz(name, seconds, given.runs, given.seed, artifacts)]
    for name in broken:
        print(f"{name}: broken; inputs are in {artifacts}, run again with --check {name} --replay FILE")
    if not broken and not given.artifacts:
        artifacts.rmdir()
    return 1 if broken else 0


def _guided_elsewhere(name: str, seconds: float, runs: int | None, seed: int, artifacts: Path) -> bool:
    """libFuzzer ends its process, so each check gets one."""
    print(f"{name}: seed {seed}", flush=True)
    command = [sys.executable, "-m", "tests.wire.fuzz", "--guided", "--check", name, f"--seconds={seconds}"]
    command += [f"--seed={seed}", f"--artifacts={artifacts}", *([f"--runs={runs}"] if runs else [])]
    return (
        subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).returncode
        == 0
    )


def _guided(name: str, seconds: float, runs: int | None, seed: int, artifacts: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as place:
        corpus = Path(place, "corpus")
        corpus.mkdir()
        for number, data in enumerate(seeds(name)):
            corpus.joinpath(str(number)).write_bytes(data)
        tokens = Path(place, "tokens")
        tokens.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in TOKENS[name]))
        limit = f"-runs={runs}" if runs else f"-max_total_time={max(1, round(seconds))}"
        arguments = [sys.argv[0], limit, f"-max_len={MAX_INPUT_BYTES}", f"-dict={tokens}", f"-seed={seed}"]
        arguments += [f"-artifact_prefix={artifacts}/{name}-", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]
        atheris.Setup([*arguments, str(corpus)], lambda data: check(name, data))
        atheris.Fuzz()


def blind(name: str, seconds: float, runs: int | None, seed: int, artifacts: Path) -> bool:
    """Run one check on mutated seeds; False, and the input in ``artifacts``, when it broke."""
    draw = random.Random(seed)
    known = seeds(name)
    deadline = time.monotonic() + seconds
    done = 0
    while done < runs if runs else time.monotonic() < deadline:
        data = mutated(draw.choice(known), name, draw)
        try:
            check(name, data)
        except Exception as error:  # reported below, and by the exit status
            artifacts.joinpath(f"{name}-crash").write_bytes(data)
            print(f"{name}: {type(error).__name__}: {error}")
            return False
        done += 1
    print(f"{name}: seed {seed}, {done} inputs")
    return True


def mutated(data: bytes, name: str, draw: random.Random) -> bytes:
    """``data`` with a few bytes, tokens or repetitions put in or taken out."""
    mutant = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at = draw.randrange(len(mutant) + 1)
        until = min(len(mutant), at + draw.choice((0, 1, 1, 4, 16)))
        new = draw.choice((b"", draw.randbytes(1), draw.choice(TOKENS[name]), bytes(mutant[until : until + 16])))
        mutant[at:until] = new
    return bytes(mutant[:MAX_INPUT_BYTES])


if __name__ == "__main__":
    sys.exit(main())
