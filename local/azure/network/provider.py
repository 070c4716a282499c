"""What all Microsoft.Network resources have in common: names, the course of a PUT and of a DELETE."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable

from local.azure.arm.calls import Call, Reply
from local.azure.arm.errors import ArmError
from local.azure.arm.operations import NETWORK_DELETE, NETWORK_PUT, Operations
from local.azure.arm.resources import Json, Resource, page
from local.azure.cloud import Cloud

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?")

ANSWER_SHARE = 0.2
"""How much of a PUT's drawn time has passed when it is answered; the rest is the operation's."""


class NetworkProvider:
    """Base of the rooms of Microsoft.Network."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        self.cloud, self.operations = cloud, operations

    def render(self, resource: Resource) -> Json:
        """What a GET of the resource answers."""
        return {**resource.body, "etag": resource.etag}

    async def get(self, call: Call) -> Reply:
        """GET of one resource."""
        resource = self.cloud.store.get(call.target)
        return Reply(200, self.render(resource), {"ETag": resource.etag})

    async def list(self, call: Call) -> Reply:
        """GET of a collection, in a resource group, a subscription, or a parent."""
        items = ((r.target.key, self.render(r)) for r in self.cloud.store.below(call.target))
        request = call.request
        url = f"{request.base}{request.path}"
        return Reply(200, page(items, self.cloud.options.page_size, url, request.query))

    async def answer_wait(self, kind: str, name: str) -> None:
        """The time until a PUT is answered."""
        await self.cloud.clock.sleep(self.cloud.latencies.draw(kind, name) * ANSWER_SHARE)

    def settle(self, call: Call, changed: Iterable[Resource], kind: str, *, created: bool) -> Reply:
        """Answer a PUT with `Updating`; the resources have succeeded when the drawn time is over."""
        changed = list(changed)
        main = changed[0]
        rest = self.cloud.latencies.draw(kind, main.name) * (1 - ANSWER_SHARE)
        for resource in changed:
            resource.properties["provisioningState"] = "Updating"
            resource.touch()

        async def work() -> None:
            await self.cloud.clock.sleep(rest)

        async def finish() -> None:
            set_state("Succeeded")

        def set_state(state: str) -> None:
            for resource in changed:
                resource.properties["provisioningState"] = state
                resource.touch()

        operation = self.operations.start(
            call, self.region(main), NETWORK_PUT,
            work=work, finish=finish, failed=lambda _: set_state("Failed"),
        )  # fmt: skip
        headers = self.operations.headers(operation, call)
        return Reply(201 if created else 200, self.render(main), headers)

    async def remove(self, call: Call, resource: Resource, finish: Callable[[], None]) -> Reply:
        """Answer a DELETE with 202; `finish` acts when the drawn time is over."""
        resource.properties["provisioningState"] = "Deleting"
        seconds = self.cloud.latencies.draw("network.delete", resource.name)

        async def work() -> None:
            await self.cloud.clock.sleep(seconds)

        async def act() -> None:
            finish()

        def stays(_: ArmError) -> None:
            resource.properties["provisioningState"] = "Failed"

        operation = self.operations.start(
            call, self.region(resource), NETWORK_DELETE, work=work, finish=act, failed=stays
        )
        return Reply(202, None, self.operations.headers(operation, call, location=True))

    def region(self, resource: Resource) -> str:
        """The region of a resource, or of what it is part of."""
        if resource.location:
            return resource.location
        parent = self.cloud.store.find(resource.target.parent)
        return parent.location if parent else self.cloud.options.location


def new_body(call: Call, type_: str, body: Json) -> Json:
    """The stored form of a first PUT: the members as sent, and those that the server adds."""
    kept = {k: v for k, v in body.items() if v is not None and k not in ("id", "name", "etag")}
    properties = {
        "provisioningState": "Succeeded",
        "resourceGuid": str(uuid.uuid4()),
        **(body.get("properties") or {}),
    }
    return {
        "name": call.target.name,
        "id": call.target.path,
        **kept,
        "type": type_,
        "properties": properties,
    }


def check_name(name: str) -> None:
    """Raise ArmError 400 for a name that Microsoft.Network refuses."""
    if not _NAME.fullmatch(name):
        raise ArmError(
            400,
            "InvalidResourceName",
            f"Resource name {name} is invalid. The name can be up to 80 characters long. It must begin "
            "with a word character, and it must end with a word character or with '_'. The name may "
            "contain word characters or '.', '-', '_'.",
        )


def reference(properties: Json, member: str) -> str | None:
    """The id under `properties.{member}.id`, or None."""
    return (properties.get(member) or {}).get("id")
