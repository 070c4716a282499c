"""Unresponsive databases do not affect others: over HTTP, with a whole stack."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, experiment
from tests.relay import Relay, silent_server

BATCH = 77_100


@contextmanager
def pending_plans(stack: Stack, count: int) -> Iterator[list[Future[requests.Response]]]:
    """Pending plans with databases that accept connections and never respond."""
    with ExitStack() as servers, ThreadPoolExecutor(count) as pool:
        places = [servers.enter_context(silent_server()) for _ in range(count)]
        yield [
            pool.submit(plan, stack, uri=f"postgresql://me:secret@{place}/db") for place in places
        ]


def plan(stack: Stack, **changes: Any) -> requests.Response:
    document = {"experiment_id": 1, "n_instances": 1, **changes}
    headers = {"x-functions-key": stack.key}
    return requests.post(f"{stack.url}/api/plan", json=document, headers=headers, timeout=60)


@pytest.mark.long
def test_a_plan_does_not_wait_for_unresponsive_databases_of_others(api: Api, stack: Stack):
    number = experiment(stack)
    with pending_plans(stack, 4) as pending:
        checks = plan(stack, experiment_id=number).json()["checks"]
        first = [one.done() for one in pending]
        answers = [one.result().json() for one in pending]
    assert {one["status"] for one in checks if one["name"] in ("trials", "permissions")} == {"ok"}
    assert first == [False] * 4
    details = [c["detail"] for plan in answers for c in plan["checks"] if c["name"] == "trials"]
    assert ["did not respond in time" in detail for detail in details] == [True] * 4


@pytest.mark.long
def test_an_unresponsive_postgresql_delays_no_other_fleet(api: Api, stack: Stack):
    """Four fleets use a server that stalls after the login; a fifth one uses another server."""
    number = experiment(stack)
    with Relay(stack.db_uri) as relay:
        relay.stall_after_login()
        document = {"experiment_id": number, "n_instances": 1, "uri": relay.uri}
        stalled = [api.start(**document, batch_id=BATCH + index) for index in range(4)]
        fifth = api.start(experiment_id=number, n_instances=2, batch_id=BATCH + 9)
        assert api.wait(fifth, "run")["machines"]["accepted"] == 2
        assert api.end(fifth)["phase"] == "cancelled"
        failures = [one for fleet in stalled for one in api.wait(fleet, "failed")["failures"]]
    assert {one["code"] for one in failures} == {"DatabaseUnreachable"}
