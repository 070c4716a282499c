from __future__ import annotations
from collections.abc import Mapping
from typing import Any
from tests.recorded.frozen.fleet.records import Machine
KEPT = ('ordinal', 'name', 'place', 'state', 'attempt', 'replaces', 'created_at', 'permitted_at', 'running_at', 'ended_at', 'gone_at', 'ended')

def record(machine: Machine) -> dict[str, Any]:
    every: Mapping[str, Any] = machine
    return {name: every[name] for name in KEPT}
