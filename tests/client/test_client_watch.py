"""Watching a fleet, and waiting for its end."""

from __future__ import annotations

import httpx
import powerlift_fleet as fleets
import pytest

from tests.client import both
from tests.client.both import BOTH_CLIENTS, REFUSED, Make, Script, busy, ok, problem, status
from tests.client.cli import served

pytestmark = BOTH_CLIENTS


def test_a_watch_of_latest_keeps_watching_the_same_fleet(make: Make) -> None:
    app = Script(ok(**status(id="fleet-9001")), ok(**status("done", id="fleet-9001")))
    make(app).watch("latest", interval=0)
    assert [request.url.path for request in app.requests] == [
        "/api/fleets/latest",
        "/api/fleets/fleet-9001",
    ]


def test_a_queued_fleet_is_not_confused_with_a_longer_id(make: Make) -> None:
    other = ok(**status(id="fleet-70001", batch_id=70001))
    app = Script(other, ok(**status("done", id="fleet-7000", batch_id=7000)))
    shown = make(app).watch("fleet-7000", interval=0, appears_within=30)
    assert [one.id for one in shown] == ["fleet-7000"]
    with pytest.raises(fleets.NotFound, match="fleet-7000 does not exist"):
        make(Script(other)).watch("fleet-7000", interval=0, appears_within=0.01)


def test_a_watch_yields_every_status(make: Make) -> None:
    app = Script(*(ok(**status(phase)) for phase in ("create", "run", "done")))
    shown = make(app).watch("fleet-7", interval=0)
    assert [one.phase for one in shown] == ["create", "run", "done"]


def test_a_watch_survives_a_restart(make: Make) -> None:
    app = Script(
        ok(**status()), busy(), httpx.Response(404, headers=both.AT_ONCE), ok(**status("done"))
    )
    shown = make(app).watch("fleet-7", interval=0)
    assert [one.phase for one in shown] == ["run", "done"]


def test_a_watch_may_have_a_longer_retry_timeout(make: Make) -> None:
    app = Script(ok(**status()), REFUSED, ok(**status("done")))
    shown = make(app, retry_timeout=0).watch("fleet-7", interval=0, retry_timeout=60)
    assert [one.phase for one in shown] == ["run", "done"]


def test_its_retry_timeout_applies_after_the_first_status(make: Make) -> None:
    with pytest.raises(fleets.FleetUnreachable):
        make(Script(REFUSED), retry_timeout=0).watch("fleet-7", interval=0, retry_timeout=60)


def test_a_watch_of_an_unknown_fleet_is_not_found(make: Make) -> None:
    with pytest.raises(fleets.NotFound):
        make(Script(problem(404, "Fleet not found", "…"))).watch("fleet-7", interval=0)


def test_a_fleet_submitted_by_queue_may_appear_late(make: Make) -> None:
    app = Script(problem(404, "Fleet not found", "…"), ok(**status("done")))
    assert len(make(app).watch("fleet-7", interval=0, appears_within=30)) == 1


def test_wait_returns_the_last_status(make: Make) -> None:
    assert make(Script(ok(**status("done")))).ask("wait", 7).phase == "done"


@pytest.mark.parametrize(
    ("phase", "kind"), [("failed", fleets.FleetFailed), ("cancelled", fleets.FleetCancelled)]
)
def test_wait_raises_for_a_failed_or_cancelled_fleet(
    make: Make, phase: str, kind: type[fleets.FleetEnded]
) -> None:
    with pytest.raises(kind) as caught:
        make(Script(ok(**status(phase)))).ask("wait", 7)
    assert caught.value.status.phase == phase


def test_wait_says_why_every_trial_failed(make: Make) -> None:
    ended = ok(**status("done", outcome="all_trials_failed"))
    with pytest.raises(
        fleets.AllTrialsFailed, match="12 of 8 trials: ValueError: Input X"
    ) as caught:
        make(Script(ended, ok(**served.progress()))).ask("wait", 7)
    assert [error.count for error in caught.value.errors] == [12]


def test_that_every_trial_failed_is_said_without_their_errors_too(make: Make) -> None:
    ended = ok(**status("done", outcome="all_trials_failed"))
    app = Script(ended, problem(404, "Fleet not found", "…"))
    with pytest.raises(fleets.AllTrialsFailed) as caught:
        make(app).ask("wait", 7)
    assert caught.value.errors == ()


def test_a_wait_that_times_out_does_not_cancel(make: Make) -> None:
    app = Script(ok(**status()))
    with pytest.raises(TimeoutError, match="fleet-7 is in phase run after 0 s"):
        make(app).ask("wait", 7, timeout=0)
    assert {request.method for request in app.requests} == {"GET"}
