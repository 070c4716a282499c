"""One trace for each fleet, though a hundred processes may have worked for it.

The ids of the trace and of its root span follow from the fleet alone, so that each activity's span
finds its parent without a word from the orchestrator; the root is told at the end, with its true times.
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
from fleet.model.records import Order

root_ids: ContextVar[tuple[int, int] | None] = ContextVar("powerlift_root_ids", default=None)
"""The trace and span id that the next span must have: the root's."""

_tracer: trace.Tracer | None = None
_sampler: Any = None


def use(tracer: trace.Tracer, sampler: Any) -> None:
    """Send spans to a tracer. `sampler` is its provider's."""
    global _tracer, _sampler
    _tracer, _sampler = tracer, sampler


def is_on() -> bool:
    return _tracer is not None


def is_recording() -> bool:
    """Whether we are inside of a span that somebody will get."""
    return _tracer is not None and trace.get_current_span().is_recording()


@contextmanager
def span(name: str, order: Order | None, fields: Mapping[str, Any]) -> Iterator[None]:
    """A span around an activity, in its fleet's trace; one of its own without a fleet.

    What is raised is not recorded: an unknown error's text may hold a secret. See `fail`.
    """
    if _tracer is None:
        yield
        return
    around = trace.get_current_span().get_span_context()
    links = (
        [trace.Link(around)] if around.is_valid else []
    )  # the host's own span of this invocation
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
    """The current span has failed."""
    if _tracer is not None:
        current = trace.get_current_span()
        current.set_attribute("error.type", code)
        current.set_status(Status(StatusCode.ERROR, code))


def fleet(order: Order, phase: str, started_at: str, ended_at: str, code: str | None) -> None:
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


def ids_of(order: Order) -> tuple[int, int] | None:
    """The trace's id and its root's; None before the fleet has begun.

    A batch may be used again once its history is gone, so its beginning is part of them.
    """
    if "created_at" not in order:
        return None
    whole = "|".join((order["owner"], str(order["batch_id"]), order["created_at"]))
    digest = hashlib.sha256(whole.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


def _below(order: Order | None) -> Context:
    ids = None if order is None else ids_of(order)
    if ids is None:
        return Context()
    # Sampled as the root will be: a sampler goes by the trace's id, and asks a parent first.
    sampled = _sampler.should_sample(None, ids[0], "fleet").decision.is_sampled()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    parent = SpanContext(*ids, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"powerlift.{name}": value for name, value in fields.items() if value is not None}


def _nanoseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1_000_000) * 1_000
