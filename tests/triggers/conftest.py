"""The app's HTTP and queue triggers alone: a Functions host, Azurite, PostgreSQL, and empty fleets."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from cryptography.fernet import Fernet

from local.azurite import Azurite
from local.environment import base_environment
from local.functions.storage import Account
from local.postgres import Postgres
from local.process import Service
from local.queues import make_queues
from tests.fleet.certificates import Authority
from tests.harness import eventually

ROOT = Path(__file__).parents[2]
QUEUE = "powerlift-fleets"
AUTHORITY = Authority()
"""Of the webhooks' certificates."""
WEBHOOK_KEY = b"a key for the tests of webhooks."
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"


def request(batch: int | None, n_instances: int = 1) -> dict[str, Any]:
    """A request that is accepted without Azure."""
    return {
        "experiment_id": 1, "n_instances": n_instances, "batch_id": batch,
        "uri": "postgresql://me:s3cret@host/db",
        "azure_json": {"subscription_id": SUBSCRIPTION, "resource_group": "vms"},
    }  # fmt: skip


@dataclass(frozen=True)
class SubmissionApp:
    """A host with the app's HTTP and queue triggers and host.json; messages are retried immediately."""

    journal: Path
    storage: str
    database: str
    service: Service
    ready: dict[str, Any]

    def begin(self, outage: str) -> None:
        (self.journal / "outage").write_text(outage)
        (self.journal / "tries").write_text("")

    def restart(self) -> None:
        """Start the host again, after a crash or as an update does."""
        self.service.kill()
        self.ready.update(self.service.start(120))

    def tries(self) -> int:
        return len((self.journal / "tries").read_text().splitlines())

    def begun(self, which: int | str) -> list[int]:
        """The number of VMs requested by each start of a fleet or its teardown."""
        lines = (self.journal / "begun").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == str(which)]

    def end(self, batch: int) -> None:
        """Let a fleet complete."""
        self.raise_end(f"fleet-{batch}")

    def raise_end(self, instance: str) -> None:
        url = (
            f"{self.ready['url']}/runtime/webhooks/durabletask/instances/{instance}/raiseEvent/end"
        )
        code = {"code": self.ready["keys"]["master"]}
        assert requests.post(url, params=code, json={}, timeout=30).status_code == 202

    def delete(self, reference: str) -> requests.Response:
        url = f"{self.ready['url']}/api/fleets/{reference}"
        headers = {"x-functions-key": self.ready["keys"]["default"]}
        return requests.delete(url, headers=headers, timeout=60)

    def post(
        self, document: dict[str, Any], key: str = "default", path: str = "", **headers: str
    ) -> requests.Response:
        headers = {"x-functions-key": self.ready["keys"][key], **headers}
        url = f"{self.ready['url']}/api/fleets{path}"
        return requests.post(url, json=document, headers=headers, timeout=60)

    def send(self, document: dict[str, Any]) -> None:
        with self.queue(QUEUE) as queue:
            queue.send_message(json.dumps(document))

    def queue(self, name: str) -> QueueClient:
        policy = TextBase64EncodePolicy()
        return QueueClient.from_connection_string(self.storage, name, message_encode_policy=policy)

    def left(self, name: str) -> int:
        with self.queue(name) as queue:
            return queue.get_queue_properties().approximate_message_count or 0

    def fleet(self, batch: int) -> Any:
        """The durable instance of a fleet; None if it does not exist."""
        return self.instance(f"fleet-{batch}")

    def instance(self, instance: str) -> Any:
        """A durable instance; None if it does not exist. Waits for an unavailable task hub."""
        url = f"{self.ready['url']}/api/instance/{instance}"
        headers = {"x-functions-key": self.ready["keys"]["default"]}

        def read() -> requests.Response | None:
            response = requests.get(url, headers=headers, timeout=30)
            return None if response.status_code == 503 else response

        answer = eventually(read)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg2.connect(self.database) as database, database.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def host_app(folder: Path, storage: str, database: str, **settings: str) -> Iterator[SubmissionApp]:
    """A host with its state in `folder`, and with `settings`."""
    shutil.copytree(ROOT / "tests/triggers/apps/submission", folder / "app")
    shutil.copy(ROOT / "host.json", folder / "app")
    for name in ("outage", "begun"):
        (folder / name).write_text("")
    (folder / "authority.pem").write_text(AUTHORITY.pem)
    make_queues(Account(storage), settings.get("FLEET_QUEUE", QUEUE))
    env = {
        "JOURNAL": str(folder), "FLEET_SEALING_KEY": Fernet.generate_key().decode(),
        "TASKHUB_NAME": "Submission", "WEBSITE_SITE_NAME": "submission", "POWERLIFT_DB_URI": database,
        "AzureWebJobsStorage": storage,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_RESOURCE_GROUP": "vms",
        "FLEET_ALLOWED_DATABASES": "host,127.0.0.1:*",
        "FLEET_PURGE_SCHEDULE": "* * * * * *",
        "FLEET_WEBHOOK_SCHEDULE": "* * * * * *", "FLEET_ALLOWED_WEBHOOKS": "127.0.0.1:*",
        "FLEET_WEBHOOK_SECRET": f"whsec_{base64.b64encode(WEBHOOK_KEY).decode()}",
        "SSL_CERT_FILE": str(folder / "authority.pem"),
        "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00",
        **settings,
    }  # fmt: skip
    state = folder / "state"
    service = Service(
        "submission",
        [sys.executable, "-m", "local.functions", "--state", str(state), "--port", "0",
         "--host-root", str(folder / "app"), "--visibility-timeout", "1"],
        ready=state / "ready.json", log=folder / "log", env={**base_environment(), **env},
        cwd=ROOT,
    )  # fmt: skip
    try:
        ready = service.start(120)
        yield SubmissionApp(folder, storage, database, service, ready)
    finally:
        service.stop()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubmissionApp]:
    folder = tmp_path_factory.mktemp("submission")
    azurite = Azurite(folder / "azurite", ROOT / ".local" / "cache")
    with Postgres(folder / "postgres") as postgres:
        try:
            azurite.start()
            with host_app(folder / "host", azurite.connection_string, postgres.uri()) as running:
                yield running
        finally:
            azurite.stop()
