"""Views with async and sync hooks in Starlette. The hooks are plain ASGI middleware and not
`BaseHTTPMiddleware`, which would be slower; a sync hook runs in Starlette's thread pool.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


def sync_text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


def begin(scope: Scope) -> None:
    scope["state"]["began"] = time.perf_counter()


def language(scope: Scope) -> None:
    scope["state"]["lang"] = Headers(scope=scope).get("accept-language", "en")


def end(scope: Scope, message: Message) -> None:
    duration = time.perf_counter() - scope["state"]["began"]
    MutableHeaders(scope=message)["X-Duration"] = f"{duration:.6f}"


def teardown_function(scope: Scope) -> None:
    pass


def as_async(hook: Callable[..., None]) -> Callable[..., Any]:
    async def called(*args: Any) -> None:
        hook(*args)

    return called


def in_thread(hook: Callable[..., None]) -> Callable[..., Any]:
    async def called(*args: Any) -> None:
        await run_in_threadpool(hook, *args)

    return called


class Before:
    def __init__(self, app: ASGIApp, hook: Callable[..., Any]) -> None:
        self.app = app
        self.hook = hook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})
            await self.hook(scope)
        await self.app(scope, receive, send)


class After:
    def __init__(self, app: ASGIApp, hook: Callable[..., Any]) -> None:
        self.app = app
        self.hook = hook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self.hook(scope, message)
            await send(message)

        await self.app(scope, receive, sent)


class Teardown:
    def __init__(self, app: ASGIApp, hook: Callable[..., Any]) -> None:
        self.app = app
        self.hook = hook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            await self.hook(scope)


def make_app(view: Any, *middleware: Middleware) -> Starlette:
    return Starlette(routes=[Route("/", view)], middleware=middleware)


def four(kind: Callable[..., Any]) -> tuple[Middleware, ...]:
    return (
        Middleware(Teardown, kind(teardown_function)),
        Middleware(Before, kind(begin)),
        Middleware(Before, kind(language)),
        Middleware(After, kind(end)),
    )


none = make_app(text)
teardown = make_app(text, Middleware(Teardown, as_async(teardown_function)))
four_async = make_app(text, *four(as_async))
mixed = make_app(text, Middleware(Teardown, in_thread(teardown_function)))
none_sync = make_app(sync_text)
four_sync = make_app(sync_text, *four(in_thread))
