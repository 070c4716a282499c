"""How fast a fleet may write to Azure Resource Manager, and when it must pause."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fleet.model.records import Order

BURST = 180
"""Writes in one burst. Azure's bucket has 200; the rest is for other clients."""
NICS, NIC_WINDOW = 960, 3000
"""Azure accepts 1,000 writes to networks in five minutes, in a region of a subscription. At ten writes a
second, the bucket refills with NIC_WINDOW in that time."""
OUTAGE_TIMEOUT = timedelta(minutes=15)
"""How long an outage of Azure may last before the VMs that it prevents are abandoned."""


@dataclass
class WriteBudget:
    """A token bucket, the latest NICs, and the pauses that Azure requested. All times are ISO 8601.

    `rate`: writes per second with which the bucket refills.
    """

    paused_until: str | None = None
    spent: float = 0.0
    """Writes not yet refilled at `spent_at`."""
    spent_at: str | None = None
    nics: list[tuple[str, int]] = field(default_factory=list)
    """When NICs were sent, and how many."""
    outage_since: str | None = None
    """Since when Azure has had an outage, and has accepted no VM."""

    def pause_until(self, moment: datetime) -> None:
        """Send no writes until then; the longest pause counts."""
        if self.paused_until is None or moment > datetime.fromisoformat(self.paused_until):
            self.paused_until = moment.isoformat()

    def paused_for(self, now: datetime) -> float:
        """Seconds until writes may be sent; 0 if they may be sent now."""
        if self.paused_until is None:
            return 0.0
        return max(0.0, (datetime.fromisoformat(self.paused_until) - now).total_seconds())

    def spend(self, writes: int, rate: float, now: datetime, *, nics: int = 0) -> None:
        """Take writes from the bucket; `nics` of them are NICs."""
        self.spent, self.spent_at = self._spent(rate, now) + writes, now.isoformat()
        self._forget_nics(rate, now)
        if nics:
            self.nics.append((now.isoformat(), nics))

    def affords(self, each: int, rate: float, now: datetime) -> int:
        """How many items of `each` writes may be sent now. A full bucket affords one of any size."""
        spent = self._spent(rate, now)
        return max(int(spent == 0), int((BURST - spent) // each))

    def affords_nics(self, rate: float, now: datetime) -> int:
        self._forget_nics(rate, now)
        return NICS - sum(count for _, count in self.nics)

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
        return max(0.0, self.spent - passed * rate)

    def _forget_nics(self, rate: float, now: datetime) -> None:
        oldest = (now - timedelta(seconds=NIC_WINDOW / rate)).isoformat()
        self.nics = [one for one in self.nics if one[0] > oldest]


WRITES_PER_CREATE = 2
"""The NIC and the VM."""


def role_writes(order: Order) -> int:
    """Role assignments of each VM."""
    return 1 + len(order["resource_uris"]) + (1 if order["client_principal_id"] else 0)
