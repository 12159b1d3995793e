"""Running a coroutine in a chosen `contextvars.Context`, step by step, in the current task. A
coroutine may ask to continue elsewhere (`ask`); the `Driver` in `threads.py` handles that."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import CoroutineType, coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
Coro = Coroutine[Any, Any, T]
Segment = tuple[object, StopIteration | None, BaseException | None]

TO_THREAD: Final = "to thread"
TO_LOOP: Final = "to loop"
"""What a coroutine can ask for."""

NOT_STARTED: Final = object()

ENDED: Final = object()
"""The value that `next` returns for a coroutine that has ended."""


@coroutine
def ask(where: str) -> Generator[str, None, None]:
    """Await it to continue at *where*."""
    yield where


@coroutine
def stepped(
    context: Context,
    coro: Coro[T],
    segment: Callable[[Coro[T]], Generator[object, Any, Segment]] | None = None,
    yielded: object = NOT_STARTED,
) -> Generator[object, Any, T]:
    """Run *coro* in *context*, in the current task. *segment* runs a part of it on a thread, up
    to where it asks for the loop. *yielded*: the value that *coro* yielded, if it was already
    started."""
    step: Callable[[Any], Any] = coro.send
    value: Any = None
    try:
        if yielded is NOT_STARTED:
            yielded = context.run(step, value)
        while True:
            if yielded is TO_THREAD and segment is not None:
                yielded, ended, thrown = yield from segment(coro)
                if thrown is not None:
                    if ended is not None:
                        raise thrown
                    try:
                        yielded = context.run(coro.throw, thrown)
                    finally:
                        thrown = None  # avoids a cycle: its traceback refers to this frame
                    continue
                if ended is not None:
                    return ended.value  # type: ignore[no-any-return]
                continue
            if yielded is TO_LOOP:
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
        yielded = value = None  # an error's traceback refers to this frame


class InContext(Generic[T]):
    """The server's coroutine function *func*, always run in *context*. What a server sets up in
    `receive` and `send` keeps the current context: a reader's callback, the task of a pipelined
    request (python/cpython#140947)."""

    __slots__ = "_context", "_func"

    def __init__(self, func: Callable[..., Awaitable[T]], context: Context) -> None:
        self._func = func
        self._context = context

    async def __call__(self, *args: object) -> T:
        value, rest = start_in(self._context, self._func, *args)
        return value if rest is None else await self.waiting(rest)

    def beginner(self) -> Callable[..., Awaitable[T] | None]:
        """Return a version that returns no value, in half the time, for a function called for
        each chunk of a stream. If it has to wait, it returns the rest, to await at once."""
        func, run, waiting = self._func, self._context.run, self.waiting
        call = func if inspect.iscoroutinefunction(func) else partial(run, func)

        def begin(*args: object) -> Awaitable[T] | None:
            iterator: Any = as_coroutine(call(*args)).__await__()
            yielded = run(next, iterator, ENDED)
            if yielded is ENDED:
                return None
            return waiting(stepped(self._context, iterator, None, yielded))

        return begin

    def waiting(self, rest: Awaitable[T]) -> Awaitable[T]:
        """Called with the rest of a call that has to wait. Returns what is awaited instead."""
        return rest


def start_in(
    context: Context, func: Callable[..., Awaitable[T]], *args: object
) -> tuple[Any, Awaitable[T] | None]:
    """Call *func* in *context* and run it until it has to wait. Return its value and `None`, or
    `None` and the rest, to await at once."""
    coro: Any = context.run(func, *args)
    if type(coro) is not CoroutineType:
        coro = _awaiting(coro)
    try:
        yielded = context.run(coro.send, None)
    except StopIteration as stop:  # the usual case
        return stop.value, None
    return None, stepped(context, coro, None, yielded)


def as_coroutine(awaitable: Awaitable[T]) -> Coro[T]:
    """Return *awaitable* as an object with a `send` method."""
    return awaitable if isinstance(awaitable, CoroutineType) else _awaiting(awaitable)


def rest_of(coro: Coro[T], context: Context, yielded: object) -> Awaitable[T]:
    """Return the rest of *coro*, which was started in *context* and yielded *yielded*, to await
    at once."""
    return stepped(context, coro, None, yielded)


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def in_this_context(func: Callable[..., Awaitable[T]]) -> InContext[T]:
    """Return *func*, always run in the current context."""
    return InContext(func, copy_context())


def adopt(context: Context, private: Collection[ContextVar[Any]] = ()) -> None:
    """Set the variables in the current context that changed in its copy *context*, except those
    in *private*."""
    for variable, value in context.items():
        if variable.get(_missing) is not value and variable not in private:
            variable.set(value)


_missing = object()
