"""The sweep's decisions, from Azure's lists and the states of fleets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.azure import arm_bodies, role_assignments
from fleet.azure.client import RoleAssignment
from fleet.azure.owned_resources import KINDS
from fleet.azure.ownership import Ownership
from fleet.azure.sweep import (
    BatchStatus,
    Inventory,
    OwnedResource,
    batches_to_check,
    decide,
    take_inventory,
)
from fleet.model import names
from fleet.model.activities import ResourceKind, ResourceRef
from tests.fleets import NOW, order, placement

SCOPE = "/subscriptions/s/resourceGroups/g"
OURS, THEIRS = "us", "them"
PAST, FUTURE = "2025-12-31T00:00:00Z", "2026-01-02T00:00:00Z"
STORAGE = f"{SCOPE}/providers/Microsoft.Storage/storageAccounts/one"


def own_order(**changes: Any) -> Any:
    """An order of this deployment, as of the creation of its VMs."""
    usual = {"owner": OURS, "deadline": FUTURE, "tags": {}, "ssh_public_key": "k", "sealed": ""}
    vm = {"image": {}, "disk_type": "d", "max_price": None, "ephemeral_os_disk": False}
    return order(**{**usual, "vm": vm, **changes})


def vm_of(order: Any, ordinal: int = 0) -> dict[str, Any]:
    """A VM in Azure's list, made from the body that the app sends."""
    name = names.vm(order["batch_id"], ordinal)
    body = arm_bodies.vm(order, ordinal, placement(), "nic", "data")
    body["properties"]["provisioningState"] = "Succeeded"
    return {**body, "name": name, "id": role_assignments.machine_id(order, name)}


def nic_of(order: Any, ordinal: int = 0, vm: str | None = None, **tags: str) -> dict[str, Any]:
    body = arm_bodies.nic(order, ordinal, "eastus", "subnet")
    body["tags"] |= tags
    if vm:
        body["properties"]["virtualMachine"] = {"id": vm}
    return {**body, "name": names.nic(order["batch_id"], ordinal)}


def pair_of(order: Any, ordinal: int = 0, **tags: str) -> dict[str, Any]:
    """A VM and its NIC, as `seen` takes them; `tags` are added to the NIC's."""
    vm = vm_of(order, ordinal)
    return {"vms": [vm], "nics": [nic_of(order, ordinal, vm["id"], **tags)]}


def disk_of(order: Any, ordinal: int = 0, **more: Any) -> dict[str, Any]:
    """An OS disk to which Azure copied no tags."""
    return {"name": names.os_disk(names.vm(order["batch_id"], ordinal)), **more}


def role_of(order: Any, scope: str = STORAGE, ordinal: int = 0) -> RoleAssignment:
    name = names.vm(order["batch_id"], ordinal)
    return RoleAssignment(scope, f"role-{ordinal}", role_assignments.description(order, name))


def inventory_of(
    *roles: RoleAssignment, vms: Any = (), nics: Any = (), disks: Any = ()
) -> Inventory:
    lists = cast(
        dict[ResourceKind, Any], {"machine": list(vms), "nic": list(nics), "disk": list(disks)}
    )
    return take_inventory(lists, roles, SCOPE)


def deleted_kinds(found: Inventory, fate: BatchStatus | None = None, days: float = 0) -> list[str]:
    """The kinds of resources that are deleted if batch 7 has this status. None: the query failed."""
    fates = {} if fate is None else {7: fate}
    return [one["kind"] for one in decide(found.owned, fates, OURS, NOW + timedelta(days=days))]


@pytest.mark.parametrize(
    ("owner", "deadline", "keep", "fate", "expected"),
    [
        # After the deadline everything is deleted, whatever its owner and its fleet's status.
        (OURS, PAST, False, "alive", True),
        (OURS, PAST, True, "done", True),
        (OURS, PAST, False, None, True),
        (THEIRS, PAST, False, "unknown", True),
        (THEIRS, PAST, True, "alive", True),
        # Before the deadline, a running fleet deletes its own VMs.
        (OURS, FUTURE, False, "alive", False),
        (OURS, FUTURE, True, "alive", False),
        (OURS, FUTURE, False, None, False),
        # A fleet that is not running deletes nothing.
        (OURS, FUTURE, False, "done", True),
        (OURS, FUTURE, False, "ended", True),
        (OURS, FUTURE, False, "unknown", True),
        # VMs are kept on request, unless their fleet failed or was cancelled.
        (OURS, FUTURE, True, "done", False),
        (OURS, FUTURE, True, "unknown", False),
        (OURS, FUTURE, True, "ended", True),
        # The status of another deployment's fleets is unknown.
        (THEIRS, FUTURE, False, "unknown", False),
        (THEIRS, FUTURE, False, "ended", False),
    ],
)
def test_a_vm_is_deleted_by_its_deadline_or_its_fleets_state(
    owner: str, deadline: str, keep: bool, fate: BatchStatus | None, expected: bool
):
    pair = pair_of(own_order(owner=owner, deadline=deadline, delete_on_complete=not keep))
    assert deleted_kinds(inventory_of(**pair), fate) == (["machine"] if expected else [])


