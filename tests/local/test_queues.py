"""`python -m local.queues`, from an empty storage account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient, QueueServiceClient

from local.azurite import Azurite

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    azurite = Azurite(tmp_path_factory.mktemp("azurite"), ROOT / ".local" / "cache")
    azurite.start()
    yield azurite
    azurite.stop()


def make(folder: Path, values: dict[str, str], *argv: str, **env: str) -> tuple[int, str]:
    """Run the command with this local.settings.json. Returns its exit status and output."""
    (folder / "local.settings.json").write_text(json.dumps({"Values": values}))
    done = subprocess.run(
        [sys.executable, "-m", "local.queues", *argv], cwd=folder, text=True, check=False, timeout=60,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def names(storage: str, prefix: str) -> list[str]:
    with QueueServiceClient.from_connection_string(storage) as service:
        return sorted(queue.name for queue in service.list_queues(prefix))


@pytest.mark.long
def test_both_queues_are_created_idempotently(storage: Azurite, tmp_path: Path):
    connection = storage.connection_string
    results = [make(tmp_path, {"AzureWebJobsStorage": connection}) for _ in range(2)]
    assert results == [(0, "The queues powerlift-fleets and powerlift-fleets-poison exist.\n")] * 2
    assert names(connection, "powerlift") == ["powerlift-fleets", "powerlift-fleets-poison"]


def test_the_queues_connection_takes_precedence(storage: Azurite, tmp_path: Path):
    values = {
        "AzureWebJobsStorage": storage.connection_string,
        "FLEET_QUEUE_CONNECTION": storage.queues_connection_string,
        "FLEET_QUEUE": "apart",
    }
    assert make(tmp_path, values)[0] == 0
    assert names(storage.connection_string, "apart") == []
    assert names(storage.queues_connection_string, "apart") == ["apart", "apart-poison"]


def test_the_environment_takes_precedence_over_the_settings_file(storage: Azurite, tmp_path: Path):
    values = {"AzureWebJobsStorage": storage.connection_string, "FLEET_QUEUE": "of-the-file"}
    assert make(tmp_path, values, FLEET_QUEUE="of-the-environment")[0] == 0
    assert names(storage.connection_string, "of-the") == [
        "of-the-environment",
        "of-the-environment-poison",
    ]


def test_a_sas_of_the_queue_may_only_add(storage: Azurite, tmp_path: Path):
    status, url = make(tmp_path, {"AzureWebJobsStorage": storage.connection_string}, "--sas")
    with QueueClient.from_queue_url(url.strip(), retry_total=0) as sender:
        sender.send_message("hello")
        with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
            sender.peek_messages()
    assert status == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "neither FLEET_QUEUE_CONNECTION nor AzureWebJobsStorage is set"),
        ({"AzureWebJobsStorage": "AccountKey=s3cret"}, "not a connection string"),
        (
            {"AzureWebJobsStorage": "AccountName=a;AccountKey=czNjcmV0;"
             "QueueEndpoint=http://127.0.0.1:1/a"},
            "error: the storage account",
        ),
    ],
)  # fmt: skip
def test_errors_are_printed_in_one_line(tmp_path: Path, values: dict[str, str], message: str):
    status, text = make(tmp_path, values)
    assert (status, len(text.splitlines()), message in text, "s3cret" in text) == (
        1,
        1,
        True,
        False,
    )
