"""The client principal's role: for the right object, and reported if Azure does not know it."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from tests.conftest import SETTINGS
from tests.harness import Api, eventually, experiment, wire
from tests.local.azure.driver import Driver

OWN, UNKNOWN = 4901, 4902


@pytest.fixture(scope="module")
def own(stack: Stack, api: Api) -> dict[str, Any]:
    """The plan of a fleet with an application's secret, which has its VM and roles now."""
    account = {name: stack.arm[name] for name in ("tenant_id", "client_id", "client_secret")}
    asked = {"experiment_id": experiment(stack), "n_instances": 1, "azure_json": account}
    fleet_id = api.start(**asked, batch_id=OWN)
    api.wait(fleet_id, "provisioned", "run")
    return asked


def test_an_applications_role_goes_to_its_service_principal(stack: Stack, own: dict[str, Any]):
    azure = Driver(stack.arm, stack.state_dir / "azure")
    vm = azure.vm_path(names.vm(OWN, 0))
    roles = azure.authorization().role_assignments.list_for_scope(vm)
    found = {(one.principal_id, one.principal_type) for one in roles if one.scope == vm}
    assert (stack.arm["client_object_id"], "ServicePrincipal") in found
    assert len(found) == 2


def test_no_role_was_refused(stack: Stack, own: dict[str, Any]):
    calls = [call for call in wire(stack, batch=OWN) if "/roleAssignments/" in call["path"]]
    assert [call["status"] for call in calls if call["method"] == "PUT"] == [201, 201]


@pytest.fixture(scope="module")
def unknown(stack: Stack, api: Api) -> dict[str, Any]:
    """A fleet of eight VMs, one at a time, with a principal that the tenant does not have."""
    fleet_id = api.start(
        experiment_id=experiment(stack, 8),
        n_instances=8,
        max_undead=1,
        batch_id=UNKNOWN,
        client_principal_id=SETTINGS["FLEET_ALLOWED_PRINCIPALS"],
    )
    shown = eventually(lambda: api.wait(fleet_id, "provisioned", "run"))
    api.end(fleet_id)
    return shown


def test_a_principal_that_does_not_exist_is_reported(unknown: dict[str, Any]):
    [group] = unknown["failures"]
    assert (group["code"], group["action"]) == (
        "ClientPrincipalRefused",
        "continued without this role",
    )
    assert "PrincipalNotFound" in group["message"]
    assert "object ID" in group["advice"]


def test_it_costs_no_vm_and_few_calls(stack: Stack, unknown: dict[str, Any]):
    calls = [call for call in wire(stack, batch=UNKNOWN) if "/roleAssignments/" in call["path"]]
    refused = [call for call in calls if call["status"] == 400]
    assert unknown["machines"]["role_assigned"] == 8
    assert len(refused) < 8
