"""What is measured: one table. Nothing of OpenTelemetry is here before `setup` has found a receiver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

MINUTE, HOUR = 60.0, 3600.0
PLACE = ("cloud.region", "cloud.availability_zone", "host.type", "powerlift.vm.priority")
"""A place, by the names of OpenTelemetry's semantic conventions where these have one."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument. Attributes have few values each: no name of a VM or a fleet is among them."""

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
        "From the plan to the end of the teardown.",
        ("powerlift.fleet.phase",),
        (MINUTE, 5 * MINUTE, 15 * MINUTE, *(HOUR * n for n in (0.5, 1, 2, 4, 8, 16, 24, 48))),
    ),
    Metric("powerlift.fleet.active", "gauge", "{fleet}", "Fleets that have not ended."),
    Metric(
        "powerlift.vm.creation.duration",
        "histogram",
        "s",
        "From Azure's acceptance of a VM to the first look that saw it running.",
        PLACE,
        (10.0, 20.0, 30.0, 45.0, *(MINUTE * n for n in (1, 1.5, 2, 3, 5, 10, 20, 40))),
    ),
    Metric(
        "powerlift.vm.failures",
        "counter",
        "{vm}",
        "VMs that were refused or have failed, by what we did then.",
        ("error.type", "powerlift.action", *PLACE),
    ),
    Metric(
        "powerlift.vm.lifetime",
        "histogram",
        "s",
        "From Azure's acceptance of a VM until it was gone; the sum is VM-seconds.",
        PLACE,
        (MINUTE, 5 * MINUTE, 15 * MINUTE, *(HOUR * n for n in (0.5, 1, 2, 4, 8, 16, 24, 48))),
    ),
    Metric("powerlift.trials.completed", "counter", "{trial}", "Trials that were completed."),
    Metric("powerlift.trials.failed", "counter", "{trial}", "Trials that ended with an error."),
    Metric(
        "powerlift.arm.requests",
        "counter",
        "{request}",
        "Requests to Azure Resource Manager; status 0xx where no answer came.",
        ("powerlift.arm.kind", "http.request.method", "powerlift.arm.status", "error.type"),
    ),
    Metric(
        "powerlift.arm.duration",
        "histogram",
        "s",
        "Time to Azure Resource Manager's answer.",
        ("powerlift.arm.kind", "http.request.method", "powerlift.arm.status"),
        (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
    Metric(
        "powerlift.sweep.deleted",
        "counter",
        "{resource}",
        "What the sweep has deleted, by kind.",
        ("powerlift.resource.kind",),
    ),
)

_recorders: dict[str, Callable[..., None]] = {}
"""By name: what takes a value and its attributes. Empty where nobody listens."""


def measure(name: str, value: float, attributes: dict[str, Any] | None = None) -> None:
    """Record a value of a metric in METRICS; attributes that are None are left out."""
    record = _recorders.get(name)
    if record is not None:
        told = {key: one for key, one in (attributes or {}).items() if one is not None}
        record(value, attributes=told)


def is_on() -> bool:
    return bool(_recorders)


def use(meter: Any) -> None:
    """Send what is measured to an OpenTelemetry meter."""
    for one in METRICS:
        options: dict[str, Any] = {"unit": one.unit, "description": one.description}
        if one.buckets:
            options["explicit_bucket_boundaries_advisory"] = one.buckets
        instrument = getattr(meter, f"create_{one.kind}")(one.name, **options)
        verb = {"counter": "add", "gauge": "set", "histogram": "record"}[one.kind]
        _recorders[one.name] = getattr(instrument, verb)
