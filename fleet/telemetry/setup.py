"""Loads the OpenTelemetry SDK if its environment variables configure an exporter.

The SDK and its exporters read the rest of their configuration from the environment.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any
from uuid import uuid4

from fleet.telemetry import metrics, traces
from fleet.telemetry.fields import LOG

SERVICE = "powerlift-fleet"
INTERVAL = 15_000.0
"""Default milliseconds between metric exports; short, because a worker may be frozen or terminated a
minute after its last fleet."""
SHUTDOWN_TIMEOUT = 3.0
"""Seconds that process exit waits for pending exports."""

_flushes: list[Callable[[], object]] = []
_shutdowns: list[Callable[[], object]] = []
_flushing = threading.Lock()


def start(environment: Mapping[str, str] = os.environ) -> None:
    """Load OpenTelemetry if an exporter is configured. Call once, when the app is loaded.

    Never raises: a broken exporter must not stop the app.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or _flushes:
        return
    try:
        if "opentelemetry.sdk" in sys.modules:
            _use_existing_providers()
            return
        for signal, begin in (("traces", _begin_traces), ("metrics", _begin_metrics)):
            exporters = [_loaded(signal, name) for name in named(signal, environment)]
            if exporters:
                begin(exporters, environment)
    except Exception:
        LOG.exception("Metrics and traces are off: OpenTelemetry setup failed")
    if _shutdowns:
        atexit.register(_end)


def named(signal: str, environment: Mapping[str, str]) -> list[str]:
    """The exporters of a signal (`traces`, `metrics`). Unlike in OpenTelemetry's specification, the
    default is none, which avoids the cost of an unused exporter.
    """
    upper = signal.upper()
    chosen = environment.get(f"OTEL_{upper}_EXPORTER", "").strip()
    if not chosen:
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT")
        chosen = "otlp" if any(environment.get(one) for one in endpoints) else "none"
    return [one.strip() for one in chosen.split(",") if one.strip() not in ("", "none")]


def flush() -> None:
    """Export pending data in a background thread, one at a time."""
    if _flushes and _flushing.acquire(blocking=False):
        threading.Thread(target=_flush, name="telemetry-flush", daemon=True).start()


def _flush() -> None:
    try:
        for one in _flushes:
            one()
    finally:
        _flushing.release()


def _end() -> None:
    def work() -> None:
        for one in _shutdowns:
            one()

    with suppress(RuntimeError):  # Python 3.12.0 and 3.12.1 cannot start threads at exit
        last = threading.Thread(target=work, name="telemetry-end", daemon=True)
        last.start()
        last.join(SHUTDOWN_TIMEOUT)


def _loaded(signal: str, name: str) -> Any:
    """A new exporter, by its entry point name."""
    known = {"otlp": "otlp_proto_http"}.get(name, name)
    found = entry_points(group=f"opentelemetry_{signal}_exporter", name=known)
    if not found:
        raise LookupError(f"OTEL_{signal.upper()}_EXPORTER: exporter {name!r} is not installed.")
    return next(iter(found)).load()()


def _begin_traces(exporters: list[Any], environment: Mapping[str, str]) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource(), id_generator=_ids(), shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # azure-core uses the global provider
    traces.use(provider.get_tracer(SERVICE), provider.sampler)
    _flushes.append(provider.force_flush)
    _shutdowns.append(provider.shutdown)


def _begin_metrics(exporters: list[Any], environment: Mapping[str, str]) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    interval = None if environment.get("OTEL_METRIC_EXPORT_INTERVAL") else INTERVAL
    readers = [PeriodicExportingMetricReader(one, interval) for one in exporters]
    provider = MeterProvider(readers, resource=_resource(), shutdown_on_exit=False)
    metrics.use(provider.get_meter(SERVICE))
    _flushes.append(provider.force_flush)
    _shutdowns.append(provider.shutdown)


def _use_existing_providers() -> None:
    """Use existing providers; the Functions worker sets them up for Application Insights."""
    from opentelemetry import metrics as otel_metrics
    from opentelemetry import trace

    tracers: Any = trace.get_tracer_provider()
    meters: Any = otel_metrics.get_meter_provider()
    if hasattr(tracers, "id_generator"):
        tracers.id_generator = _ids()
        traces.use(tracers.get_tracer(SERVICE), tracers.sampler)
        _flushes.append(tracers.force_flush)
    if hasattr(meters, "force_flush"):
        metrics.use(meters.get_meter(SERVICE))
        _flushes.append(meters.force_flush)


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random IDs, except for the root span of a fleet."""

        def generate_trace_id(self) -> int:
            root = traces.root_ids.get()
            return root[0] if root else super().generate_trace_id()

        def generate_span_id(self) -> int:
            root = traces.root_ids.get()
            return root[1] if root else super().generate_span_id()

    return Ids()


_instance = str(uuid4())


def _resource() -> Any:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, plus defaults."""
    from opentelemetry.sdk.resources import Resource

    found = Resource.create()
    ours = {}
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        ours["service.name"] = SERVICE
    if "service.instance.id" not in found.attributes:
        ours["service.instance.id"] = _instance  # separates the counters of two workers
    return found.merge(Resource(ours))
