"""The words of the history protocol: event and action types, and builders of events.

Names and numbers are those of DurableTask.Core's `HistoryEvent` classes and of the extension's
`AsyncActionType`, as the Python SDK 1.7.0 reads and writes them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]
"""One history event, as JSON; always with `EventType`, `EventId`, `IsPlayed`, `Timestamp`."""


class EventType(IntEnum):
    """What happened. The numbers go on the wire."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_ORCHESTRATION_CREATED = 7
    SUB_ORCHESTRATION_COMPLETED = 8
    SUB_ORCHESTRATION_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15
    CONTINUE_AS_NEW = 16
    EXECUTION_SUSPENDED = 19
    EXECUTION_RESUMED = 20


class ActionType(IntEnum):
    """What an orchestrator asks for."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_SUB_ORCHESTRATOR = 2
    CALL_SUB_ORCHESTRATOR_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EXTERNAL_EVENT = 6
    CALL_ENTITY = 7
    CALL_HTTP = 8
    SIGNAL_ENTITY = 9
    WHEN_ANY = 11
    WHEN_ALL = 12


class Status:
    """Runtime states of an instance, by the names the SDK knows."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"
    TERMINATED = "Terminated"

    FINISHED = frozenset({COMPLETED, FAILED, TERMINATED})


SCHEDULING = frozenset(
    {EventType.TASK_SCHEDULED, EventType.SUB_ORCHESTRATION_CREATED, EventType.TIMER_CREATED}
)
"""Events that record a decision of the orchestrator; their EventId is the task's id."""

CONTROL = frozenset(
    {EventType.EXECUTION_TERMINATED, EventType.EXECUTION_SUSPENDED, EventType.EXECUTION_RESUMED}
)
"""Messages to the host about an instance; the orchestrator's code never sees them."""


def timestamp(moment: datetime | None = None) -> str:
    """`moment` (default: now) in UTC with six digits and `Z`: text that sorts as time does."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The aware UTC time that `text` (ISO 8601) stands for; a time without offset is taken as UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def event(kind: EventType, event_id: int = -1, at: str | None = None, **fields: Any) -> Event:
    """An event of `kind`. Results and inputs among `fields` are JSON text, never objects."""
    return {
        "EventType": int(kind),
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": at or timestamp(),
        **fields,
    }


def execution_started(name: str, input_json: str | None, version: str | None) -> Event:
    """The first event of an execution. The SDK fails without a `Version` key, even if it is null."""
    return event(EventType.EXECUTION_STARTED, Name=name, Input=input_json, Version=version)


def failure_details(message: str, stack: str = "") -> str:
    """`Details` of a failure: JSON with the field names of a serialised .NET exception."""
    return json.dumps({"Message": message, "StackTraceString": stack})
