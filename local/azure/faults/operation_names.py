"""What a plan calls the operations of the cloud."""

from __future__ import annotations

from local.azure.arm.calls import Call

_VM = "Microsoft.Compute/virtualMachines"
_DISK = "Microsoft.Compute/disks"
_NIC = "Microsoft.Network/networkInterfaces"
_VNET = "Microsoft.Network/virtualNetworks"
_ROLE = "Microsoft.Authorization/roleAssignments"
_GROUP = "subscriptions/resourceGroups"

_Key = tuple[str, str, str, bool]


def _rows(phase: str, *rows: tuple[str, str, str]) -> dict[_Key, str]:
    """Each row: the name, the method, the type; `[]` after a type stands for the collection."""
    return {
        (phase, method, type_.removesuffix("[]").lower(), type_.endswith("[]")): name
        for name, method, type_ in rows
    }


_NAMES = {
    **_rows(
        "accept",
        ("token", "POST", "token[]"),
        ("group.get", "GET", _GROUP),
        ("skus", "GET", "Microsoft.Compute/skus[]"),
        ("usages", "GET", "Microsoft.Compute/locations/usages[]"),
        ("vnet.put", "PUT", _VNET),
        ("vnet.get", "GET", _VNET),
        ("vnet.delete", "DELETE", _VNET),
        ("subnet.put", "PUT", f"{_VNET}/subnets"),
        ("subnet.get", "GET", f"{_VNET}/subnets"),
        ("subnet.delete", "DELETE", f"{_VNET}/subnets"),
        ("nic.put", "PUT", _NIC),
        ("nic.get", "GET", _NIC),
        ("nic.list", "GET", f"{_NIC}[]"),
        ("nic.delete", "DELETE", _NIC),
        ("vm.put", "PUT", _VM),
        ("vm.get", "GET", _VM),
        ("vm.list", "GET", f"{_VM}[]"),
        ("vm.delete", "DELETE", _VM),
        ("disk.get", "GET", _DISK),
        ("disk.list", "GET", f"{_DISK}[]"),
        ("disk.delete", "DELETE", _DISK),
        ("role.put", "PUT", _ROLE),
        ("role.list", "GET", f"{_ROLE}[]"),
        ("role.delete", "DELETE", _ROLE),
    ),
    **_rows(
        "finish",
        ("vm.boot", "PUT", _VM),
        ("vm.delete.operation", "DELETE", _VM),
        ("vnet.put.operation", "PUT", _VNET),
        ("subnet.put.operation", "PUT", f"{_VNET}/subnets"),
        ("nic.delete.operation", "DELETE", _NIC),
        ("disk.delete.operation", "DELETE", _DISK),
    ),
}

READ = "read"
"""Any GET, whatever else it is."""

NAMES = frozenset(_NAMES.values()) | {READ}
LATER = frozenset(name for (phase, *_), name in _NAMES.items() if phase == "finish")
"""Those that are about the end of a long-running operation: nobody waits for an answer."""


def names_of(phase: str, call: Call) -> frozenset[str]:
    """What a plan may call this passage; empty for what has no name."""
    target, method = call.target, call.request.method
    name = _NAMES.get((phase, method, target.kind, target.collection))
    read = phase == "accept" and method == "GET"
    return frozenset(([name] if name else []) + ([READ] if read else []))
