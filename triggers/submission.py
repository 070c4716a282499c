"""What both doors share: one request becomes one fleet, however often it is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from fleet.store import claims
from triggers.callers import Caller
from triggers.durable_client import RUN_FLEET, find, task_hub
from triggers.lease import lease


@dataclass(frozen=True, slots=True)
class Accepted:
    """A fleet that exists now; `created` says whether this very call made it."""

    id: str
    number: int
    batch_id: int
    created: bool


async def submit(
    client: Any, document: Any, caller: Caller, idempotency_key: str | None
) -> Accepted:
    """Start the fleet that a request asks for, unless an equal request has started it.

    Raises InvalidRequest (with every fault), AlreadyUsed, SettingsError, SealBroken, and errors that may
    pass: TaskHubUnavailable, DatabaseUnreachable, LeaseHeld.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    seal = Seal(settings.sealing_keys)
    callers, fingerprints = caller.digests(seal), seal.fingerprints(_plain(request))
    batch_id = batch_id_of(request, callers[-1], idempotency_key)
    order = build_order(request, settings, batch_id)
    account = (order["subscription_id"], order["resource_group"], order["client_id"] or "")
    submission = claims.Submission(
        batch_id=batch_id,
        callers=callers,
        idempotency_key=idempotency_key,
        fingerprints=fingerprints,
        name=request.name,
        experiment_id=request.experiment_id,
        n_instances=request.n_instances,
        account="/".join(account).lower(),
        resource_uris=order["resource_uris"],
    )
    claim = await asyncio.to_thread(claims.claim, settings.database_uri, submission)
    instance = names.instance_id(claim.batch_id)
    if claim.started:
        return Accepted(instance, claim.number, claim.batch_id, created=False)
    order |= {
        "batch_id": claim.batch_id,
        "sealed": seal.close(_secrets(request)),
        "fingerprint": fingerprints[0],
    }
    async with lease(settings.database_uri, claim.batch_id) as held:
        if held is None:
            raise claims.LeaseHeld(f"The claim of {instance} has just been given up.")
        if held.started:
            return Accepted(instance, claim.number, claim.batch_id, created=False)
        created = await _start(client, instance, order, fingerprints)
        held.mark_started()
    if created:
        extra = {"event": "fleet.submitted", "fleet": instance}
        text = "Submitted: %d VMs for experiment %d"
        telemetry.LOG.info(text, request.n_instances, request.experiment_id, extra=extra)
    return Accepted(instance, claim.number, claim.batch_id, created)


async def _start(client: Any, instance: str, order: Any, fingerprints: Sequence[str]) -> bool:
    """Start a fleet's orchestration. False where it exists: a host died before it could note that.

    Raises AlreadyUsed, TaskHubUnavailable.
    """
    status = await find(client, instance)
    if status is None:
        with task_hub():
            await client.start_new(RUN_FLEET, instance, order)
        return True
    if order_in(status["input"])["fingerprint"] not in fingerprints:
        raise claims.AlreadyUsed(f"{instance} was already started by a different request.")
    return False


async def plan(document: Any) -> Plan:
    """What a fleet of this request would meet: `preflight.plan.preview`. Starts and stores nothing.

    Raises InvalidRequest (with every fault), SettingsError.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    order: Any = build_order(request, settings, batch_id_of(request, "", None))
    secrets = _secrets(request)
    connection = connect(order, settings, secrets.get("client_secret"))
    uri = secrets.get("uri") or settings.database_uri
    return await preview(connection, uri, order)


def _complete(request: FleetRequest, settings: Settings) -> None:
    """Refuse a request that lacks what the settings lack too."""
    account = request.azure_json
    needed = [
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
        Fault(pointer, f"Required: set it in the request or in {setting}.")
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


def _plain(request: FleetRequest) -> dict[str, Any]:
    """The request with its secrets, for its fingerprint alone. The batch id is compared by itself."""
    return {**request.model_dump(mode="json", exclude={"batch_id"}), **_secrets(request)}
