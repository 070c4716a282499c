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
from fleet.azure.sweep import (
    BatchStatus,
    Inventory,
    OwnedResource,
    Ownership,
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


def vm_of(order: Any, ordinal: int = 0, **tags: str) -> dict[str, Any]:
    """A VM in Azure's list, made of the very body that we send."""
    name = names.vm(order["batch_id"], ordinal)
    body = arm_bodies.vm(order, ordinal, placement(), "nic", "data")
    body["tags"] |= tags
    body["properties"]["provisioningState"] = "Succeeded"
    return {**body, "name": name, "id": role_assignments.machine_id(order, name)}


def nic_of(order: Any, ordinal: int = 0, vm: str | None = None) -> dict[str, Any]:
    body = arm_bodies.nic(order, ordinal, "eastus", "subnet")
    if vm:
        body["properties"]["virtualMachine"] = {"id": vm}
    return {**body, "name": names.nic(order["batch_id"], ordinal)}


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
    vm = vm_of(mine(owner=owner, deadline=deadline, delete_on_complete=not keep))
    assert chosen(seen(vms=[vm]), fate) == (["machine"] if goes else [])


def test_a_vm_is_deleted_from_its_deadline_on():
    vm = vm_of(mine(deadline=NOW.isoformat()))
    assert chosen(seen(vms=[vm]), "alive") == ["machine"]


def test_a_vm_that_is_being_deleted_is_left_alone():
    vm = vm_of(mine(deadline=PAST))
    vm["properties"]["provisioningState"] = "Deleting"
    assert chosen(seen(vms=[vm])) == []


def test_resources_attached_to_a_vm_are_deleted_with_it():
    vm = vm_of(mine())
    found = seen(
        role_of(mine()),
        vms=[vm],
        nics=[nic_of(mine(), vm=vm["id"])],
        disks=[disk_of(mine(), managedBy=vm["id"])],
    )
    assert chosen(found, "ended") == ["machine"]


def test_resources_without_a_vm_are_deleted():
    found = seen(role_of(mine()), nics=[nic_of(mine())], disks=[disk_of(mine())])
    assert chosen(found, "unknown") == ["assignment", "disk", "nic"]


@pytest.mark.parametrize("fate", ["alive", None])
def test_resources_of_a_running_fleet_without_a_vm_are_kept(fate: BatchStatus | None):
    found = seen(role_of(mine()), nics=[nic_of(mine())], disks=[disk_of(mine())])
    assert chosen(found, fate) == []


def test_vms_are_deleted_first():
    nics = [nic_of(mine(), ordinal) for ordinal in range(3)]
    found = seen(role_of(mine(), ordinal=1), vms=[vm_of(mine(), 5)], nics=nics)
    assert chosen(found, "ended") == ["machine", "assignment", "nic", "nic", "nic"]


def test_a_disk_without_tags_is_deleted_at_the_deadline_of_its_batch():
    found = seen(role_of(mine()), disks=[disk_of(mine())])
    assert chosen(found, "alive", days=2) == ["assignment", "disk"]


def test_a_disk_without_tags_is_kept_with_its_batch():
    kept = mine(delete_on_complete=False)
    found = seen(vms=[vm_of(kept, 1)], disks=[disk_of(kept, 0)])
    assert chosen(found, "done") == []


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
    "vm",
    [
        {**vm_of(mine(deadline=PAST)), "tags": None},
        {**vm_of(mine(deadline=PAST)), "tags": {"powerlift-deadline": PAST}},
    ],
    ids=["no tags", "no batch"],
)
def test_what_bears_no_batch_is_not_ours(vm: dict[str, Any]):
    assert seen(vms=[vm]) == Inventory([], [])


@pytest.mark.parametrize(
    "vm",
    [
        {**vm_of(mine(deadline=PAST)), "name": "database"},
        {**vm_of(mine(deadline=PAST)), "name": "powerlift-vm-8-0000"},
        {**vm_of(mine(deadline=PAST)), "name": "powerlift-vm-7-0000_copy"},
        vm_of(mine(), **{"powerlift-deadline": "never"}),
        vm_of(mine(), **{"powerlift-deadline": "2025-12-31T00:00:00"}),
        vm_of(mine(), **{"powerlift-batch": "seven"}),
    ],
    ids=["another name", "another batch", "a longer name", "no time", "no zone", "no number"],
)
def test_what_cannot_be_read_is_named_and_left_alone(vm: dict[str, Any]):
    assert seen(vms=[vm]) == Inventory([], [vm["name"]])


def test_role_assignments_created_by_others_are_not_ours():
    assert seen(
        RoleAssignment(STORAGE, "x", ""), RoleAssignment(STORAGE, "y", "for Powerlift")
    ) == Inventory([], [])


def test_arm_ids_ignore_case():
    vm = vm_of(mine())
    vm["id"] = vm["id"].upper()
    assert chosen(seen(role_of(mine()), vms=[vm]), "ended") == ["machine"]


def test_only_relevant_fleets_are_queried():
    vms = [
        vm_of(mine(batch_id=1)),
        vm_of(mine(batch_id=2, deadline=PAST)),
        vm_of(mine(batch_id=3, owner=THEIRS)),
    ]
    nics = [nic_of(mine(batch_id=4), vm="vm"), nic_of(mine(batch_id=5))]
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
