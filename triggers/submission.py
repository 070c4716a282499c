"""Submission over HTTP and from the queue. A repeated request starts no second fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet import telemetry
from fleet.api import policy
from fleet.api.instance_status import order_in
from fleet.api.order_builder import build_order, understood
from fleet.api.request import Fault, FleetRequest, InvalidRequest, batch_id_of, parse, uri_faults
from fleet.api.responses.plan import Check, Plan, PlanCost, Status
from fleet.api.responses.request import Understood
from fleet.api.valid_part import ValidPart
from fleet.azure.credentials import connect
from fleet.model import names
from fleet.model.database_uri import database_of
from fleet.preflight.plan import preview
from fleet.secrets import Seal
from fleet.settings import Settings, SettingsError
from fleet.store import budget, claims
from fleet.store.database import DatabaseBusy, DatabaseUnreachable
from fleet.store.executors import OWN
from triggers import saved_requests
from triggers.durable_client import RUN_FLEET, find, task_hub_within
from triggers.lease import PREPARE_TIMEOUT, START_TIMEOUT, lease
from triggers.submitters import Submitter


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted fleet. `created`: this call started it."""

    id: str
    number: int
    batch_id: int
    request: Understood
    created: bool


class NotPrepared(DatabaseUnreachable):
    """`before_start` of a submission has failed, for `reason`."""

    def __init__(self, reason: DatabaseUnreachable) -> None:
        super().__init__(str(reason))
        self.reason = reason


async def submit(
    client: Any,
    document: Any,
    submitter: Submitter,
    idempotency_key: str | None,
    before_start: Callable[[], Awaitable[None]] | None = None,
) -> Accepted:
    """Start the requested fleet, unless an identical request has started it.

    `before_start` prepares the experiment, of which the fleet must be the only one: the request that
    starts the fleet calls it, and one that finishes the work of a crashed process calls it again.

    Raises InvalidRequest (with every fault), AlreadyUsed, SettingsError, SealBroken, and transient
    errors: TooManyVms, ExperimentBusy, TaskHubUnavailable, DatabaseUnreachable, LeaseHeld.
    """
    request, settings = _checked(document)
    seal = Seal(settings.sealing_keys)
    submitters = submitter.digests(seal)
    # A keyed digest, so that nobody can compute and use the batch ID of another submitter's key. With
    # the oldest sealing key, which changes last.
    digest = idempotency_key and seal.fingerprints([submitters[-1], idempotency_key])[-1]
    batch_id = batch_id_of(request, digest)
    order = build_order(request, settings, batch_id)
    submission = replace(
        _submission(request, settings, seal, order, submitters),
        idempotency_key=idempotency_key,
        is_exclusive=before_start is not None,
    )
    claim = await OWN.run(claims.claim, settings.database_uri, submission)
    instance = names.instance_id(claim.batch_id)
    accepted = Accepted(instance, claim.number, claim.batch_id, understood(order), created=False)
    if claim.started:
        return accepted
    order |= {
        "batch_id": claim.batch_id,
        "sealed": seal.encrypt(_secrets(request), settings.owner, claim.batch_id),
        "fingerprint": submission.fingerprints[0],
    }
    try:
        async with lease(settings.database_uri, claim.batch_id) as held:
            if held is None:
                raise claims.LeaseHeld(f"The claim on {instance} expired.")
            if held.started:
                return accepted
            created = await _start(client, instance, order, submission.fingerprints, before_start)
            await OWN.finish(held.mark_started)
    except NotPrepared as error:
        # The claim would refuse other fleets of the experiment for an hour.
        await OWN.run(claims.delete, settings.database_uri, claim.batch_id)
        raise error.reason from error.reason.__cause__
    if created:
        extra = {"event": "fleet.submitted", "fleet": instance}
        text = "Submitted: %d VMs for experiment %d"
        telemetry.LOG.info(text, request.n_instances, request.experiment_id, extra=extra)
    return replace(accepted, created=created)


