"""Stored prices: how long they are used, and that only the app can have written them."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from fleet.secrets import Seal
from fleet.store import prices
from fleet.store.prices import StoredPrice
from tests.fleet.store.fleet_rows import sql

KEYS = [Fernet.generate_key().decode() for _ in range(2)]
SEAL = Seal(KEYS[:1])
VM = "eastus/standard_d2s_v5"


def age(uri: str, hours: float, *, signed: bool = True) -> None:
    """Make the stored price older, as if it had been found and signed then."""
    columns = ", ".join(
        f"{name} = {name} - %s * interval '1 hour'" for name in ("found_at", "tried_at")
    )
    sql(uri, f"UPDATE powerlift_fleet_price SET {columns}", hours, hours)
    [(price, found_at)] = sql(uri, "SELECT price, found_at FROM powerlift_fleet_price")
    if signed and price is not None:
        signature = SEAL.fingerprints(prices._signed(VM, price, found_at))[0]
        sql(uri, "UPDATE powerlift_fleet_price SET signature = %s", signature)


@pytest.mark.parametrize(
    ("hours", "found"),
    [
        (0.0, StoredPrice(0.096, due=False)),
        (23.9, StoredPrice(0.096, due=False)),
        (24.1, StoredPrice(0.096, due=True)),
        (24 * 6.9, StoredPrice(0.096, due=True)),
        (24 * 7.1, StoredPrice(None, due=True)),
    ],
)
def test_a_price_is_used_for_a_day_and_without_a_newer_one_for_a_week(
    uri: str, hours: float, found: StoredPrice
):
    prices.write(uri, {VM: 0.096}, SEAL)
    age(uri, hours)
    assert prices.read(uri, [VM], SEAL) == {VM: found}


@pytest.mark.parametrize(("hours", "due"), [(0.0, False), (0.15, False), (0.18, True)])
def test_a_failed_try_is_remembered_for_ten_minutes(uri: str, hours: float, due: bool):
    prices.write(uri, {VM: None}, SEAL)
    age(uri, hours)
    assert prices.read(uri, [VM, "other"], SEAL) == {VM: StoredPrice(None, due)}


def test_a_failed_try_keeps_an_earlier_price(uri: str):
    prices.write(uri, {VM: 0.096}, SEAL)
    age(uri, 30)
    prices.write(uri, {VM: None}, SEAL)
    assert prices.read(uri, [VM], SEAL) == {VM: StoredPrice(0.096, due=False)}


@pytest.mark.parametrize(
    "change",
    [
        "price = 0.000001",
        "price = 'NaN', signature = NULL",
        "found_at = found_at + interval '1 minute'",
        "key = 'eastus/standard_d96s_v5'",
        "signature = NULL",
    ],
)
def test_vms_cannot_change_prices(uri: str, change: str):
    """They may have the role that owns the table."""
    prices.write(uri, {VM: 0.096}, SEAL)
    sql(uri, f"UPDATE powerlift_fleet_price SET {change}")
    found = prices.read(uri, [VM, "eastus/standard_d96s_v5"], SEAL)
    assert [one.price for one in found.values() if one.price is not None] == []


def test_prices_survive_a_new_sealing_key(uri: str):
    prices.write(uri, {VM: 0.096}, SEAL)
    assert prices.read(uri, [VM], Seal(KEYS[::-1])) == {VM: StoredPrice(0.096, due=False)}
