"""The page of a fleet, in full or fitted into the height of a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from powerlift_fleet.api.responses import Bar, FleetStatus, Progress
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import bar_cells, clean, count, now
from powerlift_fleet.cli.screens import COLOURS, INDENT, NARROW, heading, indented, pairs
from powerlift_fleet.cli.snapshot import Snapshot


@dataclass(frozen=True)
class Part:
    """A part of a page: `size` entries, the most important first.

    `draw(number, brief)` lays out the first `number` of them, in full or each in one line. `noun` names
    an entry where the hidden ones are counted; it is empty in a part that always shows some.
    """

    size: int
    draw: Callable[[int, bool], RenderableType]
    noun: str = ""


class Fold(NamedTuple):
    """A step that makes a page smaller: a part's entries become lines, of which `least` remain.

    `least`: None keeps all of them.
    """

    part: str
    least: int | None = None


@dataclass(frozen=True)
class Fitted:
    """A page that takes folds, in order, until it fits the screen; then its footer."""

    parts: Mapping[str, Part]
    folds: Sequence[Fold]
    footers: tuple[Sequence[str], Sequence[str]]
    """Below a page in full, and below a folded one; the first that fits the width is shown."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited, height = options.update(height=None), options.max_height - 1
        drawn = {name: _Drawn(part, console, unlimited) for name, part in self.parts.items()}

        def fits() -> bool:
            lines = sum(len(one.lines) for one in drawn.values())
            return lines + bool(_rest(drawn)) <= height

        for fold in self.folds:
            while not fits() and drawn[fold.part].fold(fold.least):
                pass
        for one in drawn.values():  # a coarse later fold may have made room for an earlier part
            before = one.state
            one.show(one.part.size, False)
            if not fits():
                one.show(*before)
        rest = _rest(drawn)
        lines = [line for one in drawn.values() for line in one.lines]
        for line in lines[: height - bool(rest)]:
            yield Segments([*line, Segment.line()])
        if rest:
            yield Text(rest, "dim", overflow="ellipsis", no_wrap=True)
        footers = self.footers[0 if all(one.is_full for one in drawn.values()) else 1]
        footer = next((one for one in footers if len(one) <= options.max_width), footers[-1])
        yield Text(footer, "dim", overflow="ellipsis", no_wrap=True, end="")


class _Drawn:
    """The lines of a part, in one state: how many entries are shown, and whether a line each."""

    def __init__(self, part: Part, console: Console, options: ConsoleOptions) -> None:
        self.part = part
        self._console, self._options = console, options
        self.show(part.size, False)

    def show(self, size: int, brief: bool) -> None:
        self.state = size, brief
        page = self.part.draw(size, brief) if size else None
        self.lines = self._console.render_lines(page, self._options, pad=False) if page else []

    @property
    def is_full(self) -> bool:
        return self.state == (self.part.size, False)

    def fold(self, least: int | None) -> bool:
        """Make it one step smaller; false at the end."""
        size, brief = self.state
        if not brief:
            smaller = 0 if least == 0 else size
        else:
            smaller = size - (least is not None and size > least)
        changed = self.part.size > 0 and self.state != (smaller, True)
        if changed:
            self.show(smaller, True)
        return changed


def _rest(drawn: Mapping[str, _Drawn]) -> str:
    """A line about the parts without a shown entry: `… 12 placements, 4 plan warnings`."""
    hidden = [one.part for one in drawn.values() if one.part.size and not one.state[0]]
    return f"… {', '.join(count(part.size, part.noun) for part in hidden)}" if hidden else ""


def fleet_screen(snapshot: Snapshot, out: Console) -> RenderableType:
    return Group(
        *(part.draw(part.size, False) for part in _parts(snapshot, out).values() if part.size)
    )


def live_screen(snapshot: Snapshot, out: Console) -> RenderableType:
    """The fleet, fitted into the screen's height."""
    command = f"powerlift-fleet status {describe.handle(snapshot.status)}"
    folded = (f"Ctrl-C stops watching. In full: {command}", f"In full: {command}")
    return Fitted(_parts(snapshot, out), _FOLDS, (_WATCHED, folded))


_WATCHED = ("Ctrl-C stops watching; the fleet keeps running.", "Ctrl-C stops watching.")
_FOLDS = (
    Fold("placements", 0), Fold("warnings"), Fold("errors"), Fold("failures"), Fold("facts"),
    Fold("warnings", 0), Fold("errors", 2), Fold("failures", 3), Fold("facts", 4),
    Fold("errors", 1), Fold("failures", 1), Fold("errors", 0), Fold("facts", 2),
    Fold("failures", 0),
)  # fmt: skip
"""What a small screen shows less of, from the least important on."""


