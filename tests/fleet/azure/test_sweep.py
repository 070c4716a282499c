"""What the sweep decides on, from Azure's lists and the fates of fleets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.azure import arm_bodies, role_assignments
from fleet.azure.client import RoleAssignment
from fleet.azure.owned_resources import KINDS, Kind, ResourceRef
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
from tests.fleets import NOW, order, placement

SCOPE = "/subscriptions/s/resourceGroups/g"
OURS, THEIRS = "us", "them"
PAST, FUTURE = "2025-12-31T00:00:00Z", "2026-01-02T00:00:00Z"
STORAGE = f"{SCOPE}/providers/Microsoft.Storage/storageAccounts/one"


def mine(**changes: Any) -> Any:
    """An order of ours, as it is when its VMs are made."""
    usual = {"owner": OURS, "deadline": FUTURE, "tags": {}, "ssh_public_key": "k", "sealed": ""}
    vm = {"image": {}, "disk_type": "d", "max_price": None, "ephemeral_os_disk": False}
    return order(**{**usual, "vm": vm, **changes})


def vm_of(order: Any, ordinal: int = 0) -> dict[str, Any]:
    """A VM in Azure's list, made of the very body that we send."""
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


def seen(*roles: RoleAssignment, vms: Any = (), nics: Any = (), disks: Any = ()) -> Inventory:
    lists = cast(dict[Kind, Any], {"machine": list(vms), "nic": list(nics), "disk": list(disks)})
    return take_inventory(lists, roles, SCOPE)


def chosen(found: Inventory, fate: BatchStatus | None = None, days: float = 0) -> list[str]:
    """The kinds of resources deleted if batch 7 has this fate. None: the query failed."""
    fates = {} if fate is None else {7: fate}
    return [one["kind"] for one in decide(found.owned, fates, OURS, NOW + timedelta(days=days))]


@pytest.mark.parametrize(
    ("owner", "deadline", "keep", "fate", "goes"),
    [
        # Past its deadline everything goes, whoever made it and whatever became of its fleet.
        (OURS, PAST, False, "alive", True),
        (OURS, PAST, True, "done", True),
        (OURS, PAST, False, None, True),
        (THEIRS, PAST, False, "unknown", True),
        (THEIRS, PAST, True, "alive", True),
        # Before it, a fleet that lives looks after its own.
        (OURS, FUTURE, False, "alive", False),
        (OURS, FUTURE, True, "alive", False),
        (OURS, FUTURE, False, None, False),
        # A fleet that does not live looks after nothing.
        (OURS, FUTURE, False, "done", True),
        (OURS, FUTURE, False, "ended", True),
        (OURS, FUTURE, False, "unknown", True),
        # What was to be kept is kept, unless its fleet failed or was cancelled.
        (OURS, FUTURE, True, "done", False),
        (OURS, FUTURE, True, "unknown", False),
        (OURS, FUTURE, True, "ended", True),
        # Another deployment's fleets are not ours to judge.
        (THEIRS, FUTURE, False, "unknown", False),
        (THEIRS, FUTURE, False, "ended", False),
    ],
)
def test_whether_a_vm_is_deleted(
    owner: str, deadline: str, keep: bool, fate: BatchStatus | None, goes: bool
):
    pair = pair_of(mine(owner=owner, deadline=deadline, delete_on_complete=not keep))
    assert chosen(seen(**pair), fate) == (["machine"] if goes else [])


def test_a_vm_is_deleted_from_its_deadline_on():
    assert chosen(seen(**pair_of(mine(deadline=NOW.isoformat()))), "alive") == ["machine"]


def test_a_vm_that_is_being_deleted_is_left_alone():
    pair = pair_of(mine(deadline=PAST))
    pair["vms"][0]["properties"]["provisioningState"] = "Deleting"
    assert chosen(seen(**pair)) == []


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
def test_vm_that_changes_its_tags_is_still_deleted(
    tags: dict[str, str], deadline: str, fate: BatchStatus
):
    pair = pair_of(mine(deadline=deadline))
    pair["vms"][0]["tags"] = tags
    assert chosen(seen(**pair), fate) == ["machine"]


def test_vm_that_forges_its_tags_gets_no_resource_of_another_fleet_deleted():
    forger, victim = pair_of(mine()), pair_of(mine(batch_id=8))
    forger["vms"][0]["tags"] = names.tags(8, 1, PAST, OURS, {})
    found = seen(
        vms=[*forger["vms"], *victim["vms"]],
        nics=[*forger["nics"], *victim["nics"]],
        disks=[disk_of(mine(batch_id=8))],
    )
    assert decide(found.owned, {7: "alive", 8: "alive"}, OURS, NOW) == []


@pytest.mark.parametrize("fate", [None, "alive", "unknown", "done"])
def test_vm_without_a_nic_of_ours_is_left_alone_without_a_record(fate: BatchStatus | None):
    vm = vm_of(mine(deadline=PAST))
    assert chosen(seen(vms=[vm]), fate) == []


def test_vm_without_a_nic_of_ours_needs_a_record_of_a_fleet_that_ended():
    assert chosen(seen(vms=[vm_of(mine())]), "ended") == ["machine"]


def test_vm_without_a_nic_of_ours_is_no_part_of_a_batch_with_its_number():
    found = seen(**{**pair_of(mine()), "vms": [vm_of(mine()), vm_of(mine(), 99)]})
    names_ = [one["name"] for one in decide(found.owned, {7: "done"}, OURS, NOW)]
    assert names_ == [names.vm(7, 0)]


