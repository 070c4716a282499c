"""The HTTP API. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api import strict_json
from fleet.api.request import Fault, InvalidRequest
from fleet.api.responses.app import Health, Problem, RequestFault
from fleet.api.responses.common import Links
from fleet.api.responses.fleets import CancelResponse, Fleet, Fleets, SubmitResponse
from fleet.api.responses.machines import Machines
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings, SettingsError
from fleet.store import vm_logs
from fleet.store.claims import AlreadyUsed, LeaseHeld
from fleet.store.database import DatabaseUnreachable
from triggers import callers, cancellation, durable_client, queries, submission
from triggers.durable_client import TaskHubUnavailable

bp = df.Blueprint()

PLAIN_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
"""nosniff, because a console log may contain HTML that a browser must not render."""

READ = ["GET", "HEAD"]
"""The host routes HEAD only to functions that declare it, and drops the body itself."""

SETTINGS_FAULT = "Invalid app settings: %s"

NO_BODY = (
    "The request has no body. Send JSON with a Content-Length header: the Functions host drops chunked "
    "bodies."
)

REQUEST_ERRORS = (InvalidRequest, AlreadyUsed, SettingsError, SealBroken)
"""The errors that become problem details."""

OUTAGES = (TaskHubUnavailable, DatabaseUnreachable, LeaseHeld)
"""Errors after which the same request may succeed."""

RETRY_AFTER_SECONDS = 5

OUTAGES = (TaskHubUnavailable, DatabaseUnreachable, LeaseHeld)
"""What may pass in seconds: the same request can then succeed."""
RETRY_AFTER = 5


@bp.function_name("submit_fleet")
@bp.route(route="fleets", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def submit_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202 with Location for a new fleet, 200 for a repeated request; 400, 409, 413, 503."""
    try:
        key = req.headers.get("Idempotency-Key")
        accepted = await submission.submit(client, _body(req), callers.of_request(req), key)
    except (*REQUEST_ERRORS, *OUTAGES) as error:
        return _problem_of(error)
    links = _links(req, accepted.id)
    body: SubmitResponse = {"id": accepted.id, "batch_id": accepted.batch_id, "links": links}
    return _json(202 if accepted.created else 200, body, {"Location": links["self"]})


@bp.function_name("plan")
@bp.route(route="plan", methods=["POST"])
async def plan(req: func.HttpRequest) -> func.HttpResponse:
    """200 with the plan, even if it has faults; 400, 413, 503."""
    try:
        return _json(200, await submission.plan(_body(req)))
    except REQUEST_ERRORS as error:
        return _problem_of(error)


