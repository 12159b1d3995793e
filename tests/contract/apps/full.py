"""An app whose slots for sync code can all be taken, together with rooms and Socket.IO."""

from __future__ import annotations

import os
import threading

from asyncflask import Flask, request, websocket
from asyncflask.rooms import Rooms
from asyncflask.socketio import SocketIO

app = Flask(__name__)
app.config.update(SHUTDOWN_TIMEOUT=2, WORKER_THREADS=3, SOCKETIO_EVENT_THREADS=2)
app.config.from_prefixed_env()
rooms = Rooms(app)
options = {"message_queue": app.config["ROOMS_URL"]} if "QUEUE" in os.environ else {}
socketio = SocketIO(app, **options)
begun = 0


def block() -> None:
    global begun
    begun += 1
    threading.Event().wait(int(os.environ.get("BLOCKED", "3600")))


@app.get("/block")
def block_request() -> str:
    block()
    return "went on"


@socketio.on("block")
def block_event() -> None:
    block()


@app.websocket("/block")
def block_websocket() -> None:
    websocket.sync.accept()
    block()


@app.get("/begun")
async def tell() -> str:
    return str(begun)


@app.websocket("/room/<name>")
async def member(name: str) -> None:
    async with rooms.join("r", name):
        await websocket.send("joined")
        async for message in websocket:
            await rooms.send("r", message)


@app.post("/send")
def send() -> str:
    rooms.sync.send("r", request.get_data(as_text=True))
    return ""


@app.get("/emit")
async def emit() -> str:
    await socketio.emit("news", 1)
    return ""
