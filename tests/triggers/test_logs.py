"""GET /api/fleets/{id}/machines/{ordinal}/log: for VMs that exist, failed, or never existed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from powerlift_fleet import FleetClient

from local.stack import Stack
from tests.harness import TIMEOUT, Api, eventually, experiment, sql, wire
from tests.trials import SMALL_RUNNER, packages_at_hand, real_experiment

RUNNING, SILENT, NO_ROOM, RESTRICTED, RAN = range(4101, 4106)
FAULTS = [
    {"on": "vm.boot", "match": f"-({SILENT}|{RESTRICTED})-", "error": "OSProvisioningTimedOut"},
    {"on": "vm.boot", "match": f"-{NO_ROOM}-", "error": "AllocationFailed"},
]
BOOT_DIAGNOSTICS = ("retrieveBootDiagnosticsData", ".serialconsole.log")

TELLTALE = """
import os
print("<b>the URI is", os.environ["DB_URL"])
"""
"""What an experiment's script had better not print."""


@dataclass(frozen=True)
class Logs:
    """A stack with fleets in their final states."""

    stack: Stack
    api: Api

    def get(self, fleet_id: str, ordinal: object = 0, **query: str) -> requests.Response:
        url = f"{self.stack.url}/api/fleets/{fleet_id}/machines/{ordinal}/log"
        headers = {"x-functions-key": self.stack.key}
        return requests.get(url, params=query, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    state: Path = tmp_path_factory.mktemp("logs")
    plan = {"faults": FAULTS}
    with Stack(state, time_scale=0.01, machines="none", faults=plan) as stack:
        api, number = Api(stack), experiment(stack)
        for batch in (RUNNING, SILENT, NO_ROOM):
            api.start(experiment_id=number, n_instances=1, batch_id=batch)
        uri = restricted_role(stack)
        api.start(experiment_id=number, n_instances=1, batch_id=RESTRICTED, uri=uri)
        for batch in (SILENT, NO_ROOM, RESTRICTED):
            api.wait(f"fleet-{batch}")
        api.wait(f"fleet-{RUNNING}", "run")
        yield Logs(stack, api)


def restricted_role(stack: Stack) -> str:
    """The URI of a role with the minimum permissions of a fleet."""
    sql(stack, "CREATE ROLE restricted LOGIN PASSWORD 'restricted'")
    sql(stack, "GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO restricted")
    return f"postgresql://restricted:restricted@{stack.db_uri.partition('@')[2]}"


def boot_diagnostics(logs: Logs, batch: int) -> list[str]:
    """The methods of the fleet's requests for a VM's log and its deletion, in order."""
    calls = [call for call in wire(logs.stack, batch=batch) if "-0000" in call["path"]]
    reads = [call for call in calls if call["path"].endswith(BOOT_DIAGNOSTICS)]
    deleted = [call for call in calls if call["method"] == "DELETE"]
    return [call["method"] for call in sorted([*reads, *deleted], key=lambda call: call["n"])]


def test_an_existing_vm_shows_its_console(shown: Logs):
    first, _, log = shown.get(f"fleet-{RUNNING}").text.partition("\n")
    assert (first, "systemd" in log) == (
        "# powerlift-vm-4101-0000 is still running; current console log (last 32 KB)",
        True,
    )


def test_a_log_is_plain_text_to_every_browser(shown: Logs):
    headers = shown.get(f"fleet-{RUNNING}").headers
    returned = (headers["Content-Type"], headers["X-Content-Type-Options"])
    assert returned == ("text/plain; charset=utf-8", "nosniff")


def test_the_log_of_a_failed_vm_outlives_it(shown: Logs):
    first, _, log = shown.get(f"fleet-{SILENT}").text.partition("\n")
    words = "OSProvisioningTimedOut: OS Provisioning for VM 'powerlift-vm-4102-0000' did not finish"
    assert (words in first, "stored console log" in first) == (True, True)
    assert "<powerlift-vm-4102-0000>" in log


def test_a_log_takes_two_requests_before_the_deletion(shown: Logs):
    assert boot_diagnostics(shown, SILENT)[:3] == ["POST", "GET", "DELETE"]


def test_no_log_is_read_of_a_vm_without_capacity(shown: Logs):
    assert set(boot_diagnostics(shown, NO_ROOM)) == {"DELETE"}


def test_the_log_of_a_vm_that_failed_to_boot_has_the_reason(shown: Logs):
    answer = shown.get(f"fleet-{NO_ROOM}")
    detail = answer.json()["detail"]
    returned = (answer.status_code, answer.headers["Content-Type"])
    assert returned == (404, "application/problem+json")
    assert detail.startswith("powerlift-vm-4103-0000 does not exist (any more). It ended at ")
    assert "AllocationFailed" in detail


def test_a_log_that_cannot_be_stored_does_not_affect_the_fleet(shown: Logs):
    fleets = [shown.api.get(f"fleet-{batch}").json() for batch in (SILENT, RESTRICTED)]
    ends = [(fleet["phase"], fleet["missing"]) for fleet in fleets]
    assert ends[0] == ends[1]


def test_a_database_that_rejects_logs_is_one_line_in_the_apps_log(shown: Logs):
    log = (shown.stack.logs / "host.log").read_text()
    mark = f"event=call.failed fleet=fleet-{RESTRICTED} activity=save_logs"
    lines = [line for line in log.splitlines() if mark in line]
    assert lines
    assert all("SQLSTATE 42501" in line for line in lines)


@pytest.mark.parametrize(
    ("fleet_id", "ordinal"),
    [
        ("fleet-12345678901234567890", 0),
        ("nonsense", 0),
        (f"fleet-{RUNNING}", 17),
        (f"fleet-{RUNNING}", 99999),
        (f"fleet-{RUNNING}", "first"),
        (f"fleet-{RUNNING}", "..%2F0"),
    ],
)
def test_a_missing_vm_has_no_log(shown: Logs, fleet_id: str, ordinal: object):
    assert shown.get(fleet_id, ordinal).status_code == 404


def test_a_log_requires_a_key(shown: Logs):
    url = f"{shown.stack.url}/api/fleets/fleet-{RUNNING}/machines/0/log"
    assert requests.get(url, timeout=30).status_code == 401


def after(shown: Logs, batch: int, position: str) -> requests.Response:
    return shown.get(f"fleet-{batch}", after=position)


def test_the_lines_after_a_position_follow_those_before_it(shown: Logs):
    whole = shown.get(f"fleet-{RUNNING}")
    lines = after(shown, RUNNING, "console-0")
    first = lines.text.splitlines(keepends=True)[0]
    rest = after(shown, RUNNING, f"console-{len(first.encode())}")
    assert first + rest.text == lines.text
    assert lines.text == whole.text.partition("\n")[2]
    assert lines.headers["Log-Next"] == whole.headers["Log-Next"]


@pytest.mark.parametrize(("batch", "source"), [(RUNNING, "console"), (SILENT, "stored")])
def test_a_position_within_a_word_is_moved_to_the_next_line(shown: Logs, batch: int, source: str):
    """Half a password would not be recognised."""
    first, rest = after(shown, batch, f"{source}-0").text.split("\n", 1)
    assert first[7:9].strip() == first[7:9]
    assert after(shown, batch, f"{source}-8").text == rest


def test_a_log_that_has_not_grown_is_empty(shown: Logs):
    position = shown.get(f"fleet-{RUNNING}").headers["Log-Next"]
    answer = after(shown, RUNNING, position)
    assert (answer.status_code, answer.text, answer.headers["Log-Next"]) == (200, "", position)


def test_a_log_that_has_become_shorter_is_read_again(shown: Logs):
    whole = after(shown, RUNNING, "console-0")
    again = after(shown, RUNNING, "console-99999")
    assert (again.text, again.headers["Log-Next"]) == (whole.text, whole.headers["Log-Next"])


def test_reading_on_takes_one_request_to_azure(shown: Logs):
    position = shown.get(f"fleet-{RUNNING}").headers["Log-Next"]
    after(shown, RUNNING, position)  # learns the URL
    before = len(boot_diagnostics(shown, RUNNING))
    after(shown, RUNNING, position)
    assert boot_diagnostics(shown, RUNNING)[before:] == ["GET"]


def test_the_console_of_a_deleted_vm_continues_with_its_stored_log(shown: Logs):
    stored = after(shown, SILENT, "console-10")
    rest = after(shown, SILENT, stored.headers["Log-Next"])
    assert stored.text == shown.get(f"fleet-{SILENT}").text.partition("\n")[2]
    assert stored.headers["Log-Next"] == f"stored-{len(stored.content)}"
    assert (rest.text, rest.headers["Log-Next"]) == ("", stored.headers["Log-Next"])


@pytest.mark.parametrize(
    ("batch", "position", "status"),
    [
        (RUNNING, "nonsense", 400), (RUNNING, "console-", 400), (RUNNING, "console--1", 400),
        (NO_ROOM, "console-0", 404), (NO_ROOM, "stored-0", 404),
    ],
)  # fmt: skip
def test_a_position_that_is_none_or_a_log_that_is_absent(
    shown: Logs, batch: int, position: str, status: int
):
    assert after(shown, batch, position).status_code == status


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Logs of a completed VM: while it is kept, and after its deletion."""
    packages, state = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("ended")
    with packages_at_hand(packages), Stack(state, time_scale=0.02) as stack:
        logs = Logs(stack, Api(stack))
        number = real_experiment(stack, 1, f"{TELLTALE}\n{SMALL_RUNNER}")
        document = {"experiment_id": number, "n_instances": 1, "batch_id": RAN}
        fleet_id = logs.api.start(**document, delete_on_complete=False)
        following = ThreadPoolExecutor(1).submit(follow, stack, fleet_id)
        stays = eventually(lambda: has_ended(logs, "current console log"), 120)
        logs.api.wait(fleet_id)
        logs.api.end(fleet_id)
        yield {
            "password": stack.db_uri.split("@")[0].rpartition(":")[2],
            "kept": stays,
            "deleted": eventually(lambda: has_ended(logs, "stored console log")),
            "followed": following.result(TIMEOUT),
        }


def follow(stack: Stack, fleet_id: str) -> list[str]:
    with FleetClient(stack.url, stack.key) as client:
        return [line.text for line in client.logs(fleet_id, follow=True, interval=0.2)]


def has_ended(logs: Logs, source: str) -> str | None:
    text = logs.get(f"fleet-{RAN}").text
    first = text.partition("\n")[0]
    return text if ": no more work (exit code 0)" in first and source in first else None


@pytest.mark.long  # test_startup_log.py has a shorter way from the script to the database
@pytest.mark.parametrize("which", ["deleted", "kept"])
def test_the_scripts_output_is_in_the_log(ended: dict[str, Any], which: str):
    assert "<b>the URI is postgresql" in ended[which]


@pytest.mark.long
@pytest.mark.parametrize("which", ["deleted", "kept"])
def test_a_printed_password_is_not_in_the_log(ended: dict[str, Any], which: str):
    assert ended["password"] not in ended[which]


@pytest.mark.long
def test_a_follower_gets_each_line_of_a_running_vm_once(ended: dict[str, Any]):
    """Also those that a VM has stored when it is deleted."""
    stored = [line for line in ended["deleted"].splitlines()[1:] if line]
    found = [line for line in ended["followed"] if line in stored]
    assert (found, any(line.startswith("measures trial") for line in found)) == (stored, True)
