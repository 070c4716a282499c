"""Outages lose no message, and messages that the app cannot process become poison."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from local.functions.settings import load_host_settings
from tests.harness import eventually
from tests.triggers.conftest import QUEUE, SubmissionApp, host_app, request
from triggers import queue

ROOT = Path(__file__).parents[2]
WEEK = 7 * 24 * 3600  # seconds: the default time to live of a message


@pytest.mark.parametrize(("outage", "batch"), [("task hub", 1), ("settings", 2), ("database", 3)])
def test_a_message_survives_an_outage_and_starts_a_fleet(
    app: SubmissionApp, outage: str, batch: int
):
    app.begin(outage)
    app.send(request(batch))
    eventually(lambda: True if app.tries() > 8 else None)
    app.begin("")
    eventually(lambda: app.fleet(batch) or None)
    eventually(lambda: True if app.left(QUEUE) == 0 else None)
    assert app.left(f"{QUEUE}-poison") == 0


def test_an_unexpected_error_ends_in_poison_without_secrets(app: SubmissionApp):
    app.begin("fault")
    app.send(request(4))
    with app.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert (app.tries(), app.left(QUEUE)) == (5, 0)
    assert "postgresql://me:***@host/db" in base64.b64decode(content).decode()
    assert "a fault of ours" not in (app.journal / "log").read_text()


def test_a_rejected_plain_text_message_is_copied_as_plain_text(app: SubmissionApp):
    app.begin("")
    with QueueClient.from_connection_string(app.storage, QUEUE) as its:
        its.send_message('{"mark": "pl\u00e4in", "client_secret": "s3cret"}')
    with app.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert content == '{"mark": "pl\u00e4in", "client_secret": "***"}'


@pytest.mark.parametrize("is_base64", [True, False])
def test_an_oversized_copy_is_truncated(app: SubmissionApp, is_base64: bool):
    app.begin("")
    room = 49_152 if is_base64 else 65_536
    begin = f'{{"mark": "full-{is_base64}", "x": "'
    sent = (begin + "://me:s@h " * room)[:room]
    with QueueClient.from_connection_string(app.storage, QUEUE) as its:
        its.send_message(base64.b64encode(sent.encode()).decode() if is_base64 else sent)

    def copy() -> str | None:
        with app.queue(f"{QUEUE}-poison") as poison:
            for one in poison.receive_messages():
                poison.delete_message(one)
                text = base64.b64decode(one.content).decode() if is_base64 else one.content
                if begin in text:
                    return str(text)
        return None

    assert eventually(copy) == sent.replace(":s@", ":***@")[:room]


@pytest.fixture(scope="module")
def impatient(
    app: SubmissionApp, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SubmissionApp]:
    """A host that moves a message to the poison queue itself after three deliveries."""
    settings = {
        "FLEET_QUEUE": "impatient",
        "AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "3",
        "AzureFunctionsJobHost__functionTimeout": "00:00:02",
    }
    folder = tmp_path_factory.mktemp("impatient") / "host"
    with host_app(folder, app.storage, app.database, **settings) as running:
        yield running


@pytest.mark.parametrize(
    "outage", [pytest.param("database", marks=pytest.mark.long), "hang", "crash"]
)
def test_no_secret_is_in_the_poison_queue_after_repeated_crashes(
    impatient: SubmissionApp, outage: str
):
    impatient.begin(outage)
    with impatient.queue("impatient") as its:
        its.send_message(json.dumps({**request(5), "tags": {"mark": outage}}))
    if outage == "crash":
        eventually(lambda: impatient.tries() or None)
        impatient.restart()

    def copies() -> list[str] | None:
        with impatient.queue("impatient-poison") as poison:
            texts = [base64.b64decode(one.content).decode() for one in poison.peek_messages(9)]
        return [text for text in texts if outage in text] or None

    [copy] = eventually(copies)
    assert ("s3cret" in copy, "postgresql://me:***@host/db" in copy) == (False, True)


def test_the_app_rejects_a_message_one_delivery_before_the_host():
    queues = load_host_settings(ROOT / "host.json", {"TASKHUB_NAME": "any"}).queues
    assert queues.max_dequeue_count == queue.LAST_DELIVERY + 1


@pytest.mark.parametrize(
    ("settings", "connection"),
    [
        ({}, "AzureWebJobsStorage"),
        ({"FLEET_QUEUE_CONNECTION": ""}, "AzureWebJobsStorage"),
        ({"FLEET_QUEUE_CONNECTION": "AccountName=a"}, "FLEET_QUEUE_CONNECTION"),
        ({"FLEET_QUEUE_CONNECTION__queueServiceUri": "https://a"}, "FLEET_QUEUE_CONNECTION"),
    ],
)
def test_the_connection_of_the_queue(settings: dict[str, str], connection: str):
    assert queue.connection_of({"AzureWebJobsStorage": "x", **settings}) == connection


def test_the_host_makes_no_live_message_poison():
    queues = load_host_settings(ROOT / "host.json", {"TASKHUB_NAME": "any"}).queues
    assert queues.max_dequeue_count > WEEK / queues.visibility_timeout


def test_a_message_waits_until_the_vm_limit_allows_it(app: SubmissionApp):
    app.begin("")
    app.post(request(5000))
    app.sql(
        "INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, submitted_by, fingerprint,"
        " experiment_id, n_instances, account, started_at)"
        " SELECT owner, now() + interval '1 day', 5001, 5001, 'key', 'f', 1, 1000, 'a', now()"
        " FROM powerlift_fleet WHERE batch_id = 5000"
    )
    before, poison = app.tries(), app.left(f"{QUEUE}-poison")
    app.send(request(5002))
    eventually(lambda: True if app.tries() > before + 3 else None)
    waits = app.fleet(5002)
    app.sql("DELETE FROM powerlift_fleet WHERE batch_id = 5001")
    eventually(lambda: app.fleet(5002) or None)
    assert (waits, app.left(f"{QUEUE}-poison")) == (None, poison)


def test_an_unexpected_http_error_is_a_problem_with_a_logged_id(app: SubmissionApp):
    app.begin("fault")
    answer = app.post(request(5))
    problem, log = answer.json(), (app.journal / "log").read_text()
    assert (answer.status_code, answer.headers["Content-Type"], problem["title"]) == (
        500,
        "application/problem+json",
        "Internal error",
    )
    assert "a fault of ours" not in answer.text + log
    [error_id] = re.findall("the ID ([0-9a-f]{12})", problem["detail"])
    assert f"Error {error_id}: KeyError at " in log


def test_an_outage_of_the_task_hub_exposes_no_internal_address(app: SubmissionApp):
    app.begin("task hub")
    answer = app.post(request(6))
    app.begin("")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert ("127.0.0.1" in answer.text, "AzureWebJobsStorage" in answer.text) == (False, True)
    assert "Cause: Cannot connect to host 127.0.0.1:1" in (app.journal / "log").read_text()
