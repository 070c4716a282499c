"""The storage queue: the same request as over HTTP, one message a fleet."""

from __future__ import annotations

import os
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api import strict_json
from fleet.api.request import RequestRefused
from triggers import submission

bp = df.Blueprint()

# Read here and not as %FLEET_QUEUE% in the binding, which cannot have a default.
QUEUE = os.environ.get("FLEET_QUEUE") or "powerlift-fleets"


@bp.function_name("submit_fleet_from_queue")
@bp.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
@bp.queue_output(arg_name="poison", queue_name=f"{QUEUE}-poison", connection="AzureWebJobsStorage")
@bp.durable_client_input(client_name="client")
async def submit_fleet_from_queue(
    message: func.QueueMessage, poison: func.Out[str], client: Any
) -> None:
    """A message delivered twice is one fleet: without batch_id, the message's id is the key.

    What can never be a fleet goes to the poison queue at once; any other error is the host's to
    retry (a setting that is missing may be there in a minute).
    """
    body = message.get_body()
    try:
        accepted = await submission.submit(client, strict_json.read(body), message.id)
    except (RequestRefused, submission.BatchTaken) as refused:
        told = (message.id, QUEUE, refused)
        extra = {"event": "request.refused"}
        telemetry.LOG.error("Message %s is refused and goes to %s-poison: %s", *told, extra=extra)
        poison.set(body.decode(errors="replace"))
    else:
        known = "" if accepted.created else " (it was there already)"
        extra = {"event": "message.taken", "fleet": accepted.id}
        telemetry.LOG.info("Message %s is %s%s", message.id, accepted.id, known, extra=extra)
