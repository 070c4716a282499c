"""A small OpenTelemetry collector on 127.0.0.1: receives OTLP over HTTP and stores it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FORMS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/traces": ExportTraceServiceRequest}


@dataclass(frozen=True)
class Point:
    """The latest value of one series of a metric: `value` is a sum, a gauge's, or how many values a
    histogram has, whose sum is `total`.
    """

    unit: str
    attributes: dict[str, str]
    value: float
    total: float


@dataclass(frozen=True)
class Span:
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    start: float
    """Seconds since the epoch, as `end`."""
    end: float


class Receiver:
    """A context manager. `url` is the value for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.waiting = 0
        """Requests that `hold` keeps without an answer."""
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Send no responses until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def points(self, name: str) -> list[Point]:
        """Every series of a metric, summed over processes."""
        latest: dict[tuple[Any, ...], Point] = {}
        for resource, metric in self._metrics():
            if metric.name != name:
                continue
            data = getattr(metric, metric.WhichOneof("data"))
            for point in data.data_points:
                attributes = _plain(point.attributes)
                key = (resource["service.instance.id"], *sorted(attributes.items()))
                if hasattr(point, "bucket_counts"):
                    latest[key] = Point(metric.unit, attributes, point.count, point.sum)
                else:
                    value = point.as_double or point.as_int
                    latest[key] = Point(metric.unit, attributes, value, value)
        added: dict[tuple[Any, ...], Point] = {}
        for (_, *key), one in latest.items():
            before = added.get(tuple(key), Point(one.unit, one.attributes, 0, 0))
            value, total = before.value + one.value, before.total + one.total
            added[tuple(key)] = Point(one.unit, one.attributes, value, total)
        return list(added.values())

    def count(self, name: str, **attributes: str) -> float:
        """The sum over the series that have these attributes (`_` for a dot in their names)."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        matching = [one for one in self.points(name) if wanted.items() <= one.attributes.items()]
        return sum(one.value for one in matching)

    def names(self) -> set[str]:
        return {metric.name for _, metric in self._metrics()}

    def resources(self) -> list[dict[str, Any]]:
        return [resource for resource, _ in self._metrics()]

    def spans(self) -> list[Span]:
        return [
            Span(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                _plain(span.attributes),
                span.status.code == 2,
                span.start_time_unix_nano / 1e9,
                span.end_time_unix_nano / 1e9,
            )
            for path, body in list(self.bodies)
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def by_name(self) -> dict[str, list[Span]]:
        found = defaultdict(list)
        for span in self.spans():
            found[span.name].append(span)
        return found

    def _metrics(self) -> Iterator[tuple[dict[str, Any], Any]]:
        for path, body in list(self.bodies):
            if path == "/v1/metrics":
                for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in one.scope_metrics:
                        for metric in scope.metrics:
                            yield _plain(one.resource.attributes), metric

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.waiting += 1
                receiver._open.wait()
                receiver.waiting -= 1
                receiver.bodies.append((self.path, body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Discard the log."""

        return Handler


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
