"""Rooms in Redis, for any number of processes.

One script adds a message to its room's stream (the history) and publishes it. A process has one
connection subscribed to the rooms with listeners here, and one for commands. Each belongs to a
task; both are opened when needed. After losing the first, the process reads what it missed from
the streams. Messages carry their process and a number, so that a message that was sent again is
not delivered twice.

Keys, after the prefix: ``room:``, ``stream:``, ``counts:`` and ``members:`` with a room's name,
``process:`` with an id (the rooms of its members), ``processes`` (until when each counts as
alive); ``kept``, ``sizes``, ``total`` and ``presence`` for the limits (`scripts.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio

from ..asgi.stepping import Coro
from .base import Change, Member, Message, RoomsError, RoomsLimit, oldest, position
from .hub import Hub
from .limits import Settings
from .link import FAILURES, INSTALLED, Argument, Call, ConnectionPool, Link, exceptions
from .scripts import BEAT, ENTER, EXIT, MEMBERS, PUBLISH, SCRIPTS, SYNC

_INTERRUPTIONS: tuple[type[Exception], ...] = (*FAILURES, RoomsError)

IDLE_SECONDS: Final = 1.0
"""Seconds that an unused connection is kept."""

LONGEST_WAIT: Final = 1.0
"""The maximum number of seconds between two attempts to connect."""

SENDERS: Final = 256
"""How many senders' last numbers are kept per room."""

T = TypeVar("T")


