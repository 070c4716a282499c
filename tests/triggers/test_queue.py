"""The queue: each message is a request; an invalid one goes to the poison queue immediately."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from azure.storage.queue import QueueClient, QueueServiceClient

from local.stack import Stack
from tests.harness import Api, eventually, experiment, received, send

POISON = "powerlift-fleets-poison"


def poisoned(stack: Stack, mark: str) -> list[str]:
    return eventually(lambda: [text for text in received(stack, POISON) if mark in text] or None)


def known(api: Api, fleet_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        answer = api.get(fleet_id)
        return dict(answer.json()) if answer.status_code == 200 else None

    return eventually(look)


def test_a_message_is_a_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2001}
    send(stack, json.dumps(request))
    fleet = known(api, "fleet-2001")
    api.end("fleet-2001")
    assert fleet["batch_id"] == 2001


def test_the_queue_is_in_a_separate_account_from_the_task_hub(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2006}
    send(stack, json.dumps(request))
    known(api, "fleet-2006")
    api.end("fleet-2006")
    hub = QueueServiceClient.from_connection_string(stack.task_hub_connection_string)
    assert [queue.name for queue in hub.list_queues()] == []


def test_a_message_delivered_twice_is_one_fleet(api: Api, stack: Stack):
    text = json.dumps({"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2002})
    send(stack, text)
    send(stack, text)
    known(api, "fleet-2002")
    eventually(lambda: True if not received(stack, "powerlift-fleets") else None)
    ids = [fleet["id"] for fleet in api.list().json()["fleets"]]
    api.end("fleet-2002")
    assert ids.count("fleet-2002") == 1


def test_a_bad_message_is_poison_at_once_and_the_log_names_its_copy(stack: Stack):
    number = send(stack, '{"mark": "bad-fields"}')
    sent = '{"mark": "bad-fields"}'
    assert poisoned(stack, "bad-fields") == [sent]
    digest = hashlib.sha256(base64.b64encode(sent.encode())).hexdigest()
    log = (stack.logs / "host.log").read_text()
    assert f"The SHA-256 of message {number} in {POISON} is {digest}" in log


@pytest.mark.parametrize(
    ("mark", "sent"),
    [
        ("no-json", "no-json {"),
        ("compact", '{"mark":"compact","n_instances":1.0}'),
        ("spaced", '{ "mark"  :"spaced",\r\n\t"x": [ ] }\n'),
        ("twice", '{"mark": "twice", "mark": "twice"}'),
        ("numbers", '{"mark": "numbers", "a": NaN, "b": 1e400, "c": 0.10}'),
        ("array", '["array", {}]'),
        ("mark-escaped", '{"mark": "mark-escaped", "x": "\\u00e9\\/\u00e9"}'),
        ("not-utf-8", '{"mark": "not-utf-8\udcff\udc80"}'),
        ("date", '{"mark": "date", "at": "2026-01-01T00:00:00.000+02:00"}'),
    ],
)
def test_a_poison_copy_is_identical_to_the_message(stack: Stack, mark: str, sent: str):
    send(stack, sent)
    assert poisoned(stack, mark) == [sent]


@pytest.mark.parametrize("end", ["}", ""], ids=["json", "no-json"])
def test_a_poison_copy_has_no_secret(stack: Stack, end: str):
    mark = f"secrets{end}"
    sent = (
        f'{{"mark": "{mark}", "uri": "postgresql://me:s3cret@host/db?sslpassword=s3cret",'
        f'"azure_json":{{"client_secret":"s3cret"}} {end}'
    )
    send(stack, sent)
    assert poisoned(stack, f'"{mark}"') == [sent.replace("s3cret", "***")]


def test_the_log_of_a_refusal_has_no_secret(stack: Stack):
    number = send(stack, '{"mark": "key", "postgresql://me:s3cret-name@host/db": 1}')
    poisoned(stack, '"mark": "key"')
    log = (stack.logs / "host.log").read_text()
    assert (f"Message {number} was rejected" in log, "s3cret-name" in log) == (True, False)


def test_a_message_that_is_not_utf_8_is_rejected_with_the_reason(stack: Stack):
    number = send(stack, '{"mark": "with-reason\udcff"}')
    poisoned(stack, "with-reason")
    log = (stack.logs / "host.log").read_text()
    assert (
        f"Message {number} was rejected and moved to {POISON}: The body is not valid UTF-8." in log
    )


def test_a_message_in_plain_text_is_a_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2004}
    with QueueClient.from_connection_string(
        stack.queue_connection_string, "powerlift-fleets"
    ) as queue:
        queue.send_message(json.dumps(request))
    fleet = known(api, "fleet-2004")
    api.end("fleet-2004")
    assert fleet["batch_id"] == 2004


@pytest.mark.long
def test_a_message_in_lines_of_base64_is_a_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2005}
    with QueueClient.from_connection_string(
        stack.queue_connection_string, "powerlift-fleets"
    ) as queue:
        queue.send_message(base64.encodebytes(json.dumps(request).encode()).decode())
    fleet = known(api, "fleet-2005")
    api.end("fleet-2005")
    assert fleet["batch_id"] == 2005


def test_a_batch_id_used_by_another_request_is_poison(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2003}
    api.post(request)
    send(stack, json.dumps({**request, "tags": {"mark": "other-request"}}))
    found = poisoned(stack, "other-request")
    api.end("fleet-2003")
    assert len(found) == 1
