"""The parameters of requests and the headers of responses, by the names that `routes.ROUTES` uses."""

from __future__ import annotations

from typing import Any

from fleet.api import fleet_list, trial_list
from fleet.store.trial_list import STATES

HEADERS: dict[str, dict[str, Any]] = {
    "Location": {
        "description": "The URL of the fleet; of `GET /`, the path of the page.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds after which to repeat the request. Absent if the settings are invalid, "
        "which no repetition cures.",
        "required": False,
        "schema": {"type": "integer"},
    },
    "Log-Next": {
        "description": "Where the next part begins, for `after`: after the last complete line. "
        "`console-` and a number of bytes while the VM exists, `stored-` and a number once it was "
        "deleted and its log is complete. The two are not comparable: the first response with "
        "`stored-` has the whole stored log.",
        "required": True,
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "The document's ETag, for If-None-Match.",
        "required": True,
        "schema": {"type": "string"},
    },
}


_TEXT = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$"}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name, "in": "query", "required": False, "description": description,
        "schema": schema,
    }  # fmt: skip


def _id(description: str) -> dict[str, Any]:
    return {
        "name": "id", "in": "path", "required": True, "description": description,
        "schema": {"type": "string", "minLength": 1}, "example": "fleet-7",
    }  # fmt: skip


PARAMETERS: dict[str, dict[str, Any]] = {
    "id": _id(
        "The fleet: `fleet-` and its batch ID or number, its name, `latest`, or an "
        "unambiguous prefix of one of these."
    ),
    "whole-id": _id(
        "The fleet: `fleet-` and its batch ID or number, the number alone, or its complete name."
    ),
    "any-id": _id("The fleet's ID. The page is static; its script requests the fleet."),
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
        "description": "Replaces `batch_id` if the request has none. Requests with the same key start "
        "one fleet.",
        "schema": {"type": "string"},
        "example": "benchmark-of-march-1",
    },
    "status": _query(
        "status",
        "Only fleets in this phase; `active`: not ended; `ended`: done, cancelled or failed.",
        {"type": "string", "enum": list(fleet_list.STATUSES)},
    ),
    "experiment": _query("experiment", "Only fleets of this experiment, by ID or name.", _TEXT),
    "submitted_by": _query(
        "submitted_by", "Only fleets of this submitter, as `submitted_by` shows it.", _TEXT
    ),
    "since": _query(
        "since",
        "Only fleets submitted at this time or later.",
        {"type": "string", "format": "date-time"},
    ),
    "sort": _query(
        "sort",
        "The order, by time of submission.",
        {"type": "string", "enum": list(fleet_list.SORTS), "default": "newest"},
    ),
    "limit": _query(
        "limit",
        "Fleets per page.",
        {"type": "integer", "minimum": 1, "maximum": fleet_list.MAX_LIMIT, "default": 50},
    ),
    "cursor": _query(
        "cursor",
        "The `next` of the previous page; the other parameters as there.",
        {"type": "string"},
    ),
    "after": _query(
        "after",
        "The `Log-Next` of an earlier response: only the complete lines after it, 32 KB at most, and no "
        "line about the VM. Empty if there are none yet.",
        {"type": "string", "pattern": "^(console|stored)-[0-9]{1,15}$"},
    ),
    "state": _query(
        "state", "Only trials in this state.", {"type": "string", "enum": list(STATES)}
    ),
    "traceback": _query(
        "traceback",
        "Whether failed trials have their traceback.",
        {"type": "string", "enum": list(trial_list.SWITCH), "default": "false"},
    ),
    "trials-limit": _query(
        "limit",
        "Trials per page.",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": trial_list.MAX_LIMIT,
            "default": trial_list.DEFAULT_LIMIT,
        },
    ),
    "trials-cursor": _query(
        "cursor",
        "The `next` of the previous page; `state` as there.",
        {"type": "string", "pattern": "^[0-9]{1,10}$"},
    ),
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of the cached document.",
        "schema": {"type": "string"},
    },
}
