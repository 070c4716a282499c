"""How every activity fails: as a record in a fan-out, by raising where a durable retry follows."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Awaitable, Callable
from traceback import format_tb
from typing import Any

from fleet import azure
from fleet.account import opened as opened
from fleet.failures import TOKENS, describe

# The Functions worker takes a plain class as an activity's annotation, and no `dict[str, Any]`.
Json = dict

Work = Callable[[Any], Awaitable[dict[str, Any]]]

_log = logging.getLogger("powerlift.fleet")

MARK = "failure="


class ActivityFailed(Exception):
    """Raised for the orchestrator to retry. Its one line holds the failure record as JSON."""


def recorded(work: Work) -> Work:
    """For fan-outs: any error becomes `{"ok": false, "failure": …}`, because an exception there
    would leave siblings behind (task_all fails at the first, the host waits for all).
    """

    @functools.wraps(work)
    async def activity(task: Json) -> Json:
        try:
            return {"ok": True, **await work(task)}
        except Exception as error:
            return {"ok": False, "failure": _told(work.__name__, task, error)}

    return activity


def retried(work: Work) -> Work:
    """For single calls: what may pass is raised, for `call_activity_with_retry`; the rest recorded.

    Throttling too: a retry policy knows no Retry-After, `patterns.attempt` does.
    """

    @functools.wraps(work)
    async def activity(task: Json) -> Json:
        try:
            return {"ok": True, **await work(task)}
        except Exception as error:
            failure = _told(work.__name__, task, error)
        if failure["action"] == "retry":
            raise ActivityFailed(MARK + json.dumps(failure))
        return {"ok": False, "failure": failure}

    return activity


def _told(name: str, task: dict[str, Any], error: Exception) -> Any:
    failure = describe(error)
    batch = task.get("order", {}).get("batch_id")
    ordinal = {**task, **task.get("assignment", {}), **task.get("machine", {})}.get("ordinal", "-")
    about = (name, batch, ordinal, failure["code"])
    _log.warning("%s of batch %s, VM %s: %s: %s", *about, failure["message"])
    if failure["code"] in TOKENS:
        azure.reconnect()
    if failure["code"] == type(error).__name__:
        # Not of Azure's making. The frames alone: the text of an unknown error may hold anything.
        _log.warning("Where %s failed:\n%s", name, "".join(format_tb(error.__traceback__)))
    return failure
