"""A chat with several rooms, in which browsers talk to each other through WebSockets.

The rooms are in this process, or with ``ROOMS_URL=redis://...`` in Redis: then any number of
processes serve the same chat.
"""

from __future__ import annotations

import json
import os
import time

from asyncflask import Flask, Response, abort, redirect, render_template, url_for, websocket
from asyncflask.rooms import Change, Rooms, RoomsError
from asyncflask.typing import ResponseReturnValue

ROOMS = {
    "lobby": "Come in and say hello",
    "python": "Snakes, wheels and the odd cheese shop",
    "music": "What is playing at your desk?",
    "kitchen": "Tea, biscuits and small talk",
}

NAME_LENGTH = 24  # characters
TEXT_LENGTH = 1000  # characters
FRAME_LENGTH = 16_384  # characters: the longest text, should JSON escape every character of it
HISTORY_LENGTH = 50  # messages which a newcomer to a room gets to see

app = Flask(__name__)
rooms = Rooms(app, url=os.environ.get("ROOMS_URL"))


class Refused(Exception):
    """What a browser sent is not acceptable; its user is told why."""


@app.get("/")
def index() -> ResponseReturnValue:
    return redirect(url_for("chat", slug="lobby"))


@app.get("/<slug>")
def chat(slug: str) -> str:
    if slug not in ROOMS:
        abort(404)
    return render_template(
        "chat.html", rooms=ROOMS, here=slug, name_length=NAME_LENGTH, text_length=TEXT_LENGTH
    )


@app.after_request
def only_our_own(response: Response) -> Response:
    """No script from elsewhere or from within a message runs, should one ever slip through."""
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    return response


@app.websocket("/ws/<slug>")
async def talk(slug: str) -> None:
    if slug not in ROOMS:
        abort(404)  # Not accepted yet, so this is the answer to the handshake.
    await websocket.accept()
    try:
        name = await ask_name(slug)
        await websocket.send_json(type="welcome", you=name, pid=os.getpid())
        async with rooms.join(slug, name, info=os.getpid(), history=HISTORY_LENGTH):
            await listen(slug, name)  # until the browser leaves
    except RoomsError:
        app.logger.exception("Nobody can come into a room.")
        await websocket.close(1013, "The rooms are closed for a moment")


async def ask_name(slug: str) -> str:
    """What somebody wants to be called; with a number behind it if the room has that name. (Two
    who come at the very same moment may get the same: it is a courtesy, not an identity.)"""
    while True:
        try:
            match parse(await websocket.receive()):
                case {"type": "join", "name": str(name)}:
                    wanted = check_name(name)
                    break
                case _:
                    raise Refused("Say first who you are, by your name.")
        except Refused as refused:
            await websocket.send_json(type="error", message=str(refused))
    taken = {member.name for member in await rooms.members(slug)}
    number, free = 1, wanted
    while free in taken:
        number += 1
        free = f"{wanted} ({number})"
    return free


async def listen(slug: str, name: str) -> None:
    """Pass on what somebody says."""
    async for message in websocket:
        try:
            match parse(message):
                case {"type": "say", "text": str(text)}:
                    said = {"type": "said", "name": name, "text": check_text(text)}
                    await rooms.send(slug, {**said, "at": time.time()})
                case _:
                    raise Refused("That message makes no sense here.")
        except Refused as refused:
            await websocket.send_json(type="error", message=str(refused))
        except RoomsError:
            app.logger.exception("A message was not sent.")
            await websocket.send_json(type="error", message="That did not get through. Try again.")


@rooms.on_change
async def tell(change: Change) -> None:
    """Tell a room who came and left; and all rooms how many people are in each."""
    there = {slug: await rooms.members(slug) for slug in ROOMS}
    event = {
        "type": "presence",
        "joined": [member.name for member in change.joined],
        "left": [member.name for member in change.left],
        "members": [{"name": m.name, "pid": m.info} for m in there[change.room]],
    }
    # Not for the history: it is true now, and not for who comes later.
    await rooms.send(change.room, event, keep=False)
    counts = {slug: len(members) for slug, members in there.items()}
    for slug, members in there.items():
        if members:
            await rooms.send(slug, {"type": "counts", "counts": counts}, keep=False)


def parse(message: str | bytes) -> object:
    if len(message) > FRAME_LENGTH:
        raise Refused("That message is too long.")
    try:
        parsed: object = json.loads(message)
    except (ValueError, RecursionError):
        raise Refused("That message is not JSON.") from None
    return parsed


def check_name(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= NAME_LENGTH:
        raise Refused(f"A name has 1 to {NAME_LENGTH} characters.")
    if not name.isprintable():
        raise Refused("A name is made of letters, digits and signs that can be seen.")
    return name


def check_text(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= TEXT_LENGTH:
        raise Refused(f"A message has 1 to {TEXT_LENGTH} characters.")
    return text
