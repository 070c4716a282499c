"""The state that all providers share: clock, latencies, resources, principals, interceptor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from local.azure.arm.calls import Call, Reply
from local.azure.arm.errors import gateway
from local.azure.arm.resources import Json, Store, page
from local.azure.clock import Clock
from local.azure.faults.allocator import Allocator
from local.azure.faults.azure_errors import azure_error
from local.azure.identity.directory import Directory, Identity
from local.azure.latency import Latencies
from local.azure.options import Options

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """A point in the life of an operation at which the interceptor runs.

    `received`: the caller is authenticated. `accepted`: the caller is authorized, and the provider
    handles the request next. `finishing`: a long-running operation is about to succeed.
    """

    stage: Literal["received", "accepted", "finishing"]
    call: Call


Interceptor = Callable[[Checkpoint], Awaitable[None]]
"""Runs at every checkpoint. It may raise ArmError to fail the operation, sleep to delay it, or set
`Request.effects`."""


async def pass_through(checkpoint: Checkpoint) -> None:
    """The interceptor that changes nothing."""


@dataclass(frozen=True)
class Cloud:
    """The simulated cloud's state."""

    options: Options
    clock: Clock
    latencies: Latencies
    store: Store
    identity: Identity
    directory: Directory
    allocator: Allocator
    intercept: Interceptor = pass_through

    async def wait(self, kind: str, name: str) -> None:
        """Sleep for the simulated time that `kind` takes for `name`."""
        await self.clock.sleep(self.latencies.draw(kind, name))

    @property
    def subscription_scope(self) -> str:
        return f"/subscriptions/{self.identity.subscription_id}"

    def page(
        self, call: Call, items: Iterable[tuple[str, T]], render: Callable[[T], Json]
    ) -> Reply:
        """The page of a list that the request asks for. `items` are ordered by key; only those on the
        page are rendered.
        """
        request = call.request
        url = f"{request.base}{request.path}"
        return Reply(200, page(items, render, self.options.page_size, url, request.query))

    def check_group(self, subscription: str | None, group: str | None) -> None:
        """Raise ArmError 404 when the subscription or the resource group does not exist."""
        if subscription is None or subscription.lower() != self.identity.subscription_id:
            text = f"The subscription '{subscription}' could not be found."
            raise gateway(404, "SubscriptionNotFound", text)
        if group is None:
            return
        if self.store.find(f"{self.subscription_scope}/resourceGroups/{group}") is None:
            raise azure_error("ResourceGroupNotFound", group=group)
