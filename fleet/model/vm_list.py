"""The VMs of a fleet in a durable history, as short as possible: every episode repeats them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from typing_extensions import TypedDict

from fleet.model.order_parts import FleetRef
from fleet.model.records import Placement, Vm, new_vm


class VmList(TypedDict):
    machines: list[dict[str, Any]]
    """A `Vm` each, without the members that have their initial value; `placement` is an index."""
    vm_placements: list[Placement]
    """Each once."""


def shortened(order: FleetRef, vms: Iterable[Vm]) -> VmList:
    """As JSON that `restored` reads."""
    indexes: dict[tuple[object, ...], int] = {}
    placements: list[Placement] = []
    machines = []
    for vm in vms:
        key = tuple(vm["placement"].values())
        if key not in indexes:
            indexes[key] = len(placements)
            placements.append(vm["placement"])
        initial: Mapping[str, object] = _initial(order, vm["ordinal"], vm["placement"])
        changed = {name: value for name, value in vm.items() if value != initial.get(name)}
        machines.append({"ordinal": vm["ordinal"], **changed, "placement": indexes[key]})
    return {"machines": machines, "vm_placements": placements}


def restored(order: FleetRef, document: Mapping[str, Any]) -> list[Vm]:
    """The VMs in a document with the members of a `VmList`, or with whole records; none without them."""
    placements = document.get("vm_placements", [])
    vms = []
    for one in document.get("machines", []):
        at = one["placement"]
        placement = placements[at] if isinstance(at, int) else at
        initial = _initial(order, one["ordinal"], placement)
        vms.append(cast(Vm, {**initial, **one, "placement": placement}))
    return vms


def _initial(order: FleetRef, ordinal: int, placement: Placement) -> Vm:
    return new_vm(
        order, {"ordinal": ordinal, "placement": placement, "replaces": None, "attempt": 1}
    )
