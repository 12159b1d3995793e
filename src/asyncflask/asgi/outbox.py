"""Sending messages to one WebSocket client: `Outbox` sends them in order; `Backlog` queues
them, within limits, for a client that does not read.

The server's `send` runs immediately, outside of any task, as far as it gets, so a message to
thousands of clients that read needs neither tasks nor futures. Only a client that does not read
gets a task and a backlog. Handshakes and close codes are not handled here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, Final, NamedTuple

from starlette.types import Message, Send

from .stepping import ENDED, InContext
from .websocket_rules import DEFAULT_OPTIONS, WebSocketOptions

IN_A_ROW: Final = 64
"""Messages sent without waiting before the loop gets to run other tasks."""


class Entry(NamedTuple):
    """A queued message. Messages from the handler itself have no size: they are not counted."""

    message: Message
    size: int | None = None
    done: asyncio.Future[None] | None = None


class Backlog:
    """A client's queue, and the messages that wait for room in it."""

    def __init__(self, options: WebSocketOptions) -> None:
        self._options = options
        self._entries: deque[Entry] = deque()
        self._outside: deque[Entry] = deque()
        self._messages = self._size = 0  # only of delivered messages

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.size is not None:
            self._messages += 1
            self._size += entry.size

    def add_delivered(self, message: Message) -> bool:
        """Add a message if it fits or the policy makes room. Return `True` if it was added."""
        size = _size(message)
        fits = self._fits(size) and not self._outside
        while not fits and self._options.send_policy == "drop_oldest":
            self._drop_oldest()
            fits = self._fits(size)
        if fits:
            self.add(Entry(message, size))
        return fits

    def wait_outside(self, message: Message) -> asyncio.Future[None]:
        """Let a message wait for room (policy ``"wait"``). Return a future that is done when
        there is."""
        room = asyncio.get_running_loop().create_future()
        self._outside.append(Entry(message, _size(message), room))
        return room

    def take(self) -> Entry:
        """Remove and return the next entry. Waiting messages move up."""
        entry = self._entries.popleft()
        self._uncount(entry)
        while self._outside and self._fits(self._outside[0].size or 0):
            message, size, room = self._outside.popleft()
            if room is not None and not room.done():
                self.add(Entry(message, size))
                room.set_result(None)
        return entry

    def clear(self, forget: bool) -> None:
        """Accept no more messages, and drop the queued ones if *forget*."""
        while self._outside:
            _settle(self._outside.popleft().done)
        while self._entries and forget:
            _settle(self.take().done, ConnectionError())

    def _fits(self, size: int) -> bool:
        return not self._messages or (
            self._messages < self._options.send_queue
            and self._size + size <= self._options.send_queue_bytes
        )

    def _drop_oldest(self) -> None:
        index, oldest = next(
            (index, entry) for index, entry in enumerate(self._entries) if entry.size is not None
        )
        del self._entries[index]
        self._uncount(oldest)

    def _uncount(self, entry: Entry) -> None:
        if entry.size is not None:
            self._messages -= 1
            self._size -= entry.size


