"""Notifications reach the webhook of a fleet, signed, whatever ends the fleet."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.store.webhooks import MAX_TRIES, wait
from tests.harness import eventually
from tests.triggers.conftest import AUTHORITY, WEBHOOK_KEY, SubmissionApp, request
from tests.triggers.webhook_receiver import Received, WebhookReceiver


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookReceiver]:
    folder: Path = tmp_path_factory.mktemp("receiver")
    with WebhookReceiver(AUTHORITY, folder) as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def without_outage(app: SubmissionApp) -> None:
    app.begin("")


def submitted(app: SubmissionApp, receiver: WebhookReceiver, batch: int) -> str:
    """Start a fleet with a webhook; returns the webhook's path, which is a secret."""
    path = f"/hook-s3cret-{batch}"
    answer = app.post({**request(batch), "notify_url": receiver.url + path})
    assert answer.status_code == 202, answer.text
    assert path not in answer.text
    return path


def change(app: SubmissionApp, batch: int, columns: str) -> None:
    """Change a fleet's row as its snapshots, its end and the sweep do."""
    app.sql(f"UPDATE powerlift_fleet SET {columns} WHERE batch_id = %s", batch)


def earlier_errors(app: SubmissionApp, batch: int) -> int | None:
    query = "SELECT errors_before FROM powerlift_fleet_webhook WHERE batch_id = %s"
    [(errors,)] = app.sql(query, batch)
    return None if errors is None else int(errors)


def pending(app: SubmissionApp, batch: int) -> int:
    query = "SELECT count(*) FROM powerlift_fleet_webhook WHERE batch_id = %s"
    return int(app.sql(query, batch)[0][0])


def try_now(app: SubmissionApp, batch: int) -> None:
    """Do not wait for the next try of a failed notification."""
    statement = "UPDATE powerlift_fleet_webhook SET next_try_at = now() WHERE batch_id = %s"
    app.sql(statement, batch)


def received(receiver: WebhookReceiver, path: str, count: int) -> list[Received]:
    return eventually(lambda: found if len(found := receiver.at(path)) >= count else None)


def is_signed(one: Received) -> bool:
    headers = {name.lower(): value for name, value in one.headers.items()}
    parts = (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), one.content)
    digest = hmac.digest(WEBHOOK_KEY, b".".join(parts), hashlib.sha256)
    return headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_the_first_failure_and_the_end_are_notified_once(
    app: SubmissionApp, receiver: WebhookReceiver
):
    path = submitted(app, receiver, 7001)
    change(app, 7001, """trials = '{"error": 2}'""")  # of an earlier fleet
    eventually(lambda: earlier_errors(app, 7001))
    assert receiver.at(path) == []
    change(app, 7001, """machines = '{"wanted": 1, "failed": 1}', phase = 'boot'""")
    received(receiver, path, 1)
    change(app, 7001, """trials = '{"error": 3}'""")
    reason = json.dumps({"code": "TrialsLeft", "message": "m", "advice": "a", "action": "x"})
    change(app, 7001, f"ended_at = now(), phase = 'failed', reason = '{reason}'")
    received(receiver, path, 2)
    eventually(lambda: True if pending(app, 7001) == 0 else None)

    first, last = receiver.at(path)
    assert is_signed(first)
    assert is_signed(last)
    documents: list[dict[str, Any]] = [json.loads(one.content) for one in (first, last)]
    assert [one["type"] for one in documents] == ["fleet.failure", "fleet.ended"]
    assert documents[0]["data"]["machines"]["failed"] == 1
    data = documents[1]["data"]
    assert (data["id"], data["phase"], data["trials"]) == ("fleet-7001", "failed", {"error": 3})
    assert data["reason"] == {"code": "TrialsLeft", "message": "m", "advice": "a"}


