"""The HTTP API. Errors are problem details (RFC 9457), every fault with its JSON pointer."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api import strict_json
from fleet.api.request import Fault, RequestRefused
from fleet.api.responses import (
    Cancelled,
    Fleet,
    Fleets,
    Health,
    Links,
    Machines,
    Problem,
    RequestFault,
    Submitted,
)
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings, SettingsError
from fleet.store import vm_logs
from fleet.store.claims import LeaseHeld, TakenError
from fleet.store.database import DatabaseUnreachable
from triggers import callers, cancellation, durable_client, queries, submission
from triggers.durable_client import TaskHubUnavailable

bp = df.Blueprint()

PLAIN_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
"""A console may print anything, HTML included: no browser is to take it for a page of ours."""

READ = ["GET", "HEAD"]
"""The host gives HEAD to no function that does not ask for it, and keeps a body to itself."""

SETTINGS_FAULT = "The app's settings cannot be used: %s"

NO_BODY = (
    "The request has no body. Send the fleet as JSON, with a Content-Length header: the Functions host "
    "drops a body without one (Transfer-Encoding: chunked)."
)

REFUSALS = (RequestRefused, TakenError, SettingsError, SealBroken)
"""What a submission raises for a request that it refuses."""

OUTAGES = (TaskHubUnavailable, DatabaseUnreachable, LeaseHeld)
"""What may pass in seconds: the same request can then succeed."""
RETRY_AFTER = 5


@bp.function_name("submit_fleet")
@bp.route(route="fleets", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def submit_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202 with Location for a new fleet; 200 for a repeat of the same request; 400, 409, 413, 503."""
    try:
        key = req.headers.get("Idempotency-Key")
        accepted = await submission.submit(client, _body(req), callers.of_request(req), key)
    except (*REFUSALS, *OUTAGES) as error:
        return _refused(error)
    links = _links(req, accepted.id)
    body: Submitted = {"id": accepted.id, "batch_id": accepted.batch_id, "links": links}
    return _answer(202 if accepted.created else 200, body, {"Location": links["self"]})


@bp.function_name("plan")
@bp.route(route="plan", methods=["POST"])
async def plan(req: func.HttpRequest) -> func.HttpResponse:
    """What a fleet of this request would meet; creates nothing. 200 with faults and all; 400, 413."""
    try:
        return _answer(200, await submission.plan(_body(req)))
    except REFUSALS as error:
        return _refused(error)


