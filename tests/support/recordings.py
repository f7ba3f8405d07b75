"""Recorded answers of upstreams, with what is right to say about each: ours in tests/recordings, and a foreign corpus.

Ours are made by ``python -m tests.recordings.record``, which README beside them explains.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay_trio.errors import RelayError
from relay_trio.http import ResponseHead, header
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.vendors.registry import PROVIDERS
from tests.support.vendor_samples import ClientCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.http import Headers

OURS = Path(__file__).parents[1] / "recordings"

_FIELDS = ("input", "output", "cache_creation", "cache_read")


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer of an upstream of ``provider`` to a client's request.

    ``body`` is as it came over the wire: without HTTP's chunks, still compressed. ``ends``: ``complete``, ``cut``, or
    ``error`` where the stream reports one. ``usage`` is what the ledger books.
    """

    provider: str
    name: str
    operation: str
    call: ClientCall
    head: ResponseHead
    body: bytes = field(repr=False)
    ends: str = "complete"
    usage: UsageStats = NO_USAGE

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"

    @property
    def is_gzip(self) -> bool:
        return header(self.head.headers, b"content-encoding") == b"gzip"

    @property
    def is_good(self) -> bool:
        """Whether it is an answer, cut or not, and no refusal."""
        return self.head.status == 200

    @property
    def is_stream(self) -> bool:
        return self.checked.is_stream

    @property
    def checked(self) -> CheckedRequest:
        """The client's request as the relay hands it to a provider."""
        return self.call.checked()

    @property
    def plain(self) -> bytes:
        """The body without compression."""
        return gzip.decompress(self.body) if self.is_gzip else self.body

    @property
    def tokens(self) -> dict[str, int]:
        """The usage by the names of the ledger's columns."""
        return {
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cache_creation_tokens": self.usage.cache_creation_tokens,
            "cache_read_tokens": self.usage.cache_read_tokens,
            "total_tokens": self.usage.total_tokens,
        }

    def document(self) -> dict[str, Any]:
        """What stands in the file beside the body."""
        sent = json.loads(self.call.body) if self.call.body else None
        is_counted = self.usage.source is not UsageSource.NONE
        counts = (self.usage.input_tokens, self.usage.output_tokens, self.usage.cache_creation_tokens,
                  self.usage.cache_read_tokens)  # fmt: skip
        return {
            "operation": self.operation,
            "request": {
                "method": self.call.method,
                "target": self.call.target,
                "headers": _texts(self.call.headers),
                "body": sent,
            },
            "response": {"status": self.head.status, "headers": _texts(self.head.headers)},
            "ends": self.ends,
            "usage": dict(zip(_FIELDS, counts, strict=True)) if is_counted else None,
        }

    def write(self, folder: Path) -> None:
        place = folder / self.provider
        place.mkdir(exist_ok=True)
        (place / f"{self.name}.body").write_bytes(self.body)
        (place / f"{self.name}.json").write_text(json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n")


def _texts(headers: list[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[name.decode(), value.decode("latin-1")] for name, value in headers]


def _fields(headers: Iterable[Sequence[str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


@cache
def ours() -> tuple[Recording, ...]:
    """Every recording in the tree."""
    return tuple(_read(path) for path in sorted(OURS.glob("*/*.json")))


def ours_of(provider: str, operation: str | None = None) -> list[Recording]:
    """Those of one provider, of one of its operations if it is named."""
    return [each for each in ours() if each.provider == provider and operation in (None, each.operation)]


def _read(path: Path) -> Recording:
    document = json.loads(path.read_text())
    request, response = document["request"], document["response"]
    body = b"" if request["body"] is None else json.dumps(request["body"]).encode()
    return Recording(
        provider=path.parent.name,
        name=path.stem,
        operation=document["operation"],
        call=ClientCall(request["method"], request["target"], _fields(request["headers"]), body),
        head=ResponseHead(response["status"], _fields(response["headers"])),
        body=path.with_suffix(".body").read_bytes(),
        ends=document["ends"],
        usage=usage_of(document["usage"], is_exact=document["ends"] == "complete"),
    )


# --- the foreign corpus -------------------------------------------------------------------------------------------

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_UNRECORDED: dict[str, object] = {"model": "claude-sim", "messages": [], "contents": [{"parts": [{"text": "a"}]}]}
"""In place of a body that the corpus does not have."""


def foreign(corpus: Path) -> list[Recording]:
    """What a corpus holds of the operations that a provider of the registry serves."""
    expected = json.loads((corpus / "expected_usage.json").read_text())["recordings"]
    found = []
    for row in json.loads((corpus / "recordings" / "INDEX.json").read_text()):
        provider, _, name = row["name"].partition("/")
        stem = corpus / "recordings" / row["name"]
        meta = json.loads(stem.with_suffix(".meta.json").read_text())
        request, response = meta["request"], meta["response"]
        fields = [field for field in _fields(list(response["headers"].items())) if field[0] not in _FRAMING]
        document = request["body"] if isinstance(request["body"], dict) else _UNRECORDED
        body = b"" if request["method"] == "GET" else json.dumps(document).encode()
        is_gzip = header(fields, b"content-encoding") == b"gzip"
        accepted = [(b"accept-encoding", b"gzip, deflate, br")] if is_gzip else []
        call = ClientCall(request["method"], request["path"], accepted, body)
        operation = _operation_at(provider, call)
        if operation is not None:
            found.append(
                Recording(
                    provider=provider,
                    name=name,
                    operation=operation,
                    call=call,
                    head=ResponseHead(response["status"], fields),
                    body=stem.with_suffix(".body").read_bytes(),
                    usage=usage_of(expected[row["name"]] or _counted_by(fields)),
                )
            )
    return found


def _operation_at(provider: str, call: ClientCall) -> str | None:
    """The operation that ``call`` is, if ``provider`` serves it."""
    try:
        operation = call.match.operation.name
    except RelayError:
        return None
    return operation if provider in PROVIDERS and operation in PROVIDERS[provider].calls else None


def _counted_by(fields: Headers) -> dict[str, int] | None:
    """What Bedrock counted beside an answer whose body has no usage; the corpus expects what bodies have."""
    counts = [header(fields, b"x-amzn-bedrock-%b-token-count" % kind) for kind in (b"input", b"output")]
    if None in counts:
        return None
    return dict(zip(_FIELDS, (*(int(count or 0) for count in counts), 0, 0), strict=True))


def usage_of(counts: dict[str, int] | None, *, is_exact: bool = True) -> UsageStats:
    """``counts`` by the names that files have for them; None: nothing was seen."""
    if counts is None:
        return NO_USAGE
    source = UsageSource.EXACT if is_exact else UsageSource.PARTIAL
    stats = UsageStats(*(counts[name] for name in _FIELDS), source)
    assert counts.get("total", stats.total_tokens) == stats.total_tokens
    return stats


def tokens(usage: UsageStats) -> UsageStats:
    """The four counts of ``usage`` and their source, which is all that files have."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_creation_tokens, usage.cache_read_tokens)
    return UsageStats(*counts, usage.source)
