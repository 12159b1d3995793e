"""The small views in Quart."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS, WAITING_THREADS
from quart import Quart, render_template, request, send_file, websocket

FILES = Path(os.environ.get("BENCH_FILES", "."))
app = Quart("bench", root_path=str(Path(__file__).parent), static_folder=None)


@app.before_serving
async def allow_threads() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(WAITING_THREADS))


@app.get("/async")
async def async_text() -> str:
    return "Hello, World!"


@app.get("/sync")
def sync_text() -> str:
    return "Hello, World!"


@app.post("/echo")
async def echo() -> Any:
    return await request.get_json()


@app.post("/form")
async def form() -> dict[str, Any]:
    data = await request.form
    return {"age": int(data["age"]), "name": data["name"]}


@app.post("/upload")
async def upload() -> dict[str, Any]:
    file = (await request.files)["file"]
    file.seek(0, os.SEEK_END)
    title = (await request.form)["title"]
    return {"name": file.filename, "size": file.tell(), "title": title}


@app.get("/template")
async def template() -> str:
    return await render_template("table.html", title="Articles", rows=ROWS)


@app.get("/<any(file10k, file10m):name>")
async def file(name: str) -> Any:
    return await send_file(FILES / name, mimetype="application/octet-stream")


@app.get("/stream/sync")
def sync_stream() -> Any:
    def chunks() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return chunks(), {"Content-Type": "text/plain"}


@app.get("/stream/async")
async def async_stream() -> Any:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return chunks(), {"Content-Type": "text/plain"}


@app.get("/wait/async")
async def async_wait() -> str:
    await asyncio.sleep(WAIT_SECONDS)
    return "Hello, World!"


@app.get("/wait/sync")
def sync_wait() -> str:
    time.sleep(WAIT_SECONDS)
    return "Hello, World!"


async def item(id: int) -> dict[str, Any]:
    return {"id": id, "page": int(request.args["page"]), "q": request.args["q"]}


for number in range(ROUTES):
    app.add_url_rule(f"/items{number}/<int:id>", f"item{number}", item)


@app.websocket("/ws")
async def echo_websocket() -> None:
    while True:
        await websocket.send(await websocket.receive())
