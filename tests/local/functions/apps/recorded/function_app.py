# mypy: ignore-errors
"""A short version of the recorded fleet: two waves, a watch phase, a cancel, a teardown.

The contexts passed to the SDK are written to the journal `episodes`. Activities wait for the events that
precede their results, so that every run has the same histories.
"""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import azure.durable_functions as df

app = df.DFApp()
journals = Path(os.environ["JOURNAL"])

# -- contexts --------------------------------------------------------------------------------

read = df.DurableOrchestrationContext.from_json


def record_and_read(text: str) -> df.DurableOrchestrationContext:
    with (journals / "episodes").open("a") as journal:
        journal.write(text + "\n")
    return read(text)


df.DurableOrchestrationContext.from_json = record_and_read


def until(good) -> None:
    deadline = time.monotonic() + 30
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def opened(gate: str) -> None:
    """Wait until the test opens the gate."""
    until((journals / gate).exists)


def has_seen(instance: str, *wanted: int) -> bool:
    """Whether these are an instance's last events of their types."""
    for line in reversed((journals / "episodes").read_text().splitlines()):
        context = json.loads(line)
        if context["instanceId"] == instance:
            seen = [e["EventType"] for e in context["history"] if e["EventType"] in wanted]
            return tuple(seen[-len(wanted) :]) == wanted
    return False


# -- activities ------------------------------------------------------------------------------


@app.activity_trigger(input_name="task")
def step(task: dict) -> dict:
    if "gate" in task:
        opened(task["gate"])
    if "after" in task:
        until(lambda: has_seen(*task["after"]))
    return {"ok": True}


# -- orchestrators ---------------------------------------------------------------------------


@app.orchestration_trigger(context_name="context")
def run_fleet(context: df.DurableOrchestrationContext):
    state = context.get_input()
    watching = "order" in state
    opened("started")
    cancel = context.wait_for_external_event("cancel")
    yield context.task_any([cancel, context.create_timer(context.current_utc_datetime)])
    if watching:
        return (yield from watch(context, cancel))
    for pause in (0, 0, 1, 1):
        if pause:
            yield context.create_timer(context.current_utc_datetime + timedelta(seconds=pause))
        yield context.call_activity("step", {})
    for wave in (1, 2):
        context.set_custom_status({"phase": "create", "wave": wave})
        yield context.call_sub_orchestrator("create_wave", {"wave": wave}, f"wave-1-{wave}")
        yield context.call_activity("step", {})
        yield context.call_activity("step", {"gate": "created"})
    context.continue_as_new({"order": state})


def watch(context: df.DurableOrchestrationContext, cancel):
    yield context.call_activity("step", {})
    context.set_custom_status({"phase": "watch"})
    yield context.call_activity("step", {"gate": "watched"})
    while not cancel.is_completed:
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=2))
        yield context.task_any([cancel, timer])
    timer.cancel()
    yield context.call_sub_orchestrator("teardown_fleet", {}, "teardown-1")
    yield context.call_activity("step", {})
    yield context.call_activity("step", {})
    return {"summary": {"phase": "cancelled"}}


@app.orchestration_trigger(context_name="context")
def create_wave(context: df.DurableOrchestrationContext):
    me = context.instance_id
    for done in (1, 3):
        later = {"after": [me, *[5] * done]}  # TaskCompleted
        tasks = [context.call_activity("step", task) for task in ({}, later)]
        yield context.task_all(tasks)
    return {"machines": []}


@app.orchestration_trigger(context_name="context")
def teardown_fleet(context: df.DurableOrchestrationContext):
    yield context.call_activity("step", {"after": ["fleet-1", 15, 11]})  # EventRaised, TimerFired
    return {"ok": True}


@app.orchestration_trigger(context_name="context")
def mark_cancelled(context: df.DurableOrchestrationContext):
    yield from ()
    return context.get_input()
