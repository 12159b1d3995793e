"""A WebSocket's steps, from handshake to end.

`dispatch.py` has the steps it shares with requests: matching, hooks, teardown. This file has
what requests lack: the origin check, accepting or rejecting the handshake, and a session that
can change after the response.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Send
from werkzeug.exceptions import Forbidden, HTTPException

from .arrival import app_context_for, arrive
from .asgi.conversation import Conversation
from .asgi.environ_socket import EnvironSocket, handshake_environ
from .asgi.threads import Call, Driver
from .asgi.websocket import WebSocket
from .asgi.websocket_rules import (
    INTERNAL_ERROR,
    NORMAL,
    POLICY_VIOLATION,
    SERVICE_RESTART,
    WebSocketOptions,
    origin_allowed,
)
from .ctx import RequestContext
from .dispatch import answer, finalize, finish, has_session, respond_to_error, save_session
from .respond import close, content_of, response_start

if TYPE_CHECKING:
    from .app import Flask


async def serve_websocket(app: Flask, ctx: RequestContext, send: Send) -> None:
    """Handle one WebSocket."""
    driver = ctx.driver
    assert driver is not None
    websocket = _open(app, ctx, driver, send)
    conversations = app._conversations
    response: object = None
    start: Message | None = None
    error: BaseException | None = None

    def told() -> None:
        conversations.lingering.add(websocket)
        websocket.start_closing(SERVICE_RESTART)

    conversation = Conversation(conversations, websocket.gone, told, watched=False)
    websocket.watch = conversation.watch
    try:
        async with conversation:
            try:
                response = await _answer(app, ctx, driver.call)
                error = ctx.error
                if response is not None:
                    start = response_start(response, ctx)
            except Exception as exc:
                error = exc
                response, start = await respond_to_error(app, ctx, driver.call, exc)
            finally:
                await driver.to_loop()
    except BaseException as exc:
        error = exc
        raise
    finally:
        conversations.lingering.add(websocket)
        try:
            await driver.to_loop()
            if conversation.ended == "shutdown":
                websocket.abort()
            if start is not None and not websocket.accepted and not websocket.closed:
                await deny(websocket, ctx, driver, response, start)
            elif websocket.accepted or not isinstance(error, Exception):
                await websocket.close_on_loop(*close_of(error))
            await save_late_session(app, ctx)
        finally:
            websocket.linger(partial(conversations.lingering.discard, websocket))
            if ctx._cv_tokens:
                await finish(app, ctx, error)
            await driver.to_loop()
            error = ctx.error = None  # its traceback refers to this frame: a cycle


def close_of(error: BaseException | None) -> tuple[int, str | None]:
    """Return the close code and reason after a handler that raised *error*, or `None`."""
    if error is None:
        return NORMAL, None
    if isinstance(error, HTTPException) and error.code is not None and 400 <= error.code < 500:
        return POLICY_VIOLATION, error.description  # the client's fault, so it may know
    return INTERNAL_ERROR, None


def _open(app: Flask, ctx: RequestContext, driver: Driver, send: Send) -> WebSocket:
    """Create the connection of *ctx*, not yet accepted."""
    scope = ctx.scope
    sock = EnvironSocket(driver.loop)
    scope["asyncflask.handshake"] = handshake_environ(scope, sock)
    websocket = WebSocket(scope, ctx.receive, send, driver, partial(accept_headers, app, ctx))
    sock.websocket = websocket
    websocket.json_module = app.json
    ctx.websocket = websocket
    return websocket


async def _answer(app: Flask, ctx: RequestContext, call: Call) -> Any:
    ctx.set_current(app_context_for(app, ctx))
    plan = await arrive(ctx, call)
    ctx.websocket.configure(websocket_options(app, ctx))
    if not may_open(app, ctx):
        return Forbidden("This page may not open a WebSocket here.").get_response()
    if plan.full_dispatch is not None:
        return await call(plan.full_dispatch)
    rv = await answer(app, ctx, call, plan)
    websocket = ctx.websocket
    if rv is None or websocket.accepted or websocket.closed:
        return None
    finalizing = finalize(app, ctx, call, ctx.current_plan(), rv)
    del rv  # as in `full_dispatch_request`
    return await finalizing


def may_open(app: Flask, ctx: RequestContext) -> bool:
    """Return `True` if the page's origin may open the WebSocket. Not a step, so nothing can
    skip it."""
    allowed = getattr(ctx.request.url_rule, "allowed_origins", None)
    if allowed is None:
        allowed = app.config["WEBSOCKET_ALLOWED_ORIGINS"]
    if origin_allowed(ctx.scope, allowed):
        return True
    app.logger.debug(
        "A WebSocket from the origin %r was rejected: it is not the app's own, and not in"
        " WEBSOCKET_ALLOWED_ORIGINS or the route's 'allowed_origins'.",
        ctx.request.headers.get("Origin"),
    )
    return False


def websocket_options(app: Flask, ctx: RequestContext) -> WebSocketOptions:
    """Return the route's options, with the config's values for those it does not set."""
    given = getattr(ctx.request.url_rule, "websocket_options", {})
    values = {
        name: given[name] if name in given else app.config[f"WEBSOCKET_{name.upper()}"]
        for name in WebSocketOptions.__slots__
    }
    return WebSocketOptions(**values)


async def deny(
    websocket: WebSocket, ctx: RequestContext, driver: Driver, response: object, start: Message
) -> None:
    """Reject a handshake with *response*, sent in one piece."""
    try:
        content = content_of(response, ctx)
        if isinstance(content, AsyncIterable):
            content = b"".join([chunk async for chunk in content])
        elif not isinstance(content, bytes):
            content = await driver.call(b"".join, content)
        await driver.to_loop()
        await websocket.deny(start, content)
    finally:
        await close(response, driver)


# -- the session ------------------------------------------------------------------------------


async def accept_headers(app: Flask, ctx: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the headers for accepting the handshake: the session's cookie."""
    response = app.response_class()
    driver = ctx.driver
    assert driver is not None
    if has_session(app, ctx):
        await save_session(app, ctx, _call_on_thread(driver), response)
    if ctx.opened_session is not None:
        ctx.opened_session.modified = False
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.headers
        if name == "Set-Cookie"
    ]


async def save_late_session(app: Flask, ctx: RequestContext) -> None:
    """Save what a WebSocket's handler changed in the session after accepting."""
    session = ctx.opened_session
    if session is None or app.session_interface.is_null_session(session):
        return
    if not session.modified or not ctx.websocket.accepted:
        return
    if app._opens_session_lazily():
        app.logger.warning(
            "The session was changed after the WebSocket was accepted, and is not saved: a"
            " cookie can be sent only with the handshake. Change the session before"
            " 'websocket.accept()'."
        )
        return
    assert ctx.driver is not None
    response = app.response_class()
    await _call_on_thread(ctx.driver)(app.session_interface.save_session, app, session, response)


def _call_on_thread(driver: Driver) -> Call:
    """`Driver.call` for code outside the request's own coroutine."""

    async def call(func: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        value = await driver.run_sync(func, *args, **kwargs)
        return await value if hasattr(value, "__await__") else value

    return call
