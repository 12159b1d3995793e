"""Slow clients, and few threads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

from asyncflask import Flask, request, send_file
from contract.apps.diary import write

app = Flask(__name__)
app.config.update(MAX_THREADS=3, WORKER_THREADS=1)
begun = 0


class Counting:
    """ASGI middleware that counts requests."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        global begun
        begun += scope["type"] == "http" and scope["path"] != "/begun"
        await self.app(scope, receive, send)


app.add_middleware(Counting)

LARGE = tempfile.NamedTemporaryFile()
os.truncate(LARGE.name, 20_000_000)
LARGE.seek(0, os.SEEK_END)
LARGE.write(b"end of the file")
LARGE.flush()


@app.teardown_request
async def torn_down(error: BaseException | None) -> None:
    if "id" in request.args:
        write(request.args["id"], "torn down")


@app.post("/body")
def body() -> str:
    write(request.args["id"], "reads")
    return str(len(request.get_data()))


@app.get("/begun")
async def count() -> str:
    return str(begun)


@app.post("/body/sync")
def body_sync() -> str:
    return str(len(request.get_data()))


@app.post("/body/async")
async def body_async() -> str:
    return str(len(request.get_data()))


@app.post("/form/async")
async def form_async() -> str:
    return str(len(request.files["f"].read()))


@app.get("/file")
def file() -> Any:
    return send_file(LARGE.name, mimetype="text/plain")


@app.get("/stream")
def stream() -> Iterator[bytes]:
    for _ in range(200):
        yield b"x" * 100_000


@app.get("/async")
async def async_() -> str:
    return "async"


@app.get("/sync")
def sync() -> str:
    return "sync"
