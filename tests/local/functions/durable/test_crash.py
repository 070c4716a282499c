"""What is left after a host was killed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host


def test_a_fan_out_goes_on_where_it_was_killed(durable_alone: Host) -> None:
    host, journal = durable_alone, uuid.uuid4().hex
    names = [f"n{i}" for i in range(10)]
    calls = [{"journal": journal, "name": name, "seconds": 0.2} for name in names]
    instance_id = host.start_new("retries", input={"attempts": 1, "calls": calls})
    host.until(lambda: host.journal(journal), lambda seen: len(seen) >= 9)  # eight at a time

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == [names, 42]
    assert set(host.journal(journal)) == set(names)


def test_a_timer_fires_after_a_restart(durable_alone: Host) -> None:
    host = durable_alone
    instance_id = host.start_new("race", input={"seconds": 1})
    host.until(lambda: host.status(instance_id)["runtimeStatus"], lambda s: s == "Running")

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == "timer"


def test_an_early_event_is_not_lost(durable_alone: Host) -> None:
    host = durable_alone
    instance_id = host.start_new("two_events")
    for data in ("one", "two"):
        host.client("raise_event", instance_id=instance_id, event_name="go", event_data=data)

    host.service.kill()
    host.start()

    assert host.finished(instance_id)["output"] == ["one", "two"]


def test_an_end_by_signal_is_clean(durable_alone: Host) -> None:
    durable_alone.start_new("one_call", input={"journal": "x", "name": "n", "seconds": 60})

    assert durable_alone.service.stop(timeout=5) == 0
    assert "Unclosed" not in durable_alone.log.read_text()
