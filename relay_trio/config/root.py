"""Everything in relay.toml."""

from relay_trio.settings.sections import (
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
    _Section,
)


class Settings(_Section):
    """Everything in relay.toml."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    queue: QueueSettings = QueueSettings()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    logging: LoggingSettings = LoggingSettings()
    account: tuple[AccountSettings, ...] = ()
    key: tuple[KeySettings, ...] = ()
