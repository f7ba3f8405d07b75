"""The lines for a shell name the region of an account of the pool, and no secret twice."""

from __future__ import annotations

from relay_trio.keys.access_pairs import AccessKeyPair
from relay_trio.vendors.bedrock.client_lines import pair_lines, secret_lines
from relay_trio.vendors.bedrock.settings import BedrockSettings

ACCOUNTS = [
    BedrockSettings.model_validate({"name": region, "provider": "bedrock", "region": region, "max_concurrency": 1})
    for region in ("eu-west-3", "us-east-1")
]
REGION = "export AWS_REGION=eu-west-3 AWS_DEFAULT_REGION=eu-west-3"


def test_a_secret_is_for_awss_own_sdks_over_https_alone() -> None:
    assert secret_lines("http://relay", "rt_1", ACCOUNTS) == (
        "export ANTHROPIC_BEDROCK_BASE_URL=http://relay AWS_BEARER_TOKEN_BEDROCK=rt_1",
        REGION,
    )
    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME=https://relay " in secret_lines("https://relay", "rt_1", ACCOUNTS)[0]


def test_a_pair_is_for_a_region() -> None:
    assert pair_lines("http://relay", AccessKeyPair("AKIA1", "secret"), ACCOUNTS) == (
        "export ANTHROPIC_BEDROCK_BASE_URL=http://relay AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://relay",
        "export AWS_ACCESS_KEY_ID=AKIA1 AWS_SECRET_ACCESS_KEY=secret",
        REGION,
    )


def test_without_an_account_the_region_is_a_remark_that_a_shell_skips() -> None:
    assert pair_lines("http://relay", AccessKeyPair("AKIA1", "secret"), ())[-1].startswith("# ")