def _submission(
    request: FleetRequest,
    settings: Settings,
    seal: Seal,
    order: Mapping[str, Any],
    submitters: Sequence[str],
) -> claims.Submission:
    """What a request claims, without an idempotency key."""
    owner, batch_id, secrets = settings.owner, order["batch_id"], _secrets(request)
    saved = saved_requests.to_text(request)
    signed = saved_requests.signed(owner, batch_id, submitters[0], saved)
    return claims.Submission(
        owner=owner,
        batch_id=batch_id,
        chose_batch_id=request.batch_id is not None,
        submitters=submitters,
        idempotency_key=None,
        fingerprints=seal.fingerprints(_plain(request)),
        name=request.name,
        experiment_id=request.experiment_id,
        n_instances=request.n_instances,
        max_lifetime=request.max_lifetime,
        account=_account(seal, order, secrets),
        resource_uris=order["resource_uris"],
        webhook=_sealed_webhook(request, seal, owner, batch_id),
        request=saved,
        request_signature=seal.fingerprints(signed)[0],
        databases=seal.fingerprints(database_of(secrets.get("uri") or settings.database_uri)),
        max_vms=settings.policy.max_vms,
        requirements_lock=request.requirements_lock,
    )


async def _start(
    client: Any,
    instance: str,
    order: Any,
    fingerprints: Sequence[str],
    before_start: Callable[[], Awaitable[None]] | None,
) -> bool:
    """Start a fleet's orchestration. False if it exists: a host crashed before recording the start.

    Raises AlreadyUsed, TaskHubUnavailable, NotPrepared.
    """
    until = asyncio.get_running_loop().time() + PREPARE_TIMEOUT
    async with task_hub_within(START_TIMEOUT):
        status = await find(client, instance)
        if status is None:
            if before_start is not None:
                await _prepare(before_start, until)
            await client.start_new(RUN_FLEET, instance, order)
            return True
    if order_in(status["input"])["fingerprint"] not in fingerprints:
        raise claims.AlreadyUsed(f"{instance} was already started by a different request.")
    return False


async def _prepare(before_start: Callable[[], Awaitable[None]], until: float) -> None:
    """Call `before_start`, which must end at this time of the event loop. Raises NotPrepared."""
    try:
        async with asyncio.timeout_at(until):
            await before_start()
    except DatabaseUnreachable as error:
        raise NotPrepared(error) from error
    except TimeoutError as error:
        text = (
            f"The experiment was not prepared within {PREPARE_TIMEOUT:g} s. No fleet was started."
        )
        raise NotPrepared(DatabaseBusy(text)) from error


async def plan(document: Any) -> Plan:
    """The plan of a request (`preflight.plan.preview`). Starts and stores nothing.

    Raises InvalidRequest (with every fault), SettingsError.
    """
    request, settings = _checked(document)
    order = build_order(request, settings, batch_id_of(request, None))
    secrets = _secrets(request)
    connection = connect(order, settings, secrets.get("client_secret"))
    uri = secrets.get("uri") or settings.database_uri
    plan, check, named = await asyncio.gather(
        preview(connection, uri, order),
        _policy_check(request, settings),
        _name_check(request, settings, order["batch_id"]),
    )
    checks = [check, *named, *await _budget_check(plan["cost"], settings)]
    ok = plan["ok"] and all(one["status"] != "fault" for one in checks)
    return {**plan, "ok": ok, "checks": [*checks, *plan["checks"]]}


async def _policy_check(request: FleetRequest, settings: Settings) -> Check:
    """Check the limit of VMs, which depends on other fleets; `policy.faults` has checked the rest."""
    limit = settings.policy.max_vms
    try:
        alive = await OWN.run(claims.count_alive, settings.database_uri, settings.owner)
    except DatabaseUnreachable as error:
        return _check("policy", "unknown", str(error), error.advice)
    detail = f"{alive:,} of {limit:,} VMs exist or are requested (FLEET_MAX_VMS)"
    if alive + request.n_instances <= limit:
        return _check("policy", "ok", detail)
    detail = f"{request.n_instances:,} more VMs would exceed the limit: {detail}"
    return _check("policy", "fault", detail, claims.TOO_MANY_ADVICE)


async def _name_check(request: FleetRequest, settings: Settings, batch_id: int) -> list[Check]:
    """Check that no other fleet has the request's name, if it has one; `claims.claim` decides."""
    if request.name is None:
        return []
    try:
        if await OWN.run(claims.is_named, settings.database_uri, request.name, batch_id):
            return [_check("name", "fault", claims.named(request.name), claims.NAMED_ADVICE)]
    except DatabaseUnreachable as error:
        return [_check("name", "unknown", str(error), error.advice)]
    return [_check("name", "ok", f"No running fleet is named {request.name!r}")]


