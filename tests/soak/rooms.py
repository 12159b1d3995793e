"""Rooms under load: who stays gets each message that was accepted, once and in order, also when
Redis is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from soak.visitors import SECONDS, Load, Visitor
from soak.wire import Connection
from support.redis import Redis

NAMES: Final = ("tea", "coffee")
PAUSE_SECONDS: Final = 0.02
"""Between two messages to a room."""


class Room:
    def __init__(self, load: Load, name: str, seed: str) -> None:
        self.load = load
        self.name = name
        self.visitor = Visitor(load, f"{seed} room {name}")
        self.sent = 0
        self.accepted: list[int] = []
        self.over = asyncio.Event()
        """No more will be sent."""

    async def publish(self, redis_was_away: asyncio.Event) -> None:
        """Number all messages, and remember which of them the server has taken."""
        while not self.load.stopping.is_set():
            self.sent += 1
            colour = self.visitor.random.choice(["sync", "async"])
            target = self.visitor.path(f"/publish/{self.name}", self.load.token(), colour)
            body = f"{self.name} {self.sent}".encode()
            async with asyncio.timeout(SECONDS):
                reply = await self.visitor.ask(target, "POST", body)
            self.load.answered += 1
            if reply.status == 200:
                self.accepted.append(self.sent)
            elif reply.status != 503 or not redis_was_away.is_set():
                self.load.fault(f"message to a room: {reply.status}")
            await asyncio.sleep(PAUSE_SECONDS)
        await self.visitor.close()
        self.over.set()

    def look(self, who: str, got: list[int], since: int, until: int) -> None:
        """Compare what somebody got with what was accepted."""
        self.load.expect(f"order in a room ({who})", got, sorted(set(got)))
        missing = {n for n in self.accepted if since < n <= until} - set(got)
        self.load.expect(f"missing in a room ({who})", missing, set())

    def number(self, text: str) -> int:
        name, _, number = text.partition(" ")
        self.load.expect("room", name, self.name)
        return int(number)

    def is_complete(self, got: list[int]) -> bool:
        last = self.accepted[-1] if self.accepted else 0
        return self.over.is_set() and bool(got) and got[-1] >= last

    async def stay(self, colour: str) -> None:
        """A member to the end."""
        path = f"/rooms/{self.name}/{colour}"
        token = self.load.token()
        connection = await self.load.websocket(self.visitor.path(path, token, colour))
        got = await self.joined(connection)
        since = self.sent
        late = 0
        while not self.is_complete(got) and late < SECONDS:
            if (text := await self.receive(connection)) is not None:
                got.append(self.number(text))
            else:
                late += self.over.is_set()
        self.load.answered += 1
        await connection.close()
        self.look(f"{colour} member", got, since, self.sent)

    async def joined(self, connection: ClientConnection) -> list[int]:
        """Wait for the handler to say so; gives the messages that came before."""
        got = []
        while (text := await connection.recv()) != "joined":
            got.append(self.number(str(text)))
        return got

    async def receive(self, connection: ClientConnection) -> str | None:
        """A message; `None` if there is none for a second."""
        with contextlib.suppress(TimeoutError):
            return str(await asyncio.wait_for(connection.recv(), 1))
        return None

    async def follow(self) -> None:
        """An event stream to the end."""
        connection = await Connection.open(self.load.port)
        token = self.load.token("left")
        self.load.requests += 1
        await connection.send(self.visitor.path(f"/follow/{self.name}", token, "async"))
        got: list[int] = []
        late = 0
        await connection.reader.readuntil(b"\r\n\r\n")
        while not self.is_complete(got) and late < SECONDS:
            late += self.over.is_set()
            with contextlib.suppress(TimeoutError):
                event = await asyncio.wait_for(connection.reader.readuntil(b"\n\n"), 1)
                if b"data: " in event:
                    text = event.partition(b"data: ")[2].partition(b"\n")[0].decode()
                    got.append(self.number(text.strip('"')))
        connection.leave()
        self.look("follower", got, got[0] if got else 0, self.sent)

    async def come_and_go(self, redis_was_away: asyncio.Event) -> None:
        while not self.load.stopping.is_set():
            colour = self.visitor.random.choice(["sync", "async"])
            token = self.load.token("left")
            path = self.visitor.path(f"/rooms/{self.name}/guest", token, colour)
            try:
                connection = await self.load.websocket(path)
                got = await self.joined(connection)
                since = self.sent
                for _ in range(self.visitor.random.randrange(1, 40)):
                    if (text := await self.receive(connection)) is not None:
                        got.append(self.number(text))
                    elif self.over.is_set():
                        break
                self.look("guest", got, since, max(got, default=0))
                connection.transport.abort()
            except (ConnectionClosed, InvalidStatus) as error:
                if not redis_was_away.is_set():
                    self.load.fault(f"guest in a room: {error!r}")
                await asyncio.sleep(0.2)


async def restart(redis: Redis, load: Load, after: float, was_away: asyncio.Event) -> None:
    """Kill Redis in the middle, and start it again."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.stopping.wait(), after)
        return
    was_away.set()
    redis.stop()
    await asyncio.sleep(1.5)
    await asyncio.to_thread(redis.start)


async def run_rooms(load: Load, redis: Redis, seed: str, restart_after: float | None) -> None:
    was_away = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in NAMES:
            room = Room(load, name, seed)
            for colour in "sync", "async":
                group.create_task(room.stay(colour))
            group.create_task(room.follow())
            group.create_task(room.come_and_go(was_away))
            group.create_task(room.publish(was_away))
        if restart_after is not None:
            group.create_task(restart(redis, load, restart_after, was_away))
