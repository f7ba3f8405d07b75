"""The routes of the Bedrock runtime, and the one listing that its clients ask for.

The model is part of the path, where an ARN's slashes are escaped; the path goes upstream with the escapes it came with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from relay_trio.errors import NotFound
from relay_trio.vendors.bedrock.dialect import BedrockDialect
from relay_trio.vendors.bedrock.operations import INFERENCE_PROFILES, OPERATIONS
from relay_trio.web.answers import relay
from relay_trio.web.asgi import http_scope
from relay_trio.web.aws_auth import AwsAuth

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from relay_trio.api.operation import Operation
    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay

DIALECT = BedrockDialect()
PREFIXES = ("/model/", "/inference-profiles")
"""Paths of this dialect, also where no route answers."""

_RAW_PATH = re.compile(rb"/model/(?P<model>[A-Za-z0-9._~:%@=,+!-]{1,4096})/[a-z-]+")


def add_routes(app: QuartTrio, core: Relay, ring: KeyRing) -> None:
    """Register every route."""
    auth = AwsAuth(core.settings)

    for operation in OPERATIONS:
        ((_, template),) = operation.routes
        if operation is INFERENCE_PROFILES:
            continue

        async def view(model_id: str, _operation: Operation = operation) -> Response:
            match = _RAW_PATH.fullmatch(http_scope()["raw_path"])
            if match is None:
                raise NotFound("no such route: the model in the path must be one part, with / written as %2F")
            model = unquote_to_bytes(match["model"]).decode("latin-1")
            return await relay(core, ring, DIALECT, _operation, {"model": model}, identify=auth.identify)

        app.add_url_rule(
            template.replace("{model}", "<path:model_id>"),
            endpoint=operation.name,
            view_func=view,
            methods=["POST"],
            provide_automatic_options=False,
        )

    async def inference_profiles() -> Response:
        return await relay(core, ring, DIALECT, INFERENCE_PROFILES, {}, identify=auth.identify)

    app.add_url_rule(
        "/inference-profiles",
        endpoint="bedrock inference-profiles",
        view_func=inference_profiles,
        methods=["GET"],
        provide_automatic_options=False,
    )
