"""``relay-trio usage``: what was used, by whom, what it cost, and how much of it was counted on cut answers."""

import csv
import json
import sys
import time
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from relay_trio.aligned import aligned
from relay_trio.cli.duration import duration_seconds
from relay_trio.cli.print_problems import print_problems
from relay_trio.config import ConfigError, DatabaseSettings, load_for_database
from relay_trio.keys.client_key import id_in_file
from relay_trio.keys.key_store import read_key_store
from relay_trio.ledger.report import Grouping, Missing, UsageLine, total, with_names
from relay_trio.ledger.sqlite_store import open_report
from relay_trio.storage.storage_error import StorageError

_SHOWN = 8
"""Models without a price, and notes, that are named below the table; JSON has all of them."""

_COLUMNS = ("requests", "gone", "input", "cache write", "cache read", "output", "USD", "of which partial")


def usage(
    *,
    by: Annotated[Grouping, Parameter(help="What to sum over.")] = "key",
    since: Annotated[str, Parameter(help="How far back: 90s, 30m, 24h, 7d.")] = "24h",
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")] = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV.")] = False,
    config: Annotated[Path, Parameter(help="The relay.toml that names the database.")] = Path("relay.toml"),
) -> int:
    """Sum up the ledger. "of which partial" are tokens last seen on answers that were cut.

    JSON has "by", "since" in epoch seconds, "lines", and their "total". A line has "group", for a key its "name", and
    the sums.
    """
    if as_json and as_csv:
        print("--json and --csv exclude each other", file=sys.stderr)
        return 2
    try:
        start = max(0.0, time.time() - duration_seconds(since))
    except ValueError as error:
        print(f"--since {error}", file=sys.stderr)
        return 2
    try:
        lines, missing = _sums(load_for_database(config), by, start)
    except ConfigError as error:
        print_problems(config, error.problems, end="Nothing was done.")
        return 1
    except StorageError as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        sums = {"by": by, "since": start, "lines": [asdict(line) for line in lines], "total": _total(lines)}
        print(json.dumps(sums | asdict(missing)))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(field.name for field in fields(UsageLine))
        writer.writerows(asdict(line).values() for line in lines)
    else:
        _print_table(lines, by, start, missing)
    return 0


def _sums(found: DatabaseSettings, by: Grouping, start: float) -> tuple[list[UsageLine], Missing]:
    """The sums, with the names of keys, and what they do not hold. Raises StorageError."""
    with open_report(found.server.ledger) as report:
        lines, missing = report.usage_by(by, start), report.missing(start)
    if by == "key":
        with read_key_store(found.server.ledger) as store:
            names = {key.id: key.name for key in store.all_keys()}
        lines = with_names(lines, names | {id_in_file(name): name for name in found.key_names})
    return lines, missing


def _total(lines: list[UsageLine]) -> dict[str, object]:
    sums = asdict(total(lines))
    del sums["group"], sums["name"]
    return sums


def _print_table(lines: list[UsageLine], by: str, start: float, missing: Missing) -> None:
    since = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not lines:
        print(f"No requests since {since}.")
        return
    print(f"since {since}")
    everything = total(lines)
    rows = [_row(line) for line in (*lines, everything)]
    print("\n".join(aligned([(by, *_COLUMNS), *rows], numbers_from=1)))
    if everything.unpriced:
        print(
            f"{everything.unpriced:,} requests used tokens of models without a known price; USD does not hold them: "
            + _listed(missing.unpriced_models)
        )
    if everything.partly_priced:
        print(
            f"{everything.partly_priced:,} requests had something without a known price; USD does not hold that: "
            + _listed(missing.cost_notes)
        )


def _listed(counts: dict[str, int]) -> str:
    """The first few of ``counts`` in words: ``claude-sim (3), other (1)``."""
    shown = [f"{_printable(name)} ({count:,})" for name, count in list(counts.items())[:_SHOWN]]
    return ", ".join(shown if len(counts) <= _SHOWN else [*shown, f"and {len(counts) - _SHOWN:,} more"])


def _row(line: UsageLine) -> tuple[str, ...]:
    counts = (line.requests, line.gone, line.input_tokens, line.cache_creation_tokens, line.cache_read_tokens)
    name = line.name if line.group != id_in_file(line.name) else ""
    return (
        _printable(f"{line.group} {name}".rstrip()),
        *(f"{count:,}" for count in (*counts, line.output_tokens)),
        f"{line.usd:,.4f}",
        f"{line.of_which_partial:,}",
    )


def _printable(text: str) -> str:
    """Names of models come from clients: no control character of theirs reaches a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
