"""Send the chunks of a stream: what is there at once goes out together, a lone chunk at once.

A sync iterable runs on the request's thread, ahead of the loop, which sends meanwhile what it
finds. At a bound the request comes back to the loop and waits there for its client, so that the
thread does not count as running. An asynchronous iterable runs on the loop; what it gives without
waiting is joined.

Not here: the head and the end of a response, and how a client's leaving is noticed.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import suppress
from time import monotonic
from types import coroutine
from typing import Any, Final, Protocol

from starlette.types import Message, Send

from .stepping import InContext, as_coroutine
from .threads import Driver

JOIN_BYTES: Final = 65_536
"""Chunks are joined to messages of about this size; a larger chunk is sent as it is."""

AHEAD_BYTES: Final = 131_072
AHEAD_CHUNKS: Final = 4_096
"""How far a sync iterable runs ahead of what has been sent: until it has given so much. Two
messages; several thousand steps of a few bytes, which take much longer than the way back."""

QUICK_SECONDS: Final = 0.001
"""Only after a step that took less than this the next one begins before its chunk is sent."""

HELD_SECONDS: Final = 0.005
"""A stream that never waits gives its loop, or its place among the threads that run, to others
after this time."""

_end: Any = object()

Begin = Callable[[Message], Awaitable[None] | None]
"""`send` that gives what to await, if it has to wait."""


class Client(Protocol):
    """What the sender of a stream has to know of its client; a `Body`, which receives from it."""

    left: bool

    @property
    def pulls(self) -> bool:
        """Whether it asks for chunk after chunk, and none is to be made before."""


def _message(chunk: bytes) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


def _beginning(send: Send) -> Begin:
    return send.beginner() if isinstance(send, InContext) else send


# -- sync -------------------------------------------------------------------------------------


async def send_chunks(
    driver: Driver, send: Send, client: Client, content: Iterable[bytes]
) -> None:
    """Send what *content* gives, which runs on the request's thread. Ends early when *client*
    leaves. An error in it is raised when the chunks before it have been sent."""
    await driver.to_thread()
    ahead = _Ahead(driver.loop, send, client)
    try:
        steps = iter(content)
        more = True
        while more:
            await driver.to_thread()
            try:
                more = ahead.fill(steps)
            finally:
                await driver.to_loop()
                await ahead.catch_up()
    finally:
        await driver.to_loop()
        await ahead.stop()


class Blocks:
    """The blocks of a file, which may be read on any thread."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = iter(blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks


async def send_blocks(driver: Driver, send: Send, client: Client, content: Blocks) -> None:
    """Send *content*. A thread reads each block, and none is held until the client has taken it:
    so the request gives up its own. Ends early when *client* leaves."""
    driver.spare_thread()
    begin = _beginning(send)
    while not client.left:
        block = await driver.run_apart(next, content.blocks, _end)
        if block is _end:
            return
        rest = begin(_message(block))
        if rest is not None:
            await rest


class _Ahead:
    """The chunks that a thread has taken, and the loop is to send.

    While the thread is at `fill`, a task sends what it finds; afterwards the request itself does.
    Each count is written by one of the two only, and so needs no lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Send, client: Client) -> None:
        self._loop = loop
        self._begin = _beginning(send)
        self._client = client
        self._chunks: deque[bytes] = deque()
        self._given = 0
        """How many bytes were put in."""
        self._sent = 0
        """How many of them have been sent."""
        self._filling = False
        self._noted = False
        """Whether the loop will look, and has not yet."""
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    # on the thread

    def fill(self, steps: Iterator[bytes]) -> bool:
        """Take chunks, until one is better sent before the next is made. Gives whether there may
        be more."""
        client, chunks = self._client, self._chunks
        pulls = client.pulls
        now = monotonic()
        until = now + HELD_SECONDS
        self._filling = True
        try:
            while not (client.left or self._failed):
                chunk = next(steps, _end)
                if chunk is _end:
                    return False
                if chunk:
                    # What is no `bytes` may be a buffer that is used again.
                    chunk = chunk if type(chunk) is bytes else bytes(memoryview(chunk))
                    self._given += len(chunk)
                    chunks.append(chunk)
                before, now = now, monotonic()
                if (
                    now - before > QUICK_SECONDS
                    or now > until
                    or self._given - self._sent >= AHEAD_BYTES
                    or len(chunks) >= AHEAD_CHUNKS
                    or pulls
                ):
                    return True
                if not self._noted:
                    self._noted = True
                    self._loop.call_soon_threadsafe(self._look)
            return False
        finally:
            self._filling = False

    # on the loop

    def _look(self) -> None:
        self._noted = False
        # A thread that has come back is here in a moment, and then the request sends all.
        if self._filling and (self._task is None or self._task.done()):
            self._task = _task(self._loop, self._send_meanwhile())

    async def _send_meanwhile(self) -> None:
        try:
            await self._send_all()
        except BaseException:
            self._failed = True
            raise

    async def _send_all(self) -> None:
        chunks, begin = self._chunks, self._begin
        while chunks and not self._client.left:
            chunk = chunks.popleft()
            if len(chunk) < JOIN_BYTES and chunks:
                chunk = self._joined(chunk)
            rest = begin(_message(chunk))
            if rest is not None:
                await rest
            self._sent += len(chunk)

    def _joined(self, chunk: bytes) -> bytes:
        """*chunk* with what comes after it."""
        chunks = self._chunks
        parts, size = [chunk], len(chunk)
        while chunks and size + len(chunks[0]) <= JOIN_BYTES:
            chunk = chunks.popleft()
            size += len(chunk)
            parts.append(chunk)
        return b"".join(parts)

    async def catch_up(self) -> None:
        """Have all been sent. Raises what `send` raised."""
        task, self._task = self._task, None
        if task is not None:
            await task
        await self._send_all()

    async def stop(self) -> None:
        """Send no more."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # there is another one, which is raised