@bp.function_name("list_fleets")
@bp.route(route="fleets", methods=READ)
@bp.durable_client_input(client_name="client")
async def list_fleets(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Every fleet that the app still knows, the newest first."""
    found = await durable_client.find_all(client)
    answers = await asyncio.gather(*(queries.fleet_of(client, one) for one in found))
    fleets: list[Fleet] = [{**shown, "links": _links(req, shown["id"])} for shown in answers]
    fleets.sort(key=lambda fleet: fleet["created_at"], reverse=True)
    body: Fleets = {"fleets": fleets}
    return _answer(200, body)


@bp.function_name("get_fleet")
@bp.route(route="fleets/{id}", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """One fleet: phase, VMs and trials by state, failures grouped by code."""
    fleet_id = req.route_params["id"]
    batch_id = names.batch_of(fleet_id)
    instance = await _found(client, fleet_id)
    if batch_id is None or instance is None:
        return _unknown(fleet_id)
    teardown = await durable_client.find(client, names.teardown_id(batch_id))
    shown = await queries.fleet_of(client, instance, teardown)
    body: Fleet = {**shown, "links": _links(req, fleet_id)}
    return _answer(200, body)


@bp.function_name("list_machines_of_fleet")
@bp.route(route="fleets/{id}/machines", methods=READ)
@bp.durable_client_input(client_name="client")
async def list_machines_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """A record per VM, those that failed included, at most one look old."""
    fleet_id = req.route_params["id"]
    instance = await _found(client, fleet_id)
    if instance is None:
        return _unknown(fleet_id)
    try:
        body: Machines = {"id": fleet_id, "machines": await queries.machines_of(instance)}
        return _answer(200, body)
    except REFUSALS as error:
        return _refused(error)


@bp.function_name("get_progress_of_fleet")
@bp.route(route="fleets/{id}/progress", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_progress_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """The trials over time, when they will be done, VM-hours, and what these cost."""
    fleet_id = req.route_params["id"]
    instance = await _found(client, fleet_id)
    if instance is None:
        return _unknown(fleet_id)
    try:
        return _answer(200, await queries.progress_of(instance))
    except REFUSALS as error:
        return _refused(error)


@bp.function_name("get_log_of_machine")
@bp.route(route="fleets/{id}/machines/{ordinal}/log", methods=READ)
@bp.durable_client_input(client_name="client")
async def get_log_of_machine(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """The tail of a VM's console as text; its first line tells how the VM ended. 404 without one."""
    fleet_id, ordinal = req.route_params["id"], req.route_params["ordinal"]
    instance = await _found(client, fleet_id)
    if instance is None:
        return _unknown(fleet_id)
    try:
        text = await queries.log_of(instance, ordinal)
    except vm_logs.NoLog as error:
        return _problem(404, "No log", str(error))
    except REFUSALS as error:
        return _refused(error)
    return func.HttpResponse(text, headers=PLAIN_TEXT)


@bp.function_name("cancel_fleet")
@bp.route(route="fleets/{id}", methods=["DELETE"])
@bp.durable_client_input(client_name="client")
async def cancel_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202: the fleet is cancelled and torn down; a finished one loses what it left standing."""
    fleet_id = req.route_params["id"]
    if names.batch_of(fleet_id) is None or not await cancellation.cancel(client, fleet_id):
        return _unknown(fleet_id)
    body: Cancelled = {"id": fleet_id, "links": _links(req, fleet_id)}
    return _answer(202, body, {"Location": body["links"]["self"]})


@bp.function_name("health")
@bp.route(route="health", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """200 when the app can take a request; 503 with every setting that is missing or wrong."""
    try:
        _ = Settings.read()
    except SettingsError as error:
        return _problem(503, "The app is not set up", " ".join(error.faults))
    body: Health = {"status": "ok"}
    return _answer(200, body)


def _body(req: func.HttpRequest) -> Any:
    """The request's body as JSON. Raises RequestRefused, strict_json.TooLarge."""
    body = req.get_body()
    if not body:
        raise RequestRefused([Fault("", NO_BODY)])
    return strict_json.read(body)


async def _found(client: Any, fleet_id: str) -> dict[str, Any] | None:
    """A fleet's durable instance; None where there is no such fleet."""
    if names.batch_of(fleet_id) is None:
        return None
    return await durable_client.find(client, fleet_id)


def _links(req: func.HttpRequest, fleet_id: str) -> Links:
    """A fleet's URLs, from that of a request."""
    base = re.sub("(?i)/fleets(/.*)?$", "", req.url.partition("?")[0])
    url = f"{base}/fleets/{fleet_id}"
    return {
        "self": url,
        "machines": f"{url}/machines",
        "progress": f"{url}/progress",
        "view": f"{base}/view/{fleet_id}",
        "cancel": url,
    }


def _refused(error: Exception) -> func.HttpResponse:
    if isinstance(error, (RequestRefused, TakenError)):
        telemetry.LOG.info("A request is refused: %s", error, extra={"event": "request.refused"})
    match error:
        case strict_json.TooLarge():
            return _problem(413, "The body is too large", error.faults[0]["detail"])
        case RequestRefused():
            return _problem(400, "The request cannot be a fleet", str(error), error.faults)
        case TakenError():
            return _problem(409, "Already in use", str(error))
        case TaskHubUnavailable() | DatabaseUnreachable() | LeaseHeld():
            extra = {"event": "request.delayed"}
            telemetry.LOG.warning("A request must be repeated: %s", error, extra=extra)
            detail = f"{error} Nothing was started. Repeat the request in {RETRY_AFTER} seconds."
            answer = _problem(503, "Not available now", detail)
            answer.headers["Retry-After"] = str(RETRY_AFTER)
            return answer
    telemetry.LOG.error(SETTINGS_FAULT, error, extra={"event": "app.settings"})
    return _problem(503, "The app is not set up", str(error))


def _unknown(fleet_id: str) -> func.HttpResponse:
    return _problem(404, "No such fleet", f"There is no fleet {fleet_id[:100]!r}.")


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
    return _answer(code, problem, {"Content-Type": "application/problem+json"})


def _answer(code: int, body: Any, headers: dict[str, str] | None = None) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(body),
        status_code=code,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
