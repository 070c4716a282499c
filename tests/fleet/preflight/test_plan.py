"""What a plan makes of Azure's answers, as Azure sends them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from fleet.model.records import Order
from fleet.preflight.plan import CHECKS, LOCATION_CHECKS, Check, evaluate
from fleet.preflight.plan_inputs import Network, PlanInputs, Region, Unavailable, scopes
from fleet.store.database import DatabaseUnreachable

S = "/subscriptions/941eb251-27ab-53dd-b1e0-b1ca8fecaab2"
GROUP = f"{S}/resourceGroups/powerlift"
VNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks"
OURS = f"{VNET}/powerlift-vnet-eastus/subnets/powerlift-subnet-eastus"
THEIRS = f"{VNET}/theirs/subnets/s"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/one"
OWNER = {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
CONTRIBUTOR = {
    "actions": ["*"],
    "notActions": [
        "Microsoft.Authorization/*/Delete",
        "Microsoft.Authorization/*/Write",
        "Microsoft.Authorization/elevateAccess/Action",
    ],
}
VM = {
    "ephemeral_os_disk": False,
    "disk_type": "Standard_LRS",
    "image": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
}
NO_ANSWER = Unavailable(ServiceRequestError("no answer"))


def order(**changes: Any) -> Order:
    """An order of ten VMs of two vCPUs each."""
    usual: dict[str, Any] = {
        "batch_id": 1,
        "experiment_id": 1,
        "n_instances": 10,
        "min_instances": 2,
        "resource_uris": [],
        "subscription_id": S.rpartition("/")[2],
        "resource_group": "powerlift",
        "client_principal_id": None,
        "client_principal_type": "User",
        "location": "eastus",
        "zones": [],
        "vm_size": "Standard_D2s_v5",
        "priority": "Regular",
        "fallbacks": [],
        "vm": VM,
        "outbound": "existing" if changes.get("subnet_id") else "default",
        "subnet_id": None,
    }
    made: Any = {**usual, **changes}
    return made  # type: ignore[no-any-return]


def sku(name: str = "Standard_D2s_v5", family: str = "standardDSv5Family", **more: Any) -> Any:
    can = {"vCPUs": "2", "LowPriorityCapable": "True", "EphemeralOSDiskSupported": "False"}
    capabilities = {**can, **more.pop("capabilities", {})}
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": family,
        "locations": ["eastus"],
        "locationInfo": [{"location": "eastus", "zones": ["1", "2"]}],
        "capabilities": [{"name": name, "value": value} for name, value in capabilities.items()],
        "restrictions": [],
        **more,
    }


def restriction(kind: str, **info: list[str]) -> Any:
    return {
        "type": kind,
        "values": ["eastus"],
        "restrictionInfo": info,
        "reasonCode": "NotAvailableForSubscription",
    }


def usages(**rest: int | None) -> list[Any]:
    """Quotas of 100 of which so much is left; None leaves one out."""
    names = {"cores": 100, "standardDSv5Family": 100, "lowPriorityCores": 100, **rest}
    return [
        {"limit": 100, "currentValue": 100 - left, "name": {"value": name}, "unit": "Count"}
        for name, left in {**names, "virtualMachines": 100}.items()
        if left is not None
    ]


def network(subnet_id: str, used: int = 0, **properties: Any) -> Network:
    """A network of one subnet with 11 addresses."""
    subnet = {"id": subnet_id, "name": "s", "properties": properties}
    usage = {"id": subnet_id, "currentValue": float(used), "limit": 11.0}
    return Network({"location": "eastus", "properties": {"subnets": [subnet]}}, [usage])


def region(**changes: Any) -> Region:
    return Region(**{"skus": [sku()], "usages": usages(), "network": None, **changes})


def role(*permissions: Any) -> Any:
    return {"properties": {"roleName": "Fleet VM", "permissions": list(permissions)}}


def inputs(asked: Order | None = None, **changes: Any) -> PlanInputs:
    """A survey in which all is well."""
    asked = asked or order()
    usual: dict[str, Any] = {
        "group": {"name": "powerlift", "location": "eastus"},
        "trials": {"total": 50, "ready": 49, "running": 1, "complete": 0, "error": 0},
        "regions": {"eastus": region()},
        "permissions": {scope: [OWNER] for scope in scopes(asked)},
        "assignments": 1,
        "vm_role": role(CONTRIBUTOR),
        "size_limits": [],
        "custom_data_fault": None,
        "conflicting_batch": None,
        "foreign_nics": [],
        "schema": 1,
    }
    return PlanInputs(order=asked, **{**usual, **changes})


def found(seen: PlanInputs, name: str) -> list[Check]:
    return [check for check in evaluate(seen)["checks"] if check["name"] == name]


def one(seen: PlanInputs, name: str) -> Check:
    (check,) = found(seen, name)
    return check


def statuses(seen: PlanInputs, name: str) -> list[str]:
    return [check["status"] for check in found(seen, name)]


def test_without_problems_every_check_is_ok():
    assert {check["status"] for check in evaluate(inputs())["checks"]} == {"ok"}


def test_every_check_is_in_its_page():
    page = (Path(__file__).parents[3] / "docs" / "plan.md").read_text()
    assert [name for name in {**CHECKS, **LOCATION_CHECKS} if f"| `{name}` |" not in page] == []


def test_what_was_left_open_is_resolved():
    assert evaluate(inputs())["resolved"] == {
        "location": "eastus",
        "n_instances": 10,
        "sizes": {"Standard_D2s_v5": {"family": "standardDSv5Family", "vcpus": 2}},
    }


def test_a_fault_is_a_failure_of_the_fleet_with_its_code_and_advice():
    (fault,) = evaluate(inputs(trials=None))["faults"]
    assert (fault["code"], fault["action"], bool(fault["advice"])) == (
        "ExperimentNotFound",
        "fail_fleet",
        True,
    )


def test_nothing_that_could_not_be_seen_is_a_fault():
    blind = region(skus=NO_ANSWER, usages=NO_ANSWER, network=NO_ANSWER)
    seen = inputs(
        group=NO_ANSWER,
        trials=NO_ANSWER,
        regions={"eastus": blind},
        permissions={GROUP: NO_ANSWER},
        assignments=NO_ANSWER,
        vm_role=NO_ANSWER,
    )
    plan = evaluate(seen)
    assert plan["faults"] == []
    assert {check["name"] for check in plan["checks"] if check["status"] == "unknown"} == {
        "resource_group",
        "trials",
        "permissions",
        "role_assignments",
        "vm_role",
        "sizes",
        "quota",
        "subnet",
        "addresses",
    }


def test_without_a_location_what_depends_on_it_is_unknown():
    seen = inputs(order(location=None), regions={})
    assert {c["name"] for c in evaluate(seen)["checks"] if c["status"] == "unknown"} == {
        "sizes",
        "burstable",
        "quota",
        "subnet",
        "addresses",
    }


# Trials


def trials(ready: int, running: int = 0) -> dict[str, int]:
    return {"total": 50, "ready": ready, "running": running, "complete": 0, "error": 0}


@pytest.mark.parametrize(
    ("left", "expected", "made"),
    [
        (trials(10), "ok", 10),
        (trials(6, 4), "ok", 10),
        (trials(6), "warning", 6),
        (trials(1), "warning", 1),  # min_instances is 2: it is lowered too
        (trials(0), "fault", 1),
        (None, "fault", 10),
    ],
)
def test_no_more_vms_are_made_than_trials_are_left(left: Any, expected: str, made: int):
    seen = inputs(trials=left)
    assert (one(seen, "trials")["status"], seen.wanted) == (expected, made)


def test_a_database_that_does_not_answer_is_a_fault():
    seen = inputs(trials=Unavailable(DatabaseUnreachable("The database does not answer.")))
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["DatabaseUnreachable"]


def test_custom_data_that_is_too_large_is_a_fault():
    assert one(inputs(custom_data_fault="It is too large."), "custom_data")["status"] == "fault"


def test_a_batch_with_the_runner_ids_of_another_is_rejected():
    [fault] = evaluate(inputs(conflicting_batch=7))["faults"]
    assert (fault["code"], "Batch 7" in fault["message"]) == ("RunnerIdsTaken", True)


def test_a_batch_id_that_another_deployment_uses_is_rejected():
    [fault] = evaluate(inputs(foreign_nics=["powerlift-nic-1-0000"]))["faults"]
    assert (fault["code"], "powerlift-nic-1-0000" in fault["message"]) == ("BatchIdTaken", True)


# Quotas


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({}, "ok"),
        ({"standardDSv5Family": 20}, "ok"),
        ({"standardDSv5Family": 14}, "warning"),
        ({"cores": 14}, "warning"),
        ({"standardDSv5Family": 3}, "fault"),
        ({"cores": 0}, "fault"),
        ({"cores": -4}, "fault"),  # a limit lowered below what runs
        ({"lowPriorityCores": 0}, "ok"),
        ({"standardDSv5Family": None}, "unknown"),
        ({"standardDSv5Family": None, "cores": 14}, "warning"),
    ],
)
def test_quotas_are_counted_in_vcpus(rest: dict[str, int | None], expected: str):
    seen = inputs(regions={"eastus": region(usages=usages(**rest))})
    assert statuses(seen, "quota") == [expected]


def test_the_answer_has_the_numbers_that_it_counted_with():
    seen = inputs(regions={"eastus": region(usages=usages(standardDSv5Family=14))})
    assert one(seen, "quota")["detail"] == (
        "7 of 10 VMs fit: standardDSv5Family in eastus has 14 of 100 left;"
        " a Standard_D2s_v5 requires 2"
    )


def test_a_family_is_found_under_stray_spaces_and_in_other_letters():
    stray = {"limit": 100, "currentValue": 86, "name": {"value": " StandardDsv5Family"}}
    other = [*usages(standardDSv5Family=None), stray]
    seen = inputs(regions={"eastus": region(usages=other)})
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit")


def test_spot_has_a_quota_of_its_own():
    spot = order(priority="Spot")
    rest = usages(cores=0, standardDSv5Family=0, lowPriorityCores=14)
    seen = inputs(spot, regions={"eastus": region(usages=rest)})
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit: lowPriorityCores")


def test_places_of_one_family_share_its_quota():
    asked = order(fallbacks=[{"vm_size": "Standard_D4s_v5"}])
    skus = [sku(), sku("Standard_D4s_v5", capabilities={"vCPUs": "4"})]
    seen = inputs(
        asked, regions={"eastus": region(skus=skus, usages=usages(standardDSv5Family=15))}
    )
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit")


def test_places_of_two_families_share_their_region():
    asked = order(fallbacks=[{"vm_size": "Standard_F2s_v2"}])
    skus = [sku(), sku("Standard_F2s_v2", "standardFSv2Family")]
    rest = usages(cores=16, standardDSv5Family=10, standardFSv2Family=10)
    seen = inputs(asked, regions={"eastus": region(skus=skus, usages=rest)})
    assert one(seen, "quota")["detail"].startswith("8 of 10 VMs fit")


def test_a_fallback_takes_what_the_first_place_cannot():
    asked = order(fallbacks=[{"location": "westus"}])
    regions = {"eastus": region(usages=usages(cores=4)), "westus": region()}
    assert statuses(inputs(asked, regions=regions), "quota") == ["ok"]


def test_a_place_that_the_skus_rule_out_counts_for_nothing():
    asked = order(fallbacks=[{"location": "westus"}])
    closed = sku(restrictions=[restriction("Location", locations=["eastus"])])
    regions = {"eastus": region(skus=[closed]), "westus": region(usages=usages(cores=14))}
    assert one(inputs(asked, regions=regions), "quota")["detail"].startswith("7 of 10 VMs fit")


def test_quotas_are_reported_even_if_no_placement_is_open():
    closed = sku(restrictions=[restriction("Location", locations=["eastus"])])
    seen = inputs(regions={"eastus": region(skus=[closed], usages=usages(cores=0))})
    codes = [fault["code"] for fault in evaluate(seen)["faults"]]
    assert codes == ["SizeNotAvailable", "QuotaTooSmall"]


# Sizes

NVME = {"HyperVGenerations": "V2", "DiskControllerTypes": "NVMe"}
JAMMY = "0001-com-ubuntu-server-jammy"


def vm(**changes: Any) -> dict[str, Any]:
    """Changes of an order: some options of its VMs."""
    return {"vm": {**VM, **changes}}


def image(sku: str, **changes: str) -> dict[str, Any]:
    return vm(image={**VM["image"], "sku": sku, **changes})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("given", "expected"), [("standardssd_lrs", "ok"), ("Premuim_LRS", "warning")]
)
def test_an_unknown_type_of_disk_is_a_warning(given: str, expected: str):
    assert one(inputs(order(**vm(disk_type=given))), "disk_type")["status"] == expected


def test_a_size_that_does_not_suit_the_disk_is_named_with_the_reason():
    skus = [sku(capabilities={"PremiumIO": "False"})]
    seen = inputs(order(**vm(disk_type="Premium_LRS")), regions={"eastus": region(skus=skus)})
    assert one(seen, "sizes")["detail"] == (
        "eastus Standard_D2s_v5: no support for disk_type Premium_LRS"
    )


@pytest.mark.parametrize(
    ("changes", "offer", "expected"),
    [
        ({}, [sku()], "ok"),
        ({"vm_size": "standard_d2s_V5"}, [sku()], "ok"),
        ({}, [], "fault"),
        ({"vm_size": "Standard_Nope"}, [sku()], "fault"),
        ({"zones": ["1", "2"]}, [sku()], "ok"),
        ({"zones": ["1", "3"]}, [sku()], "warning"),
        ({"zones": ["3"]}, [sku()], "fault"),
        ({}, [sku(restrictions=[restriction("Location", locations=["EastUS"])])], "fault"),
        ({}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "ok"),
        ({"zones": ["1", "2"]}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "warning"),
        ({"zones": ["1"]}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "fault"),
        ({"priority": "Spot"}, [sku()], "ok"),
        ({"priority": "Spot"}, [sku(capabilities={"LowPriorityCapable": "False"})], "fault"),
        (vm(ephemeral_os_disk=True), [sku()], "fault"),
        (vm(disk_type="premium_LRS"), [sku(capabilities={"PremiumIO": "False"})], "fault"),
        (vm(disk_type="Premium_LRS"), [sku(capabilities={"PremiumIO": "True"})], "ok"),
        (vm(), [sku(capabilities={"PremiumIO": "False"})], "ok"),
        (vm(), [sku(capabilities={"CpuArchitectureType": "Arm64"})], "fault"),
        (image("server-arm64"), [sku(capabilities={"CpuArchitectureType": "Arm64"})], "ok"),
        (image("server-arm64"), [sku()], "fault"),
        (image("x", publisher="own"), [sku(capabilities={"CpuArchitectureType": "Arm64"})], "ok"),
        (vm(), [sku(capabilities=NVME)], "ok"),
        (image("server-gen1"), [sku(capabilities=NVME)], "fault"),
        (image("22_04-lts", offer=JAMMY), [sku(capabilities={"HyperVGenerations": "V2"})], "fault"),
        (image("22_04-lts-gen2", offer=JAMMY), [sku(capabilities=NVME)], "ok"),
        (image("server-gen1"), [sku(capabilities={"HyperVGenerations": "V1,V2"})], "ok"),
        ({"fallbacks": [{"vm_size": "Standard_Nope"}]}, [sku()], "warning"),
    ],
)
def test_the_skus_determine_where_a_size_is_available(
    changes: dict[str, Any], offer: list[Any], expected: str
):
    seen = inputs(order(**changes), regions={"eastus": region(skus=offer)})
    assert one(seen, "sizes")["status"] == expected


def test_a_place_that_is_ruled_out_is_named_with_the_reason():
    closed = sku(restrictions=[restriction("Zone", zones=["1"])])
    seen = inputs(order(zones=["1", "2"]), regions={"eastus": region(skus=[closed])})
    assert one(seen, "sizes")["detail"] == (
        "eastus/1 Standard_D2s_v5: restricted (NotAvailableForSubscription)"
    )


def test_a_burstable_size_is_a_warning_and_no_more():
    size = sku("Standard_B16s_v2", "standardBsv2Family")
    regions = {"eastus": region(skus=[size], usages=usages(standardBsv2Family=100))}
    seen = inputs(order(vm_size="Standard_B16s_v2"), regions=regions)
    assert (one(seen, "burstable")["status"], evaluate(seen)["faults"]) == ("warning", [])


# Networks


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, "ok"),
        ({"defaultOutboundAccess": True}, "ok"),
        ({"defaultOutboundAccess": False, "natGateway": {"id": "n"}}, "ok"),
        ({"defaultOutboundAccess": False, "routeTable": {"id": "r"}}, "unknown"),
    ],
)
@pytest.mark.parametrize("subnet_id", [None, THEIRS])
def test_outbound_access_of_an_existing_subnet(
    subnet_id: str | None, properties: dict[str, Any], expected: str
):
    existing_subnet = network(subnet_id or OURS, **properties)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "subnet")["status"] == expected


@pytest.mark.parametrize(("subnet_id", "expected"), [(None, "fault"), (THEIRS, "warning")])
def test_a_private_subnet_has_no_known_outbound_access(subnet_id: str | None, expected: str):
    existing_subnet = network(subnet_id or OURS, defaultOutboundAccess=False)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "subnet")["status"] == expected


@pytest.mark.parametrize(
    ("used", "expected"), [(0, "ok"), (1, "ok"), (2, "warning"), (9, "warning"), (10, "fault")]
)
@pytest.mark.parametrize("subnet_id", [None, THEIRS])
def test_an_existing_subnet_needs_free_addresses(subnet_id: str | None, used: int, expected: str):
    existing_subnet = network(subnet_id or OURS, used)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "addresses")["status"] == expected


def test_addresses_that_azure_does_not_report_are_unknown():
    existing_subnet = replace(network(OURS), usages=NO_ANSWER)
    seen = inputs(regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "addresses")["status"] == "unknown"


def test_a_subnet_of_the_user_must_be_there():
    seen = inputs(order(subnet_id=THEIRS))
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["SubnetNotFound"]


def test_a_subnet_of_the_user_must_be_where_the_vms_are():
    existing_subnet = replace(network(THEIRS), body={**network(THEIRS).body, "location": "West US"})
    seen = inputs(order(subnet_id=THEIRS), regions={"eastus": region(network=existing_subnet)})
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["SubnetInOtherRegion"]


# Rights


VM_ROLE = {"actions": ["microsoft.compute/virtualmachines/*"], "notActions": []}
ACCESS = {"actions": ["*/read", "Microsoft.Authorization/*"], "notActions": []}
SECURED = {"networkSecurityGroup": {"id": f"{GROUP}/providers/Microsoft.Network/x"}}
NO_GROUPS = {
    "actions": ["*"],
    "notActions": ["*/networkSecurityGroups/write", "*/networkSecurityGroups/join/*"],
}
NO_NETWORKS = {"actions": ["*"], "notActions": ["Microsoft.Network/virtualNetworks/write"]}


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        ([OWNER], None),
        ([CONTRIBUTOR, ACCESS], None),
        ([CONTRIBUTOR], "Microsoft.Authorization/roleAssignments/{write,delete}"),
        ([NO_NETWORKS], "Microsoft.Network/virtualNetworks/{write}"),
        (
            [VM_ROLE, ACCESS],
            "Microsoft.Compute/disks/{delete}, "
            "Microsoft.Network/networkInterfaces/{write,delete,join/action}, "
            "Microsoft.Network/virtualNetworks/{write,subnets/write,subnets/join/action}, "
            "Microsoft.Network/networkSecurityGroups/{write,join/action}",
        ),
    ],
)
def test_rights_that_are_missing_are_named_with_their_scope(roles: list[Any], missing: str | None):
    details = [
        check["detail"]
        for check in found(inputs(permissions={GROUP: roles}), "permissions")
        if check["status"] == "fault"
    ]
    assert details == ([f"Missing permissions at {GROUP}: {missing}"] if missing else [])


def test_an_existing_network_needs_no_write_permission():
    seen = inputs(
        regions={"eastus": region(network=network(OURS, **SECURED))},
        permissions={GROUP: [NO_NETWORKS]},
    )
    assert statuses(seen, "permissions") == ["ok"]


def test_an_existing_network_without_a_security_group_needs_write_permission():
    existing = {"eastus": region(network=network(OURS))}
    seen = inputs(regions=existing, permissions={GROUP: [NO_GROUPS]})
    assert one(seen, "permissions")["detail"] == (
        f"Missing permissions at {GROUP}: Microsoft.Network/networkSecurityGroups/{{write,join/action}}"
    )


def test_each_resource_uri_needs_the_right_to_assign_roles():
    seen = inputs(
        order(resource_uris=[STORAGE]), permissions={GROUP: [OWNER], STORAGE: [CONTRIBUTOR]}
    )
    assert one(seen, "permissions")["detail"] == (
        f"Missing permissions at {STORAGE}: Microsoft.Authorization/roleAssignments/{{write,delete}}"
    )


def test_the_vms_identity_needs_the_right_to_assign_it():
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/vms"
    asked = order(vm_identity={"id": identity, "database_user": "vms"})
    reader = {"actions": ["*/read"]}
    seen = inputs(asked, permissions={GROUP: [OWNER], identity: [reader]})
    assert one(seen, "permissions")["detail"] == (
        f"Missing permissions at {identity}: "
        "Microsoft.ManagedIdentity/userAssignedIdentities/{assign/action}"
    )


def test_a_subnet_of_the_user_needs_the_right_to_join_it_alone():
    asked = order(subnet_id=THEIRS)
    join = {"actions": ["Microsoft.Network/virtualNetworks/subnets/join/action"]}
    seen = inputs(
        asked,
        regions={"eastus": region(network=network(THEIRS))},
        permissions={GROUP: [NO_NETWORKS], THEIRS: [join]},
    )
    assert statuses(seen, "permissions") == ["ok"]


@pytest.mark.parametrize(
    ("existing", "expected"), [(3970, "ok"), (3971, "warning"), (3995, "fault"), (4100, "fault")]
)
def test_role_assignments_are_counted_against_azures_limit(existing: int, expected: str):
    """A VM takes three here: its own, one at the resource, and the client user's."""
    asked = order(resource_uris=[STORAGE], client_principal_id="user")
    assert one(inputs(asked, assignments=existing), "role_assignments")["status"] == expected


