"""Retries: one new fleet for each fleet, and when none. The host has no Azure; its fleets do nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from fleet.store.schema import BENCHMARK, migrate
from tests.harness import eventually, experiment
from tests.triggers.conftest import SubmissionApp, request


@pytest.fixture(autouse=True)
def without_outage(app: SubmissionApp) -> None:
    app.begin("")


Make = Callable[..., int]


@pytest.fixture
def make(app: SubmissionApp) -> Make:
    """Makes a fleet that has ended; returns its experiment: of three trials, two have failed."""
    database: Any = SimpleNamespace(db_uri=app.database)

    def make(batch: int, number: int | None = None, **fields: Any) -> int:
        number = experiment(database, 3) if number is None else number
        document = {**request(batch), "experiment_id": number, "uri": None, **fields}
        assert app.post(document).status_code == 202
        app.sql("UPDATE powerlift_fleet SET ended_at = now() WHERE batch_id = %s", batch)
        app.sql(
            "UPDATE trial SET start_time = now(), end_time = now(), errmsg = 'no' WHERE id IN"
            " (SELECT id FROM trial WHERE experiment_id = %s ORDER BY id LIMIT 2)",
            number,
        )
        return number

    return make


def retry(app: SubmissionApp, fleet: object, key: str = "default") -> requests.Response:
    return app.post({}, key, f"/{fleet}/retry")


def retries(app: SubmissionApp, *batches: int) -> list[requests.Response]:
    """The responses to concurrent retries."""
    with ThreadPoolExecutor(len(batches)) as pool:
        return list(pool.map(lambda batch: retry(app, f"fleet-{batch}"), batches))


def errors(app: SubmissionApp, number: int) -> int:
    """The experiment's failed trials."""
    [(found,)] = app.sql("SELECT count(errmsg) FROM trial WHERE experiment_id = %s", number)
    return int(found)


def begun(app: SubmissionApp, batch: int) -> list[int]:
    return eventually(lambda: app.begun(batch) or None)


def test_concurrent_retries_of_a_fleet_are_one_fleet(app: SubmissionApp, make: Make):
    number = make(101)
    answers = retries(app, *[101] * 8)
    codes = sorted(answer.status_code for answer in answers)
    [fleet] = {answer.json()["batch_id"] for answer in answers}
    assert (codes, begun(app, fleet)) == ([200] * 7 + [202], [1])
    assert (sum(answer.json()["trials"] for answer in answers), errors(app, number)) == (2, 0)


def test_of_concurrent_retries_of_two_fleets_of_an_experiment_one_is_accepted(
    app: SubmissionApp, make: Make
):
    number = make(102)
    make(103, number)
    codes = sorted(answer.status_code for answer in retries(app, 102, 103))
    assert (codes, errors(app, number)) == ([202, 409], 0)


@pytest.mark.long
def test_a_retry_repeated_after_a_host_crash_is_one_fleet(app: SubmissionApp, make: Make):
    """The trials were reset, and the fleet was not started."""
    number = make(104)
    app.begin("crash before start")
    with pytest.raises(requests.ConnectionError):
        retries(app, 104)
    app.begin("")
    app.restart()
    answers = retries(app, *[104] * 4)
    [fleet] = {answer.json()["batch_id"] for answer in answers}
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [202]
    assert (begun(app, fleet), errors(app, number)) == ([1], 0)


def test_the_fleet_of_a_retry_is_retried_too(app: SubmissionApp, make: Make):
    number = make(106)
    fleet = retry(app, "fleet-106").json()["batch_id"]
    app.sql("UPDATE powerlift_fleet SET ended_at = now() WHERE batch_id = %s", fleet)
    app.sql("UPDATE trial SET end_time = now(), errmsg = 'no' WHERE experiment_id = %s", number)
    again = retry(app, f"fleet-{fleet}")
    assert (again.status_code, again.json()["trials"]) == (202, 3)


def test_a_retry_that_fails_leaves_no_claim(app: SubmissionApp, make: Make):
    """It would refuse any other fleet of the experiment for an hour."""
    number = make(107)
    app.sql("ALTER TABLE measure_outcome RENAME TO hidden")
    try:
        failed = retry(app, "fleet-107")
    finally:
        app.sql("ALTER TABLE hidden RENAME TO measure_outcome")
    rows = app.sql("SELECT batch_id FROM powerlift_fleet WHERE experiment_id = %s", number)
    assert (failed.status_code, len(rows), errors(app, number)) == (503, 1, 2)
    assert (retry(app, "fleet-107").status_code, errors(app, number)) == (202, 0)


