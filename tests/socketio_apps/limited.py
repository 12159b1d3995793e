"""A server with low limits for clients."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from asyncflask import Flask
from asyncflask.socketio import SocketIO, emit, join_room, leave_room, transport

app = Flask(__name__)
app.config.update(
    SECRET_KEY="secret",
    SHUTDOWN_TIMEOUT=2,
    WORKER_THREADS=6,
    SOCKETIO_CLIENTS=5,
    SOCKETIO_CONNECT_TIMEOUT=2,
    SOCKETIO_NAMESPACES=3,
    SOCKETIO_ROOMS=4,
    SOCKETIO_NAME_LENGTH=40,
    SOCKETIO_CALLBACKS=5,
    SOCKETIO_EVENTS=4,
    SOCKETIO_EVENT_THREADS=3,
    SOCKETIO_ATTACHMENTS=2,
    SOCKETIO_ATTACHMENT_BYTES=1000,
    WEBSOCKET_SEND_QUEUE=50,
    WEBSOCKET_SEND_QUEUE_BYTES=200_000,
    WEBSOCKET_SEND_TIMEOUT=0.5,
)
pings = {"ping_interval": 1, "ping_timeout": 2} if "QUICK_PINGS" in os.environ else {}
socketio = SocketIO(app, namespaces="*", **pings)
vars(transport)["UPGRADE_SECONDS"] = 0.5

go_on = threading.Event()
begun: list[str] = []
ended: list[str] = []
most = 0
here: list[Any] = []
left: list[str] = []


def count(name: str) -> None:
    global most
    begun.append(name)
    most = max(most, len(begun) - len(ended))


@socketio.on("hold a thread")
def hold(name: str) -> None:
    count(name)
    go_on.wait(60)
    ended.append(name)


@socketio.on("hold a task")
async def hold_task(name: str) -> None:
    count(name)
    while not go_on.is_set():
        await asyncio.sleep(0.01)
    ended.append(name)


@socketio.on("binary")
async def binary(*parts: bytes) -> int:
    return sum(map(len, parts))


@socketio.on("connect")
async def connected(auth: Any) -> None:
    here.append(auth)


@socketio.on("disconnect")
async def disconnected(reason: str) -> None:
    left.append(reason)


@socketio.on("enter")
def enter(room: str) -> None:
    join_room(room)


@socketio.on("leave")
async def leave(room: str) -> None:
    await leave_room(room)


answered: list[int] = []


@socketio.on("ask me")
async def ask_client(number: int) -> None:
    await emit("question", number, callback=lambda: answered.append(number))


@app.get("/go-on")
async def let_go_on() -> str:
    go_on.set()
    return ""


@app.get("/page")
def page() -> str:
    return "page"


@app.get("/news")
async def news() -> str:
    await socketio.emit("news", "n" * 60_000)
    return ""


@app.get("/state")
async def state() -> dict[str, Any]:
    manager = socketio.server.manager
    return {
        "begun": begun,
        "ended": ended,
        "most": most,
        "connected": len(here),
        "left": left,
        "clients": len(socketio.server.clients),
        "rooms": len(socketio.server._taken._rooms),
        "callbacks": sum(len(waiting) - 1 for waiting in manager.callbacks.values()),
        "answered": answered,
        "tasks": sorted(
            getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()
        ),
    }
