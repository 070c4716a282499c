"""GET /api/fleets/{id}/machines and /progress: for running and completed fleets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from fleet.model.names import runner_id
from fleet.model.right_sizing import GIB
from local.stack import Stack
from tests.harness import Api, eventually, existing_resources, experiment, sql

BATCH = 5201
FLEET = f"fleet-{BATCH}"
MACHINE_TIMES = ("created_at", "role_assigned_at", "running_at")


def progress(stack: Stack, fleet_id: str = FLEET) -> Any:
    url = f"{stack.url}/api/fleets/{fleet_id}/progress"
    return requests.get(url, headers={"x-functions-key": stack.key}, timeout=30).json()


@dataclass(frozen=True)
class Responses:
    """The responses for three VMs: once they were accepted, while they ran, and after the end."""

    early: list[dict[str, Any]]
    running: list[dict[str, Any]]
    half: dict[str, Any]
    """The progress when three of six trials had ended."""
    end: list[dict[str, Any]]
    fleet: dict[str, Any]
    """`GET /fleets/{id}` after the end."""
    final: dict[str, Any]
    links: dict[str, str]
    early_cost: dict[str, Any]
    """Once all three VMs were accepted."""


@pytest.fixture(scope="module")
def responses(stack: Stack, api: Api) -> Responses:
    number = experiment(stack, trials=6)
    api.start(experiment_id=number, n_instances=3, batch_id=BATCH)
    early = eventually(lambda: api.machines(FLEET) or None)
    early_cost = eventually(
        lambda: progress(stack)["cost"] if len(api.machines(FLEET)) == 3 else None
    )
    links = api.wait(FLEET, "run")["links"]
    running = api.machines(FLEET)
    end_trials(stack, number, 3)
    half = eventually(lambda: shown if (shown := progress(stack))["trials"]["complete"] else None)
    end_trials(stack, number, 3)
    why = f"Traceback\nOSError: {urlsplit(stack.db_uri).password}"
    one = "(SELECT min(id) FROM trial WHERE experiment_id = %s)"
    sql(stack, f"UPDATE trial SET errmsg = %s WHERE id = {one}", why, number)
    api.end(FLEET)
    machines, fleet = api.machines(FLEET), api.get(FLEET).json()
    return Responses(early, running, half, machines, fleet, progress(stack), links, early_cost)


def end_trials(stack: Stack, number: int, count: int) -> None:
    sql(
        stack,
        "UPDATE trial SET runner_id = -2, start_time = now(), end_time = now() WHERE id IN"
        " (SELECT id FROM trial WHERE experiment_id = %s AND end_time IS NULL LIMIT %s)",
        number,
        count,
    )


def test_vms_are_listed_before_they_run(responses: Responses):
    assert {one["state"] for one in responses.early} <= {"creating", "running"}


def test_a_running_fleet_lists_running_vms(responses: Responses):
    assert [one["state"] for one in responses.running] == ["running"] * 3


@pytest.mark.parametrize("moment", MACHINE_TIMES)
def test_past_events_have_a_time(responses: Responses, moment: str):
    assert all(one[moment] for one in responses.running)


def test_a_vm_runs_after_it_was_accepted(responses: Responses):
    assert all(one["created_at"] <= one["running_at"] for one in responses.running)


def test_after_the_end_every_vm_is_deleted(responses: Responses):
    assert [(one["state"], bool(one["deleted_at"])) for one in responses.end] == [
        ("deleted", True)
    ] * 3


def test_a_fleet_has_the_times_of_the_list(responses: Responses, api: Api):
    [listed] = [one for one in api.list().json()["fleets"] if one["id"] == FLEET]
    times = [responses.fleet[name] for name in ("created_at", "ended_at")]
    assert (times, None in times) == ([listed["created_at"], listed["ended_at"]], False)


def test_half_of_the_trials_are_completed(responses: Responses):
    counts = responses.half["trials"]
    assert (counts["complete"], counts["ready"] + counts["running"], counts["total"]) == (3, 3, 6)


def test_the_series_ends_with_the_total(responses: Responses):
    series = responses.final["series"]
    assert (series["complete"][-1], series["error"][-1]) == (5, 1)


def test_hours_are_counted_by_placement(responses: Responses):
    hours = responses.final["vm_hours"]
    assert hours["so_far"] == sum(one["vm_hours"] for one in hours["by_placement"]) > 0


def test_one_set_of_numbers_says_what_the_fleet_costs(responses: Responses, stack: Stack, api: Api):
    """Sixteen vCPUs at 4.8 cents and a disk, also before the fleet's second history."""
    hours, cost = responses.final["vm_hours"], responses.final["cost"]
    price = hours["by_placement"][0]["price_per_hour"]
    assert price == pytest.approx(16 * 0.048 + 1.536 / 730)
    rounded = 0.00005  # hours: they have four decimals
    assert cost["so_far"] == pytest.approx(price * hours["so_far"], abs=price * rounded * 1.01)
    assert cost["per_trial"] == pytest.approx(cost["so_far"] / 6, rel=0.001)
    assert responses.early_cost["per_hour"] == pytest.approx(3 * price)
    [listed] = [one for one in api.list().json()["fleets"] if one["id"] == FLEET]
    assert listed["cost"] == pytest.approx(cost["so_far"], rel=0.01)


