"""The ASGI app mounted at Socket.IO's path, for long polling and WebSockets; starts and stops
with the app."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from ..asgi.body import announced
from ..asgi.conversation import Conversation
from ..asgi.environ import Environ
from ..asgi.scope import malformed
from ..asgi.servers import abort
from ..asgi.websocket_rules import origin_allowed
from .events import make_request
from .limits import UPGRADE_SECONDS, is_payload
from .server import Server, SessionClosed, client_send

if TYPE_CHECKING:
    from ..app import Flask

PROTOCOL_ERROR: Final = 1002
"""Close code (RFC 6455 section 7.4.1)."""

RETRY_SECONDS: Final = "10"
"""`Retry-After` of the 503 if there are too many clients."""

_PACKET: Final = re.compile(r"4[0-6]|[12356](?:probe)?\Z")
"""The start of a text packet: Engine.IO's type, followed by Socket.IO's for messages (Engine.IO
protocol 4, Socket.IO protocol 5)."""


class Transport:
    """An ASGI app that serves Engine.IO under *path*, for *app*."""

    def __init__(self, app: Flask, server: Server, path: str) -> None:
        self.app = app
        self.server = server
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Router(lifespan=self._serving).lifespan(scope, receive, send)
            return
        # Handlers build URLs of the app, not relative to the mount.
        root = scope.get("root_path", "").removesuffix(self.path)
        scope = {**scope, "root_path": root, "app_root_path": root}
        query = parse_qs(scope["query_string"].decode("latin-1"))
        sid = query.get("sid", [""])[0]
        if (refusal := self._refusal(scope, sid)) is not None:
            await refusal(scope, receive, send)
            return
        await _Exchange(self, scope, receive, send, sid).run()

    def _refusal(self, scope: Scope, sid: str) -> ASGIApp | None:
        """Return the response to a request that Engine.IO must not see, because the app would
        reject it at any URL or there are too many clients; otherwise `None`."""
        problem = malformed(scope)
        if problem is None:
            try:
                self.app.create_url_adapter(make_request(self.app, scope))
            except BadRequest as error:
                problem = error.description
        if problem is not None:
            return refusal(problem, 400)
        # Other requests do not create a client.
        if not sid and scope.get("method", "GET") == "GET" and self.server.is_full():
            return refusal("There are too many clients.", 503, {"Retry-After": RETRY_SECONDS})
        return None

    @asynccontextmanager
    async def _serving(self, _: object) -> AsyncIterator[dict[str, Any]]:
        self.server.loop = asyncio.get_running_loop()
        closing = asyncio.create_task(self._close_when_told())
        try:
            yield {}
        finally:
            closing.cancel()
            await asyncio.wait([closing])
            await self.server.stop(self.app.config["SHUTDOWN_TIMEOUT"])

    async def _close_when_told(self) -> None:
        """Disconnect the clients as soon as the server begins to stop, while everything that
        handlers need is still set up."""
        told = asyncio.Event()
        async with Conversation(self.app._conversations, _for_ever, told.set):
            await told.wait()
            await self.server.close_clients()


class _Exchange:
    """One request or WebSocket of the client with the session *sid*, passed to Engine.IO."""

    def __init__(
        self, transport: Transport, scope: Scope, receive: Receive, send: Send, sid: str
    ) -> None:
        self.app = transport.app
        self.server = transport.server
        self.scope = scope
        self.receive = receive
        self.send = send
        self.sid = sid
        self.is_request: bool = scope["type"] == "http"
        self.inbox: list[Message] = []
        """Messages received for Engine.IO."""

    async def run(self) -> None:
        # The body of a request without a client is not read.
        first: Message = {"type": "http.request", "body": b"", "more_body": False}
        if not self.is_request or self.sid in self.server.eio.sockets:
            first = await self.receive()
        if first["type"] == "http.disconnect":
            return
        if self.is_request and self._overlaps():
            await self.server.close_client(self.sid)
            await self._answer("The previous request is still in progress.", 400)
            return
        self.inbox.append(first)
        serving = asyncio.create_task(self._serve())
        async with Conversation(self.app._conversations, self._left):
            try:
                # If it does not let itself be cancelled, it is left behind: a client that no
                # longer reads must not delay the end.
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                serving.cancel()
                # It may be about to send to a server that accepts no more.
                serving.add_done_callback(_forget_error)
                raise

    async def _serve(self) -> None:
        client_send.set(self.send)
        try:
            if self.is_request:
                self.inbox[0] = await self._received(self.inbox[0])
            await self.server.handle_request(
                self.scope, self._receive_for_server, self._send_for_server
            )
        except RequestEntityTooLarge:
            await self._answer("The message is too large.", 413)
        except BadRequest as error:
            await self._answer(error.description or "", 400)
        except ClientDisconnect:
            pass
        except SessionClosed:
            if self.is_request:
                await self._answer("The session is closed.", 400)
        finally:
            self._is_over()

    async def _answer(self, text: str, status: int) -> None:
        await PlainTextResponse(text, status)(self.scope, self.receive, self.send)

    async def _left(self) -> None:
        """Return when a client leaves that waits for messages in a request without a body."""
        if not self.is_request or self.scope["method"] != "GET":
            await _for_ever()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    # Called by Engine.IO.

    async def _receive_for_server(self) -> Message:
        message = self.inbox.pop() if self.inbox else await self._next()
        text = message.get("text")
        if text is not None and _PACKET.match(text) is None:
            # Engine.IO would raise an exception and forget the client.
            self._warn_of_invalid_packet()
            return {"type": "websocket.disconnect", "code": PROTOCOL_ERROR}
        return message

    async def _send_for_server(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self._is_over()  # the client may send the next one immediately
        try:
            async with asyncio.timeout(self.app.config["WEBSOCKET_SEND_TIMEOUT"]):
                await self.send(message)
        except TimeoutError:
            self.server.warn_of_slow_client()
            abort(self.send)
            raise OSError("This client did not read within WEBSOCKET_SEND_TIMEOUT.") from None

    async def _next(self) -> Message:
        """Return the client's next message; for a WebSocket after long polling, its upgrade."""
        connection = None if self.is_request else self.server.eio.sockets.get(self.sid)
        if connection is None or connection.upgraded:
            return await self.receive()
        try:
            async with asyncio.timeout(UPGRADE_SECONDS):
                return await self.receive()
        except TimeoutError:
            connection.upgrading = False
            return {"type": "websocket.disconnect", "code": PROTOCOL_ERROR}

    async def _received(self, first: Message) -> Message:
        """Return the body of a request in one message. Raises `RequestEntityTooLarge` and
        `BadRequest`."""
        room = self.server.eio.max_http_buffer_size
        if announced(self.scope)[0] > room:
            raise RequestEntityTooLarge
        body, message = first.get("body", b""), first
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > room:
                raise RequestEntityTooLarge
        if self.scope["method"] == "POST" and not is_payload(body):
            self._warn_of_invalid_packet()
            await self.server.close_client(self.sid)
            raise BadRequest("The body contains no Engine.IO packets.")
        return {"type": "http.request", "body": body, "more_body": False}

    def _warn_of_invalid_packet(self) -> None:
        self.app.logger.warning("A Socket.IO client sent an invalid packet and was disconnected.")

    def _overlaps(self) -> bool:
        """Return `True` if the client makes a second request with this method before the first
        is answered. The protocol forbids that, and each would wait and hold a body."""
        client, method = self.server.clients.get(self.sid), self.scope["method"]
        if client is None or method not in ("GET", "POST"):
            return False
        if method in client.requests:
            self.app.logger.warning(
                "A Socket.IO client made two requests at once and was disconnected."
            )
            return True
        client.requests.add(method)
        return False

    def _is_over(self) -> None:
        if self.is_request and (client := self.server.clients.get(self.sid)) is not None:
            client.requests.discard(self.scope["method"])


def same_origin(app: Flask) -> Callable[[str, Environ], bool]:
    """Return Engine.IO's `cors_allowed_origins`, with the rule for the app's WebSockets: its
    own pages and those in `WEBSOCKET_ALLOWED_ORIGINS`."""

    def allowed(origin: str, environ: Environ) -> bool:
        return origin_allowed(environ["asgi.scope"], app.config["WEBSOCKET_ALLOWED_ORIGINS"])

    return allowed


def refusal(text: str, status: int, headers: Mapping[str, str] | None = None) -> ASGIApp:
    """Return an app that answers with *text*. It closes a WebSocket if the server has no other
    way."""
    response = PlainTextResponse(text, status, headers)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # the server sends `websocket.connect` first
        if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            await send({"type": "websocket.close", "reason": text})

    return answer


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _forget_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
