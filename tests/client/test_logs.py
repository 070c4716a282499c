"""Logs as they grow: each line once, in order, until the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest
from powerlift_fleet.api.log_flow import continuation

from tests.client.both import BOTH_CLIENTS, Make, busy, ok, problem, status

CONSOLE, STORED = "console", "stored"
NOT_YET = problem(404, "Log not found", "powerlift-vm-7-0000 has not booted yet.")

Log = tuple[str, str] | httpx.Response
"""Where a log is from and its whole text, or an error."""


class LogApp:
    """An app with the logs of VMs: an item for each time that the fleet's status was read, the last one
    repeatedly. The fleet ends with the last item of the longest log, unless it `goes_on`."""

    def __init__(
        self, logs: Mapping[int, Sequence[Log]], states: Mapping[int, str] | None = None,
        goes_on: bool = False,
    ) -> None:  # fmt: skip
        self.logs, self.states = logs, states or {}
        self.rounds = 10**6 if goes_on else max(map(len, logs.values())) - 1
        self.round = -1
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path.rpartition("/")[2])
        match request.url.path.split("/")[4:]:
            case []:
                self.round += 1
                return ok(**status("run" if self.round < self.rounds else "done"))
            case ["machines"]:
                return ok(id="fleet-7", machines=[self.machine(number) for number in self.logs])
            case ["machines", number, "log"]:
                found = self.logs.get(int(number), [NOT_YET])
                return self.part(found[min(self.round, len(found) - 1)], request.url.params)
        raise AssertionError(request.url)

    def machine(self, number: int) -> dict[str, Any]:
        return {
            "ordinal": number, "name": f"powerlift-vm-7-{number:04}", "runner_id": number,
            "placement": {"location": "eastus", "vm_size": "s", "priority": "Regular"},
            "state": self.states.get(number, "running"), "attempt": 1,
            "trials": {"running": 0, "complete": 0, "error": 0},
        }  # fmt: skip

    def part(self, log: Log, query: Mapping[str, str]) -> httpx.Response:
        if isinstance(log, httpx.Response):
            return httpx.Response(log.status_code, headers=log.headers, content=log.content)
        source, text = log
        complete = len(text) if source == STORED else text.rfind("\n") + 1
        headers = {"Log-Next": f"{source}-{complete}"}
        if "after" not in query:
            return httpx.Response(200, text=f"# the VM\n{text}", headers=headers)
        known, _, offset = query["after"].partition("-")
        begin = int(offset) if known == source else 0
        return httpx.Response(200, text=text[begin:complete], headers=headers)


def console(*texts: str) -> list[Log]:
    return [(CONSOLE, text) for text in texts]


def followed(make: Make, app: LogApp, *args: Any, **more: Any) -> list[str]:
    lines = make(app).logs("fleet-7", *args, follow=True, interval=0, **more)
    return [line.text for line in lines]


@BOTH_CLIENTS
def test_each_line_is_yielded_once_and_whole(make: Make) -> None:
    app = LogApp({0: console("one\ntw", "one\ntwo\nthr", "one\ntwo\nthree\n", "one\ntwo\nthree\n")})
    assert followed(make, app, 0) == ["one", "two", "three"]


@BOTH_CLIENTS
def test_the_stored_log_continues_the_console(make: Make) -> None:
    log: list[Log] = [(CONSOLE, "[ 1.2] kernel\none\ntwo\n"), (STORED, "one\ntwo\nthree\nlast")]
    assert followed(make, LogApp({0: log}), 0) == ["[ 1.2] kernel", "one", "two", "three", "last"]


@BOTH_CLIENTS
def test_an_outage_loses_and_repeats_no_line(make: Make) -> None:
    app = LogApp({0: console("one\n", "one\ntwo\n", "one\ntwo\nthree\n")})
    loading = httpx.Response(404, headers={"Retry-After": "0"})  # of the host, not the app
    outages = {"log": [busy(), loading, busy(500)], "fleet-7": [busy(), loading, busy(500)]}

    def interrupted(request: httpx.Request) -> httpx.Response:
        outage = outages[request.url.path.rpartition("/")[2]]
        if len(app.asked) >= 2 and outage:  # a status and a log were read
            failed = outage.pop()
            return httpx.Response(failed.status_code, headers=failed.headers)
        return app(request)

    lines = make(interrupted, retry_timeout=5).logs("fleet-7", 0, follow=True, interval=0)
    assert [line.text for line in lines] == ["one", "two", "three"]
    assert outages == {"log": [], "fleet-7": []}


@BOTH_CLIENTS
def test_the_lines_of_all_vms_have_their_vm(make: Make) -> None:
    logs = {0: console("a\n", "a\nb\n"), 1: [NOT_YET, (CONSOLE, "c\n")], 2: [NOT_YET]}
    app = LogApp(logs, {2: "refused"})
    lines = make(app).logs("fleet-7", follow=True, interval=0)
    assert [(line.machine, line.text) for line in lines] == [(0, "a"), (0, "b"), (1, "c")]


@BOTH_CLIENTS
@pytest.mark.parametrize(("tail", "lines"), [(0, []), (1, ["three"]), (9, ["one", "two", "three"])])
def test_a_tail_is_the_last_lines(make: Make, tail: int, lines: list[str]) -> None:
    app = LogApp({0: console("one\ntwo\nthree")})
    assert [line.text for line in make(app).logs("fleet-7", 0, tail=tail)] == lines


@BOTH_CLIENTS
def test_a_tail_is_followed_by_what_comes_later(make: Make) -> None:
    app = LogApp({0: console("one\ntwo\n", "one\ntwo\nthree\n", "one\ntwo\nthree\n")})
    assert followed(make, app, 0, tail=1) == ["two", "three"]


@BOTH_CLIENTS
def test_following_one_vm_ends_with_its_deletion(make: Make) -> None:
    app = LogApp({0: [(CONSOLE, "one\n"), (STORED, "one\ntwo\n")]}, goes_on=True)
    assert followed(make, app, 0) == ["one", "two"]


@BOTH_CLIENTS
def test_following_waits_for_a_vm_that_has_not_booted(make: Make) -> None:
    app = LogApp({0: [NOT_YET, NOT_YET, (CONSOLE, "one\n")]}, {0: "creating"})
    assert followed(make, app, 0) == ["one"]


@BOTH_CLIENTS
@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize(("vm", "state"), [(0, "failed"), (77, "creating")])
def test_a_vm_without_a_log_is_not_found(make: Make, vm: int, state: str, follow: bool) -> None:
    app = LogApp({0: [NOT_YET]}, {0: state}, goes_on=True)
    with pytest.raises(fleets.NotFound):
        make(app).logs("fleet-7", vm, follow=follow, interval=0)


@BOTH_CLIENTS
def test_an_app_without_positions_is_reported(make: Make) -> None:
    def older(request: httpx.Request) -> httpx.Response:
        is_log = request.url.path.endswith("/log")
        return httpx.Response(200, text="# the VM\n") if is_log else ok(**status())

    with pytest.raises(fleets.ConfigurationError, match="older than this client"):
        make(older).logs("fleet-7", 0)


@pytest.mark.parametrize(
    ("printed", "stored", "left"),
    [
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["b"], ["a", "b"], []),
        ([], ["a"], ["a"]),
        (["x"], ["a", "b"], ["a", "b"]),  # all of them are newer
        (["[ 9.1] cloud-init[7]: a b", "[ 9.2] kernel"], ["a b", "c"], ["c"]),
        (["a", "same", "b", "same"], ["a", "same", "b", "same", "c"], ["c"]),
        (["a", "same"], ["a", "same", "b", "same", "c"], ["b", "same", "c"]),
        (["a", ""], ["", "a", "", "b"], ["", "b"]),
    ],
)
def test_a_stored_log_is_continued_at_the_most_likely_line(
    printed: list[str], stored: list[str], left: list[str]
) -> None:
    assert continuation(printed, stored) == left
