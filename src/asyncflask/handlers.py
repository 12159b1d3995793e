"""How a view is called where that is more than a call: with its client watched, or as the handler
of a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from werkzeug.exceptions import ClientDisconnected

from .asgi.conversation import Conversation, Conversations
from .asgi.environ_socket import EnvironSocket
from .asgi.threads import Call, is_async
from .contexts import RequestContext


async def call_until_disconnect(ctx: RequestContext, view: Any, values: dict[str, Any]) -> Any:
    """Call *view*, and cancel it when the client leaves."""
    driver = ctx.driver
    assert driver is not None
    await driver.ready_for_async()
    # Not among the app's conversations: a request that is being answered outlives a shutdown.
    async with Conversation(Conversations(), ctx.request.asgi_body.gone):
        try:
            return await driver.call(view, **values)
        finally:
            await driver.to_loop()
    raise ClientDisconnected()


async def call_handler(
    ctx: RequestContext, call: Call, handler: Any, values: dict[str, Any]
) -> Any:
    """Call the handler of a WebSocket; an asynchronous one as a task, so that a message wakes
    the handler alone, not all that called it."""
    driver = ctx.driver
    if driver is None or not is_async(handler):
        return await call(handler, **values)
    await driver.ready_for_async()
    return await driver.task(handler(**values))


async def converse(ctx: RequestContext, call: Call, answering: Awaitable[Any]) -> Any:
    """The return value of a WebSocket's handler: a response that refuses the connection. One that
    used the socket of the environ has answered by that, whatever it returns."""
    sock: EnvironSocket = ctx.websocket.scope["asyncflask.handshake"]["werkzeug.socket"]
    try:
        rv = await answering
    finally:
        answered = await call(sock.end)
    if answered:
        return None
    ctx.websocket.check_returned(rv, ctx.request.endpoint)
    return rv
