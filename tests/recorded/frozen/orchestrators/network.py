from __future__ import annotations
from typing import Any
from tests.recorded.frozen.activities import ensure_network
from tests.recorded.frozen.fleet.failures import failure
from tests.recorded.frozen.fleet.state import FleetState
from tests.recorded.frozen.orchestrators.patterns import Context, Ended, Steps, attempt, sleep_unless
LOOKS = 60

def ensure(context: Context, fleet: FleetState, cancel: Any, location: str) -> Steps:
    if location in fleet.networks:
        return None
    task = {'order': fleet.order, 'location': location}
    for _ in range(LOOKS):
        result = (yield from attempt(context, ensure_network, task))
        if not result['ok']:
            return result['failure']
        if result['ready']:
            fleet.networks.append(location)
            return None
        if (yield from sleep_unless(context, cancel, result['retry_after'])):
            raise Ended('cancelled')
    text = f'The virtual network in {location} was not ready after {LOOKS} looks.'
    return failure('NetworkNotReady', text, 'fail_fleet', 'See its activity log.')
