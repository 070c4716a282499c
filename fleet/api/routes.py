"""The API's routes in one table: responses, names of parameters, links.

The OpenAPI document and docs/api.md are generated from it. A test compares it with the registered
functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """One possible response of a route."""

    description: str
    schema: str = ""
    """The name of a response type; empty for TEXT, HTML and responses without a body."""
    media: str = JSON
    headers: tuple[str, ...] = ()
    """Names in `parameters.HEADERS`."""


def _problem(description: str, *headers: str) -> Response:
    return Response(description, "Problem", PROBLEM, headers)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of a path. `name` is the function name and the operation ID."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    responses: Mapping[int, Response]
    parameters: tuple[str, ...] = ()
    """Names in `parameters.PARAMETERS`."""
    has_fleet_body: bool = False
    """Whether the body is a FleetRequest."""
    anonymous: bool = False
    follow_ups: tuple[str, ...] = ()
    """Names of routes whose `id` parameter comes from this response."""


TAGS = {
    "Fleets": "Submit, monitor and cancel fleets.",
    "Machines": "A fleet's VMs.",
    "Pages": "Web pages for a browser. No key required.",
    "App": "The app itself. Only the details of its health require a key.",
}

_REFUSED = _problem(
    "The request is invalid, or the deployment does not allow it; `errors` lists every fault."
)
_TOO_LARGE = _problem("The body is larger than one million bytes.")
_UNAVAILABLE = _problem(
    "The task hub or the app's database is unavailable; or the app's settings are invalid, or its "
    "sealing key cannot decrypt the fleet's secrets.",
    "Retry-After",
)
_OF_FLEET = {
    404: _problem("Fleet not found."),
    409: _problem("Several fleets have an ID or name with this prefix."),
    410: _problem("The fleet ended long ago, and only its list entry was kept."),
    503: _UNAVAILABLE,
}
_TOO_MANY_VMS = _problem(
    "Other fleets use the VMs that the deployment allows; repeat the request later.", "Retry-After"
)
_FOLLOW_UPS = ("get_fleet", "list_machines_of_fleet", "get_progress_of_fleet", "cancel_fleet")
INTERNAL_ERROR = _problem(
    "An unexpected error; `detail` has the ID that finds it in the app's log."
)
NO_KEY = Response("The key is missing or wrong. The Functions host sends this response.", media="")

ROUTES = (
    Route(
        "POST",
        "/fleets",
        "submit_fleet",
        "Fleets",
        "Submit a fleet",
        "Starts a fleet and returns immediately. Repeating an identical request with the same "
        "`batch_id` or `Idempotency-Key` returns the existing fleet, even after it has ended.",
        {
            202: Response("The fleet was started.", "SubmitResponse", headers=("Location",)),
            200: Response("The fleet already exists.", "SubmitResponse", headers=("Location",)),
            400: _REFUSED,
            409: _problem("The batch ID, idempotency key or name belongs to a different fleet."),
            413: _TOO_LARGE,
            429: _TOO_MANY_VMS,
            503: _UNAVAILABLE,
        },
        ("Idempotency-Key",),
        has_fleet_body=True,
        follow_ups=_FOLLOW_UPS,
    ),
    Route(
        "GET",
        "/fleets",
        "list_fleets",
        "Fleets",
        "List fleets",
        "All fleets that were ever started, page by page. An entry is as its fleet last reported, at "
        "most a polling interval ago.",
        {
            200: Response("A page of fleets.", "Fleets"),
            400: _problem("Invalid query parameters."),
            503: _UNAVAILABLE,
        },
        ("status", "experiment", "submitted_by", "since", "sort", "limit", "cursor"),
    ),
    Route(
        "GET",
        "/fleets/{id}",
        "get_fleet",
        "Fleets",
        "Get a fleet",
        "The fleet's phase, its VMs and trials by state, and its failures by code. A fleet updates its "
        "status every few seconds, so poll at that rate.",
        {200: Response("The fleet.", "Fleet"), **_OF_FLEET},
        ("id",),
        follow_ups=("list_machines_of_fleet", "get_progress_of_fleet", "cancel_fleet"),
    ),
    Route(
        "DELETE",
        "/fleets/{id}",
        "cancel_fleet",
        "Fleets",
        "Cancel a fleet",
        "Cancels the fleet and deletes its resources, VMs first. For a fleet that has ended, deletes "
        "its remaining resources. Idempotent. Does not accept `latest` or a prefix, which may be "
        "another fleet a moment later.",
        {
            202: Response("The fleet is being torn down.", "CancelResponse", headers=("Location",)),
            **_OF_FLEET,
            409: _problem("The ID of one fleet is the number of another."),
        },
        ("whole-id",),
        follow_ups=("get_fleet",),
    ),
    Route(
        "GET",
        "/fleets/{id}/progress",
        "get_progress_of_fleet",
        "Fleets",
        "Get a fleet's progress",
        "Trials over time, expected end, VM hours and cost. If the database is unreachable, `problem` "
        "says why, and the members that depend on it are null or empty.",
        {200: Response("The progress.", "Progress"), **_OF_FLEET},
        ("id",),
    ),
    Route(
        "GET",
        "/fleets/{id}/trials",
        "list_trials_of_fleet",
        "Fleets",
        "List a fleet's trials",
        "The trials of the fleet's experiment, page by page: method, task, VM, duration, measures, "
        "error.",
        {
            200: Response("A page of trials.", "TrialPage"),
            400: _problem("Invalid query parameters."),
            **_OF_FLEET,
        },
        ("id", "state", "traceback", "trials-limit", "trials-cursor"),
    ),
    Route(
        "GET",
        "/fleets/{id}/request",
        "get_request_of_fleet",
        "Fleets",
        "Get a fleet's request",
        "The request without its secrets, also after the fleet was purged: change it, and submit it as "
        "another fleet.",
        {
            200: Response("The request.", "FleetsRequest"),
            **{code: response for code, response in _OF_FLEET.items() if code != 410},
            404: _problem("Fleet not found, or its request was not saved."),
        },
        ("id",),
    ),
    Route(
        "POST",
        "/fleets/{id}/retry",
        "retry_fleet",
        "Fleets",
        "Retry a fleet",
        "Resets the failed trials of an ended fleet's experiment, and starts a fleet with the same "
        "request for them. Without a body. A fleet is retried once: a repeated call returns the same "
        "new fleet, and resets nothing. To retry what failed again, retry the new fleet. A request with "
        "secrets is retried for its submitter only; its `notify_url` is not kept.",
        {
            202: Response("A fleet was started.", "SubmitResponse", headers=("Location",)),
            200: Response("The fleet was retried before.", "SubmitResponse", headers=("Location",)),
            400: _problem(
                "The deployment no longer allows the request; `errors` lists every fault."
            ),
            **_OF_FLEET,
            404: _problem("Fleet not found, or its request was not saved."),
            409: _problem(
                "No trial has failed; the fleet or another one works on the experiment; the request has "
                "secrets of another submitter; or its name is in use."
            ),
            410: _problem("The request's secrets were purged with the fleet."),
            429: _TOO_MANY_VMS,
        },
        ("whole-id",),
        follow_ups=_FOLLOW_UPS,
    ),
    Route(
        "POST",
        "/plan",
        "plan",
        "Fleets",
        "Plan a fleet",
        "Checks quotas, sizes, zones, IP addresses, permissions and trials for a request. Read-only: "
        "creates, starts and stores nothing. Takes a few seconds.",
        {
            200: Response("The plan, including its faults.", "Plan"),
            400: _REFUSED,
            413: _TOO_LARGE,
            503: _UNAVAILABLE,
        },
        has_fleet_body=True,
    ),
    Route(
        "GET",
        "/fleets/{id}/machines",
        "list_machines_of_fleet",
        "Machines",
        "List a fleet's VMs",
        "A record for each VM, including failed ones: placement, timestamps, failure, follow-up action "
        "and trials. At most one polling interval old.",
        {200: Response("The VMs.", "Machines"), **_OF_FLEET},
        ("id",),
    ),
    Route(
        "GET",
        "/fleets/{id}/lock",
        "get_lock_of_fleet",
        "Machines",
        "Get a fleet's packages",
        "The packages that all of the fleet's VMs install, with versions and hashes: resolved by the "
        "first VM, or from the request. Another request can use them as `requirements_lock`.",
        {200: Response("The locks.", "PackageLocks"), **_OF_FLEET},
        ("id",),
    ),
    Route(
        "GET",
        "/fleets/{id}/machines/{ordinal}/log",
        "get_log_of_machine",
        "Machines",
        "Read a VM's log",
        "The last 32 KB of the VM's console log. The first line says how the VM ended. Available after "
        "the VM is deleted. To follow a log, repeat the request with `after`.",
        {
            200: Response("The log.", media=TEXT, headers=("Log-Next",)),
            400: _problem("Invalid query parameter."),
            **_OF_FLEET,
            404: _problem("Fleet, VM or log not found."),
        },
        ("id", "ordinal", "after"),
    ),
    Route(
        "GET",
        "/",
        "redirect_to_fleets",
        "Pages",
        "Open the list of fleets",
        "Leads a browser that opens the API's base URL to the list.",
        {302: Response("The list, as a path.", media="", headers=("Location",))},
        anonymous=True,
    ),
    Route(
        "GET",
        "/view",
        "view_fleets",
        "Pages",
        "View all fleets",
        "A web page without data: its script calls this API with the user's key (docs/view.md).",
        {200: Response("The page.", media=HTML)},
        anonymous=True,
    ),
    Route(
        "GET",
        "/view/{id}",
        "view_fleet",
        "Pages",
        "View a fleet",
        "The web page of one fleet, also without data.",
        {200: Response("The page.", media=HTML)},
        ("any-id",),
        anonymous=True,
    ),
    Route(
        "GET",
        "/submit",
        "view_submit",
        "Pages",
        "View the form that submits a fleet",
        "A web page without data: its script plans and submits a fleet with the user's key.",
        {200: Response("The page.", media=HTML)},
        anonymous=True,
    ),
    Route(
        "GET",
        "/health",
        "health",
        "App",
        "Check whether the app works",
        "Says whether the app can run fleets, and nothing else. Checks settings, database, task hub, "
        "queue and Azure at most every 15 seconds.",
        {
            200: Response("Every check passed.", "Health"),
            503: Response("A check failed or timed out.", "Health", headers=("Retry-After",)),
        },
        anonymous=True,
    ),
    Route(
        "GET",
        "/health/details",
        "get_health_details",
        "App",
        "Get the checks of the app",
        "Runs every check, for up to 10 seconds. Says what is wrong and what to do about it. Names "
        "settings, but no values.",
        {200: Response("The checks, including failed ones.", "HealthDetails")},
    ),
    Route(
        "GET",
        "/openapi.json",
        "get_openapi",
        "App",
        "Get this document",
        "The API as an OpenAPI 3.1 document.",
        {
            200: Response("The document.", "Document", headers=("ETag",)),
            304: Response("Not modified.", media="", headers=("ETag",)),
        },
        ("If-None-Match",),
        anonymous=True,
    ),
)
