"""Durable control flow: pure generators, with no I/O, clock, random or environment."""
