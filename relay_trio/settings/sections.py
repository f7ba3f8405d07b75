"""What can be set, with units, defaults and ranges: the one place they are written down.

The descriptions here become the comments of the file that ``relay-trio init`` writes and the JSON schema, so neither
can drift. Nothing here reads a file or the environment (``loading`` does). A setting that is not built is not here,
and relay.toml refuses it as it refuses a typo. pydantic evaluates the annotations, so they are not postponed.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from relay_trio.settings.bedrock import bedrock_problems, with_bedrock_defaults
from relay_trio.settings.listener import Listener
from relay_trio.settings.values import (
    BaseUrl,
    Command,
    Count,
    FilePath,
    ListenerSetting,
    ListenerSettings,
    ModelIds,
    Name,
    Number,
    OptionalProxyUrl,
    OptionalSecret,
    OptionalSecretText,
    Patterns,
    RoleArn,
    Seconds,
    Secret,
    SigningSecret,
)
from relay_trio.settings.vertex import vertex_problems

PROVIDERS = ("anthropic", "bedrock", "gemini", "vertex")
"""Names that ``[[account]] provider`` may have: one for each line of ``providers/registry``."""


_WITHOUT_API_KEY = {"bedrock", "vertex"}
"""Providers that can be proved to in another way."""


def _provider(value: str) -> str:
    if value not in PROVIDERS:
        raise PydanticCustomError("choice", "must be one of {expected}", {"expected": ", ".join(PROVIDERS)})
    return value


class _Section(BaseModel):
    """A table of relay.toml. Its docstring is its comment in the written file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class ServerSettings(_Section):
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
    ledger: FilePath = Field(default=Path("relay.db"), description="SQLite file, relative to this file")
    allow_insecure: bool = Field(default=False, description="allow plain http on public addresses and to upstreams")
    sigv4_secret: SigningSecret | None = Field(
        default=None,
        description="lets AWS clients sign with the pair that keys create --aws prints; 32 characters or more, random",
        examples=["env:RELAY_SIGV4_SECRET"],
    )

    @model_validator(mode="after")
    def _has_both_halves_of_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing, given = ("tls_key", "tls_cert") if self.tls_key is None else ("tls_cert", "tls_key")
            raise PydanticCustomError("tls", "is needed, because {given} is set", {"key": missing, "given": given})
        return self


class AdminSettings(_Section):
    """Where operators connect: metrics and health, never on the listeners for clients."""

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


class TimeoutSettings(_Section):
    """Every limit on time; each has its own outcome code."""

    connect_timeout_seconds: Seconds = Field(default=5.0, description="to an upstream: DNS, TCP and TLS")
    first_byte_timeout_seconds: Seconds = Field(default=120.0, description="from request sent to the answer's head")
    idle_timeout_seconds: Seconds = Field(default=90.0, description="between two chunks of an upstream")
    total_timeout_seconds: Seconds = Field(default=3600.0, description="of one request to an upstream")
    head_timeout_seconds: Seconds = Field(default=10.0, description="for a client's request head")
    body_idle_timeout_seconds: Seconds = Field(default=30.0, description="between two parts of a client's body")
    body_total_timeout_seconds: Seconds = Field(default=120.0, description="for a client's whole body")
    write_timeout_seconds: Seconds = Field(default=30.0, description="a client that stops reading is reset after this")


class UpstreamSettings(_Section):
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


class QueueSettings(_Section):
    """Where requests wait for a slot."""

    max_waiting: Count = Field(default=1000, ge=0, le=1_000_000, description="beyond it: refused at once")
    queue_timeout_seconds: Seconds = Field(default=30.0, description="longest wait for a slot")


class RetrySettings(_Section):
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


class BreakerSettings(_Section):
    """Taking a failing account out of rotation for a while; never the last one."""

    enabled: bool = Field(default=True, description="false: no account is ejected; Retry-After is still obeyed")
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


class LoggingSettings(_Section):
    """One line for each ended request. Bodies are never logged."""

    format: Literal["auto", "pretty", "json"] = Field(
        default="auto", description="auto: pretty on a terminal, else JSON"
    )


