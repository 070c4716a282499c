"""Admits VMs against the quotas, restrictions and capacity of the fault plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from local.azure.arm.resources import Json, Resource, Store
from local.azure.compute.sizes import SIZES, ZONES, Size, is_spot
from local.azure.faults.azure_errors import azure_error
from local.azure.faults.plan import ANY, REGIONAL_QUOTAS, Capacity, Plan, Restriction
from local.azure.faults.template_values import vm_placement

_VMS = "microsoft.compute/virtualmachines"

CORE_LIMIT = 100_000
"""Default vCPU limit per region and per family; high enough never to be reached."""
_VM_LIMIT = 25_000

_QUOTA_ERRORS = {
    "cores": "RegionalQuota",
    "lowPriorityCores": "SpotQuota",
    "virtualMachines": "VirtualMachinesQuota",
}


class Allocator:
    """Tracks quota usage and allocated VMs against the plan's limits."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._allocated: dict[str, Resource] = {}

    # Quotas

    def limits(self, location: str) -> dict[str, int]:
        """Every quota of a region, by name."""
        families = {size.family: CORE_LIMIT for size in SIZES.values()}
        high = {**dict.fromkeys(REGIONAL_QUOTAS, CORE_LIMIT), "virtualMachines": _VM_LIMIT}
        given = self._plan.quotas
        return high | families | given.get(ANY, {}) | given.get(location, {})

    def usage(self, location: str) -> Counter[str]:
        """Usage of each quota: a VM counts from its acceptance until it is deleted."""
        used: Counter[str] = Counter()
        for resource in self._store:
            if resource.target.kind == _VMS and resource.location == location:
                used.update(_required(resource.body))
        return used

    # Admission of a new VM

    def admit(self, body: Json) -> None:
        """Raise ArmError 409 if the size is restricted, or else if a quota would be exceeded."""
        location, zone, size = vm_placement(body)
        if any(zone in zones for zones in self._restricted_zones(SIZES[size.lower()], location)):
            raise azure_error("SkuNotAvailable", size=size, location=location)
        if self._plan.quotas:  # counting is slow, and unneeded without limits
            self._check_quotas(body, location)

    def _check_quotas(self, body: Json, location: str) -> None:
        limits, used = self.limits(location), self.usage(location)
        for name, needed in _required(body).items():
            if used[name] + needed > limits[name]:
                raise azure_error(
                    _QUOTA_ERRORS.get(name, "FamilyQuota"),
                    family=name,
                    location=location,
                    limit=str(limits[name]),
                    usage=str(used[name]),
                    required=str(needed),
                    new_limit=str(used[name] + needed),
                )

    def restrictions(self, size: Size, location: str) -> list[Json]:
        """The restrictions of a size, as the list of SKUs reports them."""
        return [
            {
                "type": "Location" if rule.zones is None else "Zone",
                "values": [location],
                "restrictionInfo": {
                    "locations": [location],
                    **({} if rule.zones is None else {"zones": list(rule.zones)}),
                },
                "reasonCode": "NotAvailableForSubscription",
            }
            for rule in self._restrictions(size, location)
        ]

    def _restrictions(self, size: Size, location: str) -> Iterator[Restriction]:
        for rule in self._plan.restrictions:
            if rule.location in (ANY, location) and rule.size in (ANY, size.name):
                yield rule

    def _restricted_zones(self, size: Size, location: str) -> Iterator[tuple[str | None, ...]]:
        """The zones of each restriction; None is a VM without a zone."""
        for rule in self._restrictions(size, location):
            yield (None, *ZONES[location]) if rule.zones is None else rule.zones

    # Capacity

    def allocate(self, vm: Resource) -> None:
        """Allocate the VM. Raises ArmError AllocationFailed or ZonalAllocationFailed."""
        others = [other for key, other in self._allocated.items() if key != vm.target.key]
        for rule in self._plan.capacity:
            if _matches(rule, vm) and rule.vms <= sum(_matches(rule, o) for o in others):
                zone = vm_placement(vm.body)[1]
                raise azure_error("AllocationFailed" if zone is None else "ZonalAllocationFailed")
        self._allocated[vm.target.key] = vm

    def release(self, vm: Resource) -> None:
        """Release the VM's capacity. Idempotent."""
        self._allocated.pop(vm.target.key, None)


def _required(body: Json) -> dict[str, int]:
    """What a VM requires of each quota, in the order in which Compute checks them."""
    size = SIZES[vm_placement(body)[2].lower()]
    cores = ["lowPriorityCores"] if is_spot(body["properties"]) else [size.family, "cores"]
    return {**dict.fromkeys(cores, size.vcpus), "virtualMachines": 1}


def _matches(rule: Capacity, vm: Resource) -> bool:
    location, zone, size = vm_placement(vm.body)
    return (
        rule.location in (ANY, location)
        and rule.zone in (ANY, zone)
        and rule.size.lower() in (ANY, size.lower())
    )
