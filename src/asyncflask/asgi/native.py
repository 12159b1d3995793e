"""Operating-system threads, locks and queues, even where gevent has patched `threading`.

gevent replaces threads by greenlets: many in one thread, one of which runs until it waits. An
event loop needs a real thread, and a lock and queue that work between threads. A greenlet that
waits for another thread must let its hub run other greenlets.

gevent may patch after this module is imported, so each function checks again. This module never
imports gevent before the app or its server does.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")


class NoThread(RuntimeError):
    """No thread is available: the system refused to start one, or `MAX_THREADS` is reached."""


class Queue(Protocol[T]):
    def put(self, item: T, /) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None, /) -> T: ...


class Thread(Protocol):
    def join(self) -> None: ...
    def is_alive(self) -> bool: ...


def gevent_patched() -> bool:
    """Return `True` if gevent replaced threads by greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _original(module: str, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


Lock: Final[Callable[[], AbstractContextManager[object]]] = _original("_thread", "allocate_lock")
"""Do not hold it while greenlets may switch."""

SimpleQueue: Final[Callable[[], Queue[Any]]] = _original("queue", "SimpleQueue")


def queue_here() -> Queue[Any]:
    """Return a queue that any thread can put to, and the calling thread or greenlet reads."""
    return _HubQueue() if gevent_patched() else SimpleQueue()


class _HubQueue:
    """A queue for a greenlet. While it waits, its hub runs the others."""

    def __init__(self) -> None:
        self._hub = import_module("gevent").get_hub()
        self._items: deque[Any] = deque()
        self._lock = Lock()
        self._watcher: Any = None

    def put(self, item: object, /) -> None:
        self._items.append(item)
        with self._lock:
            if self._watcher is not None:
                self._watcher.send()

    def get(self, block: bool = True, timeout: float | None = None, /) -> Any:
        while not self._items:
            self._wait()
        return self._items.popleft()

    def _wait(self) -> None:
        waiter = import_module("gevent.hub").Waiter(self._hub)
        watcher = self._hub.loop.async_()
        watcher.start(waiter.switch, None)
        self._watcher = watcher  # from here on, `put` wakes this greenlet
        try:
            if not self._items:
                waiter.get()
        finally:
            with self._lock:  # `put` must not signal a closed watcher
                self._watcher = None
            watcher.stop()
            watcher.close()


class Event:
    """Set once, by any thread. Threads and greenlets can wait for it."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Queue[None]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for queue in self._waiting:
            queue.put(None)

    def wait(self) -> None:
        queue = queue_here()
        self._waiting.append(queue)
        if not self._set:
            queue.get()


def start_thread(target: Callable[[], object], name: str) -> Thread:
    """Start an operating-system thread that calls *target*. It does not keep the process alive.
    Raises `NoThread`."""
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise RuntimeError(
            "asyncflask needs an event loop in a thread of its own, but"
            " eventlet.monkey_patch() has replaced threads. Remove that call, and run the app"
            " with an ASGI server, gunicorn's threads or gevent."
        )
    try:
        if gevent_patched():
            return _BesideGevent(target, name)
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise NoThread(f"The operating system refused to start another thread: {error}") from error
    return thread


class _BesideGevent:
    """A thread for patched processes, where `threading.Thread` would start a greenlet."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self._ended = Event()
        _original("_thread", "start_new_thread")(self._run, (target, name))

    def _run(self, target: Callable[[], object], name: str) -> None:
        threading.current_thread().name = name
        try:
            target()
        finally:
            # The hub was created if something patched waited on this thread.
            import_module("gevent").get_hub().destroy(destroy_loop=True)
            self._ended.set()

    def join(self) -> None:
        self._ended.wait()

    def is_alive(self) -> bool:
        return not self._ended.is_set()
