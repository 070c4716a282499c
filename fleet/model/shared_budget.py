"""The write budget that all fleets of a principal share in a subscription, as stored in one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from typing_extensions import TypedDict

from fleet.model.order_parts import WritesOrder
from fleet.model.write_budget import BURST, NICS, Ask, Claim, Grant, TokenBucket, writes_of

LONGEST_PAUSE = timedelta(minutes=30)
"""Azure has asked for waits of 20 minutes; an invalid row must not stop all fleets for longer."""
WAITING_TIMEOUT = timedelta(minutes=1)
"""How long a share is kept for a fleet that got less than it asked for: more than the longest poll."""
HALF_LIFE = timedelta(seconds=30)
"""After which half of what a fleet has taken no longer counts against its share."""
ASK_LIFETIME = timedelta(minutes=15)
"""How long an answered ask is known: an activity is repeated a minute after a crash of its host."""
MAX_ASKS = 250
"""Fleets whose last ask is known."""
MOST_WRITES = 100_000.0
"""More than any fleet asks for: the limit of an invalid row."""


class AnsweredAsk(TypedDict):
    """The last ask of a fleet."""

    id: str
    at: str
    grant: Grant
    wanted: float
    """How many more writes it asked for."""
    taken: float
    """Writes that it has taken lately, by then."""


@dataclass
class SharedBudget:
    """The budget of all fleets of a principal in a subscription."""

    writes: TokenBucket = field(default_factory=TokenBucket)
    asks: dict[str, AnsweredAsk] = field(default_factory=dict)
    """By fleet: its last ask."""

    @classmethod
    def read(cls, document: Any, now: datetime) -> SharedBudget:
        """From the result of `write`. An invalid document counts as an unused budget: the fleets then
        exceed Azure's limits for a while, and wait as long as Azure asks.
        """
        try:
            stored = document["writes"]
            writes = TokenBucket(
                paused_until=_no_later(stored["paused_until"], now + LONGEST_PAUSE),
                spent=_within(stored["spent"], 2.0 * BURST),
                spent_at=_no_later(stored["spent_at"], now),
                nics=[
                    (_no_later(at, now) or "", int(_within(count, NICS)))
                    for at, count in stored["nics"]
                ],
            )
            asks = {
                str(fleet): _answered(one)
                for fleet, one in document["asks"].items()
                if now - datetime.fromisoformat(one["at"]) < ASK_LIFETIME
            }
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            return cls()
        return cls(writes, asks)

    def write(self) -> Mapping[str, Any]:
        """As JSON."""
        newest = sorted(self.asks.items(), key=lambda item: item[1]["at"])[-MAX_ASKS:]
        return {"writes": asdict(self.writes), "asks": dict(newest)}

    def take(
        self, fleet: str, ask: Ask, order: WritesOrder, now: datetime, other_nics: int = 0
    ) -> Grant:
        """Answer a fleet's ask; a repetition gets the same answer, and takes nothing."""
        known = self.asks.get(fleet)
        if known is not None and known["id"] == ask["id"]:
            grant = known["grant"]
            roles, vms = min(grant["roles"], ask["roles"]), min(grant["vms"], ask["vms"])
            return {**grant, "roles": roles, "vms": vms}
        if ask["pause"]:
            pause = min(timedelta(seconds=ask["pause"]), LONGEST_PAUSE)
            self.writes.pause_until(now + pause)
        waiting = [
            Claim(one["wanted"], _taken(one, now))
            for other, one in self.asks.items()
            if other != fleet
            and one["wanted"]
            and now - datetime.fromisoformat(one["at"]) < WAITING_TIMEOUT
        ]
        taken = _taken(known, now) if known is not None else 0.0
        grant = self.writes.grant(ask, order, now, taken, waiting, other_nics)
        granted = writes_of({**ask, "roles": grant["roles"], "vms": grant["vms"]}, order)
        self.asks[fleet] = {
            "id": ask["id"],
            "at": now.isoformat(),
            "grant": grant,
            "wanted": writes_of(ask, order) - granted,
            "taken": taken + granted,
        }
        return grant


def _no_later(moment: str | None, latest: datetime) -> str | None:
    """The time, or the latest that makes sense: any role that may write the table may have set it."""
    if moment is None:
        return None
    return min(datetime.fromisoformat(moment), latest).isoformat()


def _answered(one: Any) -> AnsweredAsk:
    grant, longest = one["grant"], LONGEST_PAUSE.total_seconds()
    return {
        "id": str(one["id"]),
        "at": datetime.fromisoformat(one["at"]).isoformat(),
        "grant": {
            "roles": int(_within(grant["roles"], MOST_WRITES)),
            "vms": int(_within(grant["vms"], MOST_WRITES)),
            "retry_after": _within(grant["retry_after"], longest),
            "paused": _within(grant["paused"], longest),
        },
        "wanted": _within(one["wanted"], MOST_WRITES),
        "taken": _within(one["taken"], MOST_WRITES),
    }


def _taken(one: AnsweredAsk, now: datetime) -> float:
    """Writes that a fleet has taken lately: halved after each HALF_LIFE."""
    age = max(timedelta(), now - datetime.fromisoformat(one["at"]))
    return float(one["taken"] * 0.5 ** (age / HALF_LIFE))


def _within(number: Any, most: float) -> float:
    return min(max(0.0, float(number)), most)
