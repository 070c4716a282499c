"""The app's events: each is logged and, if OpenTelemetry is on, measured."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fleet.model import failure_policy, names
from fleet.model.order_parts import FleetRef, RecordOrder
from fleet.model.placement import label
from fleet.model.records import Failure, Placement, Trials
from fleet.model.vm_counts import shown_state
from fleet.telemetry import setup, traces
from fleet.telemetry.fields import LOG, bound, frames
from fleet.telemetry.metrics import measure

_SLOW_IDENTITY = "PrincipalNotFound"
"""Expected in every large fleet: a new identity takes seconds to replicate."""


@contextmanager
def activity(name: str, task: Mapping[str, Any]) -> Iterator[None]:
    """Give an activity's log records their fields, and the activity a span."""
    about = {**task, **task.get("request", {}), **task.get("vm", {})}
    order = task.get("order")
    fields = {
        "activity": name,
        "fleet": order and names.instance_id(order["batch_id"]),
        "ordinal": about.get("ordinal"),
        "attempt": about.get("attempt"),
    }
    with bound(**fields), traces.span(name, order, fields):
        yield


def failed(failure: Failure, what: str = "Call failed", event: str = "call.failed") -> None:
    code, level = failure["code"], failure_policy.log_level(failure)
    if failure_policy.is_done(failure) or code == _SLOW_IDENTITY:
        level = logging.INFO
    fields = {
        "event": "azure.throttled" if failure_policy.is_throttled(failure) else event,
        "code": code,
    }
    LOG.log(level, "%s: %s: %s", what, code, failure["message"], extra=fields)
    if level > logging.INFO:
        traces.fail(code)


def unexpected(error: Exception) -> str:
    """Log an unexpected error; returns an ID that finds it in the log.

    Logs its frames alone, because its message may contain a secret.
    """
    error_id, name = secrets.token_hex(6), type(error).__name__
    extra = {"event": "app.fault"}
    LOG.error("Error %s: %s at %s", error_id, name, frames(error.__traceback__), extra=extra)
    return error_id


def machine_changed(
    order: FleetRef, record: Mapping[str, Any], before: Mapping[str, Any] | None
) -> None:
    """A VM's record (as in GET /fleets/{id}/machines) differs from `before`, if any."""
    old = before or {}
    placement, where = record["placement"], label(record["placement"])
    fleet = names.instance_id(order["batch_id"])
    new = {name for name, value in record.items() if value and not old.get(name)}
    with bound(fleet=fleet, ordinal=record["ordinal"], attempt=record["attempt"], placement=where):
        name = record["name"]
        if "created_at" in new:
            replaced = "" if record["replaces"] is None else f", replacing VM {record['replaces']}"
            LOG.info("%s accepted%s", name, replaced, extra={"event": "vm.accepted"})
        if "role_assigned_at" in new:
            LOG.info("%s role assigned", name, extra={"event": "vm.role_assigned"})
        if "running_at" in new:
            _vm_running(record, placement)
        if "ended" in new and shown_state(record) != "deleted":
            _vm_failed(record, placement)
        if "deleted_at" in new:
            _vm_deleted(record, placement)


def _vm_running(record: Mapping[str, Any], placement: Placement) -> None:
    took = _seconds(record["created_at"], record["running_at"])
    LOG.info("%s running after %.0f s", record["name"], took or 0.0, extra={"event": "vm.running"})
    if took is not None:
        measure("powerlift.vm.creation.duration", took, _of_placement(placement))


def _vm_failed(record: Mapping[str, Any], placement: Placement) -> None:
    code, action = record["ended"]["code"], record["ended"]["next"]
    refused = not record["created_at"]
    fields = {"event": "vm.refused" if refused else "vm.failed", "code": code}
    state = "refused" if refused else "failed"
    text = "%s %s: %s: %s Action: %s."
    LOG.warning(text, record["name"], state, code, record["ended"]["message"], action, extra=fields)
    attributes = {"error.type": code, "powerlift.action": action, **_of_placement(placement)}
    measure("powerlift.vm.failures", 1, attributes)


def _vm_deleted(record: Mapping[str, Any], placement: Placement) -> None:
    lived = _seconds(record["created_at"], record["deleted_at"])
    LOG.info("%s deleted after %.0f s", record["name"], lived or 0.0, extra={"event": "vm.deleted"})
    if lived is not None:
        measure("powerlift.vm.lifetime", lived, _of_placement(placement))


def fleet_ended(
    order: RecordOrder, phase: str, started_at: str, ended_at: str, reason: Failure | None = None
) -> None:
    """A fleet ended: `done`, `cancelled` or `failed`. Times are ISO 8601."""
    took = _seconds(started_at, ended_at) or 0.0
    level = logging.ERROR if phase == "failed" else logging.INFO
    why = "" if reason is None else f": {reason['code']}: {reason['message']}"
    fields = {"event": "fleet.ended", "phase": phase, "code": reason and reason["code"]}
    extra = {name: value for name, value in fields.items() if value is not None}
    with bound(fleet=names.instance_id(order["batch_id"])):
        LOG.log(level, "Fleet %s after %.0f s%s", phase, took, why, extra=extra)
    measure("powerlift.fleet.duration", took, {"powerlift.fleet.phase": phase})
    traces.fleet(order, phase, started_at, ended_at, reason and reason["code"])
    setup.flush()


def trials_counted(order: FleetRef, trials: Trials, before: Trials | None) -> None:
    """The experiment's trials by state, now and at the last count; None at the first count."""
    if before is None:
        return
    # Counts decrease when a user resets trials.
    measure("powerlift.trials.completed", max(0, trials["complete"] - before["complete"]))
    measure("powerlift.trials.failed", max(0, trials["error"] - before["error"]))


def fleets_counted(active: int) -> None:
    measure("powerlift.fleet.active", active)


def swept(kind: str, count: int) -> None:
    measure("powerlift.sweep.deleted", count, {"powerlift.resource.kind": kind})


def _of_placement(placement: Placement) -> dict[str, str | None]:
    return {
        "cloud.region": placement["location"],
        "cloud.availability_zone": placement["zone"],
        "host.type": placement["vm_size"],
        "powerlift.vm.priority": placement["priority"],
    }


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(0.0, passed.total_seconds())
