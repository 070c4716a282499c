"""The Azure Resource Manager client: operations over the SDKs' aio clients, with JSON in and out.

Operations never wait: the client starts long-running operations without polling and does not retry
(`retry_total=0`), because the orchestrator waits with durable timers.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceResponseError

from fleet.azure.arm_bodies import Body
from fleet.azure.arm_pipeline import (
    ArmResponse,
    close_unused,
    get_json,
    get_json_or_none,
    get_or_none,
    list_all,
    start_operation,
)
from fleet.azure.error_classifier import code_of
from fleet.azure.images import Images
from fleet.azure.request_telemetry import policies
from fleet.azure.serial_console import SerialConsole
from fleet.azure.transport import AzureTransport
from fleet.model import names

if TYPE_CHECKING:
    from azure.mgmt.authorization.aio import AuthorizationManagementClient
    from azure.mgmt.compute.aio import ComputeManagementClient
    from azure.mgmt.network.aio import NetworkManagementClient

RESOURCE_GROUPS_API, COMPUTE_API, DISKS_API = "2025-04-01", "2026-04-01", "2026-03-02"
NETWORK_API, AUTHORIZATION_API, SKUS_API = "2026-03-01", "2022-04-01", "2021-07-01"
ASSIGNMENT_USAGE_API = "2019-08-01-preview"
"""API versions of requests without an SDK operation; the same as the SDKs'."""

# The SDKs log every request with its headers at INFO.
logging.getLogger("azure").setLevel(logging.WARNING)

_AUTHORIZATION = "Microsoft.Authorization"
_LISTS = {
    "machine": ("Microsoft.Compute/virtualMachines", COMPUTE_API),
    "nic": ("Microsoft.Network/networkInterfaces", NETWORK_API),
    "disk": ("Microsoft.Compute/disks", DISKS_API),
}


@dataclass(frozen=True, slots=True)
class AssignmentUsage:
    """The subscription's role assignments at all scopes, without those of management groups."""

    count: int
    limit: int


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """An existing role assignment: its scope, name (a GUID) and description."""

    scope: str
    name: str
    description: str


def _sdk_clients() -> tuple[Any, Any, Any]:
    """The SDK's clients for compute, network and authorization.

    Imported at the first call, since that takes half of a cold start and most requests to the app need
    none of them; without garbage collection, which would be a quarter of it.
    """
    gc.disable()
    try:
        from azure.mgmt.authorization.aio import AuthorizationManagementClient
        from azure.mgmt.compute.aio import ComputeManagementClient
        from azure.mgmt.network.aio import NetworkManagementClient
    finally:
        gc.enable()
    return ComputeManagementClient, NetworkManagementClient, AuthorizationManagementClient


