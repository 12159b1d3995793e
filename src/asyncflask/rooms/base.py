"""What all rooms share: messages, members, errors, and the interface of a storage (`Backend`).
The storages are in `memory.py` and `redis.py`, the sockets in `hub.py`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from starlette.types import Message as Frame
from werkzeug.exceptions import BadRequest, TooManyRequests

_ID = re.compile(r"([0-9]{1,16})-([0-9]{1,16})")


class RoomsError(RuntimeError):
    """Rooms cannot do what was asked, or not in time."""


class RoomsLimit(TooManyRequests, RoomsError):
    """A client exceeds a limit of rooms. If the handler does not catch it, its WebSocket is
    closed with 1008 or its request gets a 429. Logged as a warning."""

    def __str__(self) -> str:
        return self.description or ""


class RoomsValueError(BadRequest, ValueError):
    """The name of a room, a message, a message id or a member is invalid, often because of what
    a client sent. If the handler does not catch it, its WebSocket is closed with 1008 or its
    request gets a 400."""

    def __str__(self) -> str:
        return self.description or ""


class FellBehind(RoomsError):
    """A follower of a room read its messages too slowly. To get the missed ones, follow the
    room again with ``after=`` the last message's id."""


class Message:
    """A message in a room.

    `room` is the room's name. `id` orders a room's messages across processes; it is `None` for
    a message that was not kept. `payload` is what WebSockets receive: `str` or `bytes`.
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
        """What was passed to `Rooms.send`: `str`, `bytes`, or the value that was serialized as
        JSON."""
        return self.payload if self._loads is None else self._loads(self.payload)  # type: ignore[arg-type]

    @property
    def is_json(self) -> bool:
        """`True` if `payload` is `data` serialized as JSON."""
        return self._loads is not None

    @property
    def time(self) -> float | None:
        """The time of sending in seconds since the epoch; `None` without an id."""
        return None if self.id is None else int(self.id.partition("-")[0]) / 1000

    @property
    def frame(self) -> Frame:
        """The ASGI message (Send - send event), shared by all sockets."""
        if self._frame is None:
            key = "text" if isinstance(self.payload, str) else "bytes"
            self._frame = {"type": "websocket.send", key: self.payload}
        return self._frame

    def __repr__(self) -> str:
        return f"<Message {self.id} to {self.room!r}: {self.payload!r}>"


class Member(NamedTuple):
    """A member of a room: one connection that joined with a name."""

    id: str
    """Unique to this connection, across processes."""
    name: str
    info: object
    """The value passed to `Rooms.join`: any JSON value."""
    joined_at: float
    """Seconds since the epoch, by the clock of the connection's process."""


class Change(NamedTuple):
    """A change in a room's members: who joined and who left."""

    room: str
    joined: list[Member]
    left: list[Member]


class Backend(Protocol):
    """Stores rooms, for one process and event loop."""

    async def subscribe(self, room: str) -> None:
        """Start passing messages to *room* to the hub."""

    def unsubscribe(self, room: str) -> None: ...

    async def publish(
        self, room: str, payload: str | bytes, is_json: bool, size: int, exclude: frozenset[str]
    ) -> str | None:
        """Send a message and return its id, or `None` if it is not kept. *size* is its size in
        the history in bytes; 0 means that it is not kept."""

    async def history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        """Return the last *count* kept messages (`None`: all) whose id is above *after*, oldest
        first."""

    async def enter(self, room: str, member: Member, size: int) -> None:
        """Add a member of *size* bytes. Raises `RoomsLimit` if there is no room for it."""

    async def exit(self, room: str, member: Member) -> None: ...
    async def members(self, room: str) -> list[Member]: ...
    async def close(self) -> None: ...


def position(id: str) -> tuple[int, int]:
    """Return an id in comparable form. Raises `RoomsValueError` if it is invalid."""
    if not isinstance(id, str) or (match := _ID.fullmatch(id)) is None:
        raise RoomsValueError(f"{id!r:.80} is not a message id.")
    return int(match[1]), int(match[2])


def oldest(seconds: float) -> int:
    """Return the first part of the oldest id that is within *seconds*."""
    return int((time.time() - seconds) * 1000)
