"""Stories: a few fleets in one cloud, what goes wrong there, and who interferes when.

A story is drawn by Hypothesis, told on a stack of its own (`tests.telling`), and judged by what came
of it. It is plain data: its repr, pasted into `@example`, tells it again.
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
    """After so many writes to Azure, or so many seconds in which there are fewer."""

    writes: int
    seconds: float


@dataclass(frozen=True)
class Kill:
    """The host is killed a moment after its last start; these fleets are cancelled at the next."""

    when: Moment
    cancels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cast:
    """One fleet of a story."""

    asked: dict[str, Any]
    trials: int
    ends: Literal["work", "cancel", "deadline"]
    """`work`: its trials are completed once it watches, and its VMs then delete themselves."""
    when: Moment = Moment(0, 0.0)
    """Of the cancel; counts the fleet's own writes."""
    cancels: int = 1
    faults: tuple[dict[str, Any], ...] = ()
    evictions: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Story:
    """Fleets that live side by side, and what happens to all of them."""

    fleets: tuple[Cast, ...]
    kills: tuple[Kill, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    seed: int = 0

    def weather(self) -> dict[str, Any]:
        """The plan of all of it; a fleet's own faults strike its own resources alone."""
        own = [
            {"match": f"-{FIRST_BATCH + place}-", **fault}
            for place, cast in enumerate(self.fleets)
            for fault in cast.faults
        ]
        evictions = [
            {"match": f"-{FIRST_BATCH + place}-", **eviction}
            for place, cast in enumerate(self.fleets)
            for eviction in cast.evictions
        ]
        return {"faults": [*own, *self.faults], "evictions": evictions, "quotas": self.quotas}


# Drawing


def _passes(name: str) -> bool:
    """Whether the app tries again what is refused so."""
    entry = AZURE_ERRORS[name]
    row = next(row for row in TABLE if row.matches(entry.code, entry.status, entry.message))
    return row.action in ("wait", "retry")


PASSING = sorted(filter(_passes, AZURE_ERRORS))
LASTING = sorted(AZURE_ERRORS.keys() - set(PASSING))

MAKING = ("vm.put", "nic.put", "role.put")
ENDING = ("vm.delete", "vm.delete.operation", "nic.delete", "disk.delete", "role.delete", "read")
LOOKING = ("vm.list", "nic.list", "disk.list", "role.list", "group.get", "skus", "usages",
           "vnet.get", "vnet.put", "subnet.get", "subnet.put")  # fmt: skip


def _often(*, forever: bool) -> st.SearchStrategy[dict[str, Any]]:
    """When a fault strikes. What is tried again, and what a fleet's end needs, must pass some time."""
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
    # Azure says that a role exists only where it does: the app takes its word for it.
    true = what.filter(lambda one: one["error"] != "RoleAssignmentExists")
    return st.builds(lambda one, when: {**one, **when}, true, _often(forever=forever))


def _lost(operations: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Two in a row: aiohttp itself sends a lost request again."""
    return st.builds(
        lambda on, first: {"on": on, "nth": [first, first + 1], "lost": True},
        st.sampled_from(operations),
        st.integers(1, 6),
    )


def _slow() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda on, seconds, times: {"on": on, "slow": seconds, "times": times},
        st.sampled_from((*MAKING, "vm.boot", "vm.delete")),
        st.sampled_from([30, 200, 600]),
        _few,
    )


def own_faults(*, patient: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Faults of one fleet; `patient`: also such as the app tries to pass by again and again."""
    return st.one_of(
        _errors((*MAKING, "vm.boot"), LASTING, forever=True),
        _errors((*MAKING, "vm.boot"), PASSING, forever=patient),
        _errors(ENDING, [*PASSING, *LASTING], forever=False),
        _lost((*MAKING, "vm.delete", "nic.delete", "role.delete")),
        _slow(),
    )


def _of_the_app(fault: dict[str, Any]) -> dict[str, Any]:
    """The app lists its resource group; our own looks are at the subscription."""
    app_alone = fault["on"] in ("vm.list", "nic.list", "disk.list")
    return {**fault, "match": "/resourceGroups/"} if app_alone else fault


common_faults = st.one_of(
    _errors(LOOKING, PASSING, forever=False),
    _errors(("vm.list", "nic.list", "disk.list", "role.list"), LASTING, forever=False),
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
def casts(draw: st.DrawFn, *, patient: bool) -> Cast:
    """A fleet, its faults, and its end. All have a deadline: it ends what nothing else does."""
    n = draw(st.integers(1, 6))
    keeps = draw(st.integers(0, 4)) == 0
    lifetimes = [6, 12, 25] if patient else [6, 12]
    asked = {
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
    return Cast(
        asked,
        trials=draw(st.integers(1, 8)),
        ends=draw(st.sampled_from(["work", "work", "cancel", "deadline"])),
        when=draw(moments),
        cancels=draw(st.integers(1, 2)),
        faults=tuple(draw(st.lists(own_faults(patient=patient), max_size=3))),
        evictions=tuple(draw(st.lists(evictions, max_size=1))),
    )


@st.composite
def stories(draw: st.DrawFn, *, patient: bool = False) -> Story:
    """A story; one for patient readers may take minutes."""
    cast = tuple(draw(casts(patient=patient)) for _ in range(FLEETS))
    cancelled = [place for place, one in enumerate(cast) if one.ends == "cancel"]
    late = st.lists(st.sampled_from(cancelled), max_size=2) if cancelled else st.just([])
    kills = st.builds(lambda when, who: Kill(when, tuple(who)), moments, late)
    limits = st.fixed_dictionaries({"eastus": st.just({"standardDSv5Family": 20})})
    return Story(
        cast,
        tuple(draw(st.lists(kills, max_size=3))),
        tuple(draw(st.lists(common_faults, max_size=2))),
        draw(st.just({}) | limits),
        draw(st.integers(0, 99)),
    )
