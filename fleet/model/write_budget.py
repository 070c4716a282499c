"""How fast fleets may write to Azure Resource Manager, and when they must pause.

Azure limits the writes of a principal in a subscription. Its fleets share one `SharedBudget`, in the
app's database; without the database, a fleet uses its own `WriteBudget`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from typing_extensions import TypedDict

from fleet.model.records import Order

BURST = 180
"""Writes in one burst. Azure's bucket has 200; the rest is for other clients."""
NICS, NIC_WINDOW = 960, 3000
"""Azure accepts 1,000 writes to networks in five minutes, in a region of a subscription. At ten writes a
second, the bucket refills with NIC_WINDOW in that time."""
NIC_SLOTS = 30
"""Parts of that time in which NICs are counted together."""
OUTAGE_TIMEOUT = timedelta(minutes=15)
"""How long an outage of Azure may last before the VMs that it prevents are abandoned."""
LONGEST_PAUSE = timedelta(minutes=30)
"""Azure has asked for waits of 20 minutes; an invalid row must not stop all fleets for longer."""
SHORTEST_RETRY, LONGEST_RETRY = 1.0, 10.0
"""Seconds until a fleet asks again for what it did not get."""
WAITING_TIMEOUT = timedelta(minutes=1)
"""How long a share is kept for a fleet that got less than it asked for: more than the longest poll."""
HALF_LIFE = timedelta(seconds=30)
"""After which half of what a fleet has taken no longer counts against its share."""
PRECISION = 1e-3
"""Of a share, in writes."""
MOST_WRITES = 100_000.0
"""More than any fleet asks for: the limit of an invalid row."""
ASK_LIFETIME = timedelta(minutes=15)
"""How long an answered ask is known: an activity is repeated a minute after a crash of its host."""
MAX_ASKS = 250
"""Fleets whose last ask is known."""
WRITES_PER_CREATE = 2
"""The NIC and the VM."""


class Ask(TypedDict):
    """What a fleet asks for at once."""

    id: str
    """Differs between the asks of a fleet. An ask with the ID of the last one is a repetition of it."""
    roles: int
    """VMs whose roles are tried again. The first try of a VM's roles is part of its creation."""
    vms: int
    """VMs to create."""
    least: int
    """Fewer VMs than this are not worth a wave, unless the fleet's last ask got none."""
    pause: float
    """Seconds for which Azure has asked this fleet to pause; 0 if it has not."""


class Grant(TypedDict):
    """What a fleet may do now."""

    roles: int
    vms: int
    retry_after: float
    """Seconds until it should ask for the rest; 0 if it got everything."""
    paused: float
    """Seconds for which Azure has asked a fleet of this principal to pause."""


