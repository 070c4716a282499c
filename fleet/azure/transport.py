"""The HTTP transport of all Azure clients and credentials. It rejects answers that are not Azure's own.

A proxy or a breaking connection can spoil an answer after its status was sent: the body is cut off, is
another page, or cannot be decompressed. azure-core raises half a dozen exceptions for these, or none.
None says whether the request took effect, so each becomes what a lost answer is: ServiceResponseError.
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
"""What azure-core raises for a body that it cannot read: before it knows of a status code."""


class AzureTransport(AioHttpTransport):  # type: ignore[misc]
    """Raises ServiceResponseError for a success without the JSON object that Azure sends with it."""

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        try:
            response = await super().send(request, stream=stream, **options)
            body = await _read_ahead(response) if stream else response.body()
        except _BROKEN as error:
            raise _lost(request, f"was cut off or damaged: {error}") from error
        if 200 <= response.status_code < 300 and not _is_azures(request, response, body):
            kind = response.headers.get("Content-Type") or "no content type"
            raise _lost(
                request,
                f"has status {response.status_code} and {len(body)} bytes ({kind}), but not the JSON "
                "object that Azure sends. A proxy or firewall may have sent it",
            )
        return response


def _lost(request: Any, what: str) -> ServiceResponseError:
    about = f"{request.method} {urlsplit(request.url).path}"
    return ServiceResponseError(f"The answer to {about} {what}.")


async def _read_ahead(response: Any) -> bytes:
    """The body of a response that the SDK reads later: those of long-running operations."""
    body: bytes = await response.read()

    async def read() -> bytes:
        return body

    response.read = read  # azure-core's own cannot read an empty body twice
    return body


def _is_azures(request: Any, response: Any, body: bytes) -> bool:
    if not body:
        return request.method == "DELETE" or response.status_code in _EMPTY_BODIES
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document)
