"""Simulators with fault plans and accelerated clocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.local.azure.driver import Driver, serve

Cloud = Callable[..., Driver]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Starts a simulator with a fault plan; by default nothing runs inside its VMs."""
    with ExitStack() as started:

        def start(plan: dict[str, Any], *options: str) -> Driver:
            state = tmp_path_factory.mktemp("azure")
            file = state / "plan.json"
            file.write_text(json.dumps(plan))
            service, driver = serve(state, "--faults", str(file), "--machines", "none", *options)
            started.callback(service.stop)
            return driver

        yield start
