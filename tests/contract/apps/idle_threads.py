"""Long-lived WebSockets and streams, behind a hook that takes a thread for each."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

from asyncflask import EventStream, Flask, stream_with_context, websocket
from asyncflask.asgi.pool import _idle, _pool

app = Flask(__name__)
app.config.update(MAX_THREADS=20, WORKER_THREADS=8, SHUTDOWN_TIMEOUT=2)
app.config.from_prefixed_env()
local = threading.local()


@app.before_request
def hook() -> None:
    local.opened = True


if "TEARDOWN" in os.environ:

    @app.teardown_request
    def close(error: BaseException | None) -> None:
        assert local.opened, "another thread than that of the hook"


async def ticks() -> AsyncIterator[str]:
    yield "tick\n"
    await asyncio.Event().wait()


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    return ticks()


@app.get("/context")
async def context() -> AsyncIterator[str]:
    return stream_with_context(ticks())


@app.get("/events")
async def events() -> EventStream:
    return EventStream(ticks())


@app.websocket("/async")
async def async_socket() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket("/sync")
def sync_socket() -> None:
    for message in websocket.sync:
        websocket.sync.send(message)


@app.get("/busy")
def busy() -> str:
    """How many threads are taken, this one among them."""
    return str(len(_pool) - len(_idle))