class Outbox:
    """Sends messages to one client, in order, from the call of `open` on.

    *send*: the server's function. It runs in the current context or the handler's, not in that
    of whoever delivers a message. *direct*: `send` may start outside of a task; false for a
    middleware's, which may use the current task. *stalled*: called with the reason if the
    client did not take in a message within the timeout, or if its queue is full and the policy
    is ``"close"``. *failed*: called with the exception of *send* for a delivered message. Both
    are dropped at the end.
    """

    def __init__(
        self,
        send: Send,
        *,
        direct: bool,
        stalled: Callable[[str], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self.send: Any = send  # returns coroutines if direct
        self.options = DEFAULT_OPTIONS
        self._direct = direct
        self.context = copy_context()
        """Not the request's, which would be a reference cycle."""
        self._stalled: Callable[[str], object] | None = stalled
        self._failed: Callable[[Exception], object] | None = failed
        self._backlog: Backlog | None = None
        self._busy = True
        """`True` while a message is being sent, or sending is not allowed yet."""
        self._in_a_row = 0
        """How many messages were sent without waiting."""
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[None] | None = None
        self._ended = self._cancelled = False

    async def put_first(self, message: Message) -> None:
        """Send *message* before `open`, while nothing else is sent."""
        await InContext(self.send, self.context)(message)

    def open(self) -> None:
        """Start sending: the handshake is complete."""
        self._rested()

    def put(self, message: Message, awaited: bool = True) -> Awaitable[None] | None:
        """Send *message* in its turn. Return an awaitable until the server has accepted it, or
        `None` if it already has. Errors of the server, or `ConnectionError` if the connection
        ends first, are raised here or by the awaitable. If not *awaited*, the outbox handles
        them."""
        if self._busy or not self._direct:
            if self._ended:
                raise ConnectionError
            return self._wait(message)
        self._busy = True
        coro = self.send(message)
        try:
            waits_for = next(coro.__await__(), ENDED)  # cheaper than `StopIteration`
        except BaseException:
            self._rested()
            raise
        if waits_for is not ENDED:
            sent = asyncio.get_running_loop().create_future() if awaited else None
            self._start(_resumed(coro, waits_for), sent)
            return sent
        self._in_a_row += 1
        if self._backlog is None and self._in_a_row < IN_A_ROW:
            self._busy = False
            return None
        self._rested()
        return asyncio.sleep(0) if awaited else None

    def _wait(self, message: Message) -> asyncio.Future[None]:
        sent = asyncio.get_running_loop().create_future()
        self._get_backlog().add(Entry(message, None, sent))
        self._go_on()
        return sent

    def deliver(self, message: Message) -> asyncio.Future[None] | None:
        """Send *message* in its turn, without waiting. Does nothing if the connection has
        ended. If the policy is ``"wait"`` and there is no room, return a future that is done
        when there is; cancelling it withdraws the message."""
        if self._ended:
            return None
        if self._direct and not self._busy:
            try:
                self.context.run(self.put, message, False)
            except Exception as error:
                if self._failed is not None:  # unless the error ended it
                    self._failed(error)
            return None
        backlog = self._get_backlog()
        if not backlog.add_delivered(message):
            if self.options.send_policy == "wait":
                return backlog.wait_outside(message)
            assert self._stalled is not None  # it has not ended
            self._stalled("Too many messages are queued for this client.")
        self._go_on()
        return None

    async def put_last(self, message: Message) -> None:
        """`put` *message* as the last one: later messages are not sent."""
        if self._cancelled:
            raise ConnectionError
        self.end(forget=False)
        await self._wait(message)

    def end(self, *, forget: bool = True) -> None:
        """Accept no more messages but the last, and drop the queued ones if *forget*."""
        self._ended = True
        self._direct = False
        self._stalled = self._failed = None  # breaks reference cycles
        if self._backlog is not None:
            self._backlog.clear(forget)

    def cancel(self) -> None:
        """`end`, and stop sending the current message."""
        self.end()
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
            _settle(self._sending, ConnectionError())

    # -- sending

    def _get_backlog(self) -> Backlog:
        if self._backlog is None:
            self._backlog = Backlog(self.options)
        return self._backlog

    def _rested(self) -> None:
        """Note that no message is being sent any more."""
        self._busy = False
        self._in_a_row = 0
        self._go_on()

    def _go_on(self) -> None:
        if self._backlog and not self._busy:
            self._start(None, None)

    def _start(self, rest: Awaitable[None] | None, sent: asyncio.Future[None] | None) -> None:
        """Start a task that sends *rest*, which has begun, and then the queue."""
        self._busy = True
        self._sending = sent
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(rest), context=self.context)

    async def _run(self, rest: Awaitable[None] | None) -> None:
        if rest is not None:
            await self._finish(rest)
        while self._backlog:
            message, _, self._sending = self._backlog.take()
            if self._sending is None or not self._sending.done():
                await self._finish(self.send(message))
        self._backlog = self._task = self._sending = None
        self._rested()

    async def _finish(self, rest: Awaitable[None]) -> None:
        sent = self._sending
        try:
            async with asyncio.timeout(self.options.send_timeout) as limit:
                await rest
        except Exception as error:
            if limit.expired():
                if self._stalled is not None:
                    self._stalled(f"This client has not read for {self.options.send_timeout:g} s.")
                _settle(sent, ConnectionError())
            elif sent is not None:
                _settle(sent, error)
            elif self._failed is not None:
                self._failed(error)
        else:
            _settle(sent)


def _settle(future: asyncio.Future[None] | None, error: Exception | None = None) -> None:
    if future is None or future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _size(message: Message) -> int:
    text = message.get("text")
    return len(text if text is not None else message["bytes"])


@coroutine
def _resumed(coro: Any, waits_for: object) -> Generator[object, Any, None]:
    """Continue *coro*, which has begun and waits for something, in a task."""
    while True:
        step: Callable[[Any], Any] = coro.send
        try:
            value = yield waits_for
        except BaseException as error:
            step, value = coro.throw, error
        try:
            waits_for = step(value)
        except StopIteration:
            return
        finally:
            value = None  # an error's traceback refers to this frame
