"""The whole stack in Starlette, with its session middleware, and nested mounts for blueprints.

The hooks are plain ASGI middleware and not `BaseHTTPMiddleware`, which would be slower.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Missing(Exception):
    """Raised by a view, turned into an answer by an error handler."""


async def missing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "missing"}, status_code=404)


class Duration:
    """The first hook before a view, and the one after it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        began = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Duration"] = f"{time.perf_counter() - began:.6f}"
            await send(message)

        await self.app(scope, receive, timed)


class Language:
    """The second hook before a view."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["state"]["lang"] = Headers(scope=scope).get("accept-language", "en")
        await self.app(scope, receive, send)


def answer(request: Request, linked: str) -> Response:
    id = request.path_params["id"]
    if id == 0:
        raise Missing
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    following = request.app.url_path_for(linked, id=id + 1)
    return JSONResponse(
        {"id": id, "lang": request.state.lang, "next": following, "visits": session["visits"]}
    )


async def item(request: Request) -> Response:
    return answer(request, "top:a6:b6:item")


def sync_item(request: Request) -> Response:
    return answer(request, "sync:a6:b6:item")


async def one_item(request: Request) -> Response:
    return answer(request, "item")


def one_sync_item(request: Request) -> Response:
    return answer(request, "sync_item")


def nested(endpoint: Any) -> list[Any]:
    return [
        Mount(
            f"/a{a}",
            name=f"a{a}",
            routes=[
                Mount(
                    f"/b{b}",
                    name=f"b{b}",
                    routes=[Route("/items/{id:int}", endpoint, name="item")],
                )
                for b in range(10)
            ],
        )
        for a in range(10)
    ]


def make_stack(routes: list[Any]) -> Starlette:
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(SessionMiddleware, secret_key="secret"),
            Middleware(Duration),
            Middleware(Language),
        ],
        exception_handlers={Missing: missing},
    )


app = make_stack(
    [
        Mount("/sync", name="sync", routes=nested(sync_item)),
        Mount("", name="top", routes=nested(item)),
    ]
)
one = make_stack(
    [
        Route("/items/{id:int}", one_item, name="item"),
        Route("/sync/items/{id:int}", one_sync_item, name="sync_item"),
    ]
)
