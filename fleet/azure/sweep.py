"""What the sweep deletes: a decision over what stands in a resource group, without any I/O.

The sweep is the third guarantee that nothing outlives its use: it needs no fleet's record. What it
goes by is on the resources themselves, in their tags and in the descriptions of role assignments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from fleet.azure import role_assignments
from fleet.azure.bodies import Body
from fleet.azure.client import RoleAssignment
from fleet.azure.owned_resources import KINDS, Kind, Leftover
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import names

Fate = Literal["alive", "done", "ended", "unknown"]
"""What became of a fleet: `done` ended well, `ended` in any other way, of `unknown` there is no
record any more."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose a resource is."""

    batch_id: int
    owner: str | None = None
    """The deployment that made it; None where nothing says."""
    deadline: datetime | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A resource of ours that stands in Azure."""

    leftover: Leftover
    origin: Origin
    free: bool
    """Whether its deletion can be asked for now: nothing uses it, and nobody deletes it already."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands of ours, and the names of what says so in a way that we cannot read."""

    standing: list[Standing]
    unreadable: list[str]


def survey(
    resources: Mapping[Kind, Sequence[Body]], assignments: Iterable[RoleAssignment], scope: str
) -> Survey:
    """Read a resource group's lists, by kind; `scope` is its ARM id.

    VMs, NICs and OS disks are ours when both name and tags say so: a policy or a person may copy
    tags. An OS disk may lack them, and is then of the same origin as what its batch has left else.
    """
    standing: list[Standing] = []
    unreadable: list[str] = []
    vms = {vm["id"].lower() for vm in resources["machine"]}
    about = {one: role_assignments.described(one.description) for one in assignments}
    found: list[tuple[Leftover, bool, Body | role_assignments.Described]] = [
        ({"kind": kind, "name": body["name"]}, _is_free(kind, body), body)
        for kind, bodies in resources.items()
        for body in bodies
    ]
    found += [
        ({"kind": "assignment", "name": one.name, "scope": one.scope}, not _stands(said, vms), said)
        for one, said in about.items()
        if said is not None and said.machine_id.lower().startswith(f"{scope}/".lower())
    ]
    for leftover, free, source in found:
        try:
            origin = (
                _said(source) if isinstance(source, role_assignments.Described) else _tagged(source)
            )
        except ValueError:
            unreadable.append(leftover["name"])
            continue
        if origin is not None:
            standing.append(Standing(leftover, origin, free))
    return Survey(list(_adopted(standing)), unreadable)


def asked_about(standing: Iterable[Standing], owner: str, now: datetime) -> set[int]:
    """The batches whose fate decides about something."""
    return {
        one.origin.batch_id
        for one in standing
        if one.free and one.origin.owner in (owner, None) and not _is_late(one.origin, now)
    }


def decide(
    standing: Iterable[Standing], fates: Mapping[int, Fate], owner: str, now: datetime
) -> list[Leftover]:
    """What is to be deleted, in the order of KINDS.

    Whatever is past its deadline, whoever made it; and what this deployment (`owner`) made for a
    fleet that lives no more. A batch that `fates` does not hold is taken to be alive.
    """
    chosen = [one for one in standing if one.free and _is_over(one.origin, fates, owner, now)]
    chosen.sort(key=lambda one: KINDS.index(one.leftover["kind"]))
    return [one.leftover for one in chosen]


def _is_over(origin: Origin, fates: Mapping[int, Fate], owner: str, now: datetime) -> bool:
    if _is_late(origin, now):
        return True
    fate = fates.get(origin.batch_id, "alive")
    if origin.owner is None:
        # Nothing but its name and our own record of that batch says that it is ours.
        return fate == "ended"
    if origin.owner != owner or fate == "alive":
        return False
    return not (origin.keep and fate in ("done", "unknown"))


def _is_late(origin: Origin, now: datetime) -> bool:
    return origin.deadline is not None and now >= origin.deadline


def _adopted(standing: Sequence[Standing]) -> Iterator[Standing]:
    """An origin for what has only its name, from others of its batch, where they all agree."""
    known: dict[int, set[Origin]] = {}
    for one in standing:
        if one.origin.owner is not None:
            known.setdefault(one.origin.batch_id, set()).add(replace(one.origin, keep=False))
    kept = {one.origin.batch_id for one in standing if one.origin.keep}
    for one in standing:
        others = known.get(one.origin.batch_id, set())
        if one.origin.owner is None and one.origin.deadline is None and len(others) == 1:
            keep = one.origin.batch_id in kept
            yield replace(one, origin=replace(next(iter(others)), keep=keep))
        else:
            yield one


def _tagged(resource: Body) -> Origin | None:
    """None for what is not ours. Raises ValueError for tags that cannot be read, or are not its own."""
    tags, batch = resource.get("tags") or {}, names.batch_in(resource["name"])
    if names.BATCH_TAG not in tags:
        is_disk = resource["name"].endswith("_osdisk")
        return Origin(batch) if batch is not None and is_disk else None
    if batch is None or tags[names.BATCH_TAG] != str(batch):
        raise ValueError("name and tag do not agree")
    deadline = tags.get(names.DEADLINE_TAG)
    return Origin(
        batch,
        tags.get(names.OWNER_TAG),
        None if deadline is None else _moment(deadline),
        names.KEEP_TAG in tags,
    )


def _said(about: role_assignments.Described) -> Origin:
    """Raises ValueError for a deadline that cannot be read."""
    return Origin(about.batch_id, about.owner, _moment(about.deadline))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment


def _stands(about: role_assignments.Described, vms: Collection[str]) -> bool:
    return about.machine_id.lower() in vms


def _is_free(kind: Kind, resource: Body) -> bool:
    match kind:
        case "nic":
            return not resource["properties"].get("virtualMachine")
        case "disk":
            return not resource.get("managedBy")
        case _:
            return provisioning_state(resource) != "Deleting"
