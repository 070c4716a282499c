"""Whether somebody cancelled a fleet: asked of the task hub, where no event can be lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.results import Json
from fleet.model import names

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@bp.durable_client_input(client_name="client")
async def was_cancelled(task: Json, client: Any) -> Json:
    """`{batch_id, since}` -> `{cancelled}`: whether `mark_cancelled` was started for this fleet.

    A mark from before `since` (ISO 8601, the fleet's beginning) was an earlier fleet's of that batch.
    """
    instance = names.cancel_id(task["batch_id"])
    # Not `get_status`: that says the same of no mark and of a task hub that cannot be read.
    found = await client.get_status_by(instance_id_prefix=instance)
    marks = [one for one in found if one.instance_id == instance]
    # The SDK tells whole seconds. A cancel in the fleet's first one meets its first history.
    since = datetime.fromisoformat(task["since"]) - timedelta(seconds=1)
    return {"ok": True, "cancelled": any(_marked_at(one) > since for one in marks)}


def _marked_at(mark: Any) -> datetime:
    return datetime.fromisoformat(mark.to_json()["createdTime"])
