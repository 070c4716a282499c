"""The screens of a fleet with failures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.api.responses import FleetStatus, Progress
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import now

from tests.client.cli import served
from tests.client.cli.conftest import Command, environment


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


def test_a_clone_names_the_fleet_by_its_short_id_and_name(friendly: Command):
    done = friendly("clone", "fleet-7", "--vms", 4)
    assert "Accepted, like fleet-7 (nightly)." in done.stderr
    assert "1234567890123456" not in done.output


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
