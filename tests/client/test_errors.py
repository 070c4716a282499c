"""The messages of the errors."""

from __future__ import annotations

import pickle

import pytest
from powerlift_fleet import (
    FleetCancelled,
    FleetError,
    FleetFailed,
    FleetTimeout,
    FleetUnreachable,
    RequestRefused,
)

from tests.client.both import fleet_status

REASON = {
    "code": "QuotaExceeded",
    "message": "standardDSv5Family has 0 of 10 left.",
    "action": "stop",
    "advice": "Ask for more quota.",
}
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


def test_the_message_of_a_failed_fleet_counts_its_trials() -> None:
    assert "Trials: 2 of 8 complete, 1 failed, 5 not run" in str(
        FleetFailed(fleet_status("failed"))
    )


def test_the_message_of_a_failed_fleet_may_lack_trials() -> None:
    assert str(FleetFailed(fleet_status("failed", trials=None))) == "fleet-7 failed."


def test_the_message_of_a_cancelled_fleet_names_it() -> None:
    assert str(FleetCancelled(fleet_status("cancelled"))).startswith("fleet-7 was cancelled.")


@pytest.mark.parametrize(
    "error",
    [
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
