"""Describes API objects in clean, plain text, without I/O and layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from powerlift_fleet.api.responses import (
    Bar,
    Cost,
    CpuModel,
    FleetListEntry,
    FleetStatus,
    Machine,
    PlanCost,
    Progress,
    Trial,
)
from powerlift_fleet.cli.formatting import clean, count, money, relative, span

PHASES = {
    "plan": "checking the plan",
    "network": "creating the network",
    "create": "creating VMs",
    "boot": "VMs are booting",
    "provisioned": "all VMs have started",
    "teardown": "deleting the fleet's resources",
}
OUTCOMES = {
    "some_trials_failed": "done, some trials failed",
    "all_trials_failed": "done, all trials failed",
}
_CPU_NOISE = re.compile(r"\((?:R|TM)\)| CPU @.*| \d+-Core Processor")
SHOWN_MEASURES = 2
MAX_MESSAGE = 600
"""Characters; Azure's messages can be pages long."""


def handle(fleet: FleetStatus | FleetListEntry) -> str:
    """`fleet-7`, clean."""
    return clean(fleet.handle, 40)


def label(fleet: FleetStatus) -> str:
    """`fleet-7 (nightly)`, clean."""
    return clean(fleet.label, 120)


def phase(status: FleetStatus | FleetListEntry) -> str:
    """The phase; of a fleet that is done also whether trials failed."""
    ended = status.outcome if status.is_terminal else None
    return OUTCOMES.get(ended or "", clean(status.phase, 30))


def activity(status: FleetStatus) -> str:
    """What happens in this phase; empty in an unknown one, and at the end."""
    if status.phase != "run":
        return PHASES.get(status.phase, "")
    if status.trials is not None and status.trials.running:
        return "VMs are running trials"
    if status.trials is not None and not status.trials.ended:
        return "VMs are installing packages"
    return "VMs are installing packages or running trials"


def method(trial: Trial) -> str:
    """`tree`; with what tells it from others of the method: `tree {"depth": 3} #1`."""
    parameters = "" if trial.meta in ("", "{}", "null") else clean(trial.meta, 40)
    replicate = f"#{trial.replicate}" if trial.replicate else ""
    return " ".join(filter(None, (clean(trial.method, 60), parameters, replicate)))


def trial_time(trial: Trial, today: datetime) -> str:
    """How long it took, or has been running: `12.3 s`, `4 min`, `4 min so far`."""
    if trial.seconds is not None:
        return span(trial.seconds) if trial.seconds >= 60 else f"{trial.seconds:.1f} s"
    if trial.state == "running" and trial.started_at:
        return f"{span(max(0.0, (today - trial.started_at).total_seconds()))} so far"
    return ""


def trial_vm(trial: Trial) -> str:
    """The ordinal of its VM, or the name of another fleet's VM."""
    name = (trial.vm and trial.vm.name) or ""
    return clean(name, 40) if trial.machine is None else f"{trial.machine}"


def used(trial: Trial) -> str:
    """CPU time, peak memory and steal time: `CPU 11.9 s, 394 MiB, 0.3 s stolen`."""
    if trial.usage is None:
        return ""
    user, system, stolen, peak = (
        trial.usage.user_seconds, trial.usage.system_seconds, trial.usage.steal_seconds,
        trial.usage.max_rss_bytes,
    )  # fmt: skip
    return ", ".join(
        [
            *([] if user is None else [f"CPU {user + (system or 0.0):.1f} s"]),
            *([] if peak is None else [f"{peak / 2**20:,.0f} MiB"]),
            *([f"{stolen:.1f} s stolen"] if stolen else []),
        ]
    )


def processor(trial: Trial) -> str:
    """Its model without what all names have: `AMD EPYC 7763`."""
    model = (trial.vm and trial.vm.system.cpu_model) or ""
    return clean(_CPU_NOISE.sub("", model), 60)


def measures(trial: Trial) -> str:
    """The first measures: `accuracy 0.9312, seconds 12.4, 3 more`."""
    shown = [f"{clean(name, 30)} {value:.4g}" for name, value in trial.measures.items()]
    more = len(shown) - SHOWN_MEASURES
    return ", ".join([*shown[:SHOWN_MEASURES], *([f"{more} more"] if more > 0 else [])])


def bars(status: FleetStatus, progress: Progress | None) -> dict[str, Bar]:
    """VMs and trials, as far as they are known."""
    trials = status.trials or (progress.trials if progress else None)
    found = replace(status, trials=trials).bars
    return {name: bar for name, bar in found.items() if bar.parts}


def line(status: FleetStatus, progress: Progress | None = None) -> str:
    """The fleet in one line, for pipes and logs."""
    parts = [f"{phase(status):<11}"]
    for name, bar in bars(status, progress).items():
        detail = f" ({bar.detail})" if bar.detail else ""
        parts.append(f"{name} {bar.done}/{bar.total}{detail}")
    return "  ".join(parts).rstrip()


def no_news(status: FleetStatus) -> str:
    """Empty unless the fleet has not reported for too long."""
    seconds = status.stale_seconds
    if not seconds:
        return ""
    silence = f"{seconds} s" if seconds < 120 else span(seconds)
    return f"No update for {silence}; the host may be restarting."


