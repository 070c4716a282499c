"""Reads of a plan, each with its own timeout. A failed one becomes `Unavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from azure.core.exceptions import AzureError

from fleet.azure.error_classifier import describe
from fleet.model import failure_policy
from fleet.model.failure import DescribedError
from fleet.model.records import Failure
from fleet.store.database import DatabaseUnreachable

T = TypeVar("T")

FETCH_TIMEOUT = 20.0
"""Per read. The SKUs of a region are a megabyte, which Azure serves slowly."""
CHAIN_TIMEOUT = 24.0
"""For reads that depend on each other. With the prices after them, less than a client waits (30 s)."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Replaces a value that could not be read."""

    error: Exception

    @property
    def failure(self) -> Failure:
        return describe(self.error)

    @property
    def passing(self) -> bool:
        """Whether a retry may succeed."""
        if isinstance(self.error, DatabaseUnreachable) and not self.error.passes:
            return False
        return failure_policy.of(self.failure).retried


async def fetch(call: Awaitable[T], until: float | None = None) -> T | Unavailable:
    """The result of a read that ends within FETCH_TIMEOUT, and at `until` in the event loop's time."""
    ends, limit = asyncio.get_running_loop().time() + FETCH_TIMEOUT, FETCH_TIMEOUT
    if until is not None and until < ends:
        ends, limit = until, CHAIN_TIMEOUT
    try:
        async with asyncio.timeout_at(ends):
            return await call
    except TimeoutError:
        return Unavailable(TimeoutError(f"No response within {limit:g} seconds."))
    except (AzureError, DescribedError, ValueError) as error:
        return Unavailable(error)
