"""The list of fleets, completion, and fleets that are found by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.cli import served
from tests.client.cli.conftest import Command, environment


def test_the_list_shows_failed_trials(friendly: Command):
    head, row = (line.split("  ") for line in friendly("list").stdout.splitlines()[:2])
    cells = [[cell.strip() for cell in line if cell.strip()] for line in (head, row)]
    assert cells[1][cells[0].index("failed")] == "3"


ENDED = {"phase": "done", "cost": 3.417, "name": "nightly", "number": 6}
STARTED = {"phase": "plan", "machines": None, "trials": None, "experiment_name": None, "number": 8}


@pytest.fixture(scope="module")
def listed(home: Path) -> Iterator[Command]:
    """Three pages of one fleet each, requested with a limit of two or more."""
    begin = "GET /fleets?status=active&sort=newest&limit="
    pages = {
        "GET /fleets": {"fleets": [served.entry(**STARTED), served.entry(**ENDED)], "next": None},
        f"{begin}2": {"fleets": [served.entry(**STARTED), served.entry()], "next": "x"},
    }
    with served.served(pages) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


def test_the_list_shows_number_name_experiment_submitter_and_cost(listed: Command):
    rows = [line.split("  ") for line in listed("list").stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    who = "key-0123456789ab"
    assert cells == [
        [
            "fleet",
            "name",
            "experiment",
            "by",
            "phase",
            "VMs",
            "trials",
            "failed",
            "cost",
            "created",
        ],
        ["fleet-8", "12", who, "plan", "4 d ago"],
        [
            "fleet-6",
            "nightly",
            "12 my-benchmark",
            who,
            "done",
            "8/10",
            "420/1000",
            "3",
            "$3.42",
            "4 d ago",
        ],
    ]


def test_a_narrow_list_shows_the_same_fields(listed: Command):
    lines = listed("list", COLUMNS="60").stdout.splitlines()
    assert lines == [
        "fleet-8  plan",
        "  experiment 12, by key-0123456789ab",
        "  4 d ago",
        "fleet-6  nightly  done",
        "  experiment 12 my-benchmark, by key-0123456789ab",
        "  8/10 VMs, 420/1000 trials, 3 failed, $3.42, 4 d ago",
    ]


def test_a_truncated_list_reports_that_there_are_more_fleets(listed: Command):
    done = listed("list", "--status", "active", "--limit", 1, "--json")
    assert [one["number"] for one in json.loads(done.stdout)["fleets"]] == [8]
    assert "Showing 1; more fleets match" in done.stderr


def complete(command: Command, typed: str) -> list[str]:
    """The shell's completions of a fleet."""
    env = {"COMP_WORDS": f"powerlift-fleet status {typed}", "COMP_CWORD": "2"}
    done = command(_CLI_COMPLETE="bash_complete", **env)  # the runner calls the program cli
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["latest", "fleet-8", "fleet-6", "nightly"]),
        ("fl", ["fleet-8", "fleet-6"]),
        ("ni", ["nightly"]),
        ("6", ["6"]),
        ("x", []),
    ],
)
def test_numbers_names_and_latest_are_completed(listed: Command, typed: str, offered: list[str]):
    assert complete(listed, typed) == offered


def test_an_unreachable_app_completes_nothing(bare: Command):
    assert complete(bare, "") == []


NAMED = served.fleet(id="fleet-9007", number=3, name="nightly")
PAGES = {
    "GET /fleets/latest": NAMED,
    "GET /fleets/fleet-9007": {**NAMED, "phase": "done"},
    "GET /fleets/fleet-9007/machines": served.machines(),
    "GET /fleets/fleet-9007/machines/0/log": "# it ended\n",
    "DELETE /fleets/fleet-9007": {"id": "fleet-9007", "links": NAMED["links"]},
}


@pytest.fixture(scope="module")
def named(home: Path) -> Iterator[Command]:
    with served.served(PAGES) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


def test_status_begins_with_the_short_id_and_the_name(named: Command):
    lines = named("status", "latest").stdout.splitlines()
    assert lines[0].startswith("fleet-3 (nightly)  run")
    assert lines[1].split() == ["ID", "fleet-9007"]


@pytest.mark.parametrize("argv", [("machines",), ("logs", "0"), ("status", "--watch")])
def test_a_command_prints_the_fleet_that_it_resolved(named: Command, argv: tuple[str, ...]):
    command, *rest = argv
    assert "fleet-3 (nightly)\n" in named(command, "latest", *rest, "--json").stderr


def test_a_watch_of_latest_keeps_watching_the_same_fleet(named: Command):
    done = named("status", "latest", "--watch", "--interval", "0.3", "--json")
    assert [json.loads(line)["phase"] for line in done.stdout.splitlines()] == ["run", "done"]


def test_cancel_prints_the_fleet_that_it_resolved(named: Command):
    refused, done = named("cancel", "latest"), named("cancel", "fleet-9007", "--yes")
    assert "cancel fleet-3 (nightly) without" in refused.stderr
    assert done.stderr.startswith("fleet-3 (nightly) has already ended (done); ")
