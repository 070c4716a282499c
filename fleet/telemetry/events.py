"""What has happened, told once to everybody who listens: the log, and OpenTelemetry if it is on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from traceback import format_tb
from typing import Any

from fleet.model import failure_policy, names
from fleet.model.placement import label
from fleet.model.records import Failure, Order, Placement, Trials
from fleet.telemetry import setup, traces
from fleet.telemetry.fields import LOG, bound
from fleet.telemetry.metrics import measure

_SLOW_IDENTITY = "PrincipalNotFound"
"""Every large fleet meets it: a new identity takes seconds to be known everywhere."""


@contextmanager
def activity(name: str, task: Mapping[str, Any]) -> Iterator[None]:
    """While an activity is at work: its log records have their fields, and it has a span."""
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


def failed(failure: Failure, what: str = "It fails", event: str = "call.failed") -> None:
    """A call has failed, and its record says what follows."""
    code, level = failure["code"], failure_policy.log_level(failure)
    if failure_policy.is_done(failure) or code == _SLOW_IDENTITY:
        level = logging.INFO
    told = {
        "event": "azure.throttled" if failure_policy.is_throttled(failure) else event,
        "code": code,
    }
    LOG.log(level, "%s: %s: %s", what, code, failure["message"], extra=told)
    if level > logging.INFO:
        traces.fail(code)


def unexpected(error: Exception) -> None:
    """An error that the app did not expect: its frames alone, since its text may hold a secret."""
    frames = "".join(format_tb(error.__traceback__))
    LOG.error("%s at:\n%s", type(error).__name__, frames, extra={"event": "app.fault"})


def machine_changed(
    order: Order, record: Mapping[str, Any], before: Mapping[str, Any] | None
) -> None:
    """A VM's record (as GET /fleets/{id}/machines has it) is another than `before`, if there was one."""
    old = before or {}
    placement, where = record["placement"], label(record["placement"])
    fleet = names.instance_id(order["batch_id"])
    new = {name for name, value in record.items() if value and not old.get(name)}
    with bound(fleet=fleet, ordinal=record["ordinal"], attempt=record["attempt"], placement=where):
        name = record["name"]
        if "created_at" in new:
            stead = (
                "" if record["replaces"] is None else f", in the stead of VM {record['replaces']}"
            )
            LOG.info("%s is accepted%s", name, stead, extra={"event": "vm.accepted"})
        if "role_assigned_at" in new:
            LOG.info(
                "%s has its role: it can delete itself", name, extra={"event": "vm.role_assigned"}
            )
        if "running_at" in new:
            _has_come_to_run(record, placement)
        if "ended" in new:
            _has_failed(record, placement)
        if "deleted_at" in new:
            _was_deleted(record, placement)


def _has_come_to_run(record: Mapping[str, Any], placement: Placement) -> None:
    took = _seconds(record["created_at"], record["running_at"])
    LOG.info("%s runs, after %.0f s", record["name"], took or 0.0, extra={"event": "vm.running"})
    if took is not None:
        measure("powerlift.vm.creation.duration", took, _of_placement(placement))


def _has_failed(record: Mapping[str, Any], placement: Placement) -> None:
    code, did = record["ended"]["code"], record["ended"]["next"]
    refused = not record["created_at"]
    told = {"event": "vm.refused" if refused else "vm.failed", "code": code}
    words = "is refused" if refused else "has failed"
    text = "%s %s: %s: %s We %s."
    LOG.warning(text, record["name"], words, code, record["ended"]["message"], did, extra=told)
    attributes = {"error.type": code, "powerlift.action": did, **_of_placement(placement)}
    measure("powerlift.vm.failures", 1, attributes)


def _was_deleted(record: Mapping[str, Any], placement: Placement) -> None:
    lived = _seconds(record["created_at"], record["deleted_at"])
    LOG.info(
        "%s is gone, after %.0f s", record["name"], lived or 0.0, extra={"event": "vm.deleted"}
    )
    if lived is not None:
        measure("powerlift.vm.lifetime", lived, _of_placement(placement))


def fleet_ended(
    order: Order, phase: str, started_at: str, ended_at: str, reason: Failure | None = None
) -> None:
    """A fleet is over: `done`, `cancelled` or `failed`. Times are ISO 8601."""
    took = _seconds(started_at, ended_at) or 0.0
    level = logging.ERROR if phase == "failed" else logging.INFO
    why = "" if reason is None else f": {reason['code']}: {reason['message']}"
    told = {"event": "fleet.ended", "phase": phase, "code": reason and reason["code"]}
    extra = {name: value for name, value in told.items() if value is not None}
    with bound(fleet=names.instance_id(order["batch_id"])):
        LOG.log(level, "The fleet is %s after %.0f s%s", phase, took, why, extra=extra)
    measure("powerlift.fleet.duration", took, {"powerlift.fleet.phase": phase})
    traces.fleet(order, phase, started_at, ended_at, reason and reason["code"])
    setup.flush()


def trials_counted(order: Order, trials: Trials, before: Trials | None) -> None:
    """How many of the experiment's trials are where, now and the last time; None the first time."""
    if before is None:
        return
    # Fewer than before: somebody has sent trials again.
    measure("powerlift.trials.completed", max(0, trials["complete"] - before["complete"]))
    measure("powerlift.trials.failed", max(0, trials["error"] - before["error"]))


def fleets_counted(active: int) -> None:
    """So many fleets have not ended."""
    measure("powerlift.fleet.active", active)


def swept(kind: str, count: int) -> None:
    """The sweep has deleted so many resources of a kind."""
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
