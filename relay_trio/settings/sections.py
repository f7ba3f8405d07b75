"""What can be set, with units, defaults and ranges: the one place they are written down, but for the accounts.

The descriptions here become the comments of the file that ``relay-trio init`` writes and the JSON schema, so neither
can drift. Nothing here reads a file or the environment (``config`` does). A setting that is not built is not here,
and relay.toml refuses it as it refuses a typo. pydantic evaluates the annotations, so they are not postponed.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from relay_trio import __version__
from relay_trio.settings.listener import Listener
from relay_trio.settings.values import (
    Count,
    FilePath,
    HeaderText,
    ListenerSetting,
    ListenerSettings,
    Name,
    Number,
    OptionalProxyUrl,
    OptionalSecret,
    Origins,
    Patterns,
    Seconds,
    Secret,
    SigningSecret,
)


class Section(BaseModel):
    """A table of relay.toml. Its docstring is its comment in the written file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class ServerSettings(Section):
    """Where clients connect, and how the process behaves."""

    listeners: ListenerSettings = Field(
        default=(Listener("127.0.0.1", 8400),),
        json_schema_extra={"default": ["127.0.0.1:8400"]},
        description="host:port or unix:/path; a public address needs keys, and TLS or allow_insecure",
    )
    tls_cert: FilePath | None = Field(default=None, description="PEM file: certificate chain", examples=["cert.pem"])
    tls_key: FilePath | None = Field(default=None, description="PEM file: private key", examples=["key.pem"])
    http2: bool = Field(default=True, description="serve HTTP/2 as well: by ALPN, or by prior knowledge on plain http")
    drain_seconds: Number = Field(
        default=120.0, ge=0, le=86400, description="what running streams get after SIGTERM before they are cut"
    )
    max_body_bytes: Count = Field(
        default=33_554_432, ge=1024, le=2**30, description="largest request body; the Messages API's own limit is 32 MB"
    )
    ledger: FilePath = Field(
        default=Path("relay.db"), validate_default=True, description="SQLite file, relative to this file"
    )
    allow_insecure: bool = Field(default=False, description="allow plain http on public addresses and to upstreams")
    cors_origins: Origins = Field(
        default=(), description="web pages that may send requests from a browser", examples=[["https://app.example"]]
    )
    sigv4_secret: SigningSecret | None = Field(
        default=None,
        description="lets clients sign with a pair that keys create prints; 32 characters or more, random",
        examples=["env:RELAY_SIGV4_SECRET"],
    )

    @model_validator(mode="after")
    def _has_both_halves_of_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing, given = ("tls_key", "tls_cert") if self.tls_key is None else ("tls_cert", "tls_key")
            raise PydanticCustomError("tls", "is needed, because {given} is set", {"key": missing, "given": given})
        return self


class AdminSettings(Section):
    """Where operators connect: health, invariants and the task tree, never on the listeners for clients."""

    listener: ListenerSetting = Field(
        default=Listener("127.0.0.1", 8401),
        json_schema_extra={"default": "127.0.0.1:8401"},
        description="host:port or unix:/path; beyond loopback it needs a token",
    )
    token: OptionalSecret = Field(
        default=None, description="what operators send as a bearer token", examples=["env:RELAY_ADMIN_TOKEN"]
    )

    @model_validator(mode="after")
    def _public_needs_a_token(self) -> Self:
        if self.listener.is_public and self.token is None:
            raise PydanticCustomError(
                "admin_token",
                "must be on loopback or a unix socket unless admin.token is set, got {listener}",
                {"key": "listener", "listener": str(self.listener)},
            )
        return self


