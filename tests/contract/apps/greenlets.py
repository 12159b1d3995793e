"""Requests that share one thread: they meet, or wait for each other."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio.to_thread

from asyncflask import Flask, current_app, g, request, run_sync
from contract.apps.diary import write

app = Flask(__name__)
barriers = {name: threading.Barrier(10) for name in ("sync", "body", "stream", "nested")}
arrived = 0
everybody = asyncio.Event()


@functools.cache
def local() -> threading.local:
    """Made late: one that is made before gevent patches is none of greenlets."""
    return threading.local()


@app.before_request
def begin() -> None:
    g.greenlet = threading.get_ident()


@app.teardown_request
def torn_down(error: BaseException | None) -> None:
    same = threading.get_ident() == g.greenlet
    if "id" in request.args:
        write(request.args["id"], "torn down" if same else "torn down elsewhere")


@app.get("/sync")
def sync() -> dict[str, Any]:
    """Ten that are at the same place at the same time."""
    local().id = request.args["id"]
    barriers["sync"].wait(10)
    return {
        "id": request.args["id"],
        "local": local().id,
        "same": g.greenlet == threading.get_ident(),
    }


@app.post("/body")
def body() -> str:
    """The same, after each has read its body by way of the loop."""
    size = len(request.get_data())
    barriers["body"].wait(10)
    return str(size)


@app.post("/size")
def size() -> str:
    return str(len(request.get_data()))


@app.get("/async")
async def async_() -> str:
    global arrived
    arrived += 1
    if arrived == 10:
        everybody.set()
    await asyncio.wait_for(everybody.wait(), 10)
    return request.args["id"]


@app.get("/stream")
def stream() -> Iterator[str]:
    def generate() -> Iterator[str]:
        yield "first "
        barriers["stream"].wait(10)
        yield "second"

    return generate()


@app.get("/nested")
def nested() -> Any:
    """Sync code that waits for the loop, which waits for sync code of the same request."""

    async def ask_back() -> list[int]:
        await asyncio.sleep(0)
        return [await run_sync(threading.get_ident), await run_sync(barriers["nested"].wait, 10)]

    ident, _ = current_app.ensure_sync(ask_back)()
    return {"same": ident == threading.get_ident()}


@app.get("/threads")
async def threads() -> dict[str, Any]:
    """What goes to threads by itself."""
    return {
        "asyncio": await asyncio.to_thread(sum, [1, 2]),
        "anyio": await anyio.to_thread.run_sync(sum, [1, 2]),
        "names": bool(await asyncio.get_running_loop().getaddrinfo("localhost", 80)),
    }


@app.get("/background")
def background() -> str:
    app.add_background_task(later, request.args["id"])
    return "later"


def later(name: str) -> None:
    time.sleep(0.001)
    write(name, "done")


@app.get("/connection")
async def connection() -> str:
    """A connection of asyncio's own, by sockets that are patched."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", family=socket.AF_INET)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
    return line.decode()
