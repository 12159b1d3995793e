"""A chat with several rooms, in which browsers talk to each other through WebSockets.

The rooms live in this process, so serve it with one worker (uvicorn's default). All of it runs
on the event loop, where nothing can happen between two lines without an ``await``: no locks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from asyncflask import Flask, Response, abort, redirect, render_template, url_for, websocket
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
OUTBOX_LENGTH = 100  # messages which a browser may fall behind before it is dropped
HISTORY_LENGTH = 50  # messages which a newcomer to a room gets to see
CLOSE_SECONDS = 5  # for a browser that takes nothing any more, not even the goodbye

app = Flask(__name__)


class Refused(Exception):
    """What a browser sent is not acceptable; its user is told why."""


class Member:
    """One connection: who is there, and what is on its way to them.

    Nobody writes to somebody else's connection. They put a message in the outbox, which never
    waits, and ``deliver`` sends it. So a browser on a bad line holds up only itself.
    """

    def __init__(self) -> None:
        self.name = ""  # Empty until they have said it, and are in the room.
        self.outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX_LENGTH)
        self.too_slow = asyncio.Event()

    def tell(self, event: Mapping[str, object]) -> None:
        self.put(json.dumps(event))

    def put(self, text: str) -> None:
        try:
            self.outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.too_slow.set()

    async def deliver(self) -> None:
        while True:
            await websocket.send(await self.outbox.get())


class Room:
    """Its members by name, and what was said last."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.history: deque[Mapping[str, object]] = deque(maxlen=HISTORY_LENGTH)

    def enter(self, member: Member, name: str) -> None:
        member.name = self._free_name(name)
        self.members[member.name] = member
        member.tell({"type": "welcome", "you": member.name, "history": list(self.history)})
        self.tell({"type": "joined", "name": member.name, "members": list(self.members)})
        tell_counts()

    def leave(self, member: Member) -> None:
        if self.members.pop(member.name, None) is not None:
            self.tell({"type": "left", "name": member.name, "members": list(self.members)})
            tell_counts()

    def say(self, member: Member, text: str) -> None:
        event = {"type": "said", "name": member.name, "text": text, "at": time.time()}
        self.history.append(event)
        self.tell(event)

    def tell(self, event: Mapping[str, object]) -> None:
        text = json.dumps(event)
        for member in self.members.values():
            member.put(text)

    def _free_name(self, name: str) -> str:
        """The name, or with a number behind it if somebody here has it already."""
        number, free = 1, name
        while free in self.members:
            number += 1
            free = f"{name} ({number})"
        return free


rooms = {slug: Room() for slug in ROOMS}


def tell_counts() -> None:
    """Tell everybody, in every room, how many people are in each."""
    event = {"type": "counts", "counts": {slug: len(room.members) for slug, room in rooms.items()}}
    for room in rooms.values():
        room.tell(event)


@app.get("/")
def index() -> ResponseReturnValue:
    return redirect(url_for("chat", slug="lobby"))


@app.get("/<slug>")
def chat(slug: str) -> str:
    if slug not in rooms:
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
    room = rooms.get(slug)
    if room is None:
        abort(404)  # Not accepted yet, so this is the answer to the handshake.
    await websocket.accept()
    member = Member()
    tasks = [
        asyncio.create_task(listen(room, member)),  # ends when the browser leaves
        asyncio.create_task(member.deliver()),  # ends when there is no way to send
        asyncio.create_task(member.too_slow.wait()),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        room.leave(member)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()  # Raises what went wrong in it, if anything did.
    if member.too_slow.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await websocket.close(1013, "Your connection could not keep up")


async def listen(room: Room, member: Member) -> None:
    """Act on what the browser sends, until it leaves."""
    async for message in websocket:
        try:
            match parse(message):
                case {"type": "join", "name": str(name)} if not member.name:
                    room.enter(member, check_name(name))
                case {"type": "say", "text": str(text)} if member.name:
                    room.say(member, check_text(text))
                case _:
                    raise Refused("That message makes no sense here.")
        except Refused as refused:
            member.tell({"type": "error", "message": str(refused)})


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
