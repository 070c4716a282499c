"""The writes that a fleet may send: granted from the budget that all fleets of its principal share.

Only creations and role assignments are granted. Deletions wait for no other fleet, and for no database:
Azure counts them separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from activities.write_budget import take_writes
from fleet.model.activities import Failed, TakeWrites, WritesGranted
from fleet.model.order_parts import WritesOrder, part_of
from fleet.model.records import Vm
from fleet.model.state import FleetState
from fleet.model.write_budget import Ask, Grant, role_writes, writes_per_vm
from orchestrators.patterns import Context, Orchestration, settle

ALONE = timedelta(minutes=1)
"""How long a fleet uses its own budget after the shared one was unreachable: each try may take 20 s."""
NOTHING: Grant = {"roles": 0, "vms": 0, "retry_after": 0.0, "paused": 0.0}


def ask_for_writes(
    context: Context, fleet: FleetState, *, roles: int = 0, vms: int = 0, least: int = 1
) -> Orchestration[Grant]:
    """Take the writes for up to so many VMs, and for VMs whose roles are tried again.

    `least`: fewer VMs are not worth a wave. Without the app's database, the fleet uses a budget of its
    own.
    """
    writes = fleet.writes
    writes.asks += 1
    ask: Ask = {
        "id": f"{fleet.order.get('created_at', '')}/{writes.asks}",
        "roles": roles,
        "vms": vms,
        "least": 1 if writes.got_none else least,
        "pause": writes.paused_for(context.current_utc_datetime) if writes.pause_is_news else 0.0,
    }
    if not writes.is_alone(context.current_utc_datetime):
        task: TakeWrites = {"order": part_of(fleet.order, WritesOrder), "ask": ask}
        answer: WritesGranted | Failed
        [answer] = yield from settle(context, [(take_writes, task)], max_tries=1)
        if answer["ok"]:
            _apply(context, fleet, ask, answer["grant"])
            return answer["grant"]
        writes.alone_until = (context.current_utc_datetime + ALONE).isoformat()
    own = writes.grant(ask, fleet.order, context.current_utc_datetime)
    _pace(context, fleet, ask, own)
    return own


def share_pause(context: Context, fleet: FleetState) -> Orchestration[None]:
    """Tell the other fleets at once if Azure has asked this one to pause."""
    if fleet.writes.pause_is_news:
        yield from ask_for_writes(context, fleet)


def granted_roles(
    context: Context, fleet: FleetState, due: Sequence[Vm]
) -> Orchestration[list[Vm]]:
    """The VMs whose roles may be assigned now, in the same order: the first try is part of a VM's
    creation, and needs no further grant.
    """
    yield from share_pause(context, fleet)
    retried = [vm["ordinal"] for vm in due if vm["role_tries"]]
    grant = NOTHING
    if retried and may_write(context, fleet):
        grant = yield from ask_for_writes(context, fleet, roles=len(retried))
    granted = retried[: grant["roles"]]
    if fleet.writes.paused_for(context.current_utc_datetime):
        return []
    return [vm for vm in due if not vm["role_tries"] or vm["ordinal"] in granted]


def may_write(context: Context, fleet: FleetState) -> bool:
    """Whether neither Azure has asked for a pause, nor the last grant for patience."""
    now = context.current_utc_datetime
    return not fleet.writes.paused_for(now) and not fleet.writes.asks_in(now)


def _apply(context: Context, fleet: FleetState, ask: Ask, grant: Grant) -> None:
    """Keep the fleet's own budget up to date, for a time without the database."""
    writes, order, now = fleet.writes, fleet.order, context.current_utc_datetime
    spent = grant["roles"] * role_writes(order) + grant["vms"] * writes_per_vm(order)
    writes.spend(spent, order["writes_per_second"], now, nics=grant["vms"])
    if grant["paused"]:
        writes.pause_until(now + timedelta(seconds=grant["paused"]))
    _pace(context, fleet, ask, grant)


def _pace(context: Context, fleet: FleetState, ask: Ask, grant: Grant) -> None:
    writes, now = fleet.writes, context.current_utc_datetime
    writes.pause_is_news = False
    if ask["vms"]:
        writes.got_none = grant["vms"] == 0
    wait = timedelta(seconds=grant["retry_after"])
    writes.ask_at = (now + wait).isoformat() if wait else None