@pytest.mark.long
def test_an_ended_fleet_says_which_smaller_size_would_have_done(stack: Stack, api: Api):
    number, runner = experiment(stack, trials=10), runner_id(BATCH + 3, 0)
    fleet_id = api.start(
        experiment_id=number, n_instances=1, batch_id=BATCH + 3, vm_size="Standard_D4s_v5"
    )
    api.wait(fleet_id, "run")
    before = progress(stack, fleet_id)["right_sizing"]
    columns = "experiment_id, runner_id, cpus, memory_bytes, used_vcpus, used_memory_bytes"
    use = (
        f"INSERT INTO powerlift_fleet_runner ({columns}) VALUES (%s, %s, 4, {15 * GIB}, 1.5, {GIB})"
    )
    sql(stack, use, number, runner)
    ran = "INSERT INTO powerlift_fleet_trial SELECT id, experiment_id, %s FROM trial"
    sql(stack, f"{ran} WHERE experiment_id = %s", runner, number)
    end_trials(stack, number, 10)
    api.end(fleet_id)
    found = progress(stack, fleet_id)["right_sizing"]
    disk = 1.536 / 730
    assert before is None
    # Simulated prices are by vCPU: of the sizes at one price, the one with the most memory.
    assert found["suggestion"] == {
        "vm_size": "Standard_E2s_v5",
        "price_per_hour": pytest.approx(2 * 0.048 + disk),
        "instead_of": pytest.approx(4 * 0.048 + disk),
        "saving": pytest.approx(0.4946, abs=0.001),
    }
    assert found["message"].startswith("Half the vCPUs would have done: Standard_E2s_v5")


def test_the_links_resolve(responses: Responses, stack: Stack):
    headers = {"x-functions-key": stack.key}
    codes = [
        requests.get(responses.links[name], headers=headers, timeout=30).status_code
        for name in ("self", "machines", "progress")
    ]
    assert codes == [200, 200, 200]


def test_links_are_built_from_any_spelling_of_the_url(responses: Responses, stack: Stack):
    url = f"{stack.url}/api/Fleets/fleet%2D{BATCH}?x=/fleets/"
    answer = requests.get(url, headers={"x-functions-key": stack.key}, timeout=30)
    assert answer.json()["links"]["self"] == f"{stack.url}/api/fleets/{FLEET}"


@pytest.mark.parametrize("part", ["machines", "progress"])
def test_an_unknown_fleet_has_no_progress(stack: Stack, part: str):
    url = f"{stack.url}/api/fleets/fleet-12345678901234567890/{part}"
    answer = requests.get(url, headers={"x-functions-key": stack.key}, timeout=30)
    assert answer.status_code == 404


def test_errors_omit_the_database_password(responses: Responses, stack: Stack):
    password = urlsplit(stack.db_uri).password
    errors = responses.final["errors"]
    assert (errors, password is not None) == ([{"message": "OSError: ***", "count": 1}], True)


def test_no_resource_is_left(responses: Responses, stack: Stack):
    assert existing_resources(stack, BATCH) == []


def test_an_unreachable_database_is_reported_with_the_other_fields(
    responses: Responses, stack: Stack, api: Api
):
    uri = "postgresql://me:hidden@127.0.0.1:1/nowhere"
    fleet_id = api.start(experiment_id=1, n_instances=1, batch_id=BATCH + 1, uri=uri)
    api.wait(fleet_id)
    body = progress(stack, fleet_id)
    assert ("is unreachable" in body["problem"], body["trials"], body["vm_hours"]["so_far"]) == (
        True,
        None,
        0,
    )


@pytest.mark.long
def test_trials_are_counted_in_a_read_only_database(stack: Stack, api: Api):
    """Azure makes a database read-only when its disk is full: VMs cannot be recorded."""
    sql(stack, "CREATE ROLE full_disk LOGIN PASSWORD 'full'")
    sql(stack, "GRANT pg_read_all_data, pg_write_all_data TO full_disk")
    sql(stack, "ALTER ROLE full_disk SET default_transaction_read_only = on")
    uri = f"postgresql://full_disk:full@{stack.db_uri.partition('@')[2]}"
    number = experiment(stack, trials=2)
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=BATCH + 2, uri=uri)
    api.wait(fleet_id, "run")
    end_trials(stack, number, 2)
    eventually(lambda: (api.get(fleet_id).json()["trials"] or {}).get("complete") == 2 or None)
    api.end(fleet_id)