@pytest.mark.parametrize("status", [500, 302])
def test_a_failed_notification_is_repeated_under_its_id(
    app: SubmissionApp, receiver: WebhookReceiver, status: int
):
    batch = 7100 + status
    receiver.answers = [status]
    path = submitted(app, receiver, batch)
    change(app, batch, "ended_at = now(), phase = 'done'")
    received(receiver, path, 1)
    eventually(lambda: f"answered HTTP {status}" in (app.journal / "log").read_text() or None)
    try_now(app, batch)
    requests = received(receiver, path, 2)
    eventually(lambda: True if pending(app, batch) == 0 else None)
    assert len({one.headers["webhook-id"] for one in requests}) == 1
    assert receiver.at("/elsewhere") == []


def test_an_end_does_not_wait_for_a_failed_notification(
    app: SubmissionApp, receiver: WebhookReceiver
):
    receiver.answers = [500]
    path = submitted(app, receiver, 7007)
    change(app, 7007, """machines = '{"failed": 1}'""")
    received(receiver, path, 1)
    statement = "UPDATE powerlift_fleet_webhook SET tries = %s, next_try_at = now() + '1 hour'"
    app.sql(f"{statement} WHERE batch_id = 7007", MAX_TRIES)
    change(app, 7007, "ended_at = now(), phase = 'done'")
    _, last = received(receiver, path, 2)
    assert json.loads(last.content)["type"] == "fleet.ended"


@pytest.mark.parametrize(
    "columns",
    ["ended_at = now(), reason = '[1]'", "ended_at = 'infinity'", "ended_at = now(), cost = 'NaN'"],
)
def test_an_invalid_row_stops_no_other_notification(
    app: SubmissionApp, receiver: WebhookReceiver, columns: str
):
    batch = 7200 + len(columns)
    submitted(app, receiver, batch)
    change(app, batch, columns)
    path = submitted(app, receiver, batch + 50)
    change(app, batch + 50, "ended_at = now(), phase = 'done'")
    received(receiver, path, 1)
    app.sql("DELETE FROM powerlift_fleet_webhook WHERE batch_id = %s", batch)


def test_a_webhook_that_is_gone_gets_no_more(app: SubmissionApp, receiver: WebhookReceiver):
    receiver.answers = [410]
    path = submitted(app, receiver, 7003)
    change(app, 7003, "ended_at = now(), phase = 'done'")
    received(receiver, path, 1)
    eventually(lambda: True if pending(app, 7003) == 0 else None)


def test_no_webhook_is_in_the_log_or_the_task_hub(app: SubmissionApp, receiver: WebhookReceiver):
    receiver.answers = [500]
    path = submitted(app, receiver, 7004)
    change(app, 7004, "ended_at = now(), phase = 'done'")
    received(receiver, path, 1)
    eventually(lambda: "The notification fleet.ended is sent later" in log(app) or None)
    instance = json.dumps(app.fleet(7004))
    stored = app.sql("SELECT sealed FROM powerlift_fleet_webhook WHERE batch_id = 7004")
    assert "s3cret-7004" not in log(app) + instance + str(stored)


def log(app: SubmissionApp) -> str:
    return (app.journal / "log").read_text()


def test_a_repeated_request_is_the_same_fleet_and_another_webhook_is_not(
    app: SubmissionApp, receiver: WebhookReceiver
):
    path = submitted(app, receiver, 7005)
    document = {**request(7005), "notify_url": receiver.url + path}
    again, other = app.post(document), app.post({**document, "notify_url": f"{receiver.url}/other"})
    assert (again.status_code, other.status_code, pending(app, 7005)) == (200, 409, 1)


@pytest.mark.parametrize(
    ("url", "setting"),
    [
        ("https://elsewhere.example/", "FLEET_ALLOWED_WEBHOOKS"),
        ("http://127.0.0.1/", "https://host/path"),
        ("https://127.0.0.1@elsewhere.example/", "https://host/path"),
    ],
)
def test_another_host_is_refused(app: SubmissionApp, url: str, setting: str):
    answer = app.post({**request(7006), "notify_url": url})
    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (400, "/notify_url")
    assert setting in fault["detail"]


def test_tries_last_longer_than_a_night():
    assert sum(wait(tries) for tries in range(1, MAX_TRIES)) > 12 * 3600
