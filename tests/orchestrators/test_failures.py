"""Each row of the error table over the wire: the outcome of the fleet, and what is left."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.azure.error_table import TABLE
from fleet.model.failure import look_up
from fleet.model.failure_policy import after_acceptance
from fleet.model.names import runner_id
from fleet.model.placement import label
from fleet.model.state import FleetState
from local.stack import Stack
from tests.fleets import NOW, later, order
from tests.harness import TERMINAL, Api, all_resource_ids, experiment, lose_vm, sql, wire
from tests.orchestrators.failure_cases import (
    CASES,
    GAVE_UP,
    GROUP_GONE,
    HOME,
    LARGER,
    LARGEST,
    OTHER_FAMILY,
    SIZE,
    Case,
)

FIRST_BATCH, TIME_SCALE = 8000, 0.01
TIMEOUT = 120.0
"""Seconds for a fleet to settle; a retry that never helps takes 30 on idle cores."""
UNDER_WAY = 0.5
"""Seconds after a 429 in which other activities, which cannot know of it yet, may send their requests.
The cases' Retry-After is 5."""
AT_ONCE = 12
"""Fleets that have not settled yet: more of them only wait for each other."""


def row_of(code: str, status: int, message: str) -> int:
    """The index in TABLE of the row that matches a response."""
    return next(at for at, row in enumerate(TABLE) if row.matches(code, status, message))


def actions_by_request(case: Case) -> list[tuple[str, str]]:
    """For each fault: the affected request and the action of its row."""
    answers = case.answers()[len(case.seen) :]
    return [
        (fault["on"], TABLE[row_of(*answer)].action)
        for fault, answer in zip(case.faults, answers, strict=True)
    ]


def repeated(cases: Iterable[Case]) -> list[Case]:
    """The cases whose rows do the same, at the same requests, as those of earlier ones."""
    seen: set[tuple[str, bool, str, str]] = set()
    found = []
    for case in cases:
        kinds = {(case.phase, bool(case.also), *one) for one in actions_by_request(case)}
        if case.faults and kinds <= seen:
            found.append(case)
        seen |= kinds
    return found


LONG = repeated(CASES)
"""A fleet takes a second of CPU, so these are left to `-m long`."""
CASE_OF = {FIRST_BATCH + at: case for at, case in enumerate(CASES)}
BATCH_OF = {case.name: batch for batch, case in CASE_OF.items()}
PARAMS = {
    case.name: pytest.param(case, id=case.name, marks=[pytest.mark.long] if case in LONG else [])
    for case in CASES
}
every_case = pytest.mark.parametrize("case", PARAMS.values())


@dataclass(frozen=True)
class Outcome:
    """The outcome of one fleet."""

    fleet: dict[str, Any]
    """As the API showed it when it had settled, before it was deleted."""
    machines: list[dict[str, Any]]
    """Their records at the end."""
    left: list[str]


Outcomes = dict[str, Outcome]


@pytest.fixture(scope="module")
def batches(request: pytest.FixtureRequest) -> list[int]:
    """The batches of the cases that are not deselected."""
    left_out = "not long" in request.config.option.markexpr
    return [batch for batch, case in CASE_OF.items() if not (left_out and case in LONG)]


