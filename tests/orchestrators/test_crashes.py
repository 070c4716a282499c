"""Hosts are repeatedly killed with SIGKILL: each fleet ends as without crashes.

With one host, and with several on one task hub: equal ones, or split by role as Flex Consumption does.

A kill follows a seeded number of requests to Azure, where a crash can duplicate something, or
after some seconds in which there are fewer: so they hit every phase, on a fast machine or a slow one.

These take minutes; test_property.py has a shorter scenario with kills.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import TERMINAL, VISIBILITY_TIMEOUT, Api, all_resource_ids, sql
from tests.trials import SMALL_RUNNER, packages_at_hand, real_experiment, trials_held
from tests.vm_calls import NIC, ROLE, VM, VmCalls

VMS, TRIALS, UNDEAD = 3, 4, 2
CLIENT = "11111111-2222-4333-8444-555555555555"
SETTINGS = {"FLEET_ALLOWED_PRINCIPALS": CLIENT}
ROLES = 3
"""Of one VM: its own at itself and at a storage account, and the client user's."""

LONGEST_RUN = 150.0
"""Seconds; on two cores a run takes a third of them."""

FAULTS = [
    {"on": "nic.put", "probability": 0.4, "lost": True},
    {"on": "vm.put", "probability": 0.4, "lost": True},
    {"on": "vm.put", "probability": 0.2, "error": "SubscriptionRequestsThrottled"},
    {"on": "role.put", "probability": 0.4, "lost": True},
    {"on": "vm.delete", "probability": 0.4, "lost": True},
]
"""None of them replaces a VM."""


@dataclass(frozen=True)
class Story:
    """A fleet to crash: when, its expected end, and how many of its trials are measured by then."""

    stack: str
    ends: str
    measured: int
    least_kills: int = 4


FINISHED = Story("working_stack", "done", TRIALS)
CANCELLED = Story("idle_stack", "cancelled", 0)
# The other hosts continue the fleet while one restarts.
ON_TWO_HOSTS = Story("two_hosts", "done", TRIALS, least_kills=2)
SPLIT_BY_ROLE = Story("split_hosts", "cancelled", 0, least_kills=3)

STORIES = [
    pytest.param((story, seed), id=f"{story.stack}-{seed}", marks=pytest.mark.long)
    for stories, seeds in [
        ((FINISHED, CANCELLED), range(2, 15)),
        ((ON_TWO_HOSTS, SPLIT_BY_ROLE), range(20, 23)),
    ]
    for seed in seeds
    for story in stories
]


@dataclass
class Crashes:
    """Kills one of a fleet's hosts and starts it again, at moments that a seed decides."""

    stack: Stack
    request: dict[str, Any]
    rng: random.Random
    phases: list[str] = field(default_factory=list)
    """What the fleet was at when a host was killed."""
    answers: list[int] = field(default_factory=list)
    """To the client that asks for the same fleet again after each crash."""

    def until(self, *phases: str) -> str:
        """Crash hosts until the fleet is in one of the phases; returns which."""
        deadline = time.monotonic() + LONGEST_RUN
        while (phase := self._phase_after_a_while()) not in phases:
            assert time.monotonic() < deadline, f"still {phase} after kills in {self.phases}"
            self.stack.kill_host(self.rng.choice(self.stack.host_numbers))
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
    azure: VmCalls
    left: set[str]
    free_trials: int
    complete_trials: int
    measures: Counter[int]
    """By trial."""


def crashing(state: Path, **options: Any) -> Stack:
    """A stack on which a simulated minute takes 1.2 s."""
    return Stack(
        state,
        time_scale=0.02,
        visibility_timeout=VISIBILITY_TIMEOUT,
        app_settings=SETTINGS,
        **options,
    )


@contextmanager
def working(factory: pytest.TempPathFactory, **options: Any) -> Iterator[Stack]:
    """A stack whose VMs run trials and delete themselves."""
    # The packages come first: the stack passes their cache to its VMs.
    with (
        packages_at_hand(factory.mktemp("packages")),
        crashing(factory.mktemp("working"), **options) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def working_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with working(tmp_path_factory) as stack:
        yield stack


@pytest.fixture(scope="module")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with simulated VMs without processes, which never complete."""
    with crashing(tmp_path_factory.mktemp("idle_stack"), machines="none") as stack:
        yield stack


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Each host runs the whole app."""
    with working(tmp_path_factory, hosts=["", ""], faults={"faults": FAULTS}) as stack:
        yield stack


@pytest.fixture(scope="module")
def split_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Hosts as in Flex Consumption, with two for Durable Functions."""
    roles = ["http", "durable", "durable", "triggers"]
    state, faults = tmp_path_factory.mktemp("split_hosts"), {"faults": FAULTS}
    with crashing(state, hosts=roles, machines="none", faults=faults) as stack:
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
    if story.ends == "cancelled":
        Api(stack).delete(fleet_id)
    phase = crashes.until(*TERMINAL)
    return Run(
        story,
        crashes,
        phase,
        VmCalls(stack.wire()[begin:], CLIENT),
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
    assert len(run.crashes.phases) >= run.story.least_kills


def test_the_fleet_ends_as_without_crashes(run: Run) -> None:
    assert run.phase == run.story.ends


def test_a_repeated_request_finds_the_same_fleet(run: Run) -> None:
    assert set(run.crashes.answers) == {200}


def test_every_vm_is_created_once(run: Run) -> None:
    assert run.azure.created(VM) == [1] * VMS


@pytest.mark.parametrize("kind", [NIC, VM, ROLE], ids=["nic", "vm", "role"])
def test_a_repeated_put_finds_the_created_resource(run: Run, kind: re.Pattern[str]) -> None:
    assert run.azure.repeated(kind) <= {200}


@pytest.mark.parametrize("kind", [NIC, VM, ROLE], ids=["nic", "vm", "role"])
def test_a_put_is_repeated_with_an_identical_body(run: Run, kind: re.Pattern[str]) -> None:
    assert set(run.azure.distinct_bodies(kind)) == {1}


def test_every_role_is_assigned_once(run: Run) -> None:
    assert run.azure.created(ROLE) == [1] * VMS * ROLES


def test_never_more_vms_than_max_undead_lack_the_role_to_delete_themselves(run: Run) -> None:
    assert run.azure.most_without_role() <= UNDEAD


def test_roles_are_assigned_in_order_of_creation(run: Run) -> None:
    assert run.azure.most_overtaking() < UNDEAD, "more than those of one fan-out"


def test_every_trial_is_completed_or_open(run: Run) -> None:
    measured = run.story.measured
    assert (run.complete_trials, run.free_trials) == (measured, TRIALS - measured)


def test_no_trial_is_measured_twice(run: Run) -> None:
    assert sorted(run.measures.values()) == [1] * run.story.measured


def test_nothing_is_left_in_azure(run: Run) -> None:
    assert run.left == set()
