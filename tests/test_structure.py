"""The shape of the project: floors, doors for third-party packages, mirrored tests, sizes, cancel contracts.

Everything is read from the syntax trees, so an import under ``TYPE_CHECKING`` counts like any other: a floor that only
the types know upward is still a cycle in the reader's head. There is no exception to the floors.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from relay_trio.vendors.registry import DIALECTS, PROVIDERS
from tests.support.vendor_names import vendor_names

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "relay_trio"
TESTS = ROOT / "tests"

FLOORS = (
    "outcome",
    "errors",
    "usage",
    "http",
    "aligned",
    "suggestion",
    "net",
    "wire",
    "settings",
    "storage",
    "keys",
    "api",
    "vendors",
    "config",
    "ledger",
    "upstream",
    "pool",
    "server",
    "relay",
    "observe",
    "web",
    "app",
    "demo",
    "cli",
    "__main__",
)
"""From the ground up. DESIGN.md section 4 names groups; this is the one order of the parts that fulfils it."""

BESIDE = {"simulator": set[str]()}
"""Parts that stand beside the floors, and what they may import. The simulator is an upstream: were it to share the
relay's parsers, one mistake could hide in both."""

MAY_USE_BESIDE = {"demo"}

DOORS: dict[str, set[str]] = {
    "httpx2": {"upstream/httpx_transport.py", "pool/probe.py"},
    "hypercorn": {"server/hypercorn_compat.py"},
    "h2": {"server/http2.py"},
    "hpack": {"server/h2_frames.py"},
    "httptools": {"server/request_head.py", "simulator/request.py", "upstream/parser.py"},
    "h11": {"demo/http_client.py"},
    "quart": {"web/"},
    "quart_trio": {"web/"},
    "werkzeug": {"web/quart_app.py", "web/asgi.py"},
    "structlog": {"ledger/writer.py", "observe/log.py"},
    "botocore": {"vendors/bedrock/signing.py", "vendors/bedrock/credentials.py"},
    "google": {"vendors/vertex/credentials.py"},
    "urllib3": {"vendors/vertex/credentials.py"},
    "pydantic": {"settings/", "vendors/*/settings.py", "config/", "cli/init.py", "cli/keys.py"},
    "pydantic_core": {"settings/", "vendors/*/settings.py", "config/", "relay/read_request.py"},
    "genai_prices": {"ledger/prices.py"},
    "cyclopts": {"cli/", "demo/"},
    "rich": {"demo/"},
    "trio": {
        *(
            "app.py",
            "keys/ring.py",
            "net/",
            "pool/",
            "ledger/writer.py",
            "upstream/",
            "relay/",
            "observe/",
            "web/",
            "server/",
        ),
        *("cli/", "demo/", "simulator/"),
    },
}
"""Where each third-party package may be imported; a name that ends in ``/`` is a folder, and ``*`` any name. A
package that is not here may be imported nowhere. What DESIGN calls plain functions over bytes (wire, vendors) has no
trio, and neither have the counts (state) nor the settings (config)."""

DOORS_FOR_TYPES: dict[str, set[str]] = {
    "hypercorn": {"web/asgi.py"},  # the ASGI message types
    "werkzeug": {"web/catch_all.py"},
}
"""More doors, for imports under ``TYPE_CHECKING`` only."""

NO_TEST_OF_ITS_OWN = {
    "__init__.py": "the version",
    "relay/live.py": "tests/relay/test_record.py",
    "__main__.py": "calls cli/main; every test of cli/test_main and cli/test_serve comes through it",
}
"""Files without a mirrored test. Each package's ``__init__`` is a docstring or re-exports, which is checked below."""

NAMES_A_VENDOR = {
    "wire/sigv4.py": "the scheme of signatures has AWS's name in its own text",
}
"""Files outside the vendors' folders that name one, and why."""

LARGEST_FILE_LINES = 400

LONGER_FILES = {
    "server/http1.py": "a connection and its streams are one idea: each half needs the other",
    "server/http2.py": "a connection and its streams are one idea: each half needs the other",
}
"""Files that would be two halves in a circle if they were cut at the limit."""