def fault_plan(batches: list[int]) -> dict[str, Any]:
    """The faults and evictions of every case, each for its own batch."""
    parts: dict[str, list[Any]] = {"faults": [], "evictions": []}
    for batch in batches:
        case = CASE_OF[batch]
        for kind, given in (("faults", case.faults), ("evictions", case.evictions)):
            for one in given:
                rest = {name: value for name, value in one.items() if name != "vm"}
                parts[kind].append({"match": f"-{batch}-{one.get('vm', '')}", **rest})
    return parts


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, batches: list[int]) -> Iterator[Stack]:
    state: Path = tmp_path_factory.mktemp("rows")
    settings = {"FLEET_BOOT_POLL_SECONDS": "1", "FLEET_RUN_POLL_SECONDS": "1.5"}
    settings["FLEET_ALLOWED_GROUPS"] = "*"
    with Stack(
        state,
        time_scale=TIME_SCALE,
        machines="none",
        faults=fault_plan(batches),
        app_settings=settings,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(faulty: Stack, batches: list[int]) -> Outcomes:
    """Runs a few cases at a time; each fleet is cancelled once it has its expected state."""
    api, settled = Api(faulty), settle(faulty, batches)
    for batch in batches:
        api.wait(f"fleet-{batch}")
    remaining = list(all_resource_ids(faulty))
    return {
        CASE_OF[batch].name: Outcome(
            settled[batch],
            api.machines(f"fleet-{batch}"),
            [identity for identity in remaining if f"-{batch}-" in identity],
        )
        for batch in batches
    }


@pytest.fixture(scope="module")
def injected(faulty: Stack, batches: list[int], outcomes: Outcomes) -> dict[str, list[Any]]:
    """The faults of each case that were injected into a request."""
    seen = {call.get("fault") for call in wire(faulty)}
    places = itertools.count()  # in the plan
    return {
        CASE_OF[batch].name: [one for one in CASE_OF[batch].faults if next(places) in seen]
        for batch in batches
    }


def settle(stack: Stack, batches: list[int]) -> dict[int, dict[str, Any]]:
    """Every fleet in its settled state (or at the timeout), after which it is cancelled."""
    api, number = Api(stack), experiment(stack, trials=5 * AT_ONCE)
    settled: dict[int, dict[str, Any]] = {}
    started: dict[int, float] = {}
    while len(settled) < len(batches):
        rest = [batch for batch in batches if batch not in started]
        for batch in rest[: AT_ONCE - len(started) + len(settled)]:
            start(api, batch, number)
            started[batch] = time.monotonic()
        for batch in started.keys() - settled.keys():
            fleet, case = api.get(f"fleet-{batch}").json(), CASE_OF[batch]
            if case.deed and not fleet["failures"] and fleet["phase"] == "run":
                DEEDS[case.deed](stack, batch)
            if has_settled(fleet, case) or time.monotonic() - started[batch] > TIMEOUT:
                settled[batch] = fleet
                if fleet["phase"] not in TERMINAL:
                    api.delete(fleet["id"])
        time.sleep(0.8)
    return settled


def start(api: Api, batch: int, number: int) -> None:
    usual = {"n_instances": 2, "location": HOME, "vm_size": SIZE}
    api.start(**{**usual, **CASE_OF[batch].request}, batch_id=batch, experiment_id=number)


def has_settled(fleet: dict[str, Any], case: Case) -> bool:
    """Whether the fleet is in its final state. A fleet that never reaches it fails its test."""
    if fleet["phase"] in TERMINAL:
        return True
    expected = (case.phase, sum(case.ran.values()), set(case.shown()))
    codes = {group["code"] for group in fleet["failures"]}
    return (fleet["phase"], fleet["machines"]["running"], codes) == expected


def lose_a_vm_that_holds_a_trial(stack: Stack, batch: int) -> None:
    sql(
        stack,
        "UPDATE trial SET start_time = now(), runner_id = %s WHERE id = (SELECT min(id) FROM trial)",
        runner_id(batch, 0),
    )
    lose_vm(stack, batch, 0)


DEEDS: dict[str, Callable[[Stack, int], None]] = {
    "lose_a_vm_that_holds_a_trial": lose_a_vm_that_holds_a_trial
}


def test_every_row_of_the_table_has_a_case():
    covered = {row_of(*answer) for case in CASES for answer in case.answers()}
    assert [row for at, row in enumerate(TABLE) if at not in covered] == []


REFUSED = [
    case
    for case in CASES
    if len(case.faults) == 1
    and len(case.ended) == 1
    and actions_by_request(case)[0][1] in ("move", "replace", "unclear", "fail_fleet")
]
SIZES = {
    SIZE: {"family": "standardDSv5Family", "vcpus": 2},
    LARGER: {"family": "standardDSv5Family", "vcpus": 4},
    LARGEST: {"family": "standardDSv5Family", "vcpus": 8},
    OTHER_FAMILY: {"family": "standardESv5Family", "vcpus": 4},
}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REFUSED])
def test_a_refused_vm_is_replaced_where_its_row_allows(case: Case):
    requested: dict[str, Any] = {"n_instances": 2, **case.request}
    fleet = FleetState.read(dict(order(sizes=SIZES, **requested)))
    [first] = fleet.demand.request(fleet.placements_for(1, NOW))
    code, status, message = case.answers()[0]
    refusal = look_up(TABLE, code, message, status=status)
    fleet.refuse(first, refusal if status else after_acceptance(refusal), NOW)
    ended = fleet.vms[0]["ended"]
    assert ended is not None
    assert [(ended["code"], ended["next"])] == case.ended
    placements = [label(one) for one in fleet.placements_for(1, later(1))]
    assert placements == ([] if ended["next"] == GAVE_UP else list(case.ran))


