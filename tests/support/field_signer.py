"""botocore's signer, made to sign what HTTP/2 clients sign in place of ``host``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders
    from botocore.credentials import Credentials


class FieldSigner(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs ``fields``, by name, beside the request's headers and in place of the ``host`` that it would make up."""

    def __init__(self, credentials: Credentials, service: str, region: str, fields: Mapping[str, str]) -> None:
        super().__init__(credentials, service, region)
        self._fields = fields

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = super().headers_to_sign(request)
        del headers["host"]
        for name, value in self._fields.items():
            headers[name] = value
        return headers
