"""Reads of a plan that depend on each other end together."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fleet.preflight import plan_inputs, reads
from fleet.preflight.plan_inputs import Unavailable, collect
from fleet.store.executors import QUERIES
from tests.fleet.preflight.azure_inputs import GROUP, order

SLOW, NEVER = 0.6, 30.0
URI = "postgresql://me:x@127.0.0.1:1/none"


class SlowAzure:
    """Each read answers after `SLOW` seconds, unless its name is one of `silent`."""

    def __init__(self, *silent: str) -> None:
        self._silent = silent
        self.images = SimpleNamespace(
            latest=lambda *_: self._answer("latest", ["2.0", "1.0"]),
            find=lambda *_: self._answer("find", {"name": "2.0"}),
        )

    async def resource_group(self) -> Any:
        return await self._answer("resource_group", {"id": GROUP, "location": "eastus"})

    def __getattr__(self, name: str) -> Any:
        empty: Any = {"list_batch": {}, "get_network": None, "get_role": None}.get(name, [])
        return lambda *_: self._answer(name, empty)

    async def _answer(self, name: str, value: Any) -> Any:
        await asyncio.sleep(NEVER if name in self._silent else SLOW)
        return value


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may take 1 s, and a chain of them 1.5 s."""
    monkeypatch.setattr(reads, "FETCH_TIMEOUT", 1.0)
    monkeypatch.setenv("FLEET_SEALING_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("POWERLIFT_DB_URI", URI)
    monkeypatch.setenv("FLEET_PRICE_API", "none")
    monkeypatch.setattr(plan_inputs, "_custom_data_fault", lambda *_: None)
    for module in (reads, plan_inputs):
        monkeypatch.setattr(module, "CHAIN_TIMEOUT", 1.5)


@pytest.mark.parametrize("silent", [[], ["find"], ["latest"]])
def test_reads_after_others_get_what_is_left_of_the_time(silent: list[str]):
    """Each alone would be within its time, or would take all of it."""
    wanted = order(location=None)
    found = asyncio.run(collect(SlowAzure(*silent), URI, wanted, QUERIES))  # type: ignore[arg-type]
    region = found.regions["eastus"]
    assert isinstance(region.image, Unavailable)
    assert str(region.image.error) == "No response within 1.5 seconds."
    assert region.skus == []
