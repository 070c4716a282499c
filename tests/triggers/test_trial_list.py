"""GET /api/fleets/{id}/trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, experiment, sql

BATCH = 6301
FLEET = f"fleet-{BATCH}"


@pytest.fixture(scope="module")
def fleet(api: Api, stack: Stack) -> Iterator[str]:
    """A fleet whose experiment has a trial in each state."""
    number = experiment(stack, 4)
    api.start(experiment_id=number, n_instances=1, batch_id=BATCH)
    api.wait(FLEET, "run")
    error = f'Traceback:\n  File "x"\n    boom\nOSError: {stack.db_uri} is away\n'
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("runner_id = -2, start_time = now(), end_time = now(), errmsg = %s", (error,)),
        ("runner_id = -2, start_time = now(), end_time = now()", ()),
        ("runner_id = %s, start_time = now()", (names.runner_id(BATCH, 0),)),
    ]
    trials = sql(stack, "SELECT id FROM trial WHERE experiment_id = %s ORDER BY id", number)
    for (trial,), (change, values) in zip(trials, changes, strict=False):
        sql(stack, f"UPDATE trial SET {change} WHERE id = %s", *values, trial)
    yield FLEET
    api.end(FLEET)


def ask(stack: Stack, **query: Any) -> requests.Response:
    url, headers = f"{stack.url}/api/fleets/{FLEET}/trials", {"x-functions-key": stack.key}
    return requests.get(url, params=query, headers=headers, timeout=30)


def test_every_trial_is_listed_with_its_state(stack: Stack, fleet: str):
    body = ask(stack).json()
    found = [(one["state"], one["machine"], one["method"]) for one in body["trials"]]
    assert (body["id"], body["next"]) == (fleet, None)
    assert found == [
        ("failed", None, "m"), ("complete", None, "m"), ("running", 0, "m"), ("ready", None, "m"),
    ]  # fmt: skip


def test_a_trial_of_another_fleet_has_its_fleet_and_vm(stack: Stack, fleet: str):
    [trial] = ask(stack, state="complete").json()["trials"]
    number = "(SELECT experiment_id FROM trial WHERE id = %s)"
    sql(
        stack,
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, vm_name, cpu_model, kernel)"
        f" VALUES ({number}, 80001, 'powerlift-vm-8-0001', 'EPYC 7763', '6.8')",
        trial["id"],
    )
    sql(
        stack,
        "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id, wall_seconds,"
        f" max_rss_bytes, measured_at) VALUES (%s, {number}, 80001, 2.5, 1000, now())",
        *(trial["id"], trial["id"]),
    )
    [found] = ask(stack, state="complete", limit=2).json()["trials"]
    vm = found["vm"]
    assert (found["machine"], vm["fleet"], vm["name"]) == (None, "fleet-8", "powerlift-vm-8-0001")
    assert vm["system"]["cpu_model"] == "EPYC 7763"
    assert (found["usage"]["wall_seconds"], found["usage"]["max_rss_bytes"]) == (2.5, 1000)


def test_pages_contain_every_trial_once(stack: Stack, fleet: str):
    whole = [one["id"] for one in ask(stack).json()["trials"]]
    page = ask(stack, limit=3).json()
    last = ask(stack, limit=3, cursor=page["next"]).json()
    assert [one["id"] for one in (*page["trials"], *last["trials"])] == whole
    assert (len(page["trials"]), last["next"]) == (3, None)


def test_the_databases_password_is_not_in_an_error(stack: Stack, fleet: str):
    [failed] = ask(stack, state="failed", traceback="true").json()["trials"]
    password = stack.db_uri.partition("@")[0].rpartition(":")[2]
    assert failed["error"].startswith("OSError: postgresql://")
    assert ("***" in failed["error"], "boom" in failed["traceback"]) == (True, True)
    assert password not in failed["error"] + failed["traceback"]


def test_tracebacks_are_sent_on_request_only(stack: Stack, fleet: str):
    [failed] = ask(stack, state="failed").json()["trials"]
    assert failed["traceback"] is None


@pytest.mark.parametrize(
    "query",
    [{"state": "gone"}, {"limit": 0}, {"limit": 501}, {"limit": "x"}, {"cursor": "-1"},
     {"cursor": 2**31}, {"cursor": "\u0663"}, {"traceback": "yes"}],
)  # fmt: skip
def test_an_invalid_query_is_rejected(stack: Stack, fleet: str, query: dict[str, Any]):
    assert ask(stack, **query).status_code == 400


def test_all_faults_of_a_query_are_reported_together(stack: Stack, fleet: str):
    assert len(ask(stack, state="gone", limit=0, cursor="x").json()["errors"]) == 3
