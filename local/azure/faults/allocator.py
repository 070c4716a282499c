"""What a region has for the subscription: quotas, sizes that are withheld, and room for VMs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from local.azure.arm.resources import Json, Resource, Store
from local.azure.compute.sizes import SIZES, ZONES, Size
from local.azure.faults.azure_errors import CATALOGUE
from local.azure.faults.plan import ANY, REGIONAL_QUOTAS, Capacity, Plan, Restriction
from local.azure.faults.template_values import vm_facts

_VMS = "microsoft.compute/virtualmachines"

CORE_LIMIT = 100_000
"""vCPUs a region, and a family, where the plan says nothing; high enough never to be met."""
_VM_LIMIT = 25_000

_ERRORS = {
    "cores": "RegionalQuota",
    "lowPriorityCores": "SpotQuota",
    "virtualMachines": "VirtualMachinesQuota",
}


class Supply:
    """Counts what stands against what the plan allows."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._placed: dict[str, Resource] = {}

    # Quotas

    def limits(self, location: str) -> dict[str, int]:
        """Every quota of a region, by name."""
        families = {size.family: CORE_LIMIT for size in SIZES.values()}
        high = {**dict.fromkeys(REGIONAL_QUOTAS, CORE_LIMIT), "virtualMachines": _VM_LIMIT}
        given = self._plan.quotas
        return high | families | given.get(ANY, {}) | given.get(location, {})

    def used(self, location: str) -> Counter[str]:
        """How much of each quota is used: a VM counts from its acceptance until it is gone."""
        used: Counter[str] = Counter()
        for resource in self._store:
            if resource.target.kind == _VMS and resource.location == location:
                used.update(_needs(resource.body))
        return used

    # What a new VM meets

    def admit(self, body: Json) -> None:
        """Raise ArmError 409 when a VM of this body cannot be had: first by its size, then by quota."""
        location, zone, size = vm_facts(body)
        if any(zone in zones for zones in self._withheld(SIZES[size.lower()], location)):
            values = {"size": size, "location": location}
            raise CATALOGUE["SkuNotAvailable"].error(values, None)
        if self._plan.quotas:  # counting takes time that a cloud without limits need not spend
            self._check_quotas(body, location)

    def _check_quotas(self, body: Json, location: str) -> None:
        limits, used = self.limits(location), self.used(location)
        for name, needed in _needs(body).items():
            if used[name] + needed > limits[name]:
                values = {
                    "family": name,
                    "location": location,
                    "limit": str(limits[name]),
                    "usage": str(used[name]),
                    "required": str(needed),
                    "new_limit": str(used[name] + needed),
                }
                raise CATALOGUE[_ERRORS.get(name, "FamilyQuota")].error(values, None)

    def restrictions(self, size: Size, location: str) -> list[Json]:
        """What the list of SKUs says of a size."""
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
            for rule in self._rules(size, location)
        ]

    def _rules(self, size: Size, location: str) -> Iterator[Restriction]:
        for rule in self._plan.restrictions:
            if rule.location in (ANY, location) and rule.size in (ANY, size.name):
                yield rule

    def _withheld(self, size: Size, location: str) -> Iterator[tuple[str | None, ...]]:
        """The zones of each rule; None stands for a VM without one."""
        for rule in self._rules(size, location):
            yield (None, *ZONES[location]) if rule.zones is None else rule.zones

    # Room for VMs

    def place(self, vm: Resource) -> None:
        """Give the VM its place. Raises ArmError AllocationFailed or ZonalAllocationFailed."""
        others = [other for key, other in self._placed.items() if key != vm.target.key]
        for rule in self._plan.capacity:
            if _falls_under(rule, vm) and rule.vms <= sum(_falls_under(rule, o) for o in others):
                zone = vm_facts(vm.body)[1]
                name = "AllocationFailed" if zone is None else "ZonalAllocationFailed"
                raise CATALOGUE[name].error({}, None)
        self._placed[vm.target.key] = vm

    def free(self, vm: Resource) -> None:
        """Take the VM's place back; nothing happens when it has none."""
        self._placed.pop(vm.target.key, None)


def _needs(body: Json) -> dict[str, int]:
    """What a VM takes of each quota, in the order in which Compute looks at them."""
    size = SIZES[vm_facts(body)[2].lower()]
    spot = str(body["properties"].get("priority") or "").lower() in ("spot", "low")
    cores = ["lowPriorityCores"] if spot else [size.family, "cores"]
    return {**dict.fromkeys(cores, size.vcpus), "virtualMachines": 1}


def _falls_under(rule: Capacity, vm: Resource) -> bool:
    location, zone, size = vm_facts(vm.body)
    return (
        rule.location in (ANY, location)
        and rule.zone in (ANY, zone)
        and rule.size.lower() in (ANY, size.lower())
    )
