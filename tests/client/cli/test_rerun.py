"""Logs, trials, retries and clones against the app, as scripts call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.stack import Stack
from tests.client.cli.conftest import SIZE, Command, private
from tests.client.cli.test_commands import process
from tests.harness import Api

RUNNING, FOLLOWED = 7021, 7022


@pytest.mark.parametrize("vm", ["0", f"powerlift-vm-{RUNNING}-0000"])
def test_the_console_of_a_vm_is_printed(fleet_command: Command, running_fleet: str, vm: str):
    done = fleet_command("logs", running_fleet, vm)
    assert (done.exit_code, "systemd" in done.stdout, "#" in done.stdout) == (0, True, False)
    assert f"# powerlift-vm-{RUNNING}-0000 is still running" in done.stderr


def test_the_last_lines_of_a_console_are_printed(fleet_command: Command, running_fleet: str):
    whole = fleet_command("logs", running_fleet, 0).stdout.splitlines()
    assert fleet_command("logs", running_fleet, 0, "--tail", 2).stdout.splitlines() == whole[-2:]
    shown = fleet_command.json("logs", running_fleet, 0, "--tail", 1)
    assert shown["log"].splitlines()[1:] == whole[-1:]


def test_the_lines_of_all_vms_begin_with_their_vm(fleet_command: Command, running_fleet: str):
    one = fleet_command("logs", running_fleet, 1, "--tail", 1).stdout
    every = fleet_command("logs", running_fleet, "--all", "--tail", 1).stdout.splitlines()
    assert ([line[:3] for line in every], f"{every[1]}\n") == (["0: ", "1: "], f"1: {one}")
    documents = fleet_command("logs", running_fleet, "--all", "--tail", 1, "--json").stdout
    assert [json.loads(line)["machine"] for line in documents.splitlines()] == [0, 1]


@pytest.mark.parametrize("argv", [(), ("0", "--all")])
def test_logs_are_of_one_vm_or_of_all(
    fleet_command: Command, running_fleet: str, argv: tuple[str, ...]
):
    done = fleet_command("logs", running_fleet, *argv)
    assert (done.exit_code, "--all" in done.stderr) == (2, True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("batch", "restart"),
    [(FOLLOWED, False), pytest.param(FOLLOWED + 1, True, marks=pytest.mark.long)],
)
def test_logs_are_followed_to_the_end_of_the_fleet_through_a_restart(
    fleet_command: Command, api: Api, stack: Stack, number: int, batch: int, restart: bool
):
    fleet = api.start(experiment_id=number, n_instances=1, batch_id=batch)
    api.wait(fleet, "run")
    argv = ("logs", fleet, "--all", "--follow", "--interval", "0.2")
    following = process(fleet_command, *argv)
    assert following.stdout is not None
    first = following.stdout.readline()
    if restart:
        stack.kill_host()
        stack.start_host()
    console = fleet_command("logs", fleet, 0).stdout.splitlines()
    lines = [first, *(following.stdout.readline() for _ in console[1:])]
    api.end(fleet)
    rest, _ = following.communicate(timeout=60)
    assert [line.rstrip() for line in lines] == [f"0: {line}".rstrip() for line in console]
    assert (following.returncode, rest) == (0, "")


def test_the_trials_of_a_fleet_are_listed(fleet_command: Command, running_fleet: str):
    done = fleet_command("trials", running_fleet, "--state", "ready", "--limit", 3)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 4)
    assert "Showing 3; there are more" in done.stderr
    assert (
        fleet_command("trials", running_fleet, "--state", "failed").stdout == "No failed trials.\n"
    )
    shown = fleet_command.json("trials", running_fleet)
    assert (shown["id"], len(shown["trials"])) == (running_fleet, 20)


def test_a_running_fleet_is_not_retried(fleet_command: Command, running_fleet: str):
    done = fleet_command("retry", running_fleet)
    assert (done.exit_code, done.stdout, "has not ended" in done.stderr) == (3, "", True)


def test_a_clone_is_planned_shown_and_submitted(
    fleet_command: Command, api: Api, running_fleet: str
):
    argv = ("clone", running_fleet, "--vms", 1, "--tag", "team=ml")
    tried = fleet_command(*argv, "--dry-run")
    assert (tried.exit_code, "This fleet can start." in tried.stdout) == (0, True)
    done = fleet_command(*argv)
    fleet = done.stdout.strip()
    api.end(fleet)
    shown = [line.strip() for line in done.stderr.splitlines()]
    for line in ("n_instances: 2 -> 1", f"vm_size: {SIZE}", 'tags: (none) -> {"team": "ml"}'):
        assert line in shown
    assert (done.exit_code, "This fleet can start." in shown, fleet != running_fleet) == (
        0,
        True,
        True,
    )


def test_a_fleet_is_cloned_from_its_exported_results(
    fleet_command: Command, api: Api, stack: Stack, running_fleet: str, tmp_path: Path
):
    """Any of the formats has the same request, and no secret of the app."""
    old = api.get(f"{running_fleet}/request").json()
    for name in ("r.csv", "r.parquet", "r.json"):
        file = tmp_path / name
        argv = ("results", running_fleet, "--output", file)
        exported = fleet_command(*argv, POWERLIFT_DB_URI=stack.db_uri)
        assert (exported.exit_code, "of 20 trials" in exported.stderr) == (0, True), exported.output
        tried = fleet_command("clone", "--from", file, "--dry-run")
        assert (tried.exit_code, f"vm_size: {SIZE}" in tried.stderr) == (0, True), tried.output
    done = fleet_command("clone", "--from", tmp_path / "r.json", running_fleet)
    new = api.get(f"{done.stdout.strip()}/request").json()
    api.end(done.stdout.strip())
    assert (new["request"], new["id"] == old["id"]) == (old["request"], False)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    password = stack.db_uri.partition("@")[0].rpartition("/")[2]  # with the user
    assert [one for one in (password, stack.key) if one.encode() in written] == []


@pytest.mark.parametrize("argv", [("results", "latest"), ("clone",)])
def test_what_an_export_and_a_clone_need_is_named(fleet_command: Command, argv: tuple[str, ...]):
    done = fleet_command(*argv)
    needed = {"results": "POWERLIFT_DB_URI", "clone": "--from"}[argv[0]]
    assert (done.exit_code, needed in done.stderr) == (2, True)


def test_a_clone_whose_plan_has_faults_is_not_submitted(fleet_command: Command, running_fleet: str):
    done = fleet_command("clone", running_fleet, "--experiment", 2**31 - 1)
    assert (done.exit_code, "This fleet cannot start." in done.stdout) == (1, True)


@pytest.mark.long
def test_a_clone_needs_the_secrets_of_the_request(
    fleet_command: Command, api: Api, stack: Stack, tmp_path: Path
):
    fleet = api.start(experiment_id=2**31 - 1, n_instances=1, uri=stack.db_uri)
    missing = fleet_command("clone", fleet, "--dry-run")
    given = fleet_command(
        "clone", fleet, "--dry-run", "--uri-from-env", POWERLIFT_DB_URI=stack.db_uri
    )
    without = private(tmp_path / "request.json", '{"uri": null}')
    removed = fleet_command("clone", fleet, "--dry-run", "--file", without)
    assert (missing.exit_code, "--uri-from-env" in missing.stderr) == (2, True)
    assert (given.exit_code, "uri: (none) -> ***" in given.stderr) == (1, True)
    assert (removed.exit_code, stack.db_uri in given.output) == (1, False)
