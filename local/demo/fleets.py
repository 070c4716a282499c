"""A minimal client of the app, which repeats no request and reads JSON as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests


def post(url: str, key: str, request: Mapping[str, Any]) -> str:
    """Submit a fleet. Returns its id."""
    return str(_json(_send("POST", f"{url}/api/fleets", key, request))["id"])


def status(url: str, key: str, fleet_id: str) -> dict[str, Any] | None:
    """The fleet's status, or None if the app does not know the fleet."""
    answer = _send("GET", f"{url}/api/fleets/{fleet_id}", key)
    return None if answer.status_code == 404 else _json(answer)


def cancel(url: str, key: str, fleet_id: str) -> None:
    _json(_send("DELETE", f"{url}/api/fleets/{fleet_id}", key))


def _send(method: str, url: str, key: str, body: Any = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy cannot reach this machine's loopback
        headers = {"x-functions-key": key}
        return session.request(method, url, json=body, headers=headers, timeout=60)


def _json(answer: requests.Response) -> dict[str, Any]:
    if not answer.ok:
        raise RuntimeError(f"{answer.url} returned {answer.status_code}: {answer.text}")
    return dict(answer.json())
