"""LISTs of a resource group's VMs, shared by the fleets of a process: Azure limits their pages.

Each host lists for itself: what it shares stays in its memory, and decides nothing for another host. A
table in a database would be shared by all, but roles of VMs may be able to write it, and a forged list
would delete VMs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

from fleet.azure import virtual_machines
from fleet.azure.client import Azure
from fleet.model import names


class ListedVm(NamedTuple):
    """What fleets read of a VM: all of its JSON, for 5,000 VMs, would take 60 MB."""

    state: str
    principal_id: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class VmList:
    """One LIST. Azure may have answered its last page later than `began`, but none earlier."""

    began: float
    """By `time.monotonic`."""
    fleets: Mapping[int, Mapping[int, ListedVm]]
    """By batch and ordinal."""
    size: int
    """All VMs of the group."""

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class _Latest:
    began: float
    task: asyncio.Task[VmList]


_latest: WeakKeyDictionary[Azure, _Latest] = WeakKeyDictionary()


async def list_vms(connection: Azure, max_age: float) -> VmList:
    """The latest LIST, ended or not, if it began at most `max_age` seconds ago; else a new one.

    Raises HttpResponseError, to all that wait for the LIST.
    """
    latest, oldest = _latest.get(connection), time.monotonic() - max_age
    if latest is None or latest.began < oldest or _has_failed(latest.task):
        began = time.monotonic()
        latest = _Latest(began, asyncio.create_task(_list(connection, began)))
        _latest[connection] = latest
    # A caller that is cancelled must not cancel the others.
    return await asyncio.shield(latest.task)


def _has_failed(task: asyncio.Task[VmList]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _list(connection: Azure, began: float) -> VmList:
    fleets: dict[int, dict[int, ListedVm]] = {}
    vms = await connection.list_kind("machine")
    for vm in vms:
        if key := names.vm_key("machine", vm["name"]):
            fleets.setdefault(key.batch_id, {})[key.ordinal] = ListedVm(
                virtual_machines.provisioning_state(vm),
                virtual_machines.principal_id(vm),
                virtual_machines.created_at(vm),
            )
    return VmList(began, fleets, len(vms))
