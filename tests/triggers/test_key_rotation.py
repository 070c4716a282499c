"""A deployment whose sealing key was replaced: fleets of the old key are shown, and cause no errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet

from local.stack import Stack
from tests.harness import Api, eventually, experiment

pytestmark = pytest.mark.long

FLEET = "fleet-6601"
NEW = Fernet.generate_key().decode()
PATHS = {"fleet": "", "machines": "/machines", "progress": "/progress", "log": "/machines/0/log"}
SWEPT = "Executed 'sweep' (Succeeded"


@dataclass(frozen=True)
class Rotated:
    """The responses about a completed fleet with the new key alone and with both, and the log
    meanwhile."""

    alone: dict[str, requests.Response]
    both: dict[str, requests.Response]
    log: str


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    settings = {"FLEET_OWNER": "rotated", "FLEET_SWEEP_SCHEDULE": "* * * * * *"}
    state: Path = tmp_path_factory.mktemp("rotated")
    with Stack(state, time_scale=0.01, machines="none", app_settings=settings) as stack:
        api = Api(stack)
        api.start(experiment_id=experiment(stack), n_instances=1, batch_id=6601, uri=stack.db_uri)
        api.wait(FLEET, "run")
        api.end(FLEET)
        old = (state / "sealing.key").read_text()
        alone = answers(stack, NEW)
        log = (stack.logs / "host.log").read_text()
        yield Rotated(alone, answers(stack, f"{NEW},{old}"), log)


def answers(stack: Stack, keys: str) -> dict[str, Any]:
    """The responses of a host with these sealing keys, after two sweeps."""
    stack.app_settings["FLEET_SEALING_KEY"] = keys
    stack.kill_host()
    log = stack.logs / "host.log"
    before = log.read_text().count(SWEPT)
    stack.start_host()
    eventually(lambda: True if log.read_text().count(SWEPT) >= before + 2 else None)
    headers = {"x-functions-key": stack.key}
    url = f"{stack.url}/api/fleets/{FLEET}"
    shown = {
        name: requests.get(f"{url}{path}", headers=headers, timeout=30)
        for name, path in PATHS.items()
    }
    return {**shown, "delete": requests.delete(url, headers=headers, timeout=30)}


def test_a_fleet_of_a_removed_key_is_shown_without_its_database(rotated: Rotated):
    codes = {name: rotated.alone[name].status_code for name in PATHS}
    assert codes == {"fleet": 200, "machines": 200, "progress": 200, "log": 404}


@pytest.mark.parametrize("name", ["progress", "log", "delete"])
def test_data_of_a_removed_key_are_reported_with_the_setting_that_restores_them(
    rotated: Rotated, name: str
):
    shown = rotated.alone[name].json()
    assert "FLEET_SEALING_KEY" in (shown.get("problem") or shown.get("detail"))


def test_a_fleet_of_a_removed_key_causes_no_errors_in_the_sweep(rotated: Rotated):
    assert [line for line in rotated.log.splitlines() if "SealBroken" in line] == []
    assert "event=sweep.failed" not in rotated.log


def test_a_teardown_without_a_readable_account_is_rejected(rotated: Rotated):
    assert (rotated.alone["delete"].status_code, rotated.both["delete"].status_code) == (503, 202)


def test_with_the_old_key_appended_everything_is_readable_again(rotated: Rotated):
    alone, both = rotated.alone["progress"].json(), rotated.both["progress"].json()
    assert (alone["problem"] is None, both["problem"]) == (False, None)
    assert "FLEET_SEALING_KEY" not in rotated.both["log"].text
