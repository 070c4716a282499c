"""The running app against its OpenAPI document: Schemathesis sends valid and invalid requests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from fleet.api.fields.rules import IMAGE_PARTS
from fleet.api.openapi.document import openapi_document
from fleet.model.webhooks import host_of
from local.stack import Stack
from tests.harness import Api, experiment

NOWHERE = "postgresql://user:password@127.0.0.1:1/powerlift"
"""A database that refuses at once."""
OURS = 10**9
"""Added to the ids of experiments and batches. A fleet of no experiment fails in its plan and makes
nothing; and the batches of other tests on the same stack stay theirs."""


def contract(examples: int, *, edges: bool) -> Any:
    """Random calls for each operation of the document; with `edges`, boundary cases too.

    The calls are the same each time; the environment variable SEED gives others.
    """
    random = {"seed": int(os.environ["SEED"])} if "SEED" in os.environ else {}
    settings = {
        **random,
        "generation": {"max-examples": examples, "deterministic": not random},
        "phases": {"coverage": {"enabled": edges}},
        "checks": {
            # The Functions host says 404, not 405, to a method that a path does not have.
            "unsupported_method": {"enabled": False},
            # An invalid body may also be too large.
            "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 409, 413]},
        },
    }
    config = schemathesis.Config.from_dict(settings)
    return schemathesis.openapi.from_dict(openapi_document("/api"), config=config)


FEW, MANY = contract(8, edges=False), contract(150, edges=True)


@pytest.fixture(scope="module")
def known_fleet(api: Api, stack: Stack) -> Iterator[str]:
    """A fleet with two running VMs."""
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=2, batch_id=OURS - 1)
    api.wait(fleet_id, "run")
    yield fleet_id
    api.end(fleet_id)


@pytest.fixture(scope="module")
def started_fleets(api: Api) -> Iterator[set[str]]:
    """The IDs of fleets that the calls have started. They are cancelled at the end."""
    ids: set[str] = set()
    yield ids
    for fleet_id in ids:
        api.delete(fleet_id)


@FEW.parametrize()
def test_hundreds_of_calls_conform_to_the_contract(
    case: Any, stack: Stack, known_fleet: str, started_fleets: set[str]
) -> None:
    check_conformance(case, stack, known_fleet, started_fleets)


@pytest.mark.long
@MANY.parametrize()
def test_thousands_of_calls_conform_to_the_contract(
    case: Any, stack: Stack, known_fleet: str, started_fleets: set[str]
) -> None:
    check_conformance(case, stack, known_fleet, started_fleets)


def check_conformance(case: Any, stack: Stack, known_fleet: str, started_fleets: set[str]) -> None:
    """Make a call; fails for a 5xx, and for any undocumented response."""
    if isinstance(case.body, dict):
        case.body = without_vms(case.body)
    if case.query:
        case.query.pop("cursor", None)  # only a `next` of the app is one, which no schema can say
    path = case.path_parameters or {}
    if case.method == "GET":
        case.path_parameters = with_known_fleet(path, known_fleet)
    elif case.method == "DELETE" and started_fleets:
        case.path_parameters = with_known_fleet(path, min(started_fleets))
    answer = case.call(base_url=f"{stack.url}/api", headers={"x-functions-key": stack.key})
    if case.operation.label == "POST /fleets" and answer.status_code == 202:
        started_fleets.add(answer.json()["id"])
    excluded = {
        positive_data_acceptance: rejected_by_policy(answer),
        negative_data_rejection: has_empty_parameter(answer),
    }
    case.validate_response(
        answer, excluded_checks=[check for check, is_so in excluded.items() if is_so]
    )


def has_empty_parameter(answer: Any) -> bool:
    """The host passes on no parameter without a value, so that the app cannot refuse it."""
    query = urlsplit(answer.request.url).query
    return any(value == "" for _, value in parse_qsl(query, keep_blank_values=True))


def rejected_by_policy(answer: Any) -> bool:
    """Whether only the deployment's policy rejects a request, which no schema can express."""
    faults = answer.json()["errors"] if answer.status_code == 400 else []
    reasons = ("The administrator decides with the setting", "This deployment signs no")
    return bool(faults) and all(
        any(reason in one["detail"] for reason in reasons) for one in faults
    )


def without_vms(body: dict[str, Any]) -> dict[str, Any]:
    """A body that starts no VM, and meets the constraints without a schema."""
    body = dict(body)
    for name in ("experiment_id", "batch_id"):
        if type(body.get(name)) in (int, float) and 0 <= body[name] < OURS:
            body[name] += OURS
    wanted, least = body.get("n_instances"), body.get("min_instances")
    if type(wanted) in (int, float) and type(least) in (int, float) and wanted >= 1:
        body["min_instances"] = min(least, wanted)
    batch_id = body.get("batch_id")
    if isinstance(batch_id, str) and re.fullmatch("[0-9]+", batch_id):
        body["batch_id"] = str(int(batch_id) % 2**64)
    if body.get("image_id") is not None:
        body = {name: value for name, value in body.items() if name not in IMAGE_PARTS}
    if str(body.get("notify_url")).startswith("https:") and host_of(body["notify_url"]) is None:
        body["notify_url"] = None  # its port exceeds 65535
    if str(body.get("uri")).lower().startswith("postgres"):
        body["uri"] = NOWHERE
    return body


def with_known_fleet(path: dict[str, Any], known_fleet: str) -> dict[str, Any]:
    """Replace every other reference by that of the known fleet, and every other VM by one of its VMs."""
    batch = re.fullmatch(r"fleet-([0-9]+)", str(path.get("id")))
    if batch is None or int(batch[1]) % 2 == 0:
        return path
    ordinal = str(path.get("ordinal"))
    machine = {"ordinal": ordinal[-1]} if re.fullmatch("[0-9]{2,4}", ordinal) else {}
    return {**path, "id": known_fleet, **machine}
