"""A fleet's warnings and failures, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def lines(fleet: Mapping[str, Any]) -> Iterator[str]:
    """One line per warning, two per kind of failure, one per reason for missing VMs."""
    for warning in fleet["warnings"]:
        yield f"Warning: {warning}"
    for group in fleet["failures"]:
        times = "once" if group["count"] == 1 else f"{group['count']} times"
        yield f"{group['code']}, {times}: {group['message']}"
        yield f"  The fleet {group['action']}. {group['advice']}"
    for code, count in fleet["missing"].items():
        yield f"Missing: {count} VM{'s' if count > 1 else ''}, for {code}"
