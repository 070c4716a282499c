"""Access to a running stack for tests: HTTP, the queue, SQL, the wire log."""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.storage.queue import QueueClient, QueueSasPermissions, generate_queue_sas
from powerlift.bench.store import Store

from fleet.model import names
from local.azurite import Azurite
from local.demo.azure_resources import list_resources
from local.stack import CACHE, Stack

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds that a test waits for anything."""

VISIBILITY_TIMEOUT = 1.0
"""Seconds that work in flight stays hidden after a host is killed; in Azure it is minutes."""

TERMINAL = ("done", "cancelled", "failed")


@dataclass(frozen=True)
class Api:
    """The app's HTTP API."""

    stack: Stack

    def post(self, document: Any, **headers: str) -> requests.Response:
        return self._call("POST", "/api/fleets", data=json.dumps(document), headers=headers)

    def get(self, fleet_id: str) -> requests.Response:
        return self._call("GET", f"/api/fleets/{fleet_id}")

    def list(self) -> requests.Response:
        return self._call("GET", "/api/fleets")

    def plan(self, **document: Any) -> dict[str, Any]:
        answer = self._call("POST", "/api/plan", data=json.dumps(document))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def progress(self, fleet_id: str) -> dict[str, Any]:
        return dict(self._call("GET", f"/api/fleets/{fleet_id}/progress").json())

    def machines(self, fleet_id: str) -> list[dict[str, Any]]:
        """The records of a fleet's VMs at the start or end of its last history."""
        answer = self._call("GET", f"/api/fleets/{fleet_id}/machines")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["machines"])

    def delete(self, fleet_id: str) -> requests.Response:
        return self._call("DELETE", f"/api/fleets/{fleet_id}")

    def start(self, **document: Any) -> str:
        """Post a fleet, which must be accepted; returns its id."""
        answer = self.post(document)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def wait(self, fleet_id: str, *phases: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Wait until the fleet is in one of the phases (default: any terminal phase)."""
        wanted = phases or TERMINAL

        def probe() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.get(fleet_id).json()
            assert shown["phase"] in wanted or shown["phase"] not in TERMINAL, shown
            return shown if shown["phase"] in wanted else None

        return eventually(probe, timeout)

    def end(self, fleet_id: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Cancel a fleet and wait for its end."""
        assert self.delete(fleet_id).status_code == 202
        return self.wait(fleet_id, timeout=timeout)

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"x-functions-key": self.stack.key, **options.pop("headers", {})}
        url = f"{self.stack.url}{path}"
        return requests.request(method, url, headers=headers, timeout=30, **options)


