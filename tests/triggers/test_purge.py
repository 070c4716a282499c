"""The purge, on the host's timer: only the row of an old fleet is kept."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.model import names
from fleet.store import schema
from tests.harness import eventually
from tests.triggers.conftest import SubmissionApp, request

BEGAN = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def without_outage(app: SubmissionApp) -> None:
    app.begin("")
    schema.migrate(app.database, schema.BENCHMARK)


def ended(app: SubmissionApp, batch: int, days: int, **more: Any) -> None:
    """A fleet that ended `days` days ago, with a VM record."""
    assert app.post({**request(batch), "uri": app.database, **more}).status_code == 202
    app.end(batch)
    eventually(lambda: True if app.fleet(batch)["runtimeStatus"] == "Completed" else None)
    age(app, batch, days)


def age(app: SubmissionApp, batch: int, days: int) -> None:
    app.sql(
        "UPDATE powerlift_fleet SET deadline = now(), ended_at = now() - %s * interval '1 day'"
        " WHERE batch_id = %s", days, batch,
    )  # fmt: skip


def record(app: SubmissionApp, batch: int, runner: int) -> None:
    """Insert the rows of a fleet's VM: a record, a heartbeat with its log, and a trial."""
    began = app.fleet(batch)["createdTime"]
    app.sql(
        "INSERT INTO powerlift_fleet_machine VALUES (%s, %s, 0, 1, %s, '{}', now())",
        batch, began, runner,
    )  # fmt: skip
    app.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, log) VALUES (1, %s, 'log')",
        runner,
    )
    app.sql("INSERT INTO powerlift_fleet_trial VALUES (%s, 1, %s)", batch, runner)
    app.sql("INSERT INTO powerlift_fleet_loss VALUES (%s, %s, 'evicted')", batch, runner)


def recorded(app: SubmissionApp, runner: int) -> list[int]:
    """The number of rows of a runner in each of the app's tables."""
    tables = ("machine", "runner", "trial", "loss")
    return [
        app.sql(f"SELECT count(*) FROM powerlift_fleet_{one} WHERE runner_id = %s", runner)[0][0]
        for one in tables
    ]


def is_purged(app: SubmissionApp, batch: int) -> bool:
    statement = "SELECT purged_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = %s"
    return bool(app.sql(statement, batch)[0][0])


def purged(app: SubmissionApp, batch: int) -> None:
    eventually(lambda: True if is_purged(app, batch) else None)


def test_only_the_row_of_an_old_fleet_is_kept(app: SubmissionApp):
    ended(app, 301, 0)
    ended(app, 302, 0)
    record(app, 301, 3_010_000)
    record(app, 302, 3_020_000)
    age(app, 301, 31)
    purged(app, 301)
    assert (app.fleet(301), recorded(app, 3_010_000)) == (None, [0, 0, 0, 0])
    assert (app.fleet(302) is None, recorded(app, 3_020_000)) == (False, [1, 1, 1, 1])


def test_only_records_of_the_purged_fleet_are_deleted(app: SubmissionApp):
    ended(app, 311, 0)
    record(app, 311, 3_110_000)
    app.sql("INSERT INTO powerlift_fleet_machine VALUES (999, now(), 0, 1, 3110000, '{}', now())")
    age(app, 311, 31)
    purged(app, 311)
    assert recorded(app, 3_110_000) == [1, 1, 1, 1]


def wave(app: SubmissionApp, batch: int, number: int) -> str:
    """Start a wave that runs until it gets the event `end`."""
    instance = names.wave_id(batch, number)
    url = f"{app.ready['url']}/runtime/webhooks/durabletask/orchestrators/create_wave/{instance}"
    code = {"code": app.ready["keys"]["master"]}
    assert requests.post(url, params=code, json={}, timeout=30).status_code == 202
    return instance


def test_completed_waves_are_purged_with_their_fleet(app: SubmissionApp):
    instances = [wave(app, 313, number) for number in (1, 2)]
    other = wave(app, 3131, 1)
    app.raise_end(instances[0])
    eventually(lambda: app.instance(instances[0])["runtimeStatus"] == "Completed" or None)
    ended(app, 313, 32)
    ended(app, 314, 31)
    purged(app, 314)
    assert not is_purged(app, 313)  # its second wave is running
    app.raise_end(instances[1])
    purged(app, 313)
    assert [app.instance(one) is None for one in (*instances, other)] == [True, True, False]


def test_a_running_fleet_is_never_purged(app: SubmissionApp):
    app.post({**request(303), "uri": app.database})
    age(app, 303, 100)
    ended(app, 304, 31)
    purged(app, 304)
    assert (is_purged(app, 303), app.fleet(303)["runtimeStatus"]) == (False, "Running")


def test_a_fleet_with_an_unreachable_database_is_purged_later(app: SubmissionApp):
    ended(app, 305, 31, uri="postgresql://me:s3cret@127.0.0.1:1/db")
    ended(app, 306, 61, uri="postgresql://me:s3cret@127.0.0.1:1/db")
    purged(app, 306)
    assert (is_purged(app, 305), app.fleet(305) is None) == (False, False)
    assert "s3cret" not in (app.journal / "log").read_text()


def test_a_fleet_without_its_sealing_key_is_purged(app: SubmissionApp):
    app.begin("other key")
    app.post({**request(307), "uri": app.database})
    app.begin("")
    app.end(307)
    ended(app, 308, 31)
    age(app, 307, 31)
    purged(app, 307)
    assert app.fleet(307) is None


def test_health_names_the_running_fleets_whose_sealing_key_is_gone(app: SubmissionApp):
    app.begin("other key")
    lost = app.post({**request(320), "uri": app.database}).json()["number"]
    app.begin("")
    app.post({**request(321), "uri": app.database})
    answer = requests.get(
        f"{app.ready['url']}/api/health/details",
        headers={"x-functions-key": app.ready["keys"]["default"]},
        timeout=30,
    )
    [check] = [one for one in answer.json()["checks"] if one["name"] == "sealing_key"]
    for batch in (320, 321):
        app.end(batch)
    assert (check["status"], f"running fleets (fleet-{lost})," in check["detail"]) == (
        "failed",
        True,
    )


def test_a_purged_batch_posted_again_is_the_same_fleet(app: SubmissionApp):
    ended(app, 309, 31)
    purged(app, 309)
    answer = app.post({**request(309), "uri": app.database})
    assert (answer.status_code, app.fleet(309)) == (200, None)


def test_a_claim_without_a_start_is_abandoned_after_a_day(app: SubmissionApp):
    app.begin("task hub")
    app.post(request(310))
    app.begin("")
    app.sql(
        "UPDATE powerlift_fleet SET submitted_at = now() - interval '2 days' WHERE batch_id = 310"
    )
    statement = "SELECT 1 FROM powerlift_fleet WHERE batch_id = 310"
    eventually(lambda: None if app.sql(statement) else True)
    assert app.post(request(310)).status_code == 202


def test_an_old_claim_whose_fleet_runs_is_kept(app: SubmissionApp):
    """As after a crash between the start and its mark."""
    app.post(request(312))
    app.sql(
        "UPDATE powerlift_fleet SET started_at = NULL, submitted_at = now() - interval '2 days'"
        " WHERE batch_id = 312"
    )
    statement = "SELECT started_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = 312"
    eventually(lambda: app.sql(statement) == [(True,)] or None)
