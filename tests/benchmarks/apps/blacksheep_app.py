"""The small views in BlackSheep, which runs sync functions on the loop: there is no sync one."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from blacksheep import (
    Application,
    FromJSON,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    file,
    get,
    json,
    post,
    text,
    ws,
)
from blacksheep.server.responses import view
from blacksheep.settings.html import html_settings
from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS
from jinja2 import FileSystemLoader

os.environ["APP_JINJA_EXTENSION"] = ".html"
from blacksheep.server.rendering.jinja2 import JinjaRenderer

FILES = Path(os.environ.get("BENCH_FILES", "."))
html_settings.use(JinjaRenderer(FileSystemLoader(Path(__file__).parent / "templates")))
app = Application()


@get("/async")
async def async_text() -> Response:
    return text("Hello, World!")


@post("/echo")
async def echo(data: FromJSON[dict]) -> Response:
    return json(data.value)


@post("/form")
async def form(request: Request) -> Response:
    data = await request.form()
    return json({"age": int(data["age"]), "name": data["name"]})


@post("/upload")
async def upload(request: Request) -> Response:
    parts = {part.name: part for part in await request.multipart()}
    data = parts[b"file"]
    return json(
        {
            "name": data.file_name.decode(),
            "size": data.size,
            "title": parts[b"title"].data.decode(),
        }
    )


@get("/template")
async def template() -> Response:
    return view("table", {"title": "Articles", "rows": ROWS})


@get("/{name}")
async def send_file(name: str) -> Response:
    return file(str(FILES / name), "application/octet-stream")


@get("/stream/async")
async def async_stream() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return Response(200, content=StreamedContent(b"text/plain", chunks))


@get("/wait/async")
async def async_wait() -> Response:
    await asyncio.sleep(WAIT_SECONDS)
    return text("Hello, World!")


async def item(id: int, page: int, q: str) -> Response:
    return json({"id": id, "page": page, "q": q})


for number in range(ROUTES):
    app.router.add_get(f"/items{number}/{{id}}", item)


@ws("/ws")
async def echo_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass
