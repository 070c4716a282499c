"""Fleets begun on the last release end on this one: a deployment finds a fleet in each phase.

The old release runs on two hosts. One is stopped and comes back with the new code, so that both run side
by side; then the other crashes, and comes back too. The new code is that of today, with the same version
of its orchestrators; or it waits longer in `run`, and has a newer version and a branch for older ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.stack import REPOSITORY, Stack
from tests.harness import (
    VISIBILITY_TIMEOUT,
    Api,
    all_resource_ids,
    experiment,
    lose_vm,
    sql,
)
from tests.histories.releases import orchestrator_version, unpack_last
from tests.vm_calls import NIC, ROLE, VM, VmCalls

pytestmark = pytest.mark.long

BATCHES = {"create": 4401, "boot": 4402, "run": 4403, "teardown": 4404}
"""By the phase in which the deployment finds the fleet."""
NEW = 4405
VMS, UNDEAD = 6, 2
SLOW = {
    "create": ("vm.put", 600),
    "boot": ("vm.boot", 3000),
    "teardown": ("vm.delete.operation", 1500),
}
FAULTS = [
    {"on": on, "match": f"-{BATCHES[phase]}-", "slow": seconds}
    for phase, (on, seconds) in SLOW.items()
]
"""So long that the deployment finds the fleets there, on a busy machine too."""
SETTINGS = {"FLEET_SWEEP_SCHEDULE": "0 0 0 1 1 *"}  # never: the fleets clean up themselves

CHANGED = """
import orchestrators.fleet
from orchestrators.patterns import sleep

run_1_0 = orchestrators.fleet.run


def run(context, fleet, waves):
    if context.version != "{old}":
        yield from sleep(context, 1)
        fleet.warnings.append("changed")
    return (yield from run_1_0(context, fleet, waves))


orchestrators.fleet.run = run
"""
"""Replaces an orchestrator, as a release with another one does."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of the fleets, by the phase in which the deployment found each; also of a new one."""

    found: dict[str, str]
    """The phases right before the deployment."""
    ends: dict[str, str]
    versions: dict[str, str]
    warnings: dict[str, list[str]]
    release: tuple[str, str]
    """The versions of the orchestrators: of the last release, and of the deployed code."""
    azure: VmCalls
    left: set[str]


def deployed(folder: Path, old: str, version: str | None) -> Path:
    """The code of today; with `version`, an orchestrator is changed after `old`."""
    if version is None:
        return REPOSITORY
    unpack_last(folder)  # for the names of what is deployed
    for path in folder.iterdir():
        source = REPOSITORY / path.name
        if source.is_dir():
            shutil.copytree(source, path, dirs_exist_ok=True)
        else:
            shutil.copy(source, path)
    app, host = folder / "function_app.py", folder / "host.json"
    app.write_text(app.read_text() + CHANGED.format(old=old))
    settings = json.loads(host.read_text())
    settings["extensions"]["durableTask"]["defaultVersion"] = version
    host.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module", params=[None, "99.0"], ids=["same-version", "newer-version"])
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    release = unpack_last(tmp_path_factory.mktemp("release"))
    old = orchestrator_version(release)
    app = deployed(tmp_path_factory.mktemp("app"), old, request.param)
    stack = Stack(
        tmp_path_factory.mktemp("upgrade"),
        time_scale=0.01,
        machines="none",
        app_settings=SETTINGS,
        faults={"faults": FAULTS},
        hosts=("", ""),
        visibility_timeout=VISIBILITY_TIMEOUT,
        app=release,
    )
    with stack:
        before, api = set(all_resource_ids(stack)), Api(stack)
        experiments = reach_phases(stack)
        found = {p: str(api.get(fleet_id(batch)).json()["phase"]) for p, batch in BATCHES.items()}
        deploy(stack, app)
        start(stack, NEW)
        complete(stack, "run", experiments["run"])
        for phase in ("create", "boot"):
            api.wait(fleet_id(BATCHES[phase]), "run", timeout=120)
            complete(stack, phase, experiments[phase])
        shown = {p: api.wait(fleet_id(batch), timeout=120) for p, batch in BATCHES.items()}
        api.wait(fleet_id(NEW), "run")
        shown["new"] = api.end(fleet_id(NEW))
        yield Outcome(
            found=found,
            ends={phase: one["phase"] for phase, one in shown.items()},
            versions={phase: one["version"] for phase, one in shown.items()},
            warnings={phase: one["warnings"] for phase, one in shown.items()},
            release=(old, orchestrator_version(app)),
            azure=VmCalls(stack.wire()),
            left=set(all_resource_ids(stack)) - before,
        )


def fleet_id(batch: int) -> str:
    return f"fleet-{batch}"


def start(stack: Stack, batch: int) -> int:
    """Start a fleet; returns its experiment."""
    number = experiment(stack, trials=VMS)
    count = {"n_instances": VMS, "max_undead": UNDEAD, "max_lifetime": 600}
    Api(stack).start(experiment_id=number, batch_id=batch, **count)
    return number


def reach_phases(stack: Stack) -> dict[str, int]:
    """Start the fleets, and wait until all are in their phases. Returns their experiments by phase."""
    api = Api(stack)
    experiments = {phase: start(stack, BATCHES[phase]) for phase in ("run", "teardown")}
    for phase in list(experiments):
        api.wait(fleet_id(BATCHES[phase]), "run")
    experiments["boot"] = start(stack, BATCHES["boot"])
    api.wait(fleet_id(BATCHES["boot"]), "boot")
    experiments["create"] = start(stack, BATCHES["create"])
    assert api.delete(fleet_id(BATCHES["teardown"])).status_code == 202
    for phase in ("teardown", "create"):
        api.wait(fleet_id(BATCHES[phase]), phase)
    return experiments


def deploy(stack: Stack, app: Path) -> None:
    stack.app = app
    stack.stop_host(1)
    stack.start_host()
    stack.kill_host(0)
    stack.start_host()


def complete(stack: Stack, phase: str, number: int) -> None:
    """Complete a fleet's trials, and delete its VMs, as the VMs do themselves."""
    sql(
        stack,
        "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s",
        number,
    )
    for ordinal in range(VMS):
        lose_vm(stack, BATCHES[phase], ordinal)


def test_the_deployment_finds_a_fleet_in_each_phase(outcome: Outcome) -> None:
    assert outcome.found == {phase: phase for phase in BATCHES}


def test_every_fleet_ends_as_without_a_deployment(outcome: Outcome) -> None:
    done = dict.fromkeys(BATCHES, "done")
    assert outcome.ends == {**done, "teardown": "cancelled", "new": "cancelled"}


def test_a_fleet_keeps_its_version_and_a_new_one_gets_that_of_the_new_code(
    outcome: Outcome,
) -> None:
    old, new = outcome.release
    assert outcome.versions == {**dict.fromkeys(BATCHES, old), "new": new}


def test_only_a_new_fleet_takes_the_new_branch(outcome: Outcome) -> None:
    old, new = outcome.release
    took = {phase for phase, warnings in outcome.warnings.items() if "changed" in warnings}
    assert took == ({"new"} if new != old else set())


@pytest.mark.parametrize("kind", [NIC, VM, ROLE], ids=["nic", "vm", "role"])
def test_everything_is_created_once(outcome: Outcome, kind: Any) -> None:
    assert outcome.azure.created(kind) == [1] * VMS * (len(BATCHES) + 1)


def test_nothing_is_left_in_azure(outcome: Outcome) -> None:
    assert outcome.left == set()
