"""Views in Flask with OpenTelemetry's instrumentation of it."""

from __future__ import annotations

from instrumented_family import make_app

app = make_app()
