"""When a request's body is received, and how much of it.

Sync code waits for the body when it reads it, on its thread. A coroutine function cannot wait,
so the body must have arrived before. Before hooks, only a small body is received, so that they
can reject a request by its headers; before an async view, all of it.

The body itself is in `asgi/body.py` and `request_body.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, Final

from werkzeug.exceptions import (
    ClientDisconnected,
    LengthRequired,
    RequestEntityTooLarge,
    RequestTimeout,
)

from .asgi.body import SMALL_BODY_BYTES, SPOOL_BYTES, Body, announced
from .asgi.stepping import as_coroutine, rest_of
from .asgi.threads import call_after
from .ctx import RequestContext

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"

_FOR_HOOKS: Final = (
    "An async function before the view of {!r} read a body that had not been received: before"
    " hooks, only a body with a Content-Length of at most {:,} bytes is. Make that function"
    " 'def', or read the body in the view."
)
_FOR_VIEW: Final = (
    "The async view of {!r} read a body that was not received, because it exceeds the limit"
    " that applied when the view was called: {} bytes. Write 'max_content_length=' on the"
    " route, or set 'request.max_content_length' in a 'before_request' function."
)


def expect_body(ctx: RequestContext) -> None:
    """Arrange for a small body to be received before the first user function, if there is one."""
    if body_to_come(ctx):
        plan = ctx.plan
        if plan is None or plan.starts or not plan.direct:
            ctx.prepare = receive_small
            driver = ctx.driver
            assert driver is not None
            driver.prepare = partial(receive_small, ctx)
            driver.before_thread = partial(receive_small, ctx, False)
        else:
            ctx.prepare = receive_body


def expect_all(ctx: RequestContext) -> None:
    """After the hooks: arrange for the whole body to be received before the first coroutine
    function, and its beginning before a thread is taken."""
    ctx.prepare = None
    driver = ctx.driver_or_none
    if driver is not None and ctx.request.asgi_content is None and body_to_come(ctx):
        driver.prepare = partial(receive_body, ctx)
        driver.before_thread = partial(receive_body, ctx, False)


def body_to_come(ctx: RequestContext) -> bool:
    """Return `True` if there is a body that has not been received."""
    request, lines = ctx.request, ctx.lines
    if lines is not None and not request.to_be_closed and b"content-length" in lines:
        return lines[b"content-length"] != b"0"
    return request.may_have_body and not request.asgi_body.complete


def receive_small(ctx: RequestContext, on_loop: bool = True) -> Awaitable[None] | None:
    """Receive the body if it is announced and small. Return the rest to await, if any.
    *on_loop*: for a coroutine function, which must not run if the client has left or stalls."""
    driver, request = ctx.driver, ctx.request
    assert driver is not None
    driver.prepare = driver.before_thread = None
    if getattr(request.url_rule, "stream", False):
        return None
    length, _ = announced(ctx.scope, ctx.lines)
    # In HTTP/2, a body without a length is normal, and may be empty.
    missing = not length and ctx.scope.get("http_version", "1.1") < "2"
    refusal = partial(_not_for_hooks, request.endpoint, missing)
    if missing or length > SMALL_BODY_BYTES:
        request.asgi_body.refusal = refusal
        return None
    body, rest = _begin(ctx, request.max_content_length)
    return None if body is None else _receive_rest_of_small(body, rest, on_loop, refusal)


async def _receive_rest_of_small(
    body: Body,
    rest: Awaitable[None] | None,
    on_loop: bool,
    refusal: Callable[[], Exception] | None = None,
) -> None:
    if rest is not None:
        await rest
    await body.receive_some(SMALL_BODY_BYTES)
    if not body.all_came:
        body.refusal = refusal
        if on_loop and isinstance(body.error, ClientDisconnected | RequestTimeout):
            raise body.error


def receive_body(ctx: RequestContext, on_loop: bool = True) -> Awaitable[None] | None:
    """Receive the body for an async view. Without *on_loop*, receive its beginning for a sync
    view, which reads the rest. Return the rest to await, unless the first message completed the
    body. A body that is too long is left alone; reading it raises `RequestEntityTooLarge`."""
    request = ctx.request
    if request.asgi_content is not None or getattr(request.url_rule, "stream", False):
        return None  # it has arrived, or the view receives it
    limit = request.max_content_length
    if not on_loop:
        body, rest = _begin(ctx, limit)
        return None if body is None else _receive_rest_of_small(body, rest, False)
    if len((ctx.lines or _NO_LINES).get(b"content-length", _UNKNOWN)) > _SHORT_DIGITS:
        most = _most_of(ctx, limit)
        length, _ = announced(ctx.scope, ctx.lines)
        if most is not None and length > max(most, SMALL_BODY_BYTES):
            request.asgi_body.refusal = partial(_not_for_view, request.endpoint, most)
            return None
    body, rest = _begin(ctx, limit)
    if body is None or (rest is None and body.complete and body.error is None):
        return None
    return _receive_rest(ctx, body, rest, _most_of(ctx, limit))


_NO_LINES: Final[dict[bytes, bytes]] = {}
_UNKNOWN: Final = b"unknown"
_SHORT_DIGITS: Final = len(str(SMALL_BODY_BYTES)) - 1
"""A length with this many digits is that of a small body."""


def _most_of(ctx: RequestContext, limit: int | None) -> int | None:
    """Return how much to receive for an async view. *limit*: the request's."""
    return ctx.app.config["ASYNC_MAX_CONTENT_LENGTH"] if limit is None else limit


