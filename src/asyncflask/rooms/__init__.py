"""Rooms: named groups of WebSockets and other listeners, in one process or in several.

This is the public API. The rooms of one process are in `hub.py`; `memory.py` and `redis.py` store
messages and pass them on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from ..asgi.stepping import Coro
from ..asgi.threads import on_loop
from ..asgi.waiting import value_or_awaitable, wait
from ..asgi.websocket import WebSocket
from ..ctx import _cv_app, _cv_request
from .base import Backend, position
from .base import Change as Change
from .base import FellBehind as FellBehind
from .base import Member as Member
from .base import Message as Message
from .base import RoomsError as RoomsError
from .base import RoomsLimit as RoomsLimit
from .base import RoomsValueError as RoomsValueError
from .hub import Follow, Hub, Joining
from .hub import Join as Join
from .limits import DEFAULTS, Settings, settings_of
from .memory import MemoryBackend
from .redis import RedisBackend
from .sync import SyncJoin as SyncJoin
from .sync import SyncRooms as SyncRooms

if TYPE_CHECKING:
    from ..app import Flask

_CONNECTION = re.compile("[0-9a-f]{16}:[0-9]+")

MOST_MESSAGES = 2**31
"""The most messages that can be requested; Redis limits numbers."""

F = TypeVar("F", bound=Callable[[Change], object])

BACKENDS: dict[str, Callable[[Settings, Hub], Backend]] = {
    "memory": MemoryBackend,
    "redis": RedisBackend,
    "rediss": RedisBackend,
    "unix": RedisBackend,
}


class Rooms:
    """The rooms of an app: ``rooms = Rooms(app)``, or ``rooms = Rooms()`` and ``init_app`` later.
    ::

        @app.websocket("/chat")
        async def chat():
            async with rooms.join("lobby"):
                async for message in websocket:
                    await rooms.send("lobby", message)

    In async code, await the methods; in sync code they block and return the value.

    :param url: where messages and members are stored. ``memory://``: in this process;
        ``redis://host:port/db``: in Redis, for all processes that use it. Default: the `ROOMS_URL`
        setting, ``memory://`` if unset.
    """

    def __init__(self, app: Flask | None = None, *, url: str | None = None) -> None:
        self._app = app
        self._url = url
        self._told: list[Callable[[Change], object]] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up rooms for *app*.

        :raises ValueError: if the URL's scheme is not supported or a limit in the config is
            invalid.
        :raises RuntimeError: if the URL needs a package that is not installed.
        """
        for key, value in DEFAULTS.items():
            app.config.setdefault(key, value)
        settings = settings_of(app.config, self._url, app.json.loads, app.json.dumps)
        if urlsplit(settings.url).scheme not in BACKENDS:
            raise ValueError(
                f"Unsupported 'ROOMS_URL': {settings.url!r}. Set it to 'memory://' or, for"
                " several processes, to 'redis://host:port/db'."
            )
        if urlsplit(settings.url).scheme != "memory":
            RedisBackend.check(settings.url)
        state = app.extensions["rooms"] = _AppRooms(app, settings, self._told)
        app.while_serving(state.while_serving)

    @property
    def sync(self) -> SyncRooms:
        """These rooms with types for sync code, for type checkers: `rooms.sync.send(...)`. At
        runtime, sync code does not need it. Raises `RuntimeError` on the loop."""
        if on_loop():
            raise RuntimeError(
                "'rooms.sync' is for 'def' functions, but this is an 'async def' function, or"
                " was called by one. Remove '.sync' and write 'await', as in 'await"
                " rooms.send(...)'."
            )
        return cast(SyncRooms, self)

    # -- who is in a room

    def join(
        self,
        room: str,
        member: str | None = None,
        *,
        info: object = None,
        history: int = 0,
        after: str | None = None,
    ) -> Joining:
        """Add the current WebSocket to *room*: it receives what is sent there until the end of the
        block (``async with``, or ``with`` in a `def` handler). With ``await`` and no block, it
        stays until it leaves or is closed. Completes the handshake if the handler has not.

        :param member: the name to list in `members`. Default: not listed.
        :param info: any JSON value, listed with *member*.
        :param history: how many earlier messages to send first. Default: 0.
        :param after: the id of the last message the client received; newer ones are sent first.
        :raises RuntimeError: outside of a WebSocket handler, or if it is already in the room.
        :raises RoomsLimit: if it is in too many rooms, or the room has too many members.
        :raises RoomsValueError: if the room's name is invalid, or *member* or *info* is too long.
        """
        coro = self._join(self._name(room), member, info, _count(history), _id(after))
        return Joining(coro) if on_loop() else cast(Joining, wait(coro))

    async def _join(
        self, room: str, name: str | None, info: object, history: int, after: str | None
    ) -> Join:
        websocket = _websocket("join")
        return await self._hub().join(websocket, room, name, info, history, after)

    def leave(self, room: str) -> Coro[None]:
        """Remove the current WebSocket from *room*. Does nothing if it is not there."""
        return value_or_awaitable(self._leave(self._name(room)))

    async def _leave(self, room: str) -> None:
        hub = self._hub()
        join = hub.joined(_websocket("leave"), room)
        if join is not None:
            await hub.leave(join)

    def members(self, room: str) -> Coro[list[Member]]:
        """Return the room's members in all processes, in order of joining: a `Member` for each
        connection that joined with a name."""
        return value_or_awaitable(self._members(self._name(room)))

    async def _members(self, room: str) -> list[Member]:
        members = await self._hub().backend.members(room)
        return sorted(members, key=lambda member: (member.joined_at, member.id))

    def on_change(self, func: F) -> F:
        """Register *func* to be called with a `Change`, in an app context, when members join or
        leave a room. It is called in the process that has the connection, or in another one if
        that process was killed. Changes are reported one at a time."""
        self._told.append(func)
        return func

    # -- messages

    def send(
        self,
        room: str,
        data: object,
        *,
        keep: bool = True,
        exclude_self: bool = False,
        exclude: str | Iterable[str] = (),
    ) -> Coro[str | None]:
        """Send *data* to everyone in *room*: `str` as text, `bytes` as binary, anything else as
        JSON. Works everywhere in an app or its app context. Returns the message's id, or `None` if
        it is not kept.

        :param keep: keep the message in the history. Default: `True`, unless it is larger than
            `ROOMS_HISTORY_BYTES`.
        :param exclude_self: do not send it to the current WebSocket. Default: `False`.
        :param exclude: the ids of connections to skip (`Join.id`, `Member.id`).
        :raises RoomsError: if the message cannot be sent within `ROOMS_SEND_TIMEOUT` seconds.
        :raises RoomsValueError: if JSON cannot represent the data, such as infinity or a lone
            surrogate.
        """
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        excluded = {
            id for id in excluded if _CONNECTION.fullmatch(id)
        }  # other ids belong to nobody
        return value_or_awaitable(self._send(self._name(room), data, keep, exclude_self, excluded))

    async def _send(
        self, room: str, data: object, keep: bool, exclude_self: bool, exclude: set[str]
    ) -> str | None:
        hub = self._hub()
        if exclude_self:
            join = hub.joined(_websocket("send(..., exclude_self=True)"), room)
            if join is not None:
                exclude.add(join.id)
        is_json = not isinstance(data, str | bytes | bytearray | memoryview)
        payload: str | bytes
        if is_json:
            payload = hub.app.json.dumps(data)
            if "Infinity" in payload or "NaN" in payload:
                try:
                    hub.app.json.loads(payload)  # raises for such numbers
                except ValueError as error:
                    raise RoomsValueError(str(error)) from None
        else:
            payload = data if isinstance(data, str) else bytes(cast(bytes, data))
        if isinstance(payload, str) and not payload.isascii():
            try:
                payload.encode()
            except UnicodeError as error:  # half a surrogate pair
                raise RoomsValueError(f"This text cannot be encoded as UTF-8: {error}.") from None
        size = hub.size_in_history(room, payload) if keep else 0
        return await hub.backend.publish(room, payload, is_json, size, frozenset(exclude))

    def history(
        self, room: str, count: int | None = None, *, after: str | None = None
    ) -> Coro[list[Message]]:
        """Return the messages kept for *room*, oldest first. The settings `ROOMS_HISTORY` and
        `ROOMS_HISTORY_SECONDS` say how many are kept and for how long.

        :param count: return only the last *count* messages. Default: all.
        :param after: return only messages sent after the one with this id.
        """
        count = None if count is None else _count(count)
        return value_or_awaitable(self._history(self._name(room), count, _id(after)))

    async def _history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        return [] if count == 0 else await self._hub().backend.history(room, count, after)

    def follow(self, room: str, *, after: str | None = None) -> Follow:
        """Iterate over new messages to *room*, with ``async for`` in async code.

        :param after: the id of a message; later ones that are still kept come first. An invalid
            id, which may come from a client, is ignored.
        :raises FellBehind: if you do not read the messages fast enough.
        """
        try:
            after = _id(after)
        except ValueError:
            after = None
        if not on_loop():
            raise RuntimeError(
                "'rooms.follow' works in async code only. Write 'async for message in"
                " rooms.follow(...)' in an 'async def' function."
            )
        return Follow(self._hub(), self._name(room), after)

    def _name(self, room: str) -> str:
        most = self._state().settings.name_bytes
        fault: type[ValueError] = ValueError  # the app's own mistake, if it is not a str
        if isinstance(room, str):
            fault = RoomsValueError
            with suppress(UnicodeError):
                if 0 < len(room.encode()) <= most:
                    return room
        raise fault(
            f"A room's name must be a str of 1 to {most} bytes in UTF-8 (ROOMS_NAME_BYTES), not"
            f" {room!r:.80}."
        )

    def _hub(self) -> Hub:
        return self._state().hub()

    def _state(self) -> _AppRooms:
        ctx = _cv_app.get(None)
        app = ctx.app if ctx is not None and "rooms" in ctx.app.extensions else self._app
        if app is None:
            raise RuntimeError(
                "No app is active, so there are no rooms. Write 'with app.app_context():'"
                " around the code, and 'rooms.init_app(app)' where you create the app."
            )
        state: _AppRooms = app.extensions["rooms"]
        return state


