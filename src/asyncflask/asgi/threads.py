"""The event loop and each request's worker thread.

This file alone decides which of the two runs what. A request is one coroutine. It awaits
`Driver.to_thread` or `Driver.to_loop` to move to the other, where its `Driver` resumes it. So
consecutive sync functions cost one hop, however many they are; async functions cost none; and
all sync functions of a request share a thread.

Threads are the operating system's (`native.py`). For a thread from outside, such as a WSGI
server's, it is what that server treats as one: under gevent, a greenlet.

`stepping.py` resumes coroutines in a context, `waiting.py` lets sync code wait for async code,
`pool.py` has the threads and their limits. Nothing here knows about HTTP, WebSockets or Flask.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import weakref
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType, FunctionType
from typing import Any, Final, ParamSpec, TypeVar

from . import loops, pool
from .loops import end_background_loops, end_of, loop_for_outsiders, remember
from .native import NoThread, queue_here
from .nonblocking import Nonblocking
from .pool import (
    DEFAULT_WORKER_THREADS,
    Slots,
    Worker,
    end_idle,
    give_back,
    here,
    slots_of,
    stop,
    take_worker,
)
from .stepping import (
    NOT_STARTED,
    TO_LOOP,
    TO_THREAD,
    Coro,
    InContext,
    Segment,
    adopt,
    ask,
    stepped,
)

P = ParamSpec("P")
T = TypeVar("T")
Call = Callable[..., Awaitable[Any]]

_COROUTINE: Final = inspect.CO_COROUTINE

ABANDON_SECONDS: Final = 1.0
"""Seconds that cancelled code has to end at shutdown before blocking sync code is abandoned."""


def is_async(func: Callable[..., object]) -> bool:
    """Return `True` if calling *func* returns a coroutine: `async def`, also behind `partial`,
    as a bound method, or as an object's `__call__`."""
    if type(func) is FunctionType:  # the usual case; `inspect` takes ten times as long
        if func.__code__.co_flags & _COROUTINE:
            return True
        if not func.__dict__:  # not marked as one either
            return False
    while isinstance(func, partial):
        func = func.func
    if inspect.iscoroutinefunction(func):
        return True
    if inspect.isroutine(func) or inspect.isclass(func):
        return False
    return inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004


def on_loop() -> bool:
    """Return `True` if an event loop is running in this thread."""
    return asyncio._get_running_loop() is not None


def this_driver() -> Driver | None:
    """Return the driver on whose thread this code runs, or `None`."""
    driver: Driver | None = getattr(here(), "driver", None)
    return driver


def this_worker() -> Worker:
    """Return the calling thread's queue, created on first use for a thread from outside."""
    local = here()
    driver: Driver | None = getattr(local, "driver", None)
    if driver is not None and driver.worker is not None:
        return driver.worker
    worker: Worker | None = getattr(local, "worker", None)
    if worker is None:
        worker = local.worker = Worker(queue_here())
    return worker


# -- the pipeline's way between loop and thread ------------------------------------------------


