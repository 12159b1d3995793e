"""The two sides of a request: the event loop, and the request's own worker thread.

This is the only file that knows that there are two. A request is one coroutine. It asks to be
carried to the other side by awaiting `Driver.to_thread` or `Driver.to_loop`, and its `Driver`
resumes it there. So plain functions that follow one another cost one hop however many they
are, coroutine functions cost none, and all plain functions of one request share one thread.

Not here: anything about HTTP, WebSockets or Flask.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
import weakref
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial, wraps
from queue import Empty, SimpleQueue
from types import CoroutineType, FunctionType, coroutine
from typing import Any, Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Call = Callable[..., Awaitable[Any]]
Segment = tuple[Any, StopIteration | None, BaseException | None]

_COROUTINE: Final = inspect.CO_COROUTINE

IDLE_SECONDS: Final = 10.0
"""How long a worker thread without work is kept for the next request."""

DEFAULT_WORKER_THREADS: Final = 64
"""How many plain functions run at once on one loop, unless the app says otherwise."""


def is_async(func: Callable[..., Any]) -> bool:
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


# -- worker threads ---------------------------------------------------------------------------


class Worker:
    """A thread's queue of jobs. A pool thread works on its queue for ever; a thread that came
    from outside (a WSGI server's, a test's) does so while it waits for an `Outcome`."""

    __slots__ = ("jobs", "thread")

    def __init__(self, thread: threading.Thread | None = None) -> None:
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.thread = thread

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
        self.worker.post(_wake)

    def result(self) -> T:
        """Block until it is set; then give the value or raise the error."""
        self.worker.work_until(self)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # the traceback holds this frame: no cycle
        return self.value  # type: ignore[return-value]


def _wake() -> None:
    """A job that only ends the wait for the next one."""


def _stop() -> None:
    """The job that ends a pool thread."""


_idle: list[Worker] = []  # a stack: the thread used last has the warmest caches
_local = threading.local()


def _worker_main(worker: Worker) -> None:
    _local.worker = worker
    job: Callable[[], None] = _wake
    while job is not _stop:
        try:
            job = worker.jobs.get(timeout=IDLE_SECONDS)
        except Empty:
            # Not in the stack any more: a request took this worker at this very moment.
            with suppress(ValueError):
                _idle.remove(worker)
                return
            job = _wake
        job()


def _take_worker() -> Worker:
    try:
        return _idle.pop()
    except IndexError:
        pass
    worker = Worker()
    worker.thread = threading.Thread(
        target=_worker_main, args=(worker,), name="asyncflask-worker", daemon=True
    )
    worker.thread.start()
    return worker


def this_driver() -> Driver | None:
    """The driver on whose thread this code runs."""
    driver: Driver | None = getattr(_local, "driver", None)
    return driver


def this_worker() -> Worker:
    """The queue of the calling thread, made on first use for a thread from outside."""
    worker: Worker | None = getattr(_local, "worker", None)
    if worker is None:
        worker = _local.worker = Worker()
    return worker


class Slots:
    """How many plain functions run at once on one loop. A thread that waits for the loop (a
    slow body, a coroutine) counts as not running, so waiting can neither starve nor deadlock
    others. Used on the loop's thread only; whoever waits longest is next."""

    __slots__ = ("free", "waiting")

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[Callable[[], object]] = deque()

    def acquire(self, go: Callable[[], object]) -> None:
        """Call *go* as soon as there is a slot, at once if there is one now."""
        if self.free:
            self.free -= 1
            go()
        else:
            self.waiting.append(go)

    def release(self) -> None:
        if self.waiting:
            self.waiting.popleft()()
        else:
            self.free += 1


_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Slots] = weakref.WeakKeyDictionary()


def slots_of(loop: asyncio.AbstractEventLoop, limit: int = DEFAULT_WORKER_THREADS) -> Slots:
    """The slots of *loop*; *limit* counts for whoever asks first."""
    slots = _slots.get(loop)
    if slots is None:
        slots = _slots[loop] = Slots(limit)
    return slots


# -- the pipeline's way between the sides -----------------------------------------------------


@coroutine
def _ask(side: str) -> Generator[str, None, None]:
    yield side


_TO_THREAD: Final = "to thread"
_TO_LOOP: Final = "to loop"


_NOT_STARTED: Final[Any] = object()


