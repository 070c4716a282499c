"""Pages for people: documents of the API as renderables, for wide terminals and for narrow ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import bar_cells, clean, count, moment, now, span

if TYPE_CHECKING:
    from powerlift_fleet.cli.watch import View

NARROW = 72
"""Columns below which tables become lists."""
CRAMPED = 110
"""Likewise for VMs that say how they ended."""
_INDENT = (0, 0, 0, 2)

_COLOURS = {
    "complete": "green", "running": "green", "deleted": "dim green", "failed": "red", "": "dim",
    "done": "bold green", "cancelled": "bold yellow", "refused": "red", "creating": "cyan",
    "ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "magenta",
}  # fmt: skip


def fleet_screen(view: View, out: Console, live: bool = False) -> RenderableType:
    """A fleet; `live`: cut to the screen's height, and with what only matters while one looks."""
    parts: list[RenderableType] = []
    if view.waiting:
        parts.append(Text(f"{view.waiting.capitalize()}.", "bold yellow"))
    if view.status:
        parts += _fleet(view.status, view.progress, out)
    if not live:
        return Group(*parts)
    if not parts:
        parts.append(Text("Looking …", "dim"))
    return _Fitted(Group(*parts), "Ctrl-C ends the looking; the fleet goes on.")


def _fleet(
    status: Mapping[str, Any], progress: Mapping[str, Any] | None, out: Console
) -> Iterable[RenderableType]:
    today = now()
    yield _title(status)
    if describe.no_news(status):
        yield Padding(Text(describe.no_news(status), "bold yellow"), _INDENT)
    yield Padding(_facts(status, progress, out, today), _INDENT)
    why = list(describe.reason(status))
    if why:
        yield _section("Why it ended", _COLOURS["fault"])
        yield from (Padding(Text(line), _INDENT) for line in why)
    failures = list(describe.failures(status))
    missing = list(describe.missing(status))
    if failures or missing:
        yield _section("What went wrong", _COLOURS["warning"])
    for title, lines in failures:
        yield Padding(Text(title, "bold"), _INDENT)
        yield from (Padding(Text(line), (0, 0, 0, 4)) for line in lines)
    yield from (Padding(Text(line), _INDENT) for line in missing)
    errors = list(describe.trial_errors(progress))
    if errors:
        yield _section("Why trials failed", _COLOURS["warning"])
        yield from (Padding(Text(line), _INDENT) for line in errors)
    warnings = list(describe.warnings(status))
    if warnings:
        yield _section("What the plan warned of", _COLOURS["warning"])
        yield from (Padding(Text(line), _INDENT) for line in warnings)
    placements = list(describe.placements(status))
    if len(placements) > 1 or (placements and failures):
        yield _section("Places")
        yield Padding(_pairs(placements, out), _INDENT)


def _title(status: Mapping[str, Any]) -> Text:
    phase = describe.phase(status)
    title = Text(clean(status.get("id"), 40), "bold")
    title.append(f"  {phase}", _COLOURS.get(phase, "bold cyan"))
    if phase in describe.PHASES:
        title.append(f": {describe.PHASES[phase]}", "not bold")
    return title


def _facts(
    status: Mapping[str, Any],
    progress: Mapping[str, Any] | None,
    out: Console,
    today: datetime,
) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    experiment = (progress or {}).get("experiment") or {}
    name = f"  {clean(experiment['name'], 80)}" if experiment.get("name") else ""
    grid.add_row("experiment", f"{clean(status.get('experiment_id'), 20)}{name}")
    for label, gauge in (
        ("VMs", describe.machines(status)),
        ("trials", describe.trials(status, progress)),
    ):
        if gauge is not None:
            grid.add_row(label, _gauge(gauge, out))
    for label, text in describe.facts(status, progress, today):
        grid.add_row(label, text)
    return grid


def _gauge(gauge: describe.Gauge, out: Console) -> Text:
    width = 30 if out.width >= NARROW else max(6, min(14, out.width - 26))
    text = Text()
    for kind, signs in bar_cells(gauge.parts, gauge.total, width, out.options.ascii_only):
        text.append(signs, _COLOURS[kind])
    text.append(f"  {gauge.done:,} of {gauge.total:,}", "bold")
    return text.append(f"\n{gauge.detail}") if gauge.detail else text


def machines_screen(
    machines: Sequence[Mapping[str, Any]], out: Console, of_some_states: bool = False
) -> RenderableType:
    """The VMs of a fleet, or those in the states that somebody asks for."""
    if not machines:
        return Text("There is no such VM." if of_some_states else "No VM was asked for.")
    today = now()
    rows = [_machine(one, today) for one in machines]
    if out.width < (CRAMPED if any(row[-1] for row in rows) else NARROW):
        return Group(*(_block(row) for row in rows))
    return _table(("VM", "state", "since", "trials", "errors", "placement", "how it ended"), rows)


def _machine(one: Mapping[str, Any], today: datetime) -> list[Text]:
    state, since = clean(one.get("state"), 20), describe.since(one)
    number = clean(one.get("ordinal"), 8)
    if one.get("replaces") is not None:
        number += f" for {clean(one['replaces'], 8)}"
    trials, errors = describe.work(one)
    return [
        Text(number), Text(state, _COLOURS.get(state, "")), Text(_ago(since, today)), Text(trials),
        Text(errors, "red"), Text(describe.placement(one.get("placement"))), Text(describe.ending(one)),
    ]  # fmt: skip


