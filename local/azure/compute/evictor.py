"""Evicts VMs: announces the eviction in their metadata, then applies the eviction policy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from email.utils import format_datetime

from local.azure.cloud import Cloud
from local.azure.compute.vm import VirtualMachine
from local.azure.faults import evictions
from local.azure.vm.runner import VmRunner


class Evictor:
    """Evicts VMs as the fault plan says. `remove` deletes a VM and its dependent resources."""

    def __init__(
        self, cloud: Cloud, runner: VmRunner, remove: Callable[[VirtualMachine], None]
    ) -> None:
        self._cloud, self._runner, self._remove = cloud, runner, remove
        self._tasks: set[asyncio.Task[None]] = set()

    def schedule(self, vm: VirtualMachine) -> None:
        """Schedule the eviction of a VM that has just started running, if there is one."""
        options = self._cloud.options
        notice = evictions.draw(
            options.fault_plan.evictions, options.seed, vm.name, spot=vm.is_spot
        )
        if notice is not None:
            task = asyncio.create_task(self._evict(vm, notice))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
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
                "NotBefore": format_datetime(clock.wall_time_after(notice.notice), usegmt=True),
                "Description": "",
                "EventSource": "Platform",
                "DurationInSeconds": -1,
            }
        )
        await clock.sleep(notice.notice)
        if vm.state == "Succeeded":
            await self._apply_policy(vm)

    async def _apply_policy(self, vm: VirtualMachine) -> None:
        """Delete or deallocate the VM. A concurrent DELETE takes precedence."""
        if vm.eviction_policy == "delete":
            vm.state = "Deleting"
            await self._runner.stop(vm)
            self._remove(vm)
            return
        await self._runner.stop(vm)
        self._cloud.allocator.release(vm)
        if vm.state == "Succeeded":
            vm.power = "deallocated"
            vm.touch()
