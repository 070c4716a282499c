"""The host is repeatedly killed with SIGKILL: each fleet ends as without crashes.

A kill follows a seeded number of requests to Azure, where a crash can duplicate something, or
after some seconds in which there are fewer: so they hit every phase, on a fast machine or a slow one.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import TERMINAL, VISIBILITY_TIMEOUT, Api, all_resource_ids, sql
from tests.trials import SMALL_RUNNER, packages_at_hand, real_experiment, trials_held

VMS, TRIALS, UNDEAD = 3, 4, 2
CLIENT = "11111111-2222-4333-8444-555555555555"
SETTINGS = {"FLEET_ALLOWED_PRINCIPALS": CLIENT}
ROLES = 3
"""Of one VM: its own at itself and at a storage account, and the client user's."""

LEAST_KILLS = 4
LONGEST_RUN = 150.0
"""Seconds; on two cores a run takes a third of them."""

VM = re.compile(r".*/virtualMachines/(powerlift-vm-\d+-\d{4})")
NIC = re.compile(r".*/networkInterfaces/(powerlift-nic-\d+-\d{4})")
ROLE = re.compile(r".*/roleAssignments/([-0-9a-f]{36})")
ROLE_AT_VM = re.compile(rf"{VM.pattern}/providers/Microsoft.Authorization/roleAssignments/.*")


@dataclass(frozen=True)
class Story:
    """A fleet to crash: when, its expected end, and how many of its trials are measured by then."""

    stack: str
    ends: str
    measured: int


FINISHED = Story("working_stack", "done", TRIALS)
CANCELLED = Story("idle_stack", "cancelled", 0)

STORIES = [
    pytest.param((story, seed), id=f"{story.ends}-{seed}", marks=pytest.mark.long)
    for seed in range(2, 15)
    for story in (FINISHED, CANCELLED)
]
# test_property.py has more cancels and kills.
STORIES[0] = pytest.param((FINISHED, 2), id=f"{FINISHED.ends}-2", marks=pytest.mark.slow)


@dataclass
class Crashes:
    """Kills the host of a fleet and starts it again, at moments that a seed decides."""

    stack: Stack
    request: dict[str, Any]
    rng: random.Random
    phases: list[str] = field(default_factory=list)
    """What the fleet was at when the host was killed."""
    answers: list[int] = field(default_factory=list)
    """To the client that asks for the same fleet again after each crash."""

    def until(self, *phases: str) -> str:
        """Crash the host until the fleet is in one of the phases; returns which."""
        deadline = time.monotonic() + LONGEST_RUN
        while (phase := self._phase_after_a_while()) not in phases:
            assert time.monotonic() < deadline, f"still {phase} after kills in {self.phases}"
            self.stack.kill_host()
            self.stack.start_host()
            self.phases.append(phase)
            self.answers.append(Api(self.stack).post(self.request).status_code)
        return phase

    def _phase_after_a_while(self) -> str:
        # The intervals grow, so that even the longest step eventually fits into one.
        longer = 1 + len(self.phases) / 3
        enough = self._requests() + longer * self.rng.randint(1, 7)
        latest = time.monotonic() + longer * self.rng.uniform(0.2, 1.2)
        while self._requests() < enough and time.monotonic() < latest:
            time.sleep(0.01)
        return str(Api(self.stack).get(f"fleet-{self.request['batch_id']}").json()["phase"])

    def _requests(self) -> int:
        """The number of requests that Azure has handled. Counts lines: the last may be incomplete."""
        return (self.stack.state_dir / "azure" / "wire.jsonl").read_bytes().count(b"\n")


@dataclass(frozen=True)
class Run:
    """The outcome of a story according to the app, Azure and the database."""

    story: Story
    crashes: Crashes
    phase: str
    calls: list[dict[str, Any]]
    left: set[str]
    free_trials: int
    complete_trials: int
    measures: Counter[int]
    """By trial."""

    def puts(self, kind: re.Pattern[str]) -> dict[str, list[dict[str, Any]]]:
        """The PUTs that Azure accepted, in order, by the name of the resource."""
        puts = defaultdict(list)
        for call in sorted(self.calls, key=lambda call: float(call["answered"])):
            name = kind.fullmatch(call["path"])
            if name and call["method"] == "PUT" and call["status"] < 300:
                puts[name[1]].append(call)
        return puts

    def statuses(self, kind: re.Pattern[str]) -> list[list[int]]:
        """The status codes of the PUTs of each resource."""
        return [[call["status"] for call in calls] for calls in self.puts(kind).values()]

    def distinct_bodies(self, kind: re.Pattern[str]) -> list[int]:
        """The number of different PUT bodies for each resource."""
        return [len({str(call["body"]) for call in calls}) for calls in self.puts(kind).values()]


