"""The progress of a fleet: which of two records of a VM is used, the rate of trials, and the cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet.api.progress import machines, progress, trials_per_hour
from fleet.model.records import stored as record
from fleet.store.trial_history import TrialHistory
from fleet.store.vm_records import StoredVms, VmReport
from tests.fleets import NOW, SIZE, later, machine, order, placement

PRICES = {"standard_d2s_v5": 0.1, "standard_d2s_v5 spot": 0.02, "westus2/standard_d2s_v5": 0.2}
ZULU = "2026-01-01T00:00:00.000Z"


def history(
    complete: list[int], error: list[int] | None = None, step: float = 60.0
) -> TrialHistory:
    """Cumulative counts by step; the first is the count before the fleet. 10 trials are open."""
    error = error or [0] * len(complete)
    trials = {"total": 0, "ready": 6, "running": 4, "complete": 0, "error": 0}
    return TrialHistory(NOW, "mine", trials, step, complete, error)  # type: ignore[arg-type]


def shown(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    every = [{**machine(n, "running"), **one} for n, one in enumerate(changes)]
    return machines(order(), every, None)


def progress_of(history: TrialHistory | None, ended: bool = False, **vm: Any) -> dict[str, Any]:
    """The progress of a fleet of one VM, an hour after it was accepted."""
    now = NOW + timedelta(hours=1)
    return progress(order(), history, shown(vm), PRICES, as_of=now, ended=ended)


def test_database_records_take_precedence_over_the_history():
    noted = record(machine(0, "running", running_at=ZULU))
    (one,) = machines(order(), [machine(0)], StoredVms({0: noted}, {}))
    assert (one["state"], one["running_at"]) == ("running", ZULU)


def test_the_history_is_used_if_the_database_is_unreachable():
    noted = record(machine(0, "creating"))
    (one,) = machines(order(), [machine(0, "deleted", deleted_at=ZULU)], StoredVms({0: noted}, {}))
    assert (one["state"], one["deleted_at"]) == ("deleted", ZULU)


def test_a_failure_takes_precedence_over_having_run():
    noted = record(machine(0, "failed", ended_at=ZULU))
    assert (
        machines(order(), [machine(0, "running")], StoredVms({0: noted}, {}))[0]["state"]
        == "failed"
    )


def test_vms_only_in_the_database_are_listed_in_order():
    known = StoredVms({2: record(machine(2)), 0: record(machine(0))}, {})
    assert [one["ordinal"] for one in machines(order(), [machine(1)], known)] == [0, 1, 2]


def test_a_vm_has_its_own_outcome_and_trials():
    known = StoredVms({}, {0: VmReport(later(60), later(90), "no more work", 0, 5, 1)})
    (one,) = machines(order(), [machine(0)], known)
    assert (one["working_at"], one["ended_at"], one["outcome"], one["trials"]) == (
        "2026-01-01T00:01:00.000Z",
        "2026-01-01T00:01:30.000Z",
        "no more work",
        {"running": 0, "complete": 5, "error": 1},
    )


def test_a_record_of_the_previous_release_has_no_times():
    before = {name: value for name, value in machine(0).items() if name != "role_assigned_at"}
    assert machines(order(), [before], None)[0]["role_assigned_at"] is None


def test_no_identity_is_shown():
    assert "principal_id" not in shown({})[0]


@pytest.mark.parametrize(
    ("complete", "rate"),
    [
        ([0, 0, 0, 0], None),
        ([0, 0, 0, 2], None),
        ([0, 3, 6, 9], 180),
        ([50, 3, 6, 9], 180),
        ([0, *range(10, 210, 10), *([200] * 20)], None),
    ],
    ids=[
        "none ended",
        "too few ended",
        "three a minute",
        "what came before is not ours",
        "stopped",
    ],
)
def test_the_rate_is_that_of_recent_trials(complete: list[int], rate: float | None):
    assert trials_per_hour(history(complete)) == rate


def test_failed_trials_count_as_completed():
    assert trials_per_hour(history([0, 1, 2, 3], [0, 2, 4, 6])) == 180


def test_of_a_trials_long_error_the_beginning_is_shown():
    failed = replace(history([0, 3]), error_messages=[("KeyError: " + "x" * 291, 2)])
    shown = [(error["message"], error["count"]) for error in progress_of(failed)["errors"]]
    assert shown == [("KeyError: " + "x" * 289 + "…", 2)]


def test_the_expected_end_is_extrapolated_from_open_trials():
    assert progress_of(history([0, 10, 20, 30]))["expected_end"] == "2026-01-01T01:01:00.000Z"


def test_a_fleet_that_starts_no_more_trials_has_no_expected_end():
    body = progress_of(history([0, 10, 20, 30]), ended=True)
    assert (body["expected_end"], body["cost"]["expected"]) == (None, None)


def test_the_cost_does_not_require_the_database():
    body = progress_of(None)
    assert (body["trials"], body["series"]["complete"], body["cost"]["so_far"]) == (None, [], 0.1)


def test_a_placement_without_a_price_means_no_total_cost():
    assert (
        progress_of(history([0, 3]), placement=placement(vm_size="Standard_F2s_v2"))["cost"] is None
    )


def test_the_cost_is_given_per_trial_and_projected_to_the_end():
    cost = progress_of(history([0, 10, 20, 40], step=900.0))["cost"]
    # 40 trials in the hour; the last 900 s had 20, so 10 more take 450 s.
    assert cost == {
        "currency": "USD",
        "so_far": 0.1,
        "per_hour": 0.1,
        "expected": 0.1125,
        "per_trial": 0.0025,
        "saved_by_spot": None,
        "max_cost": None,
    }


def test_the_prices_of_the_fleets_plan_take_precedence():
    found = {"eastus/standard_d2s_v5": {"per_hour": 0.4, "regular": 0.4}}
    body = progress(
        order(prices=found, max_cost=0.43),
        history([0, 10, 20, 40], step=900.0),
        shown({}),
        PRICES,
        as_of=NOW + timedelta(hours=1),
        ended=False,
    )
    assert body["cost"] is not None
    assert (body["cost"]["so_far"], body["cost"]["expected"]) == (0.4, 0.45)
    assert body["vm_hours"]["by_placement"][0]["price_per_hour"] == 0.4


def test_a_small_amount_is_not_rounded_to_zero():
    cost = progress_of(history([0, 10, 20, 29_999]), placement=placement(priority="Spot"))["cost"]
    assert 0.0000006 < cost["per_trial"] < 0.0000007


def test_the_size_of_the_fixtures_has_a_price():
    assert SIZE.lower() in PRICES
