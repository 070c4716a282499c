"""Both clients behind one interface, so that each test runs for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from powerlift_fleet import AsyncFleetClient, FleetClient, FleetStatus, LogLine
from powerlift_fleet.api.json_reader import read

URL = "https://fleet.example"
KEY = "s3cr3t-key"

App = Callable[[httpx.Request], httpx.Response]


class Blocking:
    """FleetClient."""

    def __init__(self, app: App, **options: Any) -> None:
        self.client = FleetClient(URL, KEY, transport=httpx.MockTransport(app), **options)

    def ask(self, name: str, *args: Any, **more: Any) -> Any:
        return getattr(self.client, name)(*args, **more)

    def watch(self, fleet: str, **more: Any) -> list[FleetStatus]:
        return list(self.client.watch(fleet, **more))

    def logs(self, *args: Any, **more: Any) -> list[LogLine]:
        return list(self.client.logs(*args, **more))


class Awaiting:
    """AsyncFleetClient, with an event loop for each call."""

    def __init__(self, app: App, **options: Any) -> None:
        self.client = AsyncFleetClient(URL, KEY, transport=httpx.MockTransport(app), **options)

    def ask(self, name: str, *args: Any, **more: Any) -> Any:
        async def result() -> Any:
            answer: Awaitable[Any] = getattr(self.client, name)(*args, **more)
            return await answer

        return asyncio.run(result())

    def watch(self, fleet: str, **more: Any) -> list[FleetStatus]:
        async def statuses() -> list[FleetStatus]:
            return [status async for status in self.client.watch(fleet, **more)]

        return asyncio.run(statuses())

    def logs(self, *args: Any, **more: Any) -> list[LogLine]:
        async def lines() -> list[LogLine]:
            return [line async for line in self.client.logs(*args, **more)]

        return asyncio.run(lines())


class Script:
    """An app that returns a list of responses, the last one repeatedly, and records the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


REFUSED = httpx.ConnectError("[Errno 111] Connection refused")
AT_ONCE = {"Retry-After": "0"}
"""So that a retry does not slow down the test."""


def ok(**document: Any) -> httpx.Response:
    return httpx.Response(200, json=document)


def busy(code: int = 503, **headers: str) -> httpx.Response:
    """A response of the Functions host, which has no body."""
    return httpx.Response(code, headers={**AT_ONCE, **headers})


def problem(code: int, title: str, detail: str, *faults: dict[str, str]) -> httpx.Response:
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": code}
    document |= {"detail": detail, **({"errors": list(faults)} if faults else {})}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(code, headers=headers, content=json.dumps(document))


def status(phase: str = "run", **more: Any) -> dict[str, Any]:
    """The JSON of `GET /fleets/{id}`."""
    return {
        "id": "fleet-7",
        "batch_id": 7,
        "experiment_id": 1,
        "phase": phase,
        "machines": {
            "wanted": 2, "accepted": 2, "role_assigned": 2, "running": 2, "failed": 0, "deleted": 0,
        },
        "missing": {},
        "placements": [],
        "trials": {"total": 8, "ready": 3, "running": 2, "complete": 2, "error": 1},
        "failures": [],
        "warnings": [],
        "reason": None,
        "created_at": "2026-01-01T00:00:00+00:00",
        "updated_at": "2026-01-01T00:01:00+00:00",
        "provisioned_at": "2026-01-01T00:01:00+00:00",
        "deadline": "2026-01-08T00:00:00+00:00",
        "summary": None,
        "links": dict.fromkeys(("self", "machines", "progress", "view", "cancel"), URL),
        **more,
    }  # fmt: skip


def entry(number: int, **more: Any) -> dict[str, Any]:
    """A fleet in the JSON of `GET /fleets`."""
    links = dict.fromkeys(("self", "machines", "progress", "view", "cancel"), URL)
    usual = {
        "id": f"fleet-{9000 + number}", "number": number, "name": None, "batch_id": 9000 + number,
        "experiment_id": 12, "experiment_name": None, "submitted_by": "key-0123456789ab",
        "phase": "run", "machines": None, "trials": None, "cost": None,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "ended_at": None, "purged_at": None, "links": links,
    }  # fmt: skip
    return {**usual, **more}


def fleet_status(phase: str = "run", **more: Any) -> FleetStatus:
    """The same, as the client returns it."""
    return read(FleetStatus, status(phase, **more))


Make = Callable[..., Any]
BOTH_CLIENTS = pytest.mark.parametrize("make", [Blocking, Awaiting])
LINKS = status()["links"]
TAKEN = httpx.Response(202, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": LINKS})
