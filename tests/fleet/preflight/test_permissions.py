"""Permissions of the app and of the VMs, and the limit of role assignments."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.azure.client import AssignmentUsage
from tests.fleet.preflight.azure_inputs import (
    CONTRIBUTOR,
    GROUP,
    NO_ANSWER,
    OURS,
    OWNER,
    STORAGE,
    THEIRS,
    found,
    inputs,
    network,
    one,
    order,
    region,
    role,
    statuses,
)

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
            "Microsoft.Compute/disks/{write,delete}, "
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


def test_an_existing_network_requires_no_write_permission():
    seen = inputs(
        regions={"eastus": region(network=network(OURS, **SECURED))},
        permissions={GROUP: [NO_NETWORKS]},
    )
    assert statuses(seen, "permissions") == ["ok"]


def test_an_existing_network_without_a_security_group_requires_write_permission():
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
    requested = order(vm_identity={"id": identity, "database_user": "vms"})
    reader = {"actions": ["*/read"]}
    seen = inputs(requested, permissions={GROUP: [OWNER], identity: [reader]})
    assert one(seen, "permissions")["detail"] == (
        f"Missing permissions at {identity}: "
        "Microsoft.ManagedIdentity/userAssignedIdentities/{assign/action}"
    )


def test_a_subnet_of_the_user_requires_only_the_right_to_join_it():
    requested = order(subnet_id=THEIRS)
    join = {"actions": ["Microsoft.Network/virtualNetworks/subnets/join/action"]}
    seen = inputs(
        requested,
        regions={"eastus": region(network=network(THEIRS))},
        permissions={GROUP: [NO_NETWORKS], THEIRS: [join]},
    )
    assert statuses(seen, "permissions") == ["ok"]


@pytest.mark.parametrize(
    ("existing", "expected"), [(3970, "ok"), (3971, "warning"), (3995, "fault"), (4100, "fault")]
)
def test_role_assignments_are_counted_against_azures_limit(existing: int, expected: str):
    """A VM requires three here: its own, one at the resource, and the client user's."""
    requested = order(resource_uris=[STORAGE], client_principal_id="user")
    assert (
        one(inputs(requested, assignments=AssignmentUsage(existing, 4000)), "role_assignments")[
            "status"
        ]
        == expected
    )


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
def test_the_vms_role_must_allow_vms_to_delete_themselves(definition: Any, status: str):
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


@pytest.mark.parametrize(
    ("client", "named", "status"),
    [(None, None, "warning"), (NO_ANSWER, None, "unknown"), ("object", "object", "ok")],
)
def test_a_client_without_an_object_id_is_reported(client: Any, named: str | None, status: str):
    asked = order(client_id="application", client_principal_id=named)
    assert one(inputs(asked, client=client), "client_principal")["status"] == status
