"""Saves the console logs of VMs before they are deleted."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.results import never_raises
from fleet import telemetry
from fleet.azure.client import Azure
from fleet.azure.credentials import open_connections
from fleet.azure.error_classifier import describe
from fleet.model import failure_policy, names
from fleet.model.activities import FailedVm, LogsSaved, SaveLogs
from fleet.model.order_parts import FleetRef
from fleet.store import vm_logs
from fleet.store.executors import ACTIVITIES

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def save_logs(task: SaveLogs) -> LogsSaved:
    """Save why VMs failed, and their console logs if Azure has them: a missing log must not delay the
    deletion.
    """
    order = task["order"]
    connection, uri = open_connections(order)
    kept = await asyncio.gather(*(_log_of(connection, order, vm) for vm in task["vms"]))
    await ACTIVITIES.run(vm_logs.store_logs, uri, order["experiment_id"], kept)
    return {"ok": True, "saved": sum(one.log is not None for one in kept)}


async def _log_of(connection: Azure, order: FleetRef, vm: FailedVm) -> vm_logs.EndedVm:
    ordinal, reason = vm["ordinal"], vm["reason"]
    name = names.vm(order["batch_id"], ordinal)
    log = None
    if not failure_policy.never_started(reason):
        try:
            log = await vm_logs.fetch_console(connection, name)
        except Exception as error:
            extra = {"event": "log.missed", "ordinal": ordinal, "code": describe(error)["code"]}
            telemetry.LOG.info("The log of %s could not be saved", name, extra=extra)
    outcome = f"{reason['code']}: {reason['message']}"
    return vm_logs.EndedVm(names.runner_id(order["batch_id"], ordinal), name, outcome, log)
