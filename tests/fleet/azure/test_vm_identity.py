"""The identities of a VM, depending on the deployment's settings and the database URI."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from fleet.api.order_builder import build_order
from fleet.api.request import parse
from fleet.azure import virtual_machines
from fleet.model.records import Order
from fleet.settings import PUBLIC_CLOUD, Settings
from tests.fleets import placement

IDENTITY = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/powerlift-vms"
)
SETTINGS = {"FLEET_SEALING_KEY": "k", "POWERLIFT_DB_URI": "postgresql://h/d"}
WITH_PASSWORD, WITHOUT = "postgresql://u:p@db.example.com/d", "postgresql://u@db.example.com/d"


def body(uri: str, **settings: str) -> dict[str, Any]:
    """The body of a VM's PUT."""
    request = parse({"experiment_id": 1, "n_instances": 1, "uri": uri})
    order = build_order(request, Settings.read({**SETTINGS, **settings}), 7)
    planned = cast(Order, {**order, "deadline": "2026-01-02T00:00:00Z"})
    return virtual_machines.body(planned, 0, placement(), uri, PUBLIC_CLOUD)


def script(vm: dict[str, Any]) -> str:
    return base64.b64decode(vm["properties"]["osProfile"]["customData"]).decode()


def test_vm_gets_the_deployments_identity_for_a_database_without_a_password():
    vm = body(WITHOUT, FLEET_VM_IDENTITY=IDENTITY)
    assert vm["identity"] == {
        "type": "SystemAssigned, UserAssigned",
        "userAssignedIdentities": {IDENTITY: {}},
    }
    assert f"DATABASE_IDENTITY={IDENTITY}\n" in script(vm)


@pytest.mark.parametrize(
    ("uri", "settings"), [(WITH_PASSWORD, {"FLEET_VM_IDENTITY": IDENTITY}), (WITHOUT, {})]
)
def test_vm_gets_no_unneeded_identity(uri: str, settings: dict[str, str]):
    vm = body(uri, **settings)
    assert vm["identity"] == {"type": "SystemAssigned"}
    assert "DATABASE_IDENTITY=''\n" in script(vm)


@pytest.mark.parametrize(
    ("settings", "user"), [({}, "powerlift-vms"), ({"FLEET_VM_DB_USER": "bench"}, "bench")]
)
def test_vm_logs_in_as_its_own_database_user(settings: dict[str, str], user: str):
    text = script(body(WITHOUT, FLEET_VM_IDENTITY=IDENTITY, **settings))
    service = text.partition("PG_SERVICE_BASE64=")[2].partition("\n")[0]
    assert f"user={user}\n" in base64.b64decode(service).decode()
