"""The database of the startup script's tests."""

from tests.fleet.conftest import benchmark_database

__all__ = ["benchmark_database"]
