"""A room that reports the process of its members; for `test_rooms.py`."""

from __future__ import annotations

import os
from typing import Any

import click

from asyncflask import Flask, request, websocket
from asyncflask.rooms import Change, Rooms

app = Flask(__name__)
app.config.from_prefixed_env()
rooms = Rooms(app)


@rooms.on_change
async def tell(change: Change) -> None:
    left = [member.name for member in change.left]
    if left:
        await rooms.send(change.room, {"left": left}, keep=False)


@app.websocket("/async/<room>/<name>")
async def in_async(room: str, name: str) -> None:
    async with rooms.join(room, name, info=os.getpid()):
        await websocket.send_json(in_process=os.getpid())
        async for message in websocket:
            await rooms.send(room, f"{name}: {message!s}")


@app.websocket("/plain/<room>/<name>")
def in_plain(room: str, name: str) -> None:
    with rooms.sync.join(room, name, info=os.getpid()):
        websocket.sync.send_json(in_process=os.getpid())
        for message in websocket.sync:
            rooms.sync.send(room, f"{name}: {message!s}")


@app.get("/members/<room>")
def members(room: str) -> list[Any]:
    return [[member.name, member.info] for member in rooms.sync.members(room)]


@app.post("/send/<room>")
def send(room: str) -> dict[str, Any]:
    return {"id": rooms.send(room, request.get_data(as_text=True))}


@app.get("/follow/<room>")
async def follow(room: str) -> Any:
    after = request.args.get("after")

    async def lines() -> Any:
        yield "begin\n"
        async for message in rooms.follow(room, after=after):
            yield f"{message.id} {message.data}\n"

    return lines()


@app.cli.command("send")
@click.argument("room")
@click.argument("text")
def send_command(room: str, text: str) -> None:
    click.echo(rooms.send(room, text))
