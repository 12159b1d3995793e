"""A sync and an async view in an app with OpenTelemetry's instrumentation of Flask, whichever
`flask` is."""

from __future__ import annotations

from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from tracing import provider


def make_app() -> Flask:
    app = Flask("bench", static_folder=None)
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)

    @app.get("/sync")
    def sync_hello() -> str:
        return "Hello, World!"

    @app.get("/async")
    async def async_hello() -> str:
        return "Hello, World!"

    return app
