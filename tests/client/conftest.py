"""The same database as the startup script's tests have."""

from tests.fleet.conftest import benchmark_database

__all__ = ["benchmark_database"]
