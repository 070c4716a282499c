"""The command in this process, as a script runs it: without a terminal, in a separate home directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from powerlift_fleet.cli.main import cli

from local.stack import Stack
from tests.client.cli import served
from tests.harness import Api, experiment

SIZE = "Standard_D2s_v5"


@dataclass(frozen=True)
class Command:
    """`powerlift-fleet` with an environment."""

    env: dict[str, str | None]

    def __call__(self, *args: object, **more: Any) -> Result:
        """Run it; `more`: `stdin`, and variables of the environment."""
        env = {**self.env, **{name: value for name, value in more.items() if name != "stdin"}}
        argv = [str(arg) for arg in args]
        return CliRunner().invoke(cli, argv, input=more.get("stdin"), env=env)

    def json(self, *args: object, **more: Any) -> Any:
        """What it prints with --json: one document, and nothing else."""
        return json.loads(self(*args, "--json", **more).stdout)


def environment(home: Path, **settings: str) -> dict[str, str | None]:
    absent = (
        "FLEET_URL",
        "FLEET_KEY",
        "FLEET_PROFILE",
        "FLEET_QUEUE_URL",
        "POWERLIFT_DB_URI",
        "COLUMNS",
    )
    return {**dict.fromkeys(absent), "XDG_CONFIG_HOME": str(home), **settings}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def friendly(home: Path) -> Iterator[Command]:
    with served.served(served.answers("")) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


@pytest.fixture
def bare(tmp_path: Path) -> Command:
    """The command without settings."""
    return Command(environment(tmp_path))


@pytest.fixture(scope="session")
def fleet_command(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command for the tests' app."""
    home = tmp_path_factory.mktemp("home")
    return Command(environment(home, FLEET_URL=stack.url, FLEET_KEY=stack.key))


def private(file: Path, text: str) -> Path:
    """A file that only its owner can read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def number(stack: Stack) -> int:
    """An experiment with 20 trials."""
    return experiment(stack, 20)


@pytest.fixture(scope="module")
def running_fleet(request: pytest.FixtureRequest, api: Api, number: int) -> Iterator[str]:
    """A fleet with two running VMs, whose batch is the module's RUNNING."""
    batch = request.module.RUNNING
    fleet = api.start(experiment_id=number, n_instances=2, vm_size=SIZE, batch_id=batch)
    api.wait(fleet, "run")
    yield fleet
    api.end(fleet)
