"""The requests of submitted fleets, without their secrets, as the app's table keeps them.

Whoever may write the table, as VMs may, could change one. So each is signed, and one without a valid
signature is not used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fleet.api.request import FleetRequest
from fleet.secrets import Seal
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import OWN

_CLIENT_SECRET = "/azure_json/client_secret"  # noqa: S105 - a pointer


class RequestNotSaved(LookupError):
    """The app has no request of a fleet that it could use again."""


@dataclass(frozen=True, slots=True)
class SavedRequest:
    """A request as it was submitted, without batch ID and secrets."""

    document: dict[str, Any]
    secrets: list[str]
    """JSON pointers of the fields that were left out."""


def to_text(request: FleetRequest) -> str:
    """The request without batch ID and secrets, for the table."""
    left_out: Any = {"batch_id": True, "uri": True, "azure_json": {"client_secret"}}
    document = request.model_dump(mode="json", exclude_unset=True, exclude=left_out)
    if request.powerlift_version is not None:
        document["powerlift_version"] = request.powerlift_version
    secrets = {
        "/uri": request.uri,
        _CLIENT_SECRET: request.azure_json.client_secret,
        "/notify_url": request.notify_url,
    }
    saved = {"document": document, "secrets": [name for name, value in secrets.items() if value]}
    return json.dumps(saved, sort_keys=True)


def signed(owner: str, batch_id: int, submitted_by: str, text: str) -> list[Any]:
    """What a signature is of: the request, and who submitted it."""
    return ["request", owner, batch_id, submitted_by, text]


async def read(row: fleets.Row, settings: Settings, seal: Seal) -> SavedRequest:
    """The request of a fleet. Raises RequestNotSaved, DatabaseUnreachable."""
    text, signature = await OWN.run(fleets.saved_request, settings.database_uri, row.batch_id)
    if text is None or signature is None:
        raise RequestNotSaved(
            f"An earlier build of the app accepted fleet-{row.number}, and did not save its request. "
            "Submit it again as a new fleet."
        )
    document = signed(settings.owner, row.batch_id, row.submitted_by, text)
    if not seal.has_signed(document, signature):
        raise RequestNotSaved(
            f"The saved request of fleet-{row.number} has no valid signature: it was changed in the "
            "app's table, or FLEET_SEALING_KEY or FLEET_OWNER has changed. It was not used. Submit the "
            "request again as a new fleet."
        )
    return SavedRequest(**json.loads(text))
