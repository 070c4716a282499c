# mypy: ignore-errors
"""Orchestrations that each test one feature, and an HTTP API for the durable client."""

import asyncio
import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Backoff(df.RetryOptions):
    """Retry options with the two fields that the host reads and the SDK does not offer."""

    def to_json(self) -> dict:
        more = {"backoffCoefficient": 3.0, "maxRetryIntervalInMilliseconds": 2000}
        return {**super().to_json(), **more}


def _note(name: str, text: str) -> None:
    """Append a line to the journal `name`, so that tests see what ran, when and where."""
    with (Path(os.environ["JOURNAL"]) / name).open("a") as journal:
        journal.write(f"{text} {time.time()} {os.getpid()}\n")


# -- activities ------------------------------------------------------------------------------


@app.activity_trigger(input_name="x")
def double(x: int) -> int:
    return 2 * x


@app.activity_trigger(input_name="call")
async def work(call: dict) -> str:
    """Log the call, wait `seconds`, fail `fails` times, return the name."""
    _note(call["journal"], call["name"])
    await asyncio.sleep(call.get("seconds", 0))
    runs = (Path(os.environ["JOURNAL"]) / call["journal"]).read_text().splitlines()
    mine = [line for line in runs if line.split()[0] == call["name"]]
    if len(mine) <= call.get("fails", 0):
        raise ValueError(f"{call['name']} failed")
    return call["name"]


@app.activity_trigger(input_name="text")
def broken(text: str) -> None:
    raise ValueError(text)


@app.activity_trigger(input_name="instance")
@app.durable_client_input(client_name="client")
async def status_of(instance: str, client: df.DurableOrchestrationClient) -> str:
    return (await client.get_status(instance)).runtime_status.name


@app.activity_trigger(input_name="seconds")
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


# -- orchestrators ---------------------------------------------------------------------------


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    count = context.get_input()["count"]
    doubled = yield context.task_all([context.call_activity("double", i) for i in range(count)])
    return sum(doubled)


@app.orchestration_trigger(context_name="context")
def children(context: df.DurableOrchestrationContext):
    calls = [context.call_sub_orchestrator("fan_out", {"count": n}) for n in (3, 4)]
    return (yield context.task_all(calls))


@app.orchestration_trigger(context_name="context")
def child_fails(context: df.DurableOrchestrationContext):
    try:
        yield context.call_sub_orchestrator("fails", {"text": "no"}, "the-failing-child")
    except Exception as error:
        return str(error)


@app.orchestration_trigger(context_name="context")
def child_retried(context: df.DurableOrchestrationContext):
    options = df.RetryOptions(20, 3)
    call = context.get_input()
    return (yield context.call_sub_orchestrator_with_retry("one_call", options, call))


@app.orchestration_trigger(context_name="context")
def one_call(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("work", context.get_input()))


@app.orchestration_trigger(context_name="context")
def fails(context: df.DurableOrchestrationContext):
    yield context.call_activity("broken", context.get_input()["text"])


@app.orchestration_trigger(context_name="context")
def catches(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("broken", context.get_input()["text"])
    except Exception as error:
        return str(error)


@app.orchestration_trigger(context_name="context")
def retries(context: df.DurableOrchestrationContext):
    """Run `calls` concurrently, each with `attempts`; then one more activity."""
    given = context.get_input()
    options = Backoff(given.get("first_ms", 20), given["attempts"])
    tasks = [context.call_activity_with_retry("work", options, call) for call in given["calls"]]
    try:
        names = yield context.task_all(tasks)
    except Exception as error:
        names = str(error)
    after = yield context.call_activity("double", 21)
    return [names, after]


@app.orchestration_trigger(context_name="context")
def sequence(context: df.DurableOrchestrationContext):
    """Run a group of calls; then one more call, even if the group failed."""
    given = context.get_input()
    try:
        yield context.task_all([context.call_activity("work", call) for call in given["group"]])
    except Exception:
        yield context.call_activity("work", given["then"])
    return "done"


@app.orchestration_trigger(context_name="context")
def catches_while_a_sibling_retries(context: df.DurableOrchestrationContext):
    """An anti-pattern: a child of task_all raises while its sibling still retries."""
    journal = context.get_input()["journal"]
    hopeless = {"journal": journal, "name": "hopeless", "fails": 9}
    slow = {"journal": journal, "name": "slow", "fails": 1, "seconds": 0.3}
    tasks = [
        context.call_activity_with_retry("work", df.RetryOptions(10, 1), hopeless),
        context.call_activity_with_retry("work", df.RetryOptions(10, 2), slow),
    ]
    try:
        yield context.task_all(tasks)
    except Exception:
        return (yield context.call_activity("double", 21))


@app.orchestration_trigger(context_name="context")
def race(context: df.DurableOrchestrationContext):
    """The event `go` against a timer."""
    seconds = context.get_input()["seconds"]
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
    event = context.wait_for_external_event("go")
    winner = yield context.task_any([timer, event])
    if winner == timer:
        return "timer"
    timer.cancel()
    rest = yield context.call_activity("double", 1)
    return [json.loads(event.result), rest]


@app.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext):
    """An activity first, so that events can be there before their waits."""
    yield context.call_activity("sleep", 0.3)
    first = yield context.wait_for_external_event("go")
    second = yield context.wait_for_external_event("go")
    return [json.loads(first), json.loads(second)]


