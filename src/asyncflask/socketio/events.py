"""One event: calling its handler, sync or async, with the client's contexts and session. Each
event has its own request context, made from the request that the client connected with, and its
own app context. Both are torn down after the handler."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Scope

from ..asgi.environ import Environ
from ..asgi.threads import Driver, is_async
from ..asgi.waiting import call_here
from ..ctx import RequestContext
from ..dispatch import finish
from ..sessions import SessionMixin
from ..signals import emit as send_signal
from ..signals import got_request_exception
from ..wrappers import Request
from .limits import SocketIOLimit
from .server import ConnectionRefusedError, Server, calling_test

if TYPE_CHECKING:
    from ..app import Flask

Handler = Callable[..., Any]


class ManagedSession(dict[str, Any], SessionMixin):
    """The session for a client's events: a copy of the user's, made when the client connected."""


def make_request(app: Flask, scope: Scope) -> Request:
    """Return the request of a handshake as an HTTP request, even if it came as a WebSocket."""
    if scope["type"] == "websocket":
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        scope = {**scope, "type": "http", "method": "GET", "scheme": scheme}
    request = app.request_class.from_scope(scope, _no_body)
    request.json_module = app.json
    return request


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def make_driver(app: Flask) -> Driver:
    """Create the driver that runs an event; in a test, on the thread that waits for it."""
    loop = asyncio.get_running_loop()
    worker = calling_test.get()
    return Driver(loop, app.config["WORKER_THREADS"], worker)


class Event:
    """An event from or about a client, to be handled by *handler*.

    :param message: the name that the handler is registered for; `None` for the callback of an
        acknowledgement.
    :param error_handlers: called in this order with the handler's exception.
    """

    def __init__(
        self,
        server: Server,
        handler: Handler,
        message: str | None,
        namespace: str,
        sid: str,
        args: tuple[object, ...],
        *,
        manage_session: bool = True,
        error_handlers: list[Handler] | None = None,
    ) -> None:
        self.server = server
        self.app = server.app
        self.handler = handler
        self.message = message
        self.namespace = namespace
        self.sid = sid
        self.args = args
        self.manage_session = manage_session
        self.error_handlers = error_handlers or []

    async def run(self) -> object:
        """Return the handler's value. An error is logged, and rejects a client that is
        connecting."""
        if self.message == "connect" and len(self.args) < 2:
            # python-socketio tries again without *auth*, since it takes any TypeError for a
            # complaint about that, and then raises the first one.
            raise TypeError("The handler has been called.")
        if is_async(self.handler) or calling_test.get() is not None:
            return await self._run()
        async with self.server.threads():
            return await self._run()

    async def _run(self) -> object:
        environ = self.server.get_environ(self.sid, namespace=self.namespace)
        if not environ or not self.server.is_wanted(self.sid, self.namespace, self.message):
            return self.server.not_handled  # the client has left meanwhile
        ctx = self._make_context(environ)
        driver = ctx.driver = make_driver(self.app)
        try:
            return await driver.run(self._in_context(ctx, driver, environ))
        except Exception as error:
            if self._refuses(error) or calling_test.get() is not None:
                raise
            if isinstance(error, SocketIOLimit):
                self.app.logger.warning("A Socket.IO client could not join a room: %s", error)
                return self.server.not_handled
            self.app.logger.error(
                "Exception on Socket.IO event %r [%s]",
                self.message or "acknowledgement",
                self.namespace,
                exc_info=error,
            )
            if self.message == "connect":
                raise ConnectionRefusedError("Internal Server Error") from None
            return self.server.not_handled
        finally:
            driver.release()
            for begin in ctx.background:
                begin()

    def _make_context(self, environ: Environ) -> RequestContext:
        request: Any = make_request(self.app, environ["asgi.scope"])
        request.sid = self.sid
        request.namespace = self.namespace
        request.event = {"message": self.message, "args": self.args}
        session = environ.get("saved_session") if self.manage_session else None
        ctx: RequestContext = self.app._request_context_class(self.app, None, request, session)
        return ctx

    async def _in_context(self, ctx: RequestContext, driver: Driver, environ: Environ) -> object:
        failure: Exception | None = None
        try:
            await ctx.push_by(driver.call, self.app.app_context())
            if self.manage_session and "saved_session" not in environ:
                if ctx.opened_session is None:
                    await ctx.open_session(call_here)  # a cookie session, which needs no waiting
                managed = ManagedSession(ctx.opened_session or {})
                ctx._session = environ.setdefault("saved_session", managed)
            try:
                value = await driver.call(self.handler, *self._arguments())
            except Exception as error:
                value = await self._handle_error(driver, error)
            if not self.manage_session:
                await self._save_session(ctx, driver)
            return value
        except Exception as error:
            failure = error
            if not self._refuses(error) and got_request_exception.receivers:
                await send_signal(got_request_exception, self.app, driver.call, exception=error)
            raise
        finally:
            await finish(self.app, ctx, failure)
            await driver.to_loop()

    def _arguments(self) -> tuple[object, ...]:
        """Return the handler's arguments. A handler may omit *auth* and *reason*."""
        if self.message == "connect":
            return self.args[1:] if _takes(self.handler, 1) else ()
        if self.message == "disconnect" and not _takes(self.handler, len(self.args)):
            return self.args[:-1]
        return self.args

    def _refuses(self, error: Exception) -> bool:
        return self.message == "connect" and isinstance(error, ConnectionRefusedError)

    async def _handle_error(self, driver: Driver, error: Exception) -> object:
        if self._refuses(error):
            raise error
        for handler in self.error_handlers:
            try:
                return await driver.call(handler, error)
            except Exception as another:
                error = another
        raise error

    async def _save_session(self, ctx: RequestContext, driver: Driver) -> None:
        """Save a session that is stored on the server. A cookie cannot be sent here."""
        interface, session = self.app.session_interface, ctx.opened_session
        if session is None or self.app._opens_session_lazily():
            return
        if not interface.is_null_session(session) and getattr(session, "modified", True):
            response = self.app.response_class()
            await driver.call(interface.save_session, self.app, session, response)


def _takes(func: Handler, count: int) -> bool:
    """Return `True` if *func* can be called with *count* arguments."""
    try:
        inspect.signature(func).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


async def run_in_app_context(app: Flask, func: Handler, *args: object) -> object:
    """Call *func*, sync or async, in an app context without a client."""
    driver = make_driver(app)

    async def run() -> object:
        app_ctx = app.app_context()
        await app_ctx.push_by(driver.call)
        error: Exception | None = None
        try:
            return await driver.call(func, *args)
        except Exception as exc:
            error = exc
            raise
        finally:
            await app_ctx.pop_by(error, driver.call)
            await driver.to_loop()

    try:
        return await driver.run(run())
    finally:
        driver.release()
