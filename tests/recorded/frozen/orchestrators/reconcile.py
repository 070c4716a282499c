from __future__ import annotations
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from tests.recorded.frozen.activities import keep_logs
from tests.recorded.frozen.activities import delete_vm, inspect_vms, list_machines
from tests.recorded.frozen.fleet.failures import explain, failure
from tests.recorded.frozen.fleet.machines import NO_WORDS
from tests.recorded.frozen.fleet.records import Failure, Machine
from tests.recorded.frozen.fleet.state import FleetState
from tests.recorded.frozen.orchestrators.patterns import Context, Ended, Steps, attempt, is_passing, settle
from tests.recorded.frozen.orchestrators.stock import stock
from tests.recorded.frozen.orchestrators.wave import assign
INSPECTED_AT_ONCE = KEPT_AT_ONCE = 10
ROLE_PATIENCE = timedelta(minutes=5)
ROLE_TRIES = 5
BOOT_PATIENCE = timedelta(minutes=30)

def reconcile(context: Context, fleet: FleetState) -> Steps:
    seen = (yield from look(context, fleet))
    yield from give_up_roles(context, fleet)
    if seen:
        yield from give_up_boots(context, fleet)

def look(context: Context, fleet: FleetState) -> Steps:
    now = context.current_utc_datetime
    if fleet.blind_until and now < datetime.fromisoformat(fleet.blind_until):
        return False
    task = {'order': fleet.order, 'unknown': fleet.unknown()}
    shown = (yield from attempt(context, list_machines, task, patient=False))
    if shown['ok']:
        fleet.looked_at = context.current_utc_datetime.isoformat()
        seen = fleet.see(shown['states'], shown['identities'])
        yield from replace_failed(context, fleet, seen.failed)
        yield from note_vanished(context, fleet, seen.vanished)
        yield from delete(context, fleet, seen.unwanted)
    else:
        fleet.note(shown['failure'], 'looked again at the next tick')
        wait = timedelta(seconds=shown['failure']['retry_after'] or 0.0)
        fleet.blind_until = (context.current_utc_datetime + wait).isoformat()
    if fleet.unsettled() and (not fleet.is_held(context.current_utc_datetime)):
        yield from assign(context, fleet.order, fleet.unsettled())
        heed(context, fleet)
    return bool(shown['ok'])

def heed(context: Context, fleet: FleetState) -> None:
    for machine in fleet.unsettled():
        refusal, next_try = (machine['refusal'], machine['next_try'])
        if refusal is not None and refusal['action'] == 'wait' and (next_try is not None):
            fleet.hold(datetime.fromisoformat(next_try))

def replace_failed(context: Context, fleet: FleetState, ordinals: list[int]) -> Steps:
    reasons: dict[str, Failure] = {}
    for start in range(0, len(ordinals), INSPECTED_AT_ONCE):
        task = {'order': fleet.order, 'ordinals': ordinals[start:start + INSPECTED_AT_ONCE]}
        result = (yield from attempt(context, inspect_vms, task))
        reasons |= result['failures'] if result['ok'] else {}
    unknown = explain('ProvisioningFailed', NO_WORDS)
    known = {ordinal: reasons.get(str(ordinal)) or unknown for ordinal in ordinals}
    yield from keep(context, fleet, known)
    yield from delete(context, fleet, ordinals)
    for ordinal, reason in known.items():
        fleet.doom([ordinal])
        fleet.fail(ordinal, reason, context.current_utc_datetime)

def note_vanished(context: Context, fleet: FleetState, ordinals: list[int]) -> Steps:
    if not ordinals:
        return
    yield from stock(context, fleet, rounds=1)
    if fleet.trials is None or fleet.trials['ready'] > 0:
        note_lost(context, fleet, ordinals, ran=False)

def note_lost(context: Context, fleet: FleetState, ordinals: list[int], *, ran: bool) -> None:
    for ordinal in ordinals:
        machine = fleet.machines[ordinal]
        code = 'SpotEvicted' if machine['place']['priority'] == 'Spot' else 'VmLost'
        text = f"The VM {machine['name']} was there, and went before its work was done."
        fleet.fail(ordinal, explain(code, text), context.current_utc_datetime, ran=ran)

def give_up_roles(context: Context, fleet: FleetState) -> Steps:
    for machine in fleet.unsettled():
        reason = _why_no_role(fleet, machine, context.current_utc_datetime)
        if reason is None:
            continue
        machine['settled'] = True
        if 0 in machine['assigned']:
            fleet.note(reason, 'went on without this role')
        else:
            yield from give_up(context, fleet, [machine['ordinal']], reason)

def _why_no_role(fleet: FleetState, machine: Machine, now: datetime) -> Failure | None:
    refusal, made = (machine['refusal'], datetime.fromisoformat(machine['created_at']))
    if refusal is not None:
        may_pass = refusal['action'] == 'wait' or now - made < ROLE_PATIENCE
        may_pass = may_pass or machine['tries'] < ROLE_TRIES
        return None if is_passing(refusal) and may_pass else refusal
    looked = fleet.looked_at and datetime.fromisoformat(fleet.looked_at)
    if machine['principal_id'] or not looked or looked - made < ROLE_PATIENCE:
        return None
    text = f'Azure told no identity of the VM for {ROLE_PATIENCE}.'
    return failure('IdentityNotKnown', text, 'fail_machine', "Look at the VM's activity log.")

def give_up_boots(context: Context, fleet: FleetState) -> Steps:
    creating = [machine for machine in fleet.living() if machine['state'] == 'creating']
    late = _older(BOOT_PATIENCE, context.current_utc_datetime, creating)
    text = f'The VM did not run after {BOOT_PATIENCE}.'
    yield from give_up(context, fleet, late, explain('BootTimedOut', text))

def give_up(context: Context, fleet: FleetState, ordinals: list[int], reason: Failure) -> Steps:
    yield from keep(context, fleet, dict.fromkeys(ordinals, reason))
    yield from delete(context, fleet, ordinals)
    fleet.doom(ordinals)
    for ordinal in ordinals:
        fleet.fail(ordinal, reason, context.current_utc_datetime)

def keep(context: Context, fleet: FleetState, reasons: Mapping[int, Failure]) -> Steps:
    machines = [{'ordinal': ordinal, 'reason': reason} for ordinal, reason in reasons.items()]
    calls = [(keep_logs, {'order': fleet.order, 'machines': machines[start:start + KEPT_AT_ONCE]}) for start in range(0, len(machines), KEPT_AT_ONCE)]
    yield from settle(context, calls, rounds=1)

def delete(context: Context, fleet: FleetState, ordinals: list[int]) -> Steps:
    calls = [(delete_vm, {'order': fleet.order, 'ordinal': ordinal}) for ordinal in ordinals]
    yield from settle(context, calls)

def check_deadline(context: Context, fleet: FleetState) -> None:
    if fleet.past_deadline(context.current_utc_datetime) and fleet.trials_left():
        text = f"The deadline {fleet.order['deadline']} passed with trials still open."
        advice = 'Submit the rest as a new batch, with more VMs or a longer max_lifetime.'
        raise Ended('failed', failure('DeadlineReached', text, 'fail_fleet', advice))

def _older(patience: timedelta, now: datetime, machines: list[Any]) -> list[int]:
    return [machine['ordinal'] for machine in machines if now - datetime.fromisoformat(machine['created_at']) > patience]
