"""The one door to Azure: a few verbs over the SDKs' aio clients, JSON in and JSON out.

Nothing here waits for Azure: a long-running operation is started and looked at again later, and no
call is retried (`retry_total=0`), because the orchestrator's durable timers do all the waiting.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.compute.aio import ComputeManagementClient
from azure.mgmt.core.exceptions import ARMErrorFormat
from azure.mgmt.network.aio import NetworkManagementClient

from fleet.azure.arm_bodies import Body
from fleet.azure.request_telemetry import policies
from fleet.model import names
from fleet.settings import Settings

RESOURCE_GROUPS_API, COMPUTE_API, DISKS_API = "2025-04-01", "2026-04-01", "2026-03-02"
NETWORK_API, AUTHORIZATION_API, SKUS_API = "2026-03-01", "2022-04-01", "2021-07-01"
"""Of what we ask for without the SDKs' operations: the versions that they send themselves."""

# The SDKs log each request and its headers at INFO: a thousand lines for a fleet of a hundred.
logging.getLogger("azure").setLevel(logging.WARNING)

_AUTHORIZATION = "Microsoft.Authorization"
_LISTS = {
    "machine": ("Microsoft.Compute/virtualMachines", COMPUTE_API),
    "nic": ("Microsoft.Network/networkInterfaces", NETWORK_API),
    "disk": ("Microsoft.Compute/disks", DISKS_API),
}
_LOG_URL_MINUTES = 5  # for which the URL of a console's log can be read; Azure's default is 120
_PUBLIC_AUTHORITIES = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ARM said: the resource as JSON, and how long it asked us to wait (seconds)."""

    body: Body
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """A role assignment that stands: its scope, its name (a GUID), and what was said of it."""

    scope: str
    name: str
    description: str


class Account(TypedDict):
    """Where a client works, and as whom; every `Order` is one. Without `client_id` or a secret: the
    app's own identity.
    """

    subscription_id: str
    resource_group: str
    tenant_id: str | None
    client_id: str | None


class Azure:
    """ARM for one resource group. Cheap to share: one per process and account (see `connect`)."""

    def __init__(
        self, credential: AsyncTokenCredential, endpoint: str, subscription_id: str, group: str
    ) -> None:
        options: dict[str, Any] = {
            "base_url": endpoint,
            "credential_scopes": [f"{endpoint}/.default"],
            "retry_total": 0,
            "raw_response_hook": _forget_refused_token,
        }
        self._group = group
        self.scope = names.resource_group_id(subscription_id, group)
        """The resource group's ARM id."""
        self.subscription = f"/subscriptions/{subscription_id}"
        """The subscription's."""

        def client(kind: Any) -> Any:
            # A policy belongs to one pipeline: it knows who comes next.
            return kind(
                credential,
                subscription_id,
                per_retry_policies=policies(),
                **options,
            )

        self._compute: ComputeManagementClient = client(ComputeManagementClient)
        self._network: NetworkManagementClient = client(NetworkManagementClient)
        self._roles: AuthorizationManagementClient = client(AuthorizationManagementClient)
        # No policies: a blob's URL holds its own right, and no storage account is to see our token.
        self._blobs = AsyncPipelineClient(endpoint, policies=[])

    async def resource_group(self) -> Body:
        """The resource group. Raises HttpResponseError (404 when there is none)."""
        path = self.scope.replace("/resourceGroups/", "/resourcegroups/")
        return await _get(self._compute, f"{path}?api-version={RESOURCE_GROUPS_API}")

    async def get_vnet(self, name: str) -> Answer | None:
        operation = self._network.virtual_networks.get(self._group, name, cls=_answer)
        return await _or_none(operation)

    async def put_vnet(self, name: str, body: Body) -> Answer:
        return await _begun(
            self._network.virtual_networks.begin_create_or_update, self._group, name, body
        )

    async def put_subnet(self, vnet: str, name: str, body: Body) -> Answer:
        return await _begun(
            self._network.subnets.begin_create_or_update, self._group, vnet, name, body
        )

    async def put_nic(self, name: str, body: Body) -> Answer:
        return await _begun(
            self._network.network_interfaces.begin_create_or_update, self._group, name, body
        )

    async def delete_nic(self, name: str) -> None:
        await _begun(self._network.network_interfaces.begin_delete, self._group, name)

    async def put_machine(self, name: str, body: Body) -> Answer:
        return await _begun(
            self._compute.virtual_machines.begin_create_or_update, self._group, name, body
        )

    async def get_machine(self, name: str) -> Answer | None:
        return await _or_none(self._compute.virtual_machines.get(self._group, name, cls=_answer))

    async def instance_view(self, name: str) -> Body:
        """The run-time status of a VM; empty when there is none any more."""
        operation = self._compute.virtual_machines.instance_view(self._group, name, cls=_answer)
        found = await _or_none(operation)
        return {} if found is None else found.body

    async def serial_log(self, name: str, limit: int) -> bytes | None:
        """The last bytes of a VM's serial console, from its boot diagnostics; None before its first
        boot. Two requests.

        Raises HttpResponseError: 404 when there is no such VM, 409 where boot diagnostics is off.
        """
        minutes = _LOG_URL_MINUTES
        uris = await self._compute.virtual_machines.retrieve_boot_diagnostics_data(
            self._group, name, sas_uri_expiration_time_in_minutes=minutes, cls=_answer
        )
        url = uris.body.get("serialConsoleLogBlobUri")
        return await _tail(self._blobs, url, limit) if url else None

    async def delete_machine(self, name: str) -> None:
        """Start the deletion; NIC and disk go with the VM. An absent VM is fine (204)."""
        await _begun(
            self._compute.virtual_machines.begin_delete, self._group, name, force_deletion=True
        )

    async def delete_disk(self, name: str) -> None:
        await _begun(self._compute.disks.begin_delete, self._group, name)

    async def list_kind(self, kind: str) -> list[Body]:
        """Every `machine`, `nic` or `disk` of the resource group, as JSON; none where the group is gone.

        Not by the SDKs' pagers: they make a model of each item, which took 40 ms of CPU for a page
        of 50 VMs, the largest part of what a fleet cost its host.
        """
        path, api_version = _LISTS[kind]
        pages = self._paged(f"{self.scope}/providers/{path}?api-version={api_version}")
        try:
            return [item async for item in pages]
        except HttpResponseError as error:
            if getattr(error.error, "code", None) != "ResourceGroupNotFound":
                raise
            return []

    async def list_machines(self, batch_id: int) -> list[Body]:
        return [vm for vm in await self.list_kind("machine") if _is_tagged(vm, batch_id)]

    async def list_nics(self, batch_id: int) -> list[Body]:
        return [nic for nic in await self.list_kind("nic") if _is_tagged(nic, batch_id)]

    async def list_disks(self, batch_id: int) -> list[Body]:
        """The batch's OS disks, by name too: Azure need not copy a VM's tags to its disk."""
        return [
            disk
            for disk in await self.list_kind("disk")
            if _is_tagged(disk, batch_id)
            or names.ordinal_of(disk["name"].removesuffix("_osdisk"), batch_id) is not None
        ]

    async def put_assignment(self, scope: str, name: str, body: Body) -> None:
        await self._roles.role_assignments.create(scope.lstrip("/"), name, body)

    async def delete_assignment(self, scope: str, name: str) -> None:
        """Take a role back. One that is not there any more is fine (204, or 404 with its scope)."""
        with contextlib.suppress(ResourceNotFoundError):
            await self._roles.role_assignments.delete(scope.lstrip("/"), name)

    async def list_assignments(self, scope: str) -> list[RoleAssignment]:
        """Role assignments at, above and below a scope."""
        url = f"{scope}/providers/{_AUTHORIZATION}/roleAssignments?api-version={AUTHORIZATION_API}"
        found = [(item["name"], item["properties"]) async for item in self._paged(url)]
        return [RoleAssignment(p["scope"], name, p.get("description") or "") for name, p in found]

    async def count_assignments(self) -> int:
        """How many role assignments the subscription holds, at whatever scope in it.

        The list shows those of the management groups above it too; they have a limit of their own.
        """
        scopes = [f"{one.scope}/".lower() for one in await self.list_assignments(self.subscription)]
        return len([one for one in scopes if one.startswith(f"{self.subscription}/".lower())])

    async def list_permissions(self, scope: str) -> list[Body]:
        """What the caller may do at a scope: `{actions, notActions, …}` for each of its roles."""
        url = f"{scope}/providers/{_AUTHORIZATION}/permissions?api-version={AUTHORIZATION_API}"
        return [item async for item in self._paged(url)]

    async def list_skus(self, location: str) -> list[Body]:
        """The VM sizes that a region offers, with their capabilities and restrictions."""
        query = f"api-version={SKUS_API}&$filter=location%20eq%20%27{location}%27"
        url = f"{self.subscription}/providers/Microsoft.Compute/skus?{query}"
        skus = self._paged(url)
        return [sku async for sku in skus if sku["resourceType"] == "virtualMachines"]

    async def list_usages(self, location: str) -> list[Body]:
        """A region's compute quotas: `{name: {value}, currentValue, limit}`, in vCPUs or VMs."""
        url = f"{self.subscription}/providers/Microsoft.Compute/locations/{location}/usages"
        return [item async for item in self._paged(f"{url}?api-version={COMPUTE_API}")]

    async def get_network(self, network_id: str) -> Body | None:
        """A virtual network of any resource group, with its subnets; None where there is none."""
        try:
            return await _get(self._compute, f"{network_id}?api-version={NETWORK_API}")
        except HttpResponseError as error:
            if error.status_code == 404:
                return None
            raise

    async def list_network_usages(self, network_id: str) -> list[Body]:
        """The addresses of a virtual network's subnets: `{id, currentValue, limit}`."""
        url = f"{network_id}/usages?api-version={NETWORK_API}"
        return [item async for item in self._paged(url)]

    async def _paged(self, first: str) -> AsyncIterator[Body]:
        """The items of a list, page after page."""
        url: str | None = first
        while url:
            page = await _get(self._compute, url)
            for item in page["value"]:
                yield item
            url = page.get("nextLink")