def test_resources_attached_to_a_vm_are_deleted_with_it():
    pair = pair_of(mine())
    disk = disk_of(mine(), managedBy=pair["vms"][0]["id"])
    found = seen(role_of(mine()), **pair, disks=[disk])
    assert chosen(found, "ended") == ["machine"]


def test_resources_without_a_vm_are_deleted():
    found = seen(role_of(mine()), nics=[nic_of(mine())], disks=[disk_of(mine())])
    assert chosen(found, "unknown") == ["assignment", "disk", "nic"]


@pytest.mark.parametrize("fate", ["alive", None])
def test_resources_of_a_running_fleet_without_a_vm_are_kept(fate: BatchStatus | None):
    found = seen(role_of(mine()), nics=[nic_of(mine())], disks=[disk_of(mine())])
    assert chosen(found, fate) == []


def test_vms_are_deleted_first():
    pair = pair_of(mine(), 5)
    pair["nics"] += [nic_of(mine(), ordinal) for ordinal in range(3)]
    found = seen(role_of(mine(), ordinal=1), **pair)
    assert chosen(found, "ended") == ["machine", "assignment", "nic", "nic", "nic"]


def test_a_disk_without_tags_is_deleted_at_the_deadline_of_its_batch():
    found = seen(role_of(mine()), disks=[disk_of(mine())])
    assert chosen(found, "alive", days=2) == ["assignment", "disk"]


def test_a_disk_without_tags_is_kept_with_its_batch():
    kept = mine(delete_on_complete=False)
    found = seen(**pair_of(kept, 1), disks=[disk_of(kept, 0)])
    assert chosen(found, "done") == []


def test_a_disk_follows_the_nic_of_its_vm():
    disk = {**disk_of(mine()), "tags": names.tags(7, 1, PAST, OURS, {})}
    assert chosen(seen(nics=[nic_of(mine())], disks=[disk]), "alive") == []


def test_a_disk_that_outlived_its_nic_follows_the_tags_that_azure_copied_to_it():
    disk = {**disk_of(mine()), "tags": names.tags(7, 1, PAST, THEIRS, {})}
    assert chosen(seen(disks=[disk]), "alive") == ["disk"]


def test_a_disk_without_tags_and_without_a_batch_around_it_needs_a_record_of_a_fleet_that_ended():
    found = seen(disks=[disk_of(mine())])
    fates: list[BatchStatus | None] = [None, "alive", "unknown", "done", "ended"]
    assert [chosen(found, fate) for fate in fates] == [[], [], [], [], ["disk"]]


def test_a_disk_that_two_deployments_may_have_made_is_left_alone():
    found = seen(role_of(mine()), role_of(mine(owner=THEIRS), ordinal=1), disks=[disk_of(mine())])
    assert chosen(found, "unknown") == ["assignment"]


def test_a_role_assignment_of_another_resource_groups_vm_is_left_alone():
    found = seen(role_of(mine(resource_group="other", deadline=PAST)))
    assert found.owned == []


@pytest.mark.parametrize(
    "name", ["database", "powerlift-vm-7-0000_copy", "powerlift-vm-07-0000", "powerlift-nic-7-0000"]
)
def test_what_has_another_name_is_not_ours(name: str):
    vm = {**vm_of(mine(deadline=PAST)), "name": name}
    assert seen(vms=[vm]) == Inventory([], [])


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
def test_what_cannot_be_read_is_named_and_left_alone(tags: dict[str, str]):
    pair = pair_of(mine(deadline=PAST), **tags)
    assert seen(**pair) == Inventory([], [pair["vms"][0]["name"], pair["nics"][0]["name"]])


def test_role_assignments_created_by_others_are_not_ours():
    assert seen(
        RoleAssignment(STORAGE, "x", ""), RoleAssignment(STORAGE, "y", "for Powerlift")
    ) == Inventory([], [])


def test_arm_ids_ignore_case():
    pair = pair_of(mine())
    for member in ("id", "name"):
        pair["vms"][0][member] = pair["vms"][0][member].upper()
    assert chosen(seen(role_of(mine()), **pair), "unknown") == ["machine"]


def test_only_relevant_fleets_are_queried():
    orders = [mine(batch_id=1), mine(batch_id=2, deadline=PAST), mine(batch_id=3, owner=THEIRS)]
    vms = [vm_of(order) for order in orders]
    nics = [nic_of(order, vm="vm") for order in orders]
    nics += [nic_of(mine(batch_id=4), vm="vm"), nic_of(mine(batch_id=5))]
    assert batches_to_check(seen(vms=vms, nics=nics).owned, OURS, NOW) == {1, 5}


@given(
    owner=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
    batch=st.integers(0, 2**64),
    group=st.from_regex(r"[-\w.()]{1,90}", fullmatch=True),
)
def test_a_description_round_trips(owner: str, batch: int, group: str):
    one = mine(owner=owner, batch_id=batch, resource_group=group)
    name = names.vm(batch, 3)
    said = role_assignments.parse_description(role_assignments.description(one, name))
    assert said == role_assignments.DescriptionFields(
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
def test_nothing_free_outlives_its_deadline(things: list[OwnedResource], fates: Any):
    late = [
        one
        for one in things
        if one.ownership.deadline and one.ownership.deadline < NOW and one.deletable
    ]
    assert len(decide(late, fates, OURS, NOW)) == len(late)
