"""Trials, retries, and the request of a past fleet."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.commands.rerun import changed

from tests.client.both import (
    BOTH_CLIENTS,
    KEY,
    TAKEN,
    URL,
    Blocking,
    Make,
    Script,
    ok,
    problem,
    status,
)

TRIAL = {
    "id": 12, "task": "adult", "origin": "openml", "method": "tree", "meta": "{}", "replicate": 0,
    "state": "failed", "machine": 3, "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:00:09Z", "seconds": 9.0, "measures": {"score": 0.5},
    "error": "ValueError: no", "traceback": None,
}  # fmt: skip


def page(*ids: int, next_: str | None = None) -> httpx.Response:
    trials = [{**TRIAL, "id": number} for number in ids]
    return ok(id="fleet-7", experiment_id=1, trials=trials, next=next_)


@BOTH_CLIENTS
def test_trials_of_all_pages_are_typed_and_immutable(make: Make) -> None:
    app = Script(page(1, 2, next_="2"), page(3))
    found = make(app).ask("trials", "latest", state="failed", traceback=True)
    assert [one.id for one in found] == [1, 2, 3]
    assert (found[0].seconds, found[0].machine, found[0].raw["task"]) == (9.0, 3, "adult")
    with pytest.raises(AttributeError):
        found[0].state = "complete"
    asked = [(one.url.path, dict(one.url.params)) for one in app.requests]
    first = {"state": "failed", "traceback": "true", "limit": "500"}
    assert asked == [
        ("/api/fleets/latest/trials", first),
        ("/api/fleets/fleet-7/trials", {**first, "cursor": "2"}),
    ]


@BOTH_CLIENTS
def test_a_limit_of_trials_is_one_page(make: Make) -> None:
    app = Script(page(1, 2, next_="2"))
    assert len(make(app).ask("trials", "fleet-7", limit=2)) == 2
    assert [one.url.params["limit"] for one in app.requests] == ["2"]


@BOTH_CLIENTS
@pytest.mark.parametrize(("code", "created"), [(202, True), (200, False)])
def test_a_retry_says_whether_it_started_a_fleet(make: Make, code: int, created: bool) -> None:
    answer = httpx.Response(code, json={**json.loads(TAKEN.content), "trials": 4})
    found = make(Script(answer)).ask("retry", "fleet-6")
    assert (found.handle, found.created, found.trials) == ("fleet-7", created, 4)


@BOTH_CLIENTS
def test_a_refused_retry_has_its_reason(make: Make) -> None:
    app = Script(problem(409, "Cannot retry", "No trial of experiment 1 has failed."))
    with pytest.raises(fleets.RetryRefused, match="No trial of experiment 1 has failed"):
        make(app).ask("retry", "fleet-7")


@BOTH_CLIENTS
def test_a_request_names_its_secrets(make: Make) -> None:
    app = Script(ok(id="fleet-7", request={"experiment_id": 1}, secrets=["/uri"]))
    found = make(app).ask("request_of", "nightly")
    assert (found.id, dict(found.request), found.secrets) == (
        "fleet-7",
        {"experiment_id": 1},
        ("/uri",),
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, "fleet-7"), ({"number": 3, "name": None}, "fleet-3"),
     ({"number": 3, "name": "nightly"}, "fleet-3 (nightly)")],
)  # fmt: skip
def test_a_request_is_labelled_as_its_fleet_is(more: dict[str, Any], expected: str) -> None:
    app = Script(ok(id="fleet-7", request={}, secrets=[], **more))
    assert Blocking(app).ask("request_of", "fleet-7").label == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_instances": 8}, {"n_instances": 8}),
        ({"zones": ["2"]}, {"zones": ["2"]}),
        ({"zones": None}, {"zones": ...}),
        ({"tags": {"b": "2"}}, {"tags": {"a": "1", "b": "2"}}),
        ({"tags": {"a": "9"}}, {"tags": {"a": "9"}}),
        (
            {"azure_json": {"client_secret": "s"}},
            {"azure_json": {"client_id": "c", "client_secret": "s"}},
        ),
        ({"azure_json": None}, {"azure_json": ...}),
    ],
)  # fmt: skip
def test_changes_replace_add_and_remove_fields(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    old = {
        "experiment_id": 1, "n_instances": 2, "zones": ["1"], "tags": {"a": "1"},
        "azure_json": {"client_id": "c"},
    }  # fmt: skip
    wanted = {name: value for name, value in {**old, **expected}.items() if value is not ...}
    assert changed(old, changes) == wanted


def test_an_executor_shows_and_retries_its_latest_fleet() -> None:
    again = httpx.Response(202, json={**json.loads(TAKEN.content), "id": "fleet-8", "trials": 1})
    app = Script(ok(**status()), page(1), again)
    client = fleets.FleetClient(URL, KEY, transport=httpx.MockTransport(app))
    executor = fleets.AzureVMFleet(SimpleNamespace(uri="postgresql://h/d"), client=client)
    with pytest.raises(fleets.ConfigurationError, match="No fleet"):
        executor.trials()
    executor.attach("nightly")
    assert [one.id for one in executor.trials(state="failed")] == [1]
    assert (executor.retry(), executor.fleets) == ("fleet-8", ["fleet-8"])


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "tree"),
        ({"replicate": 2}, "tree #2"),
        ({"meta": '{"depth": 3}', "replicate": 1}, 'tree {"depth": 3} #1'),
    ],
)
def test_trials_of_one_method_are_told_apart(changes: dict[str, Any], shown: str) -> None:
    assert describe.method(read(fleets.Trial, {**TRIAL, **changes})) == shown
