"""``[[account]] provider = "bedrock"``: a region that exists, and one way to authenticate.

The region becomes part of a host name that credentials are sent to, so it is one of a list and never a client's text.
A region that is too new for the list is reached by naming its host in ``base_url``.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import Name, OptionalPatterns, OptionalSecret, Patterns
from relay_trio.suggestion import did_you_mean

REGIONS = frozenset({
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
    "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1",
    "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
})  # fmt: skip
"""Regions whose Bedrock is at ``bedrock-runtime.{region}.amazonaws.com``."""

_REGION = re.compile(r"[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}", re.ASCII)
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=,+!-]{0,2047}", re.ASCII)
_ROLE_ARN = re.compile(r"arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)

OWN_MODELS = ("[a-z]*.[a-z]*", "arn:*")
"""Bedrock's own names: ``vendor.model``, ``eu.vendor.model`` and ARNs. A dot with a digit after it is a version, as
``claude-2.1``, ``gpt-4.1`` and ``gemini-2.5-pro`` have: names of other vendors' own APIs."""


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise PydanticCustomError(
            "region", "must be the name of an AWS region, such as eu-central-1", {"choices": sorted(REGIONS)}
        )
    return value


def _model_id(value: str) -> str:
    if not _MODEL_ID.fullmatch(value) or ".." in value:
        raise PydanticCustomError("model_id", "must be the name of a model, an inference profile or an ARN")
    return value


def _role_arn(value: str) -> str:
    if not _ROLE_ARN.fullmatch(value):
        raise PydanticCustomError("role_arn", "must be arn:aws:iam::ACCOUNT:role/NAME")
    return value


_ModelId = Annotated[str, AfterValidator(_model_id)]


class BedrockSettings(AccountSettings):
    """An account of Amazon Bedrock; repeat the table for each."""

    provider: Literal["bedrock"] = Field(description="Amazon Bedrock")
    region: Annotated[str, AfterValidator(_region)] = Field(description="where", examples=["eu-central-1"])
    models: Patterns = Field(
        default=OWN_MODELS, description="as glob patterns; default: Bedrock's own names, and those of model_ids"
    )
    model_ids: dict[_ModelId, _ModelId] = Field(
        default_factory=dict,
        description="what Claude clients name, and its model id, inference profile or ARN",
        examples=[{"claude-sonnet-4-5": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"}],
    )
    pass_capabilities: OptionalPatterns = Field(
        default=(),
        description="betas and body members of Claude clients that go to Bedrock though the table lacks them",
        examples=[["context-management-2025-06-27"]],
    )
    api_key: OptionalSecret = Field(
        default=None, description="a Bedrock API key", examples=["env:AWS_BEARER_TOKEN_BEDROCK"]
    )
    access_key_id: OptionalSecret = Field(
        default=None, description="a fixed key pair", examples=["env:AWS_ACCESS_KEY_ID"]
    )
    secret_access_key: OptionalSecret = Field(
        default=None, description="its other half", examples=["env:AWS_SECRET_ACCESS_KEY"]
    )
    session_token: OptionalSecret = Field(
        default=None, description="if the pair is a temporary one", examples=["env:AWS_SESSION_TOKEN"]
    )
    profile: Name | None = Field(
        default=None,
        description="of ~/.aws; without api_key, a pair or profile: environment, container or instance role",
        examples=["default"],
    )
    assume_role_arn: Annotated[str, AfterValidator(_role_arn)] | None = Field(
        default=None,
        description="a role to assume with what the above give",
        examples=["arn:aws:iam::123456789012:role/relay"],
    )

    @model_validator(mode="before")
    @classmethod
    def _with_translated_models(cls, table: Any) -> Any:
        """The ``models`` that an account can serve, where none are given: Bedrock's own names, and those that
        ``model_ids`` translates. A name of Anthropic's own API without a translation would only be refused upstream."""
        if not isinstance(table, dict) or "models" in table or not isinstance(table.get("model_ids"), dict):
            return table
        return {**table, "models": [*OWN_MODELS, *filter(_MODEL_ID.fullmatch, table["model_ids"])]}

    def own_address(self) -> BaseAddress:
        """The runtime of the account's region."""
        return BaseAddress.of_host(f"bedrock-runtime.{self.region}.amazonaws.com")

    @cached_property
    def control_address(self) -> BaseAddress:
        """Where the control plane is, which lists what there is to invoke."""
        if self.base_url is not None:
            return self.address
        return BaseAddress.of_host(f"bedrock.{self.region}.amazonaws.com")

    def problems(self) -> Iterator[tuple[str, str]]:
        """A region that nobody knows, half of a key pair, and two ways to authenticate."""
        if self.region not in REGIONS and self.base_url is None:
            yield (
                "region",
                "is not a region that is known here; if there is one of this name, set base_url to its host too"
                + did_you_mean(self.region, sorted(REGIONS)),
            )
        has_keys = self.access_key_id is not None or self.secret_access_key is not None
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access_key_id" if self.access_key_id is None else "secret_access_key"
            yield missing, "is needed, because the other half of the pair is set"
        if self.session_token is not None and not has_keys:
            yield "session_token", "belongs to access_key_id and secret_access_key, which are not set"
        if self.api_key is not None:
            for name in ("access_key_id", "secret_access_key", "profile", "assume_role_arn"):
                if getattr(self, name) is not None:
                    yield name, "must not be set beside api_key: an account authenticates in one way"
        elif has_keys and self.profile is not None:
            yield "profile", "must not be set beside access_key_id: an account authenticates in one way"