class Claim(NamedTuple):
    """What a fleet wants of the free writes, beside what it has taken lately."""

    wanted: float
    taken: float = 0.0

    def up_to(self, level: float) -> float:
        """What it gets if nobody gets more than so much in all."""
        return min(self.wanted, max(0.0, level - self.taken))


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
class WriteBudget:
    """A token bucket, the latest NICs, and the pauses that Azure requested. All times are ISO 8601.

    `rate`: writes per second with which the bucket refills.
    """

    paused_until: str | None = None
    pause_is_news: bool = False
    """Whether Azure asked this fleet to pause, and the other fleets do not know it yet."""
    spent: float = 0.0
    """Writes not yet refilled at `spent_at`."""
    spent_at: str | None = None
    nics: list[tuple[str, int]] = field(default_factory=list)
    """When NICs were sent, and how many."""
    outage_since: str | None = None
    """Since when Azure has had an outage, and has accepted no VM."""
    asks: int = 0
    """How often the fleet has asked for writes."""
    ask_at: str | None = None
    """When the fleet should ask again."""
    got_none: bool = False
    """Whether the last ask for VMs got none."""
    alone_until: str | None = None
    """Until then the fleet uses this budget, because the shared one is unreachable."""

    def pause_until(self, moment: datetime, *, is_news: bool = False) -> None:
        """Send no writes until then; the longest pause counts."""
        if self.paused_until is None or moment > datetime.fromisoformat(self.paused_until):
            self.paused_until, self.pause_is_news = moment.isoformat(), is_news

    def paused_for(self, now: datetime) -> float:
        """Seconds until writes may be sent; 0 if they may be sent now."""
        return _seconds_until(self.paused_until, now)

    def may_ask(self, now: datetime) -> bool:
        return _seconds_until(self.ask_at, now) == 0

    def is_alone(self, now: datetime) -> bool:
        return _seconds_until(self.alone_until, now) > 0

    def grant(
        self,
        ask: Ask,
        order: Order,
        now: datetime,
        taken: float = 0.0,
        others: Sequence[Claim] = (),
        other_nics: int = 0,
    ) -> Grant:
        """Take up to what is asked for: the fair share beside the fleets that wait for the rest of
        theirs. Nothing while Azure has asked for a pause.

        `taken`: as in `Claim`. `other_nics`: those of other principals in the subscription.
        """
        paused = self.paused_for(now)
        nothing: Grant = {"roles": 0, "vms": 0, "retry_after": paused, "paused": paused}
        if paused or not ask["roles"] + ask["vms"]:
            return nothing
        rate, claim = order["writes_per_second"], Claim(writes_of(ask, order), taken)
        each_role, each_vm = role_writes(order), writes_per_vm(order)
        free = BURST - self._spent(rate, now)
        free_nics = NICS - self.nics_sent(rate, now) - other_nics
        share = fair_share(free, claim, others)
        roles = min(ask["roles"], int(share // each_role))
        nics = int(fair_share(free_nics * each_vm, claim, others) // each_vm)
        vms = min(ask["vms"], int((share - roles * each_role) // each_vm), nics)
        if not roles + vms:
            # A share may be smaller than one item; a full bucket affords one of any size.
            roles = int(ask["roles"] > 0 and (free >= each_role or free == BURST))
            affords = free >= each_vm or free == BURST
            vms = int(not roles and ask["vms"] > 0 and free_nics > 0 and affords)
        least = min(ask["least"], ask["vms"])
        vms = vms if vms >= least else 0
        self.spend(roles * each_role + vms * each_vm, rate, now, nics=vms)
        if (roles, vms) == (ask["roles"], ask["vms"]):
            return {**nothing, "roles": roles, "vms": vms}
        wait = max(1, least) * each_vm / rate if nics >= least else NIC_WINDOW / rate / NIC_SLOTS
        retry_after = min(max(wait, SHORTEST_RETRY), LONGEST_RETRY)
        return {"roles": roles, "vms": vms, "retry_after": retry_after, "paused": 0.0}

    def spend(self, writes: int, rate: float, now: datetime, *, nics: int = 0) -> None:
        """Take writes from the bucket; `nics` of them are NICs."""
        self.spent, self.spent_at = self._spent(rate, now) + writes, now.isoformat()
        self.nics_sent(rate, now)
        if not nics:
            return
        began, count = self.nics[-1] if self.nics else ("", 0)
        if began > (now - timedelta(seconds=NIC_WINDOW / rate / NIC_SLOTS)).isoformat():
            self.nics[-1] = (began, count + nics)
        else:
            self.nics.append((now.isoformat(), nics))

    def nics_sent(self, rate: float, now: datetime) -> int:
        """NICs that still count at Azure. Forgets the others."""
        seconds = NIC_WINDOW / rate * (1 + 1 / NIC_SLOTS)
        oldest = (now - timedelta(seconds=seconds)).isoformat()
        self.nics = [(at, count) for at, count in self.nics if at > oldest]
        return sum(count for _, count in self.nics)

    def outage_timed_out(self, now: datetime) -> bool:
        """Whether the outage has lasted for OUTAGE_TIMEOUT; it starts now if there was none."""
        self.outage_since = self.outage_since or now.isoformat()
        return now - datetime.fromisoformat(self.outage_since) > OUTAGE_TIMEOUT

    def end_outage(self, accepted_at: str) -> None:
        """Azure accepted a VM at that time, which ends an outage that had begun before."""
        if self.outage_since is not None:
            began = datetime.fromisoformat(self.outage_since)
            if datetime.fromisoformat(accepted_at) > began:
                self.outage_since = None

    def outage_backoff(self, now: datetime) -> float:
        """Seconds to pause: as long as the outage has lasted, between 10 and 60."""
        since = datetime.fromisoformat(self.outage_since or now.isoformat())
        return min(60.0, max(10.0, (now - since).total_seconds()))

    def _spent(self, rate: float, now: datetime) -> float:
        if self.spent_at is None:
            return 0.0
        passed = (now - datetime.fromisoformat(self.spent_at)).total_seconds()
        return max(0.0, self.spent - max(0.0, passed) * rate)


@dataclass
class SharedBudget:
    """The budget of all fleets of a principal in a subscription."""

    writes: WriteBudget = field(default_factory=WriteBudget)
    asks: dict[str, AnsweredAsk] = field(default_factory=dict)
    """By fleet: its last ask."""

    @classmethod
    def read(cls, document: Any, now: datetime) -> SharedBudget:
        """From the result of `write`. An invalid document counts as an unused budget: the fleets then
        exceed Azure's limits for a while, and wait as long as Azure asks.
        """
        try:
            stored = document["writes"]
            writes = WriteBudget(
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

    def take(self, fleet: str, ask: Ask, order: Order, now: datetime, other_nics: int = 0) -> Grant:
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


def fair_share(free: float, mine: Claim, others: Iterable[Claim]) -> float:
    """What a fleet gets of the free writes if those come first that have taken least (max-min)."""
    claims = [mine, *others]
    if sum(one.wanted for one in claims) <= free:
        return mine.wanted
    low, high = 0.0, max(one.taken + one.wanted for one in claims)
    while high - low > PRECISION:
        level = (low + high) / 2
        if sum(one.up_to(level) for one in claims) > free:
            high = level
        else:
            low = level
    return mine.up_to(high)


def role_writes(order: Order) -> int:
    """Role assignments of each VM."""
    return 1 + len(order["resource_uris"]) + (1 if order["client_principal_id"] else 0)


def writes_per_vm(order: Order) -> int:
    """A VM's creation, and the first try of its roles: a VM without a role cannot delete itself, so its
    role must not wait for the writes of other VMs.
    """
    return WRITES_PER_CREATE + role_writes(order)


def writes_of(ask: Ask, order: Order) -> int:
    return ask["roles"] * role_writes(order) + ask["vms"] * writes_per_vm(order)


def _seconds_until(moment: str | None, now: datetime) -> float:
    if moment is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(moment) - now).total_seconds())


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