def test_a_vm_is_deleted_from_its_deadline_on():
    assert deleted_kinds(inventory_of(**pair_of(own_order(deadline=NOW.isoformat()))), "alive") == [
        "machine"
    ]


def test_a_vm_that_is_being_deleted_is_left_alone():
    pair = pair_of(own_order(deadline=PAST))
    pair["vms"][0]["properties"]["provisioningState"] = "Deleting"
    assert deleted_kinds(inventory_of(**pair)) == []


FORGED = {
    "removed": {},
    "another deployment": {**names.tags(7, 1, FUTURE, THEIRS, {})},
    "another batch": {**names.tags(8, 1, FUTURE, OURS, {})},
    "a later deadline": {**names.tags(7, 1, "2126-01-01T00:00:00Z", OURS, {})},
    "to be kept": {**names.tags(7, 1, FUTURE, OURS, {}), names.KEEP_TAG: "true"},
    "unreadable": {**names.tags(7, 1, "never", OURS, {})},
}


@pytest.mark.parametrize("tags", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize(("deadline", "fate"), [(PAST, "alive"), (FUTURE, "unknown")])
def test_a_vm_that_changes_its_tags_is_still_deleted(
    tags: dict[str, str], deadline: str, fate: BatchStatus
):
    pair = pair_of(own_order(deadline=deadline))
    pair["vms"][0]["tags"] = tags
    assert deleted_kinds(inventory_of(**pair), fate) == ["machine"]


def test_vm_that_forges_its_tags_gets_no_resource_of_another_fleet_deleted():
    forger, victim = pair_of(own_order()), pair_of(own_order(batch_id=8))
    forger["vms"][0]["tags"] = names.tags(8, 1, PAST, OURS, {})
    found = inventory_of(
        vms=[*forger["vms"], *victim["vms"]],
        nics=[*forger["nics"], *victim["nics"]],
        disks=[disk_of(own_order(batch_id=8))],
    )
    assert decide(found.owned, {7: "alive", 8: "alive"}, OURS, NOW) == []


@pytest.mark.parametrize("fate", [None, "alive", "unknown", "done"])
def test_vm_without_a_nic_of_ours_is_left_alone_without_a_record(fate: BatchStatus | None):
    vm = vm_of(own_order(deadline=PAST))
    assert deleted_kinds(inventory_of(vms=[vm]), fate) == []


def test_vm_without_a_nic_of_ours_needs_a_record_of_a_fleet_that_ended():
    assert deleted_kinds(inventory_of(vms=[vm_of(own_order())]), "ended") == ["machine"]


def test_vm_without_a_nic_of_ours_is_no_part_of_a_batch_with_its_number():
    found = inventory_of(
        **{**pair_of(own_order()), "vms": [vm_of(own_order()), vm_of(own_order(), 99)]}
    )
    names_ = [one["name"] for one in decide(found.owned, {7: "done"}, OURS, NOW)]
    assert names_ == [names.vm(7, 0)]


def test_resources_attached_to_a_vm_are_deleted_with_it():
    pair = pair_of(own_order())
    disk = disk_of(own_order(), managedBy=pair["vms"][0]["id"])
    found = inventory_of(role_of(own_order()), **pair, disks=[disk])
    assert deleted_kinds(found, "ended") == ["machine"]


def test_resources_without_a_vm_are_deleted():
    found = inventory_of(
        role_of(own_order()), nics=[nic_of(own_order())], disks=[disk_of(own_order())]
    )
    assert deleted_kinds(found, "unknown") == ["assignment", "disk", "nic"]


@pytest.mark.parametrize("fate", ["alive", None])
def test_resources_of_a_running_fleet_without_a_vm_are_kept(fate: BatchStatus | None):
    found = inventory_of(
        role_of(own_order()), nics=[nic_of(own_order())], disks=[disk_of(own_order())]
    )
    assert deleted_kinds(found, fate) == []


def test_vms_are_deleted_first():
    pair = pair_of(own_order(), 5)
    pair["nics"] += [nic_of(own_order(), ordinal) for ordinal in range(3)]
    found = inventory_of(role_of(own_order(), ordinal=1), **pair)
    assert deleted_kinds(found, "ended") == ["machine", "assignment", "nic", "nic", "nic"]


def test_a_disk_without_tags_is_deleted_at_the_deadline_of_its_batch():
    found = inventory_of(role_of(own_order()), disks=[disk_of(own_order())])
    assert deleted_kinds(found, "alive", days=2) == ["assignment", "disk"]


def test_a_disk_without_tags_is_kept_with_its_batch():
    kept = own_order(delete_on_complete=False)
    found = inventory_of(**pair_of(kept, 1), disks=[disk_of(kept, 0)])
    assert deleted_kinds(found, "done") == []


def test_a_disk_follows_the_nic_of_its_vm():
    disk = {**disk_of(own_order()), "tags": names.tags(7, 1, PAST, OURS, {})}
    assert deleted_kinds(inventory_of(nics=[nic_of(own_order())], disks=[disk]), "alive") == []


def test_a_disk_without_its_nic_follows_the_tags_that_azure_copied_to_it():
    disk = {**disk_of(own_order()), "tags": names.tags(7, 1, PAST, THEIRS, {})}
    assert deleted_kinds(inventory_of(disks=[disk]), "alive") == ["disk"]


def test_a_disk_without_tags_and_without_a_batch_around_it_needs_a_record_of_a_fleet_that_ended():
    found = inventory_of(disks=[disk_of(own_order())])
    fates: list[BatchStatus | None] = [None, "alive", "unknown", "done", "ended"]
    assert [deleted_kinds(found, fate) for fate in fates] == [[], [], [], [], ["disk"]]


def test_a_disk_that_two_deployments_may_have_created_is_left_alone():
    found = inventory_of(
        role_of(own_order()),
        role_of(own_order(owner=THEIRS), ordinal=1),
        disks=[disk_of(own_order())],
    )
    assert deleted_kinds(found, "unknown") == ["assignment"]


def test_a_role_assignment_of_another_resource_groups_vm_is_left_alone():
    found = inventory_of(role_of(own_order(resource_group="other", deadline=PAST)))
    assert found.owned == []


@pytest.mark.parametrize(
    "name", ["database", "powerlift-vm-7-0000_copy", "powerlift-vm-07-0000", "powerlift-nic-7-0000"]
)
def test_resources_with_other_names_are_ignored(name: str):
    vm = {**vm_of(own_order(deadline=PAST)), "name": name}
    assert inventory_of(vms=[vm]) == Inventory([], [])


@pytest.mark.parametrize(
    "tags",
    [
        {names.BATCH_TAG: "8"},
        {names.BATCH_TAG: "seven"},
        {names.DEADLINE_TAG: "never"},
        {names.DEADLINE_TAG: "2025-12-31T00:00:00"},
    ],
    ids=["another batch", "no number", "no time", "no zone"],
)
def test_unreadable_tags_are_reported_and_their_resources_ignored(tags: dict[str, str]):
    pair = pair_of(own_order(deadline=PAST), **tags)
    assert inventory_of(**pair) == Inventory([], [pair["vms"][0]["name"], pair["nics"][0]["name"]])


def test_role_assignments_created_by_others_are_ignored():
    assert inventory_of(
        RoleAssignment(STORAGE, "x", ""), RoleAssignment(STORAGE, "y", "for Powerlift")
    ) == Inventory([], [])


def test_arm_ids_ignore_case():
    pair = pair_of(own_order())
    for member in ("id", "name"):
        pair["vms"][0][member] = pair["vms"][0][member].upper()
    assert deleted_kinds(inventory_of(role_of(own_order()), **pair), "unknown") == ["machine"]


def test_only_relevant_fleets_are_queried():
    orders = [
        own_order(batch_id=1),
        own_order(batch_id=2, deadline=PAST),
        own_order(batch_id=3, owner=THEIRS),
    ]
    vms = [vm_of(order) for order in orders]
    nics = [nic_of(order, vm="vm") for order in orders]
    nics += [nic_of(own_order(batch_id=4), vm="vm"), nic_of(own_order(batch_id=5))]
    assert batches_to_check(inventory_of(vms=vms, nics=nics).owned, OURS, NOW) == {1, 5}


@given(
    owner=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
    batch=st.integers(0, 2**64),
    group=st.from_regex(r"[-\w.()]{1,90}", fullmatch=True),
)
def test_a_description_round_trips(owner: str, batch: int, group: str):
    one = own_order(owner=owner, batch_id=batch, resource_group=group)
    name = names.vm(batch, 3)
    parsed = role_assignments.parse_description(role_assignments.description(one, name))
    assert parsed == role_assignments.DescriptionFields(
        owner, batch, FUTURE, role_assignments.machine_id(one, name)
    )


ORIGINS = st.builds(
    Ownership,
    batch_id=st.integers(0, 3),
    owner=st.sampled_from([OURS, THEIRS, None]),
    deadline=st.sampled_from([None, NOW - timedelta(1), NOW + timedelta(1)]),
    keep=st.booleans(),
)
THINGS = st.builds(
    OwnedResource,
    ref=st.builds(lambda kind: ResourceRef(kind=kind, name="x"), st.sampled_from(KINDS)),
    ownership=ORIGINS,
    deletable=st.booleans(),
)
FATES = st.dictionaries(st.integers(0, 3), st.sampled_from(["alive", "done", "ended", "unknown"]))


@given(st.lists(THINGS), FATES)
def test_nothing_of_a_running_fleet_is_deleted_before_its_deadline(
    things: list[OwnedResource], fates: Any
):
    early = [one for one in things if not one.ownership.deadline or one.ownership.deadline > NOW]
    living = [one for one in early if fates.get(one.ownership.batch_id, "alive") == "alive"]
    assert decide(living, fates, OURS, NOW) == []


@given(st.lists(THINGS), FATES)
def test_unlocked_resources_are_deleted_after_their_deadline(
    things: list[OwnedResource], fates: Any
):
    late = [
        one
        for one in things
        if one.ownership.deadline and one.ownership.deadline < NOW and one.deletable
    ]
    assert len(decide(late, fates, OURS, NOW)) == len(late)
