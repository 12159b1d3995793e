"""Streamed responses and WebSockets, which last as long as their client. A `Conversation`
cancels its block when the client leaves or the server stops. `Conversations` are those of one
app; ordinary requests are not among them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Protocol

from .threads import ABANDON_SECONDS, abandon


class Unsent(Protocol):
    """A connection whose client may not have received its end yet."""

    @property
    def flushed(self) -> bool: ...

    def abort(self) -> None: ...


class Conversations:
    """An app's open conversations. Used on the loop's thread only."""

    def __init__(self) -> None:
        self.open: set[Conversation] = set()
        self.lingering: set[Unsent] = set()
        """Connections that were told to end, or have ended, but whose client may not know it
        yet."""
        self.starting = self.draining = False
        """`starting`: start-up is not complete. `draining`: the app was told to stop, but still
        serves as before."""
        self.threads = 0
        """How many WebSockets hold a thread while they last."""
        self.stopping = False
        self.over = False
        self.state: dict[str, object] | None = None
        """The lifespan state, between start-up and shutdown."""

    async def stop(self, timeout: float) -> None:
        """End all conversations: tell them, wait up to *timeout* seconds, cancel the rest. Half
        of the time is for clients to receive the end, half for cleaning up afterwards."""
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
    """An async context manager that cancels its block when the client leaves or the server
    stops.

    *gone*: a coroutine function that returns when the client has left. It runs as a task from
    the start, or after `watch` if not *watched*. *told*: called when the server begins to stop.
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
        """Why the block was cancelled, or `None`."""
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
        """Start watching for the client to leave."""
        if self._watch is None and self._gone is not None:
            self._watch = asyncio.ensure_future(self._watching(self._gone))

    def end(self, why: Literal["left", "shutdown"]) -> None:
        """Cancel the block, once."""
        if self.ended is None and self._task is not None:
            self.ended = why
            self._task.cancel()

    def abandon(self) -> None:
        """Cancel the block again, even if sync code blocks in it."""
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
        if self.conversations.over:  # not now: only an entered block can be cancelled
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
        self._gone = self._told = self._watch = None  # breaks reference cycles
        if self.ended is None:
            return False
        if self._abandoned:
            task.uncancel()
        # As in asyncio.timeout(): the cancellation is ours unless another one is pending.
        return task.uncancel() == 0 and exc_type is asyncio.CancelledError
