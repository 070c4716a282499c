"""What `--help` and docs/cli.md print works as printed, and the documentation names what there is."""

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

from local.stack import Stack
from tests.client.cli.conftest import Command
from tests.harness import Api, experiment

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs" / "cli.md").read_text()
BATCH = 7100


def examples(*command: str) -> list[str]:
    """The lines of a command's help that are below `Example:`."""
    shown = CliRunner().invoke(cli, [*command, "--help"], terminal_width=200).output
    below = shown.partition("Example:\n")[2].partition("\n\n")[0]
    return [line.strip() for line in below.splitlines()]


@pytest.fixture(scope="module")
def watched(stack: Stack, api: Api) -> Iterator[tuple[str, int]]:
    """A fleet that runs, to stand for fleet-7, and its experiment, to stand for 1."""
    number = experiment(stack)
    fleet = api.start(experiment_id=number, n_instances=1, batch_id=BATCH)
    api.wait(fleet, "run")
    yield fleet, number
    api.wait(fleet, "cancelled")


def run(command: Command, line: str) -> subprocess.CompletedProcess[str]:
    """A line in bash, with the command on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {name: value for name, value in command.env.items() if value is not None}
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **settings, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def as_here(line: str, fleet: str, number: int) -> str:
    return line.replace("fleet-7", fleet).replace("--experiment 1", f"--experiment {number}")


@pytest.mark.parametrize("name", [*sorted(set(cli.commands) - {"cancel"}), "cancel"])
def test_the_example_of_a_command_works_as_printed(
    fleet_command: Command, api: Api, watched: tuple[str, int], name: str
):
    lines = [line for line in examples(name) if "--watch" not in line]
    for line in lines:
        done = run(fleet_command, as_here(line, *watched))
        assert (done.returncode, bool(done.stdout + done.stderr)) == (0, True), done.stderr
        if "submit" in line:
            api.end(done.stdout.strip())
    assert lines


def test_the_example_of_a_watch_works_as_printed(
    fleet_command: Command, api: Api, watched: tuple[str, int]
):
    api.end(watched[0])
    [line] = [line for line in examples("status") if "--watch" in line]
    assert run(fleet_command, as_here(line, *watched)).returncode == exit_codes.CANCELLED


def test_the_groups_examples_are_those_of_commands():
    every = {line for name in cli.commands for line in examples(name)}
    assert (set(examples()) - every, bool(examples())) == (set(), True)


def line_for(shell: str) -> str:
    """What the documentation says is to be put into a shell's start file."""
    line = next(line for line in DOCS.splitlines() if f"completion {shell}" in line)
    return line.partition("#")[0].strip()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_line_for_each_shell_is_in_the_help(bare: Command, shell: str):
    done = bare("completion", shell)
    told = line_for(shell) in bare("completion", "--help").stdout
    assert ("_POWERLIFT_FLEET_COMPLETE" in done.stdout, told) == (True, True)


def test_bash_takes_the_line_for_it(fleet_command: Command):
    done = run(fleet_command, f"{line_for('bash')} && complete -p powerlift-fleet")
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
def test_a_fleet_that_cannot_be_used_has_its_exit_code(error: ApiError, code: int):
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
