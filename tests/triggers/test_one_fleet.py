"""Idempotency: repeated and concurrent requests are one fleet, also across crashes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.harness import eventually
from tests.triggers.conftest import QUEUE, SubmissionApp, request

EIGHT = range(1, 9)
POISON = f"{QUEUE}-poison"


@pytest.fixture(autouse=True)
def without_outage(app: SubmissionApp) -> None:
    app.begin("")


def posted(app: SubmissionApp, documents: list[dict[str, Any]]) -> list[int]:
    """The status codes of concurrent requests, in ascending order."""
    with ThreadPoolExecutor(len(documents)) as pool:
        return sorted(pool.map(lambda one: app.post(one).status_code, documents))


def begun(app: SubmissionApp, which: int | str) -> list[int]:
    return eventually(lambda: app.begun(which) or None)


def test_concurrent_identical_requests_are_one_fleet(app: SubmissionApp):
    codes = posted(app, [request(101)] * 8)
    assert (codes, begun(app, 101)) == ([200] * 7 + [202], [1])


def test_one_of_eight_different_requests_for_one_batch_is_accepted(app: SubmissionApp):
    codes = posted(app, [request(102, number) for number in EIGHT])
    assert (codes, len(begun(app, 102))) == ([202] + [409] * 7, 1)


def test_all_but_one_of_eight_different_messages_for_one_batch_are_poison(app: SubmissionApp):
    for number in EIGHT:
        app.send(request(103, number))
    eventually(lambda: True if app.left(POISON) == 7 else None)
    assert (len(begun(app, 103)), app.left(QUEUE)) == (1, 0)
    log = (app.journal / "log").read_text()
    assert log.count("batch_id 103 was already used by a different request (fleet-103)") == 7


def test_a_message_and_a_request_for_one_batch_are_one_fleet(app: SubmissionApp):
    app.send(request(104))
    codes = posted(app, [request(104)] * 4)
    eventually(lambda: True if app.left(QUEUE) == 0 else None)
    assert (codes.count(202) <= 1, codes.count(200) >= 3, begun(app, 104)) == (True, True, [1])


@pytest.mark.parametrize(
    ("when", "batch", "codes"),
    [
        pytest.param("crash before start", 105, [200] * 7 + [202], marks=pytest.mark.long),
        ("crash after start", 106, [200] * 8),
    ],
)
def test_a_request_retried_after_a_host_crash_is_one_fleet(
    app: SubmissionApp, when: str, batch: int, codes: list[int]
):
    app.begin(when)
    with pytest.raises(requests.ConnectionError):
        app.post(request(batch))
    app.begin("")
    app.restart()
    assert (posted(app, [request(batch)] * 8), begun(app, batch)) == (codes, [1])


@pytest.mark.parametrize(("outage", "batch"), [("database", 107), ("task hub", 108)])
def test_during_an_outage_nothing_starts_and_a_retry_succeeds(
    app: SubmissionApp, outage: str, batch: int
):
    app.begin(outage)
    refused = app.post(request(batch))
    instance = app.fleet(batch)
    app.begin("")
    later = app.post(request(batch))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert ("s3cret" in refused.text, instance, later.status_code) == (False, None, 202)


@pytest.mark.long
def test_concurrent_deletions_of_a_completed_fleet_start_one_teardown(app: SubmissionApp):
    app.post(request(113))
    app.end(113)
    eventually(lambda: True if app.fleet(113)["runtimeStatus"] == "Completed" else None)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: app.delete("fleet-113").status_code, range(8)))
    assert (codes, begun(app, "teardown-113")) == ([202] * 8, [0])


def test_an_idempotency_key_is_one_fleet_for_each_caller(app: SubmissionApp):
    answers = [
        app.post(request(None), key=key, **{"Idempotency-Key": "night"})
        for key in ("default", "default", "master")
    ]
    first, again, another = (answer.json()["batch_id"] for answer in answers)
    assert [answer.status_code for answer in answers] == [202, 200, 202]
    assert (first == again, first == another) == (True, False)


def test_an_idempotency_key_with_a_different_request_is_rejected(app: SubmissionApp):
    app.post(request(None), **{"Idempotency-Key": "day"})
    answer = app.post(request(None, 2), **{"Idempotency-Key": "day"})
    text = "This Idempotency-Key was already used by a different request"
    assert (answer.status_code, text in answer.json()["detail"]) == (409, True)


def test_a_caller_is_stored_as_a_keyed_digest(app: SubmissionApp):
    app.post(request(109))
    [(submitter,)] = app.sql("SELECT submitted_by FROM powerlift_fleet WHERE batch_id = 109")
    stored = json.dumps([str(row) for row in app.sql("SELECT * FROM powerlift_fleet")])
    key = app.ready["keys"]["default"]
    assert (submitter.startswith("key-"), len(submitter), key in stored) == (True, 16, False)


def test_a_name_belongs_to_one_running_fleet(app: SubmissionApp):
    codes = [app.post({**request(batch), "name": "nightly"}).status_code for batch in (110, 111)]
    app.sql("UPDATE powerlift_fleet SET ended_at = now() WHERE batch_id = 110")
    codes.append(app.post({**request(111), "name": "nightly"}).status_code)
    assert codes == [202, 409, 202]


@pytest.mark.parametrize("name", ["latest", "fleet-7", "Nightly", "7", "a b", "a" * 64, ""])
def test_a_name_in_the_form_of_an_id_is_rejected(app: SubmissionApp, name: str):
    answer = app.post({**request(112), "name": name})
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert (answer.status_code, pointers) == (400, {"/name"})


def test_a_number_is_not_another_fleets_number_or_batch(app: SubmissionApp):
    app.post(request(1))
    app.post(request(None))
    [(number,)] = app.sql("SELECT number FROM powerlift_fleet ORDER BY submitted_at DESC LIMIT 1")
    answer = app.post(request(number))
    text = f"batch_id {number} is the number of another fleet"
    assert (number != 1, answer.status_code, text in answer.json()["detail"]) == (True, 409, True)


@pytest.mark.parametrize("reference", ["latest", "nigh", "fleet-11"])
def test_unstable_references_cancel_no_fleet(app: SubmissionApp, reference: str):
    app.post({**request(114), "name": "nightshift"})
    assert app.delete(reference).status_code == 404


@pytest.mark.parametrize("batch", [0, 117])
def test_without_the_database_an_id_cancels_its_fleet(app: SubmissionApp, batch: int):
    app.post(request(batch))
    app.sql("ALTER TABLE powerlift_fleet RENAME TO hidden")
    try:
        answer = app.delete(f"fleet-{batch}")
    finally:
        app.sql("ALTER TABLE hidden RENAME TO powerlift_fleet")
    assert (answer.status_code, answer.json().get("id")) == (202, f"fleet-{batch}")


@pytest.mark.parametrize("reference", ["fleet-115", "115", "by-day"])
def test_an_id_a_number_or_a_name_cancels_its_fleet(app: SubmissionApp, reference: str):
    app.post({**request(115), "name": "by-day"})
    answer = app.delete(reference)
    assert (answer.status_code, answer.json()["id"]) == (202, "fleet-115")
