"""What the API says of a fleet, in words. Pure: documents in, lines of clean text out.

An older app may lack members, and a newer one may have more: what is absent is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from powerlift_fleet.cli.formatting import clean, count, moment, money, relative, span, times

Document = Mapping[str, Any]

PHASES = {
    "plan": "it looks at what it would meet",
    "network": "its network is made",
    "create": "VMs are asked for",
    "boot": "VMs start",
    "provisioned": "all VMs have started",
    "run": "VMs run trials",
    "teardown": "what is left of it is deleted",
    "done": "all is done, and nothing is left",
    "cancelled": "somebody cancelled it",
    "failed": "it could not go on",
}
LONGEST = 600
"""Characters of one message; Azure's can be pages."""


class Gauge(NamedTuple):
    """How far something is: `parts` are numbers of `total` by kind, `detail` is in words."""

    parts: Mapping[str, int]
    total: int
    detail: str

    @property
    def done(self) -> int:
        """What counts as done: all kinds but those that only run."""
        return min(self.total, sum(self.parts.values()))


def phase(status: Document) -> str:
    return clean(status.get("phase"), 30)


def machines(status: Document) -> Gauge:
    """The VMs that came up (running, or gone again) of those wanted."""
    told = status.get("machines") or {}
    parts = {kind: _number(told, kind) for kind in ("running", "deleted")}
    shown = ("accepted", "running", "failed", "deleted")
    return Gauge(parts, _number(told, "wanted"), _counts(told, shown))


def trials(status: Document, progress: Document | None = None) -> Gauge | None:
    """The trials that ended of all; None until the app has looked, or while it cannot."""
    told = status.get("trials") or (progress or {}).get("trials")
    if not told:
        return None
    parts = {"complete": _number(told, "complete"), "failed": _number(told, "error")}
    named = {**told, "with an error": told.get("error")}
    return Gauge(
        parts, _number(told, "total"), _counts(named, ("running", "ready", "with an error"))
    )


def line(status: Document, progress: Document | None = None) -> str:
    """The whole fleet in one line: for pipes, and for logs."""
    parts = [f"{phase(status):<11}"]
    for name, gauge in (("VMs", machines(status)), ("trials", trials(status, progress))):
        if gauge is not None:
            detail = f" ({gauge.detail})" if gauge.detail else ""
            parts.append(f"{name} {gauge.done}/{gauge.total}{detail}")
    return "  ".join(parts).rstrip()


def no_news(status: Document) -> str:
    """That the fleet is silent; empty while it is not."""
    seconds = _number(status, "no_news_seconds")
    silence = f"{seconds} s" if seconds < 120 else span(seconds)
    return f"No news for {silence}; the host may be restarting." if seconds else ""


def facts(
    status: Document, progress: Document | None, today: datetime
) -> Iterator[tuple[str, str]]:
    """Pace, cost and times, each with its label."""
    known = progress or {}
    if known.get("problem"):
        yield "trials", f"not known now: {clean(known['problem'], LONGEST)}"
    ending = moment(known.get("expected_end"))
    pace = known.get("trials_per_hour")
    said = (
        [f"{pace:,.0f} trials an hour" if pace >= 10 else f"{pace:.1f} trials an hour"]
        if pace
        else []
    )
    ended = status.get("phase") in ("done", "cancelled", "failed")
    if ending is not None and not ended:
        said.append(f"all done about {relative(ending, today)}")
    if said and not ended:
        yield "pace", "; ".join(said)
    if known.get("cost"):
        yield "cost", _cost(known["cost"], ended)
    for label, name in (
        ("began", "created_at"),
        ("all VMs up", "provisioned_at"),
        ("deadline", "deadline"),
    ):
        when = moment(status.get(name))
        if when is not None and not (ended and name == "deadline"):
            yield label, relative(when, today)
    when = moment(status.get("updated_at"))
    if ended and when is not None:
        yield "ended", relative(when, today)