_connections: dict[tuple[str, ...], Azure] = {}


def connect(account: Account, settings: Settings, client_secret: str | None) -> Azure:
    """The process's client for an account; made once, so that tokens and sockets are shared.

    Never closed: it lives as long as the process, as Functions' guidance for clients has it.
    """
    secret_digest = hashlib.sha256((client_secret or "").encode()).hexdigest()
    key = (
        settings.resource_manager_endpoint,
        account["subscription_id"],
        account["resource_group"],
        account["tenant_id"] or "",
        account["client_id"] or "",
        secret_digest,
    )
    if key not in _connections:
        _connections[key] = Azure(
            _credential(account, settings, client_secret),
            settings.resource_manager_endpoint,
            account["subscription_id"],
            account["resource_group"],
        )
    return _connections[key]


def _forget_refused_token(response: Any) -> None:
    """Let the next call ask for a new token where Azure refuses the one that we held for good.

    Here, for every caller: on Flex Consumption the HTTP functions have processes of their own, in which
    no activity would find out.
    """
    if response.http_response.status_code == 401:  # its body may not be read yet
        _connections.clear()


def _credential(
    account: Account, settings: Settings, client_secret: str | None
) -> AsyncTokenCredential:
    # Instance discovery asks the public cloud about an authority that it cannot know.
    options: dict[str, Any] = {}
    if settings.authority and not any(host in settings.authority for host in _PUBLIC_AUTHORITIES):
        options = {"disable_instance_discovery": True}
    if client_secret:
        tenant, client = account["tenant_id"] or "", account["client_id"] or ""
        if settings.authority:
            options["authority"] = settings.authority
        return ClientSecretCredential(tenant, client, client_secret, **options)
    return DefaultAzureCredential(**options)


