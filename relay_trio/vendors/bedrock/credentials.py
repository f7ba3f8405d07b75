"""Where an AWS account's credential comes from: the configuration, or botocore's chain.

The chain is botocore's own: environment, profiles with all that they can name, container and instance roles, single
sign-on. It does blocking I/O, files and HTTP, so it is called in a thread, and only for what is used here: two keys, a
token, and the time until which they are good.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from relay_trio.api.credential import Credential
from relay_trio.errors import UpstreamRefused, plain_name
from relay_trio.vendors.bedrock.signing import AwsKeys

if TYPE_CHECKING:
    from datetime import datetime

    from relay_trio.vendors.bedrock.settings import BedrockSettings

_SESSION_NAME = "relay-trio"

_READ_AGAIN_SECONDS = 3600.0
"""How long keys without an expiry are used. They come from a file or the environment, and are then read again, so that
an operator can change them."""


def fixed_credential(account: BedrockSettings) -> Credential | None:
    """The credential in the configuration: a Bedrock API key as text, or ``AwsKeys``. None: the chain has it."""
    if account.api_key is not None:
        return Credential(account.api_key.get_secret_value())
    keys = _configured_keys(account)
    return Credential(keys) if keys is not None and account.assume_role_arn is None else None


def chained_credential(account: BedrockSettings) -> Credential:
    """The chain's credential of now. Blocks: it reads files, and calls whatever service the chain finds.

    Raises:
        UpstreamRefused: there is none. The message names the exception, and holds nothing of what was found.
    """
    import botocore.exceptions
    import botocore.session

    try:
        session = botocore.session.Session(profile=account.profile)
        keys = _configured_keys(account)
        if keys is not None:
            session.set_credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
        found = session.get_credentials()
        if found is None:
            raise UpstreamRefused("AWS credentials were found nowhere: see region, profile and access_key_id")
        if account.assume_role_arn is not None:
            return _assumed(session, found, account)
        frozen = found.get_frozen_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise UpstreamRefused(f"AWS credentials cannot be had ({plain_name(error)})") from None
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))[:64]
        raise UpstreamRefused(f"AWS credentials cannot be had ({code})") from None
    return Credential(AwsKeys(frozen.access_key, frozen.secret_key, frozen.token), _expiry(found))


def _configured_keys(account: BedrockSettings) -> AwsKeys | None:
    if account.access_key_id is None or account.secret_access_key is None:
        return None
    token = None if account.session_token is None else account.session_token.get_secret_value()
    return AwsKeys(account.access_key_id.get_secret_value(), account.secret_access_key.get_secret_value(), token)


def _assumed(session: Any, source: Any, account: BedrockSettings) -> Credential:
    """The role's temporary keys, from STS of the account's region."""
    frozen = source.get_frozen_credentials()
    client = session.create_client(
        "sts",
        region_name=account.region,
        aws_access_key_id=frozen.access_key,
        aws_secret_access_key=frozen.secret_key,
        aws_session_token=frozen.token,
    )
    answer = client.assume_role(RoleArn=account.assume_role_arn, RoleSessionName=_SESSION_NAME)["Credentials"]
    keys = AwsKeys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
    return Credential(keys, answer["Expiration"].timestamp())


def _expiry(found: Any) -> float:
    """Until when ``found`` is good, in epoch seconds. botocore has no public way to learn when credentials run out that
    it can refresh."""
    moment: datetime | None = getattr(found, "_expiry_time", None)
    return time.time() + _READ_AGAIN_SECONDS if moment is None else moment.timestamp()
