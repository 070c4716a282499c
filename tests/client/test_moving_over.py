"""The page "Moving over": its examples run, and its tables are those of the code and of Powerlift."""

from __future__ import annotations

import inspect
import re
from typing import Any

import httpx
import powerlift_fleet
import pytest
from powerlift.executors.azure_ci import AzureContainerInstance
from powerlift_fleet import AzureVMFleet, FleetClient
from powerlift_fleet.benchmark.container import SIZES, ContainerArguments

from local.stack import REPOSITORY
from tests.client.both import Script, status
from tests.client.executors import CAN_START

PAGE = (REPOSITORY / "docs" / "moving-over.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TAKEN = httpx.Response(
    202, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": status()["links"]}
)
DONE = httpx.Response(
    200,
    json=status("done", trials={"total": 1, "ready": 0, "running": 0, "complete": 1, "error": 0}),
)


class NoStore:
    uri = "postgresql://user@host/db"


@pytest.mark.parametrize("code", CODE)
def test_its_examples_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Script(CAN_START, TAKEN, DONE)
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    monkeypatch.setattr("powerlift_fleet.executor.FleetClient", lambda *_: client)
    exec(code, {"store": NoStore(), "experiment_id": 1})
    assert len(app.requests) == (3 if "submit(" in code else 0)


def test_every_argument_of_powerlifts_container_executor_is_accepted() -> None:
    theirs = list(inspect.signature(AzureContainerInstance).parameters)
    accepted = {*inspect.signature(AzureVMFleet).parameters, *ContainerArguments.__annotations__}
    assert [name for name in theirs if name not in accepted] == []


def test_every_name_of_containers_is_in_its_table() -> None:
    assert [
        name
        for name in ContainerArguments.__annotations__
        if f"| `{name}`" not in PAGE and f"`, `{name}` |" not in PAGE
    ] == []


def test_its_sizes_are_those_that_are_chosen() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert [(int(cores), int(memory), size) for cores, memory, size in rows] == list(SIZES)


def test_its_names_can_be_imported() -> None:
    named: list[Any] = re.findall(r"`(run_\w+|trial_\w+|assign_\w+)", PAGE)
    assert {name for name in named if not hasattr(powerlift_fleet, name)} == set()