def test_a_retry_whose_preparation_takes_too_long_leaves_no_claim(app: SubmissionApp, make: Make):
    number = make(108)
    app.begin("slow preparation")
    late = retry(app, "fleet-108")
    app.begin("")
    rows = app.sql("SELECT batch_id FROM powerlift_fleet WHERE experiment_id = %s", number)
    assert (late.status_code, len(rows)) == (503, 1)
    assert "was not prepared within 1 s. No fleet was started." in late.json()["detail"]
    assert (retry(app, "fleet-108").status_code, errors(app, number)) == (202, 0)


REFUSED = {
    "has not ended (phase plan)": "UPDATE powerlift_fleet SET ended_at = NULL WHERE batch_id = {batch}",
    "0 of 3 are complete, 3 have not ended": "UPDATE trial SET start_time = NULL, end_time = NULL,"
    " errmsg = NULL WHERE experiment_id = {number}",
    "does not exist any more": "DELETE FROM trial WHERE experiment_id = {number};"
    " DELETE FROM experiment WHERE id = {number}",
    "within the last 10 minutes: 1.": "INSERT INTO powerlift_fleet_runner"
    " (experiment_id, runner_id, seen_at) VALUES ({number}, 1, now())",
    "works on experiment": "UPDATE powerlift_fleet SET ended_at = NULL WHERE batch_id = {other}",
}
"""What a refusal says, and the change before it."""


@pytest.mark.parametrize(("place", "reason"), list(enumerate(REFUSED)))
def test_a_retry_that_would_reset_nothing_or_too_much_is_refused(
    app: SubmissionApp, make: Make, place: int, reason: str
):
    migrate(app.database, BENCHMARK)
    batch, other = 120 + 2 * place, 121 + 2 * place
    number = make(batch)
    make(other, number)
    app.sql(REFUSED[reason].format(batch=batch, other=other, number=number))
    before = app.sql("SELECT * FROM trial WHERE experiment_id = %s", number)
    answer = retry(app, batch)
    detail = answer.json()["detail"]
    assert (answer.status_code, reason in detail, "Nothing was changed." in detail) == (
        409,
        True,
        True,
    )
    assert app.sql("SELECT * FROM trial WHERE experiment_id = %s", number) == before
    assert len(app.sql("SELECT 1 FROM powerlift_fleet WHERE experiment_id = %s", number)) == 2


def test_the_secrets_of_a_request_are_used_again_for_its_submitter_only(
    app: SubmissionApp, make: Make
):
    number = make(140, uri=app.database)
    refused = retry(app, "fleet-140", "master")
    detail = refused.json()["detail"]
    assert (refused.status_code, errors(app, number)) == (409, 2)
    assert ("(/uri)" in detail, "for their submitter only" in detail) == (True, True)
    assert (retry(app, "fleet-140").status_code, errors(app, number)) == (202, 0)


def test_the_secrets_of_a_purged_fleet_are_gone(app: SubmissionApp, make: Make):
    number = make(141, uri=app.database)
    app.end(141)
    purge = f"{app.ready['url']}/runtime/webhooks/durabletask/instances/fleet-141"
    done = eventually(lambda: app.fleet(141)["runtimeStatus"] == "Completed" or None)
    code = {"code": app.ready["keys"]["master"]}
    assert (done, requests.delete(purge, params=code, timeout=30).status_code) == (True, 200)
    assert (retry(app, "fleet-141").status_code, errors(app, number)) == (410, 2)


def test_another_submitter_may_retry_a_fleet_without_secrets(app: SubmissionApp, make: Make):
    number = make(142)
    assert (retry(app, "fleet-142", "master").status_code, errors(app, number)) == (202, 0)


@pytest.mark.parametrize(
    ("batch", "change"),
    [(151, "request = replace(request, '\"n_instances\": 1', '\"n_instances\": 999')"),
     (152, "submitted_by = 'key-000000000000'"),
     (153, "request_signature = 'nonsense'"),
     (154, "request = NULL")],
)  # fmt: skip
def test_a_request_that_was_changed_in_the_table_is_not_used(
    app: SubmissionApp, make: Make, batch: int, change: str
):
    """VMs may be able to write the table."""
    number = make(batch)
    app.sql(f"UPDATE powerlift_fleet SET {change} WHERE batch_id = %s", batch)
    url = f"{app.ready['url']}/api/fleets/{batch}/request"
    headers = {"x-functions-key": app.ready["keys"]["default"]}
    assert requests.get(url, headers=headers, timeout=30).status_code == 404
    assert (retry(app, batch).status_code, errors(app, number)) == (404, 2)


@pytest.mark.parametrize("reference", ["latest", "night", "fleet-1404404404"])
def test_a_retry_needs_a_whole_reference(app: SubmissionApp, make: Make, reference: str):
    app.post({**request(160), "name": "nightly"})
    assert retry(app, reference).status_code == 404
