"""Messages of a WebSocket client that were received before its handler asked for them, and
waking those that wait for news of them."""

from __future__ import annotations

import asyncio
from typing import Final

RECEIVED_MESSAGES: Final = 64
"""How many received messages may wait for the handler before the client has to wait."""

RECEIVED_BYTES: Final = 1_048_576
"""Their maximum total size. The last one may exceed it."""


class Bell:
    """Wakes the tasks that wait for it. An `asyncio.Event` reserves 0.7 KiB for possible
    waiters."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: tuple[asyncio.Future[None], ...] = ()

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.waiters += (waiter,)
        try:
            await waiter
        finally:
            self.waiters = tuple(other for other in self.waiters if other is not waiter)

    def ring(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class Inbox(list[str | bytes]):
    """The messages, oldest first."""

    __slots__ = ("_size",)

    def __init__(self) -> None:
        self._size = 0

    @property
    def full(self) -> bool:
        return len(self) >= RECEIVED_MESSAGES or self._size >= RECEIVED_BYTES

    def put(self, data: str | bytes) -> None:
        self.append(data)
        self._size += len(data)

    def take(self) -> str | bytes:
        data = self.pop(0)
        self._size -= len(data)
        return data
