"""The VMs of a fleet in a durable history, as short as possible: every episode repeats them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from typing_extensions import TypedDict

from fleet.model.order_parts import FleetRef
from fleet.model.records import Placement, StoredVm, Vm, new_vm


class VmList(TypedDict):
    machines: list[dict[str, Any]]
    """A `Vm` or `StoredVm` each, without the initial values; its `placement` is an index."""
    vm_placements: list[Placement]
    """Each once."""


def shortened(order: FleetRef, vms: Iterable[StoredVm]) -> VmList:
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


def restored(order: FleetRef, found: Mapping[str, Any] | Sequence[Vm]) -> list[Vm]:
    """The VMs in a document with the members of a `VmList`; none without them.

    Earlier builds wrote whole records: as `machines`, or alone.
    """
    document: Mapping[str, Any] = found if isinstance(found, Mapping) else {"machines": found}
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