def _parts(snapshot: Snapshot, out: Console) -> dict[str, Part]:
    """The parts of a fleet's page, in their order."""
    status, progress = snapshot.status, snapshot.progress
    title: list[RenderableType] = (
        [Text(snapshot.waiting, "bold yellow")] if snapshot.waiting else []
    )
    title.append(_title(status))
    if describe.no_news(status):
        title.append(indented(describe.no_news(status), "bold yellow"))
    failures = [_failure(*one) for one in describe.failures(status)]
    has_failures = bool(failures)
    failures += [_entry(line) for line in describe.missing(status)]
    warnings = (clean(warning, describe.MAX_MESSAGE) for warning in status.warnings)
    places = list(describe.placements(status))
    shows_places = len(places) > 1 or (places and has_failures)
    return {
        "title": _whole(title),
        "facts": _facts(status, progress, out),
        "reason": _section("Why the fleet failed", map(_entry, describe.reason(status)), "fault"),
        "failures": _section("Failures", failures, "warning", "failure"),
        "errors": _section(
            "Trial errors", map(_entry, describe.trial_errors(progress)), "warning", "trial error"
        ),
        "warnings": _section("Plan warnings", map(_entry, warnings), "warning", "plan warning"),
        "placements": _placements(places if shows_places else [], out),
    }


def _whole(lines: Sequence[RenderableType]) -> Part:
    return Part(len(lines), lambda size, brief: Group(*lines))


def _failure(code: str, number: int, sentences: Sequence[str]) -> _Entry:
    head = f"{number:,} x {code}"
    below = (Padding(Text(sentence), (0, 0, 0, 4)) for sentence in sentences)
    text = f": {' '.join(sentences)}" if sentences else ""
    return _Entry(Group(indented(head, "bold"), *below), head + text)


def _placements(places: Sequence[tuple[str, str]], out: Console) -> Part:
    def draw(size: int, brief: bool) -> RenderableType:
        return Group(heading("Placements"), Padding(pairs(places, out), INDENT))

    return Part(len(places), draw, "placement")


def _title(status: FleetStatus) -> Text:
    phase = describe.phase(status)
    title = Text(describe.label(status), "bold")
    title.append(f"  {phase}", COLOURS.get(phase, "bold cyan"))
    if activity := describe.activity(status):
        title.append(f": {activity}", "not bold")
    return title


_IMPORTANCE = ("VMs", "trials", "cost", "pace", "deadline", "experiment", "VM size", "processors")
"""The facts that a small screen shows, the most important first."""


def _facts(status: FleetStatus, progress: Progress | None, out: Console) -> Part:
    rows: list[tuple[str, Text]] = []
    if status.id != status.handle:
        rows.append(("ID", Text(clean(status.id, 40))))
    name = progress.experiment.name if progress else None
    experiment = f"{status.experiment_id}" + (f"  {clean(name, 80)}" if name else "")
    rows.append(("experiment", Text(experiment)))
    rows += [(name, _bar(bar, out)) for name, bar in describe.bars(status, progress).items()]
    facts = describe.facts(status, progress, now())
    rows += [(label, Text(text)) for label, text in facts]
    ranks = {label: rank for rank, label in enumerate(_IMPORTANCE)}
    order = sorted(range(len(rows)), key=lambda at: ranks.get(rows[at][0], len(ranks)))

    def draw(size: int, brief: bool) -> RenderableType:
        grid = Table.grid(padding=(0, 2), expand=brief)
        grid.add_column(style="dim", no_wrap=True)
        if brief:
            grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        else:
            grid.add_column(overflow="fold")
        for at in sorted(order[:size]):
            label, text = rows[at]
            grid.add_row(label, Text("  ").join(text.split("\n")) if brief else text)
        return Padding(grid, INDENT)

    return Part(len(rows), draw)


def _bar(bar: Bar, out: Console) -> Text:
    width = 30 if out.width >= NARROW else max(6, min(14, out.width - 26))
    text = Text()
    for kind, characters in bar_cells(bar.parts, bar.total, width, out.options.ascii_only):
        text.append(characters, COLOURS[kind])
    text.append(f"  {bar.done:,} of {bar.total:,}", "bold")
    return text.append(f"\n{bar.detail}") if bar.detail else text


class _Entry(NamedTuple):
    """An entry of a section, in full and in one line."""

    full: RenderableType
    brief: str


def _entry(text: str) -> _Entry:
    return _Entry(indented(text), text)


def _section(title: str, entries: Iterable[_Entry], colour: str, noun: str = "") -> Part:
    """Entries below a heading; without any, nothing."""
    known, style = list(entries), COLOURS[colour]

    def draw(size: int, brief: bool) -> RenderableType:
        if not brief:
            return Group(heading(title, style), *(one.full for one in known))
        lines = [Text(title, style), *(_line(one.brief) for one in known[:size])]
        if size < len(known):
            lines.append(_line(f"… {count(len(known) - size, f'more {noun}')}", "dim"))
        return Group(*lines)

    return Part(len(known), draw, noun)


def _line(text: str, style: str = "") -> Text:
    return Text(f"  {text}", style, no_wrap=True, overflow="ellipsis")
