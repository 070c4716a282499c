"""The HTTP API. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import re
from typing import Any, cast

import azure.durable_functions as df
import azure.functions as func

from fleet.api import fleet_list, instance_status, strict_json
from fleet.api.openapi.document import VERSION
from fleet.api.request import Fault, InvalidRequest
from fleet.api.responses.common import Links, json_id, json_time
from fleet.api.responses.fleets import CancelResponse, Fleet, Fleets, SubmitResponse
from fleet.api.responses.machines import Machines
from fleet.api.responses.request import FleetsRequest
from fleet.api.routes import TEXT
from fleet.model import names
from fleet.secrets import Seal
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import OWN
from triggers import (
    cancellation,
    durable_client,
    retry,
    saved_requests,
    submission,
    submitters,
)
from triggers.http import queries, query_cache
from triggers.http.portal import portal_url
from triggers.http.problems import HEADERS, READ, json_response, with_problems
from triggers.http.references import (
    FleetNotFound,
    find_exact_row,
    find_instance,
    find_instance_to_cancel,
    find_row,
    find_row_if_available,
)

bp = df.Blueprint()

NO_BODY = (
    "The request has no body. Send JSON with a Content-Length header: the Functions host drops chunked "
    "bodies."
)


@bp.route(route="fleets", methods=["POST"])
@bp.durable_client_input(client_name="client")
@with_problems
async def submit_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202 with Location for a new fleet, 200 for a repeated request; 400, 409, 413, 503."""
    key = req.headers.get("Idempotency-Key")
    accepted = await submission.submit(client, _body(req), submitters.of_request(req), key)
    return _accepted(req, accepted)


@bp.route(route="plan", methods=["POST"])
@with_problems
async def plan(req: func.HttpRequest) -> func.HttpResponse:
    """200 with the plan, even if it has faults; 400, 413, 503."""
    return json_response(200, await submission.plan(_body(req)))


@bp.route(route="fleets", methods=READ)
@with_problems
async def list_fleets(req: func.HttpRequest) -> func.HttpResponse:
    """A page of fleets, newest first; 400, 503."""
    wanted, uri = fleet_list.read_query(req.params), Settings.read().database_uri
    rows = await query_cache.run(OWN, ("fleets", wanted), fleets.page, uri, wanted)
    entries = [fleet_list.entry(row, _links(req, names.instance_id(row.batch_id))) for row in rows]
    body: Fleets = {
        "fleets": [one for one in entries if one is not None],
        "next": fleet_list.cursor(rows[-1]) if len(rows) == wanted.limit else None,
    }
    return json_response(200, body)


@bp.route(route="fleets/{id}", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def get_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """One fleet: phase, VMs and trials by state, failures by code; 404, 409, 410."""
    instance = await find_instance(client, req.route_params["id"])
    batch_id = instance_status.order_in(instance["input"])["batch_id"]
    teardown = await durable_client.find(client, names.teardown_id(batch_id))
    shown = await queries.fleet_of(client, instance, teardown)
    row = await find_row_if_available(shown["id"], shown["phase"])
    more = {
        "number": row and row.number,
        "name": row and row.name,
        # The times of the list, so that both show the same duration.
        "created_at": json_time(row.submitted_at) if row else shown["created_at"],
        "ended_at": json_time(row.ended_at) if row and row.ended_at else None,
        "portal": portal_url(instance_status.order_in(instance["input"]), Settings.read()),
    }
    body = cast(Fleet, {**shown, **more, "links": _links(req, shown["id"])})
    return json_response(200, body)


@bp.route(route="fleets/{id}/machines", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def list_machines_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """A record per VM, including failed ones."""
    instance = await find_instance(client, req.route_params["id"])
    machines = await queries.machines_of(instance)
    body: Machines = {"id": instance["instanceId"], "machines": machines}
    return json_response(200, body)


@bp.route(route="fleets/{id}/progress", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def get_progress_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Trials over time, expected end, VM hours and cost."""
    instance = await find_instance(client, req.route_params["id"])
    return json_response(200, await queries.progress_of(instance))


@bp.route(route="fleets/{id}/trials", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def list_trials_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """A page of the trials of a fleet's experiment; 400, 503."""
    instance = await find_instance(client, req.route_params["id"])
    return json_response(200, await queries.trials_of(instance, req.params))


@bp.route(route="fleets/{id}/lock", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def get_lock_of_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """The packages of a fleet's VMs, by architecture."""
    instance = await find_instance(client, req.route_params["id"])
    return json_response(200, await queries.locks_of(instance))


@bp.route(route="fleets/{id}/machines/{ordinal}/log", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def get_log_of_machine(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """The end of a VM's console log as text, or the lines after a position; 400, 404 without a log."""
    instance = await find_instance(client, req.route_params["id"])
    part = await queries.log_of(instance, req.route_params["ordinal"], req.params.get("after"))
    headers = {"Content-Type": TEXT, "Log-Next": str(part.next), **HEADERS}
    return func.HttpResponse(part.text, headers=headers)


@bp.route(route="fleets/{id}/request", methods=READ)
@with_problems
async def get_request_of_fleet(req: func.HttpRequest) -> func.HttpResponse:
    """The request of a fleet without its secrets, also after the fleet was purged; 404, 503."""
    row, settings = await find_row(req.route_params["id"]), Settings.read()
    saved = await saved_requests.read(row, settings, Seal(settings.sealing_keys))
    # A name is of one fleet, as the batch ID is.
    request = {field: value for field, value in saved.document.items() if field != "name"}
    body: FleetsRequest = {
        "id": names.instance_id(row.batch_id),
        "number": row.number,
        "name": row.name,
        "request": request,
        "secrets": saved.secrets,
        "app_version": VERSION,
    }
    return json_response(200, body)


@bp.route(route="fleets/{id}/retry", methods=["POST"])
@bp.durable_client_input(client_name="client")
@with_problems
async def retry_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202 with Location for a new fleet, 200 if it exists; 400, 404, 409, 410, 503."""
    row = await find_exact_row(req.route_params["id"], "retry")
    retried = await retry.retry(client, row, submitters.of_request(req))
    return _accepted(req, retried.accepted, retried.trials)


@bp.route(route="fleets/{id}", methods=["DELETE"])
@bp.durable_client_input(client_name="client")
@with_problems
async def cancel_fleet(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """202: the fleet, or the remaining resources of an ended fleet, are being torn down."""
    reference = req.route_params["id"]
    fleet_id = str((await find_instance_to_cancel(client, reference))["instanceId"])
    if not await cancellation.cancel(client, fleet_id):
        raise FleetNotFound(reference)
    body: CancelResponse = {"id": fleet_id, "links": _links(req, fleet_id)}
    return json_response(202, body, {"Location": body["links"]["self"]})


def _body(req: func.HttpRequest) -> Any:
    """The request's body as JSON. Raises InvalidRequest, strict_json.BodyTooLarge."""
    body = req.get_body()
    if not body:
        raise InvalidRequest([Fault("", NO_BODY)])
    return strict_json.read(body)


def _accepted(
    req: func.HttpRequest, accepted: submission.Accepted, trials: int | None = None
) -> func.HttpResponse:
    body: SubmitResponse = {
        "id": accepted.id,
        "number": accepted.number,
        "batch_id": json_id(accepted.batch_id),
        "request": accepted.request,
        "links": _links(req, accepted.id),
        "trials": trials,
    }
    code = 202 if accepted.created else 200
    return json_response(code, body, {"Location": body["links"]["self"]})


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
