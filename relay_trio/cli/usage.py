"""``relay-trio usage``: what was used, by whom, what it cost, and how much of it was counted on cut answers."""

import csv
import json
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from relay_trio.aligned import aligned
from relay_trio.cli.duration import duration_seconds
from relay_trio.cli.problems import print_problems
from relay_trio.config import ConfigError, load_for_database
from relay_trio.ledger.report import UsageLine, total, usage_by
from relay_trio.storage.sqlite import DatabaseError, explained, open_read_only

_COLUMNS = ("requests", "gone", "input", "cache write", "cache read", "output", "USD", "of which partial")


def usage(
    *,
    by: Annotated[Literal["key", "account", "model", "day", "outcome"], Parameter(help="What to sum over.")] = "key",
    since: Annotated[str, Parameter(help="How far back: 90s, 30m, 24h, 7d.")] = "24h",
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")] = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV.")] = False,
    config: Annotated[Path, Parameter(help="The relay.toml that names the database.")] = Path("relay.toml"),
) -> int:
    """Sum up the ledger. "of which partial" are tokens last seen on answers that were cut."""
    if as_json and as_csv:
        print("--json and --csv exclude each other", file=sys.stderr)
        return 2
    try:
        start = max(0.0, time.time() - duration_seconds(since))
    except ValueError as error:
        print(f"--since {error}", file=sys.stderr)
        return 2
    try:
        lines = _lines(load_for_database(config).server.ledger, by, start)
    except ConfigError as error:
        print_problems(config, error.problems)
        return 1
    except DatabaseError as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps({"by": by, "since": start, "lines": [asdict(line) for line in lines], "total": _total(lines)}))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(field.name for field in fields(UsageLine))
        writer.writerows(asdict(line).values() for line in lines)
    else:
        _print_table(lines, by, start)
    return 0


def _lines(ledger: Path, by: str, start: float) -> list[UsageLine]:
    """As ``usage_by``; raises DatabaseError."""
    with closing(open_read_only(ledger)) as database:
        try:
            return usage_by(database, by, start)
        except sqlite3.Error as error:
            raise explained(ledger, error) from None


def _total(lines: list[UsageLine]) -> dict[str, object]:
    sums = asdict(total(lines))
    del sums["group"]
    return sums


def _print_table(lines: list[UsageLine], by: str, start: float) -> None:
    since = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not lines:
        print(f"No requests since {since}.")
        return
    print(f"since {since}")
    everything = total(lines)
    rows = [_row(line) for line in (*lines, everything)]
    print("\n".join(aligned([(by, *_COLUMNS), *rows], numbers_from=1)))
    if everything.unpriced:
        print(f"{everything.unpriced:,} requests used tokens of models without a known price; USD does not hold them.")


def _row(line: UsageLine) -> tuple[str, ...]:
    counts = (line.requests, line.gone, line.input_tokens, line.cache_creation_tokens, line.cache_read_tokens)
    name = _printable(line.group)
    return (
        name,
        *(f"{count:,}" for count in (*counts, line.output_tokens)),
        f"{line.usd:,.4f}",
        f"{line.of_which_partial:,}",
    )


def _printable(text: str) -> str:
    """Names of models come from clients: no control character of theirs reaches a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
