"""The small views in Sanic, which runs sync functions on the loop: there is no sync one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from common import CHUNK, CHUNKS, ROUTES, ROWS, WAIT_SECONDS
from sanic import HTTPResponse, Request, Sanic, Websocket
from sanic.response import file, json, text
from sanic_ext import render

FILES = Path(os.environ.get("BENCH_FILES", "."))
app = Sanic("bench", configure_logging=False)
app.config.TEMPLATING_PATH_TO_TEMPLATES = Path(__file__).parent / "templates"
app.config.OAS = False
app.config.ACCESS_LOG = False


@app.get("/async")
async def async_text(request: Request) -> HTTPResponse:
    return text("Hello, World!")


@app.post("/echo")
async def echo(request: Request) -> HTTPResponse:
    return json(request.json)


@app.post("/form")
async def form(request: Request) -> HTTPResponse:
    return json({"age": int(request.form.get("age")), "name": request.form.get("name")})


@app.post("/upload")
async def upload(request: Request) -> HTTPResponse:
    data = request.files.get("file")
    return json({"name": data.name, "size": len(data.body), "title": request.form.get("title")})


@app.get("/template")
async def template(request: Request) -> HTTPResponse:
    return await render("table.html", context={"title": "Articles", "rows": ROWS})


@app.get("/<name:file.*>")
async def send_file(request: Request, name: str) -> HTTPResponse:
    return await file(FILES / name, mime_type="application/octet-stream")


@app.get("/stream/async")
async def async_stream(request: Request) -> None:
    response = await request.respond(content_type="text/plain; charset=utf-8")
    for _ in range(CHUNKS):
        await response.send(CHUNK)
    await response.eof()


@app.get("/wait/async")
async def async_wait(request: Request) -> HTTPResponse:
    await asyncio.sleep(WAIT_SECONDS)
    return text("Hello, World!")


async def item(request: Request, id: int) -> HTTPResponse:
    return json({"id": id, "page": int(request.args.get("page")), "q": request.args.get("q")})


for number in range(ROUTES):
    app.add_route(item, f"/items{number}/<id:int>", name=f"item{number}")


@app.websocket("/ws")
async def echo_websocket(request: Request, ws: Websocket) -> None:
    async for message in ws:
        await ws.send(message)
