"""What every room shares: time, latencies, resources, principals, operations, and the gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from local.azure.arm.calls import Call
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.faults.allocator import Supply
from local.azure.identity.directory import Directory, Identity
from local.azure.latency import Latencies
from local.azure.options import Options


@dataclass(frozen=True)
class Passage:
    """An operation at the gate.

    `arrive`: its caller is known, and nothing else; `accept`: it may be asked for, and is worked on
    next; `finish`: a long-running one is about to succeed.
    """

    phase: Literal["arrive", "accept", "finish"]
    call: Call


Gate = Callable[[Passage], Awaitable[None]]
"""Every operation passes here, when it is asked for and (if it is long-running) when it is about to
succeed. To let it fail, raise ArmError; to slow it down, wait; for more, see `Request.marks`."""


async def open_gate(passage: Passage) -> None:
    """The gate of a cloud in which nothing goes wrong."""


@dataclass(frozen=True)
class Cloud:
    """The simulated cloud's state."""

    options: Options
    clock: Clock
    latencies: Latencies
    store: Store
    identity: Identity
    directory: Directory
    supply: Supply
    gate: Gate = open_gate

    async def wait(self, kind: str, name: str) -> None:
        """Let the time pass that `kind` takes for `name`."""
        await self.clock.sleep(self.latencies.draw(kind, name))

    @property
    def subscription_scope(self) -> str:
        """`/subscriptions/{id}`."""
        return f"/subscriptions/{self.identity.subscription_id}"

    def check_group(self, subscription: str | None, group: str | None) -> None:
        """Raise ArmError 404 when the subscription or the resource group does not exist."""
        if subscription is None or subscription.lower() != self.identity.subscription_id:
            raise ArmError(
                404,
                "SubscriptionNotFound",
                f"The subscription '{subscription}' could not be found.",
                cause="gateway",
            )
        if group is None:
            return
        if self.store.find(f"{self.subscription_scope}/resourceGroups/{group}") is None:
            raise ArmError(
                404,
                "ResourceGroupNotFound",
                f"Resource group '{group}' could not be found.",
                cause="gateway",
            )
