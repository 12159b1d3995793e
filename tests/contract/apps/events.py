"""Sync and async event streams, which record on which thread they begin and end."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from asyncflask import EventStream, Flask, ServerSentEvent, request, stream_with_context
from asyncflask.rooms import Rooms
from contract.apps.diary import write

app = Flask(__name__)
app.config.update(SHUTDOWN_TIMEOUT=1.5, EVENT_STREAM_KEEP_ALIVE=0.1, WORKER_THREADS=4)
rooms = Rooms(app)
CHUNK = "x" * 65_536
produced: dict[str, int] = {}
waiting: queue.Queue[None] = queue.Queue()


def where() -> str:
    loop = asyncio._get_running_loop()
    return "loop" if loop is not None else f"thread {threading.get_ident()}"


def endless(request_id: str, pause: float, data: str, start: int) -> Iterator[ServerSentEvent]:
    write(request_id, f"began on {where()}")
    try:
        while True:
            start += 1
            produced[request_id] = produced.get(request_id, 0) + len(data)
            yield ServerSentEvent(data, id=start)
            if pause:
                time.sleep(pause)
    finally:
        write(request_id, f"ended on {where()}")


async def endless_async(
    request_id: str, pause: float, data: str, start: int
) -> AsyncIterator[ServerSentEvent]:
    write(request_id, f"began on {where()}")
    try:
        while True:
            start += 1
            produced[request_id] = produced.get(request_id, 0) + len(data)
            yield ServerSentEvent(data, id=start)
            if pause:
                await asyncio.sleep(pause)
    finally:
        write(request_id, f"ended on {where()}")


def options() -> tuple[str, float, str, int]:
    return (
        request.args["id"],
        float(request.args.get("pause", "0.01")),
        CHUNK if "large" in request.args else "tick",
        int(request.last_event_id or 0),
    )


def keep_alive() -> float:
    return float(request.args.get("keep_alive", "0"))


@app.get("/sync")
def sync() -> EventStream:
    return EventStream(endless(*options()), keep_alive=keep_alive())


@app.get("/async")
async def async_() -> EventStream:
    return EventStream(endless_async(*options()), keep_alive=keep_alive())


@app.get("/sync-from-async")
async def sync_from_async() -> EventStream:
    return EventStream(endless(*options()), keep_alive=keep_alive())


@app.get("/sync-context")
def sync_context() -> EventStream:
    return EventStream(stream_with_context(endless(*options())), keep_alive=keep_alive())


@app.get("/async-context")
async def async_context() -> EventStream:
    return EventStream(stream_with_context(endless_async(*options())), keep_alive=keep_alive())


@app.get("/sync/quiet")
def sync_quiet() -> EventStream:
    return EventStream(endless(request.args["id"], 1.0, "tick", 0))


@app.get("/async/quiet")
async def async_quiet() -> EventStream:
    return EventStream(endless_async(request.args["id"], 600, "tick", 0), retry=4321)


@app.get("/sync/blocks")
def sync_blocks() -> EventStream:
    """Longer than the server is given to stop."""
    return EventStream(endless(request.args["id"], 600, "tick", 0))


@app.get("/sync/idle")
def sync_idle() -> EventStream:
    """Until the client has left and an event comes."""

    def generate() -> Iterator[str]:
        yield "tick"
        waiting.get()
        yield "tock"

    return EventStream(generate(), keep_alive=0)


@app.post("/sync/idle")
async def wake() -> str:
    for _ in range(int(request.args["n"])):
        waiting.put(None)
    return ""


@app.get("/async/idle")
async def async_idle() -> EventStream:
    return EventStream(endless_async(request.args["id"], 600, "tick", 0), keep_alive=0)


@app.get("/async/stubborn")
async def stubborn() -> EventStream:
    """Takes no notice of its cancellation."""

    async def generate() -> AsyncIterator[str]:
        while True:
            try:
                yield "tick"
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                pass

    return EventStream(generate(), keep_alive=0)


@app.get("/late")
async def late() -> EventStream:
    """Begins when the server is stopping."""
    write("late", "began")
    await asyncio.sleep(1)
    return EventStream(endless_async("late", 600, "tick", 0))


@app.get("/finite")
async def finite() -> EventStream:
    """Comes to its end within the time that it is given."""

    async def generate() -> AsyncIterator[str]:
        yield "tick"
        await asyncio.sleep(0.7)
        yield "end"
        write("finite", "ended")

    return EventStream(generate(), finite=True)


@app.get("/finite/late")
async def finite_late() -> EventStream:
    """Says that it comes to an end, and does not."""
    return EventStream(endless_async(request.args["id"], 600, "tick", 0), finite=True)


@app.get("/error")
async def error() -> EventStream:
    async def generate() -> AsyncIterator[str]:
        yield "begun"
        raise LookupError("on purpose")

    return EventStream(generate())


@app.get("/produced/<name>")
def how_many(name: str) -> str:
    return str(produced.get(name, 0))


@app.get("/room")
async def room() -> EventStream:
    return EventStream(rooms.follow("news", after=request.last_event_id), keep_alive=0)


@app.post("/room")
async def publish() -> str:
    await rooms.send("news", request.get_data(as_text=True))
    return ""


@app.after_serving
def after() -> None:
    write("app", "after")


proxied = Flask("proxied")
proxied.config.update(app.config)
proxied.wsgi_app = ProxyFix(proxied.wsgi_app)  # type: ignore[method-assign]
for rule in ("/sync", "/async", "/async/idle", "/produced/<name>"):
    endpoint: Any = next(r.endpoint for r in app.url_map.iter_rules() if r.rule == rule)
    proxied.add_url_rule(rule, endpoint, app.view_functions[endpoint])
