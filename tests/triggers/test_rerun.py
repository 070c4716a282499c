"""The request of a past fleet, and the retry of its failed trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, eventually, experiment, sql

GONE = 10**8
"""An experiment that does not exist: its fleet fails in its plan, and makes nothing."""
SECRETS = {"tenant_id": "t.example.org", "client_id": "c", "client_secret": "s3cr3t"}


def call(stack: Stack, method: str, path: str, key: str | None = None) -> requests.Response:
    headers = {"x-functions-key": key or stack.key}
    return requests.request(method, f"{stack.url}/api/fleets/{path}", headers=headers, timeout=60)


def retry(stack: Stack, fleet: str, key: str | None = None) -> requests.Response:
    return call(stack, "POST", f"{fleet}/retry", key)


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
    assert answer.json() == {
        "id": fleet,
        "request": {
            "experiment_id": GONE, "n_instances": 3, "zones": ["2"], "tags": {"a": "b"},
            "max_lifetime": 86400, "azure_json": account,
        },
        "secrets": ["/uri", "/azure_json/client_secret"],
    }  # fmt: skip
    assert "s3cr3t" not in answer.text
    [(row,)] = sql(
        stack,
        "SELECT to_jsonb(f)::text FROM powerlift_fleet AS f WHERE batch_id = %s",
        fleet.removeprefix("fleet-"),
    )
    assert ("s3cr3t" in row, stack.db_uri in row) == (False, False)


@pytest.mark.parametrize(
    "change",
    ["request = replace(request, '\"n_instances\": 1', '\"n_instances\": 999')",
     "submitted_by = 'key-000000000000'", "request_signature = NULL", "request = NULL"],
)  # fmt: skip
def test_a_request_that_was_changed_in_the_table_is_not_used(api: Api, stack: Stack, change: str):
    """VMs may be able to write the table."""
    fleet = api.start(experiment_id=GONE, n_instances=1)
    api.wait(fleet, "failed")
    where = f"WHERE batch_id = {fleet.removeprefix('fleet-')}"
    sql(stack, f"UPDATE powerlift_fleet SET {change} {where}")
    eventually(
        lambda: (
            sql(stack, f"SELECT 1 FROM powerlift_fleet {where} AND ended_at IS NOT NULL") or None
        )
    )
    answers = [call(stack, "GET", f"{fleet}/request"), retry(stack, fleet)]
    assert [answer.status_code for answer in answers] == [404, 404]


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


def test_a_running_fleet_is_not_retried(api: Api, stack: Stack):
    number = experiment(stack)
    fleet = api.start(experiment_id=number, n_instances=1)
    fail_trials(stack, number, 1)
    answer = retry(stack, fleet)
    api.end(fleet)
    assert (answer.status_code, "has not ended" in answer.json()["detail"]) == (409, True)
    assert states(stack, number)[1] == 1


def test_a_fleet_without_a_failed_trial_is_not_retried(api: Api, stack: Stack):
    number = experiment(stack, 3)
    answer = retry(stack, ended(api, stack, number))
    detail = answer.json()["detail"]
    assert (answer.status_code, "0 of 3 are complete, 3 have not ended" in detail) == (409, True)


def test_an_experiment_on_which_another_fleet_works_is_not_reset(api: Api, stack: Stack):
    number = experiment(stack)
    fleet = ended(api, stack, number)
    other = api.start(experiment_id=number, n_instances=1)
    fail_trials(stack, number, 1)
    answer = retry(stack, fleet)
    api.end(other)
    assert (answer.status_code, "works on experiment" in answer.json()["detail"]) == (409, True)
    assert states(stack, number)[1] == 1


def test_an_experiment_on_which_vms_of_another_deployment_work_is_not_reset(api: Api, stack: Stack):
    number = experiment(stack)
    fleet = ended(api, stack, number)
    fail_trials(stack, number, 1)
    sql(
        stack,
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, seen_at) VALUES (%s, 1, now())",
        number,
    )
    answer = retry(stack, fleet)
    assert (answer.status_code, "1 VMs have worked" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("reference", ["latest", "fleet-404404404", "nobody"])
def test_a_retry_needs_a_whole_reference(stack: Stack, reference: str):
    assert retry(stack, reference).status_code == 404


def other_key(stack: Stack) -> str:
    """Another key that may retry."""
    master = json.loads((Path(stack.state_dir) / "host/keys.json").read_text())["master"]
    url, key = f"{stack.url}/admin/functions/retry_fleet/keys/other", "the-key-of-another"
    document = {"name": "other", "value": key}
    answer = requests.put(url, json=document, headers={"x-functions-key": master}, timeout=30)
    assert answer.status_code in (200, 201)
    return key


def test_the_secrets_of_a_request_are_used_again_for_its_submitter_only(api: Api, stack: Stack):
    number = experiment(stack)
    fleet = ended(api, stack, number, uri=stack.db_uri)
    fail_trials(stack, number, 1)
    refused = retry(stack, fleet, other_key(stack))
    assert (refused.status_code, states(stack, number)[1]) == (409, 1)
    detail = refused.json()["detail"]
    assert ("(/uri)" in detail, "for their submitter only" in detail) == (True, True)
    accepted = retry(stack, fleet)
    assert (accepted.status_code, states(stack, number)[1]) == (202, 0)
    api.end(accepted.json()["id"])


def test_another_submitter_may_retry_a_fleet_without_secrets(api: Api, stack: Stack):
    number = experiment(stack)
    fleet = ended(api, stack, number)
    fail_trials(stack, number, 1)
    accepted = retry(stack, fleet, other_key(stack))
    assert accepted.status_code == 202
    api.end(accepted.json()["id"])
