"""The loop for code that runs on none: the server's, or one in the background.

Not here: how code waits for what runs on it (`waiting.py`).
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import NoneType

from .native import Event, Lock, start_thread

_served: Callable[[], asyncio.AbstractEventLoop | None] = NoneType
_background: list[_Background] = []
_blocked: set[asyncio.AbstractEventLoop] = set()
"""Whose threads wait for a request that their coroutine function sent: see `off_loop`."""
_lock = Lock()

if sys.version_info >= (3, 12):
    task_on = asyncio.current_task
else:  # where that is not written in C, and takes longer than what it looks up
    task_on = vars(asyncio.tasks)["_current_tasks"].get
"""The task that a loop runs now."""


class _Background:
    """A loop in a background thread, which creates it: under gevent it belongs to its thread."""

    def __init__(self) -> None:
        self._ready = Event()
        self.running: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = start_thread(self._main, "asyncflask-loop")

    def _main(self) -> None:
        runner = asyncio.Runner()
        try:
            self.running = loop = runner.get_loop()
        except Exception as error:  # no more files can be opened, say
            self._error = error
            return
        finally:
            self._ready.set()
        with runner:
            loop.run_forever()

    def loop(self) -> asyncio.AbstractEventLoop:
        if self.running is None:
            self._ready.wait()
        if self.running is None:
            raise RuntimeError("The background event loop could not be started.") from self._error
        return self.running

    def end(self) -> None:
        with suppress(RuntimeError):  # it never began
            loop = self.loop()
            loop.call_soon_threadsafe(loop.stop)
        self._thread.join()


def note_loop() -> None:
    """Note the running loop as the one that serves requests, unless one is noted that runs."""
    loop = _served()
    if (
        loop is not (running := _get_running_loop())
        and running is not None
        and (loop is None or not loop.is_running())
    ):
        remember(running)


def remember(loop: asyncio.AbstractEventLoop) -> None:
    """Note the loop that serves requests, for threads that users start."""
    global _served
    if any(loop is background.running for background in _background):
        return
    if _served() is not loop:
        _served = weakref.ref(loop)


_ends: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, float] = weakref.WeakKeyDictionary()


def will_end(loop: asyncio.AbstractEventLoop, at: float) -> None:
    """The process was told to stop: from *at* on, by the clock of *loop*, tasks that its server
    cancels wait no longer for sync code."""
    _ends[loop] = at


def end_of(loop: asyncio.AbstractEventLoop) -> float | None:
    """When that is; `None` while nothing stops."""
    return _ends.get(loop)


def loop_for_outsiders() -> asyncio.AbstractEventLoop:
    loop = _served()
    if loop is not None and loop.is_running() and loop not in _blocked:
        return loop
    return background_loop()


def background_loop() -> asyncio.AbstractEventLoop:
    """A loop in a background thread, for WSGI and for sync code without a server: always the
    same, unless that one is blocked, or is running in this thread. Created on first use, ended by
    `shutdown` or with the process. Raises `NoThread`."""
    here = _get_running_loop()
    with _lock:
        for background in _background:
            running = background.running
            if running not in _blocked and (here is None or running is not here):
                break
        else:
            background = _Background()
            _background.append(background)
    try:
        return background.loop()
    except RuntimeError:
        with _lock, suppress(ValueError):
            _background.remove(background)
        raise


@contextmanager
def off_loop() -> Iterator[None]:
    """Have this thread count as one without a loop, if it has one: for sync code that a
    coroutine function of the user's called, and that blocks the loop until it has its answer.
    Nothing may wait for that loop meanwhile."""
    loop = _get_running_loop()
    if loop is None:
        yield
        return
    _blocked.add(loop)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        _blocked.discard(loop)


def end_background_loops() -> None:
    with _lock:
        ending = _background.copy()
        _background.clear()
    for background in ending:
        background.end()


def forget() -> None:
    """After a fork the threads exist in the parent only."""
    global _lock
    _lock = Lock()
    _background.clear()
    _blocked.clear()
