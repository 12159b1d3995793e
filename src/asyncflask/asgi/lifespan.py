"""Start-up and shutdown: the lifespan protocol from both ends, and signals that stop the
server.

`serve_lifespan` answers a server, for an app that starts and stops with a context manager.
`lifespan` drives the protocol against an app (a mounted one, or one under test); `started` does
so in sync code. `on_stop_signal` reports that the server was asked to stop, which ASGI reports
only after the last connection has ended.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .loops import off_loop
from .waiting import wait


class LifespanFailed(RuntimeError):
    """An app reported that its start-up or shutdown failed."""


async def serve_lifespan(
    serving: AbstractAsyncContextManager[dict[str, Any]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Enter *serving* when the server starts and leave it when the server stops. The value it
    yields is the lifespan state (ASGI specification, Lifespan Protocol). Its exceptions are
    reported to the server in a message, and raised."""
    stage = "startup"
    await receive()
    try:
        async with serving as state:
            if state and "state" not in scope:
                raise RuntimeError("This server does not pass lifespan state to requests.")
            scope.get("state", {}).update(state)
            await send({"type": "lifespan.startup.complete"})
            stage = "shutdown"
            await receive()
    except BaseException:
        await send({"type": f"lifespan.{stage}.failed", "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Start *app*, run the block, stop *app*. Yields the app's lifespan state. An app that does
    not support the lifespan protocol is left alone (ASGI specification, Lifespan Protocol).

    :raises LifespanFailed: if start-up or shutdown fails, with the app's message.
    """
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message | None] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope: Scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": state,
    }

    async def run() -> None:
        try:
            await app(scope, to_app.get, from_app.put)
        finally:
            await from_app.put(None)

    task = asyncio.create_task(run())
    try:
        await to_app.put({"type": "lifespan.startup"})
        started = await from_app.get()
        if started is not None and started["type"] == "lifespan.startup.failed":
            await asyncio.wait([task])
            raise LifespanFailed(started.get("message", "")) from _error(task)
        yield state
        if started is not None:
            await to_app.put({"type": "lifespan.shutdown"})
            stopped = await from_app.get()
            if stopped is not None and stopped["type"] == "lifespan.shutdown.failed":
                await asyncio.wait([task])
                raise LifespanFailed(stopped.get("message", "")) from _error(task)
            if stopped is not None:
                await task
    finally:
        if not task.done():
            task.cancel()
        await asyncio.wait([task])
        _error(task)


@contextmanager
def started(app: ASGIApp) -> Iterator[dict[str, Any]]:
    """Run `lifespan` in sync code, on the loop for sync code's coroutines. In an async test,
    that is a loop other than the test's, as for everything that blocks the test's loop."""
    with off_loop():
        running = lifespan(app)
        state = wait(running.__aenter__())
    try:
        yield state
    finally:
        with off_loop():
            wait(running.__aexit__(None, None, None))


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() or not task.done() else task.exception()


class Listener(NamedTuple):
    """The functions to call on *loop* when the server is to stop. If *seconds* is not 0, the
    server first serves as before for that long, and *drain* is called at the beginning of that
    time."""

    loop: asyncio.AbstractEventLoop
    tell: Callable[[], object]
    seconds: float
    drain: Callable[[], object]


@contextmanager
def on_stop_signal(
    tell: Callable[[], object], seconds: float = 0.0, drain: Callable[[], object] = bool
) -> Iterator[bool]:
    """Call *tell* on the running loop when the process receives a signal that stops its server,
    in addition to the server's own handling. Does nothing outside the main thread or if the
    server sets no signal handlers. Yields `True` if *tell* will be called.

    With *seconds*, the first SIGTERM calls *drain* at once and reaches the server and *tell*
    that much later. Another signal in the meantime reaches them at once.
    """
    listener = Listener(asyncio.get_running_loop(), tell, seconds, drain)
    handlers: dict[signal.Signals, _StopHandler] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            current: Any = signal.getsignal(number)
            if not isinstance(current, _StopHandler):
                if not callable(current) or current is signal.default_int_handler:
                    continue
                current = _StopHandler(current)
                signal.signal(number, current)
            current.listeners.append(listener)
            handlers[number] = current
    try:
        yield bool(handlers)
    finally:
        for number, handler in handlers.items():
            handler.listeners.remove(listener)
            before = handler.before
            if not handler.listeners and signal.getsignal(number) is handler:
                signal.signal(number, before)


class _StopHandler:
    """A signal handler that wraps the handler *before*. All apps that run at the same time
    share it: they stop in any order, and a handler below another one could not be removed."""

    def __init__(self, before: Callable[[int, FrameType | None], object]) -> None:
        self.before = before
        self.listeners: list[Listener] = []
        self._draining = self._stopped = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        draining = [listener for listener in self.listeners if listener.seconds]
        if not draining or self._draining or number != signal.SIGTERM:
            self._stop(number, frame)
            return
        self._draining = True
        for listener in draining:
            listener.loop.call_soon_threadsafe(listener.drain)
        loop, seconds = draining[0].loop, max(listener.seconds for listener in draining)
        loop.call_soon_threadsafe(loop.call_later, seconds, self._stop_unless_stopped, number)

    def _stop_unless_stopped(self, number: int) -> None:
        if not self._stopped:
            self._stop(number, None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        for listener in list(self.listeners):
            listener.loop.call_soon_threadsafe(listener.tell)
        self.before(number, frame)