def _block(row: list[Text]) -> RenderableType:
    """A VM where a table has no room: its state, then its place and work, then its end."""
    number, state, ago, trials, errors, placement, ending = row
    first = Text("  ").join([Text.assemble(("VM ", "dim"), number), state, ago])
    if trials:
        placement = Text.assemble(placement, ", ", trials, " trials")
    if errors:
        placement = Text.assemble(placement, ", ", errors, " with an error")
    return Group(first, *(Padding(text, _INDENT) for text in (placement, ending) if text))


def list_screen(fleets: Sequence[Mapping[str, Any]], out: Console) -> RenderableType:
    """All fleets."""
    if not fleets:
        return Text("The app knows of no fleet.")
    today = now()
    rows = [_listed(fleet, today) for fleet in fleets]
    if out.width >= NARROW:
        return _table(("fleet", "phase", "experiment", "VMs", "trials", "errors", "began"), rows)
    return Group(
        *(
            Group(
                Text("  ").join([fleet, phase]),
                Padding(
                    Text.assemble(
                        *(vms, " VMs, ", trials or "?", " trials, "),
                        *((errors, " with an error, ") if errors else ()),
                        began,
                    ),
                    _INDENT,
                ),
            )
            for fleet, phase, _, vms, trials, errors, began in rows
        )
    )


def _listed(fleet: Mapping[str, Any], today: datetime) -> list[Text]:
    vms, trials, phase = describe.machines(fleet), describe.trials(fleet), describe.phase(fleet)
    errors = trials.parts["failed"] if trials else 0
    return [
        Text(clean(fleet.get("id"), 40)),
        Text(phase, _COLOURS.get(phase, "cyan")),
        Text(clean(fleet.get("experiment_id"), 20)),
        Text(f"{vms.done}/{vms.total}"),
        Text(f"{trials.done}/{trials.total}" if trials else ""),
        Text(f"{errors:,}" if errors else "", "red"),
        Text(_ago(moment(fleet.get("created_at")), today)),
    ]


def _ago(when: datetime | None, today: datetime) -> str:
    return f"{span(max(0.0, (today - when).total_seconds()))} ago" if when else ""


def plan_screen(plan: Mapping[str, Any], out: Console) -> RenderableType:
    """A plan: its verdict, then its checks, the worst first."""
    placements = [clean(placement, 120) for placement in plan.get("placements") or []]
    known = [(count(int(plan.get("n_instances") or 0), "VM"), ", then ".join(placements))]
    trials = plan.get("trials")
    if trials:
        known.append((count(trials["total"], "trial"), f"{trials['ready']:,} ready"))
    parts: list[RenderableType] = [_verdict(plan)]
    parts.append(Padding(_pairs([pair for pair in known if pair[1]], out), _INDENT))
    order = {"fault": 0, "warning": 1, "unknown": 2}
    checks = sorted(plan.get("checks") or [], key=lambda one: order.get(one.get("status"), 3))
    rows = [_check(one) for one in checks]
    if out.width < NARROW:
        parts += [
            Group(Text.assemble(status, "  ", name), Padding(text, _INDENT))
            for status, name, text in rows
        ]
        return Group(*parts)
    return Group(*parts, Text(), _table(("", "check", "finding"), rows))


def _verdict(plan: Mapping[str, Any]) -> Text:
    if plan.get("ok"):
        return Text("A fleet of this request would go on.", "bold green")
    if any(one.get("status") == "fault" for one in plan.get("checks") or []):
        return Text("A fleet of this request could not work.", _COLOURS["fault"])
    return Text("Whether a fleet of this request would work cannot be seen.", _COLOURS["unknown"])


def _check(one: Mapping[str, Any]) -> list[Text]:
    status = clean(one.get("status"), 20)
    text = Text(clean(one.get("detail"), describe.LONGEST))
    if one.get("advice") and status != "ok":
        text.append(f"\n{clean(one['advice'], describe.LONGEST)}", "italic")
    return [Text(status, _COLOURS.get(status, "")), Text(clean(one.get("name"), 40)), text]


def _table(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """A table of the columns that hold anything."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    kept = [at for at in range(len(names)) if any(row[at] for row in rows)]
    for at in kept:
        table.add_column(names[at], overflow="fold")
    for row in rows:
        table.add_row(*(row[at] for at in kept))
    return table


def _pairs(pairs: Iterable[tuple[str, str]], out: Console) -> RenderableType:
    """Labels with texts beside them, or below them where it is narrow."""
    if out.width < NARROW:
        return Group(*(Group(Text(label), Padding(Text(text), _INDENT)) for label, text in pairs))
    grid = Table.grid(padding=(0, 2))
    for label, text in pairs:
        grid.add_row(Text(label), Text(text))
    return grid


def _section(title: str, style: str = "bold") -> RenderableType:
    return Padding(Text(title, style), (1, 0, 0, 0))


class _Fitted:
    """A page cut to the height of the screen, with a last line that says so, or the given one."""

    def __init__(self, page: RenderableType, last: str) -> None:
        self._page, self._last = page, last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.max_height
        lines = console.render_lines(self._page, options.update(height=None), pad=False)
        last = self._last
        if len(lines) > height - 1:
            lines, last = lines[: height - 1], "There is more: make the window larger."
        for line in lines:
            yield Segments([*line, Segment.line()])
        yield Text(last, "dim", overflow="ellipsis", no_wrap=True, end="")
