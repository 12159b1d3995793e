"""The small views in asyncflask: those for Flask, and what Flask has not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from common import CHUNK, CHUNKS, WAIT_SECONDS, WAITING_THREADS
from flask_family import make_app

import asyncflask

app = make_app(asyncflask, asyncflask.Flask)
app.config["WORKER_THREADS"] = WAITING_THREADS
app.config["ASYNC_MAX_CONTENT_LENGTH"] = None  # for the large upload


@app.get("/stream/async")
async def async_stream() -> asyncflask.typing.ResponseReturnValue:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    return chunks(), {"Content-Type": "text/plain"}


@app.get("/stream/lone")
async def lone_stream() -> asyncflask.typing.ResponseReturnValue:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK
            await asyncio.sleep(0)

    return chunks(), {"Content-Type": "text/plain"}


@app.get("/wait/async")
async def async_wait() -> str:
    await asyncio.sleep(WAIT_SECONDS)
    return "Hello, World!"


@app.websocket("/ws")
async def echo_websocket() -> None:
    websocket = asyncflask.websocket
    while True:
        await websocket.send(await websocket.receive())
