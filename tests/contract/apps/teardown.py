"""All ways in which a request can end; each records which teardown functions ran."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncflask import Flask, g, request, stream_with_context, websocket
from contract.apps.diary import write

app = Flask(__name__)
app.config["SHUTDOWN_TIMEOUT"] = 2


@app.before_request
def begin() -> Any:
    g.id = request.args["id"]
    g.thread = threading.get_ident()
    write(g.id, "began")
    if "hook" in request.args:
        raise LookupError("in the hook")
    if "deny" in request.args:
        time.sleep(float(request.args["deny"]))
        return "denied", 418
    return None


@app.after_request
def after(response: Any) -> Any:
    if "after" in request.args:
        raise LookupError("in after_request")
    return response


# In the order of registration, which is the opposite of that of the calls.


@app.teardown_request
def request_sync(error: BaseException | None) -> None:
    on_its_thread = threading.get_ident() == g.thread
    write(request.args["id"], "request-sync" if on_its_thread else "request on a wrong thread")


@app.teardown_request
async def request_async(error: BaseException | None) -> None:
    asyncio.get_running_loop()
    await asyncio.sleep(0)
    write(request.args["id"], "request-async")


@app.teardown_request
def request_raising(error: BaseException | None) -> None:
    if "raise" in request.args:
        raise LookupError("in a teardown function")


@app.teardown_request
async def request_async_raising(error: BaseException | None) -> None:
    if "raise" in request.args:
        raise LookupError("in an async teardown function")


@app.teardown_appcontext
def app_sync(error: BaseException | None) -> None:
    if "id" in g:
        on_its_thread = threading.get_ident() == g.thread
        write(g.id, "app-sync" if on_its_thread else "app on a wrong thread")


@app.teardown_appcontext
async def app_async(error: BaseException | None) -> None:
    await asyncio.sleep(0)
    if "id" in g:
        write(g.id, "app-async")


@app.teardown_appcontext
def app_raising(error: BaseException | None) -> None:
    if "id" in g and request_raises(g.id):
        raise LookupError("in a teardown function of the app")


def request_raises(request_id: str) -> bool:
    return "raise" in request_id


@app.get("/sync")
def sync() -> str:
    if "error" in request.args:
        raise LookupError("in the view")
    time.sleep(float(request.args.get("wait", "0")))
    return "done"


@app.get("/async")
async def async_() -> str:
    if "error" in request.args:
        raise LookupError("in the view")
    await asyncio.sleep(float(request.args.get("wait", "0")))
    return "done"


@app.get("/cancel", cancel_on_disconnect=True)
async def cancel() -> str:
    await asyncio.sleep(600)
    return "done"


# -- streams: "?ticks" are how many; "?fail" raises after them


def ticks(count: int, fail: bool) -> Iterator[str]:
    for number in range(count):
        yield f"tick {number}\n"
        time.sleep(0.01)
    if fail:
        raise LookupError("in the stream")


async def async_ticks(count: int, fail: bool) -> AsyncIterator[str]:
    for number in range(count):
        yield f"tick {number}\n"
        await asyncio.sleep(0.01)
    if fail:
        raise LookupError("in the stream")


def how_many() -> tuple[int, bool]:
    return int(request.args.get("ticks", 1_000_000)), "fail" in request.args


@app.get("/stream/sync")
def stream_sync() -> Any:
    return ticks(*how_many())


@app.get("/stream/async")
async def stream_async() -> Any:
    return async_ticks(*how_many())


@app.get("/stream/sync-context")
def stream_sync_context() -> Any:
    return stream_with_context(ticks(*how_many()))


@app.get("/stream/async-context")
async def stream_async_context() -> Any:
    return stream_with_context(async_ticks(*how_many()))


@app.get("/stream/crossed")
def stream_crossed() -> Any:
    return stream_with_context(async_ticks(*how_many()))


# -- WebSockets


@app.websocket("/ws")
async def ws() -> None:
    async for message in websocket:
        if message == "return":
            return
        if message == "raise":
            raise LookupError("in the handler")
        if message == "wait":
            await asyncio.sleep(600)
        await websocket.send(message)


@app.websocket("/ws/sync")
def ws_sync() -> None:
    for message in websocket.sync:
        if message == "return":
            return
        if message == "raise":
            raise LookupError("in the handler")
        websocket.sync.send(message)


@app.websocket("/ws/early")
async def ws_early() -> None:
    await asyncio.sleep(float(request.args.get("wait", "0")))
    if "error" in request.args:
        raise LookupError("before the handshake")
    await websocket.accept(headers=[("X-Bad", "a\0b")] if "bad" in request.args else [])
