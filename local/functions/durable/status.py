"""The responses to status queries: an instance's state and its readable history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from local.functions.durable.history import Event, EventType, parse_time

_OMITTED_EVENTS = frozenset({EventType.ORCHESTRATOR_STARTED, EventType.ORCHESTRATOR_COMPLETED})
_COMPLETED = frozenset({EventType.TASK_COMPLETED, EventType.SUB_ORCHESTRATION_COMPLETED})
_OMITTED_MEMBERS = frozenset(
    {"EventId", "IsPlayed", "OrchestrationInstance", "ParentInstance", "TaskScheduledId", "TimerId"}
)
_OMITTED_BY_KIND = {
    EventType.EXECUTION_STARTED: frozenset({"Name", "Version", "Tags"}),
    EventType.TASK_SCHEDULED: frozenset({"Version"}),
    EventType.SUB_ORCHESTRATION_CREATED: frozenset({"Version"}),
}
_RESULTS = _COMPLETED | {EventType.EXECUTION_COMPLETED}


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


def history_payload(
    history: Iterable[Event], *, show_input: bool, show_output: bool
) -> list[dict[str, Any]]:
    """`history` as the extension returns it: a completed task is one event."""
    shown: dict[int, dict[str, Any]] = {}
    scheduled: dict[int, int] = {}
    for index, happened in enumerate(history):
        kind = EventType(happened["EventType"])
        if kind in _OMITTED_EVENTS:
            continue
        omitted = _OMITTED_MEMBERS | _OMITTED_BY_KIND.get(kind, frozenset())
        omitted |= {"Input"} if not show_input else set()
        entry = {name: value for name, value in happened.items() if name not in omitted}
        entry["EventType"] = _name(kind)
        if kind == EventType.EXECUTION_STARTED:
            entry["FunctionName"] = happened["Name"]
        if kind in _RESULTS:
            result = entry.pop("Result")
            entry |= {"Result": _json(result)} if show_output else {}
        if happened["EventId"] >= 0:
            scheduled[happened["EventId"]] = index
        task = shown.pop(scheduled.get(happened.get("TaskScheduledId", -1), -1), None)
        if task is not None:
            entry["ScheduledTime"] = task["Timestamp"].replace("Z", "+00:00")
            entry["FunctionName"] = task["Name"]
            entry |= {"Input": None} if show_input else {}
        shown[index] = entry
    return list(shown.values())


def _name(kind: EventType) -> str:
    return (
        kind.name.title().replace("_", "").replace("SubOrchestration", "SubOrchestrationInstance")
    )


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _to_the_second(text: str) -> str:
    return parse_time(text).strftime("%Y-%m-%dT%H:%M:%SZ")
