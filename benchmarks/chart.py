"""A line chart with logarithmic axes as an SVG, legible on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 780, 380
LEFT, RIGHT, TOP, BOTTOM = 76, 210, 44, 52
"""Margins, in pixels. The names of the lines are on the right."""
COLORS = ("--a", "--b", "--c")
STYLE = """
svg { --ink: #1b2733; --soft: #51606f; --line: #d5dee7; --paper: #ffffff;
      --a: #b3541e; --b: #1763b6; --c: #4d7c0f;
      font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #9fb0c0; --line: #33414e; --paper: #0d1117;
        --a: #f0975a; --b: #6cb6ff; --c: #9ccc52; }
}
text { fill: var(--soft); } .title { fill: var(--ink); font-size: 15px; font-weight: 600; }
path { fill: none; stroke-width: 2; } .grid { stroke: var(--line); stroke-width: 1; }
"""


@dataclass(frozen=True, slots=True)
class Series:
    """A line with its name and its points (x, y), ordered by x; all values are positive."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: bool = False
    """Whether each point has a dot: it was measured."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis from `low` to `high`, between two pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """The powers of ten on the axis."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**exponent for exponent in range(first, last + 1)]


def line_chart(title: str, x_name: str, y_name: str, lines: Sequence[Series]) -> str:
    """An SVG document."""
    x_values = [x for line in lines for x, _ in line.points]
    y_values = [y for line in lines for _, y in line.points]
    x = Axis(min(x_values), max(x_values), LEFT, WIDTH - RIGHT)
    low, high = math.log10(min(y_values)), math.log10(max(y_values))
    y = Axis(10 ** math.floor(low), 10 ** math.ceil(high), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="var(--paper)"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        *_grid(x, y),
        _text((x.start + x.end) / 2, HEIGHT - 12, x_name, "middle"),
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_name)}</text>',
    ]
    for line, color in zip(lines, COLORS, strict=False):
        parts += _line(line, color, x, y)
    return "\n".join([*parts, *_names(lines, y), "</svg>", ""])


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<path class="grid" d="M{x.start} {at:.1f}H{x.end}"/>')
        parts.append(_text(x.start - 8, at + 4, f"{value:,.0f}", "end"))
    for value in x.ticks():
        at = x.at(value)
        parts.append(f'<path class="grid" d="M{at:.1f} {y.start}V{y.end}"/>')
        parts.append(_text(at, y.start + 18, f"{value:,.0f}", "middle"))
    return parts


def _line(line: Series, color: str, x: Axis, y: Axis) -> list[str]:
    points = [(x.at(one), y.at(other)) for one, other in line.points]
    path = "L".join(f"{left:.1f} {top:.1f}" for left, top in points)
    dashes = ' stroke-dasharray="6 5"' if line.dashed else ""
    parts = [f'<path d="M{path}" stroke="var({color})"{dashes}/>']
    if line.marks:
        parts += [
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3.5" fill="var({color})"/>'
            for left, top in points
        ]
    return parts


def _names(lines: Sequence[Series], y: Axis) -> list[str]:
    """The name of each line beside its end, with its last value, at least a line of text apart."""
    parts, lowest = [], -math.inf
    ends = [
        (y.at(line.points[-1][1]), line, color) for line, color in zip(lines, COLORS, strict=False)
    ]
    for end, line, color in sorted(ends, key=lambda one: one[0]):
        lowest = max(end + 4, lowest + 18)
        text = f"{line.name}: {line.points[-1][1]:,.0f} s"
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{lowest:.1f}" style="fill: var({color})">'
            f"{escape(text)}</text>"
        )
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
