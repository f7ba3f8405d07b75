"""A vendor is a folder and a line: shown with one that nobody has, in a copy of the package, as processes of its own.

``toy_vendor/relay`` goes to ``vendors/toy`` of the copy, ``toy_vendor/simulator`` to ``simulator/vendors/toy``, and
each registry gets its line. Nothing else of the copy is touched, which is checked, and every verb is tried.
"""

from __future__ import annotations

import filecmp
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import relay_trio
from tests.support.vendor_names import vendor_names
from tests.test_structure import NAMES_A_VENDOR

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

TOY = Path(__file__).parent / "toy_vendor"
PACKAGE = Path(relay_trio.__file__).parent
REGISTRIES = ("vendors/registry.py", "simulator/vendors/registry.py")
PATIENCE_SECONDS = 60
UPSTREAM_KEY = "sk-toy-upstream-key-0123456789"

IMPORTS = (
    "from relay_trio.vendors.toy import dialect as toy_dialect, provider as toy_provider\n",
    "from relay_trio.simulator.vendors.toy import provider as toy, samples as toy_samples\n",
)
LINES = (
    "    Vendor(toy_provider.Toy(), toy_dialect.ToyDialect()),\n",
    "    Vendor((toy.Toy,), toy_samples.SAMPLES),\n",
)


