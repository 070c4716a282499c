"""Log fields, the cost of OpenTelemetry while it is disabled, and its documentation."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import telemetry
from fleet.azure.request_telemetry import kind_of
from fleet.model import records
from fleet.store import vm_records
from fleet.telemetry.fields import FIELDS, LOG
from fleet.telemetry.metrics import METRICS
from fleet.telemetry.setup import named
from fleet.telemetry.traces import ids_of
from tests.fleets import machine, order

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()
GROUP = "https://arm/subscriptions/s/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, level = Kept(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)
    yield handler
    LOG.removeHandler(handler)
    LOG.setLevel(level)


def test_a_record_has_the_bound_fields_as_attributes(kept: Kept):
    with telemetry.bound(fleet="fleet-7", ordinal=3):
        LOG.info("Hello", extra={"event": "vm.running"})
    [record] = kept.records
    assert {name: vars(record).get(name) for name in ("event", "fleet", "ordinal")} == {
        "event": "vm.running",
        "fleet": "fleet-7",
        "ordinal": 3,
    }


def test_a_record_has_its_fields_at_the_end_of_its_text(kept: Kept):
    with telemetry.bound(fleet="fleet-7", placement="100% far"):
        LOG.info("%d VMs", 3, extra={"event": "vm.running"})
    assert kept.records[0].getMessage() == (
        '3 VMs [event=vm.running fleet=fleet-7 placement="100% far"]'
    )


def test_fields_are_bound_only_within_their_block(kept: Kept):
    with telemetry.bound(fleet="fleet-7"):
        pass
    LOG.info("Hello")
    assert kept.records[0].getMessage() == "Hello"


FORGERY = "x [event=fleet.ended fleet=fleet-9 phase=done] code=Forged"
LINE_BREAKS = ["\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("end", LINE_BREAKS, ids=ascii)
def test_external_text_cannot_add_a_line_to_the_log(kept: Kept, end: str):
    LOG.info("Rejected: %s", f"x{end}2026-01-01 ERROR fake", extra={"event": "request.refused"})
    assert len(kept.records[0].getMessage().splitlines()) == 1


@pytest.mark.parametrize(
    "unsafe", ["\x1b[2J", "\x9b2J", "\x08", "\0", "\u202e", "\u2066", "\ud800"]
)
def test_external_text_cannot_control_a_terminal(kept: Kept, unsafe: str):
    LOG.info("Rejected: %s", unsafe)
    text = kept.records[0].getMessage()
    assert (unsafe[0] in text, ascii(unsafe)[1:-1].lower() in text.lower()) == (False, True)


@pytest.mark.parametrize("where", ["argument", "field"])
def test_external_text_cannot_forge_a_field(kept: Kept, where: str):
    """The documented queries use the first match in a line."""
    code = FORGERY if where == "field" else "Ours"
    with telemetry.bound(fleet="fleet-7"):
        LOG.info("Rejected: %s", FORGERY, extra={"event": "request.refused", "code": code})
    text = kept.records[0].getMessage()
    found = {name: re.findall(rf"[\[ ]{name}=([\w.-]+)", text) for name in FIELDS}
    assert (found["event"], found["fleet"], found["phase"]) == (
        ["request.refused"],
        ["fleet-7"],
        [],
    )


def test_an_exception_with_line_breaks_is_one_line(kept: Kept):
    try:
        raise ValueError("x\n2026-01-01 ERROR fake [event=fleet.ended]")
    except ValueError:
        LOG.exception("Failed", extra={"event": "app.fault"})
    line = logging.Formatter().format(kept.records[0])
    assert len(line.splitlines()) == 1
    assert "test_telemetry.py:" in line
    assert line.count("event=") == 1


def test_an_unexpected_error_is_one_line_without_its_message(kept: Kept):
    try:
        raise ValueError("a secret")
    except ValueError as error:
        error_id = telemetry.unexpected(error)
    line = kept.records[0].getMessage()
    assert (len(line.splitlines()), "a secret" in line) == (1, False)
    assert re.search(
        rf"Error {error_id}: ValueError at fleet/test_telemetry.py:\d+ test_an_unex", line
    )


@pytest.mark.parametrize(
    "noted", ["", "creating", "creating role_assigned", "running role_assigned"]
)
def test_without_the_table_a_vm_is_still_logged_once(kept: Kept, noted: str):
    """Every event since the last recorded state is logged, and no other."""
    lived = {**machine(3), "created_at": "2026-01-01T00:00:00Z", "state": "deleted"}
    for name in ("role_assigned_at", "running_at", "deleted_at"):
        lived[name] = "2026-01-01T00:01:00Z"
    record = records.stored(lived)
    telemetry.machine_changed(order(), record, vm_records.record_as_of(record, noted))
    marks = {"": 0, "creating": 1, "creating role_assigned": 2, "running role_assigned": 3}
    every = ["vm.accepted", "vm.role_assigned", "vm.running", "vm.deleted"]
    assert [vars(one)["event"] for one in kept.records] == every[marks[noted] :]


def test_an_idle_vm_that_its_fleet_deletes_is_logged_when_it_is_deleted(kept: Kept):
    idle = {"code": "MaxCostReached", "message": "It was idle.", "next": "deleted it"}
    ended = records.stored({**machine(3, "deleted"), "ended": idle})  # type: ignore[typeddict-item]
    deleted = {**ended, "deleted_at": "2026-01-01T00:02:00Z"}
    telemetry.machine_changed(order(), ended, vm_records.record_as_of(ended, "running"))
    telemetry.machine_changed(order(), deleted, ended)
    assert [vars(one)["event"] for one in kept.records] == ["vm.deleted"]


def test_an_unchanged_vm_is_not_logged(kept: Kept):
    deleted = {**machine(3), "created_at": "2026-01-01T00:00:00Z", "state": "deleted"}
    deleted |= {"role_assigned_at": "2026-01-01T00:01:00Z", "deleted_at": "2026-01-01T00:02:00Z"}
    record = records.stored(deleted)
    telemetry.machine_changed(
        order(), record, vm_records.record_as_of(record, records.lifecycle(deleted))
    )
    assert kept.records == []


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        ("PUT", f"{VM}/powerlift-vm-7-0003?api-version=1", "vm.put"),
        ("GET", f"{VM}?api-version=1", "vm.list"),
        ("GET", f"{VM}/v/instanceView", "view.get"),
        ("POST", f"{VM}/v/retrieveBootDiagnosticsData", "log.post"),
        ("DELETE", f"{GROUP}/providers/Microsoft.Network/networkInterfaces/n", "nic.delete"),
        ("PUT", f"{VM}/v/providers/Microsoft.Authorization/roleAssignments/g", "role.put"),
        ("PUT", f"{GROUP}/providers/Microsoft.Network/virtualNetworks/v/subnets/s", "subnet.put"),
        (
            "GET",
            f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/g",
            "role_definition.get",
        ),
        ("GET", f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/n", "nsg.get"),
        ("GET", "https://arm/subscriptions/s/resourcegroups/g", "group.get"),
        ("GET", f"{GROUP}/providers/Microsoft.Storage/storageAccounts", "other"),
        ("GET", "https://arm/", "other"),
    ],
)
def test_a_request_has_a_kind(method: str, url: str, kind: str):
    assert kind_of(method, url) == kind


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, []),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp"]),
        (
            {
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            },
            [],
        ),
    ],
)
def test_the_environment_selects_the_exporters_of_traces(
    environment: dict[str, str], exporters: list[str]
):
    assert named("traces", environment) == exporters


def test_a_reused_batch_is_a_separate_trace():
    days = [f"2026-01-0{day}T00:00:00Z" for day in (1, 1, 2)]
    first, same, other = (ids_of(order(owner="o", created_at=day)) for day in days)
    assert (first == same, first == other) == (True, False)


STARTED = "import sys; from fleet import telemetry; telemetry.start(); print(*sys.modules)"


def run(script: str, **environment: str) -> str:
    """The output of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**clean(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout + done.stderr


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def sdk_in(modules: str) -> list[str]:
    return re.findall(r"opentelemetry\.(?:sdk|exporter)\S*", modules)


def test_without_an_exporter_the_app_loads_no_sdk():
    assert sdk_in(run("import sys, function_app; print(*sys.modules)")) == []


def test_a_disabled_sdk_is_not_loaded():
    nowhere = "http://127.0.0.1:9"
    found = run(STARTED, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, OTEL_SDK_DISABLED="true")
    assert sdk_in(found) == []


def test_a_missing_exporter_does_not_stop_the_app():
    found = run(STARTED, OTEL_METRICS_EXPORTER="abacus")
    assert "exporter 'abacus' is not installed" in found


def test_the_workers_own_providers_are_used_and_a_fleet_is_one_trace():
    script = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
from fleet import telemetry
from tests.fleets import order
telemetry.start()
now = "2026-01-01T00:00:00Z"
mine = order(owner="o", created_at=now)
with provider.get_tracer("host").start_as_current_span("invocation"):
    with telemetry.activity("create_vm", {"order": mine}):
        pass
    telemetry.fleet_ended(mine, "done", now, now)
work, root, invocation = kept.get_finished_spans()
print(work.parent.span_id == root.context.span_id, root.parent is None)
print(work.links[0].context == invocation.context)
"""
    assert run(script).split() == ["True", "True", "True"]


def test_an_unresponsive_receiver_blocks_neither_calls_nor_shutdown():
    """The receiver accepts connections and never responds. The SDK's own timeout is 10 s per export."""
    script = """
import time
from fleet import telemetry
from tests.fleets import order
telemetry.start()
began = time.monotonic()
now = "2026-01-01T00:00:00Z"
telemetry.fleet_ended(order(owner="o", created_at=now), "done", now, now)
print(time.monotonic() - began, time.monotonic())
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**clean(), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        ended = time.monotonic()
    call, printed = map(float, done.stdout.split())
    assert (call < 1, ended - printed < 9) == (True, True)


def rows(title: str) -> set[str]:
    """The first cells of the table below a heading."""
    table = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


def test_the_page_lists_every_metric():
    assert rows("Metrics") == {metric.name for metric in METRICS}


def test_the_page_has_each_metrics_unit_and_attributes():
    lines = {m[1]: m[0] for m in re.finditer(r"^\| `(powerlift[^`]+)` \|.*$", PAGE, re.MULTILINE)}
    documented_names = {name: set(re.findall(r"`([^`]+)`", line)) for name, line in lines.items()}
    placement = {"placement"}
    for metric in METRICS:
        whole = set(metric.attributes)
        parts = {"cloud.region", "cloud.availability_zone", "host.type", "powerlift.vm.priority"}
        documented = whole - parts | placement if parts <= whole else whole
        assert documented_names[metric.name] - {metric.name} == {metric.unit, *documented}


def test_the_page_lists_every_field_of_the_log():
    assert {row for row in rows("Log") if "." not in row} == set(FIELDS)


def test_the_page_lists_every_event():
    sources = [*ROOT.glob("fleet/telemetry/*.py"), *ROOT.glob("activities/*.py")]
    sources += ROOT.glob("triggers/**/*.py")
    text = "".join(path.read_text() for path in sources)
    events = set(re.findall(r'"((?:app|azure|call|fleet|log|message|plan|request|sweep|teardown|vm)'
                            r'\.(?!html)[a-z_]+)"', text))  # fmt: skip
    assert {event for event in events if f"`{event}`" not in PAGE} == set()
