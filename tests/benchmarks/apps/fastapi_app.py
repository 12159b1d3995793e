"""The small views in FastAPI."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS, WAITING_THREADS
from fastapi import Body, FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.templating import Jinja2Templates

FILES = Path(os.environ.get("BENCH_FILES", "."))
templates = Jinja2Templates(Path(__file__).parent / "templates")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = WAITING_THREADS
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/async", response_class=PlainTextResponse)
async def async_text() -> str:
    return "Hello, World!"


@app.get("/sync", response_class=PlainTextResponse)
def sync_text() -> str:
    return "Hello, World!"


@app.post("/echo")
async def echo(data: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    return data


@app.post("/form")
async def form(age: Annotated[int, Form()], name: Annotated[str, Form()]) -> dict[str, Any]:
    return {"age": age, "name": name}


@app.post("/upload")
async def upload(file: UploadFile, title: Annotated[str, Form()]) -> dict[str, Any]:
    return {"name": file.filename, "size": file.size, "title": title}


@app.get("/template")
async def template(request: Request) -> Response:
    return templates.TemplateResponse(request, "table.html", {"title": "Articles", "rows": ROWS})


@app.get("/file10k")
@app.get("/file10m")
async def file(request: Request) -> FileResponse:
    return FileResponse(FILES / request.url.path[1:], media_type="application/octet-stream")


@app.get("/stream/sync")
async def sync_stream() -> StreamingResponse:
    def chunks() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/stream/async")
async def async_stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/wait/async", response_class=PlainTextResponse)
async def async_wait() -> str:
    await asyncio.sleep(WAIT_SECONDS)
    return "Hello, World!"


@app.get("/wait/sync", response_class=PlainTextResponse)
def sync_wait() -> str:
    time.sleep(WAIT_SECONDS)
    return "Hello, World!"


async def item(id: int, page: int, q: str) -> dict[str, Any]:
    return {"id": id, "page": page, "q": q}


for number in range(ROUTES):
    app.get(f"/items{number}/{{id}}")(item)


@app.websocket("/ws")
async def echo_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass
