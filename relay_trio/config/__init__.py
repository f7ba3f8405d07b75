"""relay.toml and the environment, read once into frozen settings; every problem is reported at one time.

``settings`` and ``values`` are what can be set; ``layers`` and ``references`` read it; ``loading`` judges each table
and ``consistency`` all of them together; ``problems`` words what is wrong. The file is the only truth for accounts;
the environment may override the plain sections.
"""

from relay_trio.config.consistency import public_bind_problems
from relay_trio.config.listener import Listener, is_loopback_host
from relay_trio.config.loading import DatabaseSettings, load, load_for_database
from relay_trio.config.problems import ConfigError, Problem
from relay_trio.config.settings import (
    PROVIDERS,
    AccountSettings,
    AdminSettings,
    BreakerSettings,
    KeySettings,
    LoggingSettings,
    QueueSettings,
    RetrySettings,
    ServerSettings,
    Settings,
    TimeoutSettings,
    UpstreamSettings,
)

__all__ = [
    "PROVIDERS",
    "AccountSettings",
    "AdminSettings",
    "BreakerSettings",
    "ConfigError",
    "DatabaseSettings",
    "KeySettings",
    "Listener",
    "LoggingSettings",
    "Problem",
    "QueueSettings",
    "RetrySettings",
    "ServerSettings",
    "Settings",
    "TimeoutSettings",
    "UpstreamSettings",
    "is_loopback_host",
    "load",
    "load_for_database",
    "public_bind_problems",
]
