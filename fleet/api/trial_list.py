"""The list of a fleet's trials: its query parameters, and a trial's entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from fleet.api.progress import ERROR_LINE
from fleet.api.request import InvalidQuery
from fleet.api.responses import trials as responses
from fleet.api.responses.common import json_time
from fleet.api.responses.trials import Trial, TrialState
from fleet.model import names
from fleet.store.trial_history import exception_line
from fleet.store.trial_list import STATES, TrialFilter, TrialRow, TrialUsage, VmFacts

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
SWITCH = ("true", "false")


def read_query(query: Mapping[str, str]) -> TrialFilter:
    """Read the filter of a request; ignores other parameters. Raises InvalidQuery with every fault."""
    faults: list[str] = []

    def number(name: str, default: int, least: int, most: int) -> int:
        text = query.get(name, str(default))
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else least - 1
        if not least <= value <= most:
            faults.append(f"{name} must be a number from {least} to {most}.")
        return value

    for name, choices in (("state", tuple(STATES)), ("traceback", SWITCH)):
        if query.get(name, choices[0]) not in choices:
            faults.append(f"{name} must be one of {', '.join(choices)}.")
    limit = number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    # Powerlift's IDs are integers of 32 bits.
    after = number("cursor", 0, 0, 2**31 - 1)
    if faults:
        raise InvalidQuery(faults)
    return TrialFilter(state=query.get("state"), limit=limit, after=after)


def entry(
    row: TrialRow, batch_id: int, redacted: Callable[[str], str], with_traceback: bool
) -> Trial:
    """A trial of a fleet. `redacted` removes secrets from the texts of its error."""
    error = None if row.error is None else redacted(row.error)
    return {
        "id": row.id,
        "task": row.task,
        "origin": row.origin,
        "method": row.method,
        "meta": row.meta,
        "replicate": row.replicate,
        "state": cast(TrialState, row.state),
        "machine": names.ordinal_of_runner(row.runner_id, batch_id),
        "started_at": json_time(row.started_at) if row.started_at else None,
        "ended_at": json_time(row.ended_at) if row.ended_at else None,
        "seconds": row.seconds,
        "usage": _usage(row.usage),
        "vm": _vm(row.vm),
        "measures": row.measures,
        "error": None if error is None else exception_line(error)[:ERROR_LINE],
        "traceback": error if with_traceback else None,
    }


def _usage(used: TrialUsage | None) -> responses.TrialUsage | None:
    if used is None:
        return None
    bytes_ = used["max_rss_bytes"]
    return {**used, "max_rss_bytes": None if bytes_ is None else int(bytes_)}


def _vm(facts: VmFacts | None) -> responses.TrialVm | None:
    if facts is None:
        return None
    key = names.vm_key("machine", facts["name"] or "")
    return {"fleet": names.instance_id(key.batch_id) if key else None, **facts}
