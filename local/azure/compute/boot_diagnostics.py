"""Boot diagnostics: a VM's serial console log, as a blob with a signed URL that expires.

Names, query and responses match the storage account that Azure manages. A VM that has never booted
also has a URL; its blob does not exist (azure-powershell#25607).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
from datetime import UTC, datetime
from urllib.parse import urlencode

from local.azure.arm.calls import Call, Reply, Request, Route
from local.azure.arm.errors import ArmError, invalid_parameter
from local.azure.cloud import Cloud
from local.azure.compute.vm import VM_TYPE, VirtualMachine
from local.azure.vm.runner import VmRunner

_DEFAULT_MINUTES, _MAX_MINUTES = "120", 1440
_BLOB = re.compile(r"/bootdiagnostics-[a-z0-9]+-([0-9a-f-]{36})/[^/]+\.serialconsole\.log")
_RANGE = re.compile("bytes=([0-9]{1,18})-([0-9]{0,18})")
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_UNSIGNED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature."
)


class BootDiagnostics:
    """The action on a VM, and the blob that its response refers to."""

    def __init__(self, cloud: Cloud, runner: VmRunner) -> None:
        self._cloud, self._runner = cloud, runner
        self._key = secrets.token_bytes(32)

    def routes(self) -> list[Route]:
        type_ = f"{VM_TYPE}/retrieveBootDiagnosticsData"
        return [Route("POST", type_, self._retrieve, collection=True)]

    async def _retrieve(self, call: Call) -> Reply:
        vm = self._cloud.store.owner(call.target)
        assert isinstance(vm, VirtualMachine)
        query = call.request.query
        minutes = _minutes(query.get("sasUriExpirationTimeInMinutes", _DEFAULT_MINUTES))
        if not vm.has_boot_diagnostics:
            raise ArmError(
                409,  # status, code and message are a guess: Azure does not document them
                "OperationNotAllowed",
                f"Boot diagnostics is not enabled on VM '{vm.name}'.",
            )
        container = f"bootdiagnostics-{_alphanumeric(vm.name)}-{vm.properties['vmId']}"
        path = f"/{container}/{vm.name}.{vm.properties['vmId']}.serialconsole.log"
        url = f"{call.request.base}{path}?{urlencode(self._sign(path, minutes))}"
        return Reply(200, {"serialConsoleLogBlobUri": url})

    def _sign(self, path: str, minutes: int) -> dict[str, str]:
        """The query of a shared access signature that allows reading one blob."""
        end = self._cloud.clock.wall_time_after(60 * minutes).strftime(_TIME)
        return {"sv": "2018-03-28", "sr": "b", "sp": "r", "se": end, "sig": self._mac(path, end)}

    def _mac(self, path: str, end: str) -> str:
        return hmac.new(self._key, f"{path}\n{end}".encode(), hashlib.sha256).hexdigest()

    async def handle_blob(self, request: Request) -> Reply | None:
        """The blob, or None if the path is not a blob's."""
        blob = _BLOB.fullmatch(request.path)
        if blob is None:
            return None
        if "authorization" in request.headers:  # the audience of the token is Resource Manager
            return _error(401, "InvalidAuthenticationInfo", "The token's audience is another.")
        end = request.query.get("se", "")
        if not hmac.compare_digest(request.query.get("sig", ""), self._mac(request.path, end)):
            return _error(403, "AuthenticationFailed", _UNSIGNED)
        if datetime.strptime(end, _TIME).replace(tzinfo=UTC) <= datetime.now(UTC):
            return _error(403, "AuthenticationFailed", f"{_UNSIGNED} It expired at {end}.")
        if request.method != "GET":
            return _error(403, "AuthorizationPermissionMismatch", "The signature allows reading.")
        log = await self._log(blob[1])
        if log is None:
            return _error(404, "BlobNotFound", "The specified blob does not exist.")
        headers = {"Content-Type": "application/octet-stream", "x-ms-blob-type": "AppendBlob"}
        wanted = _RANGE.fullmatch(request.headers.get("range", ""))
        return _part(log, wanted, headers) if wanted else Reply(200, log, headers)

    async def _log(self, vm_id: str) -> bytes | None:
        """A VM's serial console log; None if the VM is deleted or has never booted."""
        vms = (one for one in self._cloud.store if isinstance(one, VirtualMachine))
        vm = next((one for one in vms if one.properties["vmId"] == vm_id), None)
        if vm is None or not vm.has_booted:
            return None
        return vm.boot_messages().encode() + self._runner.console(vm)


def _part(log: bytes, wanted: re.Match[str], headers: dict[str, str]) -> Reply:
    """Storage ignores what is no such range, and a suffix range (`bytes=-100`)."""
    first, last = int(wanted[1]), int(wanted[2] or sys.maxsize)
    if first >= len(log):
        return _error(416, "InvalidRange", "The range specified is invalid for the current size.")
    part = log[first : last + 1]
    span = f"bytes {first}-{first + len(part) - 1}/{len(log)}"
    return Reply(206, part, {**headers, "Content-Range": span})


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_MINUTES:
        target = "sasUriExpirationTimeInMinutes"
        raise invalid_parameter(target, f"{target} must be between 1 and {_MAX_MINUTES} minutes.")
    return int(text)


def _alphanumeric(name: str) -> str:
    """The part of a VM's name that is in its container's name: at most nine letters and digits."""
    return re.sub("[^a-z0-9]", "", name.lower())[:9]


def _error(status: int, code: str, message: str) -> Reply:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f'<?xml version="1.0" encoding="utf-8"?>{error}'
    headers = {"Content-Type": "application/xml", "x-ms-error-code": code}
    return Reply(status, text.encode(), headers)