class RedisBackend:
    """One process's access to rooms in Redis."""

    @staticmethod
    def check(url: str) -> None:
        """Raise `RuntimeError` or `ValueError` if *url* cannot be used."""
        if not INSTALLED:
            raise RuntimeError(
                f"Rooms at {_place(url)!r} need a package that is not installed. Install it"
                " with: pip install 'asyncflask[redis]'"
            )
        ConnectionPool.from_url(url)

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings = settings
        self._hub = hub
        self._place = _place(settings.url)
        self._prefix = f"{settings.prefix}:"
        self._sent = 0
        self._lost: BaseException | None = None
        self._out_of_step = False
        self._closed = False
        self._members: dict[str, dict[str, tuple[str, int]]] = {}
        """This process's members: room, id, then the member as JSON and its size."""
        # Listening.
        self._channels: dict[str, Channel] = {}
        self._reader: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._unconfirmed: Counter[str] = Counter()
        self._early: list[tuple[bytes, bytes]] | None = None
        self._to_say: deque[tuple[Argument, ...]] = deque()
        self._saying: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        # Commands.
        self._calls: deque[Call] = deque()
        self._called = asyncio.Event()
        self._caller: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._beat_now = asyncio.Event()

    # -- commands

    async def _call(self, *command: Argument, resend_flag: int | None = None) -> Any:
        """Execute a command and return its answer. If the connection is lost, repeat it with
        the argument at *resend_flag* set to 1. Raises `RoomsError` if there is no answer in
        time."""
        call = Call(list(command), resend_flag)
        self._calls.append(call)
        self._called.set()
        if self._caller is None:
            self._caller = self._start(self._make_calls())
        try:
            async with asyncio.timeout(self._settings.send_timeout):
                return await call.answer
        except TimeoutError:
            raise RoomsError(
                f"Redis at {self._place} did not answer within {self._settings.send_timeout:g}"
                f" s ({self._lost or 'connected, but slow'})."
            ) from self._lost
        except exceptions.ResponseError as error:
            raise RoomsError(f"Redis at {self._place} rejected the command: {error}") from error

    async def _script(
        self, script: str, keys: list[str], *args: Argument, resend_flag: int | None = None
    ) -> Any:
        if resend_flag is not None:
            resend_flag += 3 + len(keys)
        command = ("EVALSHA", SCRIPTS[script], len(keys), *keys, *args)
        return await self._call(*command, resend_flag=resend_flag)

    async def _make_calls(self) -> None:
        """The task that owns the connection for commands, as long as there are commands."""
        link: Link | None = None
        failures = 0
        try:
            while True:
                while self._calls and self._calls[0].answer.done():
                    self._calls.popleft()  # nobody waits for the answer any more
                if not self._calls:
                    self._called.clear()
                    with anyio.move_on_after(IDLE_SECONDS):
                        await self._called.wait()
                    if not self._calls and not self._needed:
                        return
                    continue
                try:
                    if link is None:
                        link = await self._connected()
                        self._reached()
                        await self._load_scripts(link)
                    await self._make_waiting_calls(link)
                    failures = 0
                except FAILURES as error:
                    if link is not None:
                        await link.close()
                        link = None
                    # The server may have closed a connection that was idle.
                    if failures:
                        self._failed(error)
                        await asyncio.sleep(_wait(failures))
                    failures += 1
        finally:
            self._caller = None
            if link is not None:
                await link.close()

    async def _make_waiting_calls(self, link: Link) -> None:
        calls = [call for call in self._calls if not call.answer.done()]
        commands = [tuple(call.command) for call in calls]
        for call in calls:
            call.sent()
        self._calls = deque(calls)
        await link.send(commands)
        for call in calls:
            async with asyncio.timeout(self._settings.send_timeout):
                try:
                    answer = await link.read()
                except exceptions.NoScriptError:
                    raise  # Redis has dropped the scripts: load them again
                except exceptions.ResponseError as error:
                    self._calls.popleft()
                    if not call.answer.done():
                        call.answer.set_exception(error)
                    continue
            self._calls.popleft()
            if not call.answer.done():
                call.answer.set_result(answer)

    async def _load_scripts(self, link: Link) -> None:
        await link.send([("SCRIPT", "LOAD", script) for script in SCRIPTS])
        async with asyncio.timeout(self._settings.send_timeout):
            for _ in SCRIPTS:
                await link.read()

    async def _connected(self) -> Link:
        link = Link(self._settings.url, self._settings.send_timeout)
        await link.open()
        return link

    @property
    def _needed(self) -> bool:
        return bool(self._channels or self._members)

    def _failed(self, error: BaseException) -> None:
        if self._lost is None:
            self._hub.app.logger.warning(
                "Rooms lost the connection to Redis at %s (%s) and will reconnect.",
                self._place,
                error or type(error).__name__,
            )
        self._lost = error
        self._out_of_step = True

    def _reached(self) -> None:
        if self._lost is not None:
            self._lost = None
            self._hub.app.logger.warning("Rooms reconnected to Redis at %s.", self._place)
            self._beat_now.set()

    # -- messages to others

    async def publish(
        self, room: str, payload: str | bytes, is_json: bool, size: int, exclude: frozenset[str]
    ) -> str | None:
        self._sent += 1
        tag = f"{self._hub.process} {self._sent} "
        kind = "j" if is_json else "t" if isinstance(payload, str) else "b"
        head = f"{tag}{kind} {','.join(exclude)}\n".encode()
        data = payload.encode() if isinstance(payload, str) else payload
        settings = self._settings
        id, forgot = await self._script(
            PUBLISH,
            [self._channel(room), self._key("stream", room)],
            settings.history if size else 0,
            int(settings.history_seconds) + 1,
            tag,
            0,
            head + data,
            self._prefix,
            room,
            size,
            settings.history_bytes,
            settings.history_total_bytes,
            settings.history_rooms,
            resend_flag=3,
        )
        if forgot:
            self._hub.warn_of_forgotten_rooms()
        return id.decode() or None

    async def history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        start = f"{oldest(self._settings.history_seconds)}-0"
        if after is not None and position(after) >= position(start):
            start = f"({after}"
        command: list[Argument] = ["XREVRANGE", self._key("stream", room), "+", start]
        if count is not None:
            command += ["COUNT", count]
        entries = await self._call(*command)
        return [self._parsed(room, id, fields[1])[0] for id, fields in reversed(entries)]

    def _parsed(self, room: str, id: bytes, body: bytes) -> tuple[Message, str, int, str]:
        """Return a message, its sender, its number, and the ids to exclude."""
        head, _, data = body.partition(b"\n")
        sender, number, kind, exclude = head.decode().split(" ")
        payload = data if kind == "b" else data.decode()
        loads = self._settings.loads if kind == "j" else None
        return Message(room, payload, id.decode() or None, loads), sender, int(number), exclude

    # -- messages from others

    async def subscribe(self, room: str) -> None:
        name = self._channel(room)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(room)
            if self._link is not None:
                self._unconfirmed[name] += 1
                self._say("SUBSCRIBE", name)
            if self._reader is None:
                self._reader = self._start(self._listen())
            self._keep_beating()
        if not channel.confirmed.is_set():
            try:
                async with asyncio.timeout(self._settings.send_timeout):
                    await channel.confirmed.wait()
            except TimeoutError:
                raise RoomsError(
                    f"Redis at {self._place} did not answer within"
                    f" {self._settings.send_timeout:g} s, so the room {room!r} cannot be joined"
                    f" ({self._lost or 'connected, but slow'})."
                ) from self._lost
        if channel.last is None and self._settings.history:
            newest = await self._call("XREVRANGE", self._key("stream", room), "+", "-", "COUNT", 1)
            if channel.last is None:
                channel.last = newest[0][0] if newest else b"0-0"

    def unsubscribe(self, room: str) -> None:
        name = self._channel(room)
        if self._channels.pop(name, None) is not None and self._link is not None:
            self._say("UNSUBSCRIBE", name)
        if not self._channels:
            self._hub.loop.call_later(IDLE_SECONDS, self._stop_listening)

    def _stop_listening(self) -> None:
        if not self._channels and self._reader is not None:
            self._reader.cancel()
        self._beat_now.set()

    def _say(self, *command: Argument) -> None:
        """Queue a command on the connection for messages. Commands keep their order."""
        self._to_say.append(command)
        if self._saying is None:
            self._saying = self._start(self._say_all())

    async def _say_all(self) -> None:
        try:
            while self._to_say and self._link is not None:
                commands = list(self._to_say)
                self._to_say.clear()
                with suppress(*FAILURES):  # the reader notices the failure as well
                    await self._link.send(commands)
        finally:
            self._saying = None

    async def _listen(self) -> None:
        """The task that owns the connection for messages, as long as there are rooms to listen
        to."""
        failures = 0
        try:
            while self._channels:
                link = None
                try:
                    link = await self._connected()
                    await self._catch_up(link)
                    self._reached()
                    failures = 0
                    while True:
                        await self._hear(await link.read())
                except _INTERRUPTIONS as error:
                    self._failed(error)
                    failures += 1
                finally:
                    self._link = None
                    if link is not None:
                        await link.close()
                await asyncio.sleep(_wait(failures))
        finally:
            # After the cancellation, which came because no room was left, one may have been
            # added.
            again = self._channels and not self._closed
            self._reader = self._start(self._listen()) if again else None

    async def _catch_up(self, link: Link) -> None:
        """On a new connection, subscribe to all rooms and read what was missed."""
        names = list(self._channels)
        self._heard_at = self._hub.loop.time()
        self._to_say.clear()
        self._unconfirmed = Counter(names)
        self._early = []
        self._link = link
        await link.send([("SUBSCRIBE", *names)])
        while any(self._unconfirmed[name] for name in names):
            async with asyncio.timeout(self._settings.send_timeout):
                await self._hear(await link.read())
        self._reached()
        for name in names:
            channel = self._channels.get(name)
            if channel is not None and channel.last is not None:
                key = self._key("stream", channel.room)
                start = f"({channel.last.decode()}"
                for id, fields in await self._call("XRANGE", key, start, "+"):
                    await self._take(channel, id, fields[1])
        early, self._early = self._early, None
        for name_, data in early:
            await self._hear([b"message", name_, data])

    async def _hear(self, said: list[Any]) -> None:
        self._heard_at = self._hub.loop.time()
        kind, name_ = said[0], said[1]
        if kind == b"message":
            if self._early is not None:
                self._early.append((name_, said[2]))
            elif (channel := self._channels.get(name_.decode())) is not None:
                id, _, body = said[2].partition(b" ")
                await self._take(channel, id, body)
        elif kind == b"subscribe":
            name = name_.decode()
            self._unconfirmed[name] -= 1
            if self._unconfirmed[name] <= 0:
                del self._unconfirmed[name]
                if name in self._channels:
                    self._channels[name].confirmed.set()

    async def _take(self, channel: Channel, id: bytes, body: bytes) -> None:
        message, sender, number, exclude = self._parsed(channel.room, id, body)
        if id:
            channel.last = id
        if channel.is_new(sender, number):
            excluded = frozenset(exclude.split(",")) if exclude else frozenset()
            for waits in self._hub.deliver(message, excluded):
                await waits

    # -- presence

    async def enter(self, room: str, member: Member, size: int) -> None:
        settings = self._settings
        value = json.dumps(member)
        self._members.setdefault(room, {})[member.id] = value, size
        self._keep_beating()
        try:
            full = await self._script(
                ENTER,
                [*self._room_keys(room), *self._alive, self._presence],
                self._hub.process,
                member.id,
                value,
                room,
                settings.presence_timeout,
                size,
                settings.members,
                settings.members_total_bytes,
            )
        except BaseException:
            self._forget(room, member)
            self._out_of_step = True
            raise
        if full:
            self._forget(room, member)
            raise RoomsLimit(
                settings.room_is_full(room) if full == b"room" else settings.too_many_members()
            )

    def _forget(self, room: str, member: Member) -> tuple[bool, int]:
        """Remove a member of this process. Return `True` if it was the last in *room*, and its
        size."""
        members = self._members.get(room, {})
        _, size = members.pop(member.id, ("", 0))
        if not members:
            self._members.pop(room, None)
        return not members, size

    async def exit(self, room: str, member: Member) -> None:
        last, size = self._forget(room, member)
        try:
            await self._script(
                EXIT,
                [*self._room_keys(room), self._presence],
                member.id,
                room,
                int(last),
                size,
            )
        except RoomsError:
            self._out_of_step = True  # resynchronize, before this process counts as dead

    async def members(self, room: str) -> list[Member]:
        values = await self._script(MEMBERS, [self._key("members", room), *self._alive])
        return [Member(*json.loads(value)) for value in values]

    def _keep_beating(self) -> None:
        if self._beat is None:
            self._beat = self._start(self._beating())

    async def _beating(self) -> None:
        """The task that reports this process as alive, and notices processes that are not."""
        interval = self._settings.presence_timeout / 3
        try:
            while self._needed:
                self._beat_now.clear()
                try:
                    await self._beat_once()
                except RoomsError:
                    self._out_of_step = True
                if self._link is not None:
                    self._say("PING")
                    silence = self._hub.loop.time() - self._heard_at
                    if silence > self._settings.presence_timeout:
                        await self._link.close()  # noticed by the reader
                with anyio.move_on_after(interval):
                    await self._beat_now.wait()
        finally:
            self._beat = None

    async def _beat_once(self) -> None:
        timeout = self._settings.presence_timeout if self._members else 0
        known, *gone = await self._script(
            BEAT, self._alive, self._prefix, self._hub.process, timeout
        )
        left: dict[str, list[Member]] = {}
        for room, value in zip(gone[::2], gone[1::2], strict=True):
            left.setdefault(room.decode(), []).append(Member(*json.loads(value)))
        for name, members in left.items():
            self._hub.changed(Change(name, [], members))
        if not known or self._out_of_step:
            self._out_of_step = False
            triples: list[Argument] = []
            total = 0
            for name, entered in self._members.items():
                for id, (value, size) in entered.items():
                    triples += [name, id, value]
                    total += size
            await self._script(
                SYNC,
                self._alive,
                self._prefix,
                self._hub.process,
                self._settings.presence_timeout,
                total,
                *triples,
            )
            if not known:
                for name in list(self._members):
                    self._hub.changed(Change(name, [], []))

    # -- names, tasks

    @property
    def _alive(self) -> list[str]:
        return [f"{self._prefix}processes"]

    @property
    def _presence(self) -> str:
        return f"{self._prefix}presence"

    def _room_keys(self, room: str) -> list[str]:
        return [self._key("members", room), self._key("process", self._hub.process)]

    def _channel(self, room: str) -> str:
        return f"{self._prefix}room:{room}"

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}:{name}"

    def _start(self, coro: Coro[T]) -> asyncio.Task[T]:
        return self._hub.start(coro)

    async def close(self) -> None:
        self._closed = True
        tasks = [self._beat, self._reader, self._saying, self._caller]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        for call in self._calls:
            call.answer.cancel()


class Channel:
    """A room that has listeners here."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.confirmed = asyncio.Event()
        self.last: bytes | None = None
        """The id up to which no message was missed."""
        self._numbers: dict[str, int] = {}

    def is_new(self, sender: str, number: int) -> bool:
        """Return `True` if the message is not a repetition: a sender's numbers increase."""
        before = self._numbers.pop(sender, 0)
        if len(self._numbers) >= SENDERS:
            del self._numbers[next(iter(self._numbers))]  # the least recent sender
        self._numbers[sender] = max(before, number)
        return number > before


def _place(url: str) -> str:
    """Return a URL without its password."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else ""
    return f"{parts.scheme}://{host}{parts.path}"


def _wait(failures: int) -> float:
    return min(LONGEST_WAIT, 0.02 * 2**failures) if failures else 0.0
