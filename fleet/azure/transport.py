"""The HTTP transport of all Azure clients and credentials. It rejects corrupted responses.

A proxy or a broken connection can corrupt a response after its status: the body is truncated, is another
page, or cannot be decompressed. For these, azure-core raises half a dozen exceptions, or none. The
request may have taken effect, as with a lost response, so all of them become ServiceResponseError.
"""

from __future__ import annotations

import json
import zlib
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport

_EMPTY_BODIES = (202, 204)
_BROKEN = (HttpResponseError, aiohttp.ClientError, zlib.error)
"""What azure-core raises for a body that it cannot read."""


class AzureTransport(AioHttpTransport):  # type: ignore[misc]
    """Raises ServiceResponseError for a success or a 404 without Azure's JSON."""

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        try:
            response = await super().send(request, stream=stream, **options)
            body = await _read_ahead(response) if stream else response.body()
        except _BROKEN as error:
            raise _lost(request, f"was truncated or corrupted: {error}") from error
        status = response.status_code
        # A 404 decides whether a resource exists. Other errors decide nothing without Azure's code.
        decides = 200 <= status < 300 or status == 404
        if decides and not _is_from_azure(request, response, body):
            kind = response.headers.get("Content-Type") or "no content type"
            raise _lost(
                request,
                f"has status {status} and {len(body)} bytes ({kind}), but not the JSON "
                "that Azure sends. A proxy or firewall may have sent it",
            )
        return response


def _lost(request: Any, what: str) -> ServiceResponseError:
    about = f"{request.method} {urlsplit(request.url).path}"
    return ServiceResponseError(f"The response to {about} {what}.")


async def _read_ahead(response: Any) -> bytes:
    """The body of a response that the SDK reads later: those of long-running operations."""
    body: bytes = await response.read()

    async def read() -> bytes:
        return body

    response.read = read  # azure-core's own cannot read an empty body twice
    return body


def _is_from_azure(request: Any, response: Any, body: bytes) -> bool:
    if not body:
        is_deletion = request.method == "DELETE" and response.status_code == 200
        return is_deletion or response.status_code in _EMPTY_BODIES
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    # Only lists of image versions are arrays.
    return isinstance(document, list) or (isinstance(document, dict) and bool(document))
