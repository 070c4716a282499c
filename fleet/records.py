"""What travels between orchestrators and activities: plain JSON objects, small and without secrets.

Durable Functions keeps all of it in a history, so every member here is written many times.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from fleet.request import FleetRequest, scopes_of
from fleet.settings import Settings

Action = Literal["succeed", "wait", "retry", "fail_machine", "fail_fleet"]


class Failure(TypedDict):
    """One thing that went wrong: Azure's code and words, what we do about it, what a user can do."""

    code: str
    message: str
    action: Action
    advice: str
    retry_after: float | None
    """Seconds that Azure asked us to wait, when it said so."""


class Order(TypedDict):
    """A fleet as it was asked for, and, once planned, as it will be made. Secrets only in `sealed`."""

    batch_id: int
    experiment_id: int
    n_instances: int
    min_instances: int
    max_undead: int
    timeout: float | None
    delete_on_complete: bool
    resource_uris: list[str]
    subscription_id: str
    resource_group: str
    tenant_id: str | None
    client_id: str | None
    client_principal_id: str | None
    client_principal_type: str
    location: str | None
    vm: dict[str, Any]
    outbound: str
    subnet_id: str | None
    ssh_public_key: str | None
    tags: dict[str, str]
    max_lifetime: float
    observe_seconds: float
    watch_seconds: float
    sealed: str
    fingerprint: str
    created_at: NotRequired[str]
    deadline: NotRequired[str]


class Machine(TypedDict):
    """One VM as the orchestrator knows it."""

    ordinal: int
    name: str
    created_at: str
    """When Azure accepted the VM (`properties.timeCreated`), ISO 8601."""
    principal_id: str | None
    assigned: list[int]
    """Which of the VM's role assignments stand, by their place in `grants.of_machine`."""
    settled: bool
    """Whether nothing is left to assign: every role stands, or was given up."""
    refusal: Failure | None
    """Why the last try left a role unassigned."""
    tries: int
    next_try: str | None
    """When its missing roles are to be sent again, ISO 8601; None: at once."""
    state: Literal["creating", "running", "failed", "gone"]


class Trials(TypedDict):
    """How many of an experiment's trials are where."""

    total: int
    ready: int
    running: int
    complete: int
    error: int


def order_of(request: FleetRequest, settings: Settings, batch_id: int) -> dict[str, Any]:
    """A request and the deployment's settings as one order; `sealed` and `fingerprint` still empty.

    The caller has checked that subscription, resource group and database are known.
    """
    account = request.azure_json
    order: Order = {
        "batch_id": batch_id,
        "experiment_id": request.experiment_id,
        "n_instances": request.n_instances,
        "min_instances": request.min_instances,
        "max_undead": request.max_undead,
        "timeout": request.timeout,
        "delete_on_complete": request.delete_on_complete,
        "resource_uris": scopes_of(request),
        "subscription_id": account.subscription_id or settings.subscription_id or "",
        "resource_group": account.resource_group or settings.resource_group or "",
        "tenant_id": account.tenant_id,
        "client_id": account.client_id,
        # The seed's rule. Azure wants an object id here, so client_principal_id is the better way.
        "client_principal_id": request.client_principal_id or account.client_id,
        "client_principal_type": request.client_principal_type,
        "location": request.location,
        "vm": {
            "size": request.vm_size,
            "image": {
                "publisher": request.image_publisher,
                "offer": request.image_offer,
                "sku": request.image_sku,
                "version": request.image_version,
            },
            "disk_type": request.disk_type,
            "zones": list(request.zones),
            "priority": request.priority,
            "max_price": request.max_price,
            "ephemeral_os_disk": request.ephemeral_os_disk,
        },
        "outbound": request.outbound,
        "subnet_id": request.subnet_id,
        "ssh_public_key": request.ssh_public_key,
        "tags": dict(request.tags),
        "max_lifetime": request.max_lifetime,
        "observe_seconds": settings.observe_seconds,
        "watch_seconds": settings.watch_seconds,
        "sealed": "",
        "fingerprint": "",
    }
    return dict(order)