@bp.function_name("list_fleets")
@bp.route(route="fleets", methods=READ)
@bp.durable_client_input(client_name="client")
async def list_fleets(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """All fleets in the task hub, newest first."""
    found = await durable_client.find_all(client)
    answers = await asyncio.gather(*(queries.fleet_of(client, one) for one in found))
    fleets: list[Fleet] = [{**shown, "links": _links(req, shown["id"])} for shown in answers]
    fleets.sort(key=lambda fleet: fleet["created_at"], reverse=True)
    body: Fleets = {"fleets": fleets}
    return _json(200, body)


@bp.function_name("get_fleet")
@bp.route(route="fleets/{id}", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """One fleet: phase, VMs and trials by state, failures by code."""
    fleet_id = req.route_params["id"]
    batch_id = names.batch_of(fleet_id)
    instance = await _find_fleet(client, fleet_id)
    if batch_id is None or instance is None:
        return _not_found(fleet_id)
    teardown = await durable_client.find(client, names.teardown_id(batch_id))
    shown = await queries.fleet_of(client, instance, teardown)
    body: Fleet = {**shown, "links": _links(req, fleet_id)}
    return _json(200, body)


@bp.function_name("list_machines_of_fleet")
@bp.route(route="fleets/{id}/machines", methods=READ)
@bp.durable_client_input(client_name="client")
async def list_machines_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """A record per VM, including failed ones."""
    fleet_id = req.route_params["id"]
    instance = await _find_fleet(client, fleet_id)
    if instance is None:
        return _not_found(fleet_id)
    try:
        body: Machines = {"id": fleet_id, "machines": await queries.machines_of(instance)}
        return _json(200, body)
    except REQUEST_ERRORS as error:
        return _problem_of(error)


@bp.function_name("get_progress_of_fleet")
@bp.route(route="fleets/{id}/progress", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_progress_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Trials over time, expected end, VM hours and cost."""
    fleet_id = req.route_params["id"]
    instance = await _find_fleet(client, fleet_id)
    if instance is None:
        return _not_found(fleet_id)
    try:
        return _json(200, await queries.progress_of(instance))
    except REQUEST_ERRORS as error:
        return _problem_of(error)


@bp.function_name("get_log_of_machine")
@bp.route(route="fleets/{id}/machines/{ordinal}/log", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_log_of_machine(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """The end of a VM's console log as text; 404 without a log."""
    fleet_id, ordinal = req.route_params["id"], req.route_params["ordinal"]
    instance = await _find_fleet(client, fleet_id)
    if instance is None:
        return _not_found(fleet_id)
    try:
        text = await queries.log_of(instance, ordinal)
    except vm_logs.NoLog as error:
        return _problem(404, "Log not found", str(error))
    except REQUEST_ERRORS as error:
        return _problem_of(error)
    return func.HttpResponse(text, headers=PLAIN_TEXT)


@bp.function_name("cancel_fleet")
@bp.route(route="fleets/{id}", methods=["DELETE"])
@bp.durable_client_input(client_name="client")
async def cancel_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202: the fleet, or the remaining resources of an ended fleet, are being torn down."""
    fleet_id = req.route_params["id"]
    if names.batch_of(fleet_id) is None or not await cancellation.cancel(client, fleet_id):
        return _not_found(fleet_id)
    body: CancelResponse = {"id": fleet_id, "links": _links(req, fleet_id)}
    return _json(202, body, {"Location": body["links"]["self"]})


@bp.function_name("health")
@bp.route(route="health", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """200 if the app can accept requests; 503 with every missing or invalid setting."""
    try:
        _ = Settings.read()
    except SettingsError as error:
        return _problem(503, "Invalid app settings", " ".join(error.faults))
    body: Health = {"status": "ok"}
    return _json(200, body)


def _body(req: func.HttpRequest) -> Any:
    """The request's body as JSON. Raises InvalidRequest, strict_json.BodyTooLarge."""
    body = req.get_body()
    if not body:
        raise InvalidRequest([Fault("", NO_BODY)])
    return strict_json.read(body)


async def _find_fleet(client: Any, fleet_id: str) -> dict[str, Any] | None:
    """A fleet's durable instance, or None."""
    if names.batch_of(fleet_id) is None:
        return None
    return await durable_client.find(client, fleet_id)


def _links(req: func.HttpRequest, fleet_id: str) -> Links:
    """A fleet's URLs, derived from the request's URL."""
    base = re.sub("(?i)/fleets(/.*)?$", "", req.url.partition("?")[0])
    url = f"{base}/fleets/{fleet_id}"
    return {
        "self": url,
        "machines": f"{url}/machines",
        "progress": f"{url}/progress",
        "view": f"{base}/view/{fleet_id}",
        "cancel": url,
    }


def _problem_of(error: Exception) -> func.HttpResponse:
    if isinstance(error, (InvalidRequest, AlreadyUsed)):
        telemetry.LOG.info("Request rejected: %s", error, extra={"event": "request.refused"})
    match error:
        case strict_json.BodyTooLarge():
            return _problem(413, "Request body too large", error.faults[0]["detail"])
        case InvalidRequest():
            return _problem(400, "Invalid fleet request", str(error), error.faults)
        case AlreadyUsed():
            return _problem(409, "Already used", str(error))
        case TaskHubUnavailable() | DatabaseUnreachable() | LeaseHeld():
            extra = {"event": "request.delayed"}
            telemetry.LOG.warning("Request answered with 503: %s", error, extra=extra)
            detail = f"{error} Repeat the request in {RETRY_AFTER_SECONDS} seconds."
            response = _problem(503, "Temporarily unavailable", detail)
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
    telemetry.LOG.error(SETTINGS_FAULT, error, extra={"event": "app.settings"})
    return _problem(503, "Invalid app settings", str(error))


def _not_found(fleet_id: str) -> func.HttpResponse:
    return _problem(404, "Fleet not found", f"Fleet {fleet_id[:100]!r} does not exist.")


def _problem(
    code: int, title: str, detail: str, faults: list[Fault] | None = None
) -> func.HttpResponse:
    problem: Problem = {
        "type": "about:blank",
        "title": title,
        "status": code,
        "detail": detail,
    }
    if faults is not None:
        problem["errors"] = cast(list[RequestFault], faults)
    return _json(code, problem, {"Content-Type": "application/problem+json"})


def _json(code: int, body: Any, headers: dict[str, str] | None = None) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(body),
        status_code=code,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
