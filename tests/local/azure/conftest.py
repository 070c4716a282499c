"""Two simulators for the whole folder, much faster than Azure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local.azure.driver import Driver, serve


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A cloud whose VMs run nothing, with short pages."""
    state = tmp_path_factory.mktemp("azure")
    service, driver = serve(state, "--machines", "none", "--page-size", "3")
    yield driver
    service.stop()


@pytest.fixture(scope="session")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A cloud whose VMs are processes."""
    state = tmp_path_factory.mktemp("guests")
    given = ("--machine-env", "GREETING=hello there", "--machine-env", "no_proxy=127.0.0.1")
    service, driver = serve(state, *given, OF_THE_HOST="here")
    yield driver
    service.stop()
