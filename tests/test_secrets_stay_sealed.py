"""Secrets of a request are found only where they must be: in a VM's own root-only files."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, eventually, send, sql
from tests.trials import SMALL_RUNNER, packages_at_hand, real_experiment

pytestmark = pytest.mark.slow

PASSWORD = "Pa$$word 'of' the \"benchmark\"/7"
WRONG = "wrong-Pa$$word/8"
BATCHES = {"works": 7001, "wrong secret": 7002, "wrong password": 7003}


class ProcessList(threading.Thread):
    """Repeatedly reads the arguments of every process, as any user of the machine can."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            for arguments in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(arguments.read_bytes())
                except OSError:
                    continue  # it has ended meanwhile

    def __enter__(self) -> ProcessList:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@dataclass(frozen=True)
class Traces:
    """Everything readable that fleets with secrets leave behind."""

    fleets: dict[str, Any]
    places: dict[str, bytes]
    secrets: dict[str, str]

    def finds(self, secret: str) -> list[str]:
        return [
            place
            for place, content in self.places.items()
            if any(form in content for form in forms(secret))
        ]


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, in JSON, in a URL, and in base64 at any offset in a longer text."""
    yield secret.encode()
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        yield encoded[-(-offset * 8 // 6) + 1 : -2].encode()


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    packages, state = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("sealed")
    with packages_at_hand(packages), Stack(state, time_scale=0.02) as stack, ProcessList() as shown:
        number = real_experiment(stack, 2, SMALL_RUNNER)
        sql(stack, "CREATE ROLE bench LOGIN SUPERUSER PASSWORD %s", PASSWORD)
        api, secret = Api(stack), stack.arm["client_secret"]
        api.start(**request(stack, number, "works", PASSWORD, secret))
        send(stack, json.dumps(request(stack, number, "wrong secret", PASSWORD, f"x{secret}")))
        api.start(**request(stack, number, "wrong password", WRONG, secret))
        refusal = api.post({"uri": f"mysql://bench:{quote(PASSWORD, safe='')}@host/db"}).text
        fleets = {name: ended(api, f"fleet-{batch}") for name, batch in BATCHES.items()}
        places = {
            "process list": b"\n".join(shown.seen),
            "answers": (refusal + json.dumps(fleets) + api.list().text).encode(),
            "management webhook": management(stack),
            **files(state),
        }
        secrets = {"password": PASSWORD, "wrong password": WRONG, "client secret": secret}
        yield Traces(fleets, places, secrets)


def request(stack: Stack, number: int, name: str, password: str, secret: str) -> dict[str, Any]:
    port = urlsplit(stack.db_uri).port
    return {
        "experiment_id": number,
        "n_instances": 1,
        "batch_id": BATCHES[name],
        "uri": f"postgresql://bench:{quote(password, safe='')}@127.0.0.1:{port}/powerlift",
        "azure_json": {
            "tenant_id": stack.arm["tenant_id"],
            "client_id": stack.arm["client_id"],
            "client_secret": secret,
        },
        "client_principal_id": "11111111-2222-4333-8444-555555555555",
    }


def ended(api: Api, fleet_id: str) -> dict[str, Any]:
    eventually(lambda: True if api.get(fleet_id).status_code == 200 else None)
    return api.wait(fleet_id, timeout=120)


def management(stack: Stack) -> bytes:
    """All responses of the Durable extension's webhooks for every instance."""
    keys = json.loads((stack.state_dir / "host" / "ready.json").read_text())["keys"]
    url = f"{stack.url}/runtime/webhooks/durabletask/instances"
    query = {"code": keys["master"], "showInput": "true", "showHistory": "true"}
    instances = requests.get(url, query, timeout=30).json()
    details = [
        requests.get(
            f"{url}/{one['instanceId']}", {**query, "showHistoryOutput": "true"}, timeout=30
        )
        for one in instances
    ]
    assert len(details) > len(BATCHES), "fleets have waves and teardowns"
    return b"\n".join(detail.content for detail in details)


def files(state: Path) -> dict[str, bytes]:
    """The durable history, every log, the wire log, the VMs' consoles. Not: databases, keys, queues."""
    found = [*(state / "logs").glob("*"), *(state / "host").glob("durable.sqlite*")]
    found += [state / "azure" / "wire.jsonl", *(state / "azure" / "consoles").glob("*")]
    return {str(file.relative_to(state)): file.read_bytes() for file in found}


def test_the_fleets_ended_as_expected(traces: Traces):
    ends = {name: (fleet["reason"] or {}).get("code") for name, fleet in traces.fleets.items()}
    assert ends == {
        "works": None,
        "wrong secret": "AuthenticationFailed",
        "wrong password": "DatabaseUnreachable",
    }


def test_every_kind_of_trace_was_collected(traces: Traces):
    assert {"process list", "host/durable.sqlite", "logs/host.log", "azure/wire.jsonl"} <= set(
        traces.places
    )
    assert any(place.startswith("azure/consoles/") for place in traces.places)
    assert b"run_fleet" in traces.places["host/durable.sqlite"] + traces.places.get(
        "host/durable.sqlite-wal", b""
    )


def test_the_search_finds_a_secret_in_any_form():
    text = f"xy{PASSWORD}z".encode()
    hidden = [text, quote(PASSWORD, safe="").encode(), base64.b64encode(text)]
    hidden += [base64.b64encode(text[1:]), base64.b64encode(text[2:])]
    assert all(any(form in content for form in forms(PASSWORD)) for content in hidden)


@pytest.mark.parametrize("name", ["password", "wrong password", "client secret"])
def test_no_secret_is_found(traces: Traces, name: str):
    assert traces.finds(traces.secrets[name]) == []
