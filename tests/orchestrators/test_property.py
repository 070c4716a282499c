"""Whatever goes wrong, and whoever interferes: what a fleet promises holds.

Stories are drawn (`tests.stories`): fleets side by side, faults of Azure, kills of the host, cancels.
CI tells the same few each time. `-m long` tells other ones, and makes the first that breaks a promise
shorter; what it prints can be pasted into an `@example`.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings

from tests.harness import TERMINAL
from tests.stories import CLIENT, SIZES, Cast, Moment, Story, stories
from tests.telling import Fate, Told, own_roles, tell

LATE = 25.0
"""Simulated seconds: above what Azure takes for any request on a good day."""

PLAIN: dict[str, Any] = {
    "n_instances": 1,
    "max_undead": 1,
    "min_instances": 1,
    "vm_size": SIZES[0],
    "resource_uris": ["results"],
    "client_principal_id": CLIENT,
    "max_lifetime": 6,
    "delete_on_complete": True,
}
FEWER_TRIALS = Story((Cast({**PLAIN, "n_instances": 2, "min_instances": 2}, 1, "work"),))
"""Than min_instances: the fleet failed for VMs that it never asked for."""
LATE_ROLE: tuple[dict[str, Any], ...] = (
    {"on": "role.put", "nth": [2], "slow": 600},
    {"on": "role.put", "nth": [1], "error": "PrincipalNotFound"},
)
CANCELLED_OVER_ITS_DEADLINE = Story(
    (
        Cast(
            {**PLAIN, "resource_uris": [], "client_principal_id": None},
            1,
            "cancel",
            Moment(99, 5.0),
            faults=LATE_ROLE,
        ),
    )
)
"""The deadline passed while Azure took its time, after the cancel: the fleet said failed."""

CALM = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def what_is_left(told: Told) -> Iterator[str]:
    """No resource without a living fleet, once the deadline and two sweeps have passed."""
    if told.left:
        yield f"still there after all deadlines and two sweeps: {sorted(told.left)}"


def what_an_end_left(fate: Fate) -> Iterator[str]:
    """A fleet that has ended has deleted all of it, or says that it has not; or it keeps its VMs.

    What Azure makes minutes late, for a host that is dead by then, is left to the sweep.
    """
    keeps = fate.phase == "done" and not fate.cast.asked["delete_on_complete"]
    reported = any(group["code"] == "LeftBehind" for group in fate.shown["failures"])
    late = {c["path"].lower() for c in fate.calls if fate.kills and c["answered"] - c["at"] > LATE}
    left = {one for one in fate.left if not one.startswith(tuple(late))}
    if left and not keeps and not reported:
        yield f"ended as {fate.phase} and left {sorted(left)}"


def two_identities(fate: Fate) -> Iterator[str]:
    """The roles at a VM are its own identity's, and nobody else's."""
    for vm, principals in own_roles(fate.calls).items():
        seen = fate.identities.get(vm, principals)
        if len(principals) > 1 or principals != seen:
            yield f"{vm} is {sorted(seen)}, and roles at it are of {sorted(principals)}"


def running_without_role(fate: Fate) -> Iterator[str]:
    """Once a fleet watches, each VM that ran before has its role, or is being deleted."""
    calls = fate.calls_until_watch
    if calls is None:
        return
    deleted = {c["path"].rpartition("/")[2] for c in calls if c["method"] == "DELETE"}
    for vm in sorted(fate.ran_until_watch - own_roles(calls).keys() - deleted):
        yield f"{vm} ran, and had no role when its fleet went on to watch"


def other_bodies(fate: Fate) -> Iterator[str]:
    """No PUT is repeated with another body. Secrets are compared by their digests."""
    bodies: dict[str, set[str]] = defaultdict(set)
    for call in fate.calls:
        if call["method"] == "PUT":
            bodies[call["path"].lower()].add(json.dumps(call["body"], sort_keys=True))
    for path, different in bodies.items():
        if len(different) > 1:
            yield f"{path} was PUT with {len(different)} bodies: {sorted(different)}"


def unexplained(fate: Fate) -> Iterator[str]:
    """Every VM that was wanted is there, has ended by itself, or is missing for a told reason."""
    if fate.phase == "cancelled":
        return
    shown, missing = fate.shown, fate.shown["missing"]
    there = [one for one in fate.machines if one["failure"] is None]
    wanted = shown["machines"]["wanted"]
    if wanted != len(there) + sum(missing.values()):
        states = Counter(
            (one["state"], (one["failure"] or {}).get("code")) for one in fate.machines
        )
        yield f"{wanted} wanted, {len(there)} were there, missing {missing}: {states}"
    told = {group["code"] for group in shown["failures"]} | {(shown["reason"] or {}).get("code")}
    told = (told | {"NoTrialsLeft"}) - {"TooFewMachines"}  # which says no more than the number does
    for code in missing.keys() - told:
        yield f"missing for {code}, of which nothing is told"


def endless(fate: Fate) -> Iterator[str]:
    """The orchestration always ends, and by itself."""
    if fate.phase not in TERMINAL or fate.runtime != "Completed":
        yield f"is {fate.phase}, and its instance {fate.runtime}"


def no_for_an_answer(fate: Fate) -> Iterator[str]:
    """A cancel is taken at any moment, however often."""
    if set(fate.answers) - {202}:
        yield f"answered {fate.answers} to DELETE"


def not_cancelled(fate: Fate) -> Iterator[str]:
    """A fleet that was cancelled says so, unless it was at its end already."""
    alive = [phase for phase in fate.cancelled_in if phase not in ("teardown", *TERMINAL)]
    if alive and fate.phase != "cancelled":
        yield f"was cancelled in {alive} and ended as {fate.phase}: {fate.shown['reason']}"


OF_A_FLEET = (
    endless,
    no_for_an_answer,
    not_cancelled,
    what_an_end_left,
    two_identities,
    running_without_role,
    other_bodies,
    unexplained,
)


def broken_promises(told: Told) -> list[str]:
    """A line for each promise that was not kept."""
    found = [f"{what_is_left.__name__}: {text}" for text in what_is_left(told)]
    for fate in told.fates:
        for promise in OF_A_FLEET:
            found += [f"{promise.__name__}: {fate.id} {text}" for text in promise(fate)]
    return found


def kept(story: Story) -> None:
    with tempfile.TemporaryDirectory(prefix="story-") as state:
        told = tell(story, Path(state))
    for fate in told.fates:
        note(f"{fate.id}: {fate.phase} {summary(fate)}")
    broken = broken_promises(told)
    assert not broken, "\n".join(broken)


def summary(fate: Fate) -> dict[str, Any]:
    members = ("machines", "missing", "reason", "failures")
    return {name: fate.shown[name] for name in members}


@pytest.mark.slow
@settings(CALM, max_examples=2, derandomize=True, phases=[Phase.generate])
@given(story=stories())
def test_promises_are_kept(story: Story) -> None:
    kept(story)


@pytest.mark.long
@settings(CALM, max_examples=40)
@given(story=stories(patient=True))
@example(story=FEWER_TRIALS)
@example(story=CANCELLED_OVER_ITS_DEADLINE)
def test_promises_are_kept_in_many_stories(story: Story) -> None:
    kept(story)
