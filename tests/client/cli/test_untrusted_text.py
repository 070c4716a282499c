"""Text from outside cannot control the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.cli import served
from tests.client.cli.conftest import Command, environment
from tests.client.cli.terminal import Terminal

HOSTILE = (
    " \x1b[31mred\x1b[0m \x1b]0;owned\x07 \x9b2J [bold red]x[/] :bomb: \u202egnp \r\n" + "A" * 4096
)
SHOWN = ("\\x1b[31mred", "[bold red]x[/]", "\\u202egnp", ":bomb:")


COMMANDS = [
    ("status", "fleet-7"),
    ("machines", "fleet-7"),
    ("list",),
    ("plan", "--experiment", "12", "--vms", "10"),
    ("logs", "fleet-7", "0"),
    ("status", "fleet-8", "--watch"),
    ("trials", "fleet-7"),
    ("trials", "fleet-7", "--traceback"),
    ("retry", "fleet-7"),
    ("clone", "fleet-7", "--vms", "4"),
]


@pytest.fixture(scope="module")
def hostile(home: Path) -> Iterator[Command]:
    with served.served(served.answers(HOSTILE)) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


def window(command: Command, argv: tuple[str, ...], columns: int) -> Terminal:
    settings = {name: value for name, value in command.env.items() if value is not None}
    return Terminal(
        "-m",
        "powerlift_fleet.cli",
        *argv,
        env={**os.environ, **settings},
        columns=columns,
        lines=200,
    )


def shown(command: Command, argv: tuple[str, ...], columns: int) -> tuple[str, bytes]:
    with window(command, argv, columns) as terminal:
        terminal.wait(30)
        return terminal.text, terminal.raw


@pytest.mark.parametrize(
    ("argv", "columns"),
    [(COMMANDS[0], 40), (COMMANDS[1], 80), (COMMANDS[4], 40), (COMMANDS[5], 80), (COMMANDS[7], 80)],
)
def test_untrusted_text_cannot_control_the_terminal(
    hostile: Command, argv: tuple[str, ...], columns: int
):
    text, raw = shown(hostile, argv, columns)
    reported = "\\x1b]0;owned" if argv[0] == "logs" else "\\x1b[31mred"
    obeyed = [sign for sign in (b"\x07", b"\x1b]", b"\xc2\x9b", "\u202e".encode()) if sign in raw]
    assert (reported in text, obeyed) == (True, [])


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_untrusted_text_is_escaped_in_a_pipe(hostile: Command, argv: tuple[str, ...]):
    done = hostile(*argv)
    unsafe = {each for each in done.output if not each.isprintable()} - {"\n"}
    assert (unsafe, done.exception is None or isinstance(done.exception, SystemExit)) == (
        set(),
        True,
    )


def test_markup_is_printed_literally(hostile: Command):
    text = hostile("status", "fleet-7").stdout
    assert [words for words in SHOWN if words not in text] == []


def test_json_is_the_apis_response_in_ascii(hostile: Command):
    done = hostile("machines", "fleet-7", "--json")
    reported = [machine["placement"]["location"] for machine in json.loads(done.stdout)["machines"]]
    assert (reported, done.stdout.isascii()) == ([f"eastus{HOSTILE}"] * 4, True)


def test_results_cannot_control_the_terminal(benchmark_database: Any, home: Path):
    number = benchmark_database.experiment("", trials=1)
    benchmark_database.sql(
        "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
        " SELECT id, %s, 0, 1, %s FROM trial WHERE experiment_id = %s",
        *(HOSTILE[:60], HOSTILE[:60], number),
    )
    request = {
        **served.answers("")["GET /fleets/fleet-7/request"],
        "request": {"experiment_id": number},
    }
    with served.served({"GET /fleets/fleet-7/request": request}) as url:
        settings = {
            "FLEET_URL": url,
            "FLEET_KEY": "k",
            "POWERLIFT_DB_URI": benchmark_database.store.uri,
        }
        text, raw = shown(Command(environment(home, **settings)), ("results", "fleet-7"), 200)
    obeyed = [one for one in (b"\x07", b"\x1b[31m", b"\x1b]", b"\xc2\x9b") if one in raw]
    assert ("owned" in text, obeyed) == (True, [])
