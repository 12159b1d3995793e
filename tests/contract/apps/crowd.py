"""Many WebSockets, some with clients that do not read; events are written down."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from asyncflask import Flask, WebSocketDisconnect, request, websocket
from contract.apps.diary import write

app = Flask(__name__)
app.config["SHUTDOWN_TIMEOUT"] = 6

members: dict[str, list[Any]] = {}


@app.teardown_request
def teardown(error: BaseException | None) -> None:
    if "id" in request.args:
        write(request.args["id"], "teardown")


async def listen(policy: str) -> None:
    """Be a member until the end."""
    name = request.args["id"]
    connection = websocket._get_current_object()  # type: ignore[attr-defined]
    await websocket.accept()
    members.setdefault(policy, []).append(connection)
    try:
        await websocket.receive()
    except WebSocketDisconnect as end:
        write(name, f"ended {end.code} {end.reason}")
        raise
    finally:
        members[policy].remove(connection)


@app.websocket("/close", send_queue=50)
async def close() -> None:
    await listen("close")


@app.websocket("/drop_oldest", send_policy="drop_oldest", send_timeout=60)
async def drop_oldest() -> None:
    await listen("drop_oldest")


@app.websocket("/wait", send_policy="wait", send_timeout=1)
async def wait() -> None:
    await listen("wait")


@app.websocket("/deaf", send_queue=50)
async def deaf() -> None:
    """Does not even notice that it was cut off."""
    connection = websocket._get_current_object()  # type: ignore[attr-defined]
    await websocket.accept()
    members.setdefault("deaf", []).append(connection)
    try:
        await asyncio.sleep(600)
    finally:
        members["deaf"].remove(connection)
        write(request.args["id"], "cancelled")


@app.get("/members/<policy>")
async def count(policy: str) -> str:
    return str(len(members.get(policy, ())))


@app.post("/broadcast/<policy>/<int:begin>/<int:end>/<int:size>")
async def broadcast(policy: str, begin: int, end: int, size: int) -> str:
    """Messages of this size to each, each its own, in memory of its own."""
    for index in range(begin, end):
        waiting = []
        for connection in list(members.get(policy, ())):
            data = str(index).encode().ljust(size)
            if (room := connection.deliver({"type": "websocket.send", "bytes": data})) is not None:
                waiting.append(room)
        await asyncio.gather(*waiting)
        await asyncio.sleep(0)
    return str(len(members.get(policy, ())))


@app.websocket("/flood", send_timeout=1)
async def flood() -> None:
    try:
        while True:
            await websocket.send(bytes(65_536))
    except WebSocketDisconnect as end:
        write(request.args["id"], f"ended {end.code} {end.reason}")
    try:
        await websocket.send("late")
    except WebSocketDisconnect as end:
        write(request.args["id"], f"late {end.code}")


@app.websocket("/flood/sync", send_timeout=1)
def flood_sync() -> None:
    try:
        while True:
            websocket.sync.send(bytes(65_536))
    except WebSocketDisconnect as end:
        write(request.args["id"], f"ended {end.code} {end.reason}")
    try:
        websocket.sync.send("late")
    except WebSocketDisconnect as end:
        write(request.args["id"], f"late {end.code}")


# -- sync handlers


@app.websocket("/plain")
def plain() -> None:
    for message in websocket.sync:
        websocket.sync.send(message)


@app.websocket("/plain/timeout")
def plain_with_timeout() -> None:
    websocket.sync.accept()
    while True:
        try:
            websocket.sync.send(websocket.sync.receive(timeout=0.1))
        except TimeoutError:
            pass


@app.get("/sync")
def sync() -> str:
    return "sync"


@app.get("/async")
async def asynchronous() -> str:
    return "async"


# -- at a shutdown


@app.websocket("/idle")
async def idle() -> None:
    await websocket.accept()
    write("idle", "began")
    await websocket.receive()


@app.websocket("/backlog", send_policy="drop_oldest", send_timeout=60)
async def backlog() -> None:
    connection = websocket._get_current_object()  # type: ignore[attr-defined]
    await websocket.accept()
    for _ in range(1_000):
        connection.deliver({"type": "websocket.send", "bytes": bytes(65_536)})
        await asyncio.sleep(0)
    write(request.args["id"], "began")
    await websocket.receive()


@app.post("/slow")
def slow() -> str:
    write("slow", "began")
    time.sleep(1)
    return request.get_data(as_text=True)


@app.get("/stream")
async def stream() -> Any:
    async def generate() -> Any:
        yield "tick\n"
        try:
            await asyncio.sleep(600)
        finally:
            write("stream", "ended")

    return generate()
