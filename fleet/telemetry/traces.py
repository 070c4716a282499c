"""One trace per fleet, across all processes.

The IDs of the trace and its root span are derived from the fleet, so that activities find their parent
without context propagation. The root span is exported at the end, with the fleet's start and end times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode

from fleet.model import names
from fleet.model.order_parts import FleetRef, RecordOrder

root_ids: ContextVar[tuple[int, int] | None] = ContextVar("powerlift_root_ids", default=None)
"""The trace and span ID of the next span, if it is a root."""

_tracer: trace.Tracer | None = None
_sampler: Any = None


def use(tracer: trace.Tracer, sampler: Any) -> None:
    """Export spans through a tracer. `sampler` is its provider's."""
    global _tracer, _sampler
    _tracer, _sampler = tracer, sampler


def is_on() -> bool:
    return _tracer is not None


def is_recording() -> bool:
    """Whether the current span will be exported."""
    return _tracer is not None and trace.get_current_span().is_recording()


@contextmanager
def span(name: str, order: FleetRef | None, fields: Mapping[str, Any]) -> Iterator[None]:
    """A span around an activity, in the fleet's trace or, without a fleet, in a new one.

    Does not record exceptions, because their messages may contain secrets. See `fail`.
    """
    if _tracer is None:
        yield
        return
    around = trace.get_current_span().get_span_context()
    # The host's own span of this invocation.
    links = [trace.Link(around)] if around.is_valid else []
    with _tracer.start_as_current_span(
        name,
        context=_below(order),
        links=links,
        attributes=_attributes(fields),
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def fail(code: str) -> None:
    """Mark the current span as failed."""
    if _tracer is not None:
        current = trace.get_current_span()
        current.set_attribute("error.type", code)
        current.set_status(Status(StatusCode.ERROR, code))


def fleet(order: RecordOrder, phase: str, started_at: str, ended_at: str, code: str | None) -> None:
    """The root span of a fleet's trace. Times are ISO 8601."""
    ids = ids_of(order)
    if _tracer is None or ids is None:
        return
    fields = {
        "fleet": names.instance_id(order["batch_id"]),
        "experiment": order["experiment_id"],
        "phase": phase,
        "machines": order["n_instances"],
    }
    token = root_ids.set(ids)
    try:
        root = _tracer.start_span(
            "fleet",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=_attributes(fields),
            start_time=_nanoseconds(started_at),
        )
    finally:
        root_ids.reset(token)
    if phase == "failed":
        root.set_attribute("error.type", code or "failed")
        root.set_status(Status(StatusCode.ERROR, code))
    root.end(_nanoseconds(ended_at))


def ids_of(order: FleetRef) -> tuple[int, int] | None:
    """The IDs of the trace and its root span; None before the fleet has started.

    Includes the start time, because a batch ID can be reused after its history is purged.
    """
    if "created_at" not in order:
        return None
    whole = "|".join((order["owner"], str(order["batch_id"]), order["created_at"]))
    digest = hashlib.sha256(whole.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


def _below(order: FleetRef | None) -> Context:
    ids = None if order is None else ids_of(order)
    if ids is None:
        return Context()
    # Apply the root's sampling decision, because samplers use the parent's if there is one.
    sampled = _sampler.should_sample(None, ids[0], "fleet").decision.is_sampled()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    parent = SpanContext(*ids, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"powerlift.{name}": value for name, value in fields.items() if value is not None}


def _nanoseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1_000_000) * 1_000
