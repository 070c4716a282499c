"""The purge, through the host's own timer: of a fleet that ended long ago only the row is left."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.model import names
from fleet.store import schema
from tests.harness import eventually
from tests.triggers.conftest import Doors, request

BEGAN = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def all_is_well(doors: Doors) -> None:
    doors.begin("")
    schema.migrate(doors.database, schema.BENCHMARK)


def ended(doors: Doors, batch: int, days: int, **more: Any) -> None:
    """A fleet that ended so many days ago, with a VM record."""
    assert doors.post({**request(batch), "uri": doors.database, **more}).status_code == 202
    doors.end(batch)
    eventually(lambda: True if doors.fleet(batch)["runtimeStatus"] == "Completed" else None)
    age(doors, batch, days)


def age(doors: Doors, batch: int, days: int) -> None:
    doors.sql(
        "UPDATE powerlift_fleet SET deadline = now(), ended_at = now() - %s * interval '1 day'"
        " WHERE batch_id = %s", days, batch,
    )  # fmt: skip


def record(doors: Doors, batch: int, runner: int) -> None:
    """What our tables hold of a fleet's VM: a record, a heartbeat with its log, and a trial."""
    began = doors.fleet(batch)["createdTime"]
    doors.sql(
        "INSERT INTO powerlift_fleet_machine VALUES (%s, %s, 0, 1, %s, '{}', now())",
        batch, began, runner,
    )  # fmt: skip
    doors.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, log) VALUES (1, %s, 'log')",
        runner,
    )
    doors.sql("INSERT INTO powerlift_fleet_trial VALUES (%s, 1, %s)", batch, runner)
    doors.sql("INSERT INTO powerlift_fleet_loss VALUES (%s, %s, 'evicted')", batch, runner)


def recorded(doors: Doors, runner: int) -> list[int]:
    """How many rows our tables hold of a runner."""
    tables = ("machine", "runner", "trial", "loss")
    return [
        doors.sql(f"SELECT count(*) FROM powerlift_fleet_{one} WHERE runner_id = %s", runner)[0][0]
        for one in tables
    ]


def is_purged(doors: Doors, batch: int) -> bool:
    statement = "SELECT purged_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = %s"
    return bool(doors.sql(statement, batch)[0][0])


def purged(doors: Doors, batch: int) -> None:
    eventually(lambda: True if is_purged(doors, batch) else None)


def test_of_an_old_fleet_only_the_row_stays(doors: Doors):
    ended(doors, 301, 0)
    ended(doors, 302, 0)
    record(doors, 301, 3_010_000)
    record(doors, 302, 3_020_000)
    age(doors, 301, 31)
    purged(doors, 301)
    assert (doors.fleet(301), recorded(doors, 3_010_000)) == (None, [0, 0, 0, 0])
    assert (doors.fleet(302) is None, recorded(doors, 3_020_000)) == (False, [1, 1, 1, 1])


def test_of_vms_with_the_same_runner_ids_only_the_records_of_the_purged_fleet_go(doors: Doors):
    ended(doors, 311, 0)
    record(doors, 311, 3_110_000)
    doors.sql("INSERT INTO powerlift_fleet_machine VALUES (999, now(), 0, 1, 3110000, '{}', now())")
    age(doors, 311, 31)
    purged(doors, 311)
    assert recorded(doors, 3_110_000) == [1, 1, 1, 1]


def wave(doors: Doors, batch: int, number: int) -> str:
    """Start a wave that runs until it gets the event `end`."""
    instance = names.wave_id(batch, number)
    url = f"{doors.ready['url']}/runtime/webhooks/durabletask/orchestrators/create_wave/{instance}"
    code = {"code": doors.ready["keys"]["master"]}
    assert requests.post(url, params=code, json={}, timeout=30).status_code == 202
    return instance


def test_waves_are_purged_with_their_fleet_once_they_have_ended(doors: Doors):
    instances = [wave(doors, 313, number) for number in (1, 2)]
    other = wave(doors, 3131, 1)
    doors.raise_end(instances[0])
    eventually(lambda: doors.instance(instances[0])["runtimeStatus"] == "Completed" or None)
    ended(doors, 313, 32)
    ended(doors, 314, 31)
    purged(doors, 314)
    assert not is_purged(doors, 313)  # its second wave is running
    doors.raise_end(instances[1])
    purged(doors, 313)
    assert [doors.instance(one) is None for one in (*instances, other)] == [True, True, False]


def test_a_running_fleet_is_never_purged(doors: Doors):
    doors.post({**request(303), "uri": doors.database})
    age(doors, 303, 100)
    ended(doors, 304, 31)
    purged(doors, 304)
    assert (is_purged(doors, 303), doors.fleet(303)["runtimeStatus"]) == (False, "Running")


def test_a_fleet_whose_database_is_away_is_purged_later(doors: Doors):
    ended(doors, 305, 31, uri="postgresql://me:s3cret@127.0.0.1:1/db")
    ended(doors, 306, 61, uri="postgresql://me:s3cret@127.0.0.1:1/db")
    purged(doors, 306)
    assert (is_purged(doors, 305), doors.fleet(305) is None) == (False, False)
    assert "s3cret" not in (doors.journal / "log").read_text()


def test_a_fleet_whose_sealing_key_is_gone_is_purged(doors: Doors):
    doors.begin("other key")
    doors.post({**request(307), "uri": doors.database})
    doors.begin("")
    doors.end(307)
    ended(doors, 308, 31)
    age(doors, 307, 31)
    purged(doors, 307)
    assert doors.fleet(307) is None


def test_health_names_the_running_fleets_whose_sealing_key_is_gone(doors: Doors):
    doors.begin("other key")
    lost = doors.post({**request(310), "uri": doors.database}).json()["number"]
    doors.begin("")
    doors.post({**request(311), "uri": doors.database})
    answer = requests.get(
        f"{doors.ready['url']}/api/health/details",
        headers={"x-functions-key": doors.ready["keys"]["default"]},
        timeout=30,
    )
    [check] = [one for one in answer.json()["checks"] if one["name"] == "sealing_key"]
    for batch in (310, 311):
        doors.end(batch)
    assert (check["status"], f"running fleets (fleet-{lost})," in check["detail"]) == (
        "failed",
        True,
    )


def test_a_purged_batch_posted_again_is_the_same_fleet(doors: Doors):
    ended(doors, 309, 31)
    purged(doors, 309)
    answer = doors.post({**request(309), "uri": doors.database})
    assert (answer.status_code, doors.fleet(309)) == (200, None)


def test_a_claim_that_was_never_started_is_given_up_after_a_day(doors: Doors):
    doors.begin("task hub")
    doors.post(request(310))
    doors.begin("")
    doors.sql(
        "UPDATE powerlift_fleet SET submitted_at = now() - interval '2 days' WHERE batch_id = 310"
    )
    statement = "SELECT 1 FROM powerlift_fleet WHERE batch_id = 310"
    eventually(lambda: None if doors.sql(statement) else True)
    assert doors.post(request(310)).status_code == 202


def test_an_old_claim_whose_fleet_runs_is_kept(doors: Doors):
    """As after a crash between the start and its mark."""
    doors.post(request(312))
    doors.sql(
        "UPDATE powerlift_fleet SET started_at = NULL, submitted_at = now() - interval '2 days'"
        " WHERE batch_id = 312"
    )
    statement = "SELECT started_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = 312"
    eventually(lambda: doors.sql(statement) == [(True,)] or None)