DELETES = {"actions": ["Microsoft.Compute/virtualMachines/delete"]}
READS = {"actions": ["*/read"], "notActions": ["Microsoft.Network/*"]}


@pytest.mark.parametrize(
    ("definition", "status"),
    [
        (role(READS, DELETES), "ok"),
        (role(OWNER), "ok"),
        (role(READS), "fault"),
        (role(DELETES), "fault"),
        (role(), "fault"),
        (None, "fault"),
        (NO_ANSWER, "unknown"),
    ],
)
def test_the_vms_role_must_let_them_delete_themselves(definition: Any, status: str):
    assert one(inputs(vm_role=definition), "vm_role")["status"] == status


def test_actions_that_the_vms_role_lacks_are_named():
    detail = one(inputs(vm_role=role(READS)), "vm_role")["detail"]
    assert "Microsoft.Compute/virtualMachines/{delete}" in detail


@pytest.mark.parametrize(
    ("definition", "limits", "status"),
    [
        (role(CONTRIBUTOR), ["FLEET_ALLOWED_SIZES"], "warning"),
        (role(CONTRIBUTOR), ["FLEET_MAX_COST"], "warning"),
        (role(CONTRIBUTOR), [], "ok"),
        (role(READS, DELETES), ["FLEET_ALLOWED_SIZES"], "ok"),
    ],
)
def test_a_vm_that_may_resize_itself_escapes_limits(
    definition: Any, limits: list[str], status: str
):
    seen = inputs(vm_role=definition, size_limits=limits)
    assert one(seen, "vm_role")["status"] == status