def eventually(probe: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
    """Poll `probe` until it returns something other than None, and return that.

    The interval grows, because a request for a fleet takes 15 ms of CPU. Fails after `timeout` seconds.
    """
    began = time.monotonic()
    while (found := probe()) is None:
        waited = time.monotonic() - began
        assert waited < timeout, f"{probe} returned None for {timeout} s"
        time.sleep(min(0.05 + waited / 5, 1.0))
    return found


def send(stack: Stack, text: str, queue: str = "powerlift-fleets") -> str:
    r"""Put a message on a queue, in base64; returns its id. \udcff in `text` is the byte ff."""
    body = base64.b64encode(text.encode(errors="surrogateescape")).decode()
    with QueueClient.from_connection_string(stack.queue_connection_string, queue) as client:
        return str(client.send_message(body).id)


def received(stack: Stack, queue: str) -> list[str]:
    """The messages visible on a queue; none if the queue does not exist."""
    with QueueClient.from_connection_string(stack.queue_connection_string, queue) as client:
        try:
            bodies = [base64.b64decode(m.content) for m in client.peek_messages(32)]
            return [body.decode(errors="surrogateescape") for body in bodies]
        except ResourceNotFoundError:
            return []


def queue_sas(
    stack: Stack,
    permission: QueueSasPermissions | None = None,
    hours: float = 1.0,
    queue: str = "powerlift-fleets",
) -> str:
    """The URL of a queue with a SAS that is valid for `hours`; by default it may only add."""
    parts = stack.queue_connection_string.rstrip(";").split(";")
    account = dict(part.split("=", 1) for part in parts)
    token = generate_queue_sas(
        account["AccountName"],
        queue,
        account["AccountKey"],
        permission or QueueSasPermissions(add=True),
        datetime.now(UTC) + timedelta(hours=hours),
    )
    return f"{account['QueueEndpoint']}/{queue}?{token}"


@functools.cache
def make_tables(uri: str) -> None:
    _ = Store(uri.replace("postgresql://", "postgresql+psycopg2://", 1))


def experiment(stack: Stack, trials: int = 4) -> int:
    """An experiment with open trials, in tables that Powerlift created."""
    make_tables(stack.db_uri)
    with psycopg2.connect(stack.db_uri) as database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO experiment (name, script, trial_fn)"
            " VALUES (gen_random_uuid()::text, 'print()', '') RETURNING id"
        )
        (number,) = cursor.fetchone() or (0,)
        cursor.execute(
            "INSERT INTO task (name, problem, origin, n_samples, n_features, n_classes,"
            " max_unique_continuous, max_categories, total_categories, percent_categorical,"
            " percent_special_values, meta, x, y)"
            " VALUES (gen_random_uuid()::text, 'binary', 'test', 1, 1, 2, 1, 0, 0, 0, 0, '{}', '', '')"
            " RETURNING id"
        )
        (task,) = cursor.fetchone() or (0,)
        for replicate in range(trials):
            cursor.execute(
                "INSERT INTO trial (experiment_id, task_id, method, meta, replicate_num)"
                " VALUES (%s, %s, 'm', '{}', %s)",
                (number, task, replicate),
            )
    return int(number)


def sql(stack: Stack, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement in the Powerlift database; returns its rows, if it has any."""
    with psycopg2.connect(stack.db_uri) as database, database.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def wire(stack: Stack, *, batch: int | None = None) -> list[dict[str, Any]]:
    """The calls to the simulator, in order; with `batch`, only those for its VMs and NICs."""
    calls = stack.wire()
    return calls if batch is None else [call for call in calls if f"-{batch}-" in call["path"]]


def existing_resources(stack: Stack, batch: int) -> list[str]:
    """The ids of a batch's resources in the simulator, including role assignments."""
    return [identity for identity in all_resource_ids(stack) if f"-{batch}-" in identity]


def lose_vm(stack: Stack, batch: int, ordinal: int) -> None:
    """Delete a VM without the app, as an eviction does."""
    arm = stack.arm
    options = {"connection_verify": arm["ca_bundle"]}
    client = ComputeManagementClient(
        entra_credential(arm),
        arm["subscription_id"],
        base_url=arm["arm"],
        credential_scopes=[f"{arm['arm']}/.default"],
        **options,
    )
    name = names.vm(batch, ordinal)
    client.virtual_machines.begin_delete(arm["resource_group"], name, polling=False)


def entra_credential(arm: Mapping[str, Any]) -> ClientSecretCredential:
    """The simulator's application; `arm` is its ready.json."""
    return ClientSecretCredential(
        arm["tenant_id"],
        arm["client_id"],
        arm["client_secret"],
        authority=arm["env"]["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
        connection_verify=arm["ca_bundle"],
    )


@contextmanager
def entra_storage(arm: Mapping[str, Any], folder: Path) -> Iterator[Azurite]:
    """Azurite over https, with the certificate of the simulator, whose tokens it accepts."""
    bundle = Path(arm["ca_bundle"])
    tls = bundle.with_name("server.pem"), bundle.with_name("server.key")
    storage = Azurite(folder, CACHE, tls=tls)
    storage.start()
    try:
        yield storage
    finally:
        storage.stop()


def all_resource_ids(stack: Stack) -> Iterator[str]:
    """The ids of all VMs, NICs, disks and role assignments."""
    for ids in list_resources(stack.arm).values():
        yield from ids