class _Job:
    """A call on the request's thread, for which one task waits. It is in one of these states:

    ========= ===================== =============== =========================================
    state     thread                task            what comes next
    ========= ===================== =============== =========================================
    waiting   none: no slot is free waits           `Driver._start`: started or refused
    started   makes the call        waits           done; or abandoned, by `abandon` alone
    done      free again            woken at once   `take` gives value or error
    refused   none can be had       woken soon      `NoThread`; in a teardown called on the loop
    abandoned goes on, or blocks    cancelled soon  nothing more of the request is run
    ========= ===================== =============== =========================================

    A thread cannot be interrupted: a cancelled task waits until it is done, and is cancelled then
    (`Task.cancel` remembers it when its future refuses). Only when the process ends, sync code
    that goes on for `ABANDON_SECONDS` is abandoned: servers wait for the tasks that they cancel.

    To `asyncio.Task` this is a future (`asyncio.isfuture`), but one that wakes its task in the
    very step of the loop that learns of the thread's end, not in the next one.
    """

    __slots__ = (
        "_args",
        "_asyncio_future_blocking",
        "_context",
        "_driver",
        "_error",
        "_func",
        "_task_context",
        "_value",
        "_wakeup",
        "abandoned",
        "refused",
    )

    def __init__(
        self, driver: Driver, context: Context, func: Callable[..., object], *args: object
    ) -> None:
        self._asyncio_future_blocking = False
        self._driver = driver
        self._context = context
        self._func = func
        self._args = args
        self._value: Any = None
        self._error: BaseException | None = None
        self._wakeup: Callable[[_Job], object] | None = None
        self.abandoned = False
        self.refused = False

    def __call__(self, land: bool = True) -> None:
        """On the thread: make the call, and notify the loop."""
        local, driver = here(), self._driver
        before, local.driver = getattr(local, "driver", None), driver
        if carries := self._context is driver.context:  # the request's coroutine
            driver.in_thread = True
        try:
            self._value = self._context.run(self._func, *self._args)
        except BaseException as error:
            self._error = error
        if carries:
            driver.in_thread = False
        local.driver = before
        if land:
            try:
                driver.loop.call_soon_threadsafe(self._land)
            except RuntimeError:  # the loop was closed, so nobody is waiting
                self.take()

    def _land(self) -> None:
        # After the request has continued, and perhaps ended: the next one may take its thread.
        slots = self._driver.slots
        try:
            self._wake()
        finally:
            if slots is not None:
                slots.release()

    def refuse(self, error: NoThread) -> None:
        self._error, self.refused = error, True
        self._driver.loop.call_soon(self._wake)

    def take(self) -> tuple[Any, BaseException | None]:
        """Return the value or error, and drop it: a traceback would make a cycle."""
        outcome = self._value, self._error
        self._value = self._error = None
        return outcome

    # The interface of a future, for `asyncio.Task`.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._driver.loop

    def add_done_callback(
        self, wakeup: Callable[[_Job], object], *, context: Context | None = None
    ) -> None:
        self._wakeup = wakeup
        self._task_context = context or copy_context()

    def _wake(self) -> None:
        # The task began to wait in the loop iteration that started the thread.
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            self._task_context.run(wakeup, self)

    def cancel(self, msg: object = None) -> bool:
        if not getattr(here(), "abandoning", False):
            _abandon_later(self._driver.loop)
            return False
        self.abandoned = True
        slots, self._driver.slots = self._driver.slots, None
        if slots is not None and not self.waits_in(slots):
            slots.release()  # blocking code no longer counts
        worker, self._driver.worker = self._driver.worker, None
        if worker is not None and not self._driver._lent:
            worker.post(stop)  # in case it ever gets there
        self._driver.loop.call_soon(self._wake)
        return True

    def waits_in(self, slots: Slots | None) -> bool:
        """Return `True` if it waits for a slot and has not started."""
        return slots is not None and any(
            isinstance(go, partial) and self in go.args for go in slots.waiting
        )

    def result(self) -> None:
        """Called by the woken task."""
        if self.abandoned:
            raise asyncio.CancelledError

    def __await__(self) -> Generator[object, None, None]:
        self._asyncio_future_blocking = True
        yield self

    __iter__ = __await__


class Abandoned(asyncio.CancelledError):
    """The request's coroutine was abandoned in its thread."""


def abandon(task: asyncio.Task[object]) -> None:
    """Cancel *task* even if it waits for a thread, which is left to the blocking sync code.
    Nothing more of that thread's request runs. For the end of the process."""
    local = here()
    local.abandoning = True
    try:
        task.cancel()
    finally:
        local.abandoning = False


def abandon_blocked(*, only_cancelled: bool) -> None:
    """`abandon` this loop's tasks that wait for a thread; with *only_cancelled*, only those
    that were cancelled but could not end. Those waiting for a slot come first: they must not
    start now."""
    waiting: list[asyncio.Task[Any]] = []
    started: list[asyncio.Task[Any]] = []
    for task in asyncio.all_tasks():
        job = getattr(task, "_fut_waiter", None)
        if isinstance(job, _Job) and (task.cancelling() or not only_cancelled):
            (waiting if job.waits_in(job._driver.slots) else started).append(task)
    for task in waiting + started:
        abandon(task)


_abandoning: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.TimerHandle]
_abandoning = weakref.WeakKeyDictionary()


def _abandon_later(loop: asyncio.AbstractEventLoop) -> None:
    """Called when a task is cancelled that waits for a thread. If the process is ending, the
    canceller may wait for the task, so abandon the thread soon, but after `Conversations.stop`
    did so for its own."""
    end = end_of(loop)
    if end is None or (loop in _abandoning and _abandoning[loop].when() > loop.time()):
        return
    when = max(end, loop.time()) + 2 * ABANDON_SECONDS
    _abandoning[loop] = loop.call_at(when, partial(abandon_blocked, only_cancelled=True))


