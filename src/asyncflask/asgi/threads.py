"""The event loop, and the worker thread of each request.

Which of the two runs what is decided here alone. A request is one coroutine. It asks to be
carried to the other by awaiting `Driver.to_thread` or `Driver.to_loop`, and its `Driver` resumes
it there. So sync functions that follow one another cost one hop however many they are, async
functions cost none, and all sync functions of one request share one thread.

A thread is one of the operating system (`native.py`). A thread from outside that calls in, a WSGI
server's, is what that server takes for one: under gevent a greenlet.

How a coroutine is resumed in a context is in `stepping.py`, how sync code waits for what is async
in `waiting.py`, the threads and how many there are in `pool.py`.

Not here: anything about HTTP, WebSockets or Flask.
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
"""How long what was cancelled at shutdown may take to end, before sync code that blocks is left
to itself."""


def is_async(func: Callable[..., object]) -> bool:
    """Whether calling *func* gives a coroutine: `async def`, also behind `partial`,
    as a bound method, or as the `__call__` of an object."""
    if type(func) is FunctionType:  # most are, and asking `inspect` costs ten times as much
        if func.__code__.co_flags & _COROUTINE:
            return True
        if not func.__dict__:  # nor is it marked as one
            return False
    while isinstance(func, partial):
        func = func.func
    if inspect.iscoroutinefunction(func):
        return True
    if inspect.isroutine(func) or inspect.isclass(func):
        return False
    return inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004


def on_loop() -> bool:
    """Whether an event loop is running in this very thread."""
    return asyncio._get_running_loop() is not None


def this_driver() -> Driver | None:
    """The driver on whose thread this code runs."""
    driver: Driver | None = getattr(here(), "driver", None)
    return driver


def this_worker() -> Worker:
    """The queue of the calling thread, created on first use for a thread from outside."""
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
        """On the thread: make the call, and tell the loop."""
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
            except RuntimeError:  # the loop was closed: nobody waits any more
                self.take()

    def _land(self) -> None:
        # After the request has gone on, and perhaps ended: who is next may take its thread.
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
        """The value or error, which is then no longer here: a traceback makes a cycle of it."""
        outcome = self._value, self._error
        self._value = self._error = None
        return outcome

    # What `asyncio.Task` asks of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._driver.loop

    def add_done_callback(
        self, wakeup: Callable[[_Job], object], *, context: Context | None = None
    ) -> None:
        self._wakeup = wakeup
        self._task_context = context or copy_context()

    def _wake(self) -> None:
        # The task began to wait in the step of the loop that started the thread.
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
            slots.release()  # what blocks does not count any more
        worker, self._driver.worker = self._driver.worker, None
        if worker is not None and not self._driver._lent:
            worker.post(stop)  # if it ever comes to that
        self._driver.loop.call_soon(self._wake)
        return True

    def waits_in(self, slots: Slots | None) -> bool:
        """Whether it waits for a slot, and has not begun."""
        return slots is not None and any(
            isinstance(go, partial) and self in go.args for go in slots.waiting
        )

    def result(self) -> None:
        """Asked by the woken task."""
        if self.abandoned:
            raise asyncio.CancelledError

    def __await__(self) -> Generator[object, None, None]:
        self._asyncio_future_blocking = True
        yield self

    __iter__ = __await__


class Abandoned(asyncio.CancelledError):
    """The request's coroutine was left behind in its thread."""


def abandon(task: asyncio.Task[object]) -> None:
    """Cancel *task* though it waits for a thread, which is left to the sync code that blocks
    it. Of a request whose thread that is, nothing more is run. For the end of the process."""
    local = here()
    local.abandoning = True
    try:
        task.cancel()
    finally:
        local.abandoning = False


def abandon_blocked(*, only_cancelled: bool) -> None:
    """`abandon` the tasks of this loop that wait for a thread; *only_cancelled*: those that were
    told to end, and could not. What waits for a slot goes first: it must not begin now."""
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
    """A task was cancelled that waits for a thread. If the process ends, whoever did so may wait
    for the task: so leave the thread behind before long, but after `Conversations.stop` has done
    so for what is its own."""
    end = end_of(loop)
    if end is None or (loop in _abandoning and _abandoning[loop].when() > loop.time()):
        return
    when = max(end, loop.time()) + 2 * ABANDON_SECONDS
    _abandoning[loop] = loop.call_at(when, partial(abandon_blocked, only_cancelled=True))


