"""An async view in asyncflask: not traced; traced by OpenTelemetry's ASGI middleware."""

from __future__ import annotations

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from tracing import provider

from asyncflask import Flask


def make_app() -> Flask:
    app = Flask("bench", static_folder=None)

    @app.get("/")
    async def hello() -> str:
        return "Hello, World!"

    return app


plain, by_asgi = make_app(), make_app()
by_asgi.add_middleware(OpenTelemetryMiddleware, tracer_provider=provider)
