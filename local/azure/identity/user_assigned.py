"""Microsoft.ManagedIdentity/userAssignedIdentities: identities that VMs share."""

from __future__ import annotations

import uuid

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Resource
from local.azure.arm.schema import USER_ASSIGNED_IDENTITY
from local.azure.arm.validation import validate
from local.azure.cloud import Cloud
from local.azure.identity.directory import Principal

IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"


class UserAssignedIdentities:
    """PUT, GET and DELETE, all synchronous. Its principal replicates at once."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route("PUT", IDENTITY_TYPE, self._put),
            Route("GET", IDENTITY_TYPE, self._get),
            Route("DELETE", IDENTITY_TYPE, self._delete),
        ]

    async def _put(self, call: Call) -> Reply:
        body = validate(call.request.body, USER_ASSIGNED_IDENTITY)
        existing = self._cloud.store.find(call.target.path)
        if existing is not None:
            existing.body |= {"tags": body.get("tags") or {}}
            return Reply(200, existing.body)
        principal = Principal(str(uuid.uuid4()), str(uuid.uuid4()), vm_id=call.target.path)
        self._cloud.directory.add(principal)
        properties = {
            "tenantId": self._cloud.identity.tenant_id,
            "principalId": principal.object_id,
            "clientId": principal.client_id,
        }
        shown = {"id": call.target.path, "name": call.target.name, "type": IDENTITY_TYPE}
        resource = Resource(call.target, {**body, **shown, "properties": properties})
        self._cloud.store.add(resource)
        return Reply(201, resource.body)

    async def _get(self, call: Call) -> Reply:
        return Reply(200, self._cloud.store.get(call.target).body)

    async def _delete(self, call: Call) -> Reply:
        resource = self._cloud.store.find(call.target.path)
        if resource is None:
            return Reply(204)
        self._cloud.store.remove(resource)
        self._cloud.directory.remove(resource.properties["principalId"])
        return Reply(200)


def assigned_identity(cloud: Cloud, id_: str, vm_id: str) -> Principal:
    """The principal of an identity that a VM's body names. Raises ArmError 400.

    The message is from azure-policy#1311.
    """
    resource = cloud.store.find(id_)
    if resource is None or resource.target.kind != IDENTITY_TYPE.lower():
        raise ArmError(
            400,
            "FailedIdentityOperation",
            f"Identity operation for resource '{vm_id}' failed with error 'Failed to perform resource "
            'identity operation. Status: \'BadRequest\'. Response: \'{"error":{"code":"BadRequest",'
            f"\"message\":\"Resource '{id_}' was not found.\"}}}}'.'.",
        )
    principal = cloud.directory.find(resource.properties["principalId"])
    assert principal is not None
    return principal