class _AppRooms:
    """The rooms of one app: a hub for each loop that uses them, created on first use."""

    def __init__(
        self, app: Flask, settings: Settings, told: list[Callable[[Change], object]]
    ) -> None:
        self._app = app
        self.settings = settings
        self._told = told
        self._hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

    def hub(self) -> Hub:
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(loop)
        if hub is None:
            for other in [other for other in self._hubs if other.is_closed()]:
                del self._hubs[other]
            hub = self._hubs[loop] = Hub(self._app, self.settings, self._told)
            backend = BACKENDS[urlsplit(self.settings.url).scheme]
            hub.backend = backend(self.settings, hub)
        return hub

    async def while_serving(self) -> AsyncIterator[None]:
        yield
        hub = self._hubs.pop(asyncio.get_running_loop(), None)
        if hub is not None:
            await hub.close()


def _websocket(method: str) -> WebSocket:
    ctx = _cv_request.get(None)
    if ctx is None or ctx.websocket is None:
        raise RuntimeError(
            f"'rooms.{method}' works in a WebSocket handler only. Elsewhere, write"
            " 'rooms.send(...)' to send, or 'rooms.follow(...)' to listen."
        )
    websocket: WebSocket = ctx.websocket
    return websocket


def _count(count: int) -> int:
    if not isinstance(count, int):
        raise TypeError(f"The number of messages must be an int, not {count!r:.80}.")
    return min(max(int(count), 0), MOST_MESSAGES)  # the number may come from a client


def _id(after: str | None) -> str | None:
    if after is not None:
        position(after)
    return after