@pytest.fixture(scope="module")
def working_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose VMs run trials and delete themselves; a simulated minute takes 1.2 s."""
    packages, state = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("working_stack")
    with (
        packages_at_hand(packages),  # before the stack is created, which passes it to its VMs
        Stack(
            state, time_scale=0.02, visibility_timeout=VISIBILITY_TIMEOUT, app_settings=SETTINGS
        ) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with simulated VMs without processes, which never complete."""
    state = tmp_path_factory.mktemp("idle_stack")
    with Stack(
        state,
        time_scale=0.02,
        machines="none",
        visibility_timeout=VISIBILITY_TIMEOUT,
        app_settings=SETTINGS,
    ) as stack:
        yield stack


@pytest.fixture(scope="module", params=STORIES)
def run(request: pytest.FixtureRequest) -> Run:
    """A fleet with host kills from its first request to its last."""
    story, seed = request.param
    stack: Stack = request.getfixturevalue(story.stack)
    number = real_experiment(stack, TRIALS, SMALL_RUNNER)
    begin, before = len(stack.wire()), set(all_resource_ids(stack))
    crashes = Crashes(stack, request_of(stack, number, 6000 + seed), random.Random(seed))
    fleet_id = Api(stack).start(**crashes.request)
    with trials_held(stack, number):
        crashes.until("provisioned", "run", *TERMINAL)
    if story is CANCELLED:
        Api(stack).delete(fleet_id)
    phase = crashes.until(*TERMINAL)
    return Run(
        story,
        crashes,
        phase,
        stack.wire()[begin:],
        set(all_resource_ids(stack)) - before,
        count(stack, number, "runner_id = -1 AND start_time IS NULL"),
        count(stack, number, "end_time IS NOT NULL AND errmsg IS NULL"),
        measures(stack, number),
    )


def request_of(stack: Stack, number: int, batch: int) -> dict[str, Any]:
    group = f"/subscriptions/{stack.arm['subscription_id']}/resourceGroups/powerlift"
    return {
        "experiment_id": number,
        "n_instances": VMS,
        "max_undead": UNDEAD,
        "batch_id": batch,
        "client_principal_id": CLIENT,
        "resource_uris": [f"{group}/providers/Microsoft.Storage/storageAccounts/results"],
    }


def count(stack: Stack, number: int, what: str) -> int:
    query = f"SELECT count(*) FROM trial WHERE experiment_id = %s AND {what}"
    return int(sql(stack, query, number)[0][0])


def measures(stack: Stack, number: int) -> Counter[int]:
    query = """SELECT trial_id FROM measure_outcome JOIN trial ON trial.id = trial_id
               WHERE experiment_id = %s"""
    return Counter(trial for (trial,) in sql(stack, query, number))


def test_the_host_was_killed_often_enough(run: Run) -> None:
    assert len(run.crashes.phases) >= LEAST_KILLS


def test_the_fleet_ends_as_without_crashes(run: Run) -> None:
    assert run.phase == run.story.ends


def test_a_repeated_request_finds_the_same_fleet(run: Run) -> None:
    assert set(run.crashes.answers) == {200}


def test_every_vm_is_created_once(run: Run) -> None:
    made = [statuses.count(201) for statuses in run.statuses(VM)]
    assert made == [1] * VMS


@pytest.mark.parametrize("kind", [NIC, VM, ROLE], ids=["nic", "vm", "role"])
def test_a_repeated_put_finds_the_created_resource(run: Run, kind: re.Pattern[str]) -> None:
    later = {status for statuses in run.statuses(kind) for status in statuses[1:]}
    assert later <= {200}


@pytest.mark.parametrize("kind", [NIC, VM, ROLE], ids=["nic", "vm", "role"])
def test_a_put_is_repeated_with_an_identical_body(run: Run, kind: re.Pattern[str]) -> None:
    assert set(run.distinct_bodies(kind)) == {1}


def test_every_role_is_assigned_once(run: Run) -> None:
    made = [statuses.count(201) for statuses in run.statuses(ROLE)]
    assert made == [1] * VMS * ROLES


def test_never_more_vms_than_max_undead_lack_the_role_to_delete_themselves(run: Run) -> None:
    events = [(calls[0]["at"], 1) for calls in run.puts(VM).values()]
    for calls in run.puts(ROLE_AT_VM).values():
        own = [call for call in calls if call["body"]["properties"]["principalId"] != CLIENT]
        events.append((own[0]["answered"], -1))
    without_role = most = 0
    for _, change in sorted(events):
        without_role += change
        most = max(most, without_role)
    assert most <= UNDEAD


def test_every_trial_is_completed_or_open(run: Run) -> None:
    measured = run.story.measured
    assert (run.complete_trials, run.free_trials) == (measured, TRIALS - measured)


def test_no_trial_is_measured_twice(run: Run) -> None:
    assert sorted(run.measures.values()) == [1] * run.story.measured


def test_nothing_is_left_in_azure(run: Run) -> None:
    assert run.left == set()
