"""The answers of the benchmark in Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


class Line(JSONResponse):
    """Flask ends its JSON with a newline; here all do, to answer the same bytes."""

    def render(self, content: object) -> bytes:
        return super().render(content) + b"\n"


async def async_text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


def sync_text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


async def user(request: Request) -> Response:
    query = request.query_params
    return Line({"id": request.path_params["id"], "page": int(query["page"]), "q": query["q"]})


app = Starlette(
    routes=[
        Route("/async", async_text),
        Route("/sync", sync_text),
        Route("/users/{id:int}", user),
    ]
)
