"""An outage loses no message, and a fault of ours does not keep one for ever: the app decides."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from cryptography.fernet import Fernet

from local.azurite import Azurite
from local.environment import base_environment
from local.functions.settings import load_host_settings
from local.process import Service
from local.queues import make_queues
from tests.harness import eventually

ROOT = Path(__file__).parents[2]
QUEUE = "powerlift-fleets"
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
WEEK = 7 * 24 * 3600  # seconds: how long a message lives unless its sender says otherwise


@dataclass(frozen=True)
class Outages:
    """A host with the app's queue trigger and host.json, retries without a pause, and its storage."""

    journal: Path
    storage: str
    url: str
    key: str

    def begin(self, outage: str) -> None:
        (self.journal / "outage").write_text(outage)
        (self.journal / "tries").write_text("")

    def tries(self) -> int:
        return len((self.journal / "tries").read_text().splitlines())

    def send(self, batch: int) -> None:
        request = {
            "experiment_id": 1, "n_instances": 1, "batch_id": batch,
            "uri": "postgresql://me:s3cret@host/db",
            "azure_json": {"subscription_id": SUBSCRIPTION, "resource_group": "vms"},
        }  # fmt: skip
        with self.queue(QUEUE) as queue:
            queue.send_message(json.dumps(request))

    def queue(self, name: str) -> QueueClient:
        policy = TextBase64EncodePolicy()
        return QueueClient.from_connection_string(self.storage, name, message_encode_policy=policy)

    def left(self, name: str) -> int:
        with self.queue(name) as queue:
            return queue.get_queue_properties().approximate_message_count or 0

    def fleet(self, batch: int) -> bool | None:
        url, headers = f"{self.url}/api/fleets/fleet-{batch}", {"x-functions-key": self.key}
        return True if requests.get(url, headers=headers, timeout=30).json() else None


@pytest.fixture(scope="module")
def outages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outages]:
    folder = tmp_path_factory.mktemp("outages")
    shutil.copytree(ROOT / "tests/triggers/apps/outages", folder / "app")
    shutil.copy(ROOT / "host.json", folder / "app")
    azurite = Azurite(folder / "azurite", ROOT / ".local" / "cache")
    key = Fernet.generate_key().decode()
    try:
        azurite.start()
        make_queues(azurite.connection_string, QUEUE)
        env = {
            "JOURNAL": str(folder), "KEY": key, "FLEET_SEALING_KEY": key,
            "TASKHUB_NAME": "Outages", "POWERLIFT_DB_URI": "postgresql://u:p@host/db",
            "AzureWebJobsStorage": azurite.connection_string,
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00",
        }  # fmt: skip
        state = folder / "state"
        service = Service(
            "outages",
            [sys.executable, "-m", "local.functions", "--state", str(state), "--port", "0",
             "--host-root", str(folder / "app")],
            ready=state / "ready.json", log=folder / "log", env={**base_environment(), **env},
            cwd=ROOT,
        )  # fmt: skip
        (folder / "outage").write_text("")
        try:
            ready = service.start(120)
            yield Outages(folder, azurite.connection_string, ready["url"], ready["keys"]["default"])
        finally:
            service.stop()
    finally:
        azurite.stop()


@pytest.mark.parametrize(("outage", "batch"), [("task hub", 1), ("settings", 2), ("database", 3)])
def test_a_message_survives_an_outage_and_becomes_a_fleet(
    outages: Outages, outage: str, batch: int
):
    outages.begin(outage)
    outages.send(batch)
    eventually(lambda: True if outages.tries() > 8 else None)
    outages.begin("")
    eventually(lambda: outages.fleet(batch))
    eventually(lambda: True if outages.left(QUEUE) == 0 else None)
    assert outages.left(f"{QUEUE}-poison") == 0


def test_an_unexpected_fault_ends_in_poison_without_secrets(outages: Outages):
    outages.begin("fault")
    outages.send(4)
    with outages.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert (outages.tries(), outages.left(QUEUE)) == (5, 0)
    assert "postgresql://me:***@host/db" in base64.b64decode(content).decode()
    assert "a fault of ours" not in (outages.journal / "log").read_text()


def test_a_refused_message_in_plain_text_is_copied_in_plain_text(outages: Outages):
    outages.begin("")
    with QueueClient.from_connection_string(outages.storage, QUEUE) as queue:
        queue.send_message('{"mark": "pl\u00e4in", "client_secret": "s3cret"}')
    with outages.queue(f"{QUEUE}-poison") as poison:
        content = eventually(lambda: next(iter(poison.receive_messages()), None)).content
    assert content == '{"mark": "pl\u00e4in", "client_secret": "***"}'


def test_the_host_gives_up_on_no_message_that_lives():
    queues = load_host_settings(ROOT / "host.json", {"TASKHUB_NAME": "any"}).queues
    assert queues.max_dequeue_count > WEEK / queues.visibility_timeout