async def _budget_check(cost: PlanCost | None, settings: Settings) -> list[Check]:
    """Check FLEET_BUDGET, if it is set and the cost is known. The fleet's own plan reserves the cost."""
    limit = settings.policy.budget
    if limit is None or cost is None:
        return []
    try:
        committed = await OWN.run(budget.committed, settings.database_uri, settings.owner)
        detail = budget.check(committed, cost["at_most"], limit)
    except budget.BudgetExceeded as error:
        return [_check("budget", "fault", str(error), error.advice)]
    except DatabaseUnreachable as error:
        return [_check("budget", "unknown", str(error), error.advice)]
    return [_check("budget", "ok", detail)]


def _check(name: str, status: Status, detail: str, advice: str = "") -> Check:
    return {"name": name, "status": status, "detail": detail, "advice": advice}


def _checked(document: Any) -> tuple[FleetRequest, Settings]:
    """Validate a request, also by the policy. Raises InvalidRequest (every fault), SettingsError."""
    try:
        request = parse(document)
    except InvalidRequest as invalid:
        raise InvalidRequest([*invalid.faults, *_other_faults(document, invalid)]) from None
    settings = Settings.read()
    if faults := _refused(request, settings):
        raise InvalidRequest(faults)
    return request, settings


def _other_faults(document: Any, invalid: InvalidRequest) -> list[Fault]:
    """What the deployment does not allow in the valid part of an invalid request."""
    valid = ValidPart.of(document, invalid.faults)
    if valid is None:
        return []
    part, request = valid
    try:
        return part.faults(policy.faults(request, Settings.read()))
    except SettingsError:
        return []


def _refused(request: FleetRequest, settings: Settings) -> list[Fault]:
    """The faults of a request in this deployment: required values, and the policy."""
    faults = [
        Fault(f"/azure_json/{name}", f"Required: set it in the request or in AZURE_{name.upper()}.")
        for name in ("subscription_id", "resource_group")
        if not (getattr(request.azure_json, name) or getattr(settings, name))
    ]
    if not request.uri:
        faults += uri_faults(settings.database_uri)
    if request.notify_url and not settings.webhook_keys:
        detail = "This deployment signs no notifications: its FLEET_WEBHOOK_SECRET is not set."
        faults.append(Fault("/notify_url", detail))
    return faults + policy.faults(request, settings)


def _account(seal: Seal, order: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """A keyed digest of the account and its secret: a wrong secret must not hide a valid account."""
    names_ = ("subscription_id", "resource_group", "tenant_id", "client_id")
    parts = [str(order[name] or "").lower() for name in names_]
    return seal.fingerprints([*parts, secrets.get("client_secret")])[0]


def _secrets(request: FleetRequest) -> dict[str, str]:
    secrets = {"uri": request.uri, "client_secret": request.azure_json.client_secret}
    return {name: value.get_secret_value() for name, value in secrets.items() if value}


def _sealed_webhook(request: FleetRequest, seal: Seal, owner: str, batch_id: int) -> str | None:
    if request.notify_url is None:
        return None
    return seal.encrypt({"notify_url": request.notify_url.get_secret_value()}, owner, batch_id)


LATER_FIELDS: dict[str, Any] = {
    "max_cost": None,
    "requirements_lock": None,
    "trial_order": "fifo",
    "trial_seed": None,
    "cpu_models": [],
    "image_id": None,
}
"""Fields that requests to earlier builds do not have, with their defaults."""


def _plain(request: FleetRequest) -> dict[str, Any]:
    """The request with its secrets, only for its fingerprint. The batch ID is compared separately."""
    # A repeated request of an earlier build must keep its fingerprint: a new field counts if it is set.
    unset = {name for name, default in LATER_FIELDS.items() if getattr(request, name) == default}
    plain = request.model_dump(mode="json", exclude={"batch_id", *unset})
    if request.notify_url:
        plain["notify_url"] = request.notify_url.get_secret_value()
    return {**plain, **_secrets(request)}
