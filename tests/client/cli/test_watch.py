"""`status --watch`: lines in a pipe, and screens of any size."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from powerlift_fleet.api.errors import AppUnavailable, FleetError, FleetUnreachable
from powerlift_fleet.api.flows import unreachable
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.api.responses import FleetStatus, Progress
from powerlift_fleet.api.settings.sources import Options
from powerlift_fleet.cli.fleet_screen import live_screen
from powerlift_fleet.cli.session import Session
from powerlift_fleet.cli.snapshot import Snapshot
from powerlift_fleet.cli.watch import RESTART_TIMEOUT, _Lines, _next
from rich.console import Console

from tests.client.cli import served
from tests.client.cli.conftest import Command, environment


def test_a_watch_in_a_pipe_prints_the_reason_once(friendly: Command):
    lines = friendly("status", "fleet-9", "--watch").stdout.splitlines()
    assert sum("AllocationFailed: " in line for line in lines) == 1


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


class Downed:
    """A client whose app does not respond."""

    url = "http://a/api"

    def __init__(self, error: FleetError) -> None:
        self.error = error

    def status(self, fleet: str) -> FleetStatus:
        raise self.error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            unreachable("http://a/api", "Connection refused", "1 attempt in 0 s"),
            "Connection refused",
        ),
        (AppUnavailable(503, "Service Unavailable", ""), "Service Unavailable (503)"),
    ],
)
def test_a_watch_that_retries_does_not_say_that_it_gave_up(
    error: FleetError, why: str, capsys: pytest.CaptureFixture[str]
):
    client, first = Downed(error), Snapshot(read(FleetStatus, FLEET))
    outage = _next(client, "fleet-7", first, 0)
    _Lines(Session(Options(), 0, False)).show(outage)
    said = capsys.readouterr().err.partition("  ")[2]
    assert said == f"The app does not respond; retrying: {why}\n"


def test_a_watch_that_gives_up_says_after_how_long():
    client = Downed(unreachable("http://a/api", "Connection refused", "1 attempt in 0 s"))
    since = time.monotonic() - RESTART_TIMEOUT
    last = Snapshot(read(FleetStatus, FLEET), unreachable_since=since)
    said = r"^http://a/api does not respond: Connection refused\. Gave up after 10 min\. Check"
    with pytest.raises(FleetUnreachable, match=said):
        _next(client, "fleet-7", last, 0)


CODES = [f"Code{number:02}" for number in range(12)]
PLACES = [f"{region}/{zone} Standard_D2s_v5" for region in ("eastus", "westus") for zone in "123"]


def crowded(**changes: object) -> Snapshot:
    """A fleet with more to say than most screens hold."""
    usual = served.fleet()
    failures = [
        {**usual["failures"][0], "code": code, "count": at + 3} for at, code in enumerate(CODES)
    ]
    status = {
        **usual,
        "failures": failures,
        "placements": [{**usual["placements"][0], "placement": place} for place in PLACES],
        "warnings": ["The quota is used by other fleets."] * 4,
        **changes,
    }
    errors = [{"message": f"ValueError: input {number}", "count": 12} for number in range(5)]
    return Snapshot(read(FleetStatus, status), read(Progress, served.progress(errors=errors)))


def screen(snapshot: Snapshot, columns: int, lines: int) -> list[str]:
    """What a terminal of this size shows, without trailing blanks."""
    out = Console(
        width=columns, height=lines, file=StringIO(), force_terminal=True, color_system=None
    )
    out.print(live_screen(snapshot, out))
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


SIZES = [(80, 24), (40, 15), (200, 60), (80, 12), (30, 6), (20, 3)]


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_watch_fits_its_window(columns: int, lines: int):
    shown = screen(crowded(), columns, lines)
    assert (len(shown) <= lines, max(map(len, shown)) <= columns) == (True, True)
    assert shown[0].startswith("fleet-7")


@pytest.mark.parametrize(
    ("columns", "lines", "words", "absent"),
    [
        (
            80,
            24,
            ["8 of 10", "$3.42 so far", "3 x Code00: Allocation failed.", "more failure",
             "12 trials: ValueError: input 0", "… 4 plan warnings, 6 placements",
             "Ctrl-C stops watching. In full: powerlift-fleet status fleet-7"],
            ["Enlarge", "Placements"],
        ),
        (
            40,
            15,
            ["8 of 10", "420 of 1,000", "$3.42 so far", "3 x Code00: Alloc", "more failures",
             "12 trials: ValueError: input 0", "In full: powerlift-fleet status fleet-7"],
            ["Enlarge", "provisioned"],
        ),
        (
            200,
            60,
            ["8 running, 2 missing", "14 x Code11", "Action taken: tried the next zone.",
             "input 4", "The quota is used by other fleets.", "westus/3 Standard_D2s_v5"],
            ["Enlarge", "… "],
        ),
    ],
)  # fmt: skip
def test_a_small_window_shows_what_matters_and_counts_the_rest(
    columns: int, lines: int, words: list[str], absent: list[str]
):
    text = "\n".join(screen(crowded(), columns, lines))
    assert [word for word in words if word not in text] == []
    assert [word for word in absent if word in text] == []


def test_all_lines_are_accounted_for():
    """Each failure is either shown or counted."""
    text = "\n".join(screen(crowded(missing={}), 80, 24))
    counted = re.search(r"… (\d+) more failures?", text)
    assert counted
    assert text.count(" x Code") + int(counted[1]) == len(CODES)


def test_a_page_that_fits_is_shown_in_full():
    shown = screen(crowded(failures=[], missing={}, placements=[], warnings=[]), 80, 24)
    assert shown[-1] == "Ctrl-C stops watching; the fleet keeps running."
