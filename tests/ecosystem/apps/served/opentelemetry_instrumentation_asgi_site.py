"""OpenTelemetry's ASGI middleware round the app, as round any other ASGI app; or Starlette's."""

from __future__ import annotations

import os
from importlib import import_module

from flask import Flask
from monitored import add_views
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

app = Flask(__name__)
app.add_middleware(import_module(os.environ["MIDDLEWARE"]).OpenTelemetryMiddleware)
add_views(app)
