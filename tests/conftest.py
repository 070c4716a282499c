"""The stack that the app's tests share: everything real but the VMs, which only pretend to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import Stack
from tests.harness import VISIBILITY_TIMEOUT, Api

SETTINGS = {
    "FLEET_OWNER": "tests",
    "FLEET_SWEEP_SCHEDULE": "0 0 0 1 1 *",  # its requests would be among those that tests count
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which a simulated minute takes 0.6 s, and no VM runs a process."""
    state: Path = tmp_path_factory.mktemp("stack")
    with Stack(
        state,
        time_scale=0.01,
        machines="none",
        app_settings=SETTINGS,
        visibility_timeout=VISIBILITY_TIMEOUT,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return Api(stack)
