"""The deployment's policy, over HTTP and the queue."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, eventually, experiment, received, send, sql, wire

POISON = "powerlift-fleets-poison"
SOMEBODY = "aaaaaaaa-2222-3333-4444-555555555555"


def plan(stack: Stack, request: Any) -> requests.Response:
    headers = {"x-functions-key": stack.key}
    return requests.post(f"{stack.url}/api/plan", json=request, headers=headers, timeout=60)


def attack(stack: Stack, **more: Any) -> dict[str, Any]:
    """A request for everything that a function key must not allow, with existing resources."""
    group = f"/subscriptions/{stack.arm['subscription_id']}/resourceGroups/powerlift"
    return {
        "experiment_id": experiment(stack),
        "n_instances": 1,
        "resource_uris": [group, f"{group}/providers/Microsoft.Compute/virtualMachines/other"],
        "client_principal_id": SOMEBODY,
        "azure_json": {"resource_group": "another"},
        "image_publisher": "attacker",
        **more,
    }


FAULTS = {
    ("/resource_uris/0", "FLEET_ALLOWED_SCOPES"),
    ("/resource_uris/0", "FLEET_PROTECTED_RESOURCES"),
    ("/resource_uris/1", "FLEET_ALLOWED_SCOPES"),
    ("/resource_uris/1", "FLEET_PROTECTED_RESOURCES"),
    ("/client_principal_id", "FLEET_ALLOWED_PRINCIPALS"),
    ("/azure_json/resource_group", "FLEET_ALLOWED_GROUPS"),
    ("/image_publisher", "FLEET_ALLOWED_IMAGES"),
}


def faults(answer: requests.Response) -> set[tuple[str, str]]:
    return {
        (one["pointer"], re.findall("FLEET_[A-Z_]+", one["detail"])[-1])
        for one in answer.json()["errors"]
    }


def test_function_key_cannot_become_contributor_or_root(api: Api, stack: Stack):
    begin = len(wire(stack))
    request = attack(stack)
    for answer in (api.post(request), plan(stack, request)):
        assert (answer.status_code, faults(answer)) == (400, FAULTS)
    calls = wire(stack)[begin:]
    # Fleets of other tests may list role assignments meanwhile.
    roles = [one for one in calls if one["method"] != "GET" and "roleAssignments" in one["path"]]
    assert ([one for one in calls if "another" in one["path"]], roles) == ([], [])


def test_message_cannot_become_contributor_or_root(stack: Stack):
    number = send(stack, json.dumps(attack(stack, tags={"mark": "not-allowed"})))
    eventually(lambda: [t for t in received(stack, POISON) if "not-allowed" in t] or None)
    lines = (stack.logs / "host.log").read_text().splitlines()
    [reason] = [line for line in lines if f"Message {number} was rejected" in line]
    assert [pointer for pointer, _ in FAULTS if f"{pointer}: " not in reason] == []


def test_invalid_and_disallowed_fields_are_reported_together(api: Api):
    scopes = ["typo", "/subscriptions/s/resourceGroups/another"]
    request = {"n_instances": 0, "client_principal_id": SOMEBODY, "resource_uris": scopes}
    told = {one["pointer"] for one in api.post(request).json()["errors"]}
    fields = {"/experiment_id", "/n_instances", "/client_principal_id"}
    assert told == {*fields, "/resource_uris/0", "/resource_uris/1"}


def test_invalid_account_suppresses_dependent_checks(api: Api):
    account = {"tenant_id": "t", "client_id": "c", "client_secret": ""}
    request = {"experiment_id": 1, "n_instances": 1, "azure_json": account}
    errors = api.post({**request, "client_principal_id": SOMEBODY}).json()["errors"]
    assert [one["pointer"] for one in errors] == ["/azure_json/client_secret"]


def test_uri_cannot_be_used_to_scan_ports(stack: Stack):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        ports = (server.getsockname()[1], 1)
        request = {"experiment_id": 1, "n_instances": 1}
        answers = [
            plan(stack, {**request, "uri": f"postgresql://u:p@localhost:{port}/db"}).json()
            for port in ports
        ]
        assert answers[0] == answers[1]
        assert [one["pointer"] for one in answers[0]["errors"]] == ["/uri"]
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture
def fleet_at_the_limit(api: Api, stack: Stack) -> Iterator[None]:
    """A fleet with all the VMs that the deployment allows."""
    api.post({"experiment_id": 10**6, "n_instances": 1, "batch_id": 8501})
    sql(
        stack,
        "INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, submitted_by, fingerprint,"
        " experiment_id, n_instances, account, started_at)"
        " SELECT owner, now() + interval '1 day', 8502, 8502, 'key', 'f', 1, 1000, 'a', now()"
        " FROM powerlift_fleet WHERE batch_id = 8501",
    )
    yield
    sql(stack, "DELETE FROM powerlift_fleet WHERE batch_id = 8502")


@pytest.mark.usefixtures("fleet_at_the_limit")
def test_deployment_limits_the_vms_of_all_fleets(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 8503}
    answer = api.post(request)
    detail = answer.json()["detail"]
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "300")
    assert "FLEET_MAX_VMS" in detail
    assert "Wait until other fleets have ended" in detail
    assert api.get("fleet-8503").status_code == 404


def policy_check(answer: requests.Response) -> tuple[bool, str]:
    [check] = [one for one in answer.json()["checks"] if one["name"] == "policy"]
    return answer.json()["ok"], check["status"]


def test_plan_reports_whether_the_vm_limit_allows_it(stack: Stack, request: pytest.FixtureRequest):
    fleet = {"experiment_id": experiment(stack), "n_instances": 1, "vm_size": "Standard_D2s_v5"}
    before = policy_check(plan(stack, fleet))
    request.getfixturevalue("fleet_at_the_limit")
    assert (before, policy_check(plan(stack, fleet))) == ((True, "ok"), (False, "fault"))
