"""What a status query answers: the state of an instance, and its history as people read it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from local.functions.durable.history import SCHEDULING, Event, EventType, parse_time

_SHOWN = frozenset(
    {
        EventType.EXECUTION_STARTED,
        EventType.EXECUTION_COMPLETED,
        EventType.EXECUTION_TERMINATED,
        EventType.TASK_COMPLETED,
        EventType.TASK_FAILED,
        EventType.SUB_ORCHESTRATION_COMPLETED,
        EventType.SUB_ORCHESTRATION_FAILED,
        EventType.TIMER_FIRED,
        EventType.EVENT_RAISED,
    }
)
_NAMES = {
    EventType.SUB_ORCHESTRATION_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.SUB_ORCHESTRATION_FAILED: "SubOrchestrationInstanceFailed",
}


def status_payload(row: sqlite3.Row, *, show_input: bool) -> dict[str, Any]:
    """The extension's `StatusResponsePayload` for a row of `instances`; times to the second."""
    return {
        "name": row["name"],
        "instanceId": row["id"],
        "runtimeStatus": row["status"],
        "input": _json(row["input"]) if show_input else None,
        "customStatus": _json(row["custom_status"]),
        "output": _json(row["output"]),
        "createdTime": _to_the_second(row["created"]),
        "lastUpdatedTime": _to_the_second(row["updated"]),
    }


def history_payload(history: Iterable[Event], *, show_output: bool) -> list[dict[str, Any]]:
    """`history` without the bookkeeping: a completion carries its task's name and start."""
    scheduled: dict[int, Event] = {}
    shown = []
    for happened in history:
        kind = EventType(happened["EventType"])
        if kind in SCHEDULING:
            scheduled[happened["EventId"]] = happened
        elif kind in _SHOWN:
            name = _NAMES.get(kind) or kind.name.title().replace("_", "")
            entry = {"EventType": name, "Timestamp": happened["Timestamp"]}
            task = scheduled.get(happened.get("TaskScheduledId", -1), {})
            if task:
                entry |= {"FunctionName": task["Name"], "ScheduledTime": task["Timestamp"]}
            entry |= _details(happened, show_output)
            shown.append(entry)
    return shown


def _details(happened: Event, show_output: bool) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if happened["EventType"] == EventType.EXECUTION_STARTED:
        details["FunctionName"] = happened["Name"]
    for key in ("Reason", "OrchestrationStatus", "FireAt"):
        if key in happened:
            details[key] = happened[key]
    if happened["EventType"] == EventType.EVENT_RAISED:
        details["Name"] = happened["Name"]
        if show_output:
            details["Input"] = _json(happened["Input"])
    if show_output and "Result" in happened:
        details["Result"] = _json(happened["Result"])
    return details


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _to_the_second(text: str) -> str:
    return parse_time(text).strftime("%Y-%m-%dT%H:%M:%SZ")
