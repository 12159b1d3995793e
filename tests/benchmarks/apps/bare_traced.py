"""A bare ASGI callable: not traced; traced by OpenTelemetry's ASGI middleware."""

from __future__ import annotations

from bare_app import TEXT, answer
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.types import Receive, Scope, Send
from tracing import provider


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"text/plain; charset=utf-8", TEXT)


by_asgi = OpenTelemetryMiddleware(plain, tracer_provider=provider)
