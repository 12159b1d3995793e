"""When a request's body is received: before the first coroutine function, which cannot wait for
it when it reads. Sync code waits for the body where it reads it, on its thread.

What a body is, and how it is read, is in `asgi/http.py` and `wrappers.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Final

from .asgi.http import Body, announced
from .asgi.threads import as_coroutine, call_after, rest_of
from .ctx import RequestContext

FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


def expect_body(ctx: RequestContext) -> None:
    """Have the body received, if there is one, before the first coroutine function."""
    if body_to_come(ctx):
        ctx.prepare = receive_body
        plan = ctx.plan
        if plan is None or plan.starts or not plan.direct:
            ctx.driver  # noqa: B018


def body_to_come(ctx: RequestContext) -> bool:
    """Whether there is a body that has not been received."""
    request, lines = ctx.request, ctx.lines
    if lines is not None and not request.to_be_closed and b"content-length" in lines:
        return lines[b"content-length"] != b"0"
    return request.may_have_body and not request.asgi_body.complete


def receive_body(ctx: RequestContext) -> Awaitable[None] | None:
    """Receive the body. Returns what is left to be awaited, unless all of it has come with the
    first message. Raises `RequestEntityTooLarge` if it is longer than `max_content_length`."""
    request = ctx.request
    if getattr(request.url_rule, "stream", False):
        return None
    limit = request.max_content_length
    if (
        not request.to_be_closed
        and request.server_context is not None
        and (limit is None or announced(ctx.scope, ctx.lines)[0] <= limit)
    ):
        # As `Body.begin`; most often there need be no `Body` then.
        context = request.server_context.copy()
        coro = context.run(request.asgi_receive)
        if type(coro) is not CoroutineType:
            coro = as_coroutine(coro)
        try:
            yielded = context.run(coro.send, None)
        except StopIteration as stop:
            message = stop.value
            content = message.get("body")
            if (
                type(content) is bytes
                and not message.get("more_body")
                and content
                and (limit is None or len(content) <= limit)
            ):
                request.asgi_content = content
                return None
            body = request.asgi_body
            body.take(message)
            rest = None
        else:
            body = request.asgi_body
            rest = body.received_from(rest_of(coro, context, yielded))
        body.limit(limit)
    else:
        body = request.asgi_body
        body.limit(limit)
        rest = None if body.complete else body.begin()
    if rest is None and body.complete:
        if body.error is not None:
            raise body.error
        return None
    return _receive_rest(ctx, body, rest)


def call_with_body(
    ctx: RequestContext, view: Callable[..., Awaitable[Any]], values: dict[str, Any]
) -> Awaitable[Any]:
    """Call *view*, a coroutine function and the first of the request's functions, with the body
    received."""
    ctx.prepare = None
    rest = receive_body(ctx)
    return view(**values) if rest is None else call_after(rest, view, (), values)


async def _receive_rest(ctx: RequestContext, body: Body, rest: Awaitable[None] | None) -> None:
    """A large form is parsed as it arrives, on the request's thread: its files go to disk. So does
    the body itself, whatever it is, for who wants that."""
    if rest is not None:
        await rest
    await body.receive_ahead()
    if body.complete:
        return
    request, driver = ctx.request, ctx.driver
    assert driver is not None
    if request.mimetype in FORMS and not await driver.run_sync(request.parse_form_ahead):
        return  # too large a form, which the view may never ask for
    await body.spool(driver)
    if body.error is not None:
        raise body.error


def no_more_body(ctx: RequestContext) -> None:
    """What the view did not read is not received for the coroutine functions after it: it may be
    too large, or never come."""
    ctx.prepare = None
    if ctx.driver_or_none is not None:
        ctx.driver_or_none.prepare = None


def end_body(ctx: RequestContext) -> None:
    """Free what the request's body holds."""
    if (
        ctx.request_or_none is not None
        and ctx.request.to_be_closed
        and ctx.request.asgi_body is not None
    ):
        ctx.request.asgi_body.end()
