from __future__ import annotations
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from tests.recorded.frozen.fleet import names
from tests.recorded.frozen.fleet.machines import asked
from tests.recorded.frozen.fleet.places import Block, block, covering, label, lifted, remember
from tests.recorded.frozen.fleet.records import Assignment, Failure, Machine, Opening, Order, Place, Postponed, Prepared, Trials
SHOWN_CHARACTERS = 240
TERMINAL = frozenset({'done', 'cancelled', 'failed'})
ATTEMPTS = 8
MARGIN = 10
OUTAGE = timedelta(minutes=15)
BURST = 180
SILENT_COUNTS = 10
THRICE = 3
_NEW_MACHINE = {'assigned': [], 'settled': False, 'refusal': None, 'tries': 0, 'next_try': None, 'replaces': None, 'attempt': 1, 'ended': None, 'permitted_at': None, 'running_at': None, 'ended_at': None, 'gone_at': None, 'noted': ''}
_UP = ('Succeeded', 'Updating', 'Deleting')

class Seen(NamedTuple):
    failed: list[int]
    vanished: list[int]
    unwanted: list[int]

@dataclass
class FleetState:
    order: Order
    phase: str = 'plan'
    fresh: int = 0
    openings: list[Opening] = field(default_factory=list)
    again: list[Postponed] = field(default_factory=list)
    given_up: dict[str, int] = field(default_factory=dict)
    next_ordinal: int = 0
    waves: int = 0
    in_vain: int = 0
    outage_since: str | None = None
    looked_at: str | None = None
    blind_until: str | None = None
    prepared: list[Prepared] = field(default_factory=list)
    machines: dict[int, Machine] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    tried: list[Place] = field(default_factory=list)
    tallies: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: Failure | None = None
    not_before: str | None = None
    spent: float = 0.0
    spent_at: str | None = None
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trials: Trials | None = None
    counted_at: str | None = None
    counted: bool = True
    silent: dict[str, int] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    provisioned_at: str | None = None
    trials_ended_at: str | None = None
    reason: Failure | None = None
    missing: list[int] = field(default_factory=list)
    doomed: list[int] = field(default_factory=list)
    unreleased: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FleetState:
        if 'order' not in document:
            order = cast(Order, dict(document))
            return cls(order, fresh=order['n_instances'])
        known = {field.name for field in fields(cls)}
        state = {name: value for name, value in document.items() if name in known}
        machines = {one['ordinal']: {**_NEW_MACHINE, **one} for one in document['machines']}
        return cls(**{**state, 'machines': machines})

    def write(self) -> dict[str, Any]:
        return {**vars(self), 'machines': list(self.machines.values())}

    def deficit(self) -> int:
        wanted = len(self.openings) + self.fresh
        if self.trials is None:
            return wanted
        open_trials = self.trials['ready'] + self.trials['running']
        return max(0, min(wanted, open_trials - len(self.living()) - len(self.again)))

    def is_short(self) -> bool:
        return self.deficit() > 0 or (bool(self.given_up or self.again) and self.trials_left())

    def budget(self) -> int:
        failures = self.order['n_instances'] + MARGIN - self.in_vain
        return max(0, min(failures, names.ORDINALS - self.next_ordinal))

    def resend(self, room: int) -> list[Assignment]:
        if self.stopped or not self.trials_left():
            return []
        taken, self.again = (self.again[:room], self.again[room:])
        return [one['assignment'] for one in taken]

    def assign(self, places: Iterable[Place]) -> list[Assignment]:
        assignments: list[Assignment] = []
        for place in places:
            opening = self.openings.pop(0) if self.openings else None
            if opening is None:
                self.fresh -= 1
            assignments.append({'ordinal': self._ordinal(place['location']), 'place': place, 'replaces': opening and opening['replaces'], 'attempt': opening['attempt'] if opening else 1})
        return assignments

    def _ordinal(self, location: str) -> int:
        for one in self.prepared:
            if one['location'] == location:
                self.prepared.remove(one)
                return one['ordinal']
        self.next_ordinal += 1
        return self.next_ordinal - 1

    def take_back(self, assignment: Assignment, *, has_nic: bool) -> None:
        self._reopen(assignment)
        location = assignment['place']['location']
        self.prepared.append({'ordinal': assignment['ordinal'], 'location': location, 'made': has_nic})

    def _reopen(self, assignment: Assignment) -> None:
        replaced = assignment['replaces']
        if replaced is None:
            self.fresh += 1
        else:
            code = (self.machines[replaced]['ended'] or {}).get('code', '')
            self.openings.append({'replaces': replaced, 'attempt': assignment['attempt'], 'code': code})

    def with_nic(self) -> set[int]:
        return {one['ordinal'] for one in self.prepared if one['made']}

    def to_prepare(self, location: str, count: int) -> list[Prepared]:
        there = sum((one['location'] == location for one in self.prepared))
        count = max(0, min(count - there, self.deficit() - there, self.budget()))
        first, self.next_ordinal = (self.next_ordinal, self.next_ordinal + count)
        new: list[Prepared] = [{'ordinal': ordinal, 'location': location, 'made': False} for ordinal in range(first, first + count)]
        self.prepared += new
        return new

    def accept(self, machine: Machine) -> None:
        if machine['ordinal'] not in self.machines:
            self._tally(machine['place'])['accepted'] += 1
            self._try(machine['place'])
            self.outage_since = None
        self.machines[machine['ordinal']] = machine

    def refuse(self, assignment: Assignment, failure: Failure, now: datetime) -> None:
        throttled = failure['action'] == 'wait'
        fault = failure['action'] == 'retry' and failure['passing']
        if throttled or (fault and (not self._is_outlasted(now))):
            self.again.append({'assignment': assignment, 'code': failure['code']})
            wait = failure['retry_after'] or self._pause(now)
            self.hold(now + timedelta(seconds=wait))
            did = 'waited as long as Azure said' if throttled else 'asked again later'
            self.note(failure, did)
            return
        self._try(assignment['place'])
        self.machines[assignment['ordinal']] = asked(self.order, assignment)
        self.fail(assignment['ordinal'], failure, now)

    def _is_outlasted(self, now: datetime) -> bool:
        self.outage_since = self.outage_since or now.isoformat()
        return now - datetime.fromisoformat(self.outage_since) > OUTAGE

    def _pause(self, now: datetime) -> float:
        since = datetime.fromisoformat(self.outage_since or now.isoformat())
        return min(60.0, max(10.0, (now - since).total_seconds()))

    def _try(self, place: Place) -> None:
        if place not in self.tried:
            self.tried.append(place)

    def fail(self, ordinal: int, failure: Failure, now: datetime, *, ran: bool=False) -> None:
        machine = self.machines[ordinal]
        code = failure['code']
        codes = self._tally(machine['place'])['failed']
        codes[code] = codes.get(code, 0) + 1
        cost = 0 if ran or self._is_news(machine, failure, now) else 1
        self.in_vain += cost
        self._close(machine['place'], failure, now)
        count = self.failures.get(code, {'count': 0})['count'] + 1
        if failure['action'] == 'fail_fleet' or (count >= THRICE and self._is_everybodys(failure)):
            self.stopped = self.stopped or failure
        attempt = 1 if ran else machine['attempt'] + cost
        if self.stopped or attempt > ATTEMPTS or self._is_hopeless(machine, failure):
            self.given_up[code] = self.given_up.get(code, 0) + 1
            did = 'gave this VM up'
        else:
            self.openings.append({'replaces': ordinal, 'attempt': attempt, 'code': code})
            did = 'asked for another VM' if failure['action'] == 'replace' else 'looked elsewhere'
        machine['ended'] = {'code': code, 'message': failure['message'], 'next': did}
        machine['ended_at'] = now.isoformat()
        self.note(failure, did)

    def _is_news(self, machine: Machine, failure: Failure, now: datetime) -> bool:
        if failure['action'] != 'move' or not failure['scope']:
            return False
        held = covering(machine['place'], self.blocks, self.order['sizes'], now)
        told = [one['since'] for one in held if one['code'] == failure['code']]
        made = machine['created_at']
        return not any((not made or datetime.fromisoformat(made) > datetime.fromisoformat(since) for since in told))

    def _close(self, place: Place, failure: Failure, now: datetime) -> None:
        if failure['scope']:
            new = block(place, failure, self.order['sizes'], now)
            self.blocks = remember(self.blocks, new)
            sizes = self.order['sizes']
            self.tried = [one for one in self.tried if not covering(one, [new], sizes, now)]

    def _is_everybodys(self, failure: Failure) -> bool:
        if failure['action'] == 'replace':
            return self.count('running', 'gone') == 0
        return failure['action'] == 'fail_machine'

    def _is_hopeless(self, machine: Machine, failure: Failure) -> bool:
        if failure['action'] == 'fail_machine':
            return True
        before = self.machines.get(-1 if machine['replaces'] is None else machine['replaces'])
        ended = before and before['ended']
        return bool(failure['action'] == 'replace' and ended and (ended['code'] == failure['code']))

    def _tally(self, place: Place) -> dict[str, Any]:
        return self.tallies.setdefault(label(place), {'accepted': 0, 'failed': {}})

    def hold(self, until: datetime) -> None:
        if self.not_before is None or until > datetime.fromisoformat(self.not_before):
            self.not_before = until.isoformat()

    def is_held(self, now: datetime) -> bool:
        return self.held_for(now) > 0

    def held_for(self, now: datetime) -> float:
        if self.not_before is None:
            return 0.0
        return max(0.0, (datetime.fromisoformat(self.not_before) - now).total_seconds())

    def spend(self, writes: int, now: datetime) -> float:
        rate, at = (self.order['writes_per_second'], self.spent_at)
        passed = (now - datetime.fromisoformat(at)).total_seconds() if at else 0.0
        self.spent = max(0.0, self.spent - passed * rate) + writes
        self.spent_at = now.isoformat()
        return max(0.0, (self.spent - BURST) / rate)

    def writes_per_vm(self) -> int:
        clients = 1 if self.order['client_principal_id'] else 0
        return 3 + len(self.order['resource_uris']) + clients

    def count(self, *states: str) -> int:
        return sum((machine['state'] in states for machine in self.machines.values()))

    def permitted(self) -> int:
        return sum((0 in machine['assigned'] for machine in self.machines.values()))

    def living(self) -> list[Machine]:
        return [m for m in self.machines.values() if m['state'] in ('creating', 'running')]

    def undead(self) -> list[Machine]:
        return [machine for machine in self.living() if 0 not in machine['assigned']]

    def unsettled(self) -> list[Machine]:
        return [machine for machine in self.living() if not machine['settled']]

    def unknown(self) -> list[int]:
        return [m['ordinal'] for m in self.living() if m['principal_id'] is None]

    def note(self, failure: Failure, did: str) -> None:
        group = self.failures.setdefault(failure['code'], {'count': 0})
        group |= {'count': group['count'] + 1, 'message': failure['message'][:SHOWN_CHARACTERS], 'action': did, 'advice': failure['advice']}

    def see(self, states: Mapping[str, Iterable[int]], identities: Mapping[str, Any]) -> Seen:
        shown = {ordinal: state for state, some in states.items() for ordinal in some}
        for key, (principal_id, created_at) in identities.items():
            if int(key) in self.machines:
                machine = self.machines[int(key)]
                machine['principal_id'], machine['created_at'] = (principal_id, created_at)
        creating = [machine for machine in self.living() if machine['state'] == 'creating']
        failed = [m['ordinal'] for m in creating if shown.get(m['ordinal']) == 'Failed']
        up = [machine for machine in creating if shown.get(machine['ordinal']) in _UP]
        for machine in up:
            machine['state'], machine['running_at'] = ('running', self.looked_at)
        self.blocks = lifted(self.blocks, up, self.order['sizes'])
        vanished = self._see_absent(set(shown))
        unwanted = [ordinal for ordinal, state in shown.items() if state != 'Deleting' and (not self._is_wanted(ordinal))]
        return Seen(failed, vanished, unwanted)

    def _is_wanted(self, ordinal: int) -> bool:
        if any((one['assignment']['ordinal'] == ordinal for one in self.again)):
            return True
        machine = self.machines.get(ordinal)
        return machine is not None and machine['state'] in ('creating', 'running')

    def _see_absent(self, shown: set[int]) -> list[int]:
        watched = [*(machine['ordinal'] for machine in self.living()), *self.doomed]
        absent = [ordinal for ordinal in watched if ordinal not in shown]
        vanished = []
        for ordinal in absent:
            if ordinal not in self.missing:
                continue
            machine = self.machines[ordinal]
            if ordinal in self.doomed:
                self.doomed.remove(ordinal)
            else:
                if machine['state'] == 'creating':
                    vanished.append(ordinal)
                machine['state'] = 'gone'
            machine['gone_at'] = self.looked_at
            self.unreleased.append(ordinal)
        self.missing = [ordinal for ordinal in absent if ordinal not in self.unreleased]
        return vanished

    def doom(self, ordinals: Iterable[int]) -> None:
        for ordinal in ordinals:
            self.machines[ordinal]['state'] = 'failed'
            self.doomed.append(ordinal)

    def news(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine['noted'] != standing(machine)]

    def hear(self, told: Mapping[str, Any]) -> None:
        found = [str(ordinal) for ordinal in told.get('silent', ())]
        self.silent = {ordinal: self.silent.get(ordinal, 0) + 1 for ordinal in found}
        self.done = list(told.get('done', ()))

    def mute(self) -> list[int]:
        found = [int(one) for one, counts in self.silent.items() if counts >= SILENT_COUNTS]
        return [one for one in found if self.machines[one]['state'] == 'running']

    def trials_left(self) -> bool:
        return self.trials is None or self.trials['ready'] + self.trials['running'] > 0

    def past_deadline(self, now: datetime) -> bool:
        return 'deadline' in self.order and now >= datetime.fromisoformat(self.order['deadline'])

def standing(machine: Machine) -> str:
    came = {'permitted': machine['permitted_at'], 'ended': machine['ended'], 'gone': machine['gone_at']}
    return ' '.join((machine['state'], *(mark for mark, has in came.items() if has)))
