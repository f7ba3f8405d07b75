"""What of a Claude client's request goes to Bedrock: each half of a capability goes or stays with the other half.

The body is changed as text. Only system, tools and messages in which a name stands that the table knows are taken
apart, and every part that stays is the text that it was.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from relay_trio.vendors.translations.capabilities import (
    CACHE_SCOPE,
    CAPABILITIES,
    MEMBERS,
    TOOL_SEARCH,
    UNKNOWN_BETA,
    UNKNOWN_MEMBER,
)
from relay_trio.wire.json_text import element_texts, member_texts, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from relay_trio.vendors.translations.capabilities import Capability

_SHOWN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_KNOWN_BETAS = [beta for row in CAPABILITIES for beta in row.betas]
_KNOWN_MEMBERS = {*MEMBERS, *(member for row in CAPABILITIES for member in row.members)}
_WORDS = re.compile(
    '"(?:scope"|tool_reference"|'
    + "|".join(re.escape(name) + '"' for row in CAPABILITIES for name in row.tool_members)
    + "".join("|" + re.escape(pattern.rstrip("*")) for row in CAPABILITIES for pattern in row.tool_types)
    + ")"
)


class Bridge:
    """What goes to one account of one request, and what was left out. ``passed`` are the patterns of betas, members and
    capabilities that the account takes though the table does not say so."""

    def __init__(self, passed: Sequence[str]) -> None:
        self._passed = passed
        self._dropped: dict[str, None] = {}
        self._lacking = lacking = _lacking(tuple(passed))
        self._members = {member: row.name for row in lacking for member in row.members}
        self._tool_members = {member: row.name for row in lacking for member in row.tool_members}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The capabilities that were left out, and what no row of the table has, such as ``beta:new-2026-11-01``."""
        return tuple(self._dropped)

    def betas(self, sent: Iterable[str]) -> list[str]:
        """The betas that go out."""
        return [beta for beta in sent if self._has_beta(beta)]

    def member(self, name: str, text: str) -> str | None:
        """The text of a top-level member as it goes out; None: it does not."""
        if name in self._members:
            self._drop(self._members[name])
            return None
        if name not in _KNOWN_MEMBERS and not _is_any(name, self._passed):
            self._drop(f"{UNKNOWN_MEMBER}:{name}" if _SHOWN_NAME.fullmatch(name) else UNKNOWN_MEMBER)
            return None
        if name == "tools":
            return self._altered(text, self._tools)
        if name == "system":
            return self._altered(text, self._blocks)
        if name == "messages":
            return self._altered(text, self._messages)
        return text

    # --- the parts of the body ----------------------------------------------------------------------------------------

    def _altered(self, member: str, alter: Callable[[str], str]) -> str:
        """``member`` with its value, a list, altered; as it is where no word in it is of the table."""
        value = value_text(member)
        if not value.startswith("[") or not _may_lack(value):
            return member
        return member[: len(member) - len(value)] + alter(value)

    def _tools(self, tools: str) -> str:
        return _list(tool for each in element_texts(tools) if (tool := self._tool(each)) is not None)

    def _tool(self, tool: str) -> str | None:
        if not tool.startswith("{") or not _may_lack(tool):
            return tool
        kept, is_altered = [], False
        for name, text in member_texts(tool):
            if name == "type":
                kind = _string(text)
                if self._lacks(row for row in self._lacking if _is_any(kind, row.tool_types)):
                    return None
            if name in self._tool_members:
                self._drop(self._tool_members[name])
                is_altered = True
                continue
            changed = self._without_scope(text) if name == "cache_control" else text
            is_altered = is_altered or changed is not text
            kept.append(changed)
        return _object(kept) if is_altered else tool

    def _messages(self, messages: str) -> str:
        return _list(self._message(each) for each in element_texts(messages))

    def _message(self, message: str) -> str:
        return self._with_blocks(message) if _may_lack(message) else message

    def _blocks(self, blocks: str) -> str:
        return _list(self._block(each) for each in element_texts(blocks))

    def _block(self, block: str) -> str:
        if not block.startswith("{") or not _may_lack(block):
            return block
        members = dict(member_texts(block))
        if _string(members.get("type", "")) == "tool_reference" and self._lacks_named(TOOL_SEARCH):
            name = _string(members.get("tool_name", "")) or "a tool"
            return json.dumps({"type": "text", "text": f"{name} is available"})
        return self._with_blocks(block)

    def _with_blocks(self, owner: str) -> str:
        """A message or a block, with the blocks of its ``content`` and its own ``cache_control``. Nothing else of it
        is looked at: the input of a tool is the model's own text."""
        if not owner.startswith("{"):
            return owner
        kept = []
        for name, text in member_texts(owner):
            if name == "content":
                kept.append(self._altered(text, self._blocks))
            else:
                kept.append(self._without_scope(text) if name == "cache_control" else text)
        return _object(kept)

    def _without_scope(self, member: str) -> str:
        value = value_text(member)
        if not value.startswith("{"):
            return member
        members = member_texts(value)
        kept = [text for name, text in members if name != "scope"]
        if len(kept) == len(members) or not self._lacks_named(CACHE_SCOPE):
            return member
        return member[: len(member) - len(value)] + _object(kept)

    # --- the table ----------------------------------------------------------------------------------------------------

    def _has_beta(self, beta: str) -> bool:
        if self._lacks(row for row in self._lacking if _is_any(beta, row.betas)):
            return False
        if _is_any(beta, _KNOWN_BETAS) or _is_any(beta, self._passed):
            return True
        self._drop(f"{UNKNOWN_BETA}:{beta}")
        return False

    def _lacks_named(self, name: str) -> bool:
        return self._lacks(row for row in self._lacking if row.name == name)

    def _lacks(self, rows: Iterator[Capability]) -> bool:
        """Whether there is one of ``rows``, a capability that is left out; it is noted."""
        row = next(rows, None)
        if row is not None:
            self._drop(row.name)
        return row is not None

    def _drop(self, name: str) -> None:
        self._dropped[name] = None


@lru_cache(maxsize=64)
def _lacking(passed: tuple[str, ...]) -> tuple[Capability, ...]:
    """The rows of what does not go out."""
    return tuple(row for row in CAPABILITIES if not (row.bedrock or any(map(row.is_meant_by, passed))))


def _may_lack(text: str) -> bool:
    """Whether a text may hold a half of a capability, by one search for all of them: most do not, and are long."""
    return _WORDS.search(text) is not None


def _string(member: str) -> str:
    """The value of a member where that is a string; else empty."""
    value = json.loads(value_text(member)) if member else ""
    return value if isinstance(value, str) else ""


def _object(members: Iterable[str]) -> str:
    return "{" + ",".join(members) + "}"


def _list(elements: Iterable[str]) -> str:
    return "[" + ",".join(elements) + "]"


def _is_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
