"""Orchestration versions: which instances this host may run, by the rules of DurableTask.Core."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from local.functions.durable.episode import Outcome
from local.functions.durable.history import Event, EventType, Status, event
from local.functions.settings import DurableSettings

_MISMATCH = "VersionMismatch: Orchestration version did not comply with Worker Versioning"


def runnable(version: str | None, settings: DurableSettings) -> bool:
    """Whether a host with `settings` runs instances of `version`."""
    mine = settings.default_version
    match settings.version_match:
        case "Strict":
            return (version or "") == (mine or "")
        case "CurrentOrOlder":
            return _compare(version, mine) <= 0
        case _:
            return True


def mismatch(messages: Sequence[Event]) -> Outcome:
    """The failure of an instance that this host must not run (`versionFailureStrategy` "Fail")."""
    output = json.dumps(_MISMATCH)
    ended = event(EventType.EXECUTION_COMPLETED, OrchestrationStatus=Status.FAILED, Result=output)
    started, completed = (
        event(kind) for kind in (EventType.ORCHESTRATOR_STARTED, EventType.ORCHESTRATOR_COMPLETED)
    )
    return Outcome(Status.FAILED, [started, *messages, ended, completed], output=output)


def _compare(a: str | None, b: str | None) -> int:
    """Negative if `a` is older. No version is the oldest; versions that are not dotted numbers
    compare as text."""
    one, other = (a or "").strip(), (b or "").strip()
    if not one or not other:
        return bool(one) - bool(other)
    numbers = _numbers(one), _numbers(other)
    if all(numbers):
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    one, other = one.lower(), other.lower()
    return (one > other) - (one < other)


def _numbers(version: str) -> tuple[int, ...]:
    """The parts of a .NET `Version`, "1.0" to "1.0.0.0"; empty for anything else."""
    if re.fullmatch(r"\d+(\.\d+){1,3}", version) is None:
        return ()
    return tuple(int(part) for part in version.split("."))
