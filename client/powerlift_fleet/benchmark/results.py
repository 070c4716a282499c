"""An experiment's trials and their measures as data frames, from Powerlift's tables.

With pandas 3, Powerlift 0.1.12's own `Benchmark.status()` reports every trial as ERROR once one has
failed. Its `Benchmark.results()` keeps only one of two tasks with the same name and different origins.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.rows import pandas

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from powerlift.bench.store import Store
    from sqlalchemy.orm import Session

# VMs write these times themselves; Python and pandas cannot read infinity or a year outside of these.
_TIMES = ", ".join(
    f"CASE WHEN t.{name} BETWEEN '1678-01-01' AND '2261-12-31' THEN t.{name} END AS {name}"
    for name in ("create_time", "start_time", "end_time")
)
_STATUS = """
    SELECT t.id AS trial_id, ta.name AS task, ta.origin, t.method, t.meta, t.replicate_num,
           CASE WHEN t.errmsg IS NOT NULL THEN 'ERROR' WHEN t.end_time IS NOT NULL THEN 'COMPLETE'
                WHEN t.start_time IS NOT NULL THEN 'RUNNING' ELSE 'READY' END AS status,
           t.errmsg, {times}, t.runner_id,
           ta.n_samples, ta.n_features, ta.n_classes, ta.total_categories, {facts}
    FROM trial t JOIN task ta ON t.task_id = ta.id {tables}
    WHERE t.experiment_id = :experiment
    ORDER BY ta.name, t.method, t.meta, t.replicate_num, t.id
"""
# A measure occurs twice if the runner lost the confirmation of its commit, and retried.
_RESULTS = """
    SELECT t.id AS trial_id, ta.name AS task, ta.origin, t.method, t.meta, t.replicate_num,
           mo.name, mo.seq_num, mo.type, mo.val, {facts}
    FROM measure_outcome mo JOIN trial t ON t.id = mo.trial_id JOIN task ta ON t.task_id = ta.id {tables}
    WHERE mo.id IN (SELECT min(m.id) FROM measure_outcome m JOIN trial n ON n.id = m.trial_id
                    WHERE n.experiment_id = :experiment GROUP BY m.trial_id, m.name, m.seq_num)
    ORDER BY ta.name, t.method, t.meta, t.replicate_num, mo.name, mo.seq_num, t.id
"""
USAGE = ("wall_seconds", "user_seconds", "system_seconds", "steal_seconds", "max_rss_bytes")
"""What a trial's processes used, as in runner.py, which requires Linux."""
MOST_SECONDS, MOST_BYTES = 1e9, 2**50
"""As in the app's list of trials: more is beyond any trial, and unknown. VMs write the table."""
VM = (
    "vm_name", "vm_size", "location", "zone", "priority", "cpu_model", "cpus", "memory_bytes",
    "architecture", "kernel", "image", "image_version", "python", "lock_digest", "script_digest",
    "trial_order", "trial_seed",
)  # fmt: skip
"""What the trial's VM reports about itself, and the order in which it takes trials."""
_VM_NAME = re.compile(r"powerlift-vm-([0-9]+)-[0-9]{4}", re.IGNORECASE)
_KNOWN = """
    SELECT (SELECT relname FROM pg_class WHERE oid = attrelid) AS table, attname AS column,
           has_table_privilege(attrelid, 'SELECT') AS readable, quote_ident(current_user) AS role
    FROM pg_attribute
    WHERE attrelid IN (to_regclass('powerlift_fleet_trial'), to_regclass('powerlift_fleet_runner'))
      AND attnum > 0
"""
# Rows of the app stay when Powerlift's tables are recreated and IDs start again.
_JOIN = """
    LEFT JOIN powerlift_fleet_trial ran ON ran.trial_id = t.id AND ran.experiment_id = t.experiment_id
    LEFT JOIN powerlift_fleet_runner vm ON vm.experiment_id = t.experiment_id
        AND vm.runner_id = CASE WHEN t.runner_id >= 0 THEN t.runner_id
                                WHEN t.end_time IS NOT NULL THEN ran.runner_id END
        AND (vm.ended_at IS NULL OR vm.ended_at >= t.create_time)
"""
_TYPES = ("NUMBER", "STR", "JSON")
"""Powerlift's, by their number."""


def trial_status(store: Store, experiment: str) -> DataFrame:
    """One row for each trial of the experiment with this name.

    Columns as in Powerlift's `Benchmark.status()`, `origin`, USAGE, VM and `fleet`, the full ID of the
    VM's fleet. `status` is READY, RUNNING, COMPLETE or ERROR; `errmsg` is None, or a text that contains
    the traceback. Raises ConfigurationError.
    """
    return in_store(store, experiment, status_of)


