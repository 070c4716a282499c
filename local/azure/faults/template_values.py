"""What an error's text can say about the request that it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from local.azure.arm.calls import Call
from local.azure.arm.resources import Json, Store
from local.azure.compute.sizes import SIZES

_UNKNOWN = "unknown"


def body_of(call: Call, store: Store) -> Json:
    """The body of a PUT; of any other request the resource that it is about; empty without one."""
    if call.request.method == "PUT" and isinstance(call.request.body, dict):
        return call.request.body
    found = store.find(call.target.path)
    return found.body if found is not None else {}


def vm_facts(body: Json) -> tuple[str, str | None, str]:
    """(location, zone, size) of a VM's body, however incomplete."""
    zones = body.get("zones")
    zone = str(zones[0]) if isinstance(zones, list) and zones else None
    size = _inside(body, "properties", "hardwareProfile", "vmSize")
    return str(body.get("location") or ""), zone, size if isinstance(size, str) else ""


def _inside(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def values(call: Call, store: Store, tenant: str) -> dict[str, str]:
    """Every `$name` of the catalogue but `seconds`."""
    target, body = call.target, body_of(call, store)
    location, zone, size = vm_facts(body)
    known = SIZES.get(size.lower())
    vcpus = known.vcpus if known else 1
    network = f"{target.scope}/providers/Microsoft.Network"
    assignee = _inside(body, "properties", "principalId")
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
        # A quota in which all is used but one vCPU less than is asked for.
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
            str(_inside(body, "properties", "storageProfile", "imageReference", part))
            for part in ("publisher", "offer", "sku", "version")
        ),
        "policy": "PutVM",
        "interval": "00:01:00",
        "begin": (now - timedelta(minutes=1)).isoformat(),
        "end": now.isoformat(),
    }
