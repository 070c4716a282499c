"""The list of an experiment's trials, page by page, from Powerlift's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from fleet.store.database import brief_transaction, may_read, rows
from fleet.store.trial_history import ERROR_TAIL, ERROR_TEXT
from fleet.store.trial_measures import load_measures
from fleet.store.vm_records import SHORT, VmSystem, amount

STATES = {
    "ready": "t.end_time IS NULL AND t.start_time IS NULL",
    "running": "t.end_time IS NULL AND t.start_time IS NOT NULL",
    "complete": "t.end_time IS NOT NULL AND t.errmsg IS NULL",
    "failed": "t.end_time IS NOT NULL AND t.errmsg IS NOT NULL",
}
"""The condition of each state."""
MOST_SECONDS, MOST_BYTES = 1e9, 2**50
"""Beyond what a trial can use: 31 years of CPU time, 1 PiB of memory."""


@dataclass(frozen=True, slots=True)
class TrialFilter:
    state: str | None = None
    """One of STATES."""
    limit: int = 100
    after: int = -1
    """ID of the previous page's last trial."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial. Texts are cut off."""

    id: int
    task: str
    origin: str
    method: str
    meta: str
    replicate: int
    state: str
    runner_id: int | None
    """Of the VM that runs it or ran it last; None if unknown."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    error: str | None
    """The end of its error, in whole lines, with the traceback; None if it has not failed."""
    usage: TrialUsage | None = None
    """What its processes used; None before its end, or if its runner does not measure it."""
    vm: VmFacts | None = None
    """What its VM reports about itself; None if unknown."""
    measures: dict[str, float] = field(default_factory=dict)
    """As `load_measures` returns them."""


class TrialUsage(TypedDict):
    """Seconds and bytes, of the trial's processes. None: not known."""

    wall_seconds: float | None
    user_seconds: float | None
    system_seconds: float | None
    steal_seconds: float | None
    max_rss_bytes: float | None


class VmFacts(TypedDict):
    """What a VM reports about itself. None: not known."""

    name: str | None
    vm_size: str | None
    location: str | None
    zone: str | None
    priority: str | None
    system: VmSystem


def load_trials(uri: str, experiment_id: int, wanted: TrialFilter) -> list[TrialRow]:
    """A page of trials, by ID. Raises DatabaseUnreachable."""
    with brief_transaction(uri) as cursor:
        knows_vms = may_read(cursor, "powerlift_fleet_runner", "powerlift_fleet_trial")
        knows_facts = knows_vms and rows(cursor, _HAS_FACTS)[0][0]
        runner = _RUNNER if knows_vms else "NULL::integer"
        statement = _TRIALS.format(
            state=STATES[wanted.state] if wanted.state else "true",
            runner=runner,
            facts=_FACTS if knows_facts else _NO_FACTS,
            noted=_NOTED if knows_vms else "",
            ran=_RAN.format(runner=runner) if knows_facts else "",
        )
        values = {
            "experiment": experiment_id,
            "after": wanted.after,
            "limit": wanted.limit,
            "tail": ERROR_TAIL,
        }
        found = rows(cursor, statement, values)
        measures = load_measures(cursor, [id_ for id_, *_ in found])
    return [_row(values, measures.get(values[0], {})) for values in found]


def _row(values: Sequence[Any], measures: dict[str, float]) -> TrialRow:
    """Of a row of _TRIALS."""
    *others, error, size, has_usage, has_vm = values[: -len(_COLUMNS)]
    facts = dict(zip(_COLUMNS, values[-len(_COLUMNS) :], strict=True))
    usage = {name: _amount(name, facts[name]) for name in _USAGE} if has_usage else None
    system = {name: facts[name] for name in _SYSTEM}
    vm = {**{name: facts[name] for name in _VM}, "system": system} if has_vm else None
    return TrialRow(*[*others, _complete_lines(error, size), usage, vm, measures])


