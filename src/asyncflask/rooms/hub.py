"""The rooms of one process and event loop: which sockets and followers are in which room, and
delivering messages to them. Runs on the loop's thread only. Storing messages and passing them
between processes is in `memory.py` and `redis.py`."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from ..asgi.conversation import Conversation
from ..asgi.stepping import Coro
from ..asgi.threads import is_async, run_in_worker
from ..asgi.waiting import value_or_awaitable, wait
from ..asgi.websocket import WebSocket
from .base import (
    Backend,
    Change,
    FellBehind,
    Member,
    Message,
    RoomsLimit,
    RoomsValueError,
    position,
)
from .limits import MESSAGE_BYTES, Notice, Settings, size_of

if TYPE_CHECKING:
    from ..app import Flask

T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0
"""Seconds that closing a hub waits for unfinished work."""


class Listener:
    """A socket or a follower in a room."""

    id: str
    room: str
    since = (0, 0)
    """The position of the last message it received from the history."""

    def hand(self, message: Message) -> Awaitable[None] | None:
        """Deliver a message. The awaitable it may return waits until the message has been sent."""
        raise NotImplementedError


class Room:
    """A room's listeners in this process."""

    __slots__ = ("_sockets", "_targets", "arriving", "followers", "last")

    def __init__(self) -> None:
        self._sockets: dict[Join, None] = {}
        self._targets: tuple[Join, ...] | None = ()
        self.followers: dict[Inbox, None] = {}
        self.arriving: dict[Listener, list[tuple[Message, frozenset[str]]] | None] = {}
        """Listeners that still receive earlier messages. A list collects the messages that
        arrive meanwhile."""
        self.last = (0, 0)
        """The position of the last message delivered here."""

    @property
    def targets(self) -> tuple[Join, ...]:
        """The sockets, as a snapshot that joins and leaves do not change during delivery."""
        if self._targets is None:
            self._targets = tuple(self._sockets)
        return self._targets

    def add(self, listener: Listener) -> None:
        self.arriving.pop(listener, None)
        if isinstance(listener, Inbox):
            self.followers[listener] = None
        elif isinstance(listener, Join):
            self._sockets[listener] = None
            self._targets = None

    def remove(self, listener: Listener) -> None:
        self.arriving.pop(listener, None)
        if isinstance(listener, Inbox):
            self.followers.pop(listener, None)
        elif isinstance(listener, Join):
            self._sockets.pop(listener, None)
            self._targets = None

    def __bool__(self) -> bool:
        return bool(self._sockets or self.followers or self.arriving)


class Join(Listener):
    """A WebSocket in a room, until it leaves or is closed. `Rooms.join` returns it. Use it with
    `async with` or `await`; in sync code, with `with` or on its own."""

    def __init__(self, hub: Hub, websocket: WebSocket, room: str, member: Member | None) -> None:
        self.id = member.id if member is not None else hub.new_id()
        """The id of this connection in this room, for `exclude` of `Rooms.send`."""
        self.room = room
        self.member = member
        """The entry in `Rooms.members`; `None` if it joined without a name."""
        self.active = False
        """`True` while it is in the room."""
        self.announced = False
        self.hub = hub
        self.websocket = websocket

    def hand(self, message: Message) -> Awaitable[None] | None:
        return self.websocket.deliver(message.frame)

    def leave(self) -> Coro[None]:
        """Leave the room. Does nothing if it has left already."""
        return value_or_awaitable(self.hub.leave(self))

    def __enter__(self) -> Join:
        return self

    def __exit__(self, *_: object) -> None:
        wait(self.hub.leave(self))


class Joining:
    """The return value of `Rooms.join` on the loop."""

    def __init__(self, coro: Coro[Join]) -> None:
        self._coro = coro
        self._join: Join | None = None

    def __await__(self) -> Generator[Any, Any, Join]:
        return self._coro.__await__()

    async def __aenter__(self) -> Join:
        self._join = await self._coro
        return self._join

    async def __aexit__(self, *_: object) -> None:
        if self._join is not None:
            await self._join.hub.leave(self._join)


