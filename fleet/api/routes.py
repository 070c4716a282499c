"""The API's routes, as one table: what each takes, every answer it gives, and where to go from there.

The OpenAPI document and docs/api.md are made of it. A test holds it against the registered functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route may answer."""

    description: str
    schema: str = ""
    """A type of `fleet.api.responses`; for TEXT and HTML plain text; without media type, no body."""
    media: str = JSON
    headers: tuple[str, ...] = ()
    """Names in HEADERS."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path. `name` is the function's, and the operation's id."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    parameters: tuple[str, ...] = ()
    """Names in PARAMETERS."""
    takes_fleet: bool = False
    """Whether the body is a FleetRequest."""
    anonymous: bool = False
    leads_to: tuple[str, ...] = field(default=())
    """Names of routes that take the fleet's id from this one's answer."""


TAGS = {
    "Fleets": "Ask for fleets, see how they are, cancel them.",
    "Machines": "A fleet's VMs.",
    "Pages": "Fleets to look at in a browser; these need no key.",
    "App": "The app itself; these need no key.",
}

HEADERS: dict[str, dict[str, Any]] = {
    "Location": {
        "description": "The fleet's URL.",
        "required": True,
        "schema": {"type": "string", "format": "uri"},
    },
    "ETag": {
        "description": "Of this document; send it as If-None-Match.",
        "required": True,
        "schema": {"type": "string"},
    },
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The fleet's id: `fleet-` and its batch id.",
        "schema": {"type": "string", "pattern": "^fleet-(0|[1-9][0-9]{0,18})$"},
        "example": "fleet-7",
    },
    "any-id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The fleet's id. The page is the same for all; its script asks for the fleet.",
        "schema": {"type": "string", "minLength": 1},
        "example": "fleet-7",
    },
    "ordinal": {
        "name": "ordinal",
        "in": "path",
        "required": True,
        "description": "The VM's number within the fleet.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,4}$"},
        "example": "3",
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Stands for a `batch_id`, where the request has none: the same key is the same "
        "fleet, however often it is sent.",
        "schema": {"type": "string"},
        "example": "benchmark-of-march-1",
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of the document that you have.",
        "schema": {"type": "string"},
    },
}

_REFUSED = Answer("The request cannot be a fleet; `errors` has every reason.", "Problem", PROBLEM)
_TOO_LARGE = Answer("The body has more than a million bytes.", "Problem", PROBLEM)
_NO_FLEET = Answer("There is no such fleet.", "Problem", PROBLEM)
_NOT_SET_UP = Answer(
    "The app's settings are missing or wrong, or do not open what the fleet has sealed.",
    "Problem",
    PROBLEM,
)
NO_KEY = Answer("The key is missing or wrong. The Functions host answers this itself.", media="")

ROUTES = (
    Route(
        "POST",
        "/fleets",
        "submit_fleet",
        "Fleets",
        "Submit a fleet",
        "Starts the fleet that the body asks for, and answers at once. A request that is sent again, "
        "under the same `batch_id` or `Idempotency-Key` and in the same words, is the same fleet, also "
        "when that one has ended.",
        {
            202: Answer("A new fleet has begun.", "Submitted", headers=("Location",)),
            200: Answer("That fleet is there already.", "Submitted", headers=("Location",)),
            400: _REFUSED,
            409: Answer("The batch is that of another request.", "Problem", PROBLEM),
            413: _TOO_LARGE,
            503: _NOT_SET_UP,
        },
        ("Idempotency-Key",),
        takes_fleet=True,
        leads_to=(
            "get_fleet",
            "list_machines_of_fleet",
            "get_progress_of_fleet",
            "cancel_fleet",
        ),
    ),
    Route(
        "GET",
        "/fleets",
        "list_fleets",
        "Fleets",
        "List fleets",
        "The fleets that the app still knows, those that have ended included, the newest first. With "
        "more than a hundred, older ones may be missing.",
        {200: Answer("The fleets.", "Fleets")},
    ),
    Route(
        "GET",
        "/fleets/{id}",
        "get_fleet",
        "Fleets",
        "See how a fleet is",
        "Its phase, its VMs and trials by state, and what went wrong, grouped by code. Worth asking "
        "every few seconds: that is how often a fleet looks.",
        {200: Answer("The fleet.", "Fleet"), 404: _NO_FLEET},
        ("id",),
        leads_to=("list_machines_of_fleet", "get_progress_of_fleet", "cancel_fleet"),
    ),
    Route(
        "DELETE",
        "/fleets/{id}",
        "cancel_fleet",
        "Fleets",
        "Cancel a fleet",
        "Cancels the fleet and deletes what it has made, its VMs first. Of one that has ended it "
        "deletes what was left standing. May be sent again.",
        {
            202: Answer("The fleet ends.", "Cancelled", headers=("Location",)),
            404: _NO_FLEET,
        },
        ("id",),
        leads_to=("get_fleet",),
    ),
    Route(
        "GET",
        "/fleets/{id}/progress",
        "get_progress_of_fleet",
        "Fleets",
        "See how far a fleet is",
        "Trials over time, when they will be done, VM hours, and what these cost. Where the database "
        "does not answer, `problem` says so, and what it would know is null or empty.",
        {200: Answer("The progress.", "Progress"), 404: _NO_FLEET, 503: _NOT_SET_UP},
        ("id",),
    ),
    Route(
        "POST",
        "/plan",
        "plan",
        "Fleets",
        "Plan a fleet",
        "What a fleet of this request would meet: quotas, sizes, zones, addresses, rights, trials. "
        "Reads only; nothing is created, started or kept. Answers in seconds.",
        {
            200: Answer("The plan, with whatever stands in the way.", "Plan"),
            400: _REFUSED,
            413: _TOO_LARGE,
            503: _NOT_SET_UP,
        },
        takes_fleet=True,
    ),
    Route(
        "GET",
        "/fleets/{id}/machines",
        "list_machines_of_fleet",
        "Machines",
        "List a fleet's VMs",
        "A record for each VM, those that failed included: where it is or was, its times, why it ended, "
        "what was done then, and its trials. At most one look of the fleet old.",
        {200: Answer("The VMs.", "Machines"), 404: _NO_FLEET, 503: _NOT_SET_UP},
        ("id",),
    ),
    Route(
        "GET",
        "/fleets/{id}/machines/{ordinal}/log",
        "get_log_of_machine",
        "Machines",
        "Read a VM's log",
        "The last 32 KB of the VM's console; the first line tells how it ended. Kept when the VM is "
        "gone.",
        {
            200: Answer("The log.", media=TEXT),
            404: Answer("There is no such fleet, no such VM, or no log.", "Problem", PROBLEM),
            503: _NOT_SET_UP,
        },
        ("id", "ordinal"),
    ),
    Route(
        "GET",
        "/view",
        "view_fleets",
        "Pages",
        "Watch all fleets",
        "A page for people. It holds no data: its script asks this API, with the key that its user "
        "gives it (docs/view.md).",
        {200: Answer("The page.", media=HTML)},
        anonymous=True,
    ),
    Route(
        "GET",
        "/view/{id}",
        "view_fleet",
        "Pages",
        "Watch a fleet",
        "The page of one fleet, likewise without data.",
        {200: Answer("The page.", media=HTML)},
        ("any-id",),
        anonymous=True,
    ),
    Route(
        "GET",
        "/health",
        "health",
        "App",
        "See whether the app is set up",
        "Looks at the app's settings alone: it asks neither Azure nor the database.",
        {
            200: Answer("The app can take requests.", "Health"),
            503: Answer("Settings are missing or wrong; each is named.", "Problem", PROBLEM),
        },
        anonymous=True,
    ),
    Route(
        "GET",
        "/openapi.json",
        "get_openapi",
        "App",
        "Get this document",
        "The API as an OpenAPI 3.1 document.",
        {
            200: Answer("The document.", "Document", headers=("ETag",)),
            304: Answer("You have it.", media="", headers=("ETag",)),
        },
        ("If-None-Match",),
        anonymous=True,
    ),
)
