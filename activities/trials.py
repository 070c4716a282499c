"""Requeues the trials of deleted VMs."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import never_raises, raises_transient
from fleet.azure.credentials import open_connections
from fleet.model import names
from fleet.model.activities import DrainVms, ReleaseTrials, TrialsReleased, VmsDraining
from fleet.model.experiment_errors import WRONG_CPU
from fleet.model.failure import shorten
from fleet.model.failure_counts import SHOWN_CHARACTERS
from fleet.settings import Settings
from fleet.store import fleets, heartbeats, trials
from fleet.store.executors import ACTIVITIES

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@raises_transient
async def release_trials(task: ReleaseTrials) -> TrialsReleased:
    """Requeue the open trials of deleted VMs (`trials.release`), and record that the VMs have ended.

    The last fleet of an experiment also requeues the trials that wait for a VM of regular priority.
    """
    order = task["order"]
    _, uri = open_connections(order)
    experiment, first = order["experiment_id"], names.runner_id(order["batch_id"], 0)
    ordinals = range(names.ORDINALS) if task["ordinals"] is None else task["ordinals"]
    runners = [first + ordinal for ordinal in ordinals]
    reasons = {int(ordinal): why for ordinal, why in (task["reasons"] or {}).items()}
    by_runner = {first + ordinal: why for ordinal, why in reasons.items()}
    losses = None if task["reasons"] is None else by_runner
    released = await ACTIVITIES.run(trials.release, uri, experiment, runners, losses)
    if task["ordinals"] is None:
        app = Settings.read().database_uri
        if await ACTIVITIES.run(fleets.leave_experiment, app, order["batch_id"]):
            await ACTIVITIES.run(trials.release_waiting, uri, experiment)
    ends = dict.fromkeys(ordinals, "It was deleted with its fleet.") | reasons
    ended = await ACTIVITIES.run(heartbeats.record_ends, uri, order, ends)
    outcomes = {
        str(ordinal): end.outcome and shorten(end.outcome, SHOWN_CHARACTERS)
        for ordinal, end in ended.items()
    }
    result: TrialsReleased = {
        "ok": True,
        "interrupted": [runner % names.ORDINALS for runner in released.runners],
        "outcomes": outcomes if task["reasons"] else {},
    }
    if released.failed:
        result["failed"] = released.failed
    if released.runners:
        result["waiting"] = await ACTIVITIES.run(trials.count_waiting, uri, experiment)
    refused = [ordinal for ordinal, end in ended.items() if end.exit_code == WRONG_CPU]
    return {**result, "wrong_cpus": refused} if refused else result


@bp.activity_trigger(input_name="task")
@never_raises
async def drain_vms(task: DrainVms) -> VmsDraining:
    """Tell VMs to start no other trial (`heartbeats.drain`)."""
    order = task["order"]
    _, uri = open_connections(order)
    busy = await ACTIVITIES.run(heartbeats.drain, uri, order, task["ordinals"], task["reason"])
    return {"ok": True, "busy": busy}
