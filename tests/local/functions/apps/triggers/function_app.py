# mypy: ignore-errors
"""HTTP functions of every kind, a timer, and a queue function without a connection."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="echo", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    body = {"body": req.get_body().decode(), "params": dict(req.params), "method": req.method}
    headers = {"Content-Type": "application/vnd.echo+json", "X-Echo": req.headers.get("x-say", "")}
    return func.HttpResponse(json.dumps(body), status_code=201, headers=headers)


@app.route(route="{root:maxlength(0)?}", methods=["GET"])
async def root(req: func.HttpRequest) -> str:
    return "the root"


@app.route(route="plain")
def plain(req: func.HttpRequest) -> str:
    return "plain text"


@app.route(route="machines/{id}", methods=["GET"])
async def machine(req: func.HttpRequest) -> str:
    return f"machine {req.route_params['id']}"


@app.route(route="machines/all", methods=["GET"])
async def machines(req: func.HttpRequest) -> str:
    return "all machines"


@app.route(route="runs/{n:int?}", methods=["GET"])
async def run(req: func.HttpRequest) -> str:
    return f"run {req.route_params.get('n')}"


@app.route(route="fails")
async def fails(req: func.HttpRequest) -> str:
    raise ValueError("a secret text")


@app.route(route="with-key", auth_level=func.AuthLevel.FUNCTION)
def with_key(req: func.HttpRequest) -> str:
    return "let in"


@app.route(route="too", auth_level=func.AuthLevel.FUNCTION)
def with_key_too(req: func.HttpRequest) -> str:
    return "let in"


@app.route(route="for-admin", auth_level=func.AuthLevel.ADMIN)
def for_admin(req: func.HttpRequest) -> str:
    return "let in"


@app.route(route="context")
def with_context(req: func.HttpRequest, context: func.Context) -> str:
    logging.info("a line of the user's")
    return context.function_name


@app.route(route="block/{seconds:int}")
def block(req: func.HttpRequest) -> str:
    (Path(os.environ["JOURNAL"]) / "blocked").write_text("now\n")
    time.sleep(int(req.route_params["seconds"]))
    return "done"


@app.timer_trigger(schedule="%TIMER_SCHEDULE%", arg_name="timer", run_on_startup=False)
async def tick(timer: func.TimerRequest) -> None:
    await asyncio.sleep(0)
    with (Path(os.environ["JOURNAL"]) / "ticks").open("a") as journal:
        journal.write("late\n" if timer.past_due else "tick\n")


@app.queue_trigger(arg_name="msg", queue_name="never", connection="NoSuchConnection")
def never(msg: func.QueueMessage) -> None:
    raise AssertionError("this trigger is off")
