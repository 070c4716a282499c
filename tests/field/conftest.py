"""The database, the VM and the PgBouncer of the field's reports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.field.pgbouncer import Unavailable, pgbouncer
from tests.fleet.conftest import Benchmark, benchmark_database, startup, vm

__all__ = ["benchmark_database", "pooled", "startup", "vm"]


@pytest.fixture(scope="module")
def pooled(benchmark_database: Benchmark) -> Iterator[str]:
    """The benchmark's database by PgBouncer in transaction mode, as a plain `postgresql://` URI."""
    try:
        with pgbouncer(benchmark_database.uri) as uri:
            yield uri
    except Unavailable as reason:
        pytest.skip(str(reason))
