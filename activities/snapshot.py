"""The snapshot: count the trials, record the VMs, read their errors and heartbeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import azure.durable_functions as df

from activities import fleet_table
from activities.results import never_raises
from fleet import telemetry
from fleet.azure.credentials import open_connections
from fleet.azure.error_classifier import describe
from fleet.model.activities import RecordSnapshot, SnapshotRecorded
from fleet.model.order_parts import RecordOrder
from fleet.model.records import Failure, StoredVm, stored
from fleet.model.vm_list import restored
from fleet.store import heartbeats, trials, vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES

bp = df.Blueprint()

T = TypeVar("T")


@bp.activity_trigger(input_name="task")
@never_raises
async def record_snapshot(task: RecordSnapshot) -> SnapshotRecorded:
    order = task["order"]
    _, uri = open_connections(order)
    count, waiting = None, 0
    if task["counts_trials"]:
        count, waiting = await ACTIVITIES.run(
            trials.count_with_waiting, uri, order["experiment_id"]
        )
    vms = [stored(vm) for vm in restored(order, task["vms"])]
    vms_failure = await _record_vms(uri, task, vms) if vms else None
    if count:
        telemetry.trials_counted(order, count, task["last_count"])
    if task["counts"]:
        await fleet_table.update(
            order, {"phase": task["phase"], "machines": task["counts"], "trials": count}
        )
    result: SnapshotRecorded = {"ok": True, "trials": count, "vms_failure": vms_failure}
    if task["counts_trials"]:
        if waiting:
            result["waiting"] = waiting
        reported = await _read("Errors of VMs", heartbeats.find_experiment_errors, uri, order)
        if reported and reported.errors:
            result["experiment_errors"] = reported.errors
            result["at_work"] = reported.at_work
    if task["reads_heartbeats"]:
        idle = await _read("Heartbeats", heartbeats.find_idle, uri, order)
        if idle:
            result["silent"], result["done"] = idle.silent, idle.done
    return result


async def _read(
    what: str, query: Callable[[str, RecordOrder], T], uri: str, order: RecordOrder
) -> T | None:
    """None, and a log record, without the database."""
    try:
        return await ACTIVITIES.run(query, uri, order)
    except DatabaseUnreachable as error:
        telemetry.failed(describe(error), f"{what} could not be read")
        return None


async def _record_vms(uri: str, task: RecordSnapshot, vms: Sequence[StoredVm]) -> Failure | None:
    """Returns a failure instead of raising: a read-only database (its disk may be full) must not hide
    that all trials have ended.
    """
    order = task["order"]
    try:
        known = await ACTIVITIES.run(vm_records.write, uri, order, vms, task["at"])
    except DatabaseUnreachable as error:
        failure = describe(error)
        telemetry.failed(failure, "VM records could not be written")
        return failure
    for vm, recorded in zip(vms, task["recorded"], strict=True):
        before = (
            vm_records.record_as_of(vm, recorded) if known is None else known.get(vm["ordinal"])
        )
        telemetry.machine_changed(order, vm, before)
    return None