class Inbox(Listener):
    """The queued messages of one follower of a room."""

    def __init__(self, hub: Hub, room: str, after: str | None) -> None:
        self.id = hub.new_id()
        self.room = room
        self.closed = False
        self._hub = hub
        self._after = after
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._ended = self._behind = False
        # Unlike a stream, it is to be told when the server begins to stop.
        self._conversation = Conversation(hub.app._conversations, _never, self._end)
        self._started = False

    async def take(self) -> Message:
        """Return the next message. Raises `StopAsyncIteration` at the end."""
        if not self._started:
            await self._start()
        while not self._messages:
            if self._behind:
                self.close()
                raise FellBehind(
                    f"Too many unread messages in the room {self.room!r}: more than"
                    " ROOMS_FOLLOW_QUEUE or ROOMS_FOLLOW_QUEUE_BYTES. Follow the room again,"
                    " with 'after=' the id of the last message you read."
                )
            if self.closed or self._ended:
                self.close()
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._bytes -= size_of(message.payload)
        return message

    async def _start(self) -> None:
        self._started = True
        if self.closed:
            return
        if self._hub.app.stopping:
            self._ended = True
            return
        self._hub.app._conversations.open.add(self._conversation)
        try:
            await self._hub.arrive(self, 0, self._after)
        except BaseException:
            self.close()
            raise

    def hand(self, message: Message) -> None:
        settings, size = self._hub.settings, size_of(message.payload)
        if len(self._messages) >= settings.follow_queue or (
            self._messages and self._bytes + size > settings.follow_queue_bytes
        ):
            self._behind = True
        if not self._behind:
            self._messages.append(message)
            self._bytes += size
        self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
        # The server need not wait for this conversation.
        self._conversation.conversations.open.discard(self._conversation)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._messages.clear()
            self._end()
            self._hub.remove(self)


class Follow:
    """The messages of a room, for `async for`. Ends when the server stops. Raises `FellBehind`
    if more messages are unread than `ROOMS_FOLLOW_QUEUE` or `ROOMS_FOLLOW_QUEUE_BYTES` allows."""

    def __init__(self, hub: Hub, room: str, after: str | None) -> None:
        self._loop = hub.loop
        self._inbox = Inbox(hub, room, after)

    def __aiter__(self) -> Follow:
        return self

    def __anext__(self) -> Coro[Message]:
        # Not 'async': the traceback of an interrupted wait would keep this object alive.
        return self._inbox.take()

    async def aclose(self) -> None:
        """Stop following. Happens automatically when the object is no longer referenced."""
        self._inbox.close()

    async def __aenter__(self) -> Follow:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inbox.close()

    def __del__(self) -> None:
        if not self._inbox.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._inbox.close)


