"""The loop for code that runs on none: the server's, or one in the background.

Not here: how code waits for what runs on it (`threads.py`).
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import _get_running_loop
from contextlib import suppress

from .native import Event, Lock, start_thread

_served: weakref.ref[asyncio.AbstractEventLoop] | None = None
_background: _Background | None = None
_lock = Lock()


class _Background:
    """A loop in a thread of its own. It is made there: under gevent it belongs to its thread."""

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
            raise RuntimeError("No event loop can be started in the background.") from self._error
        return self.running

    def end(self) -> None:
        with suppress(RuntimeError):  # it never began
            loop = self.loop()
            loop.call_soon_threadsafe(loop.stop)
        self._thread.join()


def note_loop() -> None:
    """Note the running loop as the one that serves requests, unless one is noted that runs."""
    loop = _served() if _served is not None else None
    if loop is None or not loop.is_running():
        running = _get_running_loop()
        if running is not None:
            remember(running)


def remember(loop: asyncio.AbstractEventLoop) -> None:
    """Note the loop that serves requests, for threads that users start on their own."""
    global _served
    if _background is not None and loop is _background.running:
        return
    if _served is None or _served() is not loop:
        _served = weakref.ref(loop)


def loop_for_outsiders() -> asyncio.AbstractEventLoop:
    loop = _served() if _served is not None else None
    return loop if loop is not None and loop.is_running() else background_loop()


def background_loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, for WSGI and for sync code without a server. Made on first
    use, ended by `shutdown` or with the process."""
    global _background
    with _lock:
        if _background is None:
            _background = _Background()
        background = _background
    try:
        return background.loop()
    except RuntimeError:
        with _lock:
            if _background is background:
                _background = None
        raise


def end_background_loop() -> None:
    global _background
    with _lock:
        background, _background = _background, None
    if background is not None:
        background.end()


def forget() -> None:
    """After a fork the thread exists in the parent only."""
    global _background, _lock
    _background = None
    _lock = Lock()