@dataclass(frozen=True)
class Copy:
    """The package with one more vendor, and a directory to work in."""

    package: Path
    work: Path

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Exit status and output of ``relay-trio`` with ``arguments``."""
        command = (sys.executable, "-m", "relay_trio", *arguments)
        ended = subprocess.run(
            command,
            cwd=self.work,
            env=self.environ | environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return ended.returncode, ended.stdout

    @contextmanager
    def running(self, pattern: str, *arguments: str) -> Iterator[str]:
        """A module of the copy as a process; yields what ``pattern`` finds in the first lines that it prints."""
        process = subprocess.Popen(
            (sys.executable, "-m", *arguments),
            cwd=self.work,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            printed = ""
            while (found := re.search(pattern, printed)) is None:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield found[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0, process.stdout.read()
        finally:
            process.kill()
            process.communicate()

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.package.parent), "TOY_API_KEY": UPSTREAM_KEY}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("toy")
    package = folder / "relay_trio"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, place in (("relay", "vendors/toy"), ("simulator", "simulator/vendors/toy")):
        shutil.copytree(TOY / name, package / place, ignore=shutil.ignore_patterns("__pycache__"))
    for name, imported, line in zip(REGISTRIES, IMPORTS, LINES, strict=True):
        registry = package / name
        head, start, rest = registry.read_text().partition("VENDORS = (\n")
        vendors, end, tail = rest.partition("\n)\n")
        registry.write_text(f"{head}{imported}{start}{vendors}\n{line.rstrip()}{end}{tail}")
    (folder / "work").mkdir()
    return Copy(package, folder / "work")


def config(copy: Copy, base_url: str, account: str = "") -> Path:
    path = copy.work / "relay.toml"
    path.write_text(
        '[server]\nlisteners = ["127.0.0.1:0"]\n[admin]\nlistener = "127.0.0.1:0"\n[logging]\nformat = "json"\n'
        f'[[account]]\nname = "toy-a"\nprovider = "toy"\napi_key = "env:TOY_API_KEY"\nmax_concurrency = 2\n'
        f'base_url = "{base_url}"\n{account}'
    )
    path.chmod(0o600)
    return path


def test_nothing_but_the_folders_and_the_registries_is_touched(copy: Copy) -> None:
    changed = [
        path.relative_to(copy.package).as_posix()
        for path in copy.package.rglob("*.py")
        if not (original := PACKAGE / path.relative_to(copy.package)).is_file()
        or not filecmp.cmp(path, original, shallow=False)
    ]
    assert {name for name in changed if "vendors/toy/" not in name} == set(REGISTRIES)


def test_and_nothing_else_names_it(copy: Copy) -> None:
    assert {
        place.partition(":")[0] for place in vendor_names(copy.package, frozenset({"toy"}))
    } == NAMES_A_VENDOR.keys()


def test_its_settings_are_documented(copy: Copy) -> None:
    copy.work.joinpath("relay.toml").unlink(missing_ok=True)
    assert copy.run("init")[0] == 0
    written = copy.work.joinpath("relay.toml").read_text()
    assert '#provider = "toy"' in written
    assert re.search(r'^#volume = "low" +# how loud it speaks$', written, re.MULTILINE)
    status, schema = copy.run("check", "--schema")
    assert (status, "how loud it speaks" in schema) == (0, True)


def test_its_settings_are_checked(copy: Copy) -> None:
    config(copy, "http://127.0.0.1:9", 'volume = "deafening"\nregion = "eu"\n')
    status, printed = copy.run("check")
    assert status == 1
    assert "account[0].volume" in printed
    assert "account[0].region" in printed


def test_a_wrong_provider_is_told_that_there_is_this_one(copy: Copy) -> None:
    path = config(copy, "http://127.0.0.1:9")
    path.write_text(path.read_text().replace('provider = "toy"', 'provider = "tooy"'))
    assert "toy" in copy.run("check")[1].replace("toy-a", "")


def test_it_is_probed_served_counted_and_priced(copy: Copy) -> None:
    with copy.running(r"simulator: (\S+)", "relay_trio.simulator", "--chunks", "7") as upstream:
        config(copy, upstream, 'volume = "high"\n')
        status, printed = copy.run("check")
        assert status == 0, printed
        assert re.search(r"toy-a +toy +2 slots +models \* +key sk-toy-…789 ", printed)
        status, printed = copy.run("keys", "create", "team")
        (key,) = re.findall(r"^export TOY_URL=\S+/toy TOY_KEY=(rt_\w+)$", printed, re.MULTILINE)
        with copy.running(r"relay +http://(\S+)", "relay_trio", "serve") as relay:
            use(relay, key)
    lines = {line["group"]: line for line in json.loads(copy.run("usage", "--by", "model", "--json")[1])["lines"]}
    assert {name: (line["requests"], line["input_tokens"], line["output_tokens"]) for name, line in lines.items()} == {
        "toy-1": (2, 6, 14),
        "gpt-4o": (1, 3, 7),
        "other": (1, 0, 0),
    }
    assert lines["gpt-4o"]["usd"] > 0
    assert lines["toy-1"]["unpriced"] == 2


def use(relay: str, key: str) -> None:
    """What its clients see: answers, streams, and errors in their own dialect."""
    status, headers, body = ask(relay, "/toy/speak", key, {"model": "toy-1", "say": "one two three"})
    assert (status, json.loads(body)["usage"]) == (200, {"in": 3, "out": 7})
    assert headers["x-toy-id"] == headers["request-id"]
    status, _, body = ask(relay, "/toy/speak", key, {"model": "toy-1", "say": "one two three", "stream": True})
    assert status == 200
    assert body.count(b'data: {"word":"hi"}\n\n') == 7
    assert body.endswith(b'data: {"usage":{"in":3,"out":7}}\n\n')
    assert ask(relay, "/toy/loud/speak", key, {"model": "gpt-4o", "say": "one two three"})[0] == 200
    for path, secret, refusal in (
        ("/toy/sing", key, (404, "no such route: POST /toy/sing (the toy speaks at /toy/speak)")),
        ("/toy/speak", "rt_wrong", (401, "the relay key is not valid")),
        ("/toy/speak", "", (401, "a relay key is required, as x-toy-key")),
    ):
        status, headers, body = ask(relay, path, secret, {"model": "toy-1"})
        error = json.loads(body)
        assert (status, error["error"]) == refusal
        assert error["id"] == headers["x-toy-id"]
    status, _, body = ask(relay, "/v1/messages", key, {"model": "other"}, name="x-api-key")
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error"), "its accounts serve only its own"


def ask(
    relay: str, path: str, key: str, document: dict[str, Any], name: str = "x-toy-key"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(relay, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", path, json.dumps(document), {name: key} if key else {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_demo_has_it_too_and_accounts_for_its_tokens(copy: Copy) -> None:
    """Beside all others, with clients that hang up: rows, slots and tokens are right, or it ends with 1."""
    status, printed = copy.run("demo", "--seconds", "1.5", "--clients", "16", "--seed", "1")
    assert status == 0, printed
    assert "toy-a" in printed
