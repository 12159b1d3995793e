"""An echo, as asyncflask app and as bare ASGI callable, for `autobahn.py`."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from asyncflask import Flask, websocket

app = Flask(__name__)


@app.websocket("/")
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket("/plain")
def plain_echo() -> None:
    for message in websocket.sync:
        websocket.sync.send(message)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
