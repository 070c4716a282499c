"""The examples of `--help` and docs/cli.md work as printed, and the documentation is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from powerlift_fleet import ApiError, BatchTaken, FleetAmbiguous, FleetPurged
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.main import cli

from fleet.model.requirements_lock import TOOLS
from local.stack import Stack
from tests.client.cli.conftest import Command
from tests.harness import Api, experiment, sql

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs" / "cli.md").read_text()
BATCH = 7100


def examples(*command: str) -> list[str]:
    """The lines below `Example:` in a command's help."""
    shown = CliRunner().invoke(cli, [*command, "--help"], terminal_width=200).output
    below = shown.partition("Example:\n")[2].partition("\n\n")[0]
    return [line.strip() for line in below.splitlines()]


@pytest.fixture(scope="module")
def running_fleet(stack: Stack, api: Api) -> Iterator[tuple[str, int]]:
    """A running fleet, which replaces fleet-7 in the examples, and its experiment, which replaces 1."""
    number = experiment(stack)
    lock = "".join(f"{tool}==1\n" for tool in TOOLS)
    document = {"experiment_id": number, "n_instances": 1, "requirements_lock": lock}
    fleet = api.start(**document, batch_id=BATCH)
    api.wait(fleet, "run")
    yield fleet, number
    api.wait(fleet, "cancelled")


def run(command: Command, line: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, with the command on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {name: value for name, value in command.env.items() if value is not None}
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **settings, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )


def with_test_ids(line: str, fleet: str, number: int) -> str:
    return line.replace("fleet-7", fleet).replace("--experiment 1", f"--experiment {number}")


@pytest.mark.parametrize(
    "name", [*sorted(set(cli.commands) - {"cancel", "retry", "login", "logout"}), "cancel"]
)
def test_the_example_of_a_command_works_as_printed(
    fleet_command: Command,
    api: Api,
    running_fleet: tuple[str, int],
    stack: Stack,
    tmp_path: Path,
    name: str,
):
    if name in ("results", "clone"):
        fleet_command = Command({**fleet_command.env, "POWERLIFT_DB_URI": stack.db_uri})
    lines = [line for line in examples(name) if not re.search("--(watch|follow)", line)]
    for line in lines:
        done = run(fleet_command, with_test_ids(line, *running_fleet), tmp_path)
        assert (done.returncode, bool(done.stdout + done.stderr)) == (0, True), done.stderr
        if "submit" in line or ("clone" in line and "--dry-run" not in line):
            api.end(done.stdout.strip())
    assert lines


def test_the_example_of_a_watch_works_as_printed(
    fleet_command: Command, api: Api, running_fleet: tuple[str, int]
):
    api.end(running_fleet[0])
    [line] = [line for line in examples("status") if "--watch" in line]
    assert (
        run(fleet_command, with_test_ids(line, *running_fleet)).returncode == exit_codes.CANCELLED
    )


def test_the_example_of_a_retry_works_as_printed(
    fleet_command: Command, api: Api, stack: Stack, running_fleet: tuple[str, int]
):
    fleet, number = running_fleet
    api.end(fleet)
    failed = "UPDATE trial SET start_time = now(), end_time = now(), errmsg = ''"
    sql(stack, f"{failed} WHERE experiment_id = %s", number)
    line, waiting = examples("retry")
    assert waiting == f"{line} --wait"
    done = run(fleet_command, with_test_ids(line, *running_fleet))
    assert (done.returncode, done.stdout.startswith("fleet-")) == (0, True), done.stderr
    api.end(done.stdout.strip())


def test_examples_of_the_group_are_examples_of_its_commands():
    every = {line for name in cli.commands for line in examples(name)}
    assert (set(examples()) - every, bool(examples())) == (set(), True)


def completion_setup(shell: str) -> str:
    """The line that the documentation adds to a shell's startup file."""
    line = next(line for line in DOCS.splitlines() if f"completion {shell}" in line)
    return line.partition("#")[0].strip()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_contains_the_completion_setup_of_each_shell(bare: Command, shell: str):
    done = bare("completion", shell)
    reported = completion_setup(shell) in bare("completion", "--help").stdout
    assert ("_POWERLIFT_FLEET_COMPLETE" in done.stdout, reported) == (True, True)


def test_bash_accepts_the_completion_setup(fleet_command: Command):
    done = run(fleet_command, f"{completion_setup('bash')} && complete -p powerlift-fleet")
    assert ("powerlift-fleet" in done.stdout, done.stderr) == (True, "")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_documentation_names_every_command(name: str):
    assert f"`{name}" in DOCS


def test_the_documentation_has_the_table_of_exit_codes():
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS, re.MULTILINE))
    assert rows == {str(code): meaning for code, meaning in exit_codes.MEANINGS.items()}


@pytest.mark.parametrize(
    ("error", "code"),
    [(FleetAmbiguous(409, "", ""), 4), (FleetPurged(410, "", ""), 4), (BatchTaken(409, "", ""), 3)],
)
def test_each_error_about_a_fleet_has_its_exit_code(error: ApiError, code: int):
    assert exit_codes.of_error(error) == code


def test_the_help_has_the_table_of_exit_codes(bare: Command):
    shown = bare("--help").stdout
    assert [meaning for meaning in exit_codes.MEANINGS.values() if meaning not in shown] == []


def test_help_imports_no_heavy_modules():
    code = (
        "import sys; from powerlift_fleet.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "finally: print([one for one in ('httpx', 'rich', 'asyncio') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