def _begin(ctx: RequestContext, limit: int | None) -> tuple[Body | None, Awaitable[None] | None]:
    """Receive the first message. Return the body, unless it is complete, and what to await
    first, if receiving has to wait."""
    request = ctx.request
    rest: Awaitable[None] | None
    if not request.to_be_closed and request.server_context is not None:
        # As in `Body.begin`, which usually saves creating a `Body`.
        context = request.server_context.copy()
        coro = context.run(request.asgi_receive)  # type: ignore[arg-type]
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
                return None, None
            body = request.asgi_body
            body.take(message)
            rest = None
        else:
            body = request.asgi_body
            rest = body.received_from(rest_of(coro, context, yielded))
    else:
        body = request.asgi_body
        rest = None if body.complete or body.chunks else body.begin()
    return body, rest


def call_with_body(
    ctx: RequestContext, view: Callable[..., Awaitable[Any]], values: dict[str, Any]
) -> Awaitable[Any]:
    """Receive the body and call *view*, a coroutine function and the request's first function."""
    ctx.prepare = None
    rest = receive_body(ctx)
    return view(**values) if rest is None else call_after(rest, view, (), values)


async def _receive_rest(
    ctx: RequestContext, body: Body, rest: Awaitable[None] | None, most: int | None
) -> None:
    """Receive a large body to disk, and the files of a form, which is parsed as it arrives."""
    if rest is not None:
        await rest
    request, driver = ctx.request, ctx.driver
    assert driver is not None
    # The limit may have changed by now.
    await body.receive_some(SMALL_BODY_BYTES)
    body.limit(request.max_content_length)
    with suppress(RequestEntityTooLarge):
        await body.receive_ahead(SPOOL_BYTES if most is None else min(most, SPOOL_BYTES))
        if body.complete:
            return
        if body.arrived > SPOOL_BYTES:
            if request.mimetype == MULTIPART and (form := request.form_ahead()) is not None:
                await body.spool(driver, most, form.feed)
                if body.complete and body.error is None:
                    await driver.run_apart(form.end)
            elif request.mimetype != URLENCODED or request.may_be_form(body.arrived):
                await body.spool(driver, most)
                if body.complete and body.error is None:
                    await driver.run_apart(request.parse_form_ahead)
    if most is not None and body.arrived > most and body.error is None:
        body.exceeded(_not_for_view(request.endpoint, most))
    if not body.all_came:
        body.refusal = partial(_not_for_view, request.endpoint, most)


def _not_for_hooks(endpoint: str | None, length_is_missing: bool) -> Exception:
    error = LengthRequired() if length_is_missing else RequestEntityTooLarge()
    return _advised(error, _FOR_HOOKS.format(endpoint, SMALL_BODY_BYTES))


def _not_for_view(endpoint: str | None, most: int | None) -> Exception:
    return _advised(RequestEntityTooLarge(), _FOR_VIEW.format(endpoint, most))


def _advised(error: Exception, advice: str) -> Exception:
    error.advice = advice  # type: ignore[attr-defined]
    return error


def no_more_body(ctx: RequestContext) -> None:
    """Do not receive the rest of the body for coroutine functions after the view: it may be too
    large, or never arrive."""
    ctx.prepare = None
    driver, request = ctx.driver_or_none, ctx.request_or_none
    if driver is not None:
        driver.prepare = driver.before_thread = None
        if request is not None and request.to_be_closed and request.asgi_body is not None:
            request.asgi_body.refusal = None


def end_body(ctx: RequestContext) -> None:
    """Release the resources of the request's body."""
    if (
        ctx.request_or_none is not None
        and ctx.request.to_be_closed
        and ctx.request.asgi_body is not None
    ):
        ctx.request.asgi_body.end()
