"""What OpenTelemetry sends, read."""

from __future__ import annotations

from typing import Any, NamedTuple

from collector import Report
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtocolSpan

VARIABLES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://{collector}",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


class Span(NamedTuple):
    name: str
    attributes: dict[str, Any]
    errors: list[str]
    """The exceptions that were recorded."""


def server_spans(reports: list[Report]) -> list[Span]:
    found = []
    for report in reports:
        message = ExportTraceServiceRequest.FromString(report.body)
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                found += [
                    _read(span)
                    for span in scope.spans
                    if span.kind == ProtocolSpan.SPAN_KIND_SERVER
                ]
    return found


def _read(span: ProtocolSpan) -> Span:
    events = [_attributes(event) for event in span.events if event.name == "exception"]
    return Span(span.name, _attributes(span), [event["exception.type"] for event in events])


def _attributes(message: Any) -> dict[str, Any]:
    found = {}
    for attribute in message.attributes:
        value = attribute.value
        found[attribute.key] = getattr(value, value.WhichOneof("value"))
    return found
