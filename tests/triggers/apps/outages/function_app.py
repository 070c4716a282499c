# mypy: ignore-errors
"""The app's queue trigger, with an outage that lasts as long as the file `outage` names it."""

import json
import os
from pathlib import Path

import azure.durable_functions as df

from fleet.store.database import DatabaseUnreachable
from triggers import durable_client, queue, submission

JOURNAL = Path(os.environ["JOURNAL"])
NOWHERE = {
    "taskHubName": "",
    "creationUrls": {},
    "managementUrls": {},
    "rpcBaseUrl": "http://127.0.0.1:1/",
}

submit = submission.submit


async def submit_in_an_outage(client, document, key):
    with (JOURNAL / "tries").open("a") as tries:
        tries.write("once more\n")
    match (JOURNAL / "outage").read_text():
        case "task hub":
            client = df.DurableOrchestrationClient(json.dumps(NOWHERE))
        case "settings":
            os.environ["FLEET_SEALING_KEY"] = ""
        case "database":
            raise DatabaseUnreachable("The database does not answer.")
        case "fault":
            raise KeyError(" of ".join(("a fault", "ours")))
        case _:
            os.environ["FLEET_SEALING_KEY"] = os.environ["KEY"]
    return await submit(client, document, key)


submission.submit = submit_in_an_outage
app = df.DFApp()
app.register_functions(queue.bp)


@app.function_name("run_fleet")
@app.orchestration_trigger(context_name="context")
def run_fleet(context):
    return "made"


@app.function_name("fleets")
@app.route(route="fleets/{id}")
@app.durable_client_input(client_name="client")
async def fleets(req, client):
    return json.dumps(await durable_client.find(client, req.route_params["id"]))
