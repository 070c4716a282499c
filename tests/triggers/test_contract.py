"""The running app against its own OpenAPI document: schemathesis asks, within its bounds and without."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fleet.api.openapi.document import openapi_document
from local.stack import Stack
from tests.harness import Api, experiment

NOWHERE = "postgresql://user:password@127.0.0.1:1/powerlift"
"""A database that refuses at once."""
OURS = 10**9
"""Added to the ids of experiments and batches. A fleet of no experiment fails in its plan and makes
nothing; and the batches of other tests on the same stack stay theirs."""


def contract(examples: int, *, edges: bool) -> Any:
    """Our document, asked with so many random calls an operation, and with every edge of its schemas.

    The calls are the same each time; the environment variable SEED gives others.
    """
    random = {"seed": int(os.environ["SEED"])} if "SEED" in os.environ else {}
    settings = {
        **random,
        "generation": {"max-examples": examples, "deterministic": not random},
        "phases": {"coverage": {"enabled": edges}},
        # The Functions host says 404, not 405, to a method that a path does not have.
        "checks": {"unsupported_method": {"enabled": False}},
    }
    config = schemathesis.Config.from_dict(settings)
    return schemathesis.openapi.from_dict(openapi_document("/api"), config=config)


FEW, MANY = contract(15, edges=False), contract(150, edges=True)


@pytest.fixture(scope="module")
def known(api: Api, stack: Stack) -> Iterator[str]:
    """A fleet with two VMs that run."""
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=2, batch_id=OURS - 1)
    api.wait(fleet_id, "run")
    yield fleet_id
    api.end(fleet_id)


@pytest.fixture(scope="module")
def begun(api: Api) -> Iterator[set[str]]:
    """The ids of fleets that the calls have started. Cancelled in the end."""
    ids: set[str] = set()
    yield ids
    for fleet_id in ids:
        api.delete(fleet_id)


@FEW.parametrize()
def test_hundreds_of_calls_keep_to_the_contract(
    case: Any, stack: Stack, known: str, begun: set[str]
) -> None:
    keeps_to_it(case, stack, known, begun)


@pytest.mark.long
@MANY.parametrize()
def test_thousands_of_calls_keep_to_the_contract(
    case: Any, stack: Stack, known: str, begun: set[str]
) -> None:
    keeps_to_it(case, stack, known, begun)


def keeps_to_it(case: Any, stack: Stack, known: str, begun: set[str]) -> None:
    """Make a call; fails for a 5xx, and for any answer that the document does not have."""
    if isinstance(case.body, dict):
        case.body = harmless(case.body)
    if case.query:
        case.query.pop("cursor", None)  # only a `next` of the app is one, which no schema can say
        # The host passes on no parameter without a value, so that the app cannot refuse it.
        case.query = {name: value for name, value in case.query.items() if value != ""}
    path = case.path_parameters or {}
    if case.method == "GET":
        case.path_parameters = directed(path, known)
    elif case.method == "DELETE" and begun:
        case.path_parameters = directed(path, min(begun))
    answer = case.call(base_url=f"{stack.url}/api", headers={"x-functions-key": stack.key})
    if case.operation.label == "POST /fleets" and answer.status_code == 202:
        begun.add(answer.json()["id"])
    excluded = [positive_data_acceptance] if by_policy(answer) else []
    case.validate_response(answer, excluded_checks=excluded)


def by_policy(answer: Any) -> bool:
    """Whether only the deployment's policy refuses a request, which no schema can say."""
    faults = answer.json()["errors"] if answer.status_code == 400 else []
    return bool(faults) and all(
        "The administrator decides with the setting" in one["detail"] for one in faults
    )


def harmless(body: dict[str, Any]) -> dict[str, Any]:
    """A body that starts no VM, and breaks no rule that JSON Schema cannot say."""
    body = dict(body)
    for name in ("experiment_id", "batch_id"):
        if type(body.get(name)) in (int, float) and 0 <= body[name] < OURS:
            body[name] += OURS
    wanted, least = body.get("n_instances"), body.get("min_instances")
    if type(wanted) in (int, float) and type(least) in (int, float) and wanted >= 1:
        body["min_instances"] = min(least, wanted)
    if str(body.get("uri")).lower().startswith("postgres"):
        body["uri"] = NOWHERE
    return body


def directed(path: dict[str, Any], known: str) -> dict[str, Any]:
    """Every other fleet that could be there is one that is, and so are its VMs."""
    batch = re.fullmatch(r"fleet-([0-9]+)", str(path.get("id")))
    if batch is None or int(batch[1]) % 2 == 0:
        return path
    ordinal = str(path.get("ordinal"))
    machine = {"ordinal": ordinal[-1]} if re.fullmatch("[0-9]{2,4}", ordinal) else {}
    return {**path, "id": known, **machine}
