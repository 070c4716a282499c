"""The app's OTLP export and its log."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from fleet.telemetry.metrics import METRICS
from local.stack import Stack
from tests.harness import VISIBILITY_TIMEOUT, Api, eventually, experiment, sql
from tests.receiver import Receiver
from tests.test_secrets_stay_sealed import forms

pytestmark = pytest.mark.long

PASSWORD = "Pa$$word 'of' the \"watcher\"/9"
WRONG = "wrong-client-secret/10"
WATCHED, HELD, ORPHANED, REFUSED = 9101, 9102, 9103, 9104
FAULT_PLAN = {
    "faults": [
        {"on": "vm.put", "match": f"-{WATCHED}-0001$", "error": "ZonalAllocationFailed"},
        {"on": "role.put", "match": f"-{WATCHED}-0000/", "nth": [1], "error": "TooManyRequests"},
    ]
}
PLACE = {
    "cloud.region": "eastus",
    "cloud.availability_zone": "1",
    "host.type": "Standard_D2s_v5",
    "powerlift.vm.priority": "Regular",
}


@dataclass(frozen=True)
class Watched:
    """The telemetry of a fleet of 3 whose second VM was refused, and whose host was killed and
    started again while it ran.
    """

    receiver: Receiver
    log: str
    fleet: dict[str, Any]
    records: list[dict[str, Any]]
    secrets: list[str]
    waiting_at_the_end: int


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Receiver() as receiver:
        settings = {
            "FLEET_OWNER": "watched",
            "FLEET_SWEEP_SCHEDULE": "*/2 * * * * *",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        state = tmp_path_factory.mktemp("watched")
        stack = Stack(
            state,
            time_scale=0.01,
            machines="none",
            app_settings=settings,
            faults=FAULT_PLAN,
            visibility_timeout=VISIBILITY_TIMEOUT,
        )
        with stack:
            sql(stack, "CREATE ROLE watcher LOGIN SUPERUSER PASSWORD %s", PASSWORD)
            fleet = watched_fleet(stack, receiver)
            records = Api(stack).machines(fleet["id"])
            waiting = held_fleet(stack, receiver)
            orphaned_fleet(stack, receiver)
            refused_fleet(stack)
            log = (stack.logs / "host.log").read_text()
            secrets = [PASSWORD, WRONG, stack.arm["client_secret"], stack.key]
        yield Watched(receiver, log, fleet, records, secrets, waiting)


def request(stack: Stack, batch: int, **more: Any) -> dict[str, Any]:
    port = urlsplit(stack.db_uri).port
    return {
        "experiment_id": experiment(stack, 4),
        "n_instances": 1,
        "batch_id": batch,
        "vm_size": "Standard_D2s_v5",
        "zones": ["1"],
        "uri": f"postgresql://watcher:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/powerlift",
        "azure_json": {
            name: stack.arm[name] for name in ("tenant_id", "client_id", "client_secret")
        },
        "client_principal_id": "11111111-2222-4333-8444-555555555555",
        **more,
    }


def watched_fleet(stack: Stack, receiver: Receiver) -> dict[str, Any]:
    api, document = Api(stack), request(stack, WATCHED, n_instances=3)
    fleet_id = api.start(**document)
    ran = "powerlift.vm.creation.duration"
    eventually(lambda: True if receiver.count(ran) == 3 else None)
    end_trials(stack, document["experiment_id"], "score", 2)
    end_trials(stack, document["experiment_id"], "errmsg", 1)
    eventually(lambda: True if receiver.count("powerlift.trials.failed") == 1 else None)
    stack.kill_host()
    stack.start_host()
    return api.end(fleet_id)


def end_trials(stack: Stack, number: int, how: str, count: int) -> None:
    error = "'it broke'" if how == "errmsg" else "NULL"
    sql(
        stack,
        f"UPDATE trial SET start_time = now(), end_time = now(), errmsg = {error} WHERE id IN"
        " (SELECT id FROM trial WHERE experiment_id = %s AND end_time IS NULL LIMIT %s)",
        number,
        count,
    )


def held_fleet(stack: Stack, receiver: Receiver) -> int:
    """Run a fleet while the receiver does not respond; returns the number of waiting requests."""
    eventually(lambda: True if "fleet" in receiver.by_name() else None)
    receiver.hold()
    api = Api(stack)
    fleet_id = api.start(**request(stack, HELD))
    api.wait(fleet_id, "run")
    assert api.end(fleet_id)["phase"] == "cancelled"
    waiting = eventually(lambda: receiver.waiting or None)
    receiver.release()
    return waiting


def orphaned_fleet(stack: Stack, receiver: Receiver) -> None:
    """A fleet with a terminated orchestration. The sweep deletes its VM."""
    fleet_id = Api(stack).start(**request(stack, ORPHANED))
    Api(stack).wait(fleet_id, "run")
    key = json.loads((stack.state_dir / "host" / "ready.json").read_text())["keys"]["master"]
    url = f"{stack.url}/runtime/webhooks/durabletask/instances/{fleet_id}/terminate"
    requests.post(url, headers={"x-functions-key": key}, timeout=30).raise_for_status()
    deleted = {"powerlift_resource_kind": "machine"}
    eventually(lambda: True if receiver.count("powerlift.sweep.deleted", **deleted) else None)


def refused_fleet(stack: Stack) -> None:
    """A fleet with a failing plan and a secret that must not be exposed."""
    document = request(stack, REFUSED)
    document["azure_json"] |= {"client_secret": WRONG}
    assert Api(stack).wait(Api(stack).start(**document))["phase"] == "failed"


def test_every_documented_metric_is_exported(watched: Watched):
    assert {one.name for one in METRICS} <= watched.receiver.names()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_its_documented_unit_and_attributes(watched: Watched, metric: Any):
    points = watched.receiver.points(metric.name)
    attributes = {name for point in points for name in point.attributes}
    assert {point.unit for point in points} == {metric.unit}
    assert attributes <= set(metric.attributes)


def test_no_attribute_of_a_metric_names_a_vm_or_a_fleet(watched: Watched):
    values = {
        str(value)
        for metric in METRICS
        for point in watched.receiver.points(metric.name)
        for value in point.attributes.values()
    }
    assert not [one for one in values if re.search(r"91\d\d", one)]


def test_the_start_of_each_vm_is_timed_by_placement(watched: Watched):
    [point] = [
        one
        for one in watched.receiver.points("powerlift.vm.creation.duration")
        if one.attributes == PLACE
    ]
    assert point.value >= 3


def test_a_failed_vm_is_counted_with_the_action_taken(watched: Watched):
    [point] = watched.receiver.points("powerlift.vm.failures")
    moved = "queued a replacement VM; the request has no other placement"
    logged = {"error.type": "ZonalAllocationFailed", "powerlift.action": moved, **PLACE}
    assert (point.value, point.attributes) == (1, logged)


def test_the_lifetimes_of_a_fleets_vms_are_summed(watched: Watched):
    lived = sum(
        seconds(one["created_at"], one["deleted_at"])
        for one in watched.records
        if one["created_at"]
    )
    [point] = watched.receiver.points("powerlift.vm.lifetime")
    held = 60.0  # the VM of the second fleet existed for some seconds too
    assert lived <= point.total < lived + held


def seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_trials_are_counted_once_each(watched: Watched):
    completed, failed = (
        watched.receiver.count(f"powerlift.trials.{how}") for how in ("completed", "failed")
    )
    assert (completed, failed) == (2, 1)


def test_requests_are_counted_by_kind_and_code(watched: Watched):
    refused = [
        one.attributes
        for one in watched.receiver.points("powerlift.arm.requests")
        if one.attributes.get("error.type") == "ZonalAllocationFailed"
    ]
    assert refused == [
        {
            "powerlift.arm.kind": "vm.put",
            "http.request.method": "PUT",
            "powerlift.arm.status": "4xx",
            "error.type": "ZonalAllocationFailed",
        }
    ]


def test_every_request_has_a_kind(watched: Watched):
    assert watched.receiver.count("powerlift.arm.requests", powerlift_arm_kind="other") == 0


def test_each_process_has_its_own_instance_id(watched: Watched):
    resources = watched.receiver.resources()
    names = {one["service.name"] for one in resources}
    assert (names, len({one["service.instance.id"] for one in resources})) == (
        {"powerlift-fleet"},
        2,
    )


def of_the_fleet(watched: Watched) -> list[Any]:
    [root] = [
        span
        for span in watched.receiver.by_name()["fleet"]
        if span.attributes["powerlift.fleet"] == f"fleet-{WATCHED}"
    ]
    return [root, *(s for s in watched.receiver.spans() if s.trace == root.trace and s != root)]


def test_a_fleet_is_one_trace_across_a_host_crash(watched: Watched):
    mine = {
        span.trace
        for span in watched.receiver.spans()
        if span.attributes.get("powerlift.fleet") == f"fleet-{WATCHED}"
    }
    assert len(mine) == 1


def test_the_root_has_the_fleets_own_times(watched: Watched):
    root = of_the_fleet(watched)[0]
    began = datetime.fromisoformat(watched.fleet["summary"]["created_at"]).timestamp()
    others = [span for span in of_the_fleet(watched)[1:] if span.name != "report_completion"]
    assert (root.parent, root.start) == ("", pytest.approx(began, abs=0.001))
    assert root.end >= max(span.end for span in others)


def test_activities_are_below_the_root_and_requests_below_them(watched: Watched):
    root, *others = of_the_fleet(watched)
    activities = {span.id: span.name for span in others if span.parent == root.id}
    requests_ = [span for span in others if span.parent != root.id]
    parents = {(activities.get(span.parent), span.name) for span in requests_}
    assert {("create_vm", "vm.put"), ("assign_permissions", "role.put")} <= parents
    assert None not in {activity for activity, _ in parents}


def test_a_failed_activity_is_logged_with_its_vm_and_cause(watched: Watched):
    [span] = [one for one in of_the_fleet(watched) if one.name == "create_vm" and one.failed]
    about = [span.attributes[f"powerlift.{name}"] for name in ("ordinal", "attempt")]
    assert (about, span.attributes["error.type"]) == ([1, 1], "ZonalAllocationFailed")


def events(log: str, fleet_id: str) -> Counter[str]:
    return Counter(
        re.findall(rf"\[event=(\S+) fleet={fleet_id}[\] ]", log),
    )


def test_each_event_of_a_fleet_is_logged_once(watched: Watched):
    logged = events(watched.log, f"fleet-{WATCHED}")
    once = {name: logged[name] for name in logged if name.startswith(("vm.", "fleet."))}
    assert once == {
        "fleet.submitted": 1,
        "fleet.planned": 1,
        "fleet.cancelled": 1,
        "fleet.ended": 1,
        "vm.accepted": 3,
        "vm.role_assigned": 3,
        "vm.running": 3,
        "vm.refused": 1,
        "vm.deleted": 3,
    }


def test_a_replacement_is_logged_with_the_replaced_vm(watched: Watched):
    [line] = [line for line in watched.log.splitlines() if "replacing" in line]
    assert re.search(r"replacing VM 1 \[event=vm.accepted fleet=fleet-\d+ .* ordinal=\d", line)


def test_the_documented_queries_find_the_fields_of_a_line(watched: Watched):
    page = (Path(__file__).resolve().parents[1] / "docs" / "observability.md").read_text()
    patterns = dict(re.findall(r'(\w+) = extract\(@"(.+?)", 1, message', page))
    [line, *_] = [one for one in watched.log.splitlines() if "event=vm.running" in one]
    logged = {
        name: found and found[1]
        for name, pattern in patterns.items()
        if (found := re.search(pattern.replace('""', '"'), line))
    }
    assert (logged["event"], logged["placement"]) == ("vm.running", "eastus/1 Standard_D2s_v5")
    assert {"fleet", "ordinal", "after"} <= logged.keys()
    assert "code" not in logged


def test_the_sdks_log_no_warning_at_replays(watched: Watched):
    assert [line for line in watched.log.splitlines() if "WARNING azure.functions" in line] == []


def test_throttling_is_a_warning(watched: Watched):
    lines = [line for line in watched.log.splitlines() if "event=azure.throttled" in line]
    assert lines
    assert all(" WARNING " in line for line in lines)


def test_a_failed_fleet_is_an_error_with_its_code(watched: Watched):
    [line] = [one for one in watched.log.splitlines() if f"fleet=fleet-{REFUSED}" in one
              and "event=fleet.ended" in one]  # fmt: skip
    assert (" ERROR " in line, "code=AuthenticationFailed" in line) == (True, True)


def test_a_vm_that_the_sweep_deletes_is_a_warning(watched: Watched):
    [line] = [line for line in watched.log.splitlines() if "event=sweep.deleted" in line
              and "machine: 1" in line]  # fmt: skip
    assert " WARNING " in line


def test_an_unresponsive_receiver_does_not_delay_a_fleet(watched: Watched):
    assert watched.waiting_at_the_end > 0


def test_no_secret_is_in_what_was_exported(watched: Watched):
    exported = b"\n".join(body for _, body in watched.receiver.bodies)
    assert [one for one in watched.secrets if any(form in exported for form in forms(one))] == []


def test_no_secret_is_in_the_log(watched: Watched):
    log = watched.log.encode()
    assert [one for one in watched.secrets if any(form in log for form in forms(one))] == []