class Driver:
    """Runs one request: its coroutine, on loop and thread, in one `contextvars.Context`.

    *loop*: default: the running one, looked up when needed, since that takes a system call
    (`getpid`) before Python 3.12. *worker*: the thread to use, for a request that arrived on
    one (WSGI); otherwise one is taken from the pool when needed and kept until `release`.
    *context*: the context that the coroutine runs in. *outer*: the context that the server
    calls in. Default: copies of the current one.
    """

    __slots__ = (
        "_lent",
        "_loop",
        "_pending",
        "_released",
        "before_thread",
        "context",
        "in_thread",
        "limit",
        "loop_if_no_thread",
        "outer",
        "prepare",
        "slots",
        "worker",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        limit: int = DEFAULT_WORKER_THREADS,
        worker: Worker | None = None,
        context: Context | None = None,
        outer: Context | None = None,
    ) -> None:
        self._loop = loop
        self.slots: Slots | None = None
        self.worker = worker
        self._lent = worker is not None
        """`True` if the thread belongs to others, such as middleware, or a view that calls its
        app."""
        self.limit = limit if worker is None else None
        """How many sync functions run at once, including this one. `None`: it is not counted."""
        self.context: Context = copy_context() if context is None else context
        self.outer: Context = copy_context() if outer is None else outer
        self.in_thread = False
        self.prepare: Callable[[], Awaitable[None] | None] | None = None
        """Called once on the loop, before the first async function. Returns the rest, to await,
        if it has to wait."""
        self.before_thread: Callable[[], Awaitable[None] | None] | None = None
        """The same for a sync function, before a thread is taken. Not used for a thread that
        was lent."""
        self.loop_if_no_thread = False
        """For teardown, which must run: if no thread is available, sync functions run on the
        loop instead of raising `NoThread`. A thread that the request had is kept, so nothing is
        bound to a missing one."""
        self._pending = 0
        self._released = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the request runs on."""
        if self._loop is None:
            self._loop = _get_running_loop() or loop_for_outsiders()
        return self._loop

    def outside(self, func: Callable[..., Awaitable[T]]) -> InContext[T]:
        """Return the server's coroutine function *func*, run in the context that the server
        called in."""
        return InContext(func, self.outer.copy())

    async def to_loop(self) -> None:
        """Continue on the event loop."""
        if self.in_thread:
            await ask(TO_LOOP)

    async def to_thread(self) -> None:
        """Continue on the request's thread. Await only methods of this class there; anything
        else takes the coroutine back to the loop."""
        if not self.in_thread:
            await ask(TO_THREAD)

    def call(self, func: Callable[..., Any], /, *args: object, **kwargs: object) -> Awaitable[Any]:
        """Call user code, sync or async, where it belongs. Await it for the value. The awaiting
        coroutine may have moved between loop and thread afterwards. Raises `NoThread`, on the
        loop."""
        # Inlines the start of `is_async`, which is enough for most functions.
        if (type(func) is not FunctionType or not func.__code__.co_flags & _COROUTINE) and (
            type(func) is Nonblocking or not is_async(func)
        ):
            return self.call_sync(func, args, kwargs)
        if self.in_thread:
            return self._call_async(func, args, kwargs)
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            rest = prepare()
            if rest is not None:
                return call_after(rest, func, args, kwargs)
        return func(*args, **kwargs)  # type: ignore[no-any-return]

    async def _call_async(
        self, func: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Any:
        await self.ready_for_async()
        return await func(*args, **kwargs)

    async def call_sync(
        self, func: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Any:
        """`call` for a sync function."""
        if not self.in_thread:
            if self.worker is None and type(func) is Nonblocking:
                await self.ready_for_async()
            else:
                if self.before_thread is not None:
                    prepare, self.before_thread = self.before_thread, None
                    if not self._lent:
                        await all_of(prepare)
                await ask(TO_THREAD)
        value = func(*args, **kwargs)
        if isinstance(value, CoroutineType):  # a sync wrapper around an async function
            await self.ready_for_async()
            return await value
        return value

    async def ready_for_async(self) -> None:
        """Move to the loop and run `prepare`."""
        if self.in_thread:
            await ask(TO_LOOP)
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            await all_of(prepare)

    def run(self, coro: Coro[T], yielded: object = NOT_STARTED) -> Awaitable[T]:
        """Run *coro* to its end: `await driver.run(...)`, from a task on the loop. *yielded*:
        the value it yielded when `None` was sent to it in `context`, if it was."""
        remember(self.loop)
        return stepped(self.context, coro, self._segment, yielded)

    def task(self, coro: Coro[T]) -> asyncio.Task[T]:
        """Return a task for the user's *coro* in the request's context. Await it at once."""
        # Not through the loop's factory, which may start it at once, in a context that is in
        # use.
        return asyncio.Task(coro, loop=self.loop, context=self.context)

    def _segment(self, coro: Coro[T]) -> Generator[object, Any, Segment]:
        """Let the thread resume *coro* until it asks for the loop. Return what it yielded; its
        end, if it ended; and what to raise in it, if no thread was available or the task was
        cancelled."""
        job = _Job(self, self.context, coro.send, None)
        self._post(job)
        thrown: BaseException | None = None
        try:
            yield from job
        except asyncio.CancelledError as exc:
            thrown = exc
        if job.abandoned:
            raise Abandoned
        if job.refused:
            _, refusal = job.take()
            if thrown is not None or not self.loop_if_no_thread:
                return None, None, thrown or refusal
            job(land=False)
        value, error = job.take()
        if error is None or isinstance(error, StopIteration):
            return value, error, thrown
        try:
            raise error
        finally:
            error = None  # its traceback holds this frame: no cycle

    def _post(self, job: _Job) -> None:
        remember(self.loop)
        if self.limit is None:
            self._start(job)
            return
        if self.slots is None:
            self.slots = slots_of(self.loop, self.limit)
        self.slots.acquire(partial(self._start, job))

    def _start(self, job: _Job) -> bool:
        """Start *job*. Return `True` if it runs."""
        if job.abandoned:
            return False
        if self.worker is None:
            try:
                self.worker = take_worker()
            except NoThread as error:
                job.refuse(error)
                return False
        self.worker.post(job)
        return True

    async def run_sync(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a sync function on the request's thread, from any task on the loop. Raises
        `NoThread`."""
        if self._released:  # the task outlived its request
            return await run_in_worker(func, *args, **kwargs)
        context = copy_context()
        job = _Job(self, context, partial(func, *args, **kwargs))
        self._pending += 1
        try:
            self._post(job)
            await job
        finally:
            self._pending -= 1
            if self._released:
                self.release()
        if job.refused and self.loop_if_no_thread:
            job.take()
            job(land=False)
        adopt(context)
        value, error = job.take()
        if error is not None:
            try:
                raise error
            finally:
                error = None  # its traceback holds this frame: no cycle
        return value  # type: ignore[no-any-return]

    async def run_apart(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`run_sync` for a function that may run on any thread; the request does not keep the
        thread."""
        if self.worker is not None:
            return await self.run_sync(func, *args, **kwargs)
        limit = DEFAULT_WORKER_THREADS if self.limit is None else self.limit
        driver = Driver(self.loop, limit, context=self.context, outer=self.outer)
        driver.loop_if_no_thread = self.loop_if_no_thread
        try:
            return await driver.run_sync(func, *args, **kwargs)
        finally:
            driver.release()

    def free_slot(self) -> None:
        """On the request's thread: stop counting it as running, for code that waits for its
        client by other means."""
        slots, self.slots, self.limit = self.slots, None, None
        if slots is not None:
            self.loop.call_soon_threadsafe(slots.release)

    def spare_thread(self) -> None:
        """On the loop: give back the thread, which would be idle while the request waits for
        its client. Nothing of the request may be bound to it. Another one is taken when needed."""
        worker = self.worker
        if worker is not None and not self._lent and not self._pending:
            self.worker = None
            give_back(worker)

    def release(self) -> None:
        """Give back the thread. Nothing of this request runs on it any more."""
        self._released = True
        self.spare_thread()


async def call_after(
    rest: Awaitable[None],
    func: Callable[..., Any],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> Any:
    await rest
    return await func(*args, **kwargs)


async def all_of(prepare: Callable[[], Awaitable[None] | None]) -> None:
    rest = prepare()
    if rest is not None:
        await rest


async def run_in_worker(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a sync function on a pool thread. Raises `NoThread`."""
    loop = asyncio.get_running_loop()
    driver = Driver(loop)
    try:
        return await driver.run_sync(func, *args, **kwargs)
    finally:
        driver.release()


# -- the end ----------------------------------------------------------------------------------


def shutdown() -> None:
    """End the background loops and all idle worker threads. New ones are started when needed."""
    end_background_loops()
    end_idle()


def _forget() -> None:
    pool.forget()
    loops.forget()


atexit.register(shutdown)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
