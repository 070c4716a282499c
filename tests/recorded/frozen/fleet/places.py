from __future__ import annotations
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict
from tests.recorded.frozen.fleet.records import Failure, Machine, Order, Place, Size

class Block(TypedDict):
    match: dict[str, Any]
    code: str
    since: str
    until: str
    passing: bool

def tiers(order: Order) -> list[list[Place]]:
    home = order['location'] or ''
    asked = [{}, *order['fallbacks']]
    seen: list[Place] = []
    found = []
    for difference in asked:
        location = difference.get('location') or home
        named = difference.get('zone')
        zones = [named] if named else order['zones'] if location == home else []
        tier = [Place(location=location, zone=zone, vm_size=difference.get('vm_size') or order['vm_size'], priority=difference.get('priority') or order['priority']) for zone in zones or [None]]
        new = [place for place in tier if place not in seen]
        seen += new
        if new:
            found.append(new)
    return found

def label(place: Place) -> str:
    zone = f"/{place['zone']}" if place['zone'] else ''
    spot = ' Spot' if place['priority'] == 'Spot' else ''
    return f"{place['location']}{zone} {place['vm_size']}{spot}"

def block(place: Place, failure: Failure, sizes: Mapping[str, Size], now: datetime) -> Block:
    facts = _facts(place, sizes)
    return {'match': {name: facts[name] for name in failure['scope'].split()}, 'code': failure['code'], 'since': now.isoformat(), 'until': (now + timedelta(seconds=failure['cool_down'])).isoformat(), 'passing': failure['passing']}

def covering(place: Place, blocks: Sequence[Block], sizes: Mapping[str, Size], now: datetime) -> list[Block]:
    facts = _facts(place, sizes)
    return [one for one in blocks if now < _moment(one['until']) and all((_holds(name, value, facts) for name, value in one['match'].items()))]

def choose(order: Order, blocks: Sequence[Block], living: Iterable[Machine], count: int, now: datetime) -> list[Place]:
    ordered, sizes, living = (tiers(order), order['sizes'], list(living))
    held = {label(p): covering(p, blocks, sizes, now) for tier in ordered for p in tier}
    load = Counter((label(machine['place']) for machine in living))
    for tier in ordered:
        free = [place for place in tier if not held[label(place)]]
        if free:
            return [_least(free, load) for _ in range(count)]
    busy = {label(machine['place']) for machine in living if machine['state'] == 'creating'}
    every = [place for tier in ordered for place in tier]
    probes = [place for place in every if label(place) not in busy and all((one['passing'] for one in held[label(place)]))]
    probes.sort(key=lambda place: max((one['since'] for one in held[label(place)])))
    return probes[:count]

def _least(free: Sequence[Place], load: Counter[str]) -> Place:
    place = min(free, key=lambda one: load[label(one)])
    load[label(place)] += 1
    return place

def remember(blocks: Sequence[Block], new: Block) -> list[Block]:
    others = [one for one in blocks if (one['match'], one['code']) != (new['match'], new['code'])]
    return [*others, new]

def lifted(blocks: Sequence[Block], ran: Iterable[Machine], sizes: Mapping[str, Size]) -> list[Block]:
    disproved = [one for machine in ran for one in blocks if one['passing'] and _moment(machine['created_at']) > _moment(one['since']) and (one in covering(machine['place'], blocks, sizes, _moment(one['since'])))]
    return [one for one in blocks if one not in disproved]

def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)

def _facts(place: Place, sizes: Mapping[str, Size]) -> dict[str, Any]:
    size = sizes.get(place['vm_size'], {'family': place['vm_size'], 'vcpus': 0})
    return {**place, **size}

def _holds(name: str, value: Any, facts: Mapping[str, Any]) -> bool:
    return bool(facts[name] >= value if name == 'vcpus' else facts[name] == value)
