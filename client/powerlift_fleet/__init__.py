"""Powerlift Fleet for benchmark code."""

from __future__ import annotations

from pathlib import Path


def source(memory_limit: str = "") -> str:
    """The trial runner's text, for `Store.create_experiment(script=...)`: what every VM then runs.

    `memory_limit` is what a trial may take with all it has started: bytes, or "8G"; empty: no limit.
    """
    text = Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
    return text.replace('MEMORY_LIMIT = ""\n', f"MEMORY_LIMIT = {memory_limit!r}\n", 1)
