"""An async view in Starlette: not traced; traced by OpenTelemetry's ASGI middleware."""

from __future__ import annotations

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tracing import provider


async def hello(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


routes = [Route("/", hello)]
plain = Starlette(routes=routes)
by_asgi = Starlette(
    routes=routes, middleware=[Middleware(OpenTelemetryMiddleware, tracer_provider=provider)]
)
