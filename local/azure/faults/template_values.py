"""The values of the placeholders in error templates, taken from the request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from local.azure.arm.calls import Call
from local.azure.arm.resources import Json, Store, member_at
from local.azure.compute.sizes import SIZES

_UNKNOWN = "unknown"


def resource_body(call: Call, store: Store) -> Json:
    """The body of a PUT; for other methods the body of the stored resource, or {}."""
    if call.request.method == "PUT" and isinstance(call.request.body, dict):
        return call.request.body
    found = store.find(call.target.path)
    return found.body if found is not None else {}


def vm_placement(body: Json) -> tuple[str, str | None, str]:
    """(location, zone, size) from a VM's body, which may be incomplete."""
    zones = body.get("zones")
    zone = str(zones[0]) if isinstance(zones, list) and zones else None
    size = member_at(body, "properties", "hardwareProfile", "vmSize")
    return str(body.get("location") or ""), zone, size if isinstance(size, str) else ""


def template_values(call: Call, store: Store, tenant: str) -> dict[str, str]:
    """The value of every `$name` except `seconds`."""
    target, body = call.target, resource_body(call, store)
    location, zone, size = vm_placement(body)
    known = SIZES.get(size.lower())
    vcpus = known.vcpus if known else 1
    network = f"{target.scope}/providers/Microsoft.Network"
    assignee = member_at(body, "properties", "principalId")
    now = datetime.now(UTC)
    return {
        "id": target.path,
        "name": target.name,
        "vm": target.name,
        "type": target.type,
        "namespace": target.type.partition("/")[0],
        "scope": target.scope,
        "group": target.group or _UNKNOWN,
        "subscription": target.subscription or _UNKNOWN,
        "tenant": tenant,
        "location": location or _UNKNOWN,
        "zone": zone or "",
        "size": size or _UNKNOWN,
        "family": known.family if known else _UNKNOWN,
        # A quota that is one vCPU too small.
        "limit": str(vcpus - 1),
        "usage": "0",
        "required": str(vcpus),
        "new_limit": str(vcpus),
        "client": call.principal.client_id,
        "principal": call.principal.object_id,
        "assignee": str(assignee or _UNKNOWN).replace("-", ""),
        "assignment": target.name.replace("-", ""),
        "action": f"{target.type}/{'delete' if call.request.method == 'DELETE' else 'write'}",
        "operation": f"{call.request.method}/{target.type}".upper(),
        "operation_uri": f"{call.request.base}{target.path}",
        "vm_id": f"{target.scope}/providers/Microsoft.Compute/virtualMachines/{target.name}",
        "nic_id": f"{network}/networkInterfaces/{target.name}",
        "subnet": f"{network}/virtualNetworks/v/subnets/{target.name}",
        "subnet_name": target.name,
        "image": ":".join(
            str(member_at(body, "properties", "storageProfile", "imageReference", part))
            for part in ("publisher", "offer", "sku", "version")
        ),
        "put_operation": "PutSubnetOperation",
        "prefix": "10.0.0.0/24",
        "disk": f"{target.name}_osdisk",
        "disk_type": "Premium_LRS",
        "generation": "1",
        "supported": "Arm64",
        "given": "x64",
        "policy": "PutVM",
        "interval": "00:01:00",
        "begin": (now - timedelta(minutes=1)).isoformat(),
        "end": now.isoformat(),
    }
