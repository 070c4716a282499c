# mypy: ignore-errors
"""The app's HTTP and queue triggers, a fleet that does nothing, and an outage as long as the file
`outage` names it."""

import asyncio
import json
import os
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func
from cryptography.fernet import Fernet

from triggers import durable_client, purge, queue, submission, webhooks
from triggers.http import fleets, health

JOURNAL = Path(os.environ["JOURNAL"])
SETTINGS = {name: os.environ[name] for name in ("FLEET_SEALING_KEY", "POWERLIFT_DB_URI")}
NOWHERE = {
    "taskHubName": "",
    "creationUrls": {},
    "managementUrls": {},
    "rpcBaseUrl": "http://127.0.0.1:1/",
}

submit = submission.submit
PREPARE_TIMEOUT = submission.PREPARE_TIMEOUT


class CrashBefore(df.DurableOrchestrationClient):
    """The process crashes before the fleet is started."""

    async def start_new(self, *_, **__):
        os._exit(1)


class CrashAfter(df.DurableOrchestrationClient):
    """The process crashes after the fleet was started."""

    async def start_new(self, *arguments, **named):
        await super().start_new(*arguments, **named)
        os._exit(1)


async def submit_in_an_outage(client, *request):
    journal("tries", "once more")
    os.environ.update(SETTINGS)
    submission.PREPARE_TIMEOUT = PREPARE_TIMEOUT
    match (JOURNAL / "outage").read_text():
        case "task hub":
            client = df.DurableOrchestrationClient(json.dumps(NOWHERE))
        case "settings":
            os.environ["FLEET_SEALING_KEY"] = ""
        case "other key":
            os.environ["FLEET_SEALING_KEY"] = Fernet.generate_key().decode()
        case "database":
            os.environ["POWERLIFT_DB_URI"] = "postgresql://me:s3cret@127.0.0.1:1/db"
        case "crash before start":
            client.__class__ = CrashBefore
        case "crash after start":
            client.__class__ = CrashAfter
        case "slow preparation":
            submission.PREPARE_TIMEOUT = 1
            request = *request[:-1], lambda: asyncio.sleep(3600)
        case "hang":
            await asyncio.sleep(3600)
        case "crash":
            os._exit(1)
        case "fault":
            raise KeyError(" of ".join(("a fault", "ours")))
    return await submit(client, *request)


def journal(name, line):
    with (JOURNAL / name).open("a") as file:
        file.write(f"{line}\n")


submission.submit = submit_in_an_outage
app = df.DFApp()
app.register_functions(queue.bp)
app.register_functions(fleets.bp)
app.register_functions(purge.bp)
app.register_functions(webhooks.bp)
app.register_functions(health.bp)


@app.function_name("run_fleet")
@app.orchestration_trigger(context_name="context")
def run_fleet(context):
    order = context.get_input()
    yield context.call_activity("begin", f"{order['batch_id']} {order['n_instances']}")
    yield context.wait_for_external_event("end")


@app.function_name("teardown_fleet")
@app.orchestration_trigger(context_name="context")
def teardown_fleet(context):
    order = context.get_input()["order"]
    yield context.call_activity("begin", f"teardown-{order['batch_id']} 0")
    yield context.wait_for_external_event("end")


@app.function_name("create_wave")
@app.orchestration_trigger(context_name="context")
def create_wave(context):
    yield context.wait_for_external_event("end")


@app.function_name("begin")
@app.activity_trigger(input_name="which")
def begin(which: str):
    journal("begun", which)


@app.function_name("instance")
@app.route(route="instance/{id}")
@app.durable_client_input(client_name="client")
async def instance(req, client):
    try:
        return json.dumps(await durable_client.find(client, req.route_params["id"]))
    except durable_client.TaskHubUnavailable as error:
        return func.HttpResponse(str(error), status_code=503)
