"""The small views in Starlette."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from common import (
    CHUNK,
    CHUNKS,
    CSV_ROWS,
    MEGABYTE,
    MEGABYTES,
    ROUTES,
    ROWS,
    WAIT_SECONDS,
    WAITING_THREADS,
    csv_row,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket, WebSocketDisconnect

FILES = Path(os.environ.get("BENCH_FILES", "."))
templates = Jinja2Templates(Path(__file__).parent / "templates")


async def async_text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


def sync_text(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def form(request: Request) -> Response:
    data = await request.form()
    return JSONResponse({"age": int(data["age"]), "name": data["name"]})


async def upload(request: Request) -> Response:
    async with request.form() as data:
        file = data["file"]
        return JSONResponse({"name": file.filename, "size": file.size, "title": data["title"]})


async def template(request: Request) -> Response:
    return templates.TemplateResponse(request, "table.html", {"title": "Articles", "rows": ROWS})


async def file(request: Request) -> Response:
    return FileResponse(FILES / request.url.path[1:], media_type="application/octet-stream")


async def sync_stream(request: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return StreamingResponse(chunks(), media_type="text/plain")


async def async_stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return StreamingResponse(chunks(), media_type="text/plain")


async def lone_stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="text/plain")


async def csv_stream(request: Request) -> Response:
    def rows() -> Iterator[str]:
        for number in range(CSV_ROWS):
            yield csv_row(number)

    return StreamingResponse(rows(), media_type="text/csv")


async def large_stream(request: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        for _ in range(MEGABYTES):
            yield MEGABYTE

    return StreamingResponse(chunks(), media_type="application/octet-stream")


async def async_wait(request: Request) -> Response:
    await asyncio.sleep(WAIT_SECONDS)
    return PlainTextResponse("Hello, World!")


def sync_wait(request: Request) -> Response:
    time.sleep(WAIT_SECONDS)
    return PlainTextResponse("Hello, World!")


async def item(request: Request) -> Response:
    query = request.query_params
    return JSONResponse(
        {"id": request.path_params["id"], "page": int(query["page"]), "q": query["q"]}
    )


async def echo_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = WAITING_THREADS
    yield


app = Starlette(
    routes=[
        Route("/async", async_text),
        Route("/sync", sync_text),
        Route("/echo", echo, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/template", template),
        Route("/file10k", file),
        Route("/file10m", file),
        Route("/stream/sync", sync_stream),
        Route("/stream/async", async_stream),
        Route("/stream/lone", lone_stream),
        Route("/stream/csv", csv_stream),
        Route("/stream/large", large_stream),
        Route("/wait/async", async_wait),
        Route("/wait/sync", sync_wait),
        WebSocketRoute("/ws", echo_websocket),
        *(Route(f"/items{number}/{{id:int}}", item) for number in range(ROUTES)),
    ],
    lifespan=lifespan,
)