class AccountSettings(_Section):
    """One upstream account; repeat the table for each."""

    name: Name = Field(description="also the metric label", examples=["claude-a"])
    provider: Annotated[str, AfterValidator(_provider), Field(json_schema_extra={"enum": list(PROVIDERS)})] = Field(
        description=" | ".join(PROVIDERS), examples=["anthropic"]
    )
    api_key: OptionalSecret = Field(
        default=None,
        validate_default=True,
        description="env:NAME or file:/path (chmod 600), so that it stays out of this file",
        examples=["env:ANTHROPIC_API_KEY"],
    )
    max_concurrency: Count = Field(
        ge=1, le=100_000, description="slots: live requests to this account at one time", examples=[16]
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="default: the provider's own; http:// for loopback only, or with allow_insecure",
        examples=["https://api.anthropic.com"],
    )
    models: Patterns = Field(
        default=("*",), description="models this account serves, as glob patterns; bedrock: its own, and model_ids"
    )
    priority: Count = Field(default=0, ge=0, le=1000, description="lower first")
    weight: Count = Field(default=1, ge=1, le=1000, description="share among accounts of equal priority")
    connect_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[5.0])
    first_byte_timeout_seconds: Seconds | None = Field(
        default=None, description="overrides [timeouts]", examples=[120.0]
    )
    idle_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[90.0])
    total_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[3600.0])

    region: str | None = Field(default=None, description="bedrock: where", examples=["eu-central-1"])
    profile: Name | None = Field(
        default=None,
        description="bedrock: of ~/.aws; without api_key, profile or keys: environment, container or instance role",
        examples=["default"],
    )
    access_key_id: OptionalSecret = Field(
        default=None, description="bedrock: a fixed key pair", examples=["env:AWS_ACCESS_KEY_ID"]
    )
    secret_access_key: OptionalSecret = Field(
        default=None, description="bedrock: its other half", examples=["env:AWS_SECRET_ACCESS_KEY"]
    )
    session_token: OptionalSecret = Field(
        default=None, description="bedrock: if the pair is a temporary one", examples=["env:AWS_SESSION_TOKEN"]
    )
    assume_role_arn: RoleArn | None = Field(
        default=None,
        description="bedrock: a role to assume with what the above give",
        examples=["arn:aws:iam::123456789012:role/relay"],
    )
    model_ids: ModelIds = Field(
        default_factory=dict,
        description="bedrock: what Claude clients name, and its model id, inference profile or ARN",
        examples=[{"claude-sonnet-4-5": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"}],
    )

    project: str | None = Field(default=None, description="vertex: id of the Google Cloud project", examples=["my-ai"])
    location: str | None = Field(default=None, description="vertex: where", examples=["europe-west4"])
    credentials: OptionalSecretText = Field(
        default=None,
        description="vertex: Google's JSON; without it or a token the machine's own, with api_key express mode",
        examples=["file:service-account.json"],
    )
    token_command: Command | None = Field(
        default=None,
        description="vertex: program that prints an access token, asked again every 5 minutes",
        examples=[["gcloud", "auth", "print-access-token"]],
    )
    token_file: FilePath | None = Field(
        default=None,
        description="vertex: file with an access token, read again every 5 minutes",
        examples=["/run/secrets/vertex-token"],
    )

    @model_validator(mode="before")
    @classmethod
    def _with_defaults_of_its_provider(cls, table: Any) -> Any:
        return with_bedrock_defaults(table) if isinstance(table, dict) else table

    @field_validator("api_key")
    @classmethod
    def _api_key_is_needed(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A field's own check, so that it is reported beside whatever else is wrong."""
        if value is None and info.data.get("provider") not in _WITHOUT_API_KEY:
            raise PydanticCustomError("api_key", "is required")
        return value

    @model_validator(mode="after")
    def _fits_its_provider(self) -> Self:
        for key, message in (*bedrock_problems(self), *vertex_problems(self)):
            raise PydanticCustomError("provider", "{message}", {"key": key, "message": message})
        return self

    def timeouts_over(self, timeouts: TimeoutSettings) -> TimeoutSettings:
        """``timeouts`` with this account's own values in place of the four it may set."""
        own = {name: value for name in TimeoutSettings.model_fields if (value := getattr(self, name, None)) is not None}
        return timeouts.model_copy(update=own)


class KeySettings(_Section):
    """A client key kept here instead of in the database; repeat the table for each."""

    name: Name = Field(description="shown in logs and usage", examples=["team-x"])
    secret: Secret = Field(
        description="env:NAME or file:/path (chmod 600); what the client sends", examples=["env:RELAY_KEY_TEAM_X"]
    )
    models: Patterns = Field(default=("*",), description="models this key may use, as glob patterns")