def trial_results(store: Store, experiment: str) -> DataFrame:
    """One row for each measure of the experiment with this name, also of failed and running trials.

    Columns as in Powerlift's `Benchmark.results()`, `trial_id`, `origin`, USAGE, VM and `fleet`. The
    value is in `num_val`, `str_val` or `json_val`, as `type` says: NUMBER, STR or JSON. Raises
    ConfigurationError.
    """
    return in_store(store, experiment, results_of)


def experiment_id(store: Store, name: str) -> int | None:
    found = None
    store.reset()
    while store.do:
        with store:
            found = store.get_experiment(name)
    return None if found is None else int(found)


def in_store(store: Store, experiment: str, read: Callable[[Any, int], DataFrame]) -> DataFrame:
    """What `read` returns for the experiment with this name. Raises ConfigurationError."""
    pandas()
    number = experiment_id(store, experiment)
    if number is None:
        raise ConfigurationError(f"The store has no experiment {experiment!r}. Check the name.")
    store.reset()
    while store.do:
        with store:
            frame = read(store.session, number)
    return frame


def status_of(session: Session, experiment: int) -> DataFrame:
    """As `trial_status`, by ID, with a connection or session of SQLAlchemy."""
    frame = _read(session, experiment, _STATUS)
    frame["errmsg"] = texts(frame, "errmsg")
    return frame


def results_of(session: Session, experiment: int) -> DataFrame:
    """As `trial_results`, by ID, with a connection or session of SQLAlchemy."""
    frame = _read(session, experiment, _RESULTS)
    kind = frame["type"].map(dict(enumerate(_TYPES)))
    value = frame.pop("val")
    frame["type"] = kind
    frame["num_val"] = value.where(kind == "NUMBER").map(_number).astype(float)
    for column, name in (("str_val", "STR"), ("json_val", "JSON")):
        frame[column] = value.where(kind == name)
        frame[column] = texts(frame, column)
    return frame


def _read(session: Session, experiment: int, statement: str) -> DataFrame:
    from sqlalchemy import text

    existing = session.execute(text(_KNOWN)).all()
    _warn_of_hidden(existing)
    facts = _facts({(one.table, one.column) for one in existing if one.readable})
    query = text(statement.format(times=_TIMES, **facts))
    found = session.execute(query, {"experiment": experiment})
    frame: DataFrame = pandas().DataFrame.from_records(found.all(), columns=list(found.keys()))
    named = texts(frame, "vm_name").map(lambda name: _VM_NAME.fullmatch(name or ""))
    frame["fleet"] = [match and f"fleet-{match[1]}" for match in named]
    return frame


def _number(value: object) -> float:
    """VMs may write any text."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _warn_of_hidden(existing: Iterable[Any]) -> None:
    """Without the app's tables, results look like those of VMs that report nothing."""
    hidden = {one.table: one.role for one in existing if not one.readable}
    if not hidden:
        return
    tables, [role, *_] = ", ".join(sorted(hidden)), [*hidden.values()]
    warnings.warn(
        f"VMs and usage of the trials are left out: the role {role} may not read {tables}. Ask the "
        f"tables' owner to run: GRANT SELECT ON {tables} TO {role};",
        stacklevel=2,
    )


def _facts(known: Collection[tuple[str, str]]) -> dict[str, str]:
    """SQL of the columns USAGE and VM, null where this database lacks them, and of their tables."""
    used = dict.fromkeys(USAGE, "powerlift_fleet_trial")
    reported = dict.fromkeys(VM, "powerlift_fleet_runner")
    columns = {name: _amount(name) for name in used} | {name: f"vm.{name}" for name in reported}
    columns |= {
        name: f"CASE WHEN vm.{name} >= 0 THEN vm.{name} END" for name in ("cpus", "memory_bytes")
    }
    tables = {table for table, _ in known}
    joined = tables.issuperset({*used.values(), *reported.values()})
    has = {name for name, table in {**used, **reported}.items() if (table, name) in known}
    shown = [
        f"{sql if joined and name in has else 'NULL'} AS {name}" for name, sql in columns.items()
    ]
    return {"facts": ", ".join(shown), "tables": _JOIN if joined else ""}


def _amount(name: str) -> str:
    """SQL of one of USAGE: null unless it is possible, and of this trial's last run."""
    most = MOST_BYTES if name.endswith("_bytes") else MOST_SECONDS
    possible = f"ran.{name} BETWEEN 0 AND {most:.0f}"
    return f"CASE WHEN ran.measured_at >= t.create_time AND {possible} THEN ran.{name} END"


def texts(frame: DataFrame, column: str) -> Series:
    """A column with None for a missing value, in every version of pandas."""
    found: Series = frame[column].astype(object).where(frame[column].notna(), None)
    return found
