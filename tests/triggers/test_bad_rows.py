"""Invalid rows in the app's tables, which every VM may write, affect only themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, eventually, experiment, sql

BATCH = 5301
FLEET = f"fleet-{BATCH}"
GOOD = {
    "ordinal": 1, "name": "powerlift-vm", "state": "running", "attempt": 1, "replaces": None,
    "placement": {"location": "eastus", "zone": None, "vm_size": "B2s", "priority": "Regular"},
    "created_at": "2026-01-01T00:00:00Z", "role_assigned_at": None, "running_at": None,
    "ended_at": None, "deleted_at": None, "ended": None,
}  # fmt: skip
BAD_RECORDS: list[Any] = [
    {}, [1], "text", 7, None, True,
    {**GOOD, "state": "confused"}, {**GOOD, "placement": None}, {**GOOD, "placement": {}},
    {**GOOD, "ended": []}, {**GOOD, "ended": {"code": 1}}, {**GOOD, "attempt": "first"},
    {**GOOD, "created_at": "yesterday"}, {**GOOD, "running_at": "2026-02-30"},
    {**GOOD, "created_at": None}, {**GOOD, "deleted_at": 5}, {**GOOD, "ordinal": "x"},
    {**GOOD, "name": ["a"]}, {**GOOD, "created_at": "0001-01-01T00:00:00+14:00"},
    {**GOOD, "ordinal": 0},
]  # fmt: skip
"""One for each ordinal from 100."""
BAD_TIMES = ["infinity", "-infinity", "20000-01-01", "0044-01-01 BC", "0001-01-01 00:00:00+14"]
BAD_COLUMNS = {
    "machines": "'[1]'", "trials": "'{\"total\": \"many\"}'", "cost": "'NaN'", "phase": "'confused'",
    "updated_at": "'infinity'", "submitted_at": "'20000-01-01'", "started_at": "'-infinity'",
    "ended_at": "'infinity'", "purged_at": "'0044-01-01 BC'", "batch_id": "'NaN'",
}  # fmt: skip
"""Of rows in the table of fleets, in place of good ones."""
COLUMNS = {
    "owner": "'tests'", "submitted_by": "'queue'", "fingerprint": "'bad'", "experiment_id": "1",
    "n_instances": "1", "account": "''", "deadline": "now()", "started_at": "now()",
}  # fmt: skip


@pytest.fixture(scope="module")
def number(stack: Stack, api: Api) -> int:
    """The experiment of a fleet of one VM, with invalid rows around the VM's."""
    number = experiment(stack, trials=2)
    api.start(experiment_id=number, n_instances=1, batch_id=BATCH)
    api.wait(FLEET, "run")
    # Not from /machines, whose response is reused for a second.
    recorded = "SELECT 1 FROM powerlift_fleet_machine WHERE batch_id = %s"
    eventually(lambda: sql(stack, recorded, BATCH) or None)
    for index, record in enumerate(BAD_RECORDS):
        sql(
            stack,
            "INSERT INTO powerlift_fleet_machine SELECT batch_id, began, %s, experiment_id, %s, %s,"
            " now() FROM powerlift_fleet_machine WHERE batch_id = %s AND ordinal = 0",
            100 + index, names.runner_id(BATCH, 100 + index), json.dumps(record), BATCH,
        )  # fmt: skip
    for index, time in enumerate(BAD_TIMES):
        sql(
            stack,
            "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, kernel, started_at, ended_at,"
            " seen_at, outcome, exit_code) VALUES (%s, %s, '', %s, %s, %s, '', -1)",
            number, names.runner_id(BATCH, 200 * index), time, time, time,
        )  # fmt: skip
    return number


def get(stack: Stack, path: str) -> requests.Response:
    url = f"{stack.url}/api/{path}"
    return requests.get(url, headers={"x-functions-key": stack.key}, timeout=30)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"fleets/{FLEET}", 200),
        (f"fleets/{FLEET}/machines", 200),
        (f"fleets/{FLEET}/progress", 200),
        (f"fleets/{FLEET}/machines/0/log", 200),
        (f"fleets/{FLEET}/machines/1/log", 404),
        (f"fleets/{FLEET}/machines/100/log", 404),
        (f"fleets/{FLEET}/machines/200/log", 404),
        (f"fleets/{FLEET}/machines/400/log", 404),
        (f"view/{FLEET}", 200),
    ],
)
def test_every_route_responds_despite_invalid_rows(
    stack: Stack, number: int, path: str, status: int
):
    answer = get(stack, path)
    assert answer.status_code == status, answer.text


def test_invalid_records_are_not_listed(api: Api, number: int):
    assert [one["ordinal"] for one in api.machines(FLEET)] == [0]


def test_invalid_records_do_not_stop_the_counts(stack: Stack, api: Api, number: int):
    """Not even a record of a VM that the fleet is about to record."""
    sql(
        stack,
        "UPDATE powerlift_fleet_machine SET record = '[1]', noted_at = '2026-01-01'"
        " WHERE batch_id = %s AND ordinal = 0",
        BATCH,
    )
    end = "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s"
    sql(stack, end, number)

    def counted() -> dict[str, Any] | None:
        shown: dict[str, Any] = api.get(FLEET).json()
        return shown if shown["trials"]["complete"] == 2 else None

    assert eventually(counted)["failures"] == []
    assert api.end(FLEET)["phase"] == "cancelled"
    assert [one["state"] for one in api.machines(FLEET)] == ["deleted"]


@pytest.mark.parametrize("column", BAD_COLUMNS)
def test_an_invalid_row_does_not_stop_the_list_of_fleets(stack: Stack, number: int, column: str):
    """With a limit and a number of its own, because a response is reused for a second."""
    own = 5302 + list(BAD_COLUMNS).index(column)
    bad = {"batch_id": str(own), "number": str(own), **COLUMNS, column: BAD_COLUMNS[column]}
    names_, values = ", ".join(bad), ", ".join(bad.values())
    sql(stack, f"INSERT INTO powerlift_fleet ({names_}) VALUES ({values})")
    try:
        paths = (f"fleets?limit={own - 5302 + 100}", f"fleets/{own}")
        answers = [get(stack, path) for path in paths]
    finally:
        sql(stack, "DELETE FROM powerlift_fleet WHERE number = %s", own)
    assert [one.status_code < 500 for one in answers] == [True] * 2
    assert FLEET in [one["id"] for one in answers[0].json()["fleets"]]
    json.loads(answers[0].text, parse_constant=lambda name: pytest.fail(name))