class TimeoutSettings(Section):
    """Every limit on time; each has its own outcome code."""

    connect_timeout_seconds: Seconds = Field(default=5.0, description="to an upstream: DNS, TCP and TLS")
    first_byte_timeout_seconds: Seconds = Field(default=120.0, description="from request sent to the first event")
    whole_answer_timeout_seconds: Seconds = Field(
        default=600.0, description="from request sent to the beginning of an answer that is no stream"
    )
    idle_timeout_seconds: Seconds = Field(default=300.0, description="between two chunks of an upstream")
    total_timeout_seconds: Seconds = Field(default=3600.0, description="of one request to an upstream")
    head_timeout_seconds: Seconds = Field(default=10.0, description="for a client's request head")
    body_idle_timeout_seconds: Seconds = Field(default=30.0, description="between two parts of a client's body")
    body_total_timeout_seconds: Seconds = Field(default=120.0, description="for a client's whole body")
    write_timeout_seconds: Seconds = Field(default=30.0, description="a client that stops reading is reset after this")


class UpstreamSettings(Section):
    """The way to the upstreams. HTTP_PROXY, SSL_CERT_FILE and their kin in the environment are never read."""

    ca_file: FilePath | None = Field(
        default=None,
        description="PEM file of the certificates to trust, in place of the system's store",
        examples=["ca.pem"],
    )
    proxy: OptionalProxyUrl = Field(
        default=None,
        description="http://host:port or http://user:password@host:port, for every account",
        examples=["env:RELAY_UPSTREAM_PROXY"],
    )
    user_agent: HeaderText = Field(
        default=f"relay-trio/{__version__}", description="what the relay calls itself in every request to an upstream"
    )


class QueueSettings(Section):
    """Where requests wait for a slot."""

    max_waiting: Count = Field(default=1000, ge=0, le=1_000_000, description="beyond it: refused at once")
    queue_timeout_seconds: Seconds = Field(default=30.0, description="longest wait for a slot")


class RetrySettings(Section):
    """Trying another account, only before the client has seen a byte."""

    enabled: bool = Field(default=True, description="false: one account for each request")
    max_attempts: Count = Field(
        default=3, ge=1, le=20, description="accounts tried for one request, the first included"
    )
    budget_ratio: Number = Field(
        default=0.2, ge=0, le=1, description="retries at most this share of the active requests"
    )
    budget_min_concurrent: Count = Field(
        default=3, ge=0, le=1_000_000, description="retries that are always allowed at one time"
    )
    after_timeout: bool = Field(
        default=False,
        description="true: also for an answer that is no stream and did not come in time, which may then be paid twice",
    )


class BreakerSettings(Section):
    """Taking a failing account out of rotation for a while; never the last one."""

    enabled: bool = Field(
        default=True, description="false: no account is ejected; a 429 and its Retry-After are still obeyed"
    )
    strikes: Count = Field(default=5, ge=1, le=1_000_000, description="failures in a row before an account is ejected")
    eject_seconds: Seconds = Field(
        default=30.0, description="for the first time; twice this the second time, and so on"
    )
    eject_max_seconds: Seconds = Field(default=300.0, description="longest ejection")
    retry_after_max_seconds: Seconds = Field(default=300.0, description="longest Retry-After of an upstream obeyed")

    @model_validator(mode="after")
    def _longest_is_longest(self) -> Self:
        if self.eject_max_seconds < self.eject_seconds:
            low = f"{self.eject_seconds:g}"
            raise PydanticCustomError(
                "eject", "must not be less than eject_seconds ({low})", {"key": "eject_max_seconds", "low": low}
            )
        return self


class LoggingSettings(Section):
    """One line for each ended request. Bodies are never logged."""

    format: Literal["auto", "pretty", "json"] = Field(
        default="auto", description="auto: pretty on a terminal, else JSON"
    )


class KeySettings(Section):
    """A client key kept here instead of in the database; repeat the table for each."""

    name: Name = Field(description="shown in logs and usage", examples=["team-x"])
    secret: Secret = Field(
        description="env:NAME or file:/path (chmod 600); what the client sends", examples=["env:RELAY_KEY_TEAM_X"]
    )
    models: Patterns = Field(default=("*",), description="models this key may use, as glob patterns")
