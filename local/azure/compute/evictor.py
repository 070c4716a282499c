"""Azure takes VMs back: the notice in their metadata, and their end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from email.utils import format_datetime

from local.azure.cloud import Cloud
from local.azure.compute.vm import VirtualMachine
from local.azure.faults import evictions
from local.azure.vm.runner import Machines


class Evictor:
    """Evicts those VMs that the weather plan names. `let_go` removes a VM and what goes with it."""

    def __init__(
        self, cloud: Cloud, machines: Machines, let_go: Callable[[VirtualMachine], None]
    ) -> None:
        self._cloud, self._machines, self._let_go = cloud, machines, let_go
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, vm: VirtualMachine) -> None:
        """Evict a VM that has just come up when its time comes, if it ever does."""
        options = self._cloud.options
        notice = evictions.draw(options.weather.evictions, options.seed, vm.name, spot=vm.is_spot)
        if notice is not None:
            task = asyncio.create_task(self._evict(vm, notice))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Evict nothing any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _evict(self, vm: VirtualMachine, notice: evictions.Notice) -> None:
        clock = self._cloud.clock
        await clock.sleep(notice.after)
        vm.scheduled_events.append(
            {
                "EventId": str(uuid.uuid4()).upper(),
                "EventType": "Preempt",
                "ResourceType": "VirtualMachine",
                "Resources": [vm.name],
                "EventStatus": "Scheduled",
                "NotBefore": format_datetime(clock.ahead(notice.notice), usegmt=True),
                "Description": "",
                "EventSource": "Platform",
                "DurationInSeconds": -1,
            }
        )
        await clock.sleep(notice.notice)
        if vm.state == "Succeeded":
            await self._end(vm)

    async def _end(self, vm: VirtualMachine) -> None:
        """As the eviction policy says; a DELETE that comes meanwhile has the last word."""
        if vm.eviction_policy == "delete":
            vm.state = "Deleting"
            await self._machines.stop(vm)
            self._let_go(vm)
            return
        await self._machines.stop(vm)
        self._cloud.supply.free(vm)
        if vm.state == "Succeeded":
            vm.power = "deallocated"
            vm.touch()
