# mypy: ignore-errors
"""Queue functions, controlled by their messages."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()


def _note(name: str, text: str) -> None:
    with (Path(os.environ["JOURNAL"]) / name).open("a") as journal:
        journal.write(text + "\n")


@app.queue_trigger(arg_name="msg", queue_name="%WORK_QUEUE%", connection="Storage")
def work(msg: func.QueueMessage) -> None:
    order = msg.get_json()
    _note(order["journal"], json.dumps([msg.id, msg.dequeue_count, msg.pop_receipt is not None]))
    time.sleep(order.get("seconds", 0))
    if msg.dequeue_count <= order.get("fails", 0):
        raise ValueError("failed on request")


@app.queue_trigger(arg_name="text", queue_name="texts", connection="Storage")
async def take_text(text: str) -> None:
    _note("texts", text)


@app.queue_trigger(arg_name="text", queue_name="letters", connection="Storage")
@app.queue_output(arg_name="copies", queue_name="copies", connection="Storage")
def copy(text: str, copies: func.Out[list[str]]) -> None:
    copies.set([f"first {text}", f"second {text}"])
    if text == "torn":
        raise ValueError("failed after it set its output")


@app.queue_trigger(arg_name="msg", queue_name="anything", connection="Storage")
def anything(msg: func.QueueMessage) -> None:
    hidden = msg.time_next_visible - datetime.now(UTC)
    _note("anything", json.dumps([msg.get_body().decode(), hidden.total_seconds()]))


@app.queue_trigger(arg_name="text", queue_name="late", connection="Storage")
def late(text: str) -> None:
    _note("late", text)


@app.queue_trigger(
    arg_name="msg", queue_name="binaries", connection="Storage", data_type=func.DataType.BINARY
)
@app.queue_output(arg_name="copies", queue_name="binary-copies", connection="Storage")
def binaries(msg: func.QueueMessage, copies: func.Out[bytes]) -> None:
    copies.set(msg.get_body())


@app.queue_trigger(arg_name="text", queue_name="texts-to-copy", connection="Storage")
@app.queue_output(arg_name="copies", queue_name="text-copies", connection="Storage")
def copy_text(text: str, copies: func.Out[str]) -> None:
    copies.set(text)
