"""Where a package names a vendor: in identifiers, in strings, in names of modules."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOMS = ("vendors/", "simulator/vendors/")
"""Where vendors are at home."""

BRANDS = frozenset({"anthropic", "amazon", "aws", "google", "openai"})
"""Names of vendors that are not those of their folders."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def vendor_names(package: Path, names: frozenset[str]) -> list[str]:
    """Each place of ``package`` outside the vendors' rooms that has one of ``names`` or of ``BRANDS`` as a word.

    Docstrings and comments may, as an example.
    """
    forbidden = names | BRANDS
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name.startswith(ROOMS):
            continue
        texts = [(0, name), *_texts(ast.parse(path.read_text()))]
        found += [f"{name}:{line} {text[:60]!r}" for line, text in texts if _words(text) & forbidden]
    return found


def _words(text: str) -> set[str]:
    """The words of an identifier or a sentence, in lower case: ``AwsAuth`` has two."""
    return {word.lower() for word in _WORD.findall(text)}


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each identifier and of each string that is no docstring."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str() as text) if id(node) not in docstrings:
                yield line, text
            case ast.Constant(value=bytes() as data):
                yield line, data.decode("latin-1")
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str() as text):
                yield line, text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield line, text
            case ast.alias(name=text, asname=other):
                yield line, f"{text} {other or ''}"
            case ast.ImportFrom(module=str() as text):
                yield line, text