class Azure:
    """Client for one resource group. One per process and account (see `credentials.connect`).

    Must be created in an event loop, which closes it and its credential once nothing refers to it.
    """

    def __init__(
        self,
        credential: AsyncTokenCredential,
        endpoint: str,
        subscription_id: str,
        group: str,
        on_response: Callable[[Any], None],
    ) -> None:
        compute, network, authorization = _sdk_clients()
        self._group, self._credential, self._audience = group, credential, f"{endpoint}/.default"
        options: dict[str, Any] = {
            "base_url": endpoint,
            "credential_scopes": [self._audience],
            "retry_total": 0,
            "raw_response_hook": on_response,
        }
        self.scope = names.resource_group_id(subscription_id, group)
        """The resource group's ARM ID."""
        self.subscription = f"/subscriptions/{subscription_id}"
        """The subscription's ARM ID."""

        def client(kind: Any) -> Any:
            # New policies per client: a policy belongs to one pipeline.
            return kind(
                credential,
                subscription_id,
                per_retry_policies=policies(),
                transport=AzureTransport(),
                **options,
            )

        self._compute: ComputeManagementClient = client(compute)
        self._network: NetworkManagementClient = client(network)
        self._roles: AuthorizationManagementClient = client(authorization)
        # No policies: a blob URL contains its own SAS, and our token must not reach a storage account.
        blobs: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(endpoint, policies=[])
        self.images = Images(self._compute, self.subscription)
        self.console = SerialConsole(self._compute, blobs, group)
        opened = (self._compute, self._network, self._roles, blobs, credential)
        # Not when it is evicted from a cache: a request of its, or the next one, may still need it.
        close_unused(self, opened)

    async def resource_group(self) -> Body:
        """The resource group. Raises HttpResponseError (404 if it does not exist)."""
        path = self.scope.replace("/resourceGroups/", "/resourcegroups/")
        found: Body = await get_json(self._compute, f"{path}?api-version={RESOURCE_GROUPS_API}")
        return found

    async def get_vnet(self, name: str) -> ArmResponse | None:
        return await get_or_none(self._network.virtual_networks.get, self._group, name)

    async def put_vnet(self, name: str, body: Body) -> ArmResponse:
        return await start_operation(
            self._network.virtual_networks.begin_create_or_update, self._group, name, body
        )

    async def put_subnet(
        self, vnet: str, name: str, body: Body, etag: str | None = None
    ) -> ArmResponse:
        """With an `etag`, raises HttpResponseError (412) if the subnet has changed since."""
        put = self._network.subnets.begin_create_or_update
        headers = {"If-Match": etag} if etag else {}
        return await start_operation(put, self._group, vnet, name, body, headers=headers)

    async def get_security_group(self, name: str) -> ArmResponse | None:
        return await get_or_none(self._network.network_security_groups.get, self._group, name)

    async def put_security_group(self, name: str, body: Body) -> ArmResponse:
        return await start_operation(
            self._network.network_security_groups.begin_create_or_update, self._group, name, body
        )

    async def get_nic(self, name: str) -> ArmResponse | None:
        return await get_or_none(self._network.network_interfaces.get, self._group, name)

    async def put_nic(self, name: str, body: Body, etag: str | None = None) -> ArmResponse:
        """Create a NIC or, with an `etag`, change it.

        Raises HttpResponseError: 412 if the NIC to create exists, or the one to change has changed.
        """
        put = self._network.network_interfaces.begin_create_or_update
        headers = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        return await start_operation(put, self._group, name, body, headers=headers)

    async def delete_nic(self, name: str) -> None:
        await start_operation(self._network.network_interfaces.begin_delete, self._group, name)

    async def put_machine(self, name: str, body: Body) -> ArmResponse:
        return await start_operation(
            self._compute.virtual_machines.begin_create_or_update, self._group, name, body
        )

    async def get_machine(self, name: str) -> ArmResponse | None:
        return await get_or_none(self._compute.virtual_machines.get, self._group, name)

    async def instance_view(self, name: str) -> Body:
        """The runtime status of a VM; empty if it does not exist."""
        found = await get_or_none(self._compute.virtual_machines.instance_view, self._group, name)
        return {} if found is None else found.body

    async def delete_machine(self, name: str) -> None:
        """Start the deletion, which includes NIC and disk. Succeeds if the VM is absent (204)."""
        await start_operation(
            self._compute.virtual_machines.begin_delete, self._group, name, force_deletion=True
        )

    async def delete_disk(self, name: str) -> None:
        await start_operation(self._compute.disks.begin_delete, self._group, name)

    async def list_kind(self, kind: str) -> list[Body]:
        """All `machine`, `nic` or `disk` resources; empty if the resource group does not exist."""
        path, api_version = _LISTS[kind]
        url = f"{self.scope}/providers/{path}?api-version={api_version}"
        try:
            return await list_all(self._compute, url)
        except HttpResponseError as error:
            if code_of(error) != "ResourceGroupNotFound":
                raise
            return []

    async def list_batch(self, kind: str, batch_id: int) -> dict[int, Body]:
        """The `machine`, `nic` or `disk` resources that have a name of the batch, by ordinal.

        By name and not by tag, because a VM that is Contributor at itself may write its own tags.
        """
        found = [(names.vm_key(kind, item["name"]), item) for item in await self.list_kind(kind)]
        return {key.ordinal: item for key, item in found if key and key.batch_id == batch_id}

    async def object_id(self) -> str | None:
        """The object ID of the principal that the credential authenticates; None if Entra withholds it.

        Raises ClientAuthenticationError. The token is not verified: it comes from Entra over TLS.
        """
        token = await self._credential.get_token(self._audience)
        _, claims, _ = token.token.split(".")
        found = json.loads(base64.urlsafe_b64decode(f"{claims}==")).get("oid")
        return None if found is None else str(found)

    async def put_assignment(self, scope: str, name: str, body: Body) -> None:
        await self._roles.role_assignments.create(scope.lstrip("/"), name, body)

    async def delete_assignment(self, scope: str, name: str) -> None:
        """Succeeds if the assignment is absent (204, or 404 with its scope)."""
        with contextlib.suppress(ResourceNotFoundError):
            await self._roles.role_assignments.delete(scope.lstrip("/"), name)

    async def list_assignments(self, scope: str) -> list[RoleAssignment]:
        """Role assignments at, above and below a scope."""
        url = f"{scope}/providers/{_AUTHORIZATION}/roleAssignments?api-version={AUTHORIZATION_API}"
        found = [(item["name"], item["properties"]) for item in await list_all(self._compute, url)]
        return [RoleAssignment(p["scope"], name, p.get("description") or "") for name, p in found]

    async def assignment_usage(self) -> AssignmentUsage:
        """The role assignments of the subscription and their limit, as Azure counts them."""
        url = f"{self.subscription}/providers/{_AUTHORIZATION}/roleAssignmentsUsageMetrics"
        found = await get_json(self._compute, f"{url}?api-version={ASSIGNMENT_USAGE_API}")
        try:
            count, limit = found["roleAssignmentsCurrentCount"], found["roleAssignmentsLimit"]
            return AssignmentUsage(int(count), int(limit))
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceResponseError("Azure's usage of role assignments has no count.") from error

    async def get_role(self, role: str) -> Body | None:
        """The definition of a role by its GUID; None if it cannot be assigned in the resource group."""
        path = f"{self.scope}/providers/{_AUTHORIZATION}/roleDefinitions/{role}"
        url = f"{path}?api-version={AUTHORIZATION_API}"
        return await get_json_or_none(self._compute, url, {"RoleDefinitionDoesNotExist"})

    async def list_permissions(self, scope: str) -> list[Body]:
        """The caller's permissions at a scope: `{actions, notActions, …}` per role."""
        url = f"{scope}/providers/{_AUTHORIZATION}/permissions?api-version={AUTHORIZATION_API}"
        return await list_all(self._compute, url)

    async def list_skus(self, location: str) -> list[Body]:
        """A region's VM sizes, with capabilities and restrictions."""
        query = f"api-version={SKUS_API}&$filter=location%20eq%20%27{location}%27"
        url = f"{self.subscription}/providers/Microsoft.Compute/skus?{query}"
        skus = await list_all(self._compute, url)
        return [sku for sku in skus if sku["resourceType"] == "virtualMachines"]

    async def list_usages(self, location: str) -> list[Body]:
        """A region's compute quotas: `{name: {value}, currentValue, limit}`, in vCPUs or VMs."""
        url = f"{self.subscription}/providers/Microsoft.Compute/locations/{location}/usages"
        return await list_all(self._compute, f"{url}?api-version={COMPUTE_API}")

    async def get_network(self, network_id: str) -> Body | None:
        """A virtual network of any resource group, with its subnets; None if it does not exist."""
        return await get_json_or_none(self._compute, f"{network_id}?api-version={NETWORK_API}")

    async def list_network_usages(self, network_id: str) -> list[Body]:
        """The IP address usage of a virtual network's subnets: `{id, currentValue, limit}`."""
        return await list_all(self._compute, f"{network_id}/usages?api-version={NETWORK_API}")
