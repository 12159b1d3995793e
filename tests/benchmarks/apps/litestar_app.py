"""The small views in Litestar."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS, WAITING_THREADS
from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.contrib.jinja import JinjaTemplateEngine
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body
from litestar.response import File, Stream, Template
from litestar.template.config import TemplateConfig

FILES = Path(os.environ.get("BENCH_FILES", "."))


@dataclass
class Person:
    name: str
    age: int


@dataclass
class Upload:
    title: str
    file: UploadFile


@get("/async", media_type=MediaType.TEXT)
async def async_text() -> str:
    return "Hello, World!"


@get("/sync", media_type=MediaType.TEXT, sync_to_thread=True)
def sync_text() -> str:
    return "Hello, World!"


@post("/echo", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@post("/form", status_code=200)
async def form(
    data: Annotated[Person, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> dict[str, Any]:
    return {"age": data.age, "name": data.name}


@post("/upload", status_code=200, request_max_body_size=None)
async def upload(
    data: Annotated[Upload, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, Any]:
    file = data.file.file
    file.seek(0, os.SEEK_END)
    return {"name": data.file.filename, "size": file.tell(), "title": data.title}


@get("/template")
async def template() -> Template:
    return Template("table.html", context={"title": "Articles", "rows": ROWS})


@get(["/file10k", "/file10m"])
async def file(request: Request) -> File:
    return File(FILES / request.url.path[1:], media_type="application/octet-stream")


@get("/stream/sync", media_type=MediaType.TEXT)
async def sync_stream() -> Stream:
    def chunks() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return Stream(chunks(), media_type=MediaType.TEXT)


@get("/stream/async", media_type=MediaType.TEXT)
async def async_stream() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return Stream(chunks(), media_type=MediaType.TEXT)


@get("/wait/async", media_type=MediaType.TEXT)
async def async_wait() -> str:
    await asyncio.sleep(WAIT_SECONDS)
    return "Hello, World!"


@get("/wait/sync", media_type=MediaType.TEXT, sync_to_thread=True)
def sync_wait() -> str:
    time.sleep(WAIT_SECONDS)
    return "Hello, World!"


@get([f"/items{number}/{{id:int}}" for number in range(ROUTES)])
async def item(id: int, page: int, q: str) -> dict[str, Any]:
    return {"id": id, "page": page, "q": q}


@websocket("/ws")
async def echo_websocket(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


async def allow_threads() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = WAITING_THREADS


app = Litestar(
    [
        async_text,
        sync_text,
        echo,
        form,
        upload,
        template,
        file,
        sync_stream,
        async_stream,
        async_wait,
        sync_wait,
        item,
        echo_websocket,
    ],
    template_config=TemplateConfig(
        directory=Path(__file__).parent / "templates", engine=JinjaTemplateEngine
    ),
    on_startup=[allow_threads],
    logging_config=None,
)