class Driver:
    """Runs one request: its coroutine, on loop and thread, in one `contextvars.Context`.

    *loop*: by default the running one, once something asks for it: to find it takes a system call
    (`getpid`) before Python 3.12. *worker*: the thread to use, for a request that came in on one
    (WSGI); otherwise one is taken from the pool when first needed, and kept until `release`.
    *context*: what the coroutine runs in, and *outer*: what the server calls in; by default copies
    of the current one.
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
        """The thread goes on with something else: a middleware, or a view that asks its app."""
        self.limit = limit if worker is None else None
        """How many sync functions run at once, this one among them; `None`: it is not counted."""
        self.context: Context = copy_context() if context is None else context
        self.outer: Context = copy_context() if outer is None else outer
        self.in_thread = False
        self.prepare: Callable[[], Awaitable[None] | None] | None = None
        """Called once on the loop, before the first async function is. It gives what is left to
        be awaited, if it has to wait."""
        self.before_thread: Callable[[], Awaitable[None] | None] | None = None
        """The same for a sync function, before a thread is taken. Not for one that was lent."""
        self.loop_if_no_thread = False
        """For teardown, which must run: sync functions run on the loop if no thread can be had,
        rather than raise `NoThread`. One that a request has had is not replaced; so nothing of
        this request is bound to a thread."""
        self._pending = 0
        self._released = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the request is."""
        if self._loop is None:
            self._loop = _get_running_loop() or loop_for_outsiders()
        return self._loop

    def outside(self, func: Callable[..., Awaitable[T]]) -> InContext[T]:
        """The server's coroutine function *func*, to run in the context that the server called
        in."""
        return InContext(func, self.outer.copy())

    async def to_loop(self) -> None:
        """Carry on on the event loop."""
        if self.in_thread:
            await ask(TO_LOOP)

    async def to_thread(self) -> None:
        """Carry on on the request's thread. Nothing may be awaited there but what this class
        gives; anything else takes the coroutine back to the loop."""
        if not self.in_thread:
            await ask(TO_THREAD)

    def call(self, func: Callable[..., Any], /, *args: object, **kwargs: object) -> Awaitable[Any]:
        """Call user code, sync or async, where it belongs; awaited it gives the value. The
        coroutine that awaits this may have changed between loop and thread afterwards. Raises
        `NoThread`, on the loop."""
        # `is_async`, of which the first line is all that most functions need.
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
        """`call` for a function that is not async."""
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
        if isinstance(value, CoroutineType):  # a sync wrapper round an async function
            await self.ready_for_async()
            return await value
        return value

    async def ready_for_async(self) -> None:
        """Be on the loop, with `prepare` done."""
        if self.in_thread:
            await ask(TO_LOOP)
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            await all_of(prepare)

    def run(self, coro: Coro[T], yielded: object = NOT_STARTED) -> Awaitable[T]:
        """Drive *coro* to its end: `await driver.run(...)`, from a task on the loop. *yielded*:
        what it gave when it was sent `None` in `context`, if it was."""
        remember(self.loop)
        return stepped(self.context, coro, self._segment, yielded)

    def task(self, coro: Coro[T]) -> asyncio.Task[T]:
        """A task for the user's *coro*, in the request's context; to be awaited at once."""
        # Not by the loop's factory, which may start it at once: in a context that is in use.
        return asyncio.Task(coro, loop=self.loop, context=self.context)

    def _segment(self, coro: Coro[T]) -> Generator[object, Any, Segment]:
        """Have the thread resume *coro* until it asks for the loop. Gives what it yielded; its
        end, if it came to that; and what is to be raised in it, the refusal of a thread or the
        cancellation of the task meanwhile."""
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
        """Whether *job* runs."""
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
        """From any task on the loop: call a sync function on the request's thread. Raises
        `NoThread`."""
        if self._released:  # a task that outlives its request
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
        """`run_sync` for what may run on any thread: the request gets none that it would keep."""
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
        """On the request's thread: from now on it counts no more among the sync functions that
        run. For one that waits for its client by other means."""
        slots, self.slots, self.limit = self.slots, None, None
        if slots is not None:
            self.loop.call_soon_threadsafe(slots.release)

    def spare_thread(self) -> None:
        """On the loop: give back the thread, which nothing of this request is bound to, and
        which would be idle while the request waits for its client. Another is taken when
        needed."""
        worker = self.worker
        if worker is not None and not self._lent and not self._pending:
            self.worker = None
            give_back(worker)

    def release(self) -> None:
        """Give back the thread that was taken. Nothing of this request runs there any more."""
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
    """Call a sync function on a thread of the pool. Raises `NoThread`."""
    loop = asyncio.get_running_loop()
    driver = Driver(loop)
    try:
        return await driver.run_sync(func, *args, **kwargs)
    finally:
        driver.release()


# -- the end ----------------------------------------------------------------------------------


def shutdown() -> None:
    """End the background loops and all idle worker threads. They come back when needed."""
    end_background_loops()
    end_idle()


def _forget() -> None:
    pool.forget()
    loops.forget()


atexit.register(shutdown)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
