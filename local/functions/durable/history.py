"""The history protocol: event and action types, and event construction.

Names and numbers match those of DurableTask.Core's `HistoryEvent` classes and of the extension's
`AsyncActionType`, as the Python SDK 1.7.0 reads and writes them.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]
"""One history event as JSON; always has `EventType`, `EventId`, `IsPlayed` and `Timestamp`."""


class EventType(IntEnum):
    """Types of events. The numbers are the wire format."""

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
    """Types of orchestrator actions, without those of entities and durable HTTP."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_SUB_ORCHESTRATOR = 2
    CALL_SUB_ORCHESTRATOR_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EXTERNAL_EVENT = 6
    WHEN_ANY = 11
    WHEN_ALL = 12


class Status:
    """Runtime statuses of an instance, as in the SDK."""

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
"""Events that record a decision of the orchestrator. Their EventId is the task id."""

SIZES = "Sizes of '%s' in %s: %d bytes in, %d bytes out, %d events"
"""The log line after each activity and episode: its function and instance, the JSON that the host sends
to the worker and receives, and the events of the history (none for an activity)."""

CONTROL = frozenset(
    {EventType.EXECUTION_TERMINATED, EventType.EXECUTION_SUSPENDED, EventType.EXECUTION_RESUMED}
)
"""Messages to the host; the orchestrator's code does not see them."""


_CONSTANT_MEMBERS: dict[EventType, dict[str, Any]] = {
    EventType.EXECUTION_STARTED: {
        "Tags": None,
        "Correlation": None,
        "ParentTraceContext": None,
        "ScheduledStartTime": None,
        "Generation": None,
        "GenerateNewTrace": False,
    },
    EventType.TASK_SCHEDULED: {"ParentTraceContext": None, "Tags": None},
    EventType.TASK_FAILED: {"FailureDetails": None},
    EventType.SUB_ORCHESTRATION_CREATED: {"ClientSpanId": None, "Tags": None},
    EventType.SUB_ORCHESTRATION_FAILED: {"FailureDetails": None},
    EventType.EVENT_RAISED: {"ParentTraceContext": None},
}
"""Members of the real events that are constant here: no tracing, tags or scheduled starts."""


def timestamp(moment: datetime | None = None) -> str:
    """`moment` (default: now) in UTC with microseconds and `Z`; sorts chronologically."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Parse ISO 8601 into an aware UTC time. A time without offset is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def event(kind: EventType, event_id: int = -1, **fields: Any) -> Event:
    """An event of `kind` with the current time. Results and inputs in `fields` are JSON text."""
    return {
        "EventType": int(kind),
        **_CONSTANT_MEMBERS.get(kind, {}),
        **fields,
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": dotnet_time(),
    }


def dotnet_time(text: str = "") -> str:
    """`text` (a `timestamp`; default: now, to 100 ns) in .NET's format, without trailing zeros."""
    if not text:
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        now = datetime.fromtimestamp(seconds, UTC)
        text = f"{now:%Y-%m-%dT%H:%M:%S}.{rest // 100:07}Z"
    return text.rstrip("Z").rstrip("0").rstrip(".") + "Z"


def failure_details(message: str, stack: str = "") -> str:
    """`Details` of a failure: JSON with the members of a serialized .NET exception."""
    return json.dumps({"Message": message, "StackTraceString": stack})
