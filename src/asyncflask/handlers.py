"""Calling a view where it takes more than a call: with its client or a timeout watched, or as a
WebSocket's handler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, Final

from werkzeug.exceptions import ClientDisconnected, ServiceUnavailable

from .asgi.conversation import Conversation, Conversations
from .asgi.environ_socket import EnvironSocket
from .asgi.head import start_message
from .asgi.native import NoThread
from .asgi.threads import Call, is_async
from .contexts import RequestContext
from .debughelpers import where_view
from .matcher import Values
from .plan import Plan
from .teardown import is_bound_to_thread

TOO_LONG: Final = "The server took too long to answer. Try again later."


class Answered(BaseException):
    """The client already has its answer; only the end of the request is left. Not an
    `Exception`, so that error handlers do not see it."""


def call_supervised(
    ctx: RequestContext, plan: Plan, view: Callable[..., Any], values: Values
) -> Awaitable[Any]:
    """Call a view that its client's disconnect or a timeout may end."""
    if plan.timeout is None:
        return call_until_disconnect(ctx, view, values)
    if is_async(view):
        return call_in_time(ctx, plan, view, values)
    return answer_in_time(ctx, plan.timeout, view, values)


async def call_until_disconnect(
    ctx: RequestContext, view: Callable[..., Any], values: Values
) -> Any:
    """Call *view*, and cancel it when the client disconnects."""
    driver = ctx.driver
    assert driver is not None
    await driver.ready_for_async()
    # Not added to the app's conversations: shutdown does not end a request in progress.
    async with Conversation(Conversations(), ctx.request.asgi_body.gone):
        try:
            return await driver.call(view, **values)
        finally:
            await driver.to_loop()
    raise ClientDisconnected()


async def call_in_time(
    ctx: RequestContext, plan: Plan, view: Callable[..., Any], values: Values
) -> Any:
    """Call the coroutine function *view*, and cancel it after the timeout. Raises
    `ServiceUnavailable` (503) then."""
    driver = ctx.driver
    assert driver is not None
    await driver.ready_for_async()
    call = call_until_disconnect if plan.cancel else _call
    try:
        async with asyncio.timeout(plan.timeout) as limit:
            return await call(ctx, view, values)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ServiceUnavailable(TOO_LONG) from error


async def _call(ctx: RequestContext, view: Callable[..., Any], values: Values) -> Any:
    driver = ctx.driver
    assert driver is not None
    try:
        return await driver.call(view, **values)
    finally:
        await driver.to_loop()


async def answer_in_time(
    ctx: RequestContext, timeout: float, view: Callable[..., Any], values: Values
) -> Any:
    """Call the sync function *view*. After the timeout, send a 503; the view runs to its end,
    since a thread cannot be interrupted, and then `Answered` is raised."""
    driver = ctx.driver
    assert driver is not None
    await driver.to_loop()
    answers: list[asyncio.Task[None]] = []
    late = ServiceUnavailable(TOO_LONG).get_response()

    async def send_late() -> None:
        send = driver.outside(ctx.send)
        with suppress(OSError):  # the client has left
            await send(start_message(late.status_code, late.headers, late.status))
            content = b"" if ctx.scope["method"] == "HEAD" else late.get_data()
            await send({"type": "http.response.body", "body": content})

    def answer() -> None:
        answers.append(asyncio.ensure_future(send_late()))

    timer = asyncio.get_running_loop().call_later(timeout, answer, context=Context())
    error: Exception | None = None
    value = None
    try:
        value = await driver.call(view, **values)
    except Exception as exc:
        error = exc
    finally:
        await driver.to_loop()
        timer.cancel()
    if not answers:
        if error is not None:
            raise error
        return value
    await asyncio.wait(answers)
    if error is not None:
        ctx.app.logger.error("A view raised an exception after its timeout.", exc_info=error)
    raise Answered


async def call_handler(
    ctx: RequestContext, call: Call, handler: Callable[..., Any], values: Values
) -> Any:
    """Call a WebSocket's handler. An async one runs as a task, so that a message wakes only the
    handler, not its callers."""
    driver = ctx.driver
    if driver is None:
        return await call(handler, **values)
    if is_async(handler):
        await driver.ready_for_async()
        if not is_bound_to_thread(ctx):
            driver.spare_thread()
        if driver.worker is None:
            return await driver.task(handler(**values))
    with _holding_thread(ctx):
        if is_async(handler):
            return await driver.task(handler(**values))
        return await call(handler, **values)


@contextmanager
def _holding_thread(ctx: RequestContext) -> Iterator[None]:
    """Count a WebSocket as holding a thread while it lasts. Raises `NoThread` at the limit,
    which keeps threads free for requests."""
    conversations, config = ctx.app._conversations, ctx.app.config
    most = min(config["WEBSOCKET_THREADS"], max(1, config["MAX_THREADS"] // 2))
    if conversations.threads >= most:
        raise NoThread(
            f"All {most} threads for WebSockets are in use (WEBSOCKET_THREADS, at most half of"
            " MAX_THREADS). 'async def' handlers hold none, unless the app has 'def' teardown"
            " functions."
        )
    conversations.threads += 1
    try:
        yield
    finally:
        conversations.threads -= 1


async def converse(ctx: RequestContext, call: Call, answering: Awaitable[Any]) -> Any:
    """Return the handler's return value, a response that rejects the connection. `None` if the
    handler answered through the environ's socket, whatever it returned."""
    sock: EnvironSocket = ctx.websocket.scope["asyncflask.handshake"]["werkzeug.socket"]
    try:
        rv = await answering
    finally:
        answered = await call(sock.end)
    if answered:
        return None
    try:
        ctx.websocket.check_returned(rv, ctx.request.endpoint)
    except (RuntimeError, TypeError) as error:
        if place := where_view(ctx):
            error.add_note(place.strip())
        raise
    return rv