@every_case
def test_every_request_fault_was_injected(injected: dict[str, list[Any]], case: Case):
    idle = [one for one in case.faults if one not in injected[case.name] and one["on"] != "vm.boot"]
    assert idle == []


@every_case
def test_the_fleet_ends_as_its_row_defines(outcomes: Outcomes, case: Case):
    fleet = outcomes[case.name].fleet
    came = (fleet["phase"], fleet["machines"]["running"], fleet["missing"])
    assert came == (case.phase, sum(case.ran.values()), case.missing)


@every_case
def test_the_vms_ran_in_the_available_placements(outcomes: Outcomes, case: Case):
    machines = outcomes[case.name].machines
    ran = [one for one in machines if one["state"] == "deleted" and one["failure"] is None]
    assert Counter(label(one["placement"]) for one in ran) == case.ran


@every_case
def test_the_records_have_the_outcome_of_the_other_vms(outcomes: Outcomes, case: Case):
    records = sorted(outcomes[case.name].machines, key=lambda one: one["ordinal"])
    ended = [
        (one["failure"]["code"], one["failure"]["action"]) for one in records if one["failure"]
    ]
    assert ended == case.ended, records


@every_case
def test_the_status_reports_exactly_these_failures(outcomes: Outcomes, case: Case):
    reported = {group["code"]: group["action"] for group in outcomes[case.name].fleet["failures"]}
    assert reported == case.shown()


@every_case
def test_each_failure_comes_with_the_advice_of_its_row(outcomes: Outcomes, case: Case):
    given = {TABLE[row_of(*answer)].advice for answer in case.answers()}
    advice = {group["advice"] for group in outcomes[case.name].fleet["failures"]}
    assert advice <= given - {""}


def writes_before_retry_after(stack: Stack, batch: int) -> list[str]:
    """The requests that a fleet sent after a 429 and before its Retry-After."""
    sent = [c for c in wire(stack, batch=batch) if c["method"] in ("PUT", "DELETE")]
    early = []
    for busy in sent:
        hint = float(busy["response_headers"].get("Retry-After", 0)) if busy["status"] == 429 else 0
        known, until = (busy["answered"] + wait / TIME_SCALE for wait in (UNDER_WAY, hint))
        early += [call["path"] for call in sent if known < call["at"] < until]
    return early


THROTTLED = [param for name, param in PARAMS.items() if name.startswith("throttled")]


@pytest.mark.parametrize("case", THROTTLED)
def test_no_write_is_sent_before_retry_after(faulty: Stack, outcomes: Outcomes, case: Case):
    assert writes_before_retry_after(faulty, BATCH_OF[case.name]) == []


@every_case
def test_nothing_is_left(outcomes: Outcomes, case: Case):
    assert outcomes[case.name].left == []


def test_a_fleet_with_a_deleted_resource_group_can_be_deleted(faulty: Stack, outcomes: Outcomes):
    api, deleted = Api(faulty), f"fleet-{BATCH_OF[GROUP_GONE]}"
    api.delete(deleted)
    assert api.wait(deleted, timeout=5)["phase"] == "failed"
