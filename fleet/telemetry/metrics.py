"""The app's metrics in one table. OpenTelemetry is loaded by `setup` only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

MINUTE, HOUR = 60.0, 3600.0
LIFETIMES = (MINUTE, 5 * MINUTE, 15 * MINUTE, *(HOUR * n for n in (0.5, 1, 2, 4, 8, 16, 24, 48)))
PLACEMENT_ATTRIBUTES = (
    "cloud.region",
    "cloud.availability_zone",
    "host.type",
    "powerlift.vm.priority",
)
"""A placement, by OpenTelemetry's semantic conventions where available."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument. Attributes have low cardinality: no names of VMs or fleets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    """UCUM."""
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in its unit."""


METRICS = (
    Metric(
        "powerlift.fleet.duration",
        "histogram",
        "s",
        "From the start of the plan to the end of the teardown.",
        ("powerlift.fleet.phase",),
        LIFETIMES,
    ),
    Metric("powerlift.fleet.active", "gauge", "{fleet}", "Fleets that have not ended."),
    Metric(
        "powerlift.vm.creation.duration",
        "histogram",
        "s",
        "From Azure's acceptance of a VM to the first poll that observes it running.",
        PLACEMENT_ATTRIBUTES,
        (10.0, 20.0, 30.0, 45.0, *(MINUTE * n for n in (1, 1.5, 2, 3, 5, 10, 20, 40))),
    ),
    Metric(
        "powerlift.vm.failures",
        "counter",
        "{vm}",
        "VMs that were refused or failed, by follow-up action.",
        ("error.type", "powerlift.action", *PLACEMENT_ATTRIBUTES),
    ),
    Metric(
        "powerlift.vm.lifetime",
        "histogram",
        "s",
        "From Azure's acceptance of a VM to its deletion; the sum is VM-seconds.",
        PLACEMENT_ATTRIBUTES,
        LIFETIMES,
    ),
    Metric("powerlift.trials.completed", "counter", "{trial}", "Trials finished without an error."),
    Metric("powerlift.trials.failed", "counter", "{trial}", "Trials finished with an error."),
    Metric(
        "powerlift.arm.requests",
        "counter",
        "{request}",
        "Requests to Azure Resource Manager; status 0xx without a response.",
        ("powerlift.arm.kind", "http.request.method", "powerlift.arm.status", "error.type"),
    ),
    Metric(
        "powerlift.arm.duration",
        "histogram",
        "s",
        "Response time of Azure Resource Manager.",
        ("powerlift.arm.kind", "http.request.method", "powerlift.arm.status"),
        (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
    Metric(
        "powerlift.sweep.deleted",
        "counter",
        "{resource}",
        "Resources deleted by the sweep, by kind.",
        ("powerlift.resource.kind",),
    ),
)

_recorders: dict[str, Callable[..., None]] = {}
"""Recording functions by metric name; empty if metrics are off."""


def measure(name: str, value: float, attributes: dict[str, Any] | None = None) -> None:
    """Record a value of a metric in METRICS. Attributes that are None are omitted."""
    record = _recorders.get(name)
    if record is not None:
        given = {key: one for key, one in (attributes or {}).items() if one is not None}
        record(value, attributes=given)


def is_on() -> bool:
    return bool(_recorders)


def use(meter: Any) -> None:
    """Export metrics through an OpenTelemetry meter."""
    for one in METRICS:
        options: dict[str, Any] = {"unit": one.unit, "description": one.description}
        if one.buckets:
            options["explicit_bucket_boundaries_advisory"] = one.buckets
        instrument = getattr(meter, f"create_{one.kind}")(one.name, **options)
        verb = {"counter": "add", "gauge": "set", "histogram": "record"}[one.kind]
        _recorders[one.name] = getattr(instrument, verb)
