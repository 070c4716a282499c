"""How activities fail: they return a failure, or raise one that a durable policy retries."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fleet import telemetry
from fleet.azure.error_classifier import describe
from fleet.model import failure_policy
from fleet.model.activities import Failed
from fleet.model.records import Failure

Task = TypeVar("Task", bound=Mapping[str, Any])
Result = TypeVar("Result")

MARK = "failure="


class ActivityFailed(Exception):
    """Raised for the orchestrator to retry. Its text is the failure record as JSON, in one line."""


def never_raises(
    work: Callable[[Task], Awaitable[Result]],
) -> Callable[[Task], Awaitable[Result | Failed]]:
    """For fan-outs: every error is returned as `Failed`. An exception would orphan the siblings, because
    `task_all` fails at the first one while the host waits for all.
    """

    @functools.wraps(work)
    async def activity(task: Task) -> Result | Failed:
        with telemetry.activity(work.__name__, task):
            try:
                return await work(task)
            except Exception as error:
                return {"ok": False, "failure": _failure_of(error)}

    return activity


def raises_transient(
    work: Callable[[Task], Awaitable[Result]],
) -> Callable[[Task], Awaitable[Result | Failed]]:
    """For `call_activity_with_retry`: transient errors are raised, all others returned as `Failed`.

    Throttling is returned too: a durable retry policy ignores Retry-After, which
    `patterns.call_with_retry` respects.
    """
    safely = never_raises(work)

    @functools.wraps(work)
    async def activity(task: Task) -> Result | Failed:
        result: Any = await safely(task)
        if not result["ok"] and failure_policy.is_retried_as_is(result["failure"]):
            raise ActivityFailed(MARK + json.dumps(result["failure"]))
        failed_or_done: Result | Failed = result
        return failed_or_done

    return activity


def _failure_of(error: Exception) -> Failure:
    failure = describe(error)
    telemetry.failed(failure)
    if failure["code"] == type(error).__name__:
        telemetry.unexpected(error)  # a fault of the app, not an answer of Azure
    return failure
