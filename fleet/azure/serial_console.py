"""The serial console logs of VMs, which Azure keeps in storage accounts of its own."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

from fleet.azure.arm_pipeline import arm_response

if TYPE_CHECKING:
    from azure.mgmt.compute.aio import ComputeManagementClient

WORD_ENDS = (b"", b"\n", b"\r", b" ")
_URL_MINUTES = 5  # lifetime of a log's URL; Azure's default is 120
_URL_SECONDS = 120.0  # for which those that follow a log use it again


@dataclass(frozen=True, slots=True)
class ConsolePart:
    """Bytes of a log, without the NULs that pad its last page."""

    data: bytes
    end: int
    """The position in the log after `data`."""
    begins_in_word: bool = False


async def _read(
    blobs: AsyncPipelineClient[Any, Any], url: str, limit: int, start: int | None = None
) -> ConsolePart | None:
    """The last `limit` bytes of a blob; with `start`, the `limit` bytes from there. None: no such blob.

    A part that ends before `start`: the blob has become shorter. Without `start`, reads the whole blob,
    because storage has no suffix ranges. Raises HttpResponseError.
    """
    # The byte before the part: a range that begins at the end is an error.
    known = 0 if start == 0 else 1
    position = max(0, (start or 0) - 1)
    headers = {} if start is None else {"Range": f"bytes={position}-{start + limit - 1}"}
    data, padding = b"", b""
    request = HttpRequest("GET", url, headers=headers)
    async with await blobs.send_request(request, stream=True) as response:
        if response.status_code == 404:
            return None
        if response.status_code == 416:
            return ConsolePart(b"", 0)
        if response.status_code != (200 if start is None else 206):
            raise HttpResponseError(message="Failed to read the console log.", response=response)
        async for chunk in response.iter_raw():
            content = (padding + chunk).rstrip(b"\0")
            padding = (padding + chunk)[len(content) :]
            data, position = (data + content)[-limit - known :], position + len(content)
    before, data = (data[:-limit], data[-limit:]) if start is None else (data[:known], data[known:])
    return ConsolePart(data, position, before not in WORD_ENDS)


class SerialConsole:
    """The logs of the VMs of one resource group."""

    def __init__(
        self, compute: ComputeManagementClient, blobs: AsyncPipelineClient[Any, Any], group: str
    ) -> None:
        """`blobs` must add no token to a request: a URL contains its own SAS."""
        self._compute, self._blobs, self._group = compute, blobs, group
        self._urls: dict[str, tuple[str, float]] = {}

    async def tail(self, vm: str, limit: int) -> ConsolePart | None:
        """The last bytes of a VM's log; None before its first boot. Two requests.

        Raises HttpResponseError: 404 if the VM does not exist, 409 if boot diagnostics is disabled.
        """
        url = await self._url(vm)
        return await _read(self._blobs, url, limit) if url else None

    async def part(self, vm: str, start: int, limit: int) -> ConsolePart | None:
        """The bytes of a VM's log from `start`; None before its first boot. Usually one request.

        A part that ends before `start`: the log has become shorter. Raises as `tail`.
        """
        url, until = self._urls.get(vm, ("", 0.0))
        if time.monotonic() < until:
            with contextlib.suppress(HttpResponseError):  # another VM may have the name by now
                found = await _read(self._blobs, url, limit, start)
                if found is not None:
                    return found
        fresh = await self._url(vm)
        if not fresh:
            return None
        now = time.monotonic()
        self._urls = {name: known for name, known in self._urls.items() if now < known[1]}
        self._urls[vm] = fresh, now + _URL_SECONDS
        return await _read(self._blobs, fresh, limit, start)

    async def _url(self, vm: str) -> str | None:
        uris = await self._compute.virtual_machines.retrieve_boot_diagnostics_data(
            self._group, vm, sas_uri_expiration_time_in_minutes=_URL_MINUTES, cls=arm_response
        )
        url: str | None = uris.body.get("serialConsoleLogBlobUri")
        return url
