"""A WebSocket whose handler takes no messages for a while."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from asyncflask import Flask, websocket
from asyncflask.ctx import current_request_ctx

app = Flask(__name__)
app.config["SHUTDOWN_TIMEOUT"] = 2
go_on = asyncio.Event()
connections: list[Any] = []


@app.websocket("/ws")
async def deaf() -> None:
    await websocket.accept()
    connections.append(current_request_ctx().websocket)
    await go_on.wait()
    async for message in websocket:
        await websocket.send(str(len(message)))


@app.get("/waiting")
async def waiting() -> list[int]:
    """The messages that have been received ahead, and their bytes."""
    inbox = connections[-1]._inbox if connections else []
    return [len(inbox), sum(map(len, inbox))]


@app.post("/go-on")
async def let_go_on() -> str:
    go_on.set()
    return ""


@app.get("/memory")
async def memory() -> str:
    return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
