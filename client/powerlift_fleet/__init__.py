"""Powerlift Fleet for benchmark code."""

from __future__ import annotations

from pathlib import Path


def source() -> str:
    """The trial runner's text, for `Store.create_experiment(script=...)`: what every VM then runs."""
    return Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
