"""Rooms with low limits, in an app that validates nothing its clients ask for."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncflask import Flask, request, websocket
from asyncflask.rooms import Change, Rooms

app = Flask(__name__)
app.config.update(
    SHUTDOWN_TIMEOUT=2,
    WEBSOCKET_SEND_QUEUE_BYTES=10_000_000,
    ROOMS_HISTORY=10,
    ROOMS_HISTORY_BYTES=10_000,
    ROOMS_HISTORY_TOTAL_BYTES=30_000,
    ROOMS_HISTORY_ROOMS=8,
    ROOMS_JOINED=3,
    ROOMS_MEMBERS=4,
    ROOMS_MEMBER_BYTES=1000,
    ROOMS_MEMBERS_TOTAL_BYTES=8000,
    ROOMS_NAME_BYTES=40,
    ROOMS_PRESENCE_TIMEOUT=3,
    ROOMS_CHANGES=2,
)
app.config.from_prefixed_env()
rooms = Rooms(app)
go_on = asyncio.Event()
go_on.set()


@rooms.on_change
async def changed(change: Change) -> None:
    await go_on.wait()


@app.websocket("/ws")
async def connection() -> None:
    """Does what each message says, and tells what came of it."""
    async for message in websocket:
        what, room, *args = app.json.loads(message)
        value: Any = None
        if what == "join":
            await rooms.join(room, *args[:1], info=args[1] if len(args) > 1 else None)
        elif what == "leave":
            await rooms.leave(room)
        elif what == "after":
            await rooms.join(room, after=args[0])
        elif what == "send":
            value = await rooms.send(room, args[0])
        await websocket.send_json([what, value])


@app.websocket("/sync")
def sync_connection() -> None:
    for message in websocket.sync:
        what, room, *args = app.json.loads(message)
        rooms.join(room, *args)
        websocket.sync.send_json([what, None])


@app.post("/send")
def send() -> dict[str, Any]:
    return {"id": rooms.send(request.args["room"], request.get_data(as_text=True))}


@app.get("/history")
async def history() -> list[int]:
    messages = await rooms.history(request.args["room"], after=request.args.get("after"))
    return [len(message.data) for message in messages]


@app.get("/members")
async def members() -> list[str]:
    return [member.name for member in await rooms.members(request.args["room"])]


@app.post("/hold")
async def hold() -> str:
    go_on.clear()
    return ""


@app.post("/go-on")
async def let_go_on() -> str:
    go_on.set()
    return ""


@app.get("/state")
async def state() -> dict[str, Any]:
    hub = rooms._hub()
    return {"rooms": len(hub.rooms), "changes": len(hub._changes)}
