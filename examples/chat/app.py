"""A chat with several rooms, in which browsers talk to each other through WebSockets.

The rooms are in this process. With ``ROOMS_URL=redis://...`` they are in Redis, and any number of
processes can serve the same chat.
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
FRAME_LENGTH = 16_384  # characters: the longest text, with every character escaped in JSON
HISTORY_LENGTH = 50  # messages that a newcomer to a room sees

app = Flask(__name__)
rooms = Rooms(app, url=os.environ.get("ROOMS_URL"))


class Refused(Exception):
    """A browser sent something invalid. Its user sees the message."""


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
    """Block scripts from other sites and inline scripts, in case one gets into the page."""
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    return response


@app.websocket("/ws/<slug>")
async def talk(slug: str) -> None:
    if slug not in ROOMS:
        abort(404)  # Not accepted yet, so this is the response to the handshake.
    await websocket.accept()
    try:
        name = await ask_name(slug)
        await websocket.send_json(type="welcome", you=name, pid=os.getpid())
        async with rooms.join(slug, name, info=os.getpid(), history=HISTORY_LENGTH):
            await listen(slug, name)  # until the browser leaves
    except RoomsError:
        app.logger.exception("Joining a room failed.")
        await websocket.close(1013, "The rooms are unavailable; try again later")


async def ask_name(slug: str) -> str:
    """Wait for a name, and append a number if it is taken. (Two people who join at the same
    moment may get the same name: it is a courtesy, not an identity.)"""
    while True:
        try:
            match parse(await websocket.receive()):
                case {"type": "join", "name": str(name)}:
                    wanted = check_name(name)
                    break
                case _:
                    raise Refused("Send your name first.")
        except Refused as refused:
            await websocket.send_json(type="error", message=str(refused))
    taken = {member.name for member in await rooms.members(slug)}
    number, free = 1, wanted
    while free in taken:
        number += 1
        free = f"{wanted} ({number})"
    return free


async def listen(slug: str, name: str) -> None:
    """Send what somebody says to the room."""
    async for message in websocket:
        try:
            match parse(message):
                case {"type": "say", "text": str(text)}:
                    said = {"type": "said", "name": name, "text": check_text(text)}
                    await rooms.send(slug, {**said, "at": time.time()})
                case _:
                    raise Refused("Unknown kind of message.")
        except Refused as refused:
            await websocket.send_json(type="error", message=str(refused))
        except RoomsError:
            app.logger.exception("Sending a message failed.")
            await websocket.send_json(
                type="error", message="Your message was not sent. Try again."
            )


@rooms.on_change
async def tell(change: Change) -> None:
    """Tell a room who joined and left, and all rooms how many people are in each."""
    there = {slug: await rooms.members(slug) for slug in ROOMS}
    event = {
        "type": "presence",
        "joined": [member.name for member in change.joined],
        "left": [member.name for member in change.left],
        "members": [{"name": m.name, "pid": m.info} for m in there[change.room]],
    }
    # Not kept in the history: it would be outdated for those who join later.
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
        raise Refused("A name has visible characters only.")
    return name


def check_text(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= TEXT_LENGTH:
        raise Refused(f"A message has 1 to {TEXT_LENGTH} characters.")
    return text
