"""Lays out API objects for people, on wide and narrow terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from powerlift_fleet.api.responses import Check, FleetListEntry, Machine, Plan, Trial
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import clean, clean_lines, count, money, now, span

NARROW = 72
"""Columns below which tables become lists."""
NARROW_WITH_OUTCOMES = 110
WIDE_LIST = 120
INDENT = (0, 0, 0, 2)

COLOURS = {
    "complete": "green", "running": "green", "deleted": "dim green", "failed": "red", "": "dim",
    "done": "bold green",
    "done, some trials failed": "bold yellow", "done, all trials failed": "bold red",
    "cancelled": "bold yellow", "refused": "red", "creating": "cyan",
    "ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "magenta",
}  # fmt: skip


def machines_screen(
    machines: Sequence[Machine], out: Console, filtered: bool = False
) -> RenderableType:
    """The VMs of a fleet; `filtered`: those in some states only."""
    if not machines:
        return Text("No VMs in this state." if filtered else "No VMs yet.")
    today = now()
    rows = [_machine(one, today) for one in machines]
    if out.width < (NARROW_WITH_OUTCOMES if any(row[-1] for row in rows) else NARROW):
        return Group(*(_machine_block(row) for row in rows))
    return _table(("VM", "state", "since", "trials", "failed", "placement", "outcome"), rows)


def _machine(one: Machine, today: datetime) -> list[Text]:
    number = f"{one.ordinal}" + (f" (replaces {one.replaces})" if one.replaces is not None else "")
    state, ended = clean(one.state, 20), one.trials.complete + one.trials.error
    return [
        Text(number), Text(state, COLOURS.get(state, "")),
        Text(_ago(describe.state_since(one), today)), Text(f"{ended:,}" if ended else ""),
        Text(f"{one.trials.error:,}" if one.trials.error else "", "red"),
        Text(clean(one.placement, 120)), Text(describe.outcome(one)),
    ]  # fmt: skip


def _machine_block(row: list[Text]) -> RenderableType:
    """A VM on a narrow terminal."""
    number, state, ago, trials, failed, placement, outcome = row
    first = Text("  ").join([Text.assemble(("VM ", "dim"), number), state, ago])
    if trials:
        placement = Text.assemble(placement, ", ", trials, " trials")
    if failed:
        placement = Text.assemble(placement, ", ", failed, " failed")
    return Group(first, *(Padding(text, INDENT) for text in (placement, outcome) if text))


def trials_screen(
    trials: Sequence[Trial], out: Console, state: str | None = None
) -> RenderableType:
    """The trials of a fleet, with their tracebacks if they have any; `state`: those in this state."""
    if not trials:
        return Text(f"No {state} trials." if state else "No trials.")
    today = now()
    rows = [_trial(one, today) for one in trials]
    has_errors = any(row[-1] for row in rows)
    if any(one.traceback for one in trials):
        pairs = zip(trials, rows, strict=True)
        return Group(*(_trial_block(row, one.traceback or "") for one, row in pairs))
    if out.width < (NARROW_WITH_OUTCOMES if has_errors else NARROW):
        return Group(*(_trial_block(row) for row in rows))
    return _table(_TRIAL_COLUMNS, rows)


_TRIAL_COLUMNS = (
    "trial", "state", "method", "task", "VM", "time", "used", "processor", "measures", "error",
)  # fmt: skip


def _trial(one: Trial, today: datetime) -> list[Text]:
    state = clean(one.state, 20)
    return [
        Text(f"{one.id}"), Text(state, COLOURS.get(state, "")), Text(describe.method(one)),
        Text(clean(one.task, 60)), Text(describe.trial_vm(one)),
        Text(describe.trial_time(one, today)), Text(describe.used(one)),
        Text(describe.processor(one)), Text(describe.measures(one)),
        Text(clean(one.error or "", describe.MAX_MESSAGE)),
    ]  # fmt: skip


def _trial_block(row: list[Text], traceback: str = "") -> RenderableType:
    """A trial on a narrow terminal, or with its traceback."""
    number, state, method, task, vm, time, used, processor, measures, error = row
    ran = Text(", ").join(filter(None, (used, processor)))
    parts = (method, task, Text.assemble("VM ", vm) if vm else Text(), time)
    first = [Text.assemble(("trial ", "dim"), number), state, *filter(None, parts)]
    below = [Text(line) for line in clean_lines(traceback).splitlines()] or [error]
    return Group(
        Text("  ").join(first),
        *(Padding(text, INDENT) for text in (ran, measures, *below) if text),
    )


def list_screen(fleets: Sequence[FleetListEntry], out: Console) -> RenderableType:
    if not fleets:
        return Text("No fleets.")
    today = now()
    rows = [_listed(fleet, today) for fleet in fleets]
    if out.width >= WIDE_LIST:
        return _table(_LISTED, rows)
    blocks: list[RenderableType] = []
    for fleet, name, experiment, who, phase, vms, trials, failed, cost, created in rows:
        head = Text("  ").join(part for part in (fleet, name, phase) if part)
        counts = ((vms, " VMs"), (trials, " trials"), (failed, " failed"), (cost, ""))
        parts = [Text.assemble(text, noun) for text, noun in counts if text]
        detail = Text(", ").join([*parts, created])
        origin = Text.assemble("experiment ", experiment, ", by ", who)
        blocks += [head, Padding(origin, INDENT), Padding(detail, INDENT)]
    return Group(*blocks)


_LISTED = (
    "fleet", "name", "experiment", "by", "phase", "VMs", "trials", "failed", "cost", "created",
)  # fmt: skip


def _listed(fleet: FleetListEntry, today: datetime) -> list[Text]:
    vms, trials, phase = fleet.machines, fleet.trials, describe.phase(fleet)
    started = min(vms.wanted, vms.running + vms.deleted) if vms else 0
    experiment = f"{fleet.experiment_id}"
    if fleet.experiment_name:
        experiment += f" {clean(fleet.experiment_name, 40)}"
    return [
        Text(describe.handle(fleet)),
        Text(clean(fleet.name or "", 63), "bold"),
        Text(experiment),
        Text(clean(fleet.submitted_by, 40)),
        Text(phase, COLOURS.get(phase, "cyan")),
        Text(f"{started}/{vms.wanted}" if vms else ""),
        Text(f"{trials.ended}/{trials.total}" if trials else ""),
        Text(f"{trials.error:,}" if trials and trials.error else "", "red"),
        Text("" if fleet.cost is None else money(fleet.cost, "USD")),
        Text(_ago(fleet.created_at, today)),
    ]


def _ago(when: datetime | None, today: datetime) -> str:
    return f"{span(max(0.0, (today - when).total_seconds()))} ago" if when else ""


def plan_screen(plan: Plan, out: Console, every: bool = False) -> RenderableType:
    """The verdict, then the checks, the worst first; those that passed are counted unless `every`."""
    facts = []
    if plan.placements:
        placements = ", then ".join(clean(placement, 120) for placement in plan.placements)
        facts.append((count(plan.n_instances, "VM"), placements))
    if plan.trials:
        facts.append((count(plan.trials.total, "trial"), f"{plan.trials.ready:,} ready"))
    if plan.placements:
        facts.append(("cost", describe.plan_cost(plan.cost)))
    parts: list[RenderableType] = [_verdict(plan), Padding(pairs(facts, out), INDENT)]
    order = {"fault": 0, "warning": 1, "unknown": 2}
    checks = sorted(plan.checks, key=lambda one: order.get(one.status, 3))
    rows = [_check(one) for one in checks if every or one.status != "ok"]
    passed = len(checks) - len(rows)
    last = [Text(f"{count(passed, 'check')} passed; --all lists each.", "dim")] if passed else []
    if out.width < NARROW:
        for status, name, text in rows:
            parts += [Text.assemble(status, "  ", name), Padding(text, INDENT)]
    elif rows:
        parts += [Text(), _table(("", "check", "finding"), rows)]
    return Group(*parts, *last)


def _verdict(plan: Plan) -> Text:
    if plan.ok:
        return Text("This fleet can start.", "bold green")
    if any(check.status == "fault" for check in plan.checks):
        return Text("This fleet cannot start.", COLOURS["fault"])
    return Text("It is unknown whether this fleet can start.", COLOURS["unknown"])


def _check(check: Check) -> list[Text]:
    status = clean(check.status, 20)
    text = Text(clean(check.detail, describe.MAX_MESSAGE))
    if check.advice and status != "ok":
        text.append(f"\n{clean(check.advice, describe.MAX_MESSAGE)}", "italic")
    return [Text(status, COLOURS.get(status, "")), Text(clean(check.name, 40)), text]


def _table(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """A table without its empty columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    kept = [at for at in range(len(names)) if any(row[at] for row in rows)]
    for at in kept:
        table.add_column(names[at], overflow="fold")
    for row in rows:
        table.add_row(*(row[at] for at in kept))
    return table


def pairs(pairs: Iterable[tuple[str, str]], out: Console) -> RenderableType:
    """Labels with text next to them, or below them on a narrow terminal."""
    if out.width < NARROW:
        return Group(*(Group(Text(label), indented(text)) for label, text in pairs))
    grid = Table.grid(padding=(0, 2))
    for label, text in pairs:
        grid.add_row(Text(label), Text(text))
    return grid


def heading(title: str, style: str = "bold") -> RenderableType:
    return Padding(Text(title, style), (1, 0, 0, 0))


def indented(text: str, style: str = "") -> RenderableType:
    return Padding(Text(text, style), INDENT)