def facts(
    status: FleetStatus, progress: Progress | None, today: datetime
) -> Iterator[tuple[str, str]]:
    """Pace, cost and times, each with its label."""
    if progress:
        if progress.problem:
            yield "trials", f"unknown: {clean(progress.problem, MAX_MESSAGE)}"
        if not status.is_terminal and (pace := _pace(progress, today)):
            yield "pace", pace
        if progress.cost:
            yield "cost", _cost(progress.cost, status.is_terminal)
        elif progress.vm_hours.so_far:
            yield "cost", f"unknown: no price is known ({progress.vm_hours.so_far:,.2f} VM hours)"
        if progress.right_sizing:
            yield "VM size", clean(progress.right_sizing.message, MAX_MESSAGE)
        if len(progress.cpu_models) > 1:
            yield "processors", _mixed_cpus(progress.cpu_models)
    yield "created", relative(status.created_at, today)
    if status.provisioned_at:
        yield "provisioned", relative(status.provisioned_at, today)
    if status.is_terminal:
        yield "ended", relative(status.updated_at, today)
    elif status.deadline:
        yield "deadline", relative(status.deadline, today)


def _pace(progress: Progress, today: datetime) -> str:
    pace, end = progress.trials_per_hour, progress.expected_end
    parts = [f"{pace:,.{0 if pace >= 10 else 1}f} trials per hour"] if pace else []
    if end:
        parts.append(f"expected to finish at {relative(end, today)}")
    return "; ".join(parts)


def _cost(cost: Cost, ended: bool) -> str:
    def amount(value: float) -> str:
        return money(value, cost.currency)

    if ended:
        parts = [amount(cost.so_far)]
    else:
        parts = [f"{amount(cost.so_far)} so far"]
        if cost.per_hour:
            parts.append(f"{amount(cost.per_hour)} per hour")
        if cost.expected is not None:
            parts.append(f"about {amount(cost.expected)} in total")
    if cost.per_trial is not None:
        parts.append(f"{amount(cost.per_trial)} per trial")
    if cost.saved_by_spot is not None:
        parts.append(f"{amount(cost.saved_by_spot)} saved by Spot")
    if cost.max_cost is not None:
        parts.append(f"at most {amount(cost.max_cost)}")
    return ", ".join(parts)


def _mixed_cpus(models: Sequence[CpuModel]) -> str:
    """Results of several kinds of processors, the most frequent first."""
    parts = [
        f"{clean(one.model, 100)} ({count(one.machines, 'VM')}, {count(one.trials, 'trial')})"
        for one in models
    ]
    return f"mixed: {', '.join(parts)}. Times of trials are not comparable; see cpu_models."


def plan_cost(cost: PlanCost | None) -> str:
    """What a fleet would cost, and how that was estimated."""
    if cost is None:
        return "unknown: no price is known"
    parts = [f"{money(cost.per_hour, cost.currency)} per hour"]
    if cost.expected is not None:
        time = span(cost.expected_seconds or 0)
        basis = clean(cost.basis, MAX_MESSAGE)
        parts.append(f"about {money(cost.expected, cost.currency)} in {time} ({basis})")
    parts.append(f"at most {money(cost.at_most, cost.currency)}")
    return ", ".join(parts)


def placements(status: FleetStatus) -> Iterator[tuple[str, str]]:
    for one in status.placements:
        codes = ", ".join(f"{number:,} {clean(code, 60)}" for code, number in one.failed.items())
        accepted = f"{count(one.accepted, 'VM')} accepted"
        yield clean(one.placement, 120), f"{accepted}; failed: {codes}" if codes else accepted


def reason(status: FleetStatus) -> Iterator[str]:
    """Why the fleet failed."""
    if status.reason:
        yield f"{clean(status.reason.code, 80)}: {clean(status.reason.message, MAX_MESSAGE)}"
        if status.reason.advice:
            yield f"What you can do: {clean(status.reason.advice, MAX_MESSAGE)}"


class FailureText(NamedTuple):
    code: str
    occurrences: int
    sentences: list[str]


def failures(status: FleetStatus) -> Iterator[FailureText]:
    """Each kind of failure: Azure's message, the action taken, and advice; what the fleet's reason says
    is not repeated.
    """
    reason_code = status.reason.code if status.reason else ""
    for group in status.failures:
        sentences = [] if status.explains(group) else [clean(group.message, MAX_MESSAGE)]
        if group.action:
            sentences.append(f"Action taken: {clean(group.action, 120)}.")
        if group.advice and group.code != reason_code:
            sentences.append(f"What you can do: {clean(group.advice, MAX_MESSAGE)}")
        yield FailureText(clean(group.code, 80), group.count, sentences)


def trial_errors(progress: Progress | None) -> Iterator[str]:
    for group in progress.errors if progress else ():
        message = clean(group.message, MAX_MESSAGE) or "no error message"
        yield f"{count(group.count, 'trial')}: {message}"


def missing(status: FleetStatus) -> Iterator[str]:
    for code, number in status.missing.items():
        yield f"{count(number, 'VM')} missing: {clean(code, 80)}"


def state_since(machine: Machine) -> datetime | None:
    return {
        "creating": machine.created_at,
        "running": machine.running_at,
        "deleted": machine.deleted_at,
    }.get(machine.state, machine.ended_at)


def outcome(machine: Machine) -> str:
    """Why a VM failed and what the app did, or how its startup script ended."""
    failure = machine.failure
    if failure:
        action = f" ({clean(failure.action, 120)})" if failure.action else ""
        return f"{clean(failure.code, 80)}: {clean(failure.message, MAX_MESSAGE)}{action}"
    return clean(machine.outcome or "", MAX_MESSAGE)
