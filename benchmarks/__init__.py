"""Benchmarks of the app's performance (docs/performance.md)."""
