"""Finding idle VMs from the database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from fleet.model.names import runner_id
from fleet.model.records import Order
from fleet.store.heartbeats import (
    IdleVms,
    ReportedErrors,
    drain,
    find_experiment_errors,
    find_idle,
    record_ends,
)
from fleet.store.vm_records import conflicting_batch, write

BATCHES = itertools.count(500)
NOW, AN_HOUR_AGO = "now()", "now() - interval '1 hour'"


class Fleet:
    """A fleet of one VM in a real database."""

    def __init__(self, database: Any, **order: Any) -> None:
        self.database, self.uri, batch = database, database.uri, next(BATCHES)
        self.experiment = database.experiment("", trials=1)
        self.order: Order = {  # type: ignore[typeddict-item]
            "batch_id": batch, "experiment_id": self.experiment, "delete_on_complete": True,
            "created_at": "2026-11-25T12:00:00Z", **order,
        }  # fmt: skip
        self.runner = runner_id(batch, 0)

    def runs(self, since: str) -> None:
        """Record that the VM has been running since a time (SQL)."""
        [[at]] = self.database.sql(f"SELECT ({since})::text")
        record = {"ordinal": 0, "state": "running", "running_at": at}
        write(self.uri, self.order, [record], "2026-11-25T12:00:00Z")

    def writes(self, **columns: str) -> None:
        """Insert the row that the VM writes, with these columns (SQL)."""
        self.database.sql(
            f"INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, {', '.join(columns)})"
            f" VALUES ({self.experiment}, {self.runner}, {', '.join(columns.values())})"
        )

    def row(self) -> tuple[Any, ...]:
        columns = "ended_at IS NOT NULL, outcome, exit_code"
        query = f"SELECT {columns} FROM powerlift_fleet_runner WHERE runner_id = %s"
        [row] = self.database.sql(query, self.runner)
        return tuple(row)


@pytest.fixture
def make(benchmark_database: Any) -> Callable[..., Fleet]:
    return lambda **order: Fleet(benchmark_database, **order)


def idle_of(fleet: Fleet) -> IdleVms:
    return find_idle(fleet.uri, fleet.order)


def test_a_vm_last_seen_a_minute_ago_is_alive(make: Callable[..., Fleet]):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(seen_at="now() - interval '1 minute'")
    assert idle_of(fleet) == IdleVms([], [])


def test_a_vm_last_seen_an_hour_ago_is_silent(make: Callable[..., Fleet]):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(seen_at=AN_HOUR_AGO)
    assert idle_of(fleet) == IdleVms([0], [])


def test_a_vm_of_an_older_release_is_not_silent(make: Callable[..., Fleet]):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(seen_at="NULL")
    assert idle_of(fleet) == IdleVms([], [])


@pytest.mark.parametrize(("since", "silent"), [(AN_HOUR_AGO, [0]), (NOW, [])])
def test_a_vm_without_heartbeats_is_silent_after_a_delay(
    make: Callable[..., Fleet], since: str, silent: list[int]
):
    fleet = make()
    fleet.runs(since)
    assert idle_of(fleet) == IdleVms(silent, [])


@pytest.mark.parametrize("time", ["yesterday", "", "infinity", "0001-01-01T00:00:00+14:00"])
def test_an_invalid_time_does_not_hide_other_vms(make: Callable[..., Fleet], time: str):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    bad = {"ordinal": 1, "state": "running", "running_at": time}
    write(fleet.uri, fleet.order, [bad], "2026-11-25T12:00:00Z")
    assert idle_of(fleet) == IdleVms([0], [])


def test_a_vm_without_heartbeats_that_holds_a_trial_is_alive(make: Callable[..., Fleet]):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    hold = "UPDATE trial SET runner_id = %s, start_time = now() WHERE experiment_id = %s"
    fleet.database.sql(hold, fleet.runner, fleet.experiment)
    assert idle_of(fleet) == IdleVms([], [])


@pytest.mark.parametrize(("when", "done"), [(AN_HOUR_AGO, [0]), (NOW, [])])
def test_a_vm_whose_script_ended_is_idle_after_a_delay(
    make: Callable[..., Fleet], when: str, done: list[int]
):
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(seen_at=AN_HOUR_AGO, ended_at=when)
    assert idle_of(fleet) == IdleVms([], done)


def test_a_kept_vm_is_not_idle(make: Callable[..., Fleet]):
    fleet = make(delete_on_complete=False)
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(ended_at=AN_HOUR_AGO)
    assert idle_of(fleet) == IdleVms([], [])


def test_the_end_of_a_lost_vm_is_recorded(make: Callable[..., Fleet]):
    fleet = make()
    fleet.writes(seen_at=NOW)
    recorded = [record_ends(fleet.uri, fleet.order, {0: "It vanished."}) for _ in range(2)]
    assert (recorded, fleet.row()) == ([{}, {}], (True, "It vanished.", None))


@pytest.mark.parametrize(
    ("code", "expected"), [("0", {0: None}), ("1", {0: "its outcome"}), ("143", {}), ("NULL", {})]
)
def test_a_recorded_outcome_is_kept_and_returned_if_the_script_ended(
    make: Callable[..., Fleet], code: str, expected: dict[int, str | None]
):
    fleet = make()
    fleet.writes(outcome="'its outcome'", exit_code=code, ended_at=NOW)
    ends = record_ends(fleet.uri, fleet.order, {0: "It vanished."})
    assert {ordinal: end.outcome for ordinal, end in ends.items()} == expected
    assert fleet.row()[1] == "its outcome"


def test_vms_without_heartbeats_have_no_outcome(make: Callable[..., Fleet]):
    fleet = make()
    assert record_ends(fleet.uri, fleet.order, {0: "It vanished."}) == {}


@pytest.mark.parametrize(("more", "shared"), [(214_000, True), (1, False)])
def test_another_batch_may_have_the_same_runner_ids(
    make: Callable[..., Fleet], more: int, shared: bool
):
    fleet = make()
    fleet.runs(NOW)
    batch = fleet.order["batch_id"]
    other: Order = {**fleet.order, "batch_id": batch + more}
    assert (
        conflicting_batch(fleet.uri, other),
        conflicting_batch(fleet.uri, fleet.order),
    ) == (
        batch if shared else None,
        None,
    )


def test_no_vm_is_silent_in_a_read_only_database(make: Callable[..., Fleet]):
    """Azure makes a database read-only when its disk is full: no VM can send heartbeats then."""
    fleet = make()
    fleet.runs(AN_HOUR_AGO)
    fleet.writes(seen_at=AN_HOUR_AGO)
    full = f"{fleet.uri}?options=-cdefault_transaction_read_only%3Don"
    assert find_idle(full, fleet.order) == IdleVms([], [])


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"exit_code": "69", "ended_at": NOW}, True),
        ({"exit_code": "1", "ended_at": NOW}, False),
        ({"exit_code": "78", "ended_at": "'2026-11-25T11:00:00Z'"}, False),  # of an earlier fleet
    ],
)
def test_errors_that_other_vms_would_meet_as_well(make: Callable[..., Fleet], columns, found):
    fleet = make()
    fleet.writes(outcome="'no such package'", **columns)
    expected = [{"ordinal": 0, "exit_code": 69, "message": "no such package"}] if found else []
    assert find_experiment_errors(fleet.uri, fleet.order) == ReportedErrors(expected, [])


@pytest.mark.parametrize(
    ("start_time", "at_work"),
    [(NOW, [0]), ("NULL", [0]), ("'2026-11-25 11:00'", []), ("'-infinity'", [])],
    ids=["started", "requeued since", "by an earlier fleet", "an impossible time"],
)
def test_vms_that_have_started_a_trial_of_this_fleet(
    make: Callable[..., Fleet], start_time: str, at_work: list[int]
):
    """An earlier fleet may have had the same runner IDs."""
    fleet = make()
    fleet.writes(outcome="'no such package'", exit_code="69", ended_at=NOW)
    claimed = f"UPDATE trial SET start_time = {start_time} WHERE experiment_id = %s RETURNING id"
    [(trial,)] = fleet.database.sql(claimed, fleet.experiment)
    noted = (
        "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id) VALUES (%s, %s, %s)"
    )
    fleet.database.sql(noted, trial, fleet.experiment, fleet.runner)
    assert find_experiment_errors(fleet.uri, fleet.order).at_work == at_work


def test_only_vms_that_run_a_trial_are_told_to_end_after_it(make: Any):
    busy, idle, ended = make(), make(), make()
    take = "UPDATE trial SET runner_id = %s, start_time = now() WHERE experiment_id = %s"
    for fleet in (busy, ended):
        fleet.database.sql(take, fleet.runner, fleet.experiment)
    busy.writes(seen_at=NOW)
    idle.writes(seen_at=NOW)
    ended.writes(ended_at=NOW)
    found = [drain(one.uri, one.order, [0, 1], "max_cost") for one in (busy, idle, ended)]
    rows = [one.row() for one in (busy, idle, ended)]
    assert (found, rows) == (
        [[0], [], []],
        [(False, "max_cost", None), (False, None, None), (True, None, None)],
    )
