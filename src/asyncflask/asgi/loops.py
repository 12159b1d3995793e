"""The event loop for code that runs outside of one: the server's loop, or one in a background
thread. `waiting.py` waits for what runs on it."""

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
"""Loops blocked by a coroutine function that waits for its own request, see `off_loop`."""
_lock = Lock()

if sys.version_info >= (3, 12):
    task_on = asyncio.current_task
else:  # not in C there, and slower than what it looks up
    task_on = vars(asyncio.tasks)["_current_tasks"].get
"""Return the task that a loop is running."""


class _Background:
    """A loop in a background thread. The thread creates it, since under gevent a loop belongs
    to its thread."""

    def __init__(self) -> None:
        self._ready = Event()
        self.running: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = start_thread(self._main, "asyncflask-loop")

    def _main(self) -> None:
        runner = asyncio.Runner()
        try:
            self.running = loop = runner.get_loop()
        except Exception as error:  # for example, too many open files
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
        with suppress(RuntimeError):  # it never started
            loop = self.loop()
            loop.call_soon_threadsafe(loop.stop)
        self._thread.join()


def note_loop() -> None:
    """Remember the running loop as the one that serves requests, unless one already runs."""
    loop = _served()
    if (
        loop is not (running := _get_running_loop())
        and running is not None
        and (loop is None or not loop.is_running())
    ):
        remember(running)


def remember(loop: asyncio.AbstractEventLoop) -> None:
    """Remember *loop* as the one that serves requests, for threads that users start."""
    global _served
    if _served() is loop or any(loop is background.running for background in _background):
        return
    _served = weakref.ref(loop)


_ends: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, float] = weakref.WeakKeyDictionary()


def will_end(loop: asyncio.AbstractEventLoop, at: float) -> None:
    """Note that the process was told to stop: from the time *at* on, on the clock of *loop*,
    tasks that the server cancels no longer wait for sync code."""
    _ends[loop] = at


def end_of(loop: asyncio.AbstractEventLoop) -> float | None:
    """Return the time noted by `will_end`, or `None`."""
    return _ends.get(loop)


def loop_for_outsiders() -> asyncio.AbstractEventLoop:
    loop = _served()
    if loop is not None and loop.is_running() and loop not in _blocked:
        return loop
    return background_loop()


def background_loop() -> asyncio.AbstractEventLoop:
    """Return a loop in a background thread, for WSGI and for sync code without a server. It is
    always the same one, unless that is blocked or running in this thread. Created on first use;
    ends with `shutdown` or the process. Raises `NoThread`."""
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
    """Treat this thread as one without a loop: for sync code, called by a user's coroutine
    function, that blocks the loop until it gets its response. Nothing else may wait for that
    loop meanwhile."""
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
    """Forget all loops after a fork: their threads exist only in the parent."""
    global _lock
    _lock = Lock()
    _background.clear()
    _blocked.clear()
