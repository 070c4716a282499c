"""The request of a past fleet, and the retry of its failed trials."""

from __future__ import annotations

from typing import Any

import requests

from fleet.api.openapi.document import VERSION
from local.stack import Stack
from tests.harness import Api, eventually, experiment, sql

GONE = 10**8
"""An experiment that does not exist: its fleet fails in its plan, and makes nothing."""
SECRETS = {"tenant_id": "t.example.org", "client_id": "c", "client_secret": "s3cr3t"}


def call(stack: Stack, method: str, path: str) -> requests.Response:
    headers = {"x-functions-key": stack.key}
    return requests.request(method, f"{stack.url}/api/fleets/{path}", headers=headers, timeout=60)


def retry(stack: Stack, fleet: str) -> requests.Response:
    return call(stack, "POST", f"{fleet}/retry")


def fail_trials(stack: Stack, number: int, trials: int) -> None:
    sql(
        stack,
        "UPDATE trial SET runner_id = -2, start_time = now(), end_time = now(), errmsg = 'no'"
        " WHERE id IN (SELECT id FROM trial WHERE experiment_id = %s ORDER BY id LIMIT %s)",
        number, trials,
    )  # fmt: skip


def states(stack: Stack, number: int) -> tuple[int, int]:
    """The numbers of ready and failed trials."""
    [found] = sql(
        stack,
        "SELECT count(*) FILTER (WHERE start_time IS NULL), count(errmsg) FROM trial"
        " WHERE experiment_id = %s", number,
    )  # fmt: skip
    return found[0], found[1]


def ended(api: Api, stack: Stack, number: int, **request: Any) -> str:
    """A fleet of the experiment that has ended, as its row says too."""
    fleet = api.start(experiment_id=number, n_instances=1, **request)
    api.end(fleet)
    is_ended = "SELECT 1 FROM powerlift_fleet WHERE batch_id = %s AND ended_at IS NOT NULL"
    eventually(lambda: sql(stack, is_ended, fleet.removeprefix("fleet-")) or None)
    return fleet


def test_a_request_is_returned_without_its_secrets(api: Api, stack: Stack):
    request = {
        "experiment_id": GONE, "n_instances": 3, "zones": ["2"], "tags": {"a": "b"},
        "max_lifetime": 86400, "azure_json": SECRETS, "uri": stack.db_uri, "name": "secretive",
    }  # fmt: skip
    fleet = api.start(**request)
    answer = call(stack, "GET", f"{fleet}/request")
    account = {name: SECRETS[name] for name in ("tenant_id", "client_id")}
    number = int(api.get(fleet).json()["number"])
    assert answer.json() == {
        "id": fleet,
        "number": number,
        "name": "secretive",
        "request": {
            "experiment_id": GONE, "n_instances": 3, "zones": ["2"], "tags": {"a": "b"},
            "max_lifetime": 86400, "azure_json": account,
        },
        "secrets": ["/uri", "/azure_json/client_secret"],
        "app_version": VERSION,
    }  # fmt: skip
    assert "s3cr3t" not in answer.text
    [(row,)] = sql(
        stack,
        "SELECT to_jsonb(f)::text FROM powerlift_fleet AS f WHERE batch_id = %s",
        fleet.removeprefix("fleet-"),
    )
    assert ("s3cr3t" in row, stack.db_uri in row) == (False, False)


def test_failed_trials_are_reset_and_run_by_a_fleet_with_the_same_request(api: Api, stack: Stack):
    number = experiment(stack, 5)
    request = {"vm_size": "Standard_D2s_v5", "timeout": 77, "name": "rerun"}
    fleet = ended(api, stack, number, **request)
    fail_trials(stack, number, 2)
    answer = retry(stack, fleet)
    body = answer.json()
    assert (answer.status_code, body["trials"], states(stack, number)) == (202, 2, (5, 0))
    assert (body["request"]["timeout"], body["id"] == fleet) == (77, False)
    assert api.wait("rerun", "run")["id"] == body["id"]
    again = retry(stack, fleet)
    assert (again.status_code, again.json()["id"], again.json()["trials"]) == (200, body["id"], 0)
    api.end(body["id"])
