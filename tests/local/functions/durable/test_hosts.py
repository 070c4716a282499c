"""Several hosts with the same state: identical ones, or with different roles."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from local.process import ServiceError
from tests.local.functions.conftest import APPS, Host, variant

HIDDEN = 3.0
SECONDS = 0.4
"""The duration of each call, in seconds."""

FANS, CALLS = 6, 20


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Host]]:
    """Two hosts that run the whole app. An idle one polls every second."""
    app = variant(tmp_path / "app", storageProvider={"maxQueuePollingInterval": "00:00:01"})
    options = ["--visibility-timeout", str(HIDDEN)]
    hosts = [Host(app, tmp_path, name=name, options=options) for name in ("a", "b")]
    try:
        yield [host.start() for host in hosts]
    finally:
        for host in hosts:
            host.service.stop()


def test_killing_one_of_two_hosts_loses_and_duplicates_nothing(pair: list[Host]) -> None:
    killed, survivor = pair
    journal = uuid.uuid4().hex
    fans = {}
    for fan in range(FANS):
        names = [f"{fan}-{call}" for call in range(CALLS)]
        calls = [{"journal": journal, "name": name, "seconds": SECONDS} for name in names]
        host = pair[fan % 2]
        fans[host.start_new("retries", input={"attempts": 1, "calls": calls})] = names
    survivor.until(lambda: survivor.journal(journal), lambda seen: len(seen) >= FANS * CALLS / 3)
    assert killed.service.process is not None
    pid = killed.service.process.pid
    survivor.until(
        lambda: max(began for _, began, process in survivor.entries(journal) if process == pid),
        lambda latest: time.time() - latest < SECONDS / 2,  # it still runs
    )

    killed.service.kill()

    assert [survivor.finished(fan, 60)["output"] for fan in fans] == [
        [names, 42] for names in fans.values()
    ]
    runs = defaultdict(list)
    for name, began, process in survivor.entries(journal):
        runs[name].append((began, process))
    assert len({process for ((_, process), *_) in runs.values()}) == 2, "only one host ran calls"
    again = [one for one in runs.values() if len(one) > 1]
    assert 1 <= len(again) <= 8, (
        "only the calls in flight on the killed host, at most eight, run again"
    )
    for one in again:
        (first, process), (second, other) = one
        assert process != other
        assert second - first >= HIDDEN - 0.1


@pytest.mark.long
def test_an_instance_has_one_episode_at_a_time(pair: list[Host]) -> None:
    given = {"journal": uuid.uuid4().hex, "seconds": 0.5, "events": 12}
    instance_id = pair[0].start_new("slow_replay", input=given)
    for i in range(12):
        arguments = {"instance_id": instance_id, "event_name": "go", "event_data": i}
        pair[i % 2].client("raise_event", **arguments)

    assert sorted(pair[0].finished(instance_id, 60)["output"]) == list(range(12))
    began = sorted(moment for _, moment, _ in pair[0].entries(given["journal"]))
    assert min(b - a for a, b in pairwise(began)) >= 0.45


@pytest.mark.long
def test_a_host_runs_only_its_roles(tmp_path: Path) -> None:
    app = variant(tmp_path / "app", storageProvider={"maxQueuePollingInterval": "00:00:01"})
    http = Host(app, tmp_path, name="http", options=["--roles", "http"]).start()
    instance_id = http.start_new("asks_for_itself")
    durable = Host(app, tmp_path, name="durable", options=["--roles", "durable"])
    try:
        assert http.status(instance_id)["runtimeStatus"] == "Pending"

        durable.start()

        assert http.finished(instance_id, 60)["output"] == "Running"
        assert durable.call("POST", "/start/instant", {}).status == 404
    finally:
        http.service.stop()
        durable.service.stop()


def test_an_unknown_role_is_rejected(tmp_path: Path) -> None:
    host = Host(APPS / "durable", tmp_path, options=["--roles", "http,web"])

    with pytest.raises(ServiceError, match="must be some of durable, http, triggers"):
        host.start()


@pytest.mark.long
def test_of_two_hosts_one_runs_the_timers(tmp_path: Path) -> None:
    """After a crash the other one does, once the lease has expired."""
    env, options = {"TIMER_SCHEDULE": "* * * * * *"}, ["--visibility-timeout", str(HIDDEN)]
    hosts = [
        Host(APPS / "triggers", tmp_path, env, name=name, options=options).start()
        for name in ("a", "b")
    ]
    try:
        started, before = time.monotonic(), len(hosts[0].journal("ticks"))
        hosts[0].until(lambda: len(hosts[0].journal("ticks")), lambda ticks: ticks >= before + 4)
        assert time.monotonic() - started > 2.5, "two hosts make four ticks in two seconds"

        hosts[0].service.kill()

        killed, before = time.monotonic(), len(hosts[1].journal("ticks"))
        hosts[1].until(lambda: len(hosts[1].journal("ticks")), lambda ticks: ticks > before)
        assert time.monotonic() - killed > HIDDEN / 2
    finally:
        for host in hosts:
            host.service.stop()
