"""Waiting for async code from sync code. Also, functions for both sync and async callers
(`value_or_awaitable`, `async_to_sync`), and the pipeline's steps run by sync code (`call_here`,
`drive`)."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from functools import wraps
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from .loops import loop_for_outsiders
from .pool import Outcome
from .stepping import Coro, adopt
from .threads import all_of, on_loop, this_driver, this_worker

P = ParamSpec("P")
T = TypeVar("T")


class CannotWait(RuntimeError):
    """Sync code on the loop would have to wait for a coroutine."""


def _cannot_wait(awaitable: Awaitable[object]) -> CannotWait:
    name = getattr(awaitable, "__qualname__", type(awaitable).__name__)
    _close(awaitable)
    return CannotWait(
        f"{name!r} is async, but sync code called it on the event loop, where it cannot"
        " wait. In an 'async def' function, write 'await' before the call, or 'async with'"
        " to enter a context. Or make the calling function 'def': then it runs on a"
        " thread."
    )


def _close(awaitable: Awaitable[object]) -> None:
    """End what may not have begun, so that Python does not warn that nobody awaited it."""
    if isinstance(awaitable, CoroutineType):
        awaitable.close()


def wait(awaitable: Awaitable[T], *, to_its_end: bool = False) -> T:
    """From sync code, run *awaitable* on the request's loop and return its value. Outside of a
    request, use the running server's loop, or one in the background. Both sides see each
    other's changes of context variables.

    KeyboardInterrupt cancels *awaitable*. With *to_its_end*, it is raised when that has ended,
    or at once if it comes again.

    Raises `RuntimeError` on a thread whose loop is running, since it would wait for itself.
    """
    if on_loop():
        raise _cannot_wait(awaitable)
    driver = this_driver()
    loop = driver.loop if driver is not None else loop_for_outsiders()
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

    def deliver() -> bool:
        if tasks[0].cancelled():
            _close(awaitable)
        _settle(outcome, tasks[0])
        return True

    def cancel() -> None:
        for task in tasks:
            task.cancel()
        if not tasks:  # the interruption came before `start` was scheduled
            _close(awaitable)
            outcome.set(error=asyncio.CancelledError())

    try:
        # Interrupted in here, too: the coroutine may run by the time that this returns.
        loop.call_soon_threadsafe(start)
        return outcome.result()
    except BaseException:
        if outcome.done:
            tasks.clear()  # its error's traceback refers to this frame
        else:  # KeyboardInterrupt, or an exception gevent raises in a greenlet
            loop.call_soon_threadsafe(cancel)
            if to_its_end:
                with suppress(asyncio.CancelledError):
                    outcome.result()
        raise
    finally:
        adopt(context)


def _settle(outcome: Outcome[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        outcome.set(error=asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set(error=error.error if isinstance(error, _Carried) else error)
    else:
        outcome.set(task.result())


async def _awaited(awaitable: Awaitable[T]) -> T:
    try:
        return await awaitable
    except (KeyboardInterrupt, SystemExit) as exc:
        # Raised through a task, they would stop the loop; the caller is the one to see them.
        raise _Carried(exc) from exc


class _Carried(Exception):
    """Carries KeyboardInterrupt and SystemExit out of a task."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def value_or_awaitable(coro: Coro[T]) -> Coro[T]:
    """Let one method serve sync and async code: return the coroutine on the loop, its value
    elsewhere. Typed for async code; for sync code, the object has another type (`sync` of a
    WebSocket, of rooms)."""
    return coro if _get_running_loop() is not None else cast("Coro[T]", wait(coro))


def _ready_for_async() -> None:
    """Call `Driver.prepare` in sync code, before it calls a user's async function."""
    driver = this_driver()
    if driver is not None and driver.prepare is not None and not on_loop():
        prepare, driver.prepare = driver.prepare, None
        wait(all_of(prepare))


async def call_here(func: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
    """`Driver.call` for sync code that runs the pipeline's steps itself. Never suspends."""
    value = func(*args, **kwargs)
    if not isinstance(value, CoroutineType):
        return value
    _ready_for_async()
    return wait(value)


def drive(awaitable: Awaitable[T]) -> T:
    """Run a coroutine that calls user code only with `call_here`, and so never suspends."""
    coro: Any = awaitable
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coro.close()
    raise RuntimeError("A step called by sync code suspended.")


def async_to_sync(func: Callable[P, Coro[T]]) -> Callable[P, T]:
    """Wrap *func* to return its value in sync code on any thread but the loop's; there it
    returns the coroutine."""

    @wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        _ready_for_async()
        return cast("T", value_or_awaitable(func(*args, **kwargs)))

    return wrapper
