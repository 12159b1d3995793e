"""Sending a stream's chunks: those that are available together are joined, a single chunk is
sent at once.

A sync iterable runs on the request's thread, ahead of the loop, which sends what is there in
the meantime. At a limit, the request returns to the loop and waits there for its client, so
that the thread does not count as running. An async iterable runs on the loop; what it yields
without waiting is joined.

The start and end of a response, and noticing that the client left, are elsewhere.
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
"""Chunks are joined to messages of about this size. Larger chunks are sent as they are."""

AHEAD_BYTES: Final = 131_072
AHEAD_CHUNKS: Final = 4_096
"""How far a sync iterable may run ahead of what was sent: two messages, or several thousand
tiny steps, which take much longer than the return to the loop."""

QUICK_SECONDS: Final = 0.001
"""Only after a step shorter than this does the next one begin before its chunk is sent."""

HELD_SECONDS: Final = 0.005
"""How long a stream that never waits may keep the loop, or its slot among the running threads."""

_end: Any = object()

Begin = Callable[[Message], Awaitable[None] | None]
"""A `send` that returns an awaitable if it has to wait, else `None`."""


class Client(Protocol):
    """What sending a stream needs to know about its client. A `Body` implements it."""

    left: bool

    @property
    def pulls(self) -> bool:
        """`True` if it requests chunks one by one, and none must be made in advance."""


def _message(chunk: bytes) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


def _beginning(send: Send) -> Begin:
    return send.beginner() if isinstance(send, InContext) else send


# -- sync -------------------------------------------------------------------------------------


async def send_chunks(
    driver: Driver, send: Send, client: Client, content: Iterable[bytes]
) -> None:
    """Send the chunks of *content*, which runs on the request's thread. Stop when *client*
    leaves. An error in *content* is raised after the chunks before it are sent."""
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
    """The blocks of a file, which any thread may read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = iter(blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks


async def send_blocks(driver: Driver, send: Send, client: Client, content: Blocks) -> None:
    """Send *content*, and stop when *client* leaves. Any thread reads each block, and none is
    held while the client takes it in, so the request gives up its own thread."""
    driver.spare_thread()
    begin = _beginning(send)
    more = True
    while more and not client.left:
        block, more = await driver.run_apart(_read, content.blocks)
        rest = begin(_message(block)) if block else None
        if rest is not None:
            await rest


def _read(blocks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what one message is to have of *blocks*, and whether there may be more: a small
    file and its end take one switch to a thread."""
    taken: list[bytes] = []
    size = 0
    for block in blocks:
        taken.append(block)
        size += len(block)
        if size >= JOIN_BYTES:
            return b"".join(taken), True
    return b"".join(taken), False


class _Ahead:
    """The chunks that a thread has produced and the loop has yet to send.

    While the thread is in `fill`, a task sends them; afterwards the request itself does. Each
    counter is written by only one of the two, so it needs no lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Send, client: Client) -> None:
        self._loop = loop
        self._begin = _beginning(send)
        self._client = client
        self._chunks: deque[bytes] = deque()
        self._given = 0
        """The number of bytes added."""
        self._sent = 0
        """The number of bytes sent."""
        self._filling = False
        self._noted = False
        """`True` if the loop was asked to look and has not yet done so."""
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    # on the thread

    def fill(self, steps: Iterator[bytes]) -> bool:
        """Take chunks until they should be sent before the next one is made. Return `True` if
        there may be more."""
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
                    # Objects other than `bytes` may be buffers that are reused.
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
        # If the thread has returned, the request is about to run and will send everything.
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
        """Return *chunk* joined with the chunks after it."""
        chunks = self._chunks
        parts, size = [chunk], len(chunk)
        while chunks and size + len(chunks[0]) <= JOIN_BYTES:
            chunk = chunks.popleft()
            size += len(chunk)
            parts.append(chunk)
        return b"".join(parts)

    async def catch_up(self) -> None:
        """Send all chunks. Raises the exception of `send`."""
        task, self._task = self._task, None
        if task is not None:
            await task
        await self._send_all()

    async def stop(self) -> None:
        """Stop sending."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # another error is being raised


def _task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    if sys.version_info >= (3, 12):  # saves a loop iteration for a single chunk
        return asyncio.Task(coro, loop=loop, eager_start=True)
    return loop.create_task(coro)


# -- async ------------------------------------------------------------------------------------


async def send_async_chunks(
    send: Send, client: Client, content: AsyncIterable[bytes | str]
) -> None:
    """Send the chunks of *content*, and stop when *client* leaves. An error in *content* is
    raised after the chunks before it are sent."""
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
                # `send` need not suspend. Without this, a stream that never waits would keep
                # the loop, and its client's disconnect would go unnoticed.
                await asyncio.sleep(0)
                until = monotonic() + HELD_SECONDS
    except StopAsyncIteration:
        pass
    except Exception:
        await joined.end()
        raise
    await joined.end()


class _Joined:
    """Chunks that are available but not yet sent."""

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
        """Send them. Return an awaitable if that has to wait, else `None`."""
        parts = self.parts
        if not parts:
            return None
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts, self.size = [], 0
        return self._begin(_message(chunk))

    async def end(self) -> None:
        """Send the rest."""
        if (rest := self.begin()) is not None:
            await rest


@coroutine
def _resumed(step: Any, yielded: Any) -> Generator[Any, Any, Any]:
    """Finish *step*, which was started and waits for *yielded*."""
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
    """Await *rest* while *step* waits for *yielded*. If *rest* fails, cancel *step*."""
    # What a future sets for its task; another task may wait for the same future meanwhile.
    future = hasattr(yielded, "_asyncio_future_blocking")
    if future:
        yielded._asyncio_future_blocking = False
    try:
        await rest
    except BaseException:
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            if future and yielded.cancel():  # as in `asyncio.Task.cancel`
                yielded._asyncio_future_blocking = True
                await _resumed(step, yielded)
            else:
                await _thrown(step, asyncio.CancelledError())
        raise
    if future:
        yielded._asyncio_future_blocking = True


async def _thrown(step: Any, error: BaseException) -> None:
    """Raise *error* in *step*, and let it finish."""
    with suppress(StopIteration):
        await _resumed(step, step.throw(error))
