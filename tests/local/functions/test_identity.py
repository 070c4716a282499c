# mypy: disallow-untyped-decorators=False
"""A queue read with a token of Entra ID instead of a connection string."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.queue import QueueServiceClient

from local.azurite import Azurite
from tests.harness import entra_credential, entra_storage
from tests.local.azure.conftest import azure as azure

if TYPE_CHECKING:
    from tests.local.azure.driver import Driver
    from tests.local.functions.conftest import Host

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def storage(azure: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with entra_storage(azure.ready, tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def host(make_host: Any, storage: Azurite, azure: Driver) -> Iterator[Host]:
    settings = {"Storage__queueServiceUri": storage.queues_url, "WORK_QUEUE": "work"}
    with make_host("queues", **settings, **azure.ready["env"]) as running:
        yield running


def make(name: str, **settings: str) -> str:
    """Run `python -m local.queues`. Returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", "local.queues"], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, **settings, "FLEET_QUEUE": name},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.long
def test_queues_are_created_and_read_with_an_identity(
    host: Host, storage: Azurite, azure: Driver
) -> None:
    connection = {"FLEET_QUEUE_CONNECTION__queueServiceUri": storage.queues_url}
    made = make("letters", **connection, **azure.ready["env"])
    assert made == "The queues letters and letters-poison exist.\n"
    options = {"connection_verify": azure.ready["ca_bundle"]}
    account = (storage.queues_url, entra_credential(azure.ready))
    with QueueServiceClient(*account, **options) as service:
        service.get_queue_client("letters").send_message("aGVsbG8=")

        def copies() -> list[str]:
            found = [queue.name for queue in service.list_queues("copies")]
            return [
                base64.b64decode(message.content).decode()
                for name in found
                for message in service.get_queue_client(name).peek_messages(2)
            ]

        assert sorted(host.until(copies, lambda found: len(found) == 2)) == [
            "first hello", "second hello",
        ]  # fmt: skip
