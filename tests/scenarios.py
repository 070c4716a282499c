"""Scenarios: a few fleets in one simulated Azure, with its faults, host kills and cancels.

Hypothesis draws a scenario, `tests.scenario_runner` runs it on a separate stack, and a test checks the
result. A scenario is plain data: paste its repr into `@example` to repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from fleet.azure.error_table import TABLE
from local.azure.faults.azure_errors import AZURE_ERRORS

FLEETS = 6
FIRST_BATCH = 8001
CLIENT = "11111111-2222-4333-8444-555555555555"
SIZES = ["Standard_D2s_v5", "Standard_D4s_v5", "Standard_E2s_v5"]


@dataclass(frozen=True)
class Moment:
    """After this many writes to Azure, or after this many seconds if there are fewer."""

    writes: int
    seconds: float


@dataclass(frozen=True)
class Kill:
    """Kill the host a moment after its last start, and cancel these fleets after the next start."""

    when: Moment
    cancels: tuple[int, ...] = ()


@dataclass(frozen=True)
class FleetSpec:
    """One fleet of a scenario."""

    request: dict[str, Any]
    trials: int
    ends: Literal["work", "cancel", "deadline"]
    """`work`: its trials complete in phase `run`, and its VMs then delete themselves."""
    when: Moment = Moment(0, 0.0)
    """The time of the cancel; counts only the fleet's writes."""
    cancels: int = 1
    faults: tuple[dict[str, Any], ...] = ()
    evictions: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Concurrent fleets, and what happens to all of them."""

    fleets: tuple[FleetSpec, ...]
    kills: tuple[Kill, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    seed: int = 0

    def fault_plan(self) -> dict[str, Any]:
        """The simulator's fault plan. A fleet's own faults affect only its own resources."""
        own = [
            {"match": f"-{FIRST_BATCH + index}-", **fault}
            for index, spec in enumerate(self.fleets)
            for fault in spec.faults
        ]
        evictions = [
            {"match": f"-{FIRST_BATCH + index}-", **eviction}
            for index, spec in enumerate(self.fleets)
            for eviction in spec.evictions
        ]
        return {"faults": [*own, *self.faults], "evictions": evictions, "quotas": self.quotas}


# Drawing


def _is_retried(name: str) -> bool:
    """Whether the app retries this error."""
    entry = AZURE_ERRORS[name]
    row = next(row for row in TABLE if row.matches(entry.code, entry.status, entry.message))
    return row.action in ("wait", "retry")


RETRIED = sorted(filter(_is_retried, AZURE_ERRORS))
PERMANENT = sorted(AZURE_ERRORS.keys() - set(RETRIED))

CREATES = ("vm.put", "nic.put", "role.put")
DELETES = ("vm.delete", "vm.delete.operation", "nic.delete", "disk.delete", "role.delete", "read")
READS = ("vm.list", "nic.list", "disk.list", "role.list", "group.get", "skus", "usages",
           "vnet.get", "vnet.put", "subnet.get", "subnet.put")  # fmt: skip


def _often(*, forever: bool) -> st.SearchStrategy[dict[str, Any]]:
    """When a fault occurs. Faults of retried calls, and of calls in a teardown, must end."""
    nth = st.lists(st.integers(1, 6), min_size=1, max_size=2, unique=True).map(sorted)
    some = st.fixed_dictionaries({"probability": st.sampled_from([0.3, 0.7]), "times": _few})
    first = st.fixed_dictionaries({"times": _few})
    every = st.fixed_dictionaries({"probability": st.sampled_from([0.3, 0.7, 1.0])})
    bounded = st.fixed_dictionaries({"nth": nth}) | some | first
    return bounded | every if forever else bounded


_few = st.integers(1, 3)


def _errors(operations: tuple[str, ...], names: list[str], *, forever: bool) -> Any:
    what = st.fixed_dictionaries(
        {"on": st.sampled_from(operations), "error": st.sampled_from(names)}
    )
    # Azure reports RoleAssignmentExists only if the role exists, and the app relies on it.
    possible = what.filter(lambda one: one["error"] != "RoleAssignmentExists")
    return st.builds(lambda one, when: {**one, **when}, possible, _often(forever=forever))


def _lost(operations: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Two in a row: aiohttp retries one lost request itself."""
    return st.builds(
        lambda on, first: {"on": on, "nth": [first, first + 1], "lost": True},
        st.sampled_from(operations),
        st.integers(1, 6),
    )