def _task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    if sys.version_info >= (3, 12):  # a step of the loop less, for a chunk that is alone
        return asyncio.Task(coro, loop=loop, eager_start=True)
    return loop.create_task(coro)


# -- async ------------------------------------------------------------------------------------


async def send_async_chunks(
    send: Send, client: Client, content: AsyncIterable[bytes | str]
) -> None:
    """Send what *content* gives. Ends early when *client* leaves. An error in it is raised when
    the chunks before it have been sent."""
    joined, pulls = _Joined(send), client.pulls
    iterator = content.__aiter__()
    now = monotonic()
    until = now + HELD_SECONDS
    try:
        while not client.left:
            step: Any = iterator.__anext__()
            if not hasattr(step, "send"):
                step = as_coroutine(step)
            try:
                yielded = step.send(None)
            except StopIteration as stop:
                joined.add(stop.value)
                before, now = now, monotonic()
                late = now > until
                at_once = late or pulls or now - before > QUICK_SECONDS
            else:
                if (rest := joined.begin()) is not None:
                    await _before(step, yielded, rest)
                joined.add(await _resumed(step, yielded))
                now = monotonic()
                until = now + HELD_SECONDS
                late, at_once = False, True
            if (at_once or joined.size >= JOIN_BYTES) and (rest := joined.begin()) is not None:
                await rest
            if late:
                # `send` need not suspend: without this a stream that never waits itself would
                # keep the loop, and its client's leaving would never be seen.
                await asyncio.sleep(0)
                until = monotonic() + HELD_SECONDS
    except StopAsyncIteration:
        pass
    except Exception:
        await joined.end()
        raise
    await joined.end()


class _Joined:
    """Chunks that are there and have not been sent."""

    def __init__(self, send: Send) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self._begin = _beginning(send)

    def add(self, chunk: bytes | str) -> None:
        if not chunk:
            return
        if type(chunk) is not bytes:
            chunk = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
        self.parts.append(chunk)
        self.size += len(chunk)

    def begin(self) -> Awaitable[None] | None:
        """Send them; gives what to await, if that has to wait."""
        parts = self.parts
        if not parts:
            return None
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts, self.size = [], 0
        return self._begin(_message(chunk))

    async def end(self) -> None:
        """Send what is left."""
        if (rest := self.begin()) is not None:
            await rest


@coroutine
def _resumed(step: Any, yielded: Any) -> Generator[Any, Any, Any]:
    """What is left of *step*, which was begun, and waits for *yielded*."""
    try:
        while True:
            try:
                value = yield yielded
            except BaseException as error:
                yielded = step.throw(error)
            else:
                yielded = step.send(value)
    except StopIteration as stop:
        return stop.value


async def _before(step: Any, yielded: Any, rest: Awaitable[None]) -> None:
    """Await *rest* while *step* waits for *yielded*. If that fails, *step* is cancelled there."""
    # What a future tells its task; meanwhile another task may wait for the same one.
    future = hasattr(yielded, "_asyncio_future_blocking")
    if future:
        yielded._asyncio_future_blocking = False
    try:
        await rest
    except BaseException:
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            if future and yielded.cancel():  # as `asyncio.Task.cancel` does
                yielded._asyncio_future_blocking = True
                await _resumed(step, yielded)
            else:
                await _thrown(step, asyncio.CancelledError())
        raise
    if future:
        yielded._asyncio_future_blocking = True


async def _thrown(step: Any, error: BaseException) -> None:
    """Raise *error* in *step*, and have it end."""
    with suppress(StopIteration):
        await _resumed(step, step.throw(error))
