"""Each command against the app, as scripts call it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.stack import Stack
from tests.client.cli.conftest import Command
from tests.harness import Api, experiment

SIZE = "Standard_D2s_v5"
STANDS, STOPPED, NEW, ENDED = range(7001, 7005)
PASSWORD = "s3cr3t-value"


@pytest.fixture(scope="module")
def number(stack: Stack) -> int:
    return experiment(stack, 20)


@pytest.fixture(scope="module")
def standing(api: Api, number: int) -> Iterator[str]:
    """A fleet of two VMs that run."""
    fleet = api.start(experiment_id=number, n_instances=2, vm_size=SIZE, batch_id=STANDS)
    api.wait(fleet, "run")
    yield fleet
    api.end(fleet)


@pytest.fixture(scope="module")
def failed(api: Api) -> str:
    """A fleet that failed in its plan: there is no such experiment."""
    fleet = api.start(experiment_id=2**31 - 1, n_instances=2, batch_id=STOPPED)
    api.wait(fleet, "failed")
    return fleet


def test_a_fleet_is_submitted_and_its_id_is_all_that_is_printed(
    fleet_command: Command, api: Api, number: int
):
    argv = ["submit", "--experiment", number, "--vms", 1, "--batch-id", NEW, "--tag", "team=ml"]
    done = fleet_command(*argv)
    again = fleet_command(*argv)
    api.end(f"fleet-{NEW}")
    assert (done.exit_code, done.stdout) == (0, f"fleet-{NEW}\n")
    assert ("Accepted." in done.stderr, "already" in again.stderr) == (True, True)


def test_a_request_that_cannot_be_is_refused_with_every_fault(fleet_command: Command):
    done = fleet_command("submit", "--vms", 0, "--zones", "1,9")
    told = [
        field in done.stderr for field in ("/experiment_id", "/n_instances (--vms)", "/zones/1")
    ]
    assert (done.exit_code, done.stdout, told) == (3, "", [True] * 3)


def test_a_script_gets_the_problem_as_the_api_has_it(fleet_command: Command):
    done = fleet_command("submit", "--vms", 0, "--json")
    problem = json.loads(done.stdout)
    assert (problem["status"], len(problem["errors"]), done.stderr) == (400, 2, "")


def test_a_batch_that_is_taken_is_refused(fleet_command: Command, standing: str):
    done = fleet_command("submit", "--experiment", 1, "--vms", 9, "--batch-id", STANDS)
    assert (done.exit_code, "batch id is taken" in done.stderr) == (3, True)


def test_a_request_comes_from_standard_input_and_no_secret_of_it_is_shown(fleet_command: Command):
    request = {"experiment_id": 1, "n_instances": 0, "uri": f"mysql://u:{PASSWORD}@h/d"}
    done = fleet_command("submit", "--file", "-", stdin=json.dumps(request))
    assert (done.exit_code, "/uri" in done.stderr, PASSWORD in done.output) == (3, True, False)


def test_a_fleet_that_no_answer_came_for_can_be_submitted_again_as_the_same(
    fleet_command: Command,
):
    argv = ["submit", "--experiment", 1, "--vms", 1, "--retry-timeout", 0]
    done = fleet_command(*argv, FLEET_URL="http://127.0.0.1:9")
    told = re.search(r"safe to retry with --batch-id \d+", done.stderr)
    assert (done.exit_code, done.stdout, told is not None) == (6, "", True)


def test_a_plan_without_a_fault_is_a_success(fleet_command: Command, number: int):
    done = fleet_command("plan", "--experiment", number, "--vms", 2, "--vm-size", SIZE)
    assert (done.exit_code, "can start" in done.stdout, "quota" in done.stdout) == (0, True, True)


def test_a_plan_with_a_fault_is_a_failure_with_the_fault_on_top(fleet_command: Command):
    done = fleet_command("plan", "--experiment", 2**31 - 1, "--vms", 2, "--vm-size", SIZE)
    first = next(line for line in done.stdout.splitlines() if line.startswith(("fault", "ok")))
    assert (done.exit_code, first.split()[:2]) == (1, ["fault", "trials"])


def test_a_plan_takes_the_database_from_the_environment_if_asked(
    fleet_command: Command, number: int
):
    argv = ["plan", "--experiment", number, "--vms", 1, "--uri-from-env"]
    done = fleet_command(*argv, POWERLIFT_DB_URI="mysql://h/d")
    assert (done.exit_code, "/uri" in done.stderr) == (3, True)


def test_a_fleet_is_shown_with_its_vms_and_trials(fleet_command: Command, standing: str):
    done = fleet_command("status", standing)
    told = [
        words in done.stdout
        for words in ("VMs are running trials", "2 of 2", "0 of 20", "deadline")
    ]
    assert (done.exit_code, told) == (0, [True] * 4)


def test_what_is_no_terminal_gets_no_control_character(fleet_command: Command, standing: str):
    shown = fleet_command("status", standing, FORCE_COLOR="1").stdout
    assert [each for each in shown if not each.isprintable() and each != "\n"] == []


def test_a_script_gets_what_the_api_says(fleet_command: Command, api: Api, standing: str):
    shown = fleet_command.json("status", standing)
    assert {**shown, "updated_at": ""} == {**api.get(standing).json(), "updated_at": ""}


def test_a_failed_fleet_says_why_and_what_one_can_do(fleet_command: Command, failed: str):
    done = fleet_command("status", failed)
    assert (done.exit_code, "Why the fleet failed" in done.stdout) == (1, True)
    assert "What you can do: Create the experiment" in done.stdout


def test_a_fleet_can_be_named_by_its_number(fleet_command: Command, standing: str):
    assert fleet_command.json("status", STANDS)["id"] == standing


def test_a_fleet_that_is_not_there_is_told(fleet_command: Command):
    done = fleet_command("status", "fleet-123456789")
    assert (done.exit_code, "fleet-123456789" in done.stderr) == (4, True)


def test_what_is_no_fleet_is_a_wrong_command(fleet_command: Command):
    assert fleet_command("status", "\x1b[31mred").exit_code == 2


def test_the_vms_are_listed(fleet_command: Command, standing: str):
    lines = fleet_command("machines", standing).stdout.splitlines()
    assert (lines[0].split()[:2], [line.split()[0] for line in lines[1:]]) == (
        ["VM", "state"],
        ["0", "1"],
    )


def test_the_vms_can_be_asked_for_by_state(fleet_command: Command, standing: str):
    shown = fleet_command.json("machines", standing, "--state", "failed")
    assert shown == {"id": standing, "machines": []}


def test_a_vms_console_is_shown(fleet_command: Command, standing: str):
    done = fleet_command("logs", standing, 0)
    assert (done.exit_code, done.stdout.startswith(f"# powerlift-vm-{STANDS}-0000")) == (0, True)


def test_a_vm_that_never_was_has_no_log(fleet_command: Command, standing: str):
    assert fleet_command("logs", standing, 77).exit_code == 4


def test_all_fleets_are_listed_the_newest_first(fleet_command: Command, standing: str, failed: str):
    lines = fleet_command("list").stdout.splitlines()[1:]
    assert {standing, failed} <= {line.split()[0] for line in lines}
    began = [fleet["created_at"] for fleet in fleet_command.json("list")["fleets"]]
    assert began == sorted(began, reverse=True)


def test_the_page_of_a_fleet_is_named_without_the_key_unless_asked(
    fleet_command: Command, stack: Stack
):
    plain = fleet_command("view", "fleet-7").stdout.strip()
    whole = fleet_command("view", "fleet-7", "--with-key").stdout.strip()
    assert plain == f"{stack.url}/api/view/fleet-7"
    assert (whole.startswith(f"{plain}#key="), stack.key[:8] in plain) == (True, False)


def test_nobody_is_asked_where_nobody_can_answer(fleet_command: Command, api: Api, standing: str):
    done = fleet_command("cancel", standing)
    assert (done.exit_code, "--yes" in done.stderr) == (2, True)
    assert api.get(standing).json()["phase"] == "run"


def test_a_cancelled_fleet_is_followed_to_its_end(fleet_command: Command, api: Api, number: int):
    fleet = api.start(experiment_id=number, n_instances=1, batch_id=ENDED)
    done = fleet_command("cancel", fleet, "--yes", "--wait", "--interval", 0.2)
    assert (done.exit_code, done.stdout.splitlines()[-1].split()[1]) == (0, "cancelled")
    assert fleet_command("status", fleet, "--watch").exit_code == 7


def test_a_watch_for_a_script_is_a_document_a_line(fleet_command: Command, failed: str):
    done = fleet_command("status", failed, "--watch", "--json")
    [document] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, document["phase"]) == (1, "failed")


def test_a_wrong_key_is_told(fleet_command: Command, standing: str):
    done = fleet_command("status", standing, FLEET_KEY="wrong")
    assert (done.exit_code, "FLEET_KEY" in done.stderr) == (5, True)


def test_an_app_that_is_not_there_is_told(fleet_command: Command):
    done = fleet_command("list", "--url", "http://127.0.0.1:9", "--retry-timeout", 0)
    assert (done.exit_code, "does not respond" in done.stderr) == (6, True)


def test_a_wrong_command_is_json_for_a_script(fleet_command: Command):
    done = fleet_command("logs", "fleet-7", "first", "--json")
    assert (done.exit_code, "'first'" in json.loads(done.stdout)["detail"]) == (2, True)


def test_the_shell_completes_the_apps_fleets(fleet_command: Command, standing: str):
    typed = f"powerlift-fleet status fleet-{STANDS}"[:-1]
    words = {"COMP_WORDS": typed, "COMP_CWORD": "2", "_POWERLIFT_FLEET_COMPLETE": "bash_complete"}
    assert f"plain,{standing}" in process(fleet_command, env=words).communicate()[0].splitlines()


def test_ctrl_c_leaves_the_fleet_alone_and_says_how_to_end_it(
    fleet_command: Command, api: Api, standing: str
):
    watching = process(fleet_command, "status", standing, "--watch")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=30)
    assert ("run" in first, watching.returncode) == (True, 130)
    assert f"powerlift-fleet cancel {standing}" in told
    assert api.get(standing).json()["phase"] == "run"


def test_a_reader_that_goes_ends_the_watch_quietly(fleet_command: Command, standing: str):
    watching = process(fleet_command, "logs", standing, "0")
    assert watching.stdout is not None
    watching.stdout.close()
    assert watching.stderr is not None
    told = watching.stderr.read()
    assert (watching.wait(30), told) == (141, "")


def process(
    command: Command, *argv: str, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """The command in a process of its own, with pipes."""
    settings = {name: value for name, value in command.env.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-m", "powerlift_fleet.cli", *argv],
        env={**os.environ, **settings, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
