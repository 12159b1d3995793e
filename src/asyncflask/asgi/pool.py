"""The worker threads of a process: what they are given, how many there are, how many run.

Not here: whose they are, and how a request comes to be on one (`threads.py`).
"""

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
"""How long a worker thread without work is kept for the next request."""

DEFAULT_WORKER_THREADS: Final = 64
"""How many sync functions run at once on one loop, unless the app says otherwise."""

DEFAULT_MAX_THREADS: Final = 512
"""How many worker threads a process has at most, those that wait included, unless the app says
otherwise. Eight times as many as run: threads wait for slow clients, and a client without manners
could hold any number. Eight processes stay below what systemd gives a service (4,915 tasks)."""


class Worker:
    """A thread's queue of jobs. A pool thread works on its queue for ever; a thread that came
    from outside (a WSGI server's, a test's) does so while it waits for an `Outcome`."""

    __slots__ = ("jobs", "thread")

    def __init__(self, jobs: Queue[Callable[[], None]] | None = None) -> None:
        self.jobs: Queue[Callable[[], None]] = SimpleQueue() if jobs is None else jobs
        self.thread: Thread | None = None

    def post(self, job: Callable[[], None]) -> None:
        """Have *job*, which must not raise, run on the thread, after those before it."""
        self.jobs.put(job)

    def work_until(self, outcome: Outcome[Any]) -> None:
        """On the thread itself: run jobs until *outcome* is there."""
        while not outcome.done:
            self.jobs.get()()


class Outcome(Generic[T]):
    """What a thread waits for; set from any other thread."""

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
        """Block until it is set; then give the value or raise the error."""
        self.worker.work_until(self)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # the traceback holds this frame: no cycle
        return self.value  # type: ignore[return-value]


def wake() -> None:
    """A job that only ends the wait for the next one."""


def stop() -> None:
    """The job that ends a pool thread."""


_pool: set[Worker] = set()  # the worker threads there are
_idle: list[Worker] = []  # a stack: the thread used last has the warmest caches
_max_threads: int | None = None
_local = threading.local()


def limit_threads(number: int) -> None:
    """Have this process start no more than *number* worker threads; the first call counts."""
    global _max_threads
    if _max_threads is None:
        _max_threads = number


def here() -> Any:
    """What belongs to this thread; to this greenlet, once gevent has patched."""
    global _local
    if type(_local) is not threading.local:  # it has since
        _local = threading.local()
    return _local


def _worker_main(worker: Worker) -> None:
    job: Callable[[], None] = wake
    while job is not stop:
        try:
            job = worker.jobs.get(True, IDLE_SECONDS)
        except Empty:
            # Not in the stack any more: a request took this worker at this very moment.
            with suppress(ValueError):
                _idle.remove(worker)
                break
            job = wake
        job()
    _pool.discard(worker)


def give_back(worker: Worker) -> None:
    """A thread of the pool has no work for now."""
    _idle.append(worker)


def take_worker() -> Worker:
    """A thread of the pool. Raises `NoThread`."""
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
    """How many sync functions run at once on one loop. A thread that waits for the loop (a slow
    body, a coroutine) counts as not running, so waiting can neither starve nor deadlock others.
    Used on the loop's thread only; whoever waits longest is next.

    What waits for a slot is a function that must not raise; it gives whether it uses the slot.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[Callable[[], bool]] = deque()

    def acquire(self, go: Callable[[], bool]) -> None:
        """Call *go* as soon as there is a slot, at once if there is one now."""
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
    """The slots of *loop*; *limit* counts for whoever asks first."""
    slots = _slots.get(loop)
    if slots is None:
        slots = _slots[loop] = Slots(limit)
    return slots


def end_idle() -> None:
    """End all threads that have no work, and see them end."""
    while _idle:
        worker = _idle.pop()
        worker.post(stop)
        if worker.thread is not None:
            worker.thread.join()


def forget() -> None:
    """After a fork the threads exist in the parent only."""
    global _local
    _local = threading.local()
    _idle.clear()
    _pool.clear()
