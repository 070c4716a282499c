"""The HTTP API, as a client uses it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, experiment

PASSWORD = "s3cr3t-value"


def test_a_new_fleet_is_accepted_with_its_location(api: Api, stack: Stack):
    answer = api.post({"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1001})
    body = answer.json()
    api.end(body["id"])
    assert (answer.status_code, body["id"], answer.headers["Location"], body["links"]["self"]) == (
        202,
        "fleet-1001",
        f"{stack.url}/api/fleets/fleet-1001",
        f"{stack.url}/api/fleets/fleet-1001",
    )


def test_the_answer_shows_the_request_in_its_normal_form(api: Api, stack: Stack):
    spelled = {"location": "East US", "max_undead": 0, "resource_uris": None, "credential": None}
    asked = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1011}
    answers = [
        api.post({**asked, **spelled}),
        api.post({**asked, "location": "eastus", "max_undead": 1}),
    ]
    api.end("fleet-1011")
    shown = [
        {name: answer.json()["request"][name] for name in list(spelled)[:3]} for answer in answers
    ]
    assert shown == [{"location": "eastus", "max_undead": 1, "resource_uris": []}] * 2
    assert [answer.status_code for answer in answers] == [202, 200]


def test_the_same_batch_posted_twice_is_one_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1002}
    answers = [api.post(request), api.post(request)]
    api.end("fleet-1002")
    assert [answer.status_code for answer in answers] == [202, 200]


def test_concurrent_identical_posts_are_one_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1003}
    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(lambda _: api.post(request).status_code, range(8)))
    api.end("fleet-1003")
    assert codes == [200] * 7 + [202]


def test_a_completed_batch_posted_again_is_the_same_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1004}
    api.end(str(api.post(request).json()["id"]))
    assert api.post(request).status_code == 200


def test_an_idempotency_key_makes_one_fleet(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1}
    ids = {api.post(request, **{"Idempotency-Key": "k1"}).json()["id"] for _ in range(2)}
    for fleet_id in ids:
        api.end(fleet_id)
    assert len(ids) == 1


def test_a_different_request_with_the_same_batch_is_rejected(api: Api, stack: Stack):
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 1005}
    api.post(request)
    answer = api.post({**request, "vm_size": "Standard_D2s_v5"})
    api.end("fleet-1005")
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")


def test_five_faults_are_one_response(api: Api):
    answer = api.post(
        {
            "n_instances": 0,
            "timeout": "long",
            "uri": f"mysql://user:{PASSWORD}@host/db",
            "max_price": 1,
            "bogus": 1,
        }
    )
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert (answer.status_code, answer.headers["Content-Type"], pointers) == (
        400,
        "application/problem+json",
        {"/experiment_id", "/n_instances", "/timeout", "/uri", "/max_price", "/bogus"},
    )


def test_a_rejection_contains_no_secret(api: Api):
    answer = api.post({"n_instances": 1, "uri": f"mysql://user:{PASSWORD}@host/db"})
    assert PASSWORD not in answer.text


def test_invalid_json_is_rejected(stack: Stack):
    url = f"{stack.url}/api/fleets"
    answer = requests.post(url, data="{", headers={"x-functions-key": stack.key}, timeout=30)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "")


@pytest.mark.parametrize("fleet_id", ["fleet-12345678901234567890", "fleet-1-teardown", "nonsense"])
@pytest.mark.parametrize("method", ["get", "delete"])
def test_an_unknown_fleet_is_not_found(api: Api, method: str, fleet_id: str):
    assert getattr(api, method)(fleet_id).status_code == 404


def test_sub_orchestrations_are_not_fleets(api: Api, stack: Stack):
    """Cancelling a wave alone would make its fleet fail."""
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=1007)
    api.wait(fleet_id, "run")
    inner = ["wave-1007-1", "teardown-1007", "cancel-1007"]
    codes = [method("wave-1007-1").status_code for method in (api.get, api.delete)]
    phase = api.get(fleet_id).json()["phase"]
    api.end(fleet_id)
    codes += [method(one).status_code for one in inner for method in (api.get, api.delete)]
    assert (codes, phase) == ([404] * 8, "run")


def test_without_a_key_requests_are_rejected(stack: Stack):
    assert requests.get(f"{stack.url}/api/fleets", timeout=30).status_code == 401


def test_health_requires_no_key(stack: Stack):
    answer = requests.get(f"{stack.url}/api/health", timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_waves_are_not_listed(api: Api, stack: Stack):
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=1006)
    api.end(fleet_id)
    ids = [fleet["id"] for fleet in api.list().json()["fleets"]]
    assert (ids.count(fleet_id), [one for one in ids if "wave" in one]) == (1, [])
