"""The messages of the errors."""

from __future__ import annotations

import pickle

import pytest
from powerlift_fleet import (
    AllTrialsFailed,
    FleetCancelled,
    FleetError,
    FleetFailed,
    FleetTimedOut,
    FleetTimeout,
    FleetUnreachable,
    RequestRefused,
)
from powerlift_fleet.api.flows import Flows
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.api.responses import TrialError
from powerlift_fleet.api.wire import HttpResponse, error_from
from powerlift_fleet.cli import exit_codes

from tests.client.both import fleet_status

REASON = {
    "code": "QuotaExceeded",
    "message": "standardDSv5Family has 0 of 10 left.",
    "action": "stop",
    "advice": "Ask for more quota.",
}
ERRORS = [
    read(TrialError, {"message": "ValueError: Input X contains NaN", "count": 6}),
    read(TrialError, {"message": "KeyError: 'x'", "count": 2}),
]
LATE = {**REASON, "code": "DeadlineReached"}
FAILURE = {
    "code": "SkuNotAvailable",
    "count": 3,
    "message": "Standard_D2s_v5 is not available in eastus.",
    "action": "tried the next zone",
    "advice": "List more zones.",
}


def test_the_message_of_a_failed_fleet_has_reason_and_advice() -> None:
    message = str(FleetFailed(fleet_status("failed", reason=REASON)))
    assert message.startswith(
        "fleet-7 failed: QuotaExceeded: standardDSv5Family has 0 of 10 left. Ask for more quota.\n"
    )


def test_the_message_of_a_failed_fleet_lists_failures() -> None:
    message = str(FleetFailed(fleet_status("failed", reason=REASON, failures=[FAILURE])))
    assert (
        "3 x SkuNotAvailable: Standard_D2s_v5 is not available in eastus. "
        "Action taken: tried the next zone. List more zones." in message
    )


def test_a_failed_fleet_tells_no_failure_twice() -> None:
    said = str(
        FleetFailed(fleet_status("failed", reason=REASON, failures=[{**REASON, "count": 2}]))
    )
    assert said.count("0 of 10 left") == said.count("Ask for more quota") == 1
    assert "2 x QuotaExceeded. Action taken: stop." in said


@pytest.mark.parametrize("shown", ["The size is sold out.", "The size is so..."])
def test_a_failed_fleet_tells_its_reason_once(shown: str) -> None:
    reason = {**REASON, "message": "None of the 2 VMs started. The size is sold out."}
    group = {**FAILURE, "code": REASON["code"], "message": shown}
    said = str(FleetFailed(fleet_status("failed", reason=reason, failures=[group])))
    assert (said.count("The size is"), "3 x QuotaExceeded. " in said) == (1, True)


def test_a_failed_fleet_says_that_it_has_more_failures() -> None:
    said = str(FleetFailed(fleet_status("failed", failures=[FAILURE] * 5)))
    assert (said.count("SkuNotAvailable"), "… and 2 other kinds" in said) == (3, True)


def test_a_long_text_of_a_proxy_ends_with_an_ellipsis() -> None:
    error = error_from(HttpResponse(503, {}, "x" * 400))
    assert error.detail == "x" * 299 + "…"


def test_a_failed_fleet_counts_its_trials() -> None:
    assert "Trials: 2 of 8 complete, 1 failed, 5 not run" in str(
        FleetFailed(fleet_status("failed"))
    )


def test_the_message_of_a_failed_fleet_may_lack_trials() -> None:
    assert str(FleetFailed(fleet_status("failed", trials=None))) == "fleet-7 failed."


def test_the_message_of_a_cancelled_fleet_names_it() -> None:
    assert str(FleetCancelled(fleet_status("cancelled"))).startswith("fleet-7 was cancelled.")


def test_all_trials_failed_says_the_most_frequent_error() -> None:
    said = str(AllTrialsFailed(fleet_status("done", number=3), ERRORS))
    assert said.startswith(
        "fleet-3 is done, but every trial failed. 6 of 8 trials: ValueError: Input X contains NaN. "
        "`powerlift-fleet status fleet-3` lists the errors; run.status(), or "
    )


def test_all_trials_failed_may_lack_their_errors() -> None:
    said = str(AllTrialsFailed(fleet_status("done")))
    assert said.startswith("fleet-7 is done, but every trial failed. `powerlift-fleet status")


@pytest.mark.parametrize(
    "error",
    [
        AllTrialsFailed(fleet_status("done"), ERRORS),
        FleetFailed(fleet_status("failed", reason=REASON)),
        FleetCancelled(fleet_status("cancelled")),
        FleetTimeout(fleet_status(), 5.0),
        FleetUnreachable("…"),
        RequestRefused(400, "No", "…", [{"pointer": "/uri", "detail": "…"}]),
    ],
)
def test_errors_can_be_pickled(error: FleetError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"phase": "done", "outcome": "succeeded"}, None),
        ({"phase": "done", "outcome": "some_trials_failed"}, None),  # results are worth reading
        ({"phase": "failed", "outcome": "failed"}, FleetFailed),
        ({"phase": "failed"}, FleetFailed),  # of an app without outcomes
        ({"phase": "failed", "reason": LATE}, FleetTimedOut),
        ({"phase": "cancelled", "outcome": "cancelled"}, FleetCancelled),
    ],
)
def test_a_fleet_that_ended_without_success_raises(changes, error):
    ended = fleet_status(**changes)
    flow = Flows("https://app", 0).raise_unless_done(ended)
    if error is None:
        with pytest.raises(StopIteration) as returned:
            next(flow)
        assert returned.value.value is ended
        return
    with pytest.raises(error) as raised:
        next(flow)
    assert raised.type is error


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"phase": "run"}, 0),
        ({"phase": "done", "outcome": "succeeded"}, 0),
        ({"phase": "failed", "outcome": "failed"}, 1),
        ({"phase": "cancelled", "outcome": "cancelled"}, 7),
        ({"phase": "done", "outcome": "some_trials_failed"}, 8),
        ({"phase": "done", "outcome": "all_trials_failed"}, 8),
        ({"phase": "failed", "outcome": "failed", "reason": LATE}, 9),
    ],
)
def test_the_exit_code_tells_outcomes_apart(changes, code):
    assert exit_codes.of_fleet(fleet_status(**changes)) == code


def test_only_a_404_without_the_apps_words_blames_the_url():
    """A VM that never was, and a message that the app refused, are not cured by another URL."""
    problem = '{"title": "No log", "status": 404, "detail": "VM 7 never existed."}'
    known = error_from(HttpResponse(404, {"content-type": "application/problem+json"}, problem))
    assert str(known).strip() == "No log (404). VM 7 never existed."
    unknown = error_from(HttpResponse(404, {}, ""))
    assert "FLEET_URL" in str(unknown)
