"""Each command against the app, as scripts call it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import Stack
from tests.client.cli.conftest import SIZE, Command, private
from tests.harness import Api, eventually, queue_sas

RUNNING, STOPPED, NEW, ENDED = range(7001, 7005)
REFUSED, BURSTABLE, UNPLANNED = range(7031, 7034)
PASSWORD = "s3cr3t-value"


@pytest.fixture(scope="module")
def failed_fleet(api: Api) -> str:
    """A fleet that failed in its plan: its experiment does not exist."""
    fleet = api.start(experiment_id=2**31 - 1, n_instances=2, batch_id=STOPPED)
    api.wait(fleet, "failed")
    return fleet


def test_submit_prints_the_fleet_id_only(fleet_command: Command, api: Api, number: int):
    argv = ["submit", "--experiment", number, "--vms", 1, "--batch-id", NEW, "--tag", "team=ml"]
    done = fleet_command(*argv)
    again = fleet_command(*argv)
    api.end(f"fleet-{NEW}")
    assert (done.exit_code, done.stdout) == (0, f"fleet-{NEW}\n")
    assert ("Accepted." in done.stderr, "already" in again.stderr) == (True, True)


def test_submit_plans_first_and_starts_nothing_that_cannot_start(
    fleet_command: Command, api: Api, number: int
):
    argv = ("submit", "--experiment", number, "--vms", 1, "--vm-size", "Standard_Nope")
    done = fleet_command(*argv, "--batch-id", REFUSED)
    as_json = fleet_command.json(*argv)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "cannot start. Nothing was created." in done.stderr
    assert "sizes: " in done.stderr
    assert [check["name"] for check in as_json["checks"]] == ["sizes"]
    assert api.get(f"fleet-{REFUSED}").status_code == 404


def test_submit_prints_the_plans_warnings(fleet_command: Command, api: Api, number: int):
    argv = ("submit", "--experiment", number, "--vms", 1, "--vm-size", "Standard_B2ms")
    done = fleet_command(*argv, "--batch-id", BURSTABLE)
    api.end(f"fleet-{BURSTABLE}")
    assert (done.stdout, "Warning: burstable: Standard_B2ms" in done.stderr) == (
        f"fleet-{BURSTABLE}\n",
        True,
    )


@pytest.mark.long
def test_a_fleet_is_submitted_without_a_plan_on_request(fleet_command: Command, api: Api):
    argv = ("submit", "--no-plan", "--experiment", 2**31 - 1, "--vms", 1, "--wait")
    assert fleet_command(*argv).exit_code == 1
    done = fleet_command(*argv[:-1], "--batch-id", UNPLANNED)
    again = fleet_command("submit", *argv[2:-1], "--batch-id", UNPLANNED)
    assert (done.stdout, again.exit_code, "already" in again.stderr) == (
        f"fleet-{UNPLANNED}\n",
        0,
        True,
    )


@pytest.mark.long
def test_a_fleet_is_submitted_by_queue_with_a_sas_and_without_a_key(
    bare: Command, api: Api, stack: Stack, number: int, tmp_path: Path
):
    by_env, by_file = 7011, 7012
    argv = ("submit", "--experiment", number, "--vms", 1, "--batch-id")
    url = queue_sas(stack)
    first = bare(*argv, by_env, "--by-queue", FLEET_QUEUE_URL=url)
    second = bare(*argv, by_file, "--queue-file", private(tmp_path / "queue", url))
    for batch in (by_env, by_file):
        eventually(lambda batch=batch: api.get(f"fleet-{batch}").status_code == 200 or None)
        api.end(f"fleet-{batch}")
    assert (first.exit_code, first.stdout) == (0, f"fleet-{by_env}\n")
    assert (second.exit_code, second.stdout) == (0, f"fleet-{by_file}\n")


def test_submission_by_queue_can_wait(fleet_command: Command, stack: Stack):
    argv = ("submit", "--experiment", 2**31 - 1, "--vms", 1, "--by-queue", "--wait")
    done = fleet_command(*argv, FLEET_QUEUE_URL=queue_sas(stack))
    assert (done.exit_code, "failed" in done.stdout) == (1, True)


def test_a_queue_that_denies_access_is_reported_without_its_signature(bare: Command, stack: Stack):
    url = queue_sas(stack, hours=-1)
    done = bare("submit", "--vms", 1, "--by-queue", FLEET_QUEUE_URL=url)
    assert (done.exit_code, "The SAS expired" in done.stderr) == (5, True)
    assert url.partition("sig=")[2] not in done.output


def test_submission_by_queue_requires_a_queue_url(bare: Command):
    done = bare("submit", "--vms", 1, "--by-queue")
    assert (done.exit_code, "FLEET_QUEUE_URL" in done.stderr) == (2, True)


def test_an_invalid_request_is_rejected_with_every_fault(fleet_command: Command):
    done = fleet_command("submit", "--vms", 0, "--zones", "1,9")
    reported = [
        field in done.stderr for field in ("/experiment_id", "/n_instances (--vms)", "/zones/1")
    ]
    assert (done.exit_code, done.stdout, reported) == (3, "", [True] * 3)


def test_json_prints_the_problem_document(fleet_command: Command):
    done = fleet_command("submit", "--vms", 0, "--json")
    problem = json.loads(done.stdout)
    assert (problem["status"], len(problem["errors"]), done.stderr) == (400, 2, "")


def test_a_batch_id_in_use_is_rejected(fleet_command: Command, running_fleet: str):
    done = fleet_command("submit", "--experiment", 1, "--vms", 9, "--batch-id", RUNNING)
    assert (done.exit_code, f"batch_id {RUNNING}" in done.stderr) == (3, True)


def test_errors_do_not_quote_a_request_from_stdin(fleet_command: Command):
    request = {"experiment_id": 1, "n_instances": 0, "uri": f"mysql://u:{PASSWORD}@h/d"}
    done = fleet_command("submit", "--file", "-", stdin=json.dumps(request))
    assert (done.exit_code, "/uri" in done.stderr, PASSWORD in done.output) == (3, True, False)


def test_an_unknown_outcome_prints_the_batch_id(
    fleet_command: Command,
):
    argv = ["submit", "--no-plan", "--experiment", 1, "--vms", 1, "--retry-timeout", 0]
    done = fleet_command(*argv, FLEET_URL="http://127.0.0.1:9")
    reported = re.search(r"safe to retry with --batch-id \d+", done.stderr)
    assert (done.exit_code, done.stdout, reported is not None) == (6, "", True)


def test_a_plan_without_faults_exits_with_0(fleet_command: Command, number: int):
    argv = ("plan", "--experiment", number, "--vms", 2, "--vm-size", SIZE)
    short, full = fleet_command(*argv), fleet_command(*argv, "--all")
    assert (short.exit_code, "can start" in short.stdout, "quota" in short.stdout) == (
        0,
        True,
        False,
    )
    assert (full.exit_code, "quota" in full.stdout) == (0, True)


def test_a_plan_with_a_fault_fails_and_prints_the_fault_first(fleet_command: Command):
    done = fleet_command("plan", "--experiment", 2**31 - 1, "--vms", 2, "--vm-size", SIZE)
    first = next(line for line in done.stdout.splitlines() if line.startswith(("fault", "ok")))
    assert (done.exit_code, first.split()[:2]) == (1, ["fault", "trials"])


def test_uri_from_env_sends_the_database_uri(fleet_command: Command, number: int):
    argv = ["plan", "--experiment", number, "--vms", 1, "--uri-from-env"]
    done = fleet_command(*argv, POWERLIFT_DB_URI="mysql://h/d")
    assert (done.exit_code, "/uri" in done.stderr) == (3, True)


def test_a_fleet_is_shown_with_its_vms_and_trials(fleet_command: Command, running_fleet: str):
    done = fleet_command("status", running_fleet)
    reported = [
        words in done.stdout
        for words in ("VMs are installing packages", "2 of 2", "0 of 20", "deadline")
    ]
    assert (done.exit_code, reported) == (0, [True] * 4)


def test_output_to_a_pipe_has_no_control_characters(fleet_command: Command, running_fleet: str):
    shown = fleet_command("status", running_fleet, FORCE_COLOR="1").stdout
    assert [each for each in shown if not each.isprintable() and each != "\n"] == []


def test_json_prints_the_apis_status(fleet_command: Command, api: Api, running_fleet: str):
    shown = fleet_command.json("status", running_fleet)
    assert {**shown, "updated_at": ""} == {**api.get(running_fleet).json(), "updated_at": ""}


def test_a_failed_fleet_has_reason_and_advice(fleet_command: Command, failed_fleet: str):
    done = fleet_command("status", failed_fleet)
    assert (done.exit_code, "Why the fleet failed" in done.stdout) == (1, True)
    assert "What you can do: Create the experiment" in done.stdout


def test_a_fleet_can_be_named_by_its_number(fleet_command: Command, running_fleet: str):
    assert fleet_command.json("status", RUNNING)["id"] == running_fleet


def test_an_unknown_fleet_is_not_found(fleet_command: Command):
    done = fleet_command("status", "fleet-123456789")
    assert (done.exit_code, "fleet-123456789" in done.stderr) == (4, True)


def test_an_invalid_fleet_id_is_a_usage_error(fleet_command: Command):
    assert fleet_command("status", "\x1b[31mred").exit_code == 2


def test_the_vms_are_listed(fleet_command: Command, running_fleet: str):
    lines = fleet_command("machines", running_fleet).stdout.splitlines()
    assert (lines[0].split()[:2], [line.split()[0] for line in lines[1:]]) == (
        ["VM", "state"],
        ["0", "1"],
    )


def test_vms_can_be_filtered_by_state(fleet_command: Command, running_fleet: str):
    shown = fleet_command.json("machines", running_fleet, "--state", "failed")
    assert shown == {"id": running_fleet, "machines": []}


def test_an_unknown_vm_has_no_log(fleet_command: Command, running_fleet: str):
    assert fleet_command("logs", running_fleet, 77).exit_code == 4


def test_fleets_are_listed_newest_first(
    fleet_command: Command, running_fleet: str, failed_fleet: str
):
    lines = fleet_command("list").stdout.splitlines()[1:]
    assert {running_fleet, failed_fleet} <= {line.split()[0] for line in lines}
    began = [fleet["created_at"] for fleet in fleet_command.json("list")["fleets"]]
    assert began == sorted(began, reverse=True)


def test_view_prints_the_key_only_if_requested(fleet_command: Command, stack: Stack):
    plain = fleet_command("view", "fleet-7").stdout.strip()
    whole = fleet_command("view", "fleet-7", "--with-key").stdout.strip()
    assert plain == f"{stack.url}/api/view/fleet-7"
    assert (whole.startswith(f"{plain}#key="), stack.key[:8] in plain) == (True, False)


def test_cancel_needs_yes_without_a_terminal(fleet_command: Command, api: Api, running_fleet: str):
    done = fleet_command("cancel", running_fleet)
    assert (done.exit_code, "--yes" in done.stderr) == (2, True)
    assert api.get(running_fleet).json()["phase"] == "run"


def test_cancel_can_wait(fleet_command: Command, api: Api, number: int):
    fleet = api.start(experiment_id=number, n_instances=1, batch_id=ENDED)
    done = fleet_command("cancel", fleet, "--yes", "--wait", "--interval", 0.2)
    phases = [line.split()[1] for line in done.stdout.splitlines()]
    assert (done.exit_code, "cancelled" in phases) == (
        0,
        True,
    )  # a VM may be missing, in one more line
    assert fleet_command("status", fleet, "--watch").exit_code == 7


def test_a_json_watch_prints_one_document_per_line(fleet_command: Command, failed_fleet: str):
    done = fleet_command("status", failed_fleet, "--watch", "--json")
    [document] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, document["phase"]) == (1, "failed")


def test_a_wrong_key_is_unauthorized(fleet_command: Command, running_fleet: str):
    done = fleet_command("status", running_fleet, FLEET_KEY="wrong")
    assert (done.exit_code, "FLEET_KEY" in done.stderr) == (5, True)


def test_an_unreachable_app_is_reported(fleet_command: Command):
    done = fleet_command("list", "--url", "http://127.0.0.1:9", "--retry-timeout", 0)
    assert (done.exit_code, "does not respond" in done.stderr) == (6, True)


def test_a_usage_error_is_json_with_json(fleet_command: Command):
    done = fleet_command("logs", "fleet-7", "first", "--json")
    assert (done.exit_code, "'first'" in json.loads(done.stdout)["detail"]) == (2, True)


def test_the_shell_completes_the_apps_fleets(fleet_command: Command, running_fleet: str):
    typed = f"powerlift-fleet status fleet-{RUNNING}"[:-1]
    words = {"COMP_WORDS": typed, "COMP_CWORD": "2", "_POWERLIFT_FLEET_COMPLETE": "bash_complete"}
    assert (
        f"plain,{running_fleet}" in process(fleet_command, env=words).communicate()[0].splitlines()
    )


def test_ctrl_c_keeps_the_fleet_running_and_prints_how_to_cancel(
    fleet_command: Command, api: Api, running_fleet: str
):
    watching = process(fleet_command, "status", running_fleet, "--watch")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, reported = watching.communicate(timeout=30)
    assert ("run" in first, watching.returncode) == (True, 130)
    assert f"powerlift-fleet cancel {running_fleet}" in reported
    assert api.get(running_fleet).json()["phase"] == "run"


def test_a_closed_pipe_is_not_an_error(fleet_command: Command, running_fleet: str):
    watching = process(fleet_command, "machines", running_fleet)
    assert watching.stdout is not None
    watching.stdout.close()
    assert watching.stderr is not None
    reported = watching.stderr.read()
    assert (watching.wait(30), reported) == (141, "")


def process(
    command: Command, *argv: str, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """The command in a separate process, with pipes."""
    settings = {name: value for name, value in command.env.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-m", "powerlift_fleet.cli", *argv],
        env={**os.environ, **settings, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
