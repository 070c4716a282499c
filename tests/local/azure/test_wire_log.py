"""The wire log."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from tests.local.azure.driver import Driver, unique

SECRET = "#!/bin/sh\n# postgresql://user:hunter2@host/db\n"


def _lines(azure: Driver) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (azure.state / "wire.jsonl").read_text().splitlines()]


def _last(azure: Driver, method: str, path: str) -> dict[str, Any]:
    return [e for e in _lines(azure) if (e["method"], e["path"]) == (method, path)][-1]


def test_exchange_is_logged_before_the_response(azure: Driver) -> None:
    path = azure.net("networkInterfaces", unique("nic"))
    answer = azure.send("PUT", path, azure.nic_body(azure.subnet()), api="2026-03-01")

    entry = _last(azure, "PUT", path)

    assert entry["status"] == 201
    assert entry["query"] == {"api-version": "2026-03-01"}
    assert entry["body"] == azure.nic_body(azure.subnet())
    assert entry["principal"] == azure.ready["client_object_id"]
    assert entry["answered"] > entry["at"]
    url = answer.headers["Azure-AsyncOperation"]
    assert entry["response_headers"] == {"Azure-AsyncOperation": url}


def test_requests_are_numbered_in_order(azure: Driver) -> None:
    numbers = [entry["n"] for entry in _lines(azure)]

    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_custom_data_is_redacted(azure: Driver) -> None:
    vm = azure.make_vm(script=SECRET)
    encoded = base64.b64encode(SECRET.encode())

    entry = _last(azure, "PUT", vm["id"])

    expected = f"<redacted {len(encoded)} bytes sha256 {hashlib.sha256(encoded).hexdigest()}>"
    assert entry["body"]["properties"]["osProfile"]["customData"] == expected


def test_no_secret_is_in_the_log(azure: Driver) -> None:
    azure.ask_token()
    azure.make_vm(script=SECRET)

    text = (azure.state / "wire.jsonl").read_text()

    hidden = [
        azure.ready["client_secret"],
        azure.token(),
        base64.b64encode(SECRET.encode()).decode(),
    ]
    assert not [secret for secret in hidden if secret in text]
