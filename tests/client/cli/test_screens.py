"""The screens of a fleet with failures, and with hostile text from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.api.responses import FleetStatus, Progress
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import now

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


TAKEN = {
    "id": "fleet-9",
    "number": 9,
    "batch_id": 9,
    "links": dict.fromkeys(("self", "machines", "progress", "view", "cancel"), "http://x"),
}


def answers(text: str) -> dict[str, object]:
    fleet = served.fleet(text)
    reason = {**fleet["failures"][0], "code": f"TooFewMachines{text}"}
    return {
        "GET /fleets/fleet-7": fleet,
        "GET /fleets/fleet-7/progress": served.progress(text),
        "GET /fleets/fleet-7/machines": served.machines(text),
        "GET /fleets/fleet-7/machines/0/log": f"# it ended{text}\nlast line\n",
        "GET /fleets": {
            "fleets": [served.entry(text, name=f"n{text}", phase=f"run{text}")],
            "next": None,
        },
        "POST /plan": served.plan(text),
        "GET /fleets/fleet-7/trials": served.trials(text),
        "GET /fleets/fleet-7/trials?traceback=true&limit=500": served.trials(text, True),
        "GET /fleets/fleet-7/request": {
            "id": f"fleet-7{text}",
            "request": {"n_instances": 10, "experiment_id": 12, "tags": {"team": f"ml{text}"}},
            "secrets": [],
        },
        "POST /fleets/fleet-7/retry": {**TAKEN, "trials": 3},
        "POST /fleets": TAKEN,
        "DELETE /fleets/fleet-8": {"id": "fleet-8", "links": fleet["links"]},
        "GET /fleets/fleet-8": {**fleet, "id": "fleet-8", "phase": "failed", "reason": reason},
        "GET /fleets/fleet-9": {
            **fleet,
            "id": "fleet-9",
            "phase": "failed",
            "reason": fleet["failures"][0],
        },
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def friendly(home: Path) -> Iterator[Command]:
    with served.served(answers("")) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


@pytest.fixture(scope="module")
def hostile(home: Path) -> Iterator[Command]:
    with served.served(answers(HOSTILE)) as url:
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


def test_status_shows_rate_cost_and_expected_end(friendly: Command):
    text = friendly("status", "fleet-7").stdout
    for words in (
        "my-benchmark",
        "420 of 1,000",
        "8 running, 2 missing, 3 failed, 1 refused",
        "417 complete, 3 failed, 8 running, 572 ready",
        "560 trials per hour; expected to finish at",
        "in 1 d 2 h",
        "$3.42 so far, $1.20 per hour, about $7.10 in total, $0.0081 per trial, "
        "$11.25 saved by Spot, at most $20.00",
    ):
        assert words in text


def test_a_failure_shows_the_action_taken_and_advice(friendly: Command):
    text = friendly("status", "fleet-7").stdout
    below = [line.strip() for line in text.partition("3 x AllocationFailed\n")[2].splitlines()]
    assert below[1:3] == [
        "Action taken: tried the next zone.",
        "What you can do: Try later, or list more zones or fallbacks.",
    ]
    assert "2 VMs missing: AllocationFailed" in text


def test_a_vm_shows_its_trials_outcome_and_the_vm_it_replaces(friendly: Command):
    rows = [line.split("  ") for line in friendly("machines", "fleet-7").stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows[1:]]
    spot = "eastus/1 Standard_D2s_v5 Spot"
    evicted = "SpotEvicted: Azure took it. (gave up)"
    assert cells == [
        ["0", "running", "3 d ago", "53", "2", spot],
        ["1", "failed", "2 d ago", "53", "2", spot, evicted],
        ["2 (replaces 1)", "deleted", "1 d ago", "53", "2", spot, "all trials done"],
        ["3", "refused", spot, evicted],
    ]


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


def test_a_watch_in_a_pipe_prints_the_reason_once(friendly: Command):
    lines = friendly("status", "fleet-9", "--watch").stdout.splitlines()
    assert sum("AllocationFailed: " in line for line in lines) == 1


def test_plan_shows_what_the_fleet_would_cost(friendly: Command):
    text = " ".join(friendly("plan", "--experiment", 12, "--vms", 10).stdout.split())
    assert "$0.196 per hour, about $0.0242 in 7 min (a guess), at most $4.71" in text


def test_an_unknown_cost_is_said_to_be_unknown_and_a_smaller_size_is_named():
    today = now()
    status = SimpleNamespace(
        is_terminal=False, created_at=today, provisioned_at=None, deadline=None
    )
    sizing = {
        "vm_size": "s",
        "vms": 1,
        "trials": 9,
        "message": "Half\x1b the memory would have done.",
    }
    progress = read(Progress, served.progress(cost=None, right_sizing=sizing))
    shown = dict(describe.facts(status, progress, today))  # type: ignore[arg-type]
    assert (shown["cost"], describe.plan_cost(None)) == (
        "unknown: no price is known (12.50 VM hours)",
        "unknown: no price is known",
    )
    assert shown["VM size"] == "Half\\x1b the memory would have done."


def test_plan_checks_are_sorted_by_severity(friendly: Command):
    lines = friendly("plan", "--experiment", 12, "--vms", 10, "--all").stdout.splitlines()
    found = [line.split()[0] for line in lines if line.startswith(("ok", "unknown", "warning"))]
    assert found == ["warning", "unknown", "ok"]


def test_an_ordinary_plan_fits_a_terminal(home: Path):
    """Many checks pass; two warn in long sentences."""
    plan, long = served.plan(), "The quota of the family is used by the VMs of other fleets. " * 3
    passed = [{**plan["checks"][0], "name": f"check{number}"} for number in range(22)]
    warned = [
        {"name": name, "status": "warning", "detail": long, "advice": long}
        for name in ("burstable", "powerlift")
    ]
    with served.served({"POST /plan": {**plan, "checks": [*passed, *warned]}}) as url:
        command = Command(environment(home, FLEET_URL=url, FLEET_KEY="k", COLUMNS="80"))
        argv = ("plan", "--experiment", 12, "--vms", 10)
        short, full = command(*argv).stdout.splitlines(), command(*argv, "--all").stdout
    assert (len(short) < 24, short[-1]) == (True, "22 checks passed; --all lists each.")
    assert [f"check{number}" in full for number in range(22)] == [True] * 22


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], None),
        ([("AMD EPYC 7763", 3, 40)], None),
        (
            [("AMD EPYC 7763", 3, 40), ("AMD EPYC 9V74", 1, 1)],
            "mixed: AMD EPYC 7763 (3 VMs, 40 trials), AMD EPYC 9V74 (1 VM, 1 trial). Times of trials "
            "are not comparable; see cpu_models.",
        ),
    ],
)
def test_results_that_mix_processors_are_marked(
    kinds: list[tuple[str, int, int]], expected: str | None
):
    models = [dict(zip(("model", "machines", "trials"), kind, strict=True)) for kind in kinds]
    progress = read(Progress, served.progress(cpu_models=models))
    shown = dict(describe.facts(read(FleetStatus, served.fleet()), progress, now()))
    assert shown.get("processors") == expected


def test_status_shows_trial_errors(friendly: Command):
    assert "12 trials: ValueError: Input X contains NaN." in friendly("status", "fleet-7").output


def test_trials_are_a_line_each_in_a_pipe(friendly: Command):
    rows = [line.split("  ") for line in friendly("trials", "fleet-7").stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells == [
        ["trial", "state", "method", "task", "VM", "time", "used", "processor", "measures", "error"],
        ["1", "failed", "tree", "adult", "3", "3.2 s", "ValueError: no"],
        ["2", "complete", "tree", "adult", "3", "5 min", "CPU 11.9 s, 512 MiB, 0.3 s stolen",
         "Intel Xeon Platinum 8370C", "score 0.8765, seconds 12, 1 more"],
        ["5", "complete", "tree", "adult", "powerlift-vm-8-0001", "2.0 s", "AMD EPYC 7763"],
        ["3", "running", "tree", "adult", "3", "30 min so far"],
        ["4", "ready", "tree", "adult"],
    ]  # fmt: skip


def test_trials_on_several_processors_are_marked(friendly: Command):
    assert "different processors" in friendly("trials", "fleet-7").stderr
    assert "different processors" not in friendly("trials", "fleet-7", "--limit", 2).stderr


def test_a_narrow_list_of_trials_shows_the_same_fields(friendly: Command):
    lines = friendly("trials", "fleet-7", COLUMNS="70").stdout.splitlines()
    assert lines[:5] == [
        "trial 1  failed  tree  adult  VM 3  3.2 s",
        "  ValueError: no",
        "trial 2  complete  tree  adult  VM 3  5 min",
        "  CPU 11.9 s, 512 MiB, 0.3 s stolen, Intel Xeon Platinum 8370C",
        "  score 0.8765, seconds 12, 1 more",
    ]


def test_tracebacks_are_below_their_trial(friendly: Command):
    lines = friendly("trials", "fleet-7", "--traceback").stdout.splitlines()
    assert lines[1:4] == ["  Traceback:", "    File x", "  ValueError: no"]


def test_a_repeated_retry_prints_the_same_fleet_and_how_to_retry_that(friendly: Command):
    done = friendly("retry", "fleet-7")
    advice = "To run again what failed since: powerlift-fleet retry fleet-9"
    assert (done.exit_code, done.stdout, advice in done.stderr) == (0, "fleet-9\n", True)


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


FLEET = served.fleet(stale_seconds=None)
SILENT = [{**FLEET, "stale_seconds": seconds} for seconds in (80, 85, 140)]


@pytest.fixture
def without_updates(home: Path) -> Iterator[Command]:
    """A fleet without updates in three polls; it is done in the fourth."""
    with served.served({"GET /fleets/fleet-7": [*SILENT, {**FLEET, "phase": "done"}]}) as url:
        yield Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))


def test_status_reports_missing_updates(without_updates: Command):
    assert (
        "No update for 80 s; the host may be restarting."
        in without_updates("status", "fleet-7").stdout
    )


def test_a_watch_in_a_pipe_reports_missing_updates_once(without_updates: Command):
    lines = without_updates("status", "fleet-7", "--watch", "--interval", "0.3").stdout.splitlines()
    reported = [line.partition("  ")[2] for line in lines if "No update" in line]
    assert reported == ["No update for 80 s; the host may be restarting."]


def test_a_json_watch_has_one_line_for_missing_updates(without_updates: Command):
    done = without_updates("status", "fleet-7", "--watch", "--interval", "0.3", "--json")
    reported = [json.loads(line)["stale_seconds"] for line in done.stdout.splitlines()]
    assert reported == [80, None]


def test_cancelling_an_ended_fleet_says_so(friendly: Command):
    said = friendly("cancel", "fleet-8", "--yes").stderr
    assert said == (
        "fleet-8 has already ended (failed); resources that remain, if any, are being deleted.\n"
    )


def test_connection_options_may_stand_before_the_command(friendly: Command):
    wrong = friendly("--url", "http://127.0.0.1:9", "--retry-timeout=0", "--json", "list")
    assert (wrong.exit_code, json.loads(wrong.stdout)["title"]) == (6, "FleetUnreachable")
    assert json.loads(friendly("--json", "list").stdout)["fleets"]


def test_the_reason_is_said_once(friendly: Command):
    shown = friendly("status", "fleet-9").stdout
    assert shown.count("sufficient capacity") == 1


def test_a_vm_or_fleet_that_does_not_exist_is_no_fault_of_a_setting(friendly: Command):
    said = friendly("status", "fleet-404").stderr
    assert ("None (404)" in said, "FLEET_URL" in said) == (True, False)


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        ("succeeded", "done"),
        ("some_trials_failed", "done, some trials failed"),
        ("all_trials_failed", "done, all trials failed"),
    ],
)
def test_the_title_of_an_ended_fleet_tells_outcomes_apart(outcome: str, title: str):
    ended = read(FleetStatus, served.fleet(phase="done", outcome=outcome))
    assert describe.phase(ended) == title


@pytest.mark.parametrize(
    ("running", "complete", "said"),
    [
        (3, 0, "VMs are running trials"),
        (0, 0, "VMs are installing packages"),
        (0, 5, "VMs are installing packages or running trials"),
    ],
)
def test_the_phase_run_is_described_by_what_is_known(running: int, complete: int, said: str):
    trials = {"total": 9, "ready": 1, "running": running, "complete": complete, "error": 0}
    assert describe.activity(read(FleetStatus, served.fleet(trials=trials))) == said
