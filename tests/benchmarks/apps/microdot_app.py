"""The small views in Microdot."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import microdot
from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS
from microdot import Request, send_file
from microdot.asgi import Microdot, with_websocket
from microdot.jinja import Template
from microdot.multipart import FormDataIter, with_form_data

FILES = Path(os.environ.get("BENCH_FILES", "."))
Template.initialize(str(Path(__file__).parent / "templates"))
Request.max_content_length = 2 * 1024 * 1024
Request.max_body_length = 64 * 1024
FormDataIter.buffer_size = 64 * 1024
app = Microdot()
Answer = tuple[Any, int, dict[str, str]]


def compact(data: object) -> Answer:
    """What Microdot makes of a dict has spaces in it."""
    text = json.dumps(data, separators=(",", ":"))
    return text, 200, {"Content-Type": "application/json; charset=UTF-8"}


@app.get("/async")
async def async_text(request: Request) -> str:
    return "Hello, World!"


@app.get("/sync")
def sync_text(request: Request) -> str:
    return "Hello, World!"


@app.post("/echo")
async def echo(request: Request) -> Answer:
    return compact(request.json)


@app.post("/form")
async def form(request: Request) -> Answer:
    return compact({"age": int(request.form["age"]), "name": request.form["name"]})


@app.post("/upload")
@with_form_data
async def upload(request: Request) -> Answer:
    file = request.files["file"]
    content = await file.read()
    return compact({"name": file.filename, "size": len(content), "title": request.form["title"]})


@app.get("/template")
async def template(request: Request) -> Answer:
    page = Template("table.html").render(title="Articles", rows=ROWS)
    return page, 200, {"Content-Type": "text/html; charset=UTF-8"}


@app.get("/<re:file.*:name>")
async def file(request: Request, name: str) -> microdot.Response:
    return send_file(str(FILES / name), content_type="application/octet-stream")


@app.get("/stream/async")
async def async_stream(request: Request) -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return chunks()


@app.get("/wait/async")
async def async_wait(request: Request) -> str:
    await asyncio.sleep(WAIT_SECONDS)
    return "Hello, World!"


@app.get("/wait/sync")
def sync_wait(request: Request) -> str:
    time.sleep(WAIT_SECONDS)
    return "Hello, World!"


async def item(request: Request, id: int) -> Answer:
    return compact({"id": id, "page": int(request.args["page"]), "q": request.args["q"]})


for number in range(ROUTES):
    app.get(f"/items{number}/<int:id>")(item)


@app.get("/ws")
@with_websocket
async def echo_websocket(request: Request, ws: Any) -> None:
    while True:
        await ws.send(await ws.receive())
