"""Requests in progress when a server is told to stop; `broken` cannot even start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from asyncflask import (
    Flask,
    current_app,
    request,
    run_sync,
    stream_with_context,
    websocket,
)
from contract.apps.diary import write


@asynccontextmanager
async def lifespan(app: Flask) -> AsyncIterator[None]:
    write("app", "lifespan begins")
    yield
    write("app", "lifespan ends")


app = Flask(__name__, lifespan=lifespan)
app.config["SHUTDOWN_TIMEOUT"] = 1.5


@app.before_serving
async def before() -> None:
    write("app", "before")


@app.after_serving
def after_sync() -> None:
    write("app", "after sync")


@app.after_serving
async def after_async() -> None:
    await asyncio.sleep(0.01)
    write("app", "after async")


@app.while_serving
async def during() -> AsyncIterator[None]:
    write("app", "while begins")
    yield
    write("app", "while ends")


@app.post("/slow/<colour>")
def slow_sync(colour: str) -> str:
    write(colour, "began")
    time.sleep(0.7)
    write(colour, "ended")
    return request.get_data(as_text=True)


@app.post("/slow/async")
async def slow_async() -> str:
    write("async", "began")
    await asyncio.sleep(0.7)
    write("async", "ended")
    return request.get_data(as_text=True)


@app.post("/long")
async def long() -> str:
    """Takes longer than the time to shut down: it ends nevertheless."""
    write("long", "began")
    await asyncio.sleep(3)
    write("long", "ended")
    return "done"


@app.get("/stream/sync")
def stream_sync() -> Any:
    def generate() -> Iterator[str]:
        try:
            while True:
                yield "tick\n"
                time.sleep(0.02)
        finally:
            write("stream/sync", "ended")

    return generate()


@app.get("/stream/async")
async def stream_async() -> Any:
    async def generate() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(600)
        finally:
            write("stream/async", "ended")

    return generate()


@app.get("/stream/short")
async def stream_short() -> Any:
    """Ends within the time that streams are given."""

    async def generate() -> AsyncIterator[str]:
        yield "tick\n"
        await asyncio.sleep(0.7)
        yield "end\n"
        write("stream/short", "ended")

    return generate()


@app.get("/stream/told")
async def stream_told() -> Any:
    """Looks whether the server stops."""

    async def generate() -> AsyncIterator[str]:
        while not app.stopping:
            yield "tick\n"
            await asyncio.sleep(0.02)
        yield "end\n"
        write("stream/told", "ended")

    return generate()


@app.get("/stream/told/sync")
def stream_told_sync() -> Any:
    def generate() -> Iterator[str]:
        while not current_app.stopping:
            yield "tick\n"
            time.sleep(0.02)
        yield "end\n"
        write("stream/told/sync", "ended")

    return stream_with_context(generate())


@app.get("/stream/blocks/<how>")
async def stream_blocks(how: str) -> Any:
    """In sync code, for longer than the time to shut down."""

    def generate() -> Iterator[str]:
        yield "tick\n"
        time.sleep(600)

    async def generate_async() -> AsyncIterator[str]:
        yield "tick\n"
        await run_sync(time.sleep, 600)

    return generate() if how == "sync" else generate_async()


@app.websocket("/ws/blocks")
def ws_blocks() -> None:
    websocket.sync.accept()
    time.sleep(600)


@app.post("/stream/late")
async def stream_late() -> Any:
    """Begins when all streams should have ended."""
    write("stream/late", "began")
    await asyncio.sleep(2.5)
    return await stream_async()


stuck = Flask("stuck", lifespan=lifespan)
"""Has one thread for sync functions, which is soon taken for good."""
stuck.config["SHUTDOWN_TIMEOUT"] = 0.5
stuck.config["WORKER_THREADS"] = 1


@stuck.after_serving
def after_stuck() -> None:
    write("app", "after sync")


@stuck.get("/<request_id>")
def never_ends(request_id: str) -> str:
    write(request_id, "began")
    time.sleep(600)
    return "never"


@stuck.get("/background")
async def background() -> str:
    def work() -> None:
        write("background", "began")
        time.sleep(600)

    stuck.add_background_task(work)
    return "begun"


@app.websocket("/ws")
async def ws() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket("/ws/sync")
def ws_sync() -> None:
    for message in websocket.sync:
        websocket.sync.send(message)


@app.websocket("/ws/deaf")
async def ws_deaf() -> None:
    await websocket.accept()
    await asyncio.sleep(600)


@app.websocket("/ws/handshake")
async def ws_handshake() -> None:
    write("handshake", "began")
    await asyncio.sleep(600)


broken = Flask(__name__)


@broken.before_serving
def fail() -> None:
    raise LookupError("no database")


@broken.after_serving
def never() -> None:
    write("broken", "after")
