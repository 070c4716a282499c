"""Two simulators for the whole folder, with accelerated clocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local.azure.driver import Driver, serve


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator that runs nothing inside VMs, with short pages."""
    state = tmp_path_factory.mktemp("azure")
    service, driver = serve(state, "--machines", "none", "--page-size", "3")
    yield driver
    service.stop()


@pytest.fixture(scope="session")
def azure_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator that runs VMs as processes."""
    state = tmp_path_factory.mktemp("azure")
    options = ("--machine-env", "GREETING=hello there", "--machine-env", "no_proxy=127.0.0.1")
    service, driver = serve(state, *options, OF_THE_HOST="here")
    yield driver
    service.stop()