def _answer(response: Any, _body: Any, _headers: Any) -> Answer:
    """The SDKs' `cls` hook: the resource as it came, with the header that models do not hold."""
    http = response.http_response
    text = http.text()
    try:
        wait = float(http.headers["Retry-After"])
    except (KeyError, ValueError):
        wait = None
    return Answer(http.json() if text else {}, wait)


async def _begun(begin: Any, *arguments: Any, **options: Any) -> Answer:
    poller = await begin(*arguments, polling=False, cls=_answer, **options)
    answer = await poller.result()
    return answer if isinstance(answer, Answer) else Answer({}, None)


async def _or_none(operation: Any) -> Answer | None:
    try:
        answer: Answer = await operation
    except ResourceNotFoundError as error:
        if getattr(error.error, "code", None) in ("ResourceNotFound", "NotFound"):
            return None
        raise
    return answer


def _is_tagged(item: Body, batch_id: int) -> bool:
    return bool((item.get("tags") or {}).get(names.BATCH_TAG) == str(batch_id))


async def _tail(blobs: AsyncPipelineClient[Any, Any], url: str, limit: int) -> bytes | None:
    """The last bytes of a blob, without the NULs that fill up a page; None when there is none.

    Read to its end, as storage knows no range from there. Raises HttpResponseError.
    """
    tail = b""
    async with await blobs.send_request(HttpRequest("GET", url), stream=True) as response:
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise HttpResponseError(
                message="The console's log could not be read.", response=response
            )
        async for chunk in response.iter_raw():
            tail = (tail + chunk.replace(b"\0", b""))[-limit:]
    return tail


async def _get(client: ComputeManagementClient, url: str) -> Body:
    """GET through a client's own pipeline (token, retries, headers). Raises HttpResponseError."""
    response = await client.send_request(HttpRequest("GET", url))
    if response.status_code != 200:
        raise HttpResponseError(response=response, error_format=ARMErrorFormat)
    return dict(response.json())
