"""Recovery after a host has crashed or shut down."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.process import ServiceError
from tests.local.functions.conftest import APPS, Host, variant

HIDDEN = 5.0
"""The visibility timeout in tests that measure it, in seconds; longer than the start of a host."""

SHORT_TIMEOUT = ["--visibility-timeout", str(HIDDEN)]


def test_a_fan_out_resumes_after_a_crash(durable_alone: Host) -> None:
    host, journal = durable_alone, uuid.uuid4().hex
    names = [f"n{i}" for i in range(10)]
    calls = [{"journal": journal, "name": name, "seconds": 0.2} for name in names]
    instance_id = host.start_new("retries", input={"attempts": 1, "calls": calls})
    host.until(lambda: host.journal(journal), lambda seen: len(seen) >= 9)  # eight at a time

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == [names, 42]
    assert set(host.journal(journal)) == set(names)


@pytest.mark.long
def test_a_timer_fires_after_a_restart(durable_alone: Host) -> None:
    host = durable_alone
    instance_id = host.start_new("race", input={"seconds": 3})
    host.until(lambda: host.status(instance_id)["runtimeStatus"], lambda s: s == "Running")

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == "timer"


@pytest.mark.long
def test_an_early_event_is_not_lost(durable_alone: Host) -> None:
    host = durable_alone
    instance_id = host.start_new("two_events")
    for data in ("one", "two"):
        host.client("raise_event", instance_id=instance_id, event_name="go", event_data=data)

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == ["one", "two"]


@pytest.mark.parametrize(
    ("orchestrator", "again"),
    [
        pytest.param("one_call", "an activity", marks=pytest.mark.long),
        ("slow_replay", "the messages of an episode"),
    ],
)
def test_work_in_flight_at_a_crash_stays_hidden_for_its_timeout(
    tmp_path: Path, orchestrator: str, again: str
) -> None:
    host, journal = Host(APPS / "durable", tmp_path, options=SHORT_TIMEOUT).start(), "calls"
    try:
        given = {"journal": journal, "name": "n", "seconds": 1}
        instance_id = host.start_new(orchestrator, input=given)
        host.until(lambda: host.journal(journal), bool)

        host.service.kill()
        host.start()

        assert host.finished(instance_id, 60)["runtimeStatus"] == "Completed"
        (_, first, _), (_, second, _) = host.entries(journal)
        assert second - first >= HIDDEN - 0.1, again
    finally:
        host.service.stop()


@pytest.mark.long
def test_the_lease_of_a_long_activity_is_renewed(make_host: Callable[..., Any]) -> None:
    with make_host("durable", options=SHORT_TIMEOUT, FUNCTION_TIMEOUT="00:01:00") as host:
        call = {"journal": "calls", "name": "n", "seconds": 6}
        instance_id = host.start_new("one_call", input=call)
        host.until(lambda: host.journal("calls"), bool)
        time.sleep(HIDDEN - 1)  # without renewal, it becomes visible in a second
        killed = time.time()

        host.service.kill()
        host.start()

        host.finished(instance_id, 60)
        assert host.entries("calls")[1][1] > killed + HIDDEN - 2


@pytest.mark.long
def test_other_messages_do_not_wait_for_hidden_ones(make_host: Callable[..., Any]) -> None:
    with make_host("durable") as host:  # hidden for five minutes
        call = {"journal": "calls", "name": "n", "seconds": 1}
        instance_id = host.start_new("one_call", input=call)
        host.until(lambda: host.journal("calls"), bool)
        host.service.kill()
        host.start()

        host.client("terminate", instance_id=instance_id, reason="enough")

        assert host.finished(instance_id)["runtimeStatus"] == "Terminated"


def test_the_next_host_resumes_immediately_after_a_shutdown(make_host: Callable[..., Any]) -> None:
    with make_host("durable", FUNCTION_TIMEOUT="00:01:00") as host:  # hidden for five minutes
        call = {"journal": "calls", "name": "n", "seconds": 10}
        host.start_new("one_call", input=call)
        host.until(lambda: host.journal("calls"), bool)

        host.service.stop()
        host.start()

        host.until(lambda: host.journal("calls"), lambda seen: len(seen) == 2)


@pytest.mark.parametrize("setting", ["controlQueue", "workItemQueue"])
def test_a_visibility_timeout_below_a_minute_is_rejected(tmp_path: Path, setting: str) -> None:
    storage = {f"{setting}VisibilityTimeout": "00:00:59"}
    host = Host(variant(tmp_path / "app", storageProvider=storage), tmp_path)

    message = (
        f"{setting[0].upper()}{setting[1:]}VisibilityTimeout must be between 1 and 60 minutes."
    )
    with pytest.raises(ServiceError, match=message):
        host.start()


def test_a_visibility_timeout_of_a_minute_is_accepted(tmp_path: Path) -> None:
    storage = {
        "controlQueueVisibilityTimeout": "00:01:00",
        "workItemQueueVisibilityTimeout": "00:01:00",
    }
    host = Host(variant(tmp_path / "app", storageProvider=storage), tmp_path)

    assert host.start().run("instant", 1)["output"] == 1
    host.service.stop()


@pytest.mark.long
def test_the_state_of_a_version_without_leases_is_migrated(durable_alone: Host) -> None:
    host = durable_alone
    instance_id = host.start_new("two_events")
    host.until(lambda: host.status(instance_id)["runtimeStatus"], lambda s: s == "Running")
    host.service.stop()
    with sqlite3.connect(host.state / "durable.sqlite") as old:
        for table in ("instances", "messages", "activities"):
            old.execute(f"alter table {table} drop column owner")
            old.execute(f"alter table {table} drop column hidden_until")
    host.start()

    for data in ("one", "two"):
        host.client("raise_event", instance_id=instance_id, event_name="go", event_data=data)

    assert host.finished(instance_id)["output"] == ["one", "two"]


def test_a_shutdown_by_signal_is_clean(durable_alone: Host) -> None:
    durable_alone.start_new("one_call", input={"journal": "x", "name": "n", "seconds": 60})

    assert durable_alone.service.stop(timeout=5) == 0
    assert "Unclosed" not in durable_alone.log.read_text()
