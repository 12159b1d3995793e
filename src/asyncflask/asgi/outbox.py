"""What waits to be sent to one WebSocket client.

The server's `send` is run at once, outside of any task, as far as it goes: a message to thousands
of clients that read costs neither tasks nor futures. Only for a client that does not read is
there a task, and a queue within limits.

Knows messages and their order; knows no handshake and no close codes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, Final, Literal

from starlette.types import Message, Send

from .threads import ENDED

Policy = Literal["close", "drop_oldest", "wait"]
Sent = asyncio.Future[None] | None
POLICIES: Final[tuple[Policy, ...]] = ("close", "drop_oldest", "wait")
_Entry = tuple[Message, int | None, Sent]  # the size of a delivered message; not of others

SEND_TIMEOUT: Final = 20.0
"""Seconds in which a client has to take a message in; TCP has tried several times by then."""

QUEUED_MESSAGES: Final = 1_000
"""How many delivered messages may wait for one client."""

QUEUED_BYTES: Final = 1_048_576
"""And how much they may be together; a longer message waits alone."""


TURNS: Final = 64
"""After how many messages that need not wait the loop is given to others."""


class Outbox:
    """The messages for one client, in order. None is sent before `open` is called.

    *send*: the server's. It runs in the context as it is now or in the handler's, not in that of
    whoever happens to deliver a message. *direct*: it may begin outside of a task. It may not if
    it is a middleware's, which could ask for the current task. *stalled*: called with the reason
    when the client has not taken a message in for *timeout* seconds, or more than *messages* or
    *size* wait and the *policy* is ``"close"``. *failed*: called with what *send* raises for a
    delivered message.
    """

    def __init__(
        self,
        send: Send,
        *,
        direct: bool,
        stalled: Callable[[str], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self.send: Any = send  # if it is direct, it gives coroutines
        self._direct = direct
        self._context = copy_context()
        self._stalled = stalled
        self._failed = failed
        self.limit(SEND_TIMEOUT, QUEUED_MESSAGES, QUEUED_BYTES, "close")
        self.queue: deque[_Entry] = deque()
        self._messages = self._size = 0  # of the delivered messages in the queue
        self._outside: deque[tuple[Message, int, asyncio.Future[None]]] = deque()
        self._busy = True
        """Whether nothing may be sent yet, or a task sends."""
        self.turns = 0
        """How many messages may be sent outside of a task, before others run. 0 as well while one
        is, and if that may not be: so what is delivered in there, by the server, waits."""
        self._task: asyncio.Task[None] | None = None
        self._sending: Sent = None
        self._closing = self._ended = self._cancelled = False

    def limit(self, timeout: float | None, messages: int, size: int, policy: Policy) -> None:
        """What is called above by these names; before anything is sent."""
        self._timeout = timeout
        self._max_messages, self._max_size = messages, size
        self._policy = policy

    def open(self) -> None:
        """The handshake is complete: send what waits, and what comes."""
        self.rested()

    def put(self, message: Message, own: bool = True) -> Awaitable[None] | None:
        """Send *message* in its turn. Gives what to await until the server has taken it, if it has
        not yet. That raises what the server does, and `ConnectionError` if the connection ends
        before; so does this itself. Unless it is the handler's *own*, nobody will await it."""
        turns = self.turns
        if not turns:
            return self._in_queue(message)
        self.turns = 0
        coro = self.send(message)
        try:
            waits_for = next(coro.__await__(), ENDED)  # which costs less than `StopIteration`
        except BaseException:
            self.rested()
            raise
        if waits_for is ENDED and turns > 1 and not self.queue:
            self.turns = turns - 1
            return None
        return self.go_on_with(coro, waits_for, own)

    def go_on_with(
        self, coro: Coroutine[Any, Any, None], waits_for: Any, own: bool = True
    ) -> Awaitable[None] | None:
        """The rest of `put`, for a message whose sending has begun: *coro* waits for something,
        or it is time to let others run."""
        sent: Sent = None
        if waits_for is ENDED:
            self.rested()
            return asyncio.sleep(0) if own else None
        if own:
            sent = asyncio.get_running_loop().create_future()
        self._start(_resumed(coro, waits_for), sent)
        return sent

    def _in_queue(self, message: Message) -> asyncio.Future[None]:
        if self._ended:
            raise ConnectionError
        sent = asyncio.get_running_loop().create_future()
        self.queue.append((message, None, sent))
        self._go_on()
        return sent

    def deliver(self, message: Message) -> asyncio.Future[None] | None:
        """Send *message* in its turn, without waiting; nothing happens if the connection has
        ended. With the policy ``"wait"``, and no room for it: a future that is done when there
        is; to cancel it takes the message back."""
        if self._ended:
            return None
        if self.turns:
            try:
                self._context.run(self.put, message, False)
            except Exception as error:
                self._failed(error)
            return None
        size = _size(message)
        if not self._outside and self._fits(size):
            self._append(message, size)
        elif self._policy == "wait":
            room = asyncio.get_running_loop().create_future()
            self._outside.append((message, size, room))
            return room
        elif self._policy == "drop_oldest":
            while not self._fits(size):
                self._drop_oldest()
            self._append(message, size)
        else:
            self._stalled("Too many messages wait for this client.")
        self._go_on()
        return None

    def hold(self) -> None:
        """`put_last` is to come: until then nothing is begun."""
        self._closing = True
        self.turns = 0

    async def put_last(self, message: Message) -> None:
        """`put`, and end after it: later messages are not sent."""
        if self._cancelled:
            raise ConnectionError
        self.end(keep=True)
        sent = asyncio.get_running_loop().create_future()
        self.queue.append((message, None, sent))
        self._go_on()
        await sent

    def end(self, *, keep: bool = False) -> None:
        """Take no more messages, and forget those that wait, unless *keep*."""
        self.hold()
        self._ended = True
        while self._outside:
            _set(self._outside.popleft()[2])
        while self.queue and not keep:
            _set(self._take()[1], ConnectionError())

    def cancel(self) -> None:
        """`end`, and give up what is being sent."""
        self.end()
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
            _set(self._sending, ConnectionError())

    # -- the queue

    def _fits(self, size: int) -> bool:
        return not self._messages or (
            self._messages < self._max_messages and self._size + size <= self._max_size
        )

    def _append(self, message: Message, size: int) -> None:
        self.queue.append((message, size, None))
        self._messages += 1
        self._size += size

    def _take(self) -> tuple[Message, Sent]:
        message, size, sent = self.queue.popleft()
        if size is not None:
            self._messages -= 1
            self._size -= size
            while self._outside and self._fits(self._outside[0][1]):
                waiting, size, room = self._outside.popleft()
                if not room.done():
                    self._append(waiting, size)
                    room.set_result(None)
        return message, sent

    def _drop_oldest(self) -> None:
        for index, (_, size, _) in enumerate(self.queue):
            if size is not None:
                del self.queue[index]
                self._messages -= 1
                self._size -= size
                return

    # -- sending

    def rested(self) -> None:
        """Nothing is being sent: there may be more, from now on."""
        self._busy = False
        if self._direct and not self._closing:
            self.turns = TURNS
        self._go_on()

    def _go_on(self) -> None:
        beginning = self._direct and not self._ended and not self.turns
        if self.queue and not self._busy and not beginning:
            self._start(None, None)

    def _start(self, rest: Awaitable[None] | None, sent: Sent) -> None:
        """Have a task send *rest*, which has begun, and what is in the queue."""
        self._busy = True
        self.turns = 0
        self._sending = sent
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(rest), context=self._context)

    async def _run(self, rest: Awaitable[None] | None) -> None:
        if rest is not None:
            await self._finish(rest)
        while self.queue:
            message, self._sending = self._take()
            if self._sending is None or not self._sending.done():
                await self._finish(self.send(message))
        self._task = None
        self.rested()

    async def _finish(self, rest: Awaitable[None]) -> None:
        sent = self._sending
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await rest
        except Exception as error:
            if limit.expired():
                self._stalled(f"This client has not read for {self._timeout:g} s.")
                _set(sent, ConnectionError())
            elif sent is not None:
                _set(sent, error)
            else:
                self._failed(error)
        else:
            _set(sent)


def _set(future: Sent, error: Exception | None = None) -> None:
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
def _resumed(coro: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, None]:
    """In a task: go on with *coro*, which has begun and waits for something."""
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