def _amount(name: str, value: float | None) -> float | None:
    """None unless it is possible: VMs may write the table."""
    most = MOST_BYTES if name.endswith("_bytes") else MOST_SECONDS
    return value if value is not None and 0 <= value <= most else None


def _complete_lines(error: str | None, size: int | None) -> str | None:
    """The error without its first line if that is cut off: half a password would not be redacted."""
    if error is None or size is None or size <= ERROR_TAIL or "\n" not in error:
        return error
    return f"…\n{error.partition(chr(10))[2]}"


# Trials write their times and errors themselves.
_TIME = "CASE WHEN {0} BETWEEN '0002-01-01' AND '9998-12-31' THEN {0}::timestamptz END"
_STATE = " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in STATES.items())
_RUNNER = """
    CASE WHEN t.runner_id >= 0 THEN t.runner_id WHEN t.end_time IS NOT NULL THEN noted.runner_id END
"""
# A trial that was created after its VM has ended is another one: see vm_records.
_NOTED = """
    LEFT JOIN powerlift_fleet_trial AS noted ON noted.trial_id = t.id
        AND noted.experiment_id = t.experiment_id
        AND NOT EXISTS (SELECT FROM powerlift_fleet_runner AS ran
                        WHERE ran.experiment_id = noted.experiment_id
                          AND ran.runner_id = noted.runner_id AND ran.ended_at < t.create_time)
"""
_USAGE, _SYSTEM = TrialUsage.__annotations__, VmSystem.__annotations__
_VM = [name for name in VmFacts.__annotations__ if name != "system"]
_NUMBERS = ("cpus", "memory_bytes")
_COLUMNS = {
    **{name: f"noted.{name}" for name in _USAGE},
    **{name: f"left(vm.{name}, {SHORT})" for name in (*_VM, *_SYSTEM)},
    **{name: amount(f"vm.{name}") for name in _NUMBERS},
    "name": f"left(vm.vm_name, {SHORT})",
}
"""The SQL of each fact."""
_HAS_FACTS = """
    SELECT count(*) = 2 FROM pg_attribute
    WHERE (attrelid, attname) IN ((to_regclass('powerlift_fleet_runner'), 'lock_digest'),
                                  (to_regclass('powerlift_fleet_trial'), 'measured_at'))
"""
# Measures of an earlier run stay until the trial has ended again. A row of a VM without a kernel is the
# app's, for a VM whose script never started.
_FACTS = ", ".join(
    [
        "t.end_time IS NOT NULL AND noted.measured_at >= t.create_time",
        "vm.kernel IS NOT NULL",
        *_COLUMNS.values(),
    ]
)
_NO_FACTS = ", ".join(["false", "false", *["NULL"] * len(_COLUMNS)])
_RAN = """
    LEFT JOIN powerlift_fleet_runner AS vm ON vm.experiment_id = t.experiment_id
        AND vm.runner_id = {runner} AND (vm.ended_at IS NULL OR vm.ended_at >= t.create_time)
"""
_TRIALS = f"""
    SELECT t.id, left(task.name, 256), left(task.origin, 256), left(t.method, 256),
           left(t.meta, 1000), t.replicate_num, CASE {_STATE} END, {{runner}},
           {_TIME.format("t.start_time")}, {_TIME.format("t.end_time")},
           CASE WHEN isfinite(t.start_time) AND t.end_time BETWEEN t.start_time AND '9998-12-31'
                THEN extract(epoch FROM t.end_time - t.start_time)::double precision END,
           CASE WHEN {STATES["failed"]} THEN {ERROR_TEXT} END, octet_length(t.errmsg),
           {{facts}}
    FROM trial AS t JOIN task ON task.id = t.task_id {{noted}} {{ran}}
    WHERE t.experiment_id = %(experiment)s AND t.id > %(after)s AND {{state}}
    ORDER BY t.id LIMIT %(limit)s
"""  # noqa: S608 - constants
