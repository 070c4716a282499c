"""An outage loses no message, and a fault of ours does not keep one for ever: the app decides."""

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
from tests.triggers.conftest import QUEUE, Doors, hosted, request
from triggers import queue

ROOT = Path(__file__).parents[2]
WEEK = 7 * 24 * 3600  # seconds: how long a message lives unless its sender says otherwise


@pytest.mark.parametrize(("outage", "batch"), [("task hub", 1), ("settings", 2), ("database", 3)])
def test_a_message_survives_an_outage_and_becomes_a_fleet(doors: Doors, outage: str, batch: int):
    doors.begin(outage)
    doors.send(request(batch))
    eventually(lambda: True if doors.tries() > 8 else None)
    doors.begin("")
    eventually(lambda: doors.fleet(batch) or None)
    eventually(lambda: True if doors.left(QUEUE) == 0 else None)
    assert doors.left(f"{QUEUE}-poison") == 0


def test_an_unexpected_fault_ends_in_poison_without_secrets(doors: Doors):
    doors.begin("fault")
    doors.send(request(4))
    with doors.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert (doors.tries(), doors.left(QUEUE)) == (5, 0)
    copy = json.loads(base64.b64decode(content))
    assert "postgresql://me:***@host/db" in copy["message"]
    assert re.fullmatch("Unexpected error. The app's log has it with the ID \\w+.", copy["reason"])
    assert "a fault of ours" not in (doors.journal / "log").read_text()


def test_a_refused_message_in_plain_text_is_copied_in_plain_text(doors: Doors):
    doors.begin("")
    with QueueClient.from_connection_string(doors.storage, QUEUE) as its:
        its.send_message('{"mark": "pl\u00e4in", "client_secret": "s3cret"}')
    with doors.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert json.loads(content)["message"] == '{"mark": "pl\u00e4in", "client_secret": "***"}'


@pytest.mark.parametrize("is_base64", [True, False])
def test_a_copy_that_outgrows_a_message_is_cut(doors: Doors, is_base64: bool):
    doors.begin("")
    room = 49_152 if is_base64 else 65_536
    begin = f'{{"mark": "full-{is_base64}", "x": "'
    sent = (begin + "://me:s@h " * room)[:room]
    with QueueClient.from_connection_string(doors.storage, QUEUE) as its:
        its.send_message(base64.b64encode(sent.encode()).decode() if is_base64 else sent)

    def copy() -> str | None:
        with doors.queue(f"{QUEUE}-poison") as poison:
            for one in poison.receive_messages():
                poison.delete_message(one)
                text = base64.b64decode(one.content).decode() if is_base64 else one.content
                if f"full-{is_base64}" in text:
                    return str(text)
        return None

    text = eventually(copy)
    shown = json.loads(text)["message"]
    assert sent.replace(":s@", ":***@").startswith(shown.removesuffix("…"))
    assert (shown[-1], room - len(text) < 16) == ("…", True)


@pytest.fixture(scope="module")
def impatient(doors: Doors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A host that would itself move a message to the poison queue, after three deliveries."""
    settings = {
        "FLEET_QUEUE": "impatient",
        "AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "3",
        "AzureFunctionsJobHost__functionTimeout": "00:00:02",
    }
    folder = tmp_path_factory.mktemp("impatient") / "host"
    with hosted(folder, doors.storage, doors.database, **settings) as running:
        yield running


@pytest.mark.parametrize("outage", ["database", "hang", "crash"])
def test_no_secret_is_in_the_poison_queue_when_every_try_ends_without_an_answer(
    impatient: Doors, outage: str
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


def test_the_app_gives_up_one_delivery_before_the_host():
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


def test_the_host_gives_up_on_no_message_that_lives():
    queues = load_host_settings(ROOT / "host.json", {"TASKHUB_NAME": "any"}).queues
    assert queues.max_dequeue_count > WEEK / queues.visibility_timeout


def test_a_message_waits_until_other_fleets_leave_room(doors: Doors):
    doors.begin("")
    doors.post(request(5000))
    doors.sql(
        "INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, caller, fingerprint,"
        " experiment_id, n_instances, account, started_at)"
        " SELECT owner, now() + interval '1 day', 5001, 5001, 'key', 'f', 1, 1000, 'a', now()"
        " FROM powerlift_fleet WHERE batch_id = 5000"
    )
    before, poison = doors.tries(), doors.left(f"{QUEUE}-poison")
    doors.send(request(5002))
    eventually(lambda: True if doors.tries() > before + 3 else None)
    waits = doors.fleet(5002)
    doors.sql("DELETE FROM powerlift_fleet WHERE batch_id = 5001")
    eventually(lambda: doors.fleet(5002) or None)
    assert (waits, doors.left(f"{QUEUE}-poison")) == (None, poison)


def test_an_unexpected_error_over_http_is_a_problem_with_an_id_that_the_log_has(doors: Doors):
    doors.begin("fault")
    answer = doors.post(request(5))
    problem, log = answer.json(), (doors.journal / "log").read_text()
    assert (answer.status_code, answer.headers["Content-Type"], problem["title"]) == (
        500,
        "application/problem+json",
        "Internal error",
    )
    assert "a fault of ours" not in answer.text + log
    [error_id] = re.findall("the ID ([0-9a-f]{12})", problem["detail"])
    assert f"Error {error_id}: KeyError at " in log


def test_an_outage_of_the_task_hub_over_http_shows_no_internal_address(doors: Doors):
    doors.begin("task hub")
    answer = doors.post(request(6))
    doors.begin("")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert ("127.0.0.1" in answer.text, "AzureWebJobsStorage" in answer.text) == (False, True)
    assert "Cause: Cannot connect to host 127.0.0.1:1" in (doors.journal / "log").read_text()
