"""`SocketIO`: registers event handlers, sends events, and attaches the server to the app."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .. import json as flask_json
from ..asgi.loops import background_loop
from ..asgi.threads import is_async, on_loop
from ..ctx import _cv_request, current_request_ctx
from ..sansio.route_options import check_parentheses
from .events import Event, Handler, run_in_app_context
from .limits import DEFAULTS
from .namespace import Namespace
from .server import Server, socketio
from .test_client import SocketIOTestClient
from .transport import Transport, same_origin

if TYPE_CHECKING:
    from ..app import Flask
    from ..testing import FlaskClient

F = TypeVar("F", bound=Callable[..., Any])

_MANAGERS: Final = {
    ("redis", "rediss", "redis+sentinel", "valkey", "valkeys", "valkey+sentinel", "unix"): (
        socketio.AsyncRedisManager
    ),
    ("amqp", "amqps"): socketio.AsyncAioPikaManager,
}


class SocketIO:
    """Socket.IO for an app, with Flask-SocketIO's API. ::

        socketio = SocketIO(app)

        @socketio.on("message")
        async def echo(data):
            await send(data)

    Handlers may be sync or async. Methods that send block in sync code until the message is on its
    way; in async code they start at once, and you should await them.

    :param app: the app. You can pass it to `init_app` later.
    :param manage_session: `True` (default) to give handlers a copy of the user's session, made
        when the client connects and kept per connection; `False` for the session as the app stores
        it.
    :param message_queue: the URL of a Redis or AMQP server through which several processes send to
        each other's clients. Without an app, the object can only send.
    :param channel: the channel of that queue. Default: ``flask-socketio``.
    :param path: the path that clients connect to; also called *resource*. Default: ``socket.io``.
    :param json: the `asyncflask.json` module, for the app's JSON, or another JSON module.
    :param cors_allowed_origins: the origins that may connect: one, a list, ``"*"`` or a function.
        Default: the app's own and those in `WEBSOCKET_ALLOWED_ORIGINS`.
    :param kwargs: passed to `socketio.AsyncServer` and `engineio.AsyncServer`: *async_handlers*,
        *always_connect*, *namespaces*, *ping_interval*, *ping_timeout*, *max_http_buffer_size*,
        *transports*, *cookie*, *logger*, *client_manager* and others. *async_mode* has no effect.
    """

    reason = socketio.AsyncServer.reason

    def __init__(self, app: Flask | None = None, **kwargs: Any) -> None:
        self.server: Any = None
        """The `Server`, once there is an app or a message queue."""
        self.server_options: dict[str, Any] = {}
        self.handlers: list[tuple[str, Handler, str | None]] = []
        self.namespace_handlers: list[Namespace] = []
        self.exception_handlers: dict[str, Handler] = {}
        self.default_exception_handler: Handler | None = None
        self.manage_session = True
        if app is not None or "message_queue" in kwargs:
            self.init_app(app, **kwargs)
        else:
            self.server_options.update(kwargs)

    def init_app(self, app: Flask | None, **kwargs: Any) -> None:
        """Serve Socket.IO from *app*; *kwargs* are those of the class. `None` with a
        *message_queue* creates an object that only sends."""
        self.server_options.update(kwargs)
        options = self.server_options
        self.manage_session = options.pop("manage_session", self.manage_session)
        path = options.pop("path", None) or options.pop("resource", None) or "socket.io"
        path = f"/{path.strip('/')}"
        channel = options.pop("channel", "flask-socketio")
        url = options.get("message_queue")
        if url and "client_manager" not in kwargs:
            options["client_manager"] = _manager_of(url)(url, channel, write_only=app is None)

        of_server = {**options}
        for name in ("async_mode", "message_queue", "resource"):
            of_server.pop(name, None)
        if (json := of_server.pop("json", None)) is not None:
            # A subclass: python-socketio's own class is shared by all servers.
            packet: Any = of_server.get("serializer", socketio.packet.Packet)
            json = app.json if json is flask_json and app is not None else json
            of_server["serializer"] = type("Packet", (packet,), {"json": json})
        if app is not None and of_server.get("cors_allowed_origins") is None:
            of_server["cors_allowed_origins"] = same_origin(app)
        self.server = Server(app, **of_server)
        self.async_mode = self.server.async_mode
        for handler in self.handlers:
            self._register(*handler)
        for namespace_handler in self.namespace_handlers:
            self.server.register_namespace(namespace_handler)

        if app is not None:
            for key, value in DEFAULTS.items():
                app.config.setdefault(key, value)
            app.extensions["socketio"] = self
            for mount in app._mounts:
                if isinstance(mount.app, Transport) and mount.path == path:
                    mount.app.server = self.server
                    return
            app.mount(path, Transport(app, self.server, path), name="socketio", guarded=False)

    # -- handlers

    def on(self, message: str, namespace: str | None = None) -> Callable[[F], F]:
        """Register the decorated function as the handler of an event.

        :param message: ``connect``, ``disconnect``, ``message``, ``json``, a custom name, or
            ``"*"`` for every event without a handler.
        :param namespace: the namespace. Default: ``"/"``.
        """
        check_parentheses(message, "@socketio.on", '"message"')

        def decorator(handler: F) -> F:
            self.handlers.append((message, handler, namespace))
            if self.server is not None:
                self._register(message, handler, namespace)
            return handler

        return decorator

    def on_event(self, message: str, handler: Handler, namespace: str | None = None) -> None:
        """Register *handler* for an event, as the decorator `on` does."""
        self.on(message, namespace)(handler)

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Register the decorated function for the event of the same name, like `on`. May be
        written with or without parentheses."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])

        def decorator(handler: F) -> F:
            return self.on(handler.__name__, *args, **kwargs)(handler)

        return decorator

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class-based namespace. Raises `ValueError` for anything else."""
        if not isinstance(namespace_handler, Namespace):
            raise ValueError("Not a namespace instance.")
        namespace_handler._set_socketio(self)
        self.namespace_handlers.append(namespace_handler)
        if self.server is not None:
            self.server.register_namespace(namespace_handler)

    def on_error(self, namespace: str | None = None) -> Callable[[F], F]:
        """Register the decorated function to receive exceptions raised by handlers of *namespace*.
        Its return value is the acknowledgement. Raises `ValueError` if it is not a function."""

        def decorator(exception_handler: F) -> F:
            self.exception_handlers[namespace or "/"] = _checked(exception_handler)
            return exception_handler

        return decorator

    def on_error_default(self, exception_handler: F) -> F:
        """Register an error handler for all namespaces that have none."""
        self.default_exception_handler = _checked(exception_handler)
        return exception_handler

    def _register(self, message: str, handler: Handler, namespace: str | None) -> None:
        async def of_server(*args: Any) -> Any:
            # python-socketio puts the names that a "*" stands for before the client's
            # arguments.
            name = args[0] if message == "*" else None
            args = args[message == "*" :]
            space = args[0] if namespace == "*" else namespace or "/"
            sid, *rest = args[namespace == "*" :]
            if name is not None:
                rest.insert(0, name)
            return await self._handle_event(handler, message, space, sid, *rest)

        self.server.on(message, of_server, namespace=namespace)

    async def _handle_event(
        self,
        handler: Handler,
        message: str | None,
        namespace: str,
        sid: str,
        *args: object,
        errors: list[Handler] | None = None,
    ) -> Any:
        general = self.exception_handlers.get(namespace, self.default_exception_handler)
        return await Event(
            self.server,
            handler,
            message,
            namespace,
            sid,
            args,
            manage_session=self.manage_session,
            error_handlers=[*([general] if general is not None else ()), *(errors or ())],
        ).run()

    # -- sending

    def emit(self, event: str, *args: object, **kwargs: Any) -> Any:
        """Send *event* to clients. Works everywhere: in views, background tasks, commands and
        other processes.

        :param args: the data: `bytes`, and anything that JSON can represent.
        :param namespace: the namespace. Default: ``"/"``.
        :param to: a client's `sid`, a room, or a list of rooms; also called *room*. Default: every
            client in the namespace.
        :param include_self: `False` to skip the client whose event is being handled.
        :param skip_sid: a client to skip, or a list of them.
        :param callback: a sync or async function that receives the acknowledgement of a single
            client.
        :param ignore_queue: `True` to send only to clients of this process.
        """
        kwargs.pop("broadcast", None)  # the default
        kwargs = _addressed(kwargs)
        if not kwargs.pop("include_self", True) and not kwargs.get("skip_sid"):
            kwargs["skip_sid"] = _request_of_event().sid
        if (callback := kwargs.get("callback")) is not None:
            kwargs["callback"] = self._in_context(callback)
        return self._server().emit(event, _data(args), **kwargs)

    def send(
        self,
        data: object,
        json: bool = False,
        namespace: str | None = None,
        to: object = None,
        callback: Handler | None = None,
        include_self: bool = True,
        skip_sid: object = None,
        **kwargs: Any,
    ) -> Any:
        """Send the event ``message``, or ``json`` if *json* is true. The rest is as for `emit`."""
        return self.emit(
            "json" if json else "message",
            data,
            namespace=namespace,
            to=to,
            callback=callback,
            include_self=include_self,
            skip_sid=skip_sid,
            **kwargs,
        )

    def call(self, event: str, *args: object, **kwargs: Any) -> Any:
        """Send *event* to the client *to* and return its acknowledgement. Raises
        `socketio.exceptions.TimeoutError` after *timeout* seconds, 60 by default."""
        return self._server().call(event, _data(args), **_addressed(kwargs))

    def close_room(self, room: object, namespace: str | None = None) -> Any:
        """Remove all clients from *room*."""
        return self._server().close_room(room, namespace)

    def _server(self) -> Any:
        if self.server is None:
            raise RuntimeError(
                "This SocketIO has no app. Write 'socketio.init_app(app)'; or, in a process"
                " without one, 'SocketIO(message_queue=\"redis://...\")'."
            )
        return self.server

    def _in_context(self, callback: Handler) -> Handler:
        """Wrap *callback* for python-socketio to run in the context of the client whose event is
        being handled, or in an app context outside of an event."""
        ctx = _cv_request.get(None)
        sid = getattr(ctx.request, "sid", None) if ctx is not None else None
        if sid is not None and ctx is not None:
            namespace = getattr(ctx.request, "namespace", "/")
            return partial(self._handle_event, callback, None, namespace, sid)
        app = self._server().app
        return callback if app is None else partial(run_in_app_context, app, callback)

    # -- tasks and servers

    def start_background_task(self, target: Handler, *args: object, **kwargs: Any) -> Any:
        """Run *target* in the background, without a context. Returns the started thread; for a
        coroutine function a task or, in sync code, a `concurrent.futures.Future`."""
        if not is_async(target):
            thread = threading.Thread(
                target=target, args=args, kwargs=kwargs, name="socketio-task", daemon=True
            )
            thread.start()
            return thread
        engine = self._server().eio
        if on_loop():
            loop = asyncio.get_running_loop()
            return engine.keep(loop.create_task(target(*args, **kwargs), context=Context()))

        async def run() -> Any:
            engine.keep(asyncio.current_task())
            return await target(*args, **kwargs)

        loop = self.server.loop or background_loop()
        return Context().run(asyncio.run_coroutine_threadsafe, run(), loop)

    def sleep(self, seconds: float = 0) -> Any:
        """Sleep for *seconds*. In async code, await it."""
        if on_loop():
            return asyncio.sleep(seconds)
        time.sleep(seconds)
        return None

    def run(
        self, app: Flask, host: str | None = None, port: int | None = None, **kwargs: Any
    ) -> None:
        """Run the app with `Flask.run`. Accepts Flask-SocketIO's options *debug*, *use_reloader*,
        *reloader_options*, *extra_files*, *log_output*, *certfile* and *keyfile*; others are
        passed to `Flask.run`."""
        debug = kwargs.pop("debug", app.debug)
        kwargs.pop("allow_unsafe_werkzeug", None)
        kwargs.setdefault("access_log", kwargs.pop("log_output", debug))
        kwargs.setdefault("use_reloader", debug)
        kwargs.update(kwargs.pop("reloader_options", None) or {})
        if certfile := kwargs.pop("certfile", None):
            kwargs["ssl_context"] = (certfile, kwargs.pop("keyfile", None))
        app.run(host, port, debug=debug, **kwargs)

    def stop(self) -> None:
        """Stop the server that runs this process, as Ctrl-C does. Raises `RuntimeError` if none is
        running."""
        if self._server().loop is None:
            raise RuntimeError("No server is running.")
        os.kill(os.getpid(), signal.SIGINT)

    def test_client(
        self,
        app: Flask,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: object = None,
        auth: object = None,
        flask_test_client: FlaskClient | None = None,
    ) -> SocketIOTestClient:
        """Create a client for sync tests. *flask_test_client*: send this client's cookies."""
        return SocketIOTestClient(
            app,
            self,
            namespace=namespace,
            query_string=query_string,
            headers=headers,
            auth=auth,
            flask_test_client=flask_test_client,
        )


