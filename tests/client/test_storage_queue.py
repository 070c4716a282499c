"""Submission by queue: permissions and errors of each authentication method."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import powerlift_fleet as fleets
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient, QueueSasPermissions
from powerlift_fleet import submit_by_queue
from powerlift_fleet.storage_queue import read_address

from local.azurite import Azurite
from local.stack import Stack
from tests.harness import Api, entra_credential, entra_storage, eventually, experiment, queue_sas

QUEUE = "powerlift-fleets"


def test_submitting_by_queue_requires_no_storage_account_key(api: Api, stack: Stack) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1}
    fleet = submit_by_queue(queue_sas(stack), request).id
    eventually(lambda: True if api.get(fleet).status_code == 200 else None)
    api.end(fleet)


@pytest.mark.parametrize(
    "action",
    [
        QueueClient.peek_messages,
        QueueClient.receive_message,
        QueueClient.clear_messages,
        QueueClient.delete_queue,
        QueueClient.get_queue_properties,
    ],
)
def test_an_add_only_sas_allows_nothing_else(
    stack: Stack, action: Callable[[QueueClient], Any]
) -> None:
    with (
        QueueClient.from_queue_url(queue_sas(stack)) as queue,
        pytest.raises(HttpResponseError) as error,
    ):
        action(queue)
    assert error.value.status_code == 403


def test_a_sas_of_the_queue_gives_no_access_to_the_task_hub(stack: Stack) -> None:
    hub = stack.task_hub_connection_string
    [endpoint] = [one for one in hub.split(";") if one.startswith("QueueEndpoint=")]
    url = f"{endpoint.partition('=')[2]}/{QUEUE}?{queue_sas(stack).partition('?')[2]}"
    with pytest.raises(fleets.Unauthorized):
        submit_by_queue(url, {})


def signature(url: str) -> str:
    return url.partition("sig=")[2].partition("&")[0]


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({"permission": QueueSasPermissions(read=True)}, fleets.Unauthorized,
         "The SAS does not permit adding messages. Use a SAS of this queue"),
        ({"hours": -1}, fleets.Unauthorized, "The SAS expired at "),
        ({"queue": "no-such-queue"}, fleets.NotFound, "has no queue 'no-such-queue'"),
    ],
)  # fmt: skip
def test_an_unusable_sas_is_reported_without_its_signature(
    stack: Stack, options: dict[str, Any], kind: type[fleets.ApiError], expected: str
) -> None:
    url = queue_sas(stack, **options)
    with pytest.raises(kind) as caught:
        submit_by_queue(url, {})
    text = f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
    assert (expected in text, signature(url) in text, "FLEET_KEY" in text) == (True, False, False)


@pytest.fixture(scope="module")
def entra(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with entra_storage(stack.arm, tmp_path_factory.mktemp("entra")) as storage:
        yield storage


@pytest.fixture
def signed_in(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.arm["env"].items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("signed_in")
def test_a_fleet_is_submitted_with_an_entra_credential(entra: Azurite, stack: Stack) -> None:
    credential = entra_credential(stack.arm)
    options = {"connection_verify": stack.arm["ca_bundle"]}
    with QueueClient(entra.queues_url, "by-token", credential, **options) as queue:
        queue.create_queue()
        taken = submit_by_queue(f"{entra.queues_url}/by-token", {}, credential=credential)
        [message] = queue.peek_messages()
    assert json.loads(base64.b64decode(message.content)) == {"batch_id": taken.batch_id}
    assert taken.message_id == message.id


def test_without_a_token_the_error_advises_signing_in(
    entra: Azurite, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in stack.arm["env"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no az, azd or pwsh
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    with pytest.raises(fleets.Unauthorized, match=r"Sign in \(az login\)"):
        submit_by_queue(f"{entra.queues_url}/{QUEUE}", {})


@pytest.mark.parametrize(
    ("storage", "queue", "name", "url", "authentication"),
    [
        ("https://a.queue.core.windows.net", None, QUEUE, "https://a.queue.core.windows.net",
         "identity"),
        ("https://a.queue.core.windows.net/q", None, "q", "https://a.queue.core.windows.net",
         "identity"),
        ("https://a.queue.core.windows.net/q?sig=s3cret", None, "q",
         "https://a.queue.core.windows.net", "sas"),
        ("https://a.queue.core.windows.net/?sig=s3cret", "named", "named",
         "https://a.queue.core.windows.net", "sas"),
        ("http://127.0.0.1:1/account/q", None, "q", "http://127.0.0.1:1/account", "identity"),
        ("http://127.0.0.1:1/account", None, QUEUE, "http://127.0.0.1:1/account", "identity"),
        ("http://a.queue.localhost:1/q", None, "q", "http://a.queue.localhost:1", "identity"),
        ("AccountName=a;AccountKey=s3cret", None, QUEUE, "", "key"),
    ],
)  # fmt: skip
def test_a_queue_address_is_parsed(
    storage: str, queue: str | None, name: str, url: str, authentication: str
) -> None:
    found = read_address(storage, queue)
    assert (found.name, found.url, found.authentication) == (name, url, authentication)
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "storage",
    [
        "http://a.queue.core.windows.net/q?sig=s3cret",
        "https://a.queue.core.windows.net/q/messages?sig=s3cret",
        "https:///q?sig=s3cret",
        "https://a:s3cret/q",
    ],
)
def test_an_invalid_url_is_rejected_without_its_signature(storage: str) -> None:
    with pytest.raises(fleets.ConfigurationError) as caught:
        submit_by_queue(storage, {})
    assert "s3cret" not in f"{caught.value!r}"
