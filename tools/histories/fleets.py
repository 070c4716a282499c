"""The fleets of a recording: together they have every phase, and what can happen to a fleet."""

from __future__ import annotations

from typing import Any

from tests.scenarios import CLIENT, FleetSpec, Moment, Scenario

_PLAIN: dict[str, Any] = {
    "n_instances": 3,
    "max_undead": 3,
    "min_instances": 1,
    "vm_size": "Standard_D2s_v5",
    "resource_uris": [],
    "client_principal_id": None,
    "max_lifetime": 240,
    "delete_on_complete": True,
}
_NEVER = Moment(10**6, 10.0**6)


def _fleet(ends: Any = "work", when: Moment = _NEVER, **more: Any) -> FleetSpec:
    own = {name: more.pop(name) for name in ("faults", "evictions") if name in more}
    return FleetSpec({**_PLAIN, **more}, trials=16, ends=ends, when=when, **own)


FLEETS = {
    "several waves at once, throttled and refused VMs, late roles": _fleet(
        n_instances=14,
        max_undead=8,
        zones=["1", "2"],
        resource_uris=["results"],
        client_principal_id=CLIENT,
        faults=(
            {"on": "vm.put", "nth": [2, 6], "slow": 150},
            {"on": "vm.put", "nth": [4], "error": "SubscriptionRequestsThrottled"},
            {"on": "vm.put", "nth": [7], "error": "SkuNotAvailable"},
            {"on": "nic.put", "nth": [3, 4], "lost": True},
            {"on": "role.put", "nth": [1, 5], "error": "PrincipalNotFound"},
        ),
    ),
    "VMs that fail while they boot": _fleet(
        faults=({"on": "vm.boot", "times": 2, "error": "OSProvisioningTimedOut"},),
    ),
    # The deadline and the cancel are late enough for a second history, on a busy machine too.
    "evictions until the deadline": _fleet(
        "deadline",
        max_lifetime=100,
        priority="Spot",
        fallbacks=[{"priority": "Regular"}],
        evictions=({"within": [200, 1500], "share": 0.7, "notice": 5},),
    ),
    "cancelled while it creates VMs": _fleet(
        "cancel",
        Moment(8, 5.0),
        n_instances=8,
        max_undead=4,
        faults=({"on": "vm.put", "slow": 100},),
    ),
    "cancelled while it runs": _fleet("cancel", Moment(10**6, 70.0)),
    "no VM is created": _fleet(faults=({"on": "vm.put", "error": "SkuNotAvailable"},)),
    "refused by the plan": _fleet(vm_size="Standard_E2s_v5"),
    "its VMs are kept": _fleet(max_lifetime=60, delete_on_complete=False),
    "a teardown with refused deletions": _fleet(
        faults=({"on": "nic.delete", "times": 2, "error": "NicReservedForAnotherVm"},),
    ),
}

SCENARIO = Scenario(tuple(FLEETS.values()), quotas={"*": {"standardESv5Family": 0}}, seed=1)
