"""The worker threads of a process: their jobs, and the limits on how many exist and how many
run. `threads.py` assigns them to requests."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any, Final, Generic, TypeVar

from .native import NoThread, Queue, SimpleQueue, Thread, start_thread

T = TypeVar("T")

IDLE_SECONDS: Final = 10.0
"""Seconds that an idle worker thread is kept."""

DEFAULT_WORKER_THREADS: Final = 64
"""How many sync functions run at once on one loop, unless the app sets it."""

DEFAULT_MAX_THREADS: Final = 512
"""The maximum number of worker threads in a process, waiting ones included, unless the app sets
it. Eight times as many as may run, since threads also wait for slow clients. A limit, since a
misbehaving client could otherwise hold any number. Eight processes stay within what systemd
allows a service (4,915 tasks)."""


class Worker:
    """A thread's job queue. A pool thread works on its queue until it ends; a thread from
    outside (a WSGI server's, a test's) does so while it waits for an `Outcome`."""

    __slots__ = ("jobs", "thread")

    def __init__(self, jobs: Queue[Callable[[], None]] | None = None) -> None:
        self.jobs: Queue[Callable[[], None]] = SimpleQueue() if jobs is None else jobs
        self.thread: Thread | None = None

    def post(self, job: Callable[[], None]) -> None:
        """Run *job*, which must not raise, on the thread, after those before it."""
        self.jobs.put(job)

    def work_until(self, outcome: Outcome[Any]) -> None:
        """On the thread itself: run jobs until *outcome* is set."""
        while not outcome.done:
            self.jobs.get()()


class Outcome(Generic[T]):
    """A result that a thread waits for. Any other thread may set it."""

    __slots__ = ("done", "error", "value", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def set(self, value: T | None = None, error: BaseException | None = None) -> None:
        self.value, self.error, self.done = value, error, True
        self.worker.post(wake)

    def result(self) -> T:
        """Block until it is set. Return the value or raise the error."""
        self.worker.work_until(self)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # avoids a cycle: the traceback refers to this frame
        return self.value  # type: ignore[return-value]


def wake() -> None:
    """A job that only wakes the thread."""


def stop() -> None:
    """The job that ends a pool thread."""


_pool: set[Worker] = set()  # all worker threads
_idle: list[Worker] = []  # a stack: the thread used last has the warmest caches
_max_threads: int | None = None
_local = threading.local()


def limit_threads(number: int) -> None:
    """Limit this process to *number* worker threads. Only the first call counts."""
    global _max_threads
    if _max_threads is None:
        _max_threads = number


def here() -> Any:
    """Return this thread's local storage; this greenlet's, once gevent has patched."""
    global _local
    if type(_local) is not threading.local:  # gevent has patched since
        _local = threading.local()
    return _local


def _worker_main(worker: Worker) -> None:
    job: Callable[[], None] = wake
    while job is not stop:
        try:
            job = worker.jobs.get(True, IDLE_SECONDS)
        except Empty:
            # Not in the stack any more: a request took this worker just now.
            with suppress(ValueError):
                _idle.remove(worker)
                break
            job = wake
        job()
    _pool.discard(worker)


def give_back(worker: Worker) -> None:
    """Return a pool thread that has no work."""
    _idle.append(worker)


def take_worker() -> Worker:
    """Return a pool thread. Raises `NoThread`."""
    try:
        return _idle.pop()
    except IndexError:
        pass
    limit = DEFAULT_MAX_THREADS if _max_threads is None else _max_threads
    if len(_pool) >= limit:
        raise NoThread(
            f"All {limit} threads of this process are in use (MAX_THREADS). Clients that send"
            " or read slowly may hold many of them."
        )
    worker = Worker()
    _pool.add(worker)
    try:
        worker.thread = start_thread(partial(_worker_main, worker), "asyncflask-worker")
    except NoThread:
        _pool.discard(worker)
        raise
    return worker


class Slots:
    """Limits how many sync functions run at once on one loop. A thread that waits for the loop
    (for a slow body, a coroutine) does not count, so waiting can neither starve nor deadlock
    others. Used on the loop's thread only; first come, first served.

    What waits for a slot is a function that must not raise. It returns `True` if it uses the
    slot.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[Callable[[], bool]] = deque()

    def acquire(self, go: Callable[[], bool]) -> None:
        """Call *go* when there is a slot, or at once if there is one now."""
        if not self.free:
            self.waiting.append(go)
            return
        self.free -= 1
        if not go():
            self.release()

    def release(self) -> None:
        while self.waiting:
            if self.waiting.popleft()():
                return
        self.free += 1


_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Slots] = weakref.WeakKeyDictionary()


def slots_of(loop: asyncio.AbstractEventLoop, limit: int = DEFAULT_WORKER_THREADS) -> Slots:
    """Return the slots of *loop*. Only the first caller's *limit* counts."""
    slots = _slots.get(loop)
    if slots is None:
        slots = _slots[loop] = Slots(limit)
    return slots


def end_idle() -> None:
    """End all idle threads, and wait for that."""
    while _idle:
        worker = _idle.pop()
        worker.post(stop)
        if worker.thread is not None:
            worker.thread.join()


def forget() -> None:
    """Forget all threads after a fork: they exist only in the parent."""
    global _local
    _local = threading.local()
    _idle.clear()
    _pool.clear()
