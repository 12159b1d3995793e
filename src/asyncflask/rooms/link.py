"""A connection to Redis and the commands sent over it. The commands of rooms are in `redis.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

INSTALLED: bool
FAILURES: tuple[type[Exception], ...]

try:
    from redis import exceptions as exceptions
    from redis.asyncio import ConnectionPool as ConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError:
    ConnectionPool = exceptions = None  # type: ignore[misc,assignment]
    INSTALLED = False
    FAILURES = ()
else:
    INSTALLED = True
    FAILURES = (exceptions.RedisError, OSError)

Argument = str | bytes | int | float


class Link:
    """A connection to Redis. Does nothing on its own."""

    def __init__(self, url: str, timeout: float) -> None:
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=timeout,
        )
        self._connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout = timeout

    async def open(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()
        except BaseException:
            await self.close()
            raise

    async def send(self, commands: Iterable[tuple[Argument, ...]]) -> None:
        async with asyncio.timeout(self._timeout):
            packed = self._connection.pack_commands(commands)
            await self._connection.send_packed_command(packed, check_health=False)

    async def read(self) -> Any:
        return await self._connection.read_response()

    async def close(self) -> None:
        with suppress(Exception):
            await self._connection.disconnect(nowait=True)


class Call:
    """A command and the future for its answer."""

    def __init__(self, command: list[Argument], resend_flag: int | None) -> None:
        self.command = command
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._resend_flag = resend_flag

    def sent(self) -> None:
        """Note that it may be executed from now on, even if no answer arrives."""
        if self._resend_flag is not None:
            self.command[self._resend_flag] = 1