def _slow() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda on, seconds, times: {"on": on, "slow": seconds, "times": times},
        st.sampled_from((*CREATES, "vm.boot", "vm.delete")),
        st.sampled_from([30, 200, 600]),
        _few,
    )


def own_faults(*, long: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Faults of one fleet. `long`: also faults that the app retries for minutes."""
    return st.one_of(
        _errors((*CREATES, "vm.boot"), PERMANENT, forever=True),
        _errors((*CREATES, "vm.boot"), RETRIED, forever=long),
        _errors(DELETES, [*RETRIED, *PERMANENT], forever=False),
        _lost((*CREATES, "vm.delete", "nic.delete", "role.delete")),
        _slow(),
    )


def _of_the_app(fault: dict[str, Any]) -> dict[str, Any]:
    """The app lists its resource group; the scenario runner lists the subscription."""
    app_alone = fault["on"] in ("vm.list", "nic.list", "disk.list")
    return {**fault, "match": "/resourceGroups/"} if app_alone else fault


common_faults = st.one_of(
    _errors(READS, RETRIED, forever=False),
    _errors(("vm.list", "nic.list", "disk.list", "role.list"), PERMANENT, forever=False),
    _lost(("vm.list", "vnet.put", "subnet.put")),
).map(_of_the_app)
moments = st.builds(Moment, st.integers(0, 60), st.sampled_from([1.0, 3.0, 6.0, 12.0]))

_differences = st.fixed_dictionaries(
    {},
    optional={
        "location": st.sampled_from(["eastus2", "westus"]),
        "zone": st.sampled_from(["1", "2"]),
        "vm_size": st.sampled_from(SIZES),
        "priority": st.sampled_from(["Regular", "Spot"]),
    },
).filter(bool)


@st.composite
def fleet_specs(draw: st.DrawFn, *, long: bool) -> FleetSpec:
    """A fleet, its faults and its end. Every fleet has a deadline, which always ends it."""
    n = draw(st.integers(1, 6))
    keeps = draw(st.integers(0, 4)) == 0
    lifetimes = [6, 12, 25] if long else [6, 12]
    request = {
        "n_instances": n,
        "max_undead": draw(st.integers(1, 4)),
        "min_instances": draw(st.sampled_from([1, 1, n])),
        "vm_size": draw(st.sampled_from(SIZES)),
        "zones": draw(st.lists(st.sampled_from(["1", "2", "3"]), unique=True, max_size=2)),
        "priority": draw(st.sampled_from(["Regular", "Spot"])),
        "fallbacks": draw(st.lists(_differences, max_size=2)),
        "resource_uris": draw(st.sampled_from([[], ["results"]])),
        "client_principal_id": draw(st.sampled_from([None, CLIENT])),
        "max_lifetime": draw(st.sampled_from([10] if keeps else lifetimes)),
        "delete_on_complete": not keeps,
    }
    evictions = st.fixed_dictionaries(
        {"within": st.just([0, 600]), "share": st.sampled_from([0.3, 1.0]), "notice": st.just(5)}
    )
    return FleetSpec(
        request,
        trials=draw(st.integers(1, 8)),
        ends=draw(st.sampled_from(["work", "work", "cancel", "deadline"])),
        when=draw(moments),
        cancels=draw(st.integers(1, 2)),
        faults=tuple(draw(st.lists(own_faults(long=long), max_size=3))),
        evictions=tuple(draw(st.lists(evictions, max_size=1))),
    )


@st.composite
def scenarios(draw: st.DrawFn, *, long: bool = False) -> Scenario:
    """A scenario. A long one may take minutes."""
    specs = tuple(draw(fleet_specs(long=long)) for _ in range(FLEETS))
    cancelled = [index for index, spec in enumerate(specs) if spec.ends == "cancel"]
    late = st.lists(st.sampled_from(cancelled), max_size=2) if cancelled else st.just([])
    kills = st.builds(lambda when, fleets: Kill(when, tuple(fleets)), moments, late)
    limits = st.fixed_dictionaries({"eastus": st.just({"standardDSv5Family": 20})})
    return Scenario(
        specs,
        tuple(draw(st.lists(kills, max_size=3))),
        tuple(draw(st.lists(common_faults, max_size=2))),
        draw(st.just({}) | limits),
        draw(st.integers(0, 99)),
    )
