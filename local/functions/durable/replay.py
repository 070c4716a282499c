"""Replays an orchestrator's code with the SDK's executor."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.functions.durable.history import SIZES, Event, EventType
from local.functions.durable.walk import Action

_log = logging.getLogger(__name__)

Handler = Callable[[str], str]
"""The SDK's wrapper of an orchestrator: takes context JSON, returns state JSON."""

_STATE_LABEL = "\n\n$OutOfProcData$:"


@dataclass(frozen=True, slots=True)
class State:
    """The state of the code after a replay. `error` is its exception's text, or None."""

    actions: list[Action] = field(default_factory=list)
    done: bool = False
    output: Any = None
    error: str | None = None
    custom_status: Any = None


def replay(
    handler: Handler,
    instance_id: str,
    parent_id: str | None,
    input_json: str | None,
    history: Sequence[Event],
) -> State:
    """Run `handler` over `history`, which ends with the current episode's events.

    The maximum timer lengths are those of the Azure Storage provider; the SDK splits longer timers. An
    exception of the executor itself, such as for an event payload that is not JSON, is also returned
    as `error`.
    """
    started = next(e for e in history if e["EventType"] == EventType.EXECUTION_STARTED)
    body = {
        "history": history,
        "instanceId": instance_id,
        "isReplaying": started["IsPlayed"],
        "parentInstanceId": parent_id,
        "sourceInstanceId": None,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 3,
        "longRunningTimerIntervalDuration": "3.00:00:00",
        "maximumShortTimerDuration": "6.00:00:00",
        "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
    }
    text = _with_input(json.dumps(body), input_json)
    try:
        answer = handler(text)
        _log.info(SIZES, started.get("Name"), instance_id, len(text), len(answer), len(history))
        state = json.loads(answer)
    except Exception as error:
        message, _, data = str(error).partition(_STATE_LABEL)
        state = json.loads(data) if data else {}
        state["error"] = state.get("error") or message or type(error).__name__
    return State(
        actions=[action for group in state.get("actions", []) for action in group],
        done=state.get("isDone", False),
        output=state.get("output"),
        error=state.get("error"),
        custom_status=state.get("customStatus"),
    )


def _with_input(body: str, input_json: str | None) -> str:
    """The JSON object `body` with a member `input`, which may have megabytes and is not parsed here."""
    return f'{body[:-1]}, "input": {"null" if input_json is None else input_json}}}'


def use_fast_time_parser() -> None:
    """Make the SDK parse event times with `datetime.fromisoformat`.

    Its `dateutil` parser guesses the format of every timestamp, which takes 80 % of the time of a
    replay. All timestamps here have the format of `history.timestamp`. Has no effect on an SDK without
    this name.
    """
    module = sys.modules.get("azure.durable_functions.models.history.HistoryEvent")
    if module is not None and hasattr(module, "dt_parse"):
        setattr(module, "dt_parse", datetime.fromisoformat)  # noqa: B010
