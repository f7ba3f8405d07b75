"""The sections of relay.toml that concern no vendor, with units, defaults and ranges. Nothing here reads a file."""

from relay_trio.settings.listener import Listener, is_loopback_host
from relay_trio.settings.sections import (
    PROVIDERS,
    AccountSettings,
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
    "PROVIDERS",
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