class Hub:
    """The rooms of an app in this process and on this loop."""

    backend: Backend

    def __init__(
        self, app: Flask, settings: Settings, told: list[Callable[[Change], object]]
    ) -> None:
        self.app = app
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.rooms: dict[str, Room] = {}
        self.process = secrets.token_hex(8)
        """The first part of the ids of this process's members."""
        self._numbers = itertools.count(1)
        self._joins: dict[WebSocket, dict[str, Join]] = {}
        self._told = told
        self._changes: deque[Change] = deque()
        self._telling = False
        self._told_some = asyncio.Event()
        self._entering = 0
        """How many members are joining, and will soon be reported as changes."""
        self._not_kept = Notice()
        self._forgotten = Notice()
        self._tasks: set[asyncio.Task[object]] = set()

    def new_id(self) -> str:
        return f"{self.process}:{next(self._numbers)}"

    # -- coming and going

    async def join(
        self,
        websocket: WebSocket,
        room: str,
        name: str | None,
        info: object,
        history: int,
        after: str | None,
    ) -> Join:
        """Put a socket into *room*. Completes its handshake."""
        if not websocket.accepted:
            await websocket.accept_on_loop()
        if websocket.closed:
            raise websocket.disconnect_error()
        joins = self._joins.get(websocket)
        if joins is None:
            joins = self._joins[websocket] = {}
            websocket.when_closed(partial(self._socket_closed, websocket))
        if room in joins:
            raise RuntimeError(
                f"This WebSocket is already in the room {room!r}. It can join again after"
                " 'rooms.leave(...)', or after the 'with' block in which it joined."
            )
        if len(joins) >= self.settings.joined:
            error = RoomsLimit(
                f"This WebSocket is in {len(joins)} rooms, the maximum (ROOMS_JOINED)."
            )
            self._warn_of(error)
            raise error
        member = None if name is None else Member(self.new_id(), name, info, time.time())
        size = 0 if member is None else self._size_of(member)
        join = joins[room] = Join(self, websocket, room, member)
        join.active = True
        try:
            await self.arrive(join, history, after)
            if member is not None and join.active:
                await self._enter(join, member, size)
        except BaseException as error:
            self._remove_join(join)
            if isinstance(error, RoomsLimit):
                self._warn_of(error)
            raise
        if not join.active:
            raise websocket.disconnect_error()
        return join

    async def _enter(self, join: Join, member: Member, size: int) -> None:
        while self._entering + len(self._changes) >= self.settings.changes and self._told:
            self._told_some.clear()
            await self._told_some.wait()
        self._entering += 1
        try:
            await self.backend.enter(join.room, member, size)
            if join.active:
                join.announced = True
                self.changed(Change(join.room, [member], []))
            else:  # closed meanwhile
                await self.backend.exit(join.room, member)
        finally:
            self._entering -= 1
            self._told_some.set()

    def _size_of(self, member: Member) -> int:
        """Return the size of *member* in bytes. Raises `RoomsValueError` if it exceeds the
        limit."""
        size = len(self.settings.dumps([member.name, member.info]))
        if size > self.settings.member_bytes:
            raise RoomsValueError(
                f"A member's name and info are {size} bytes as JSON, more than"
                f" ROOMS_MEMBER_BYTES ({self.settings.member_bytes})."
            )
        return size + MESSAGE_BYTES

    def _warn_of(self, error: RoomsLimit) -> None:
        self.app.logger.warning("A client could not join a room: %s", error)

    def joined(self, websocket: WebSocket, room: str) -> Join | None:
        return self._joins.get(websocket, {}).get(room)

    async def leave(self, join: Join) -> None:
        if self._remove_join(join):
            # Shielded: a handler whose client left is cancelled, but others still have to be
            # told.
            await asyncio.shield(self.spawn(self._exit(join)))

    def _socket_closed(self, websocket: WebSocket) -> None:
        for join in list(self._joins.pop(websocket, {}).values()):
            if self._remove_join(join):
                self.spawn(self._exit(join))

    def _remove_join(self, join: Join) -> bool:
        """Return `True` if others were told of this join and so have to be told of its end."""
        was_active, join.active = join.active, False
        if was_active:
            self._joins.get(join.websocket, {}).pop(join.room, None)
            self.remove(join)
        return was_active and join.announced

    async def _exit(self, join: Join) -> None:
        if join.member is not None:
            await self.backend.exit(join.room, join.member)
            self.changed(Change(join.room, [], [join.member]))

    async def arrive(self, listener: Listener, count: int, after: str | None) -> None:
        """Add a listener to its room. It first receives *count* messages of the history, or
        those after the id *after*, then every later one, without gaps or duplicates."""
        room = self.rooms.get(listener.room)
        if room is None:
            room = self.rooms[listener.room] = Room()
        room.arriving[listener] = []
        try:
            await self.backend.subscribe(listener.room)
            messages = []
            if count or after is not None:
                messages = await self.backend.history(listener.room, count or None, after)
        except BaseException:
            self.remove(listener)
            raise
        meanwhile = room.arriving.get(listener)
        if meanwhile is None:  # it has left
            return
        if messages:
            listener.since = position(messages[-1].id or "")
        room.arriving[listener] = None
        waiting = [listener.hand(message) for message in messages]
        for message, exclude in meanwhile:
            waiting.append(self._hand_late(room, listener, message, exclude))
        if listener in room.arriving and room.last >= listener.since:
            room.add(listener)
        await _all(waiting)

    def _hand_late(
        self, room: Room, listener: Listener, message: Message, exclude: frozenset[str]
    ) -> Awaitable[None] | None:
        """Deliver a live message to a listener that may have received it from the history
        already."""
        if message.id is not None:
            if position(message.id) <= listener.since:
                return None
            room.add(listener)
        return None if listener.id in exclude else listener.hand(message)

    def remove(self, listener: Listener) -> None:
        room = self.rooms.get(listener.room)
        if room is not None:
            room.remove(listener)
            if not room:
                del self.rooms[listener.room]
                self.backend.unsubscribe(listener.room)

    # -- messages

    def deliver(self, message: Message, exclude: frozenset[str]) -> list[Awaitable[None]]:
        """Deliver a message to everyone in its room here except the ids in *exclude*. Return
        what to await, for sockets whose policy makes senders wait."""
        room = self.rooms.get(message.room)
        if room is None:
            return []
        waiting: list[Awaitable[None]] = []
        for listener, meanwhile in list(room.arriving.items()) if room.arriving else ():
            if meanwhile is not None:
                meanwhile.append((message, exclude))
            else:
                if (waits := self._hand_late(room, listener, message, exclude)) is not None:
                    waiting.append(waits)
                exclude = exclude | {listener.id}
        if message.id is not None:
            room.last = position(message.id)
        frame = message.frame
        for join in room.targets:
            if exclude and join.id in exclude:
                continue
            if (waits := join.websocket.deliver(frame)) is not None:
                waiting.append(waits)
        for inbox in list(room.followers) if room.followers else ():
            if inbox.id not in exclude:
                inbox.hand(message)
        return waiting

    def size_in_history(self, room: str, payload: str | bytes) -> int:
        """Return the size of a message in the history in bytes; 0 if it is not kept."""
        if not self.settings.history:
            return 0
        size = size_of(payload)
        if size <= self.settings.history_bytes:
            return size
        if self._not_kept.due():
            self.app.logger.warning(
                "A message of %d bytes to the room %r is larger than ROOMS_HISTORY_BYTES"
                " (%d), so the room's history does not keep it.",
                len(payload),
                room[:80],
                self.settings.history_bytes,
            )
        return 0

    def warn_of_forgotten_rooms(self) -> None:
        """Warn that the room that was silent longest lost its history."""
        if self._forgotten.due():
            self.app.logger.warning(
                "Rooms reached ROOMS_HISTORY_TOTAL_BYTES (%d) or ROOMS_HISTORY_ROOMS (%d):"
                " the rooms that have been silent longest lose their history.",
                self.settings.history_total_bytes,
                self.settings.history_rooms,
            )

    # -- presence

    def changed(self, change: Change) -> None:
        """Report a change to the registered functions, one change at a time."""
        if self._told:
            self._changes.append(change)
            if not self._telling:
                self._telling = True
                self.spawn(self._tell())

    async def _tell(self) -> None:
        try:
            while self._changes:
                change = self._changes.popleft()
                self._told_some.set()
                async with self.app.app_context():
                    for func in self._told:
                        await self._call(func, change)
        finally:
            self._telling = False

    async def _call(self, func: Callable[[Change], Any], change: Change) -> None:
        try:
            if is_async(func):
                await func(change)
            else:
                await run_in_worker(func, change)
        except Exception:
            self.app.logger.exception("A 'rooms.on_change' function failed.")

    # -- tasks

    def start(self, coro: Coro[T]) -> asyncio.Task[T]:
        """Start a task outside any request's context."""
        return self.loop.create_task(coro, context=Context())

    def spawn(self, coro: Coro[T]) -> asyncio.Task[T]:
        """Start a task that `close` waits for."""
        task = self.start(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        with anyio.move_on_after(CLOSE_SECONDS):
            while self._tasks:
                await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backend.close()


async def _never() -> None:
    """A placeholder that is never called: the `Conversation` of a follower is not entered."""


async def _all(waiting: Iterable[Awaitable[None] | None]) -> None:
    for waits in waiting:
        if waits is not None:
            await waits
