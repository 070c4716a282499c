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


async def fetch(call: Awaitable[T]) -> T | Unavailable:
    try:
        async with asyncio.timeout(FETCH_TIMEOUT):
            return await call
    except TimeoutError:
        return Unavailable(TimeoutError(f"No response within {FETCH_TIMEOUT:g} seconds."))
    except (AzureError, DescribedError, ValueError) as error:
        return Unavailable(error)
