"""What lasts as long as its client: streamed responses and WebSockets.

A `Conversation` cancels the block it surrounds when the client leaves or the server stops;
`Conversations` are those of one app. Requests that end by themselves are not among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Protocol

from .threads import ABANDON_SECONDS, abandon


class Unsent(Protocol):
    """A connection whose end the client may not have taken in yet."""

    @property
    def flushed(self) -> bool: ...

    def abort(self) -> None: ...


class Conversations:
    """All that is going on; used on the loop's thread only."""

    def __init__(self) -> None:
        self.open: set[Conversation] = set()
        self.lingering: set[Unsent] = set()
        """Those that were told to end, or have ended, and whose client may not know it yet."""
        self.starting = self.draining = False
        """Whether the app is not there yet; and whether it has been told to stop, and still serves
        as if it had not."""
        self.threads = 0
        """How many WebSockets hold a thread for as long as they last."""
        self.stopping = False
        self.over = False
        self.state: dict[str, object] | None = None
        """What the app's lifespan gave, from its start to its stop."""

    async def stop(self, timeout: float) -> None:
        """Tell all of them, wait *timeout* seconds, cancel those that are left. A client that
        does not take in the end gets half of the time; the rest is for cleaning up after it."""
        self.stopping = True
        for conversation in list(self.open):
            conversation.tell()
        await self._ended(timeout / 2)
        for connection in list(self.lingering):
            connection.abort()
        await self._ended(timeout / 2)
        self.over = True
        for conversation in list(self.open):
            conversation.end("shutdown")
        await self._ended(ABANDON_SECONDS)
        for conversation in list(self.open):
            conversation.abandon()

    async def _ended(self, timeout: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        while self._going_on() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    def _going_on(self) -> bool:
        return bool(self.open) or not all(connection.flushed for connection in self.lingering)


class Conversation:
    """`async with`: runs the block until it ends, its client leaves or the server stops.

    *gone*: a coroutine function that returns when the client has left; it runs as a task of its
    own, from the beginning or, if not *watched*, once `watch` is called. *told*: called when the
    server begins to stop.
    """

    def __init__(
        self,
        conversations: Conversations,
        gone: Callable[[], Awaitable[None]],
        told: Callable[[], object] | None = None,
        *,
        watched: bool = True,
    ) -> None:
        self.ended: Literal["left", "shutdown"] | None = None
        """Why the block was cancelled; `None` if it was not."""
        self.conversations = conversations
        self._gone: Callable[[], Awaitable[None]] | None = gone
        self._told = told
        self._watched = watched
        self._abandoned = False
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None

    def tell(self) -> None:
        if self._told is not None:
            self._told()

    def watch(self) -> None:
        """Have the client watched, from now on."""
        if self._watch is None and self._gone is not None:
            self._watch = asyncio.ensure_future(self._watching(self._gone))

    def end(self, why: Literal["left", "shutdown"]) -> None:
        """Cancel the block, once."""
        if self.ended is None and self._task is not None:
            self.ended = why
            self._task.cancel()

    def abandon(self) -> None:
        """Cancel the block once more, though sync code blocks in it."""
        if self._task is not None:
            self._abandoned = True
            abandon(self._task)

    async def _watching(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self.end("left")

    async def __aenter__(self) -> Conversation:
        self._task = asyncio.current_task()
        if self._watched:
            self.watch()
        self.conversations.open.add(self)
        if self.conversations.stopping:
            self.tell()
        if self.conversations.over:  # soon: the block has to be entered to be cancelled
            asyncio.get_running_loop().call_soon(self.end, "shutdown")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        self.conversations.open.discard(self)
        assert self._task is not None
        if self._watch is not None:
            self._watch.cancel()
        task, self._task = self._task, None
        self._gone = self._told = self._watch = None  # which refer to who has this
        if self.ended is None:
            return False
        if self._abandoned:
            task.uncancel()
        # As asyncio.timeout() does: the cancellation is ours unless there is another one.
        return task.uncancel() == 0 and exc_type is asyncio.CancelledError
