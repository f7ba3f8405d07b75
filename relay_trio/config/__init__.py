"""relay.toml and the environment, read once into frozen settings; every problem is reported at one time.

``root`` is the whole of what can be set. ``layers`` and ``references`` read it, ``loading`` checks each table and
``consistency`` all of them together, and ``problems`` writes the messages. Accounts and keys stand in the file only;
the environment may override the plain sections. ``current`` holds the settings that count while the relay runs, and
``reload`` compares them with others.
"""

from relay_trio.config.consistency import start_problems
from relay_trio.config.loading import DatabaseSettings, load, load_for_database
from relay_trio.config.problems import ConfigError, Problem
from relay_trio.config.root import Settings

__all__ = [
    "ConfigError",
    "DatabaseSettings",
    "Problem",
    "Settings",
    "load",
    "load_for_database",
    "start_problems",
]
