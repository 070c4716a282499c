"""Whether a fleet was cancelled, by a durable mark: unlike an event, it cannot be lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df

from fleet.model import names
from fleet.model.activities import CancelChecked, WasCancelled

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@bp.durable_client_input(client_name="client")
async def was_cancelled(task: WasCancelled, client: Any) -> CancelChecked:
    """Whether `mark_cancelled` was started for this fleet. Raises if the task hub cannot be read."""
    instance = names.cancel_id(task["batch_id"])
    # Not `get_status`: it returns the same for a missing mark and for an unreadable task hub.
    found = await client.get_status_by(instance_id_prefix=instance)
    marks = [one for one in found if one.instance_id == instance]
    # The SDK rounds down to seconds. A cancel in the fleet's first second reaches its first history.
    since = datetime.fromisoformat(task["since"]) - timedelta(seconds=1)
    return {"ok": True, "cancelled": any(_created_at(one) > since for one in marks)}


def _created_at(mark: Any) -> datetime:
    return datetime.fromisoformat(mark.to_json()["createdTime"])
