"""The sections of relay.toml, and what every account has, with units, defaults and ranges; no vendor is known here."""

from relay_trio.settings.account import AccountSettings
from relay_trio.settings.listener import Listener, is_loopback_host
from relay_trio.settings.sections import (
    AdminSettings,
    BreakerSettings,
    KeySettings,
    LoggingSettings,
    QueueSettings,
    RetrySettings,
    ServerSettings,
    TimeoutSettings,
    UpstreamSettings,
)

__all__ = [
    "AccountSettings",
    "AdminSettings",
    "BreakerSettings",
    "KeySettings",
    "Listener",
    "LoggingSettings",
    "QueueSettings",
    "RetrySettings",
    "ServerSettings",
    "TimeoutSettings",
    "UpstreamSettings",
    "is_loopback_host",
]
