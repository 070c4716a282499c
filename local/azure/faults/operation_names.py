"""The names that a fault plan uses for operations."""

from __future__ import annotations

from local.azure.arm.calls import Call

_VM = "Microsoft.Compute/virtualMachines"
_DISK = "Microsoft.Compute/disks"
_NIC = "Microsoft.Network/networkInterfaces"
_NSG = "Microsoft.Network/networkSecurityGroups"
_VNET = "Microsoft.Network/virtualNetworks"
_ROLE = "Microsoft.Authorization/roleAssignments"
_GROUP = "subscriptions/resourceGroups"

_Key = tuple[str, str, str, bool]


def _rows(stage: str, *rows: tuple[str, str, str]) -> dict[_Key, str]:
    """Each row is (name, method, type); `[]` after a type means the collection."""
    return {
        (stage, method, type_.removesuffix("[]").lower(), type_.endswith("[]")): name
        for name, method, type_ in rows
    }


_NAME_BY_KEY = {
    **_rows(
        "accepted",
        ("token", "POST", "token[]"),
        ("prices", "GET", "prices[]"),
        ("group.get", "GET", _GROUP),
        ("skus", "GET", "Microsoft.Compute/skus[]"),
        ("usages", "GET", "Microsoft.Compute/locations/usages[]"),
        ("vnet.put", "PUT", _VNET),
        ("vnet.get", "GET", _VNET),
        ("vnet.delete", "DELETE", _VNET),
        ("subnet.put", "PUT", f"{_VNET}/subnets"),
        ("subnet.get", "GET", f"{_VNET}/subnets"),
        ("subnet.delete", "DELETE", f"{_VNET}/subnets"),
        ("nsg.put", "PUT", _NSG),
        ("nsg.get", "GET", _NSG),
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
        "finishing",
        ("vm.boot", "PUT", _VM),
        ("vm.delete.operation", "DELETE", _VM),
        ("vnet.put.operation", "PUT", _VNET),
        ("subnet.put.operation", "PUT", f"{_VNET}/subnets"),
        ("nsg.put.operation", "PUT", _NSG),
        ("nic.delete.operation", "DELETE", _NIC),
        ("disk.delete.operation", "DELETE", _DISK),
    ),
}

READ = "read"
"""Any GET, in addition to its own name."""

OPERATIONS = frozenset(_NAME_BY_KEY.values()) | {READ}
LONG_RUNNING = frozenset(name for (stage, *_), name in _NAME_BY_KEY.items() if stage == "finishing")
"""Names for the end of a long-running operation, where no client waits for a response."""


def operation_names(stage: str, call: Call) -> frozenset[str]:
    """The names that match an operation; empty for one that a plan cannot name."""
    target, method = call.target, call.request.method
    name = _NAME_BY_KEY.get((stage, method, target.kind, target.collection))
    read = stage == "accepted" and method == "GET"
    return frozenset(([name] if name else []) + ([READ] if read else []))
