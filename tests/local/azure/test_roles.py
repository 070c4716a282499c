"""Role assignments and role definitions."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from local.azure.identity.directory import USERS
from local.azure.latency import Latencies
from tests.local.azure.driver import (
    COMPUTE_API,
    CONTRIBUTOR,
    NETWORK_API,
    ROLE_API,
    SELF_DELETION,
    Driver,
    code,
    serve,
    unique,
    until,
)

USER = USERS[0]
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def _name_with_replication(*, slow: bool) -> str:
    """A VM name whose identity replicates slowly, or immediately (seed 0). Slowly: later than the next
    request, on a busy machine too.
    """
    latencies = Latencies(0)
    while True:
        name = unique("vm")
        delay = latencies.draw("identity.replication", name)
        if delay > 25.0 if slow else not delay:
            return name


def test_sdk_assigns_a_role_synchronously(azure: Driver) -> None:
    vm = azure.make_vm(_name_with_replication(slow=False))
    definition = (
        f"{azure.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    )

    created = azure.authorization().role_assignments.create(
        vm["id"],
        str(uuid.uuid4()),
        {"role_definition_id": definition, "principal_id": vm["identity"]["principalId"],
         "principal_type": "ServicePrincipal"},
    )  # fmt: skip

    assert created.scope == vm["id"]


def test_identity_replicates_late_without_its_type(azure: Driver) -> None:
    vm = azure.make_vm()

    answer = azure.put_role(vm["id"], vm["identity"]["principalId"], type_=None)

    assert (answer.status_code, code(answer)) == (400, "PrincipalNotFound")


def test_few_identities_replicate_late_with_their_type(azure: Driver) -> None:
    vm = azure.make_vm(_name_with_replication(slow=True))

    answer = azure.put_role(vm["id"], vm["identity"]["principalId"])

    assert code(answer) == "PrincipalNotFound"
    until(lambda: azure.put_role(vm["id"], vm["identity"]["principalId"]).status_code == 201)


def test_repeated_assignment(azure: Driver) -> None:
    guid = str(uuid.uuid4())
    azure.put_role(azure.group, USER, guid=guid, type_="User")

    assert azure.put_role(azure.group, USER, guid=guid, type_="User").status_code == 200


def test_duplicate_assignment_under_another_guid(azure: Driver) -> None:
    azure.put_role(azure.group, USER, type_="User", role=READER)

    answer = azure.put_role(azure.group, USER, type_="User", role=READER)

    assert (answer.status_code, code(answer)) == (409, "RoleAssignmentExists")


def test_same_guid_for_another_principal(azure: Driver) -> None:
    guid = str(uuid.uuid4())
    other, _, one = azure.ready["users"]
    azure.put_role(azure.group, one, guid=guid, type_="User")

    answer = azure.put_role(azure.group, other, guid=guid, type_="User")

    assert (answer.status_code, code(answer)) == (400, "RoleAssignmentUpdateNotPermitted")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"principal": "{client}", "type_": "User"}, "UnmatchedPrincipalType"),
        ({"principal": USER}, "UnmatchedPrincipalType"),
        ({"principal": USER, "type_": "Group"}, "UnmatchedPrincipalType"),
        ({"principal": "{application}"}, "PrincipalNotFound"),
        ({"principal": "{application}", "type_": "User"}, "PrincipalNotFound"),
        ({"principal": str(uuid.uuid4()), "type_": "User"}, "PrincipalNotFound"),
        ({"principal": "me@example.com", "type_": "User"}, "InvalidPrincipalId"),
        ({"principal": str(uuid.uuid4())}, "PrincipalNotFound"),
        ({"principal": USER, "type_": "User", "role": str(uuid.uuid4())}, "RoleDefinitionDoesNotExist"),
        ({"principal": USER, "type_": "User", "guid": "not-a-guid"}, "InvalidRoleAssignmentId"),
        ({"principal": USER, "type_": "Robot"}, "InvalidParameter"),
    ],
)  # fmt: skip
def test_assignment_is_rejected(azure: Driver, changes: dict[str, str], expected: str) -> None:
    ready = azure.ready
    principal = changes["principal"].format(
        client=ready["client_object_id"], application=ready["client_id"]
    )
    given = {k: v for k, v in changes.items() if k != "principal"}

    answer = azure.put_role(azure.group, principal, **given)

    assert code(answer) == expected


def test_scope_must_exist(azure: Driver) -> None:
    assert code(azure.put_role(azure.vm_path("absent"), USER, type_="User")) == "ResourceNotFound"


def test_lists_by_principal_and_by_scope(azure: Driver) -> None:
    user = azure.ready["users"][1]
    nic = azure.make_nic()
    azure.put_role(nic, user, type_="User")
    roles = azure.authorization().role_assignments

    by_principal = list(
        roles.list_for_resource_group("powerlift", filter=f"principalId eq '{user}'")
    )
    below = {a.principal_id for a in roles.list_for_scope(azure.group)}
    at_scope = {a.principal_id for a in roles.list_for_scope(azure.group, filter="atScope()")}

    assert len(by_principal) == 1
    assert user in below
    assert user not in at_scope
    assert azure.ready["client_object_id"] in at_scope


def test_the_subscription_has_a_limit_and_a_count_of_role_assignments(tmp_path: Path) -> None:
    service, azure = serve(tmp_path, "--machines", "none", "--role-assignment-limit", "2")
    try:
        user, other, _ = azure.ready["users"]
        first = azure.put_role(azure.group, user, type_="User")
        second = azure.put_role(azure.group, other, type_="User")
        usage = azure.assignment_usage()
    finally:
        service.stop()

    assert first.status_code == 201
    assert (second.status_code, code(second)) == (400, "RoleAssignmentLimitExceeded")
    assert (usage.role_assignments_current_count, usage.role_assignments_limit) == (2, 2)


def test_azure_allows_4000_role_assignments(azure: Driver) -> None:
    usage = azure.assignment_usage()

    assert usage.role_assignments_limit == 4000
    assert usage.role_assignments_remaining_count == 4000 - usage.role_assignments_current_count


def test_assignment_outlives_the_vm(azure: Driver) -> None:
    vm = azure.make_vm(_name_with_replication(slow=False))
    created = azure.put_role(vm["id"], vm["identity"]["principalId"]).json()
    azure.send("DELETE", vm["id"])
    azure.wait_until_deleted(vm["id"])

    deleted = azure.send("DELETE", created["id"], api=ROLE_API)

    assert deleted.status_code == 200
    assert azure.send("DELETE", created["id"], api=ROLE_API).status_code == 204


def test_role_definition_is_found_by_name(azure: Driver) -> None:
    found = azure.authorization().role_definitions.list(
        azure.subscription, filter="roleName eq 'Contributor'"
    )

    assert [role.name for role in found] == [CONTRIBUTOR]


def test_the_sdk_creates_a_custom_role(azure: Driver) -> None:
    guid, name = str(uuid.uuid4()), unique("role")
    azure.put_role_definition(guid, *SELF_DELETION, name=name)

    found = azure.authorization().role_definitions.list(azure.group, filter=f"roleName eq '{name}'")

    (role,) = found
    assert (role.name, role.role_type) == (guid, "CustomRole")
    assert role.permissions[0].actions == list(SELF_DELETION)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"guid": "no-guid"}, "InvalidRoleDefinitionId"),
        ({"guid": CONTRIBUTOR}, "InvalidRoleDefinitionId"),
        ({"name": "Contributor"}, "RoleDefinitionWithSameNameExists"),
        ({"scopes": []}, "InvalidAssignableScopes"),
        ({"scopes": ["/subscriptions/another"]}, "InvalidAssignableScopes"),
        ({"action": "delete"}, "InvalidActionOrNotAction"),
    ],
)
def test_custom_role_is_rejected(azure: Driver, changes: dict[str, str], expected: str) -> None:
    usual = {"guid": str(uuid.uuid4()), "action": SELF_DELETION[0]}
    given = {**usual, **changes}

    answer = azure.put_role_definition(given.pop("guid"), given.pop("action"), **given)

    assert code(answer) == expected


def test_custom_role_cannot_be_assigned_outside_its_scopes(azure: Driver) -> None:
    guid = str(uuid.uuid4())
    azure.put_role_definition(
        guid, *SELF_DELETION, scopes=[f"{azure.subscription}/resourceGroups/x"]
    )

    answer = azure.put_role(azure.group, USER, type_="User", role=guid)

    assert (answer.status_code, code(answer)) == (400, "RoleDefinitionDoesNotExist")


PRINT_TOKEN = """#!/bin/bash
imds="$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata/identity/oauth2/token"
curl -sf -H Metadata:true "$imds?api-version=2018-02-01&resource=https://management.azure.com" |
  python3 -c 'import json, sys; print("token", json.load(sys.stdin)["access_token"], "end")'
