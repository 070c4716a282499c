"""The base of all Microsoft.Network resources: names, and the life cycle of PUT and DELETE."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from functools import partial

from local.azure.arm.calls import Call, Reply
from local.azure.arm.errors import ArmError, invalid_reference
from local.azure.arm.operations import NETWORK_DELETE, NETWORK_PUT, Operations
from local.azure.arm.resources import Json, Resource
from local.azure.cloud import Cloud
from local.azure.faults.azure_errors import azure_error
from local.azure.options import LOCATION

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?")

RESPONSE_SHARE = 0.2
"""The share of a PUT's latency before its response; the rest is the operation's."""


class NetworkProvider:
    """Base class of the Microsoft.Network providers."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        self.cloud, self.operations = cloud, operations

    def render(self, resource: Resource) -> Json:
        """What a GET of the resource returns."""
        return {**resource.body, "etag": resource.etag}

    async def get(self, call: Call) -> Reply:
        resource = self.cloud.store.get(call.target)
        return Reply(200, self.render(resource), {"ETag": resource.etag})

    async def list(self, call: Call) -> Reply:
        """GET of a collection, in a resource group, a subscription, or a parent."""
        return self.cloud.page(call, self.cloud.store.list_collection(call.target), self.render)

    async def wait_for_response(self, kind: str, name: str) -> None:
        """Sleep until the response to a PUT is due."""
        await self.cloud.clock.sleep(self.cloud.latencies.draw(kind, name) * RESPONSE_SHARE)

    def start_put(
        self, call: Call, changed: Iterable[Resource], kind: str, *, created: bool
    ) -> Reply:
        """Respond to a PUT with `Updating`, and start the operation that makes the resources succeed."""
        changed = list(changed)
        main = changed[0]
        rest = self.cloud.latencies.draw(kind, main.name) * (1 - RESPONSE_SHARE)

        def set_state(state: str) -> None:
            for resource in changed:
                resource.properties["provisioningState"] = state
                resource.touch()

        set_state("Updating")
        operation = self.operations.start(
            call,
            self.region(main),
            NETWORK_PUT,
            work=partial(self.cloud.clock.sleep, rest),
            finish=partial(set_state, "Succeeded"),
            failed=lambda _: set_state("Failed"),
        )
        headers = self.operations.headers(operation, call)
        return Reply(201 if created else 200, self.render(main), headers)

    def start_delete(self, call: Call, resource: Resource, delete: Callable[[], None]) -> Reply:
        resource.properties["provisioningState"] = "Deleting"

        def failed(_: ArmError) -> None:
            resource.properties["provisioningState"] = "Failed"

        region = self.region(resource)
        return self.operations.start_delete(
            call, region, NETWORK_DELETE, "network.delete", delete, failed
        )

    def check_reference(self, id_: str, user_id: str, location: str) -> None:
        """Raise ArmError unless a resource exists, in the region of its user and without a PUT in
        progress.
        """
        found = self.cloud.store.find(id_)
        if found is None or self.region(found) != location:
            raise invalid_reference(id_, user_id)
        check_provisioned(found, user_id)

    def region(self, resource: Resource) -> str:
        """The region of a resource, or of its parent."""
        if resource.location:
            return resource.location
        parent = self.cloud.store.find(resource.target.parent)
        return parent.location if parent else LOCATION


def new_body(call: Call, type_: str, body: Json) -> Json:
    """The body of a new resource: the members as sent, plus those that the server adds."""
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
    """Raise ArmError 400 for a name that Microsoft.Network rejects."""
    if not _NAME.fullmatch(name):
        raise ArmError(
            400,
            "InvalidResourceName",
            f"Resource name {name} is invalid. The name can be up to 80 characters long. It must begin "
            "with a word character, and it must end with a word character or with '_'. The name may "
            "contain word characters or '.', '-', '_'.",
        )


def check_provisioned(used: Resource, user_id: str) -> None:
    """A resource whose PUT is in progress cannot be used yet (hashicorp/terraform#7986)."""
    if used.properties["provisioningState"] != "Updating":
        return
    kind = used.target.type.rpartition("/")[2]
    operation = f"Put{kind[:1].upper()}{kind[1:-1]}Operation"
    raise azure_error("RetryableError", subnet=used.id, id=user_id, put_operation=operation)


def reference(properties: Json, member: str) -> str | None:
    """`properties.{member}.id`, or None."""
    return (properties.get(member) or {}).get("id")
