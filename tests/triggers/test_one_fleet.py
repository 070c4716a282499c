"""One request is one fleet, however often and however fast it comes, and whoever dies in between."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.harness import eventually
from tests.triggers.conftest import QUEUE, Doors, request

EIGHT = range(1, 9)
POISON = f"{QUEUE}-poison"


@pytest.fixture(autouse=True)
def all_is_well(doors: Doors) -> None:
    doors.begin("")


def posted(doors: Doors, documents: list[dict[str, Any]]) -> list[int]:
    """The status codes of requests posted at once, in ascending order."""
    with ThreadPoolExecutor(len(documents)) as pool:
        return sorted(pool.map(lambda one: doors.post(one).status_code, documents))


def begun(doors: Doors, which: int | str) -> list[int]:
    return eventually(lambda: doors.begun(which) or None)


def test_eight_equal_requests_at_once_are_one_fleet(doors: Doors):
    codes = posted(doors, [request(101)] * 8)
    assert (codes, begun(doors, 101)) == ([200] * 7 + [202], [1])


def test_of_eight_different_requests_for_one_batch_one_is_taken(doors: Doors):
    codes = posted(doors, [request(102, number) for number in EIGHT])
    assert (codes, len(begun(doors, 102))) == ([202] + [409] * 7, 1)


def test_of_eight_different_messages_for_one_batch_seven_are_poison(doors: Doors):
    for number in EIGHT:
        doors.send(request(103, number))
    eventually(lambda: True if doors.left(POISON) == 7 else None)
    assert (len(begun(doors, 103)), doors.left(QUEUE)) == (1, 0)
    log = (doors.journal / "log").read_text()
    assert log.count("batch_id 103 was already used by a different request (fleet-103)") == 7


def test_a_message_and_a_request_for_one_batch_are_one_fleet(doors: Doors):
    doors.send(request(104))
    codes = posted(doors, [request(104)] * 4)
    eventually(lambda: True if doors.left(QUEUE) == 0 else None)
    assert (codes.count(202) <= 1, codes.count(200) >= 3, begun(doors, 104)) == (True, True, [1])


@pytest.mark.parametrize(
    ("when", "batch", "codes"),
    [
        ("crash before start", 105, [200] * 7 + [202]),
        ("crash after start", 106, [200] * 8),
    ],
)
def test_a_request_whose_host_died_is_repeated_as_one_fleet(
    doors: Doors, when: str, batch: int, codes: list[int]
):
    doors.begin(when)
    with pytest.raises(requests.ConnectionError):
        doors.post(request(batch))
    doors.begin("")
    doors.restart()
    assert (posted(doors, [request(batch)] * 8), begun(doors, batch)) == (codes, [1])


@pytest.mark.parametrize(("outage", "batch"), [("database", 107), ("task hub", 108)])
def test_in_an_outage_nothing_is_started_and_the_same_request_succeeds_later(
    doors: Doors, outage: str, batch: int
):
    doors.begin(outage)
    refused = doors.post(request(batch))
    instance = doors.fleet(batch)
    doors.begin("")
    later = doors.post(request(batch))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert ("s3cret" in refused.text, instance, later.status_code) == (False, None, 202)


def test_an_ended_fleet_that_is_deleted_eight_times_at_once_has_one_teardown(doors: Doors):
    doors.post(request(113))
    doors.end(113)
    eventually(lambda: True if doors.fleet(113)["runtimeStatus"] == "Completed" else None)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: doors.delete("fleet-113").status_code, range(8)))
    assert (codes, begun(doors, "teardown-113")) == ([202] * 8, [0])


def test_an_idempotency_key_is_one_fleet_for_each_caller(doors: Doors):
    answers = [
        doors.post(request(None), key=key, **{"Idempotency-Key": "night"})
        for key in ("default", "default", "master")
    ]
    first, again, another = (answer.json()["batch_id"] for answer in answers)
    assert [answer.status_code for answer in answers] == [202, 200, 202]
    assert (first == again, first == another) == (True, False)


def test_an_idempotency_key_with_another_request_is_refused(doors: Doors):
    doors.post(request(None), **{"Idempotency-Key": "day"})
    answer = doors.post(request(None, 2), **{"Idempotency-Key": "day"})
    text = "This Idempotency-Key was already used by a different request"
    assert (answer.status_code, text in answer.json()["detail"]) == (409, True)


def test_a_caller_is_stored_as_a_keyed_digest(doors: Doors):
    doors.post(request(109))
    [(submitter,)] = doors.sql("SELECT submitted_by FROM powerlift_fleet WHERE batch_id = 109")
    stored = json.dumps([str(row) for row in doors.sql("SELECT * FROM powerlift_fleet")])
    key = doors.ready["keys"]["default"]
    assert (submitter.startswith("key-"), len(submitter), key in stored) == (True, 16, False)


def test_a_name_belongs_to_one_fleet_that_has_not_ended(doors: Doors):
    codes = [doors.post({**request(batch), "name": "nightly"}).status_code for batch in (110, 111)]
    doors.sql("UPDATE powerlift_fleet SET ended_at = now() WHERE batch_id = 110")
    codes.append(doors.post({**request(111), "name": "nightly"}).status_code)
    assert codes == [202, 409, 202]


@pytest.mark.parametrize("name", ["latest", "fleet-7", "Nightly", "7", "a b", "a" * 64, ""])
def test_a_name_that_could_be_another_id_is_refused(doors: Doors, name: str):
    answer = doors.post({**request(112), "name": name})
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert (answer.status_code, pointers) == (400, {"/name"})


def test_a_number_is_neither_another_fleets_number_nor_its_batch(doors: Doors):
    doors.post(request(1))
    doors.post(request(None))
    [(number,)] = doors.sql("SELECT number FROM powerlift_fleet ORDER BY submitted_at DESC LIMIT 1")
    answer = doors.post(request(number))
    text = f"batch_id {number} is the number of another fleet"
    assert (number != 1, answer.status_code, text in answer.json()["detail"]) == (True, 409, True)


@pytest.mark.parametrize("reference", ["latest", "nigh", "fleet-11"])
def test_what_may_mean_another_fleet_tomorrow_cancels_none(doors: Doors, reference: str):
    doors.post({**request(114), "name": "nightshift"})
    assert doors.delete(reference).status_code == 404


@pytest.mark.parametrize("batch", [0, 117])
def test_without_the_database_an_id_cancels_its_fleet(doors: Doors, batch: int):
    doors.post(request(batch))
    doors.sql("ALTER TABLE powerlift_fleet RENAME TO hidden")
    try:
        answer = doors.delete(f"fleet-{batch}")
    finally:
        doors.sql("ALTER TABLE hidden RENAME TO powerlift_fleet")
    assert (answer.status_code, answer.json().get("id")) == (202, f"fleet-{batch}")


@pytest.mark.parametrize("reference", ["fleet-115", "115", "by-day"])
def test_an_id_a_number_or_a_name_cancels_its_fleet(doors: Doors, reference: str):
    doors.post({**request(115), "name": "by-day"})
    answer = doors.delete(reference)
    assert (answer.status_code, answer.json()["id"]) == (202, "fleet-115")
