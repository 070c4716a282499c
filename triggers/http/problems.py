"""HTTP responses: JSON, and problem details (RFC 9457) for every error that a handler may raise."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import azure.functions as func

from fleet import telemetry
from fleet.api.request import Fault, InvalidQuery, InvalidRequest
from fleet.api.responses.app import Problem, RequestFault
from fleet.api.routes import JSON, PROBLEM
from fleet.api.strict_json import BodyTooLarge
from fleet.secrets import SealBroken
from fleet.settings import SettingsError
from fleet.store.claims import AlreadyUsed, ExperimentBusy, LeaseHeld, TooManyVms
from fleet.store.database import DatabaseUnreachable
from fleet.store.schema import SchemaTooNew
from fleet.store.vm_logs import NoLog
from triggers.durable_client import TaskHubUnavailable
from triggers.http.references import FleetAmbiguous, FleetNotFound, FleetPurged
from triggers.retry import RetryRefused, SecretsPurged
from triggers.saved_requests import RequestNotSaved

RETRY_AFTER_SECONDS = 5
VM_LIMIT_RETRY_SECONDS = 300
"""`Retry-After` while other fleets use all VMs: longer than clients retry, so that they report it."""

READ = ["GET", "HEAD"]
"""Methods. The host routes HEAD only to functions that declare it, and drops the body itself."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Of each response: a browser must not take text from a VM or a request for HTML, and no cache may keep
what only the holder of a key may read."""

Handler = Callable[..., Awaitable[func.HttpResponse]]

TITLES: dict[type[Exception], tuple[int, str]] = {
    BodyTooLarge: (413, "Request body too large"),
    InvalidQuery: (400, "Invalid query parameters"),
    InvalidRequest: (400, "Invalid fleet request"),
    AlreadyUsed: (409, "Already used"),
    FleetNotFound: (404, "Fleet not found"),
    FleetAmbiguous: (409, "Ambiguous fleet"),
    FleetPurged: (410, "Fleet purged"),
    NoLog: (404, "Log not found"),
    RequestNotSaved: (404, "Request not found"),
    SecretsPurged: (410, "Secrets purged"),
    RetryRefused: (409, "Cannot retry"),
    ExperimentBusy: (409, "Cannot retry"),
    TooManyVms: (429, "Too many VMs"),
    TaskHubUnavailable: (503, "Temporarily unavailable"),
    DatabaseUnreachable: (503, "Temporarily unavailable"),
    LeaseHeld: (503, "Temporarily unavailable"),
    SettingsError: (503, "Invalid app settings"),
    SealBroken: (503, "Invalid app settings"),
    SchemaTooNew: (503, "Invalid app settings"),
}
"""Status code and title by error. A subclass comes before its base."""


def with_problems(handler: Handler) -> Handler:
    """Return problem details for the errors in TITLES, and for any other one a 500 without its text.

    Without it the host would send a 500 without a body, and log the error's text, which may contain a
    secret.
    """

    @functools.wraps(handler)
    async def answered(*arguments: Any, **named: Any) -> func.HttpResponse:
        try:
            return await handler(*arguments, **named)
        except tuple(TITLES) as error:
            return _problem_of(error)
        except Exception as error:
            return _internal_error(telemetry.unexpected(error))

    return answered


def _problem_of(error: Exception) -> func.HttpResponse:
    code, title = next(found for kind, found in TITLES.items() if isinstance(error, kind))
    if isinstance(error, BodyTooLarge):
        return problem(code, title, error.faults[0]["detail"])
    if isinstance(error, (InvalidRequest, AlreadyUsed, TooManyVms)):
        telemetry.LOG.info("Request rejected: %s", error, extra={"event": "request.refused"})
        response = problem(code, title, str(error), getattr(error, "faults", None))
        if isinstance(error, TooManyVms):
            response.headers["Retry-After"] = str(VM_LIMIT_RETRY_SECONDS)
        return response
    if code != 503:
        return problem(code, title, str(error))
    if title == "Invalid app settings":
        telemetry.LOG.error("%s: %s", title, error, extra={"event": "app.settings"})
        return problem(code, title, str(error))
    extra = {"event": "request.delayed"}
    cause = error.__cause__ or "none"
    telemetry.LOG.warning("Request answered with 503: %s Cause: %s", error, cause, extra=extra)
    detail = f"{error} Repeat the request in {RETRY_AFTER_SECONDS} seconds."
    response = problem(code, title, detail)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _internal_error(error_id: str) -> func.HttpResponse:
    detail = (
        f"An unexpected error in the app, logged with the ID {error_id}, ended the request. Repeat "
        "it: a POST with the same batch_id or Idempotency-Key starts no second fleet. If the error "
        "persists, send the ID to the app's operator."
    )
    return problem(500, "Internal error", detail)


def problem(
    code: int, title: str, detail: str, faults: list[Fault] | None = None
) -> func.HttpResponse:
    body: Problem = {"type": "about:blank", "title": title, "status": code, "detail": detail}
    if faults is not None:
        body["errors"] = cast(list[RequestFault], faults)
    return json_response(code, body, {"Content-Type": PROBLEM})


def json_response(code: int, body: Any, headers: dict[str, str] | None = None) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(body),
        status_code=code,
        headers={"Content-Type": JSON, **HEADERS, **(headers or {})},
    )
