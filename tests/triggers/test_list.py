"""The list of fleets, over HTTP: updated by the fleets, paged, filtered."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, eventually, experiment, sql


def listed(stack: Stack, **query: Any) -> dict[str, Any]:
    answer = ask(stack, **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ask(stack: Stack, path: str = "", **query: Any) -> requests.Response:
    url, headers = f"{stack.url}/api/fleets{path}", {"x-functions-key": stack.key}
    return requests.get(url, params=query, headers=headers, timeout=30)


def entry(stack: Stack, fleet_id: str, phase: str) -> dict[str, Any]:
    """A fleet's entry, once it is in a phase: responses are cached for a second."""

    def look() -> dict[str, Any] | None:
        fleets = {one["id"]: one for one in listed(stack, limit=200)["fleets"]}
        found: dict[str, Any] | None = fleets.get(fleet_id)
        return found if found and found["phase"] == phase else None

    return eventually(look)


def test_an_entry_is_updated_by_its_fleet(api: Api, stack: Stack):
    number = experiment(stack)
    fleet_id = api.start(experiment_id=number, n_instances=2, batch_id=6101, name="followed")
    running = entry(stack, fleet_id, "run")
    api.end(fleet_id)
    ended = entry(stack, fleet_id, "cancelled")
    [(name,)] = sql(stack, "SELECT name FROM experiment WHERE id = %s", number)
    assert (running["name"], running["experiment_name"], running["ended_at"]) == (
        "followed",
        name,
        None,
    )
    assert (running["machines"]["wanted"], running["trials"]["total"]) == (2, 4)
    assert (ended["machines"]["deleted"], bool(ended["ended_at"])) == (2, True)


def test_a_fleet_that_fails_its_plan_is_listed_as_failed(api: Api, stack: Stack):
    fleet_id = api.start(experiment_id=10**8, n_instances=1, batch_id=6102)
    assert entry(stack, fleet_id, "failed")["experiment_name"] is None


def test_pages_contain_every_fleet_once(api: Api, stack: Stack):
    for batch in (6103, 6104, 6105):
        api.start(experiment_id=10**8, n_instances=1, batch_id=batch)
    # Not the limit of another test: responses are cached for a second.
    whole = [one["id"] for one in listed(stack, limit=199)["fleets"]]
    seen: list[str] = []
    page = listed(stack, limit=2)
    while page["next"]:
        seen += [one["id"] for one in page["fleets"]]
        page = listed(stack, limit=2, cursor=page["next"])
    seen += [one["id"] for one in page["fleets"]]
    assert (seen, len(seen) > 2) == (whole, True)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": 201}, {"limit": "x"}, {"status": "gone"}, {"sort": "up"},
        {"since": "yesterday"}, {"cursor": "x"}, {"cursor": "\u00ff"}, {"submitted_by": "\0"},
        {"experiment": "a\0"},
    ],
)  # fmt: skip
def test_an_invalid_query_is_rejected(stack: Stack, query: dict[str, Any]):
    assert ask(stack, **query).status_code == 400


def test_all_faults_of_a_query_are_reported_together(stack: Stack):
    problem = ask(stack, limit=0, sort="up", since="?").json()
    named = {fault["detail"].partition(" must be ")[0] for fault in problem["errors"]}
    assert (problem["title"], named) == ("Invalid query parameters", {"limit", "sort", "since"})


@pytest.mark.parametrize("reference", ["fleet-6106", "6106", "called", "call"])
def test_a_fleet_is_found_by_every_reference(api: Api, stack: Stack, reference: str):
    request = {"experiment_id": 10**8, "n_instances": 1, "batch_id": 6106, "name": "called"}
    api.post(request)
    api.wait("fleet-6106", "failed")
    found = [ask(stack, f"/{reference}{path}") for path in ("", "/machines", "/progress")]
    assert [one.status_code for one in found] == [200] * 3
    assert {one.json()["id"] for one in found} == {"fleet-6106"}


def test_latest_is_the_fleet_that_was_submitted_last(api: Api, stack: Stack):
    ids = [api.start(experiment_id=10**8, n_instances=1) for _ in range(2)]
    assert ask(stack, "/latest").json()["id"] == ids[-1]


def test_an_ambiguous_prefix_is_rejected_with_its_matches(api: Api, stack: Stack):
    for batch, name in ((6107, "twin-a"), (6108, "twin-b")):
        api.start(experiment_id=10**8, n_instances=1, batch_id=batch, name=name)
    answer = ask(stack, "/twin")
    assert (answer.status_code, "twin-b, twin-a" in answer.json()["detail"]) == (409, True)


def test_a_number_of_64_bits_is_a_string_in_json(api: Api, stack: Stack):
    batch = 2**64 - 1
    answer = api.post({"experiment_id": 10**8, "n_instances": 1, "batch_id": str(batch)})
    body = answer.json()
    assert (answer.status_code, body["id"], body["batch_id"]) == (202, f"fleet-{batch}", str(batch))
    assert ask(stack, f"/fleet-{body['number']}").json()["batch_id"] == str(batch)
