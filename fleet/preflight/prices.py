"""Finds the prices of an order's placements: in FLEET_PRICES, else in Azure's list, a day old at most.

A failure leaves prices unknown. It never fails a plan, and delays it by TIMEOUT at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from azure.core.exceptions import AzureError

from fleet import telemetry
from fleet.azure.error_classifier import describe
from fleet.azure.retail_prices import PriceApi
from fleet.model.costs import configured_price, price_key
from fleet.model.order_parts import VmOptions
from fleet.model.records import Placement, Price
from fleet.secrets import Seal
from fleet.settings import Settings
from fleet.store import prices as stored
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import Executor
from fleet.store.schema import SchemaTooNew

TIMEOUT = 5.0
"""Seconds for all questions to the API, which run concurrently."""


class Question(NamedTuple):
    """What one request to the API answers."""

    keys: tuple[str, ...]
    """Under which the answer is stored."""
    ask: Callable[[PriceApi], Awaitable[dict[str, float]]]
    """Prices by key, without those that Azure does not list."""


async def find_prices(
    placements: Iterable[Placement], vm: VmOptions, threads: Executor
) -> dict[str, Price]:
    """The known prices, by `price_key`."""
    settings, found = Settings.read(), dict[str, Price]()
    unlisted: dict[str, Placement] = {}
    for placement in placements:
        price = configured_price(placement, settings.prices)
        if price is None:
            unlisted[price_key(placement)] = placement
        else:
            found[price_key(placement)] = price
    if unlisted and settings.price_api:
        questions = _questions(unlisted.values(), vm)
        listed = await _listed(questions, settings, threads)
        found |= {
            key: price
            for key, placement in unlisted.items()
            if (price := _price(placement, vm, listed)) is not None
        }
    return found


def _price(placement: Placement, vm: VmOptions, listed: dict[str, float]) -> Price | None:
    """The sum of VM and disk; None if either is unknown."""
    disk = 0.0 if vm["ephemeral_os_disk"] else listed.get(_disk_key(placement, vm))
    per_hour = listed.get(price_key(placement))
    regular = listed.get(price_key({**placement, "priority": "Regular"}))
    if per_hour is None or disk is None:
        return None
    return {"per_hour": per_hour + disk, "regular": None if regular is None else regular + disk}


def _questions(placements: Iterable[Placement], vm: VmOptions) -> list[Question]:
    asked: dict[tuple[str, ...], Question] = {}
    for placement in placements:
        of_size, disk = _vm_question(placement), _disk_question(placement, vm)
        asked[of_size.keys] = of_size
        if not vm["ephemeral_os_disk"]:
            asked[disk.keys] = disk
    return list(asked.values())


def _vm_question(placement: Placement) -> Question:
    keys = {
        priority: price_key({**placement, "priority": priority}) for priority in ("Regular", "Spot")
    }

    async def ask(api: PriceApi) -> dict[str, float]:
        prices = await api.vm(placement["location"], placement["vm_size"])
        return {keys[priority]: price for priority, price in prices.items()}

    return Question(tuple(keys.values()), ask)


def _disk_question(placement: Placement, vm: VmOptions) -> Question:
    key = _disk_key(placement, vm)

    async def ask(api: PriceApi) -> dict[str, float]:
        price = await api.os_disk(placement["location"], vm["disk_type"])
        return {} if price is None else {key: price}

    return Question((key,), ask)


def _disk_key(placement: Placement, vm: VmOptions) -> str:
    return f"{placement['location']}/disk {vm['disk_type']}".lower()


async def _listed(
    questions: list[Question], settings: Settings, threads: Executor
) -> dict[str, float]:
    """The answers, by key: stored ones, else the API's."""
    keys = [key for question in questions for key in question.keys]
    database, seal = settings.database_uri, Seal(settings.sealing_keys)
    try:
        known = await threads.run(stored.read, database, keys, seal)
    except (DatabaseUnreachable, SchemaTooNew):
        known = {}
    due = [one for one in questions if any(key not in known or known[key].due for key in one.keys)]
    found = await _ask(due, settings.price_api or "")
    tried = {key: found.get(key) for question in due for key in question.keys}
    if tried:
        try:
            await threads.run(stored.write, database, tried, seal)
        except (DatabaseUnreachable, SchemaTooNew) as error:
            _log(str(error))
    earlier = {key: one.price for key, one in known.items() if one.price is not None}
    return {**earlier, **found}


async def _ask(questions: list[Question], url: str) -> dict[str, float]:
    """The API's answers; without those that failed or took too long."""
    if not questions:
        return {}
    async with PriceApi(url) as api:
        tasks = [asyncio.ensure_future(question.ask(api)) for question in questions]
        done, late = await asyncio.wait(tasks, timeout=TIMEOUT)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    found: dict[str, float] = {}
    failures = [f"No response within {TIMEOUT:g} seconds."] if late else []
    for task in done:
        error = task.exception()
        if error is None:
            found |= task.result()
        elif isinstance(error, AzureError):
            failures.append(describe(error)["message"])
        else:
            raise error
    for failure in dict.fromkeys(failures):
        _log(failure)
    return found


def _log(why: str) -> None:
    telemetry.LOG.warning("Prices could not be read: %s", why, extra={"event": "prices.failed"})
