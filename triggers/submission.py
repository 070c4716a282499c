"""What both doors share: one request becomes one fleet, however often it is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet import telemetry
from fleet.api.instance_status import order_in
from fleet.api.order_builder import build_order
from fleet.api.request import Fault, FleetRequest, InvalidRequest, batch_id_of, parse, uri_faults
from fleet.api.responses.plan import Plan
from fleet.azure.credentials import connect
from fleet.model import names
from fleet.preflight.plan import preview
from fleet.secrets import Seal
from fleet.settings import Settings
from triggers.durable_client import RUN_FLEET, TaskHubUnavailable, find, task_hub


class BatchTaken(Exception):
    """The batch id already names a fleet that was asked for in other words."""

    def __init__(self, batch_id: int) -> None:
        super().__init__(
            f"Batch {batch_id} is another request's. Repeat that request as it was, or leave "
            "batch_id out to get a new one."
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """A fleet that exists now; `created` says whether this very call made it."""

    id: str
    batch_id: int
    created: bool


async def submit(client: Any, document: Any, idempotency_key: str | None) -> Accepted:
    """Start the fleet that a request asks for, unless it is there already.

    Raises InvalidRequest (with every fault), BatchTaken, SettingsError, SealBroken, TaskHubUnavailable.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    batch_id = batch_id_of(request, idempotency_key)
    instance = names.instance_id(batch_id)
    seal = Seal(settings.sealing_keys)
    fingerprints = seal.fingerprints(_plain(request, batch_id))
    if await _repeats(client, instance, batch_id, fingerprints):
        return Accepted(instance, batch_id, created=False)
    order = build_order(request, settings, batch_id)
    order |= {"sealed": seal.close(_secrets(request)), "fingerprint": fingerprints[0]}
    try:
        with task_hub():
            await client.start_new(RUN_FLEET, instance, order)
    except TaskHubUnavailable:
        # Somebody else may have started it between our look and our start: the host refuses two.
        if await _repeats(client, instance, batch_id, fingerprints):
            return Accepted(instance, batch_id, created=False)
        raise
    extra = {"event": "fleet.asked", "fleet": instance}
    text, told = "Asked for %d VMs for experiment %d", (request.n_instances, request.experiment_id)
    telemetry.LOG.info(text, *told, extra=extra)
    return Accepted(instance, batch_id, created=True)


async def plan(document: Any) -> Plan:
    """What a fleet of this request would meet: `preflight.plan.preview`. Starts and stores nothing.

    Raises InvalidRequest (with every fault), SettingsError.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    order: Any = build_order(request, settings, batch_id_of(request, None))
    secrets = _secrets(request)
    connection = connect(order, settings, secrets.get("client_secret"))
    uri = secrets.get("uri") or settings.database_uri or ""
    return await preview(connection, uri, order)


async def _repeats(client: Any, instance: str, batch_id: int, fingerprints: list[str]) -> bool:
    """Whether the fleet is there already. Raises BatchTaken when it is another request's."""
    status = await find(client, instance)
    if status is None:
        return False
    if order_in(status["input"])["fingerprint"] not in fingerprints:
        raise BatchTaken(batch_id)
    return True


def _complete(request: FleetRequest, settings: Settings) -> None:
    """Refuse what neither the request nor the settings say."""
    account = request.azure_json
    needed = [
        ("/uri", request.uri or settings.database_uri, "POWERLIFT_DB_URI"),
        (
            "/azure_json/subscription_id",
            account.subscription_id or settings.subscription_id,
            "AZURE_SUBSCRIPTION_ID",
        ),
        (
            "/azure_json/resource_group",
            account.resource_group or settings.resource_group,
            "AZURE_RESOURCE_GROUP",
        ),
    ]
    faults = [
        Fault(pointer, f"Neither the request nor the setting {setting} says this.")
        for pointer, value, setting in needed
        if not value
    ]
    if not request.uri:
        faults += uri_faults(settings.database_uri)
    if faults:
        raise InvalidRequest(faults)


def _secrets(request: FleetRequest) -> dict[str, str]:
    secrets = {"uri": request.uri, "client_secret": request.azure_json.client_secret}
    return {name: value.get_secret_value() for name, value in secrets.items() if value}


def _plain(request: FleetRequest, batch_id: int) -> dict[str, Any]:
    """The whole request, secrets included, for its fingerprint alone."""
    return {**request.model_dump(mode="json"), **_secrets(request), "batch_id": batch_id}