def _manager_of(url: str) -> Any:
    scheme = url.partition("://")[0]
    for schemes, manager in _MANAGERS.items():
        if scheme in schemes:
            return manager
    known = ", ".join(name for schemes in _MANAGERS for name in schemes)
    raise ValueError(
        f"Unsupported message queue {url!r}: its URL must begin with one of {known}. For"
        " another queue, pass 'client_manager='."
    )


def _checked(exception_handler: Handler) -> Handler:
    if not callable(exception_handler):
        raise ValueError("exception_handler must be callable")
    return exception_handler


def _addressed(options: dict[str, object]) -> dict[str, Any]:
    """Return *options* with *namespace* and *to*, which may also be called *room*."""
    room = options.pop("room", None)
    return {
        **options,
        "namespace": options.get("namespace") or "/",
        "to": options.get("to") or room,
    }


def _data(args: tuple[object, ...]) -> object:
    """Return *args* as python-socketio expects them: several as a tuple."""
    return args[0] if len(args) == 1 else args or None


def _request_of_event() -> Any:
    request = current_request_ctx().request
    if not hasattr(request, "sid"):
        raise RuntimeError(
            "No Socket.IO event is being handled, so there is no client to answer. In a view,"
            " write 'socketio.emit(...)', which sends to all clients, or to those named by"
            " 'to='."
        )
    return request
