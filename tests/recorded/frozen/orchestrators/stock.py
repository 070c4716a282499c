from __future__ import annotations
from datetime import datetime
from typing import Any
from tests.recorded.frozen.activities import take_stock
from tests.recorded.frozen.fleet import ledger
from tests.recorded.frozen.fleet.records import Machine
from tests.recorded.frozen.fleet.state import FleetState, standing
from tests.recorded.frozen.orchestrators.patterns import ROUNDS, Context, Steps, settle
NOTED_AT_ONCE = 75
AGAIN = 'counted again at the next tick'
LATER = 'went on; what is shown of the VMs may be old'

def stock(context: Context, fleet: FleetState, rounds: int=ROUNDS, otherwise: str=AGAIN) -> Steps:
    news = fleet.news()
    at = fleet.counted_at = context.current_utc_datetime.isoformat()
    parts = [news[start:start + NOTED_AT_ONCE] for start in range(0, len(news), NOTED_AT_ONCE)]
    calls = [(take_stock, _task(fleet, part, at, first=not number)) for number, part in enumerate(parts or [[]])]
    results = (yield from settle(context, calls, rounds))
    for part, result in zip(parts, results, strict=False):
        if result['ok'] and (not result.get('unnoted')):
            for machine in part:
                machine['noted'] = standing(machine)
    failed = [(result['failure'], otherwise) for result in results if not result['ok']]
    failed += [(result['unnoted'], LATER) for result in results if result.get('unnoted')]
    fleet.counted = not failed
    if failed:
        fleet.note(*failed[0])
    if results[0]['ok']:
        fleet.trials = results[0]['trials']
    fleet.hear(results[0] if results[0]['ok'] else {})
    return bool(results[0]['ok'])

def _task(fleet: FleetState, part: list[Machine], at: str, *, first: bool) -> dict[str, Any]:
    return {'order': fleet.order, 'machines': [ledger.record(machine) for machine in part], 'noted': [machine['noted'] for machine in part], 'at': at, 'counts': first, 'counted': fleet.trials if first else None, 'idle': first and fleet.phase == 'watch'}

def glance(context: Context, fleet: FleetState) -> Steps:
    last = fleet.counted_at and datetime.fromisoformat(fleet.counted_at)
    age = (context.current_utc_datetime - last).total_seconds() if last else float('inf')
    if age >= fleet.order['watch_seconds'] or (fleet.counted and fleet.news()):
        yield from stock(context, fleet, rounds=1)