@dataclass(frozen=True)
class Import:
    module: str
    is_for_types: bool
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[Import, ...]:
    for_types = {
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node in for_types, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import hides which floor it goes to"
            assert node.module is not None
            is_submodule = (ROOT / node.module.replace(".", "/")).is_dir()
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = is_submodule and module_path(module) is not None
                found.append(Import(module if is_module else node.module, node in for_types, node.lineno))
    return tuple(found)


def module_path(module: str) -> Path | None:
    """The file of one of our modules."""
    place = ROOT / module.replace(".", "/")
    for candidate in (place.with_suffix(".py"), place / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def is_at(path: Path, places: set[str]) -> bool:
    name = name_of(path)
    return any(fnmatchcase(name, f"{place}*" if place.endswith("/") else place) for place in places)


def ours(path: Path) -> Iterator[tuple[Import, str]]:
    """The imports of our own parts, each with the part's name; the version is nobody's."""
    for found in imports(path):
        if found.module.startswith("relay_trio."):
            yield found, found.module.split(".")[1]


def test_every_part_has_its_floor() -> None:
    """A new folder or top-level module takes its place in the order first."""
    parts = {part_of(path) for path in files()} - {"__init__"}
    assert parts == {*FLOORS, *BESIDE}


def test_no_import_goes_up_a_floor() -> None:
    """Also not for types. Imports inside one part are free; a cycle among them is found below."""
    wrong = []
    for path in files():
        part = part_of(path)
        if part not in FLOORS:
            continue
        below = set(FLOORS[: FLOORS.index(part) + 1]) | (set(BESIDE) if part in MAY_USE_BESIDE else set())
        wrong += [
            f"{name_of(path)}:{found.line} imports {found.module}" for found, other in ours(path) if other not in below
        ]
    assert not wrong


def test_what_stands_beside_imports_nothing_of_the_relay() -> None:
    wrong = [
        f"{name_of(path)}:{found.line} imports {found.module}"
        for path in files()
        if part_of(path) in BESIDE
        for found, other in ours(path)
        if other not in {part_of(path), *BESIDE[part_of(path)]}
    ]
    assert not wrong


def graph() -> dict[str, set[str]]:
    """Which modules each module imports, for types or not."""
    return {
        name_of(path): {
            name_of(target)
            for found in imports(path)
            if (target := module_path(found.module)) is not None and target != path and target.is_relative_to(PACKAGE)
        }
        for path in files()
    }


def reached(edges: dict[str, set[str]], start: str) -> set[str]:
    """Every module that ``start`` needs, directly or not."""
    seen: set[str] = set()
    rest = [start]
    while rest:
        for name in edges[rest.pop()] - seen:
            seen.add(name)
            rest.append(name)
    return seen


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The groups of modules of which each needs each other."""
    needs = {name: reached(edges, name) for name in edges}
    return {frozenset(other for other in needs[name] if name in needs[other]) for name in edges if name in needs[name]}


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert circles(edges) == {frozenset({"b", "c"})}


def test_modules_form_no_circle() -> None:
    """Imports for types count: who reads one of two modules that need each other has to read both."""
    assert circles(graph()) == set()


def test_each_third_party_package_enters_through_its_doors() -> None:
    wrong = []
    for path in files():
        for found in imports(path):
            if found.top == "relay_trio" or found.top in sys.stdlib_module_names:
                continue
            doors = DOORS.get(found.top, set()) | (
                DOORS_FOR_TYPES.get(found.top, set()) if found.is_for_types else set()
            )
            if not is_at(path, doors):
                wrong.append(f"{name_of(path)}:{found.line} imports {found.module}")
    assert not wrong


def test_every_door_is_used() -> None:
    """A door that nobody goes through is closed, so that the list stays the truth."""
    unused = [
        f"{package}: {door}"
        for doors, is_for_types in ((DOORS, False), (DOORS_FOR_TYPES, True))
        for package, places in doors.items()
        for door in places
        if not any(
            found.top == package and found.is_for_types >= is_for_types
            for path in files()
            if is_at(path, {door})
            for found in imports(path)
        )
    ]
    assert not unused


def test_only_the_storage_knows_sqlite() -> None:
    """Its errors come out of there as StorageError, each with a message for the operator."""
    assert {name_of(path) for path in files() if any(found.top == "sqlite3" for found in imports(path))} == {
        "storage/sqlite.py"
    }


def test_only_one_file_knows_quarts_request() -> None:
    """Above it there is only the ``ClientRequest``, with what the client sent as it came."""
    found = {
        name_of(path)
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "quart" and any(a.name == "request" for a in node.names)
    }
    assert found == {"web/asgi.py"}


def test_statements_of_sql_stand_in_the_storage_and_in_the_two_stores() -> None:
    statement = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|BEGIN) ")
    found = {
        name_of(path)
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.match(node.value)
    }
    assert found == {"storage/sqlite.py", "storage/schema.py", "ledger/sqlite_store.py", "keys/key_store.py"}


def test_nothing_outside_a_vendors_folder_names_it() -> None:
    """What is known of a vendor is in its folder and in a line of the registry, so that another one is that alone."""
    names = {
        *PROVIDERS,
        *(dialect.name for dialect in DIALECTS),
        *(folder.name for folder in (PACKAGE / "vendors").iterdir() if folder.is_dir()),
    } - {"translations", "__pycache__"}
    found = vendor_names(PACKAGE, frozenset(names))
    assert {place.partition(":")[0] for place in found} == NAMES_A_VENDOR.keys(), found


def test_a_vendors_name_is_found(tmp_path: Path) -> None:
    """In each of the ways in which code could depend on one; not where it is an example or part of a word."""
    harmless = '"""As toy does."""\nlaws = "draws"  # toy\n'
    for text in ("toy_key = 1", "class ToyKey: ...", "x = 'a toy!'", "x.toy()", "f(toy=1)", "import toy", "x = b'toy'"):
        (tmp_path / "a.py").write_text(harmless + text)
        assert len(vendor_names(tmp_path, frozenset({"toy"}))) == 1, text
    (tmp_path / "a.py").write_text(harmless)
    (tmp_path / "vendors").mkdir()
    (tmp_path / "vendors" / "toy.py").write_text("toy = 1")
    assert vendor_names(tmp_path, frozenset({"toy"})) == []
    (tmp_path / "toy.py").write_text("")
    assert vendor_names(tmp_path, frozenset({"toy"})) == ["toy.py:0 'toy.py'"]


def test_no_module_knows_asyncio() -> None:
    wrong = [name_of(path) for path in files() if any(found.top in ("asyncio", "anyio") for found in imports(path))]
    assert not wrong


def holds_only_values(path: Path) -> bool:
    """Whether a module defines only values, protocols and constants: no function of it does more than one thing, so
    what it promises is tested where it is used."""
    return all(
        len(function.body) - (ast.get_docstring(function) is not None) <= 1
        for function in ast.walk(tree(path))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def test_every_module_has_a_mirrored_test() -> None:
    """A module of values alone needs none of its own."""
    missing = [
        name_of(path)
        for path in files()
        if path.name != "__init__.py"
        and name_of(path) not in NO_TEST_OF_ITS_OWN
        and not holds_only_values(path)
        and not (TESTS / path.relative_to(PACKAGE).parent / f"test_{path.name}").is_file()
    ]
    assert not missing


def test_a_package_file_holds_no_code_of_its_own() -> None:
    """A docstring, re-exports and the version: nothing that would need a test."""
    wrong = [
        f"{name_of(path)}:{statement.lineno}"
        for path in files()
        if path.name == "__init__.py"
        for statement in tree(path).body
        if not (
            isinstance(statement, ast.ImportFrom)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            or (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in ("__all__", "__version__"))
        )
    ]
    assert not wrong


def test_every_module_says_what_lives_in_it() -> None:
    assert not [name_of(path) for path in files() if not ast.get_docstring(tree(path))]


def test_no_module_is_too_long_to_read_in_one_sitting() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in files()}
    assert {name for name, lines in lengths.items() if lines > LARGEST_FILE_LINES} == LONGER_FILES.keys()


def async_functions(node: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    """Functions of modules and classes; those inside other functions belong to them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AsyncFunctionDef):
            yield f"{name}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from async_functions(child, f"{name}{child.name}.")
        elif not isinstance(child, ast.FunctionDef):
            yield from async_functions(child, name)


def is_private(name: str) -> bool:
    return any(word.startswith("_") and not word.startswith("__") for word in name.split("."))


def test_every_public_async_function_says_what_happens_when_it_is_cancelled() -> None:
    """``__aenter__``, ``__aexit__`` and ``__anext__`` are public too: their ``await`` is only written differently.

    Either "Cancelled here: …" (STYLE names the four forms), "If cancelled, …", or "Not cancellable …".
    """
    silent = [
        f"{name_of(path)}:{function.lineno} {name}"
        for path in files()
        for name, function in async_functions(tree(path))
        if not is_private(name) and "cancel" not in (ast.get_docstring(function) or "").lower()
    ]
    assert not silent


def test_no_async_function_takes_a_timeout() -> None:
    """Deadlines belong to the caller."""
    wrong = [
        f"{name_of(path)}:{function.lineno} {name}"
        for path in files()
        for name, function in async_functions(tree(path))
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.arg in ("timeout", "deadline", "timeout_seconds")
    ]
    assert not wrong
