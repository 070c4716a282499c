"""How fast a fleet may write to Azure Resource Manager, and when it must pause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.model.records import Order

BURST = 180
"""Writes in one burst. Azure's bucket has 200; the rest is for other clients."""
OUTAGE_TIMEOUT = timedelta(minutes=15)
"""How long an outage of Azure may last before the VMs that it prevents are abandoned."""


@dataclass
class WriteBudget:
    """A token bucket, and the pauses that Azure requested. All times are ISO 8601."""

    paused_until: str | None = None
    spent: float = 0.0
    """Writes not yet refilled at `spent_at`."""
    spent_at: str | None = None
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

    def spend(self, writes: int, rate: float, now: datetime) -> float:
        """Take writes from the bucket, which refills at `rate` per second. Returns the seconds to wait
        before sending them.
        """
        passed = (
            (now - datetime.fromisoformat(self.spent_at)).total_seconds() if self.spent_at else 0
        )
        self.spent = max(0.0, self.spent - passed * rate) + writes
        self.spent_at = now.isoformat()
        return max(0.0, (self.spent - BURST) / rate)

    def outage_timed_out(self, now: datetime) -> bool:
        """Whether the outage has lasted for OUTAGE_TIMEOUT; it starts now if there was none."""
        self.outage_since = self.outage_since or now.isoformat()
        return now - datetime.fromisoformat(self.outage_since) > OUTAGE_TIMEOUT

    def outage_backoff(self, now: datetime) -> float:
        """Seconds to pause: as long as the outage has lasted, between 10 and 60."""
        since = datetime.fromisoformat(self.outage_since or now.isoformat())
        return min(60.0, max(10.0, (now - since).total_seconds()))


def writes_per_vm(order: Order) -> int:
    """The NIC, the VM, and its role assignments."""
    return 3 + len(order["resource_uris"]) + (1 if order["client_principal_id"] else 0)
