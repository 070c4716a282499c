"""The packages of a fleet: a lock in the request, and what the VMs have resolved."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.api.request import parse
from fleet.model.requirements_lock import TOOLS, digest
from local.stack import Stack
from tests.harness import Api, experiment
from triggers.submission import LATER_FIELDS, _plain

FIRST_FIELDS = [
    "azure_json",
    "client_principal_id",
    "client_principal_type",
    "delete_on_complete",
    "disk_type",
    "ephemeral_os_disk",
    "experiment_id",
    "fallbacks",
    "image_offer",
    "image_publisher",
    "image_sku",
    "image_version",
    "location",
    "max_lifetime",
    "max_price",
    "max_undead",
    "min_instances",
    "n_instances",
    "name",
    "outbound",
    "priority",
    "resource_uris",
    "ssh_public_key",
    "subnet_id",
    "tags",
    "timeout",
    "uri",
    "vm_size",
    "zones",
]
LOCK = "".join(f"{tool}==1\n" for tool in TOOLS)


@pytest.fixture(scope="module")
def fleet(api: Api, stack: Stack) -> Any:
    document = {"experiment_id": experiment(stack), "n_instances": 1, "requirements_lock": LOCK}
    fleet_id = api.start(**document)
    api.wait(fleet_id, "create", "boot", "provisioned", "run")
    again, other = api.post({**document, "batch_id": int(fleet_id[6:])}), None
    document["requirements_lock"] = f"{LOCK}# other\n"
    other = api.post({**document, "batch_id": int(fleet_id[6:])})
    yield fleet_id, again.status_code, other.status_code
    api.end(fleet_id)


def locks(stack: Stack, fleet_id: str) -> Any:
    url = f"{stack.url}/api/fleets/{fleet_id}/lock"
    return requests.get(url, headers={"x-functions-key": stack.key}, timeout=30).json()


def test_the_lock_of_a_request_is_what_its_vms_read(stack: Stack, fleet: Any):
    found = locks(stack, fleet[0])
    assert (found["id"], found["problem"]) == (fleet[0], None)
    shown = {(one["architecture"], one["requirements"], one["digest"]) for one in found["locks"]}
    assert shown == {(one, LOCK, digest(LOCK)) for one in ("x64", "Arm64")}


def test_requests_with_other_packages_are_different_requests(fleet: Any):
    assert fleet[1:] == (200, 409)


def test_a_request_without_a_lock_has_the_fingerprint_of_an_earlier_build():
    request = parse({"experiment_id": 1, "n_instances": 1})
    assert _plain(request).keys() & set(LATER_FIELDS) == set()
    assert sorted(_plain(request)) == FIRST_FIELDS  # a new field belongs into LATER_FIELDS
    assert _plain(parse({"experiment_id": 1, "n_instances": 1, "requirements_lock": LOCK})) == {
        **_plain(request),
        "requirements_lock": LOCK,
    }


def test_every_fault_of_a_lock_is_reported_with_those_of_other_fields(api: Api):
    answer = api.post({"n_instances": 0, "requirements_lock": "numpy\nlib==1\n-e .\n"})
    faults = [(one["pointer"], one["detail"].partition(":")[0]) for one in answer.json()["errors"]]
    lines = [(pointer, line) for pointer, line in faults if pointer == "/requirements_lock"]
    assert (answer.status_code, lines) == (
        400,
        [("/requirements_lock", f"Line {n}") for n in (1, 3)],
    )
    assert {pointer for pointer, _ in faults} >= {"/n_instances", "/experiment_id"}


def test_a_lock_without_what_runs_trials_is_a_fault_of_the_plan(api: Api, stack: Stack):
    plan = api.plan(experiment_id=experiment(stack), n_instances=1, requirements_lock="lib==1\n")
    (check,) = [one for one in plan["checks"] if one["name"] == "requirements_lock"]
    assert (plan["ok"], check["status"]) == (False, "fault")
    assert check["detail"].startswith(
        "requirements_lock lacks powerlift, psycopg, psycopg2-binary, set"
    )
