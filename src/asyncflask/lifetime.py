"""An app's lifespan, from the server's start to its stop, and its background tasks.

What a server does not report through the lifespan protocol or a signal, a connection may
reveal: `app._asks` inspects incoming ones until it has found out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Receive, Scope, Send

from .asgi.conversation import Conversations
from .asgi.lifespan import lifespan, on_stop_signal
from .asgi.loops import will_end
from .asgi.scope import ORIGIN
from .asgi.servers import server_of, stop_of, tell_once, wsgi_server
from .asgi.stalls import end_uploads
from .asgi.threads import ABANDON_SECONDS, Abandoned, Driver, abandon
from .debughelpers import START_FUNCTIONS

if TYPE_CHECKING:
    from .app import Flask
    from .loop_guard import LoopGuard

_nothing: object = object()


@asynccontextmanager
async def serving(app: Flask, receive: Receive) -> AsyncIterator[dict[str, object]]:
    """Run the app's lifespan: mounted apps, `lifespan`, `while_serving`, `before_serving`; and
    back in reverse order, after ending streams and WebSockets. Yields the state.

    *receive*: the lifespan's, which identifies the server.
    """
    driver = Driver(asyncio.get_running_loop())
    # This must be done even if requests hold all threads, or never end.
    driver.limit = None
    driver.loop_if_no_thread = True
    app_ctx = app.app_context()
    conversations = app._conversations = Conversations()
    timeout = app.config["SHUTDOWN_TIMEOUT"]
    conversations.starting = True
    stopping: list[asyncio.Task[None]] = []
    stack = AsyncExitStack()

    def stop() -> None:
        if not stopping:
            stopping.append(asyncio.ensure_future(conversations.stop(timeout)))
            stack.callback(asyncio.ensure_future(end_uploads(timeout)).cancel)

    def drain() -> None:
        conversations.draining = True

    def told_to_stop() -> None:
        will_end(driver.loop, driver.loop.time() + timeout)
        stop()

    run = partial(_run, driver)
    async with stack:
        stack.callback(driver.release)
        stack.callback(setattr, app, "_conversations", Conversations())
        app._asks = None
        await run(app_ctx.push_by, driver.call)
        stack.push_async_callback(run, app_ctx.pop_by, None, driver.call)
        state = await _start(app, stack, run)
        told = stack.enter_context(on_stop_signal(told_to_stop, app._drain_seconds, drain))
        if not told and server_of(receive) == "Hypercorn":
            app._asks = _StopOfServer(told_to_stop, stack)
        conversations.starting = False
        if app._loop_guard is None and (guard := _loop_guard(app)) is not None:
            stack.enter_context(guard.installed())
            guard.watch(driver.loop)
        if app.debug:
            stack.enter_context(_origins_of_coroutines())
        conversations.state = state
        try:
            yield state
        finally:
            stop()
            await asyncio.wait(stopping)
            await end_background_tasks(app, timeout)
            for func in app.after_serving_funcs:
                await run(func)


async def _run(driver: Driver, func: Callable[..., Any], *args: object) -> Any:
    """Call *func*, sync or async, and return its value, on the loop."""

    async def call() -> Any:
        value = await driver.call(func, *args)
        await driver.to_loop()
        return value

    return await driver.run(call())


async def _start(
    app: Flask, stack: AsyncExitStack, run: Callable[..., Awaitable[Any]]
) -> dict[str, object]:
    """Run what comes before the first request, with *run*, and push what undoes it on *stack*.
    Return the state."""
    state: dict[str, object] = {}
    for mounted in (*(mount.app for mount in app._mounts), *app._guarded):
        state.update(await stack.enter_async_context(lifespan(mounted)))
    if app.lifespan is not None:
        user_lifespan = app.lifespan(app)
        state.update(await run(user_lifespan.__aenter__) or {})
        stack.push_async_exit(partial(run, user_lifespan.__aexit__))
    for generator_function in app.while_serving_gens:
        generator = generator_function()
        await run(partial(_advance, generator))
        stack.push_async_callback(run, partial(_finish, generator))
    for func in app.before_serving_funcs:
        await run(func)
    return state


def _loop_guard(app: Flask) -> LoopGuard | None:
    if not app.debug and not app.config["LOOP_GUARD"]:
        return None  # as in production, where it is not even imported
    from .loop_guard import LoopGuard

    return LoopGuard.of_config(app)


@contextmanager
def _origins_of_coroutines() -> Iterator[None]:
    """Make Python's warning about a coroutine that was never awaited name the line that created
    it and the one that called that, if they were on this thread: for `websocket.send(...)`, the
    first is asyncflask's. By default, it names the line where the coroutine was freed, such as
    one of asyncflask's after the view's end."""
    depth = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(max(depth, 2))
    try:
        yield
    finally:
        sys.set_coroutine_origin_tracking_depth(depth)


# -- what connections show --------------------------------------------------------------------


class _StopOfServer:
    """Looks for the event that tells a server to stop, and then calls *stop*."""

    def __init__(self, stop: Callable[[], None], stack: AsyncExitStack) -> None:
        self._stop, self._stack = stop, stack

    def __call__(self, app: Flask, scope: Scope, send: Send) -> None:
        wait = stop_of(send)
        if wait is None:  # a middleware's `send`; the next one may reveal it
            return
        app._asks = None
        # Outside of any request's context.
        task = asyncio.get_running_loop().create_task(self._watch(wait), context=Context())
        self._stack.callback(task.cancel)

    async def _watch(self, wait: Callable[[], Awaitable[object]]) -> None:
        await wait()
        self._stop()


def look_for_lifespan(app: Flask, scope: Scope, send: Send) -> None:
    """Called for the first request, if it comes before a lifespan: warn about functions of the
    app that the server does not call. In tests, that is intended."""
    app._asks = None
    origin = scope.get(ORIGIN)
    if origin is None:
        server = server_of(send)
    else:
        server = wsgi_server(origin.environ.get("SERVER_SOFTWARE", ""))
    if server is None:
        return
    names = [name for name in _SERVING_FUNCTIONS if getattr(app, _SERVING_FUNCTIONS[name])]
    if names:
        tell_once(
            f"{server} does not run the ASGI lifespan, so the {', '.join(names)} functions of"
            f" the app {app.name!r} are not called. Serve it with uvicorn, gunicorn's ASGI"
            " worker, Hypercorn or Granian. If another app mounts this one, that app must run"
            " its lifespan."
        )


_SERVING_FUNCTIONS: Final = {**START_FUNCTIONS, "after_serving": "after_serving_funcs"}


# -- start and stop ---------------------------------------------------------------------------


async def _advance_async(generator: Any) -> None:
    await generator.__anext__()


def _advance(generator: Any) -> Any:
    """Run a `while_serving` function to its `yield`."""
    return _advance_async(generator) if hasattr(generator, "__anext__") else next(generator)


def _finish(generator: Any) -> Any:
    """Run it to its end."""
    if hasattr(generator, "__anext__"):
        return _finish_async(generator)
    if next(generator, _nothing) is not _nothing:
        raise RuntimeError("A 'while_serving' function must yield once, but yielded twice.")
    return None


async def _finish_async(generator: Any) -> None:
    async for _ in generator:
        raise RuntimeError("A 'while_serving' function must yield once, but yielded twice.")


def start_background_task(
    app: Flask,
    loop: asyncio.AbstractEventLoop,
    func: Callable[..., Any],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    """Call *func* on *loop*, in an app context and a task of its own. Log errors."""
    driver = Driver(loop, app.config["WORKER_THREADS"], None, Context())
    name = getattr(func, "__qualname__", repr(func))

    async def run() -> None:
        app_ctx = app.app_context()
        await app_ctx.push_by(driver.call)
        error: BaseException | None = None
        try:
            await driver.call(func, *args, **kwargs)
        except Exception as exc:
            error = exc
            app.logger.exception("The background task %s failed.", name)
        finally:
            await app_ctx.pop_by(error, driver.call)
            await driver.to_loop()

    async def drive_and_release() -> None:
        try:
            await driver.run(run())
        except Abandoned:
            app.logger.warning(
                "The background task %s still blocks after SHUTDOWN_TIMEOUT and was abandoned.",
                name,
            )
        finally:
            driver.release()

    task = loop.create_task(drive_and_release())
    app.background_tasks.add(task)
    task.add_done_callback(app.background_tasks.discard)


async def end_background_tasks(app: Flask, timeout: float) -> None:
    """Wait up to *timeout* seconds for this loop's tasks, then cancel the rest. Blocking sync
    code is abandoned."""
    loop = asyncio.get_running_loop()
    tasks = {task for task in app.background_tasks if task.get_loop() is loop}
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            app.logger.warning(
                "%d background tasks did not end within SHUTDOWN_TIMEOUT and were cancelled.",
                len(late),
            )
            _, blocked = await asyncio.wait(late, timeout=ABANDON_SECONDS)
            for task in blocked:
                abandon(task)
            if blocked:
                await asyncio.wait(blocked)
