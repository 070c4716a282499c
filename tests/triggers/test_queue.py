"""The queue: the same request, one message a fleet; a bad one goes to the poison queue at once."""

from __future__ import annotations

import json
from typing import Any

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


def test_a_message_delivered_twice_is_one_fleet(api: Api, stack: Stack):
    text = json.dumps({"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2002})
    send(stack, text)
    send(stack, text)
    known(api, "fleet-2002")
    eventually(lambda: True if not received(stack, "powerlift-fleets") else None)
    ids = [fleet["id"] for fleet in api.list().json()["fleets"]]
    api.end("fleet-2002")
    assert ids.count("fleet-2002") == 1


def test_a_bad_message_is_poison_at_once(stack: Stack):
    send(stack, '{"mark": "bad-fields"}')
    assert poisoned(stack, "bad-fields") == ['{"mark": "bad-fields"}']


def test_a_message_that_is_no_json_is_poison_at_once(stack: Stack):
    send(stack, "no-json {")
    assert poisoned(stack, "no-json") == ["no-json {"]


def test_a_batch_of_another_request_is_poison(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 2003}
    api.post(request)
    send(stack, json.dumps({**request, "tags": {"mark": "other-request"}}))
    found = poisoned(stack, "other-request")
    api.end("fleet-2003")
    assert len(found) == 1