@coroutine
def _stepped(
    context: Context,
    coro: Coroutine[Any, Any, T],
    segment: Callable[[Coroutine[Any, Any, T]], Generator[Any, Any, Segment]] | None = None,
    yielded: Any = _NOT_STARTED,
) -> Generator[Any, Any, T]:
    """Run *coro* in *context*, in the current task. *segment* runs the part of it between two
    changes of sides on a thread. *yielded*: what *coro* gave, if it was started before."""
    step: Callable[[Any], Any] = coro.send
    value: Any = None
    cancelled: BaseException | None = None
    try:
        if yielded is _NOT_STARTED:
            yielded = context.run(step, value)
        while True:
            if yielded is _TO_THREAD and segment is not None:
                yielded, ended, cancelled = yield from segment(coro)
                if cancelled is not None:
                    if ended is not None:
                        raise cancelled
                    yielded = context.run(coro.throw, cancelled)
                    continue
                if ended is not None:
                    return ended.value  # type: ignore[no-any-return]
            if yielded is _TO_LOOP:
                yielded = context.run(coro.send, None)
                continue
            try:
                value = yield yielded
                step = coro.send
            except BaseException as error:
                step, value = coro.throw, error
            yielded = context.run(step, value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        yielded = value = cancelled = None  # an error, whose traceback refers to this frame


class InContext(Generic[T]):
    """The server's coroutine function *func*, always to run in *context*. What a server sets up
    in `receive` and `send` keeps the current context: a reader's callback, the task of a
    pipelined request (python/cpython#140947)."""

    __slots__ = "_context", "_func"

    def __init__(self, func: Callable[..., Awaitable[T]], context: Context) -> None:
        self._func = func
        self._context = context

    async def __call__(self, *args: Any) -> T:
        coro: Any = as_coroutine(self._context.run(self._func, *args))
        try:
            yielded = self._context.run(coro.send, None)
        except StopIteration as stop:  # most often: it need not wait
            return stop.value  # type: ignore[no-any-return]
        return await _stepped(self._context, coro, None, yielded)

    def beginner(self) -> Callable[..., Awaitable[T] | None]:
        """The same for a function that gives nothing and is called often: a plain one that lets it
        run as far as it goes, and gives the rest, to be awaited at once, if it has to wait."""
        func, run = self._func, self._context.run
        call = func if inspect.iscoroutinefunction(func) else partial(run, func)

        def begin(*args: Any) -> Awaitable[T] | None:
            iterator: Any = as_coroutine(call(*args)).__await__()
            yielded = run(next, iterator, ENDED)
            return None if yielded is ENDED else _stepped(self._context, iterator, None, yielded)

        return begin


ENDED: Final[Any] = object()
"""What `next` is to give for a coroutine that has ended."""


def as_coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """*awaitable* as something that has `send`."""
    return awaitable if isinstance(awaitable, CoroutineType) else _awaiting(awaitable)


def rest_of(coro: Coroutine[Any, Any, T], context: Context, yielded: Any) -> Awaitable[T]:
    """What is left of *coro*, which gave *yielded* when it was started in *context*: to be
    awaited at once."""
    return _stepped(context, coro, None, yielded)


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def in_this_context(func: Callable[..., Awaitable[T]]) -> InContext[T]:
    """*func*, always to run in the context as it is now."""
    return InContext(func, copy_context())


class _Landing:
    """Ends when a thread is done; one task awaits it. A thread cannot be interrupted: a
    cancelled task stays until then (`Task.cancel` remembers it when its future refuses), and is
    cancelled after it.

    To `asyncio.Task` a future (`asyncio.isfuture`), but one that wakes its task in the very
    step of the loop that learns of the thread's end, not in the next one.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_context",
        "_driver",
        "_outcome",
        "_wakeup",
        "abandoned",
    )

    def __init__(self, driver: Driver) -> None:
        self._asyncio_future_blocking = False
        self._driver = driver
        self._outcome: tuple[Any, BaseException | None] = (None, None)
        self._wakeup: Callable[[_Landing], object] | None = None
        self.abandoned = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._driver.loop

    def add_done_callback(
        self, wakeup: Callable[[_Landing], object], *, context: Context | None = None
    ) -> None:
        self._wakeup = wakeup
        self._context = context or copy_context()

    def cancel(self, msg: Any = None) -> bool:
        if not getattr(_local, "abandoning", False):
            return False
        self.abandoned = True
        worker, self._driver.worker = self._driver.worker, None
        if worker is not None and worker.thread is not None:
            worker.post(_stop)  # if it ever comes to that
        self._driver.loop.call_soon(self._wake)
        return True

    def result(self) -> None:
        """Asked by the woken task; the outcome is for `take`."""
        if self.abandoned:
            raise asyncio.CancelledError

    def take(self) -> tuple[Any, BaseException | None]:
        """The value or error, which is then no longer here: a traceback makes a cycle of it."""
        outcome, self._outcome = self._outcome, (None, None)
        return outcome

    def set(self, value: Any, error: BaseException | None) -> None:
        """On the thread: tell the loop of the end."""
        self._outcome = value, error
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._driver.loop.call_soon_threadsafe(self._land)

    def _land(self) -> None:
        if self._driver.slots is not None:
            self._driver.slots.release()
        self._wake()

    def _wake(self) -> None:
        # The task began to wait in the step of the loop that started the thread.
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            self._context.run(wakeup, self)

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    __iter__ = __await__


class Abandoned(asyncio.CancelledError):
    """The request's coroutine was left behind in its thread."""


def abandon(task: asyncio.Task[Any]) -> None:
    """Cancel *task* though it waits for a thread, which is left to the plain code that blocks
    it. Of a request whose thread that is, nothing more is run. For the end of the process."""
    _local.abandoning = True
    try:
        task.cancel()
    finally:
        _local.abandoning = False


class Driver:
    """Runs one request: its coroutine, on either side, in one `contextvars.Context`.

    *loop*: by default the running one, once something asks for it: to find it takes a system call
    (`getpid`) before Python 3.12. *worker*: the thread to use, for a request that came in on one
    (WSGI); otherwise one is taken from the pool when first needed, and kept until `release`.
    *context*: what the coroutine runs in, and *outer*: what the server calls in; by default copies
    of the current one.
    """

    __slots__ = (
        "_loop",
        "_pending",
        "_released",
        "context",
        "in_thread",
        "limit",
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
        self.limit = limit if worker is None else None
        """How many plain functions run at once, this one among them; `None`: it is not counted."""
        self.context: Context = copy_context() if context is None else context
        self.outer: Context = copy_context() if outer is None else outer
        self.in_thread = False
        self.prepare: Callable[[], Awaitable[None] | None] | None = None
        """Called once on the loop, before the first coroutine function is. It gives what is left
        to be awaited, if it has to wait."""
        self._pending = 0
        self._released = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the request is."""
        if self._loop is None:
            self._loop = _get_running_loop() or _loop_for_outsiders()
        return self._loop

    def outside(self, func: Callable[..., Awaitable[T]]) -> InContext[T]:
        """The server's coroutine function *func*, to run in the context that the server called
        in."""
        return InContext(func, self.outer.copy())

    async def to_loop(self) -> None:
        """Carry on on the event loop."""
        if self.in_thread:
            await _ask(_TO_LOOP)

    async def to_thread(self) -> None:
        """Carry on on the request's thread. Nothing may be awaited there but what this class
        gives; anything else takes the coroutine back to the loop."""
        if not self.in_thread:
            await _ask(_TO_THREAD)

    def call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call user code of either colour, on its side; awaited it gives the value. The
        coroutine that awaits this may be on the other side afterwards."""
        # `is_async`, of which the first line is all that most functions need.
        if (
            type(func) is not FunctionType or not func.__code__.co_flags & _COROUTINE
        ) and not is_async(func):
            return self.call_plain(func, args, kwargs)
        if self.in_thread:
            return self._call_async(func, args, kwargs)
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            rest = prepare()
            if rest is not None:
                return _call_after(rest, func, args, kwargs)
        return func(*args, **kwargs)  # type: ignore[no-any-return]

    async def _call_async(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        await self.ready_for_async()
        return await func(*args, **kwargs)

    async def call_plain(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """`call` for what is not a coroutine function."""
        if not self.in_thread:
            await _ask(_TO_THREAD)
        value = func(*args, **kwargs)
        if isinstance(value, CoroutineType):  # a plain wrapper round a coroutine function
            await self.ready_for_async()
            return await value
        return value

    async def ready_for_async(self) -> None:
        """Be on the loop, with `prepare` done."""
        if self.in_thread:
            await _ask(_TO_LOOP)
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            await _all_of(prepare)

    def run(self, coro: Coroutine[Any, Any, T], yielded: Any = _NOT_STARTED) -> Awaitable[T]:
        """Drive *coro* to its end: `await driver.run(...)`, from a task on the loop. *yielded*:
        what it gave when it was sent `None` in `context`, if it was."""
        _remember(self.loop)
        return _stepped(self.context, coro, self._segment, yielded)

    def task(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task for the user's *coro*, in the request's own context; to be awaited at once."""
        # Not by the loop's factory, which may start it at once: in a context that is in use.
        return asyncio.Task(coro, loop=self.loop, context=self.context)

    def _segment(self, coro: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Segment]:
        """Have the thread resume *coro* until it asks for the loop. Gives what it yielded, its
        end if it came to that, and the cancellation of the task if there was one meanwhile."""
        landing = _Landing(self)

        def job() -> None:
            before = this_driver()
            _local.driver = self
            self.in_thread = True
            value: Any = None
            error: BaseException | None = None
            try:
                value = self.context.run(coro.send, None)
            except BaseException as exc:
                error = exc
            self.in_thread = False
            _local.driver = before
            landing.set(value, error)
            error = None  # its traceback holds this frame: no cycle

        self._post(job)
        cancelled: BaseException | None = None
        try:
            yield from landing
        except asyncio.CancelledError as exc:
            cancelled = exc
        if landing.abandoned:
            raise Abandoned
        value, error = landing.take()
        if error is None or isinstance(error, StopIteration):
            return value, error, cancelled
        try:
            raise error
        finally:
            error = None

    def _post(self, job: Callable[[], None]) -> None:
        _remember(self.loop)
        if self.limit is None:
            self._start(job)
            return
        if self.slots is None:
            self.slots = slots_of(self.loop, self.limit)
        self.slots.acquire(partial(self._start, job))

    def _start(self, job: Callable[[], None]) -> None:
        if self.worker is None:
            self.worker = _take_worker()
        self.worker.post(job)

    async def run_sync(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """From any task on the loop: call a plain function on the request's thread."""
        if self._released:  # a task that outlives its request
            return await run_in_worker(func, *args, **kwargs)
        landing = _Landing(self)
        context = copy_context()

        def job() -> None:
            before = this_driver()
            _local.driver = self
            value: Any = None
            error: BaseException | None = None
            try:
                value = context.run(func, *args, **kwargs)
            except BaseException as exc:
                error = exc
            _local.driver = before
            landing.set(value, error)
            error = None  # its traceback holds this frame: no cycle

        self._pending += 1
        try:
            self._post(job)
            await landing
        finally:
            self._pending -= 1
            if self._released:
                self.release()
        _adopt(context)
        value, error = landing.take()
        if error is not None:
            try:
                raise error
            finally:
                error = None
        return value  # type: ignore[no-any-return]

    def free_slot(self) -> None:
        """On the request's thread: from now on it counts no more among the plain functions that
        run. For one that waits for its client in ways of its own."""
        slots, self.slots, self.limit = self.slots, None, None
        if slots is not None:
            self.loop.call_soon_threadsafe(slots.release)

    def release(self) -> None:
        """Give the thread back. Nothing of this request runs there any more."""
        self._released = True
        worker = self.worker
        if worker is not None and worker.thread is not None and not self._pending:
            self.worker = None
            _idle.append(worker)


async def _call_after(
    rest: Awaitable[None], func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    await rest
    return await func(*args, **kwargs)


async def _all_of(prepare: Callable[[], Awaitable[None] | None]) -> None:
    rest = prepare()
    if rest is not None:
        await rest


async def run_in_worker(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a plain function on a thread of the pool."""
    loop = asyncio.get_running_loop()
    driver = Driver(loop)
    try:
        return await driver.run_sync(func, *args, **kwargs)
    finally:
        driver.release()


# -- from plain code to the loop --------------------------------------------------------------


def wait(awaitable: Awaitable[T]) -> T:
    """From a plain thread: run *awaitable* on the request's loop and give its value. Outside of
    a request the running server's loop serves, or one in the background. Changes of context
    variables are seen on both sides.

    Raises `RuntimeError` on a thread whose loop is running: there it would wait for itself.
    """
    if on_loop():
        name = getattr(awaitable, "__qualname__", type(awaitable).__name__)
        if isinstance(awaitable, CoroutineType):
            awaitable.close()
        raise RuntimeError(
            f"{name!r} is asynchronous and was called by plain code on the event loop, which"
            " cannot wait for it. In an 'async def' function write 'await' before the call, or"
            " 'async with' where a context is entered; or make the calling function 'def'"
            " (then it runs on a thread of its own)."
        )
    driver = this_driver()
    loop = driver.loop if driver is not None else _loop_for_outsiders()
    slots = driver.slots if driver is not None else None
    outcome: Outcome[T] = Outcome(this_worker())
    context = copy_context()
    tasks: list[asyncio.Task[T]] = []

    def start() -> None:
        if slots is not None:
            slots.release()
        task = loop.create_task(_awaited(awaitable), context=context)
        tasks.append(task)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[T]) -> None:
        if slots is not None:
            slots.acquire(deliver)
        else:
            deliver()

    def deliver() -> None:
        task = tasks[0]
        if task.cancelled():
            outcome.set(error=asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            outcome.set(error=error.error if isinstance(error, _Carried) else error)
        else:
            outcome.set(task.result())

    loop.call_soon_threadsafe(start)
    try:
        return outcome.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        raise
    except BaseException:
        tasks.clear()  # it has the error, whose traceback refers to this frame
        raise
    finally:
        _adopt(context)


async def _awaited(awaitable: Awaitable[T]) -> T:
    try:
        return await awaitable
    except (KeyboardInterrupt, SystemExit) as exc:
        # Raised through a task they would stop the loop; the caller is who should see them.
        raise _Carried(exc) from exc


class _Carried(Exception):
    """Takes KeyboardInterrupt and SystemExit out of a task."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def value_or_awaitable(coro: Coroutine[Any, Any, T]) -> Any:
    """One method for both colours: on the loop the coroutine itself, to be awaited; in plain
    code its value."""
    return coro if _get_running_loop() is not None else wait(coro)


def _ready_for_async() -> None:
    """In plain code, before a coroutine function of the user's is called: what `Driver.prepare`
    is for."""
    driver = this_driver()
    if driver is not None and driver.prepare is not None and not on_loop():
        prepare, driver.prepare = driver.prepare, None
        wait(_all_of(prepare))


async def call_here(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Driver.call` for plain code that runs the pipeline's steps itself: never suspends."""
    value = func(*args, **kwargs)
    if not isinstance(value, CoroutineType):
        return value
    _ready_for_async()
    return wait(value)


def drive(awaitable: Awaitable[T]) -> T:
    """Run a coroutine that reaches user code by `call_here` alone, and so never suspends."""
    coro: Any = awaitable
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coro.close()
    raise RuntimeError("A step that plain code called has suspended.")


def async_to_sync(func: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A function that gives the value of *func*, for plain code in any thread but the loop's;
    there it gives the coroutine, to be awaited."""

    @wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        _ready_for_async()
        value: T = value_or_awaitable(func(*args, **kwargs))
        return value

    return wrapper


def _adopt(context: Context) -> None:
    """Set in the current context what was changed in its copy *context*."""
    for variable, value in context.items():
        if variable.get(_missing) is not value:
            variable.set(value)


_missing: Any = object()


# -- loops ------------------------------------------------------------------------------------

_served: weakref.ref[asyncio.AbstractEventLoop] | None = None
_background: asyncio.AbstractEventLoop | None = None
_background_thread: threading.Thread | None = None
_lock = threading.Lock()


def note_loop() -> None:
    """Note the running loop as the one that serves requests, unless one is noted that runs."""
    loop = _served() if _served is not None else None
    if loop is None or not loop.is_running():
        running = _get_running_loop()
        if running is not None:
            _remember(running)


def _remember(loop: asyncio.AbstractEventLoop) -> None:
    """Note the loop that serves requests, for threads that users start on their own."""
    global _served
    if loop is not _background and (_served is None or _served() is not loop):
        _served = weakref.ref(loop)


def _loop_for_outsiders() -> asyncio.AbstractEventLoop:
    loop = _served() if _served is not None else None
    return loop if loop is not None and loop.is_running() else background_loop()


def background_loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, for WSGI and for plain code without a server. Made on
    first use, ended by `shutdown` or with the process."""
    global _background, _background_thread
    with _lock:
        if _background is None:
            _background = asyncio.new_event_loop()
            _background_thread = threading.Thread(
                target=_background.run_forever, name="asyncflask-loop", daemon=True
            )
            _background_thread.start()
        return _background


def shutdown() -> None:
    """End the background loop and all idle worker threads. Both come back when needed."""
    global _background, _background_thread
    with _lock:
        loop, thread = _background, _background_thread
        _background = _background_thread = None
    if loop is not None and thread is not None:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    for worker in _drained():
        worker.post(_stop)
        if worker.thread is not None:
            worker.thread.join()


def _drained() -> Iterator[Worker]:
    with suppress(IndexError):
        while True:
            yield _idle.pop()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _forget() -> None:
    """After a fork the threads exist in the parent only."""
    global _background, _background_thread, _lock
    _background = _background_thread = None
    _lock = threading.Lock()
    _idle.clear()
    _local.__dict__.clear()


atexit.register(shutdown)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
