"""What all kinds of rooms share: messages, members, errors, and what a place to
keep them has to offer (`Backend`).

Not here: sockets (`hub.py`), the places themselves (`memory.py`, `redis.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from starlette.types import Message as Frame
from werkzeug.exceptions import BadRequest, TooManyRequests

_ID = re.compile(r"([0-9]{1,16})-([0-9]{1,16})")


class RoomsError(RuntimeError):
    """What was asked of rooms cannot be done now, or was not done in time."""


class RoomsLimit(TooManyRequests, RoomsError):
    """A client took more of rooms than the settings allow. If the handler lets it pass, its
    WebSocket is closed with 1008, and a request gets a 429; that is logged as a warning."""

    def __str__(self) -> str:
        return self.description or ""


class RoomsValueError(BadRequest, ValueError):
    """What was given for a room's name, for a message or its id is none. Often that comes from a
    client: if the handler lets it pass, its WebSocket is closed with 1008, and a request gets a
    400."""

    def __str__(self) -> str:
        return self.description or ""


class FellBehind(RoomsError):
    """Who follows a room takes its messages too slowly. Follow it again after the last one's id
    to get those that were missed."""


class Message:
    """What was sent to a room.

    `id` orders the messages of a room, over all processes; it is `None` for one that was not
    kept. `payload` is what WebSockets get: `str`, or `bytes`.
    """

    __slots__ = ("_frame", "_loads", "id", "payload", "room")

    def __init__(
        self,
        room: str,
        payload: str | bytes,
        id: str | None = None,
        loads: Callable[[str], Any] | None = None,
    ) -> None:
        self.room = room
        self.payload = payload
        self.id = id
        self._loads = loads
        self._frame: Frame | None = None

    @property
    def data(self) -> Any:
        """What was given to `Rooms.send`: `str`, `bytes`, or the value that became JSON."""
        return self.payload if self._loads is None else self._loads(self.payload)  # type: ignore[arg-type]

    @property
    def is_json(self) -> bool:
        """Whether `payload` is `data` as JSON."""
        return self._loads is not None

    @property
    def time(self) -> float | None:
        """When it was sent, in seconds since the epoch; `None` for one without an id."""
        return None if self.id is None else int(self.id.partition("-")[0]) / 1000

    @property
    def frame(self) -> Frame:
        """The message for the server (ASGI: Send - send event), one for all sockets."""
        if self._frame is None:
            key = "text" if isinstance(self.payload, str) else "bytes"
            self._frame = {"type": "websocket.send", key: self.payload}
        return self._frame

    def __repr__(self) -> str:
        return f"<Message {self.id} to {self.room!r}: {self.payload!r}>"


class Member(NamedTuple):
    """Somebody who is in a room: one connection that joined it with a name."""

    id: str
    """Of this one connection, and of no other in any process."""
    name: str
    info: object
    """What `Rooms.join` was given: any JSON value."""
    joined_at: float
    """Seconds since the epoch, by the clock of its process."""


class Change(NamedTuple):
    """Who came into a room and who left it."""

    room: str
    joined: list[Member]
    left: list[Member]


class Backend(Protocol):
    """Where rooms are kept, for one process and event loop."""

    async def subscribe(self, room: str) -> None:
        """Have the hub told of the messages to *room*, from now on."""

    def unsubscribe(self, room: str) -> None: ...

    async def publish(
        self, room: str, payload: str | bytes, is_json: bool, size: int, exclude: frozenset[str]
    ) -> str | None:
        """Send; gives the message's id, if it is kept. *size*: how many bytes it counts in the
        history; 0: it is not kept."""

    async def history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        """The last *count* messages that are kept, or all, oldest first; those with an id above
        *after*."""

    async def enter(self, room: str, member: Member, size: int) -> None:
        """Raises `RoomsLimit` if there is no place for a member of *size* bytes."""

    async def exit(self, room: str, member: Member) -> None: ...
    async def members(self, room: str) -> list[Member]: ...
    async def close(self) -> None: ...


def position(id: str) -> tuple[int, int]:
    """An id, to be compared with others. Raises `RoomsValueError` for what is none."""
    if not isinstance(id, str) or (match := _ID.fullmatch(id)) is None:
        raise RoomsValueError(f"{id!r:.80} is not a message id.")
    return int(match[1]), int(match[2])


def oldest(seconds: float) -> int:
    """The first part of the ids that are not older than *seconds*."""
    return int((time.time() - seconds) * 1000)
