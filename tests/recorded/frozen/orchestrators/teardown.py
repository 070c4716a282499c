from __future__ import annotations
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
import azure.durable_functions as df
from tests.recorded.frozen.activities import delete_leftovers, find_leftovers
from tests.recorded.frozen.activities import release_trials
from tests.recorded.frozen.fleet.records import Failure, Order
from tests.recorded.frozen.orchestrators.patterns import Context, Steps, attempt, settle, sleep
bp = df.Blueprint()
PATIENCE = timedelta(minutes=30)
LOOK_SECONDS = 10.0
AT_ONCE = 10

@dataclass
class Looks:
    give_up: datetime
    least: int | None = None
    empty: int = 0
    without_vms: int = 0
    machines: int | None = None
    left: Any = None

    def take(self, look: dict[str, Any], now: datetime) -> None:
        self.machines = look['machines']
        standing = len(look['delete']) + look['waiting']
        self.empty = 0 if standing else self.empty + 1
        self.without_vms = self.without_vms + 1 if self.machines == 0 else 0
        if self.least is None or standing < self.least:
            self.least, self.give_up = (standing, now + PATIENCE)

    def miss(self, failure: Failure) -> None:
        self.empty, self.without_vms, self.machines = (0, 0, None)
        self.left = [failure]

@bp.orchestration_trigger(context_name='context')
def teardown_fleet(context: Context) -> Steps:
    task: dict[str, Any] = context.get_input()
    order: Order = task['order']
    looks = Looks(context.current_utc_datetime + PATIENCE)
    deleted, unreleased = (0, None)
    while looks.empty < 2 and context.current_utc_datetime < looks.give_up:
        look = (yield from attempt(context, find_leftovers, task))
        pause = min(order['watch_seconds'], LOOK_SECONDS)
        if look['ok']:
            looks.take(look, context.current_utc_datetime)
            tried = (yield from _delete(context, order, look['delete']))
            deleted, pause = (deleted + tried['deleted'], max(pause, tried['wait']))
            looks.left = [{'refused': tried['refused'], 'waiting': look['waiting']}, *look['delete']]
        else:
            looks.miss(look['failure'])
        if looks.without_vms == 2:
            unreleased = (yield from _give_back(context, order))
        if looks.empty < 2:
            yield from sleep(context, pause)
    ok = looks.empty == 2
    left = [] if ok else looks.left
    told = {'machines': looks.machines, 'unreleased': unreleased}
    return {'ok': ok, 'deleted': deleted, 'left': left, **told}

def _give_back(context: Context, order: Order) -> Steps:
    task = {'order': order, 'ordinals': None, 'reasons': None}
    released = (yield from attempt(context, release_trials, task))
    return None if released['ok'] else released['failure']

def _delete(context: Context, order: Order, resources: list[dict[str, Any]]) -> Steps:
    calls = [(delete_leftovers, {'order': order, 'resources': resources[start:start + AT_ONCE]}) for start in range(0, len(resources), AT_ONCE)]
    results = [result for result in (yield from settle(context, calls, rounds=1)) if result['ok']]
    refused: Counter[str] = Counter()
    for result in results:
        refused.update(result['refused'])
    return {'deleted': sum((result['deleted'] for result in results)), 'refused': dict(refused), 'wait': max((result['retry_after'] or 0.0 for result in results), default=0.0)}