"""


def test_vm_with_the_narrow_role_deletes_itself_and_does_nothing_else(
    azure_processes: Driver,
) -> None:
    azure, guid = azure_processes, str(uuid.uuid4())
    azure.put_role_definition(guid, SELF_DELETION[0])
    vm = azure.make_running(script=PRINT_TOKEN)
    azure.grant(vm["id"], vm["identity"]["principalId"], guid)
    console = azure.state / "vms" / vm["name"] / "console.log"
    until(lambda: "end\n" in console.read_text())
    token = console.read_text().partition("token ")[2].split()[0]

    def ask(method: str, path: str, body: object = None, api: str = COMPUTE_API) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return azure.send(method, path, body, headers=headers, api=api).status_code

    until(lambda: ask("GET", vm["id"]) == 200)
    assert ask("DELETE", vm["id"]) == 403
    azure.put_role_definition(guid, *SELF_DELETION)  # a change of a role changes its assignments
    other = azure.make_vm()
    nic = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]
    disk = f"{azure.group}/providers/Microsoft.Compute/disks/{vm['name']}_osdisk"
    assignment = f"{vm['id']}/providers/Microsoft.Authorization/roleAssignments"
    myself = {"principalId": vm["identity"]["principalId"], "roleDefinitionId": definition(azure)}
    operations = [
        *[("POST", f"{vm['id']}/{one}", {}, COMPUTE_API) for one in ("runCommand", "deallocate")],
        ("POST", f"{vm['id']}/retrieveBootDiagnosticsData", None, COMPUTE_API),
        ("PATCH", vm["id"], {"tags": {}}, COMPUTE_API),
        ("PUT", vm["id"], vm, COMPUTE_API),
        ("GET", f"{vm['id']}/instanceView", None, COMPUTE_API),
        ("GET", other["id"], None, COMPUTE_API),
        ("DELETE", other["id"], None, COMPUTE_API),
        ("GET", f"{azure.group}/providers/Microsoft.Compute/virtualMachines", None, COMPUTE_API),
        ("GET", disk, None, COMPUTE_API),
        ("DELETE", disk, None, COMPUTE_API),
        ("GET", nic, None, NETWORK_API),
        ("DELETE", nic, None, NETWORK_API),
        ("GET", azure.group, None, "2021-04-01"),
        ("GET", assignment, None, ROLE_API),
        ("PUT", f"{assignment}/{uuid.uuid4()}", {"properties": myself}, ROLE_API),
    ]
    allowed = [
        (method, path)
        for method, path, body, api in operations
        if ask(method, path, body, api) != 403
    ]
    assert allowed == []
    assert ask("DELETE", vm["id"]) == 202


def definition(azure: Driver) -> str:
    """Contributor's ARM ID."""
    return f"{azure.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"


def test_contributor_may_run_commands_on_a_vm(azure: Driver) -> None:
    answer = azure.send("POST", f"{azure.make_vm()['id']}/runCommand", {})

    assert (answer.status_code, code(answer)) == (501, "NotImplemented")
