"""How every activity fails: as a record in a fan-out, by raising where a durable retry follows."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fleet import telemetry
from fleet.azure.credentials import opened as opened
from fleet.azure.errors import describe
from fleet.model import failure_policy
from fleet.model.records import Failure

# The Functions worker takes a plain class as an activity's annotation, and no `dict[str, Any]`.
Json = dict

Work = Callable[[Any], Awaitable[dict[str, Any]]]

MARK = "failure="


class ActivityFailed(Exception):
    """Raised for the orchestrator to retry. Its one line holds the failure record as JSON."""


def never_raises(work: Work) -> Work:
    """For fan-outs: any error becomes `{"ok": false, "failure": …}`, because an exception there
    would leave siblings behind (task_all fails at the first, the host waits for all).
    """

    @functools.wraps(work)
    async def activity(task: Json) -> Json:
        with telemetry.activity(work.__name__, task):
            try:
                return {"ok": True, **await work(task)}
            except Exception as error:
                return {"ok": False, "failure": _told(error)}

    return activity


def raises_transient(work: Work) -> Work:
    """For single calls: what may pass is raised, for `call_activity_with_retry`; the rest recorded.

    Throttling too: a retry policy knows no Retry-After, `patterns.attempt` does.
    """

    @functools.wraps(work)
    async def activity(task: Json) -> Json:
        with telemetry.activity(work.__name__, task):
            try:
                return {"ok": True, **await work(task)}
            except Exception as error:
                failure = _told(error)
        if failure_policy.is_retried_as_is(failure):
            raise ActivityFailed(MARK + json.dumps(failure))
        return {"ok": False, "failure": failure}

    return activity


def _told(error: Exception) -> Failure:
    failure = describe(error)
    telemetry.failed(failure)
    if failure["code"] == type(error).__name__:
        telemetry.unexpected(error)  # not an answer of Azure's
    return failure
