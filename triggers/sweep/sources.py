"""Sources of information that the sweep can work without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet import telemetry
from fleet.azure.error_classifier import describe

SOURCE_TIMEOUT = 20.0
"""Seconds for each source."""


@asynccontextmanager
async def optional_source(consequence: str) -> AsyncIterator[None]:
    """Log an error or timeout of a source with its consequence, and continue after the block."""
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT):
            yield
    except Exception as error:
        log_failure(consequence, error)


def log_failure(consequence: str, error: Exception) -> None:
    telemetry.failed(describe(error), consequence, event="sweep.failed")
