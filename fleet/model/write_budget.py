"""How fast fleets may write to Azure Resource Manager, and when they must pause.

Azure limits the writes of a principal in a subscription. Its fleets share one `SharedBudget`, in the
app's database; without the database, a fleet uses its own `WriteBudget`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from typing_extensions import TypedDict

from fleet.model.order_parts import WritesOrder

BURST = 180
"""Writes in one burst. Azure's bucket has 200; the rest is for other clients."""
NICS, NIC_WINDOW = 960, 3000
"""Azure accepts 1,000 writes to networks in five minutes, in a region of a subscription. At ten writes a
second, the bucket refills with NIC_WINDOW in that time."""
NIC_SLOTS = 30
"""Parts of that time in which NICs are counted together."""
OUTAGE_TIMEOUT = timedelta(minutes=15)
"""How long an outage of Azure may last before the VMs that it prevents are abandoned."""
SHORTEST_RETRY, LONGEST_RETRY = 1.0, 10.0
"""Seconds until a fleet asks again for what it did not get."""
PRECISION = 1e-3
"""Of a share, in writes."""
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


@dataclass
class TokenBucket:
    """Writes, the latest NICs, and the pauses that Azure requested. All times are ISO 8601.

    `rate`: writes per second with which the bucket refills.
    """

    paused_until: str | None = None
    spent: float = 0.0
    """Writes not yet refilled at `spent_at`."""
    spent_at: str | None = None
    nics: list[tuple[str, int]] = field(default_factory=list)
    """When NICs were sent, and how many."""

    def pause_until(self, moment: datetime) -> None:
        """Send no writes until then; the longest pause counts."""
        if self.paused_until is None or moment > datetime.fromisoformat(self.paused_until):
            self.paused_until = moment.isoformat()

    def paused_for(self, now: datetime) -> float:
        """Seconds until writes may be sent; 0 if they may be sent now."""
        return _seconds_until(self.paused_until, now)

    def grant(
        self,
        ask: Ask,
        order: WritesOrder,
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
        granted = roles * each_role + vms * each_vm
        self.spend(granted, rate, now, nics=vms)
        if (roles, vms) == (ask["roles"], ask["vms"]):
            return {**nothing, "roles": roles, "vms": vms}
        lacking = max(1, least) * each_vm - (min(free, share) - granted)
        wait = lacking / rate if nics >= least else NIC_WINDOW / rate / NIC_SLOTS
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

    def _spent(self, rate: float, now: datetime) -> float:
        if self.spent_at is None:
            return 0.0
        passed = (now - datetime.fromisoformat(self.spent_at)).total_seconds()
        return max(0.0, self.spent - max(0.0, passed) * rate)


@dataclass
class WriteBudget(TokenBucket):
    """A fleet's own budget, and its dealings with the shared one."""

    pause_is_news: bool = False
    """Whether Azure asked this fleet to pause, and the other fleets do not know it yet."""
    outage_since: str | None = None
    """Since when Azure has had an outage, and has accepted no VM."""
    asks: int = 0
    """How often the fleet has asked for writes."""
    ask_at: str | None = None
    """When the fleet should ask again."""
    got_none: bool = False
    """Whether the last ask for VMs got none."""
    alone_until: str | None = None
    """Until then the fleet uses its own budget only, because the shared one is unreachable."""

    def throttled_until(self, moment: datetime) -> None:
        """Azure asked this fleet to pause until then."""
        self.pause_until(moment)
        self.pause_is_news = True

    def asks_in(self, now: datetime) -> float:
        """Seconds until the fleet should ask again; 0 if it may ask now."""
        return _seconds_until(self.ask_at, now)

    def is_alone(self, now: datetime) -> bool:
        return _seconds_until(self.alone_until, now) > 0

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


def role_writes(order: WritesOrder) -> int:
    """Role assignments of each VM."""
    return 1 + len(order["resource_uris"]) + (1 if order["client_principal_id"] else 0)


def writes_per_vm(order: WritesOrder) -> int:
    """A VM's creation, and the first try of its roles: a VM without a role cannot delete itself, so its
    role must not wait for the writes of other VMs.
    """
    return WRITES_PER_CREATE + role_writes(order)


def writes_of(ask: Ask, order: WritesOrder) -> int:
    return ask["roles"] * role_writes(order) + ask["vms"] * writes_per_vm(order)


def _seconds_until(moment: str | None, now: datetime) -> float:
    if moment is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(moment) - now).total_seconds())