def placements(status: Document) -> Iterator[tuple[str, str]]:
    """Each place, and what came of it."""
    for one in status.get("placements") or []:
        failed = (one.get("failed") or {}).items()
        codes = ", ".join(f"{number:,} {clean(code, 60)}" for code, number in failed)
        accepted = f"{count(_number(one, 'accepted'), 'VM')} accepted"
        yield (
            clean(one.get("placement"), 120),
            f"{accepted}; failed: {codes}" if codes else accepted,
        )


def reason(status: Document) -> Iterator[str]:
    """Why a fleet ended early."""
    told = status.get("reason")
    if told:
        yield f"{clean(told.get('code'), 80)}: {clean(told.get('message'), LONGEST)}"
        if told.get("advice"):
            yield f"What you can do: {clean(told['advice'], LONGEST)}"


def failures(status: Document) -> Iterator[tuple[str, list[str]]]:
    """Each kind of failure: how often, then Azure's words, what was done, and what one can do."""
    why = (status.get("reason") or {}).get("code")
    for group in status.get("failures") or []:
        said = [clean(group.get("message"), LONGEST)]
        if group.get("action"):
            said.append(f"The fleet {clean(group['action'], 120)}.")
        if group.get("advice") and group.get("code") != why:
            said.append(f"What you can do: {clean(group['advice'], LONGEST)}")
        yield f"{clean(group.get('code'), 80)}, {times(_number(group, 'count'))}", said


def trial_errors(progress: Document | None) -> Iterator[str]:
    """What trials failed with, the most frequent first."""
    for group in (progress or {}).get("errors") or []:
        said = clean(group.get("message"), LONGEST) or "no word on why"
        yield f"{count(_number(group, 'count'), 'trial')}: {said}"


def missing(status: Document) -> Iterator[str]:
    for code, number in (status.get("missing") or {}).items():
        yield f"{count(number, 'VM')} missing: {clean(code, 80)}"


def warnings(status: Document) -> Iterator[str]:
    for text in status.get("warnings") or []:
        yield clean(text, LONGEST)


def placement(told: Document | None) -> str:
    """A VM's place as the fleet's `places` have it: `eastus/1 Standard_D2s_v5`, `Spot` where it is."""
    if not told:
        return ""
    zone = f"/{told['zone']}" if told.get("zone") else ""
    spot = " Spot" if told.get("priority") == "Spot" else ""
    return clean(f"{told.get('location')}{zone} {told.get('vm_size')}{spot}", 120)


def since(machine: Document) -> datetime | None:
    """When a VM came into its state."""
    names = {
        "creating": "created_at",
        "running": "running_at",
        "failed": "ended_at",
        "deleted": "deleted_at",
    }
    return moment(machine.get(names.get(str(machine.get("state")), "ended_at")))


def ending(machine: Document) -> str:
    """Why a VM failed and what was done then, or how its script ended."""
    ended = machine.get("ended")
    if ended:
        then = f" ({clean(ended['next'], 120)})" if ended.get("next") else ""
        return f"{clean(ended.get('code'), 80)}: {clean(ended.get('message'), LONGEST)}{then}"
    return clean(machine.get("outcome") or "", LONGEST)


def work(machine: Document) -> tuple[str, str]:
    """How many of a VM's trials have ended, and how many of those with an error; empty for none."""
    told = machine.get("trials") or {}
    errors = _number(told, "error")
    ended = _number(told, "complete") + errors
    return f"{ended:,}" if ended else "", f"{errors:,}" if errors else ""


def _cost(told: Document, ended: bool) -> str:
    currency = str(told.get("currency") or "USD")
    said = [
        f"{money(told['so_far'], currency)} so far"
        if not ended
        else money(told["so_far"], currency)
    ]
    if not ended and told.get("per_hour"):
        said.append(f"{money(told['per_hour'], currency)} an hour")
    if not ended and told.get("expected") is not None:
        said.append(f"about {money(told['expected'], currency)} in the end")
    if told.get("per_trial") is not None:
        said.append(f"{money(told['per_trial'], currency)} a trial")
    return ", ".join(said)


def _counts(told: Document, kinds: tuple[str, ...]) -> str:
    return ", ".join(f"{_number(told, kind):,} {kind}" for kind in kinds if told.get(kind))


def _number(told: Document, name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0