@app.orchestration_trigger(context_name="context")
def collector(context: df.DurableOrchestrationContext):
    """One event for each execution, until there are three."""
    seen = context.get_input()["seen"]
    item = yield context.wait_for_external_event("item")
    seen = [*seen, json.loads(item)]
    if len(seen) < 3:
        context.continue_as_new({"seen": seen})
        return None
    return seen


@app.orchestration_trigger(context_name="context")
def counter(context: df.DurableOrchestrationContext):
    count = context.get_input()["count"]
    yield context.call_activity("double", count)
    if count < 20:
        context.continue_as_new({"count": count + 1})
        return None
    return count


@app.orchestration_trigger(context_name="context")
def counts_in_a_child(context: df.DurableOrchestrationContext):
    return (yield context.call_sub_orchestrator("counter", context.get_input()))


@app.orchestration_trigger(context_name="context")
def reports(context: df.DurableOrchestrationContext):
    """Set a custom status of the given length, then wait for the event `go`."""
    context.set_custom_status({"text": "x" * context.get_input()["length"]})
    yield context.wait_for_external_event("go")
    return "done"


@app.orchestration_trigger(context_name="context")
def calls_unknown(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("no_such_activity", 1))


@app.orchestration_trigger(context_name="context")
def erratic(context: df.DurableOrchestrationContext):
    """Calls another activity on the second replay than on the first."""
    name = "sleep" if context.instance_id in _seen else "double"
    _seen.add(context.instance_id)
    yield context.call_activity(name, 0)
    yield context.wait_for_external_event("go")


_seen: set[str] = set()


@app.orchestration_trigger(context_name="context")
def instant(context: df.DurableOrchestrationContext):
    return context.get_input()


@app.orchestration_trigger(context_name="context")
def asks_for_itself(context: df.DurableOrchestrationContext):
    return (yield context.call_activity(status_of, context.instance_id))


@app.orchestration_trigger(context_name="context")
def timed(context: df.DurableOrchestrationContext):
    """When a timer was due, and the orchestrator's clock when it fired."""
    fire_at = context.current_utc_datetime + timedelta(seconds=context.get_input()["seconds"])
    yield context.create_timer(fire_at)
    return [fire_at.timestamp(), context.current_utc_datetime.timestamp()]


@app.orchestration_trigger(context_name="context")
def slow_replay(context: df.DurableOrchestrationContext):
    """Blocks, which an orchestrator must not do, to make long episodes. Waits for `events` events."""
    given = context.get_input()
    _note(given["journal"], "replay")
    time.sleep(given["seconds"])
    taken = []
    for _ in range(given.get("events", 0)):
        taken.append(json.loads((yield context.wait_for_external_event("go"))))
    return taken


@app.orchestration_trigger(context_name="context")
def version_of(context: df.DurableOrchestrationContext):
    return context.version


@app.orchestration_trigger(context_name="context")
def children_of_versions(context: df.DurableOrchestrationContext):
    """The versions of itself, of a child, and of a child with an explicit version."""
    child = yield context.call_sub_orchestrator("version_of")
    named = yield context.call_sub_orchestrator("version_of", version="0.1")
    return [context.version, child, named]


@app.orchestration_trigger(context_name="context")
def versions_in_time(context: df.DurableOrchestrationContext):
    """In each of three executions, after an event `go`: the versions of itself and of a new child."""
    seen = context.get_input() or []
    yield context.wait_for_external_event("go")
    child = yield context.call_sub_orchestrator("version_of")
    seen = [*seen, [context.version, child]]
    context.set_custom_status(len(seen))
    if len(seen) < 3:
        context.continue_as_new(seen)
        return None
    return seen


@app.orchestration_trigger(context_name="context")
def long_timer(context: df.DurableOrchestrationContext):
    yield context.create_timer(context.current_utc_datetime + timedelta(days=30))


# -- the durable client over HTTP ------------------------------------------------------------


@app.route(route="client/{verb}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def client_call(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Call a method of the client by name with the body's arguments, and return its result."""
    arguments = json.loads(req.get_body() or b"{}")
    for name in ("created_time_from", "created_time_to"):
        if name in arguments:
            arguments[name] = datetime.fromisoformat(arguments[name])
    if "runtime_status" in arguments:
        statuses = [df.OrchestrationRuntimeStatus(s) for s in arguments["runtime_status"]]
        arguments["runtime_status"] = statuses
    try:
        result = await getattr(client, req.route_params["verb"])(**arguments)
    except Exception as error:
        return func.HttpResponse(str(error), status_code=409)
    return _answer(result)


def _answer(result: object) -> func.HttpResponse:
    if isinstance(result, list):
        result = [one.to_json() for one in result]
    elif hasattr(result, "runtime_status"):  # falsy where there is no such instance
        result = (
            None
            if not result
            else {**result.to_json(), "historyEvents": getattr(result, "historyEvents", None)}
        )
    elif hasattr(result, "instances_deleted"):
        result = result.instances_deleted
    return func.HttpResponse(json.dumps(result), mimetype="application/json")


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    given = req.get_json()
    instance_id = await client.start_new(
        req.route_params["name"], given.get("id"), given.get("input")
    )
    return client.create_check_status_response(req, instance_id)
