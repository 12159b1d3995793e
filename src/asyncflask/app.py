"""`Flask`: the ways into and out of an app.

ASGI and WSGI calls, contexts, URLs, serving, test clients; and the public methods that run the
steps of `dispatch.py` for plain code. What an app is made of is in `sansio/app.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import Context, copy_context
from datetime import timedelta
from functools import partial
from operator import attrgetter, itemgetter
from types import MethodType
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import click
from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.datastructures import ImmutableDict
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing import BuildError, MapAdapter, RequestRedirect
from werkzeug.routing import Rule as Rule  # for others: Flask has it by this name too
from werkzeug.serving import is_running_from_reloader
from werkzeug.wsgi import get_host

from . import dispatch
from .alias import in_flasks_command
from .asgi import proxy, wsgi
from .asgi.conversation import Conversations
from .asgi.http import normalised
from .asgi.lifespan import lifespan, on_stop_signal, serve_lifespan
from .asgi.threads import (
    ENDED,
    Abandoned,
    Call,
    Driver,
    async_to_sync,
    background_loop,
    call_here,
    drive,
    is_async,
    note_loop,
    on_loop,
)
from .commands import AppGroup
from .ctx import (
    AppContext,
    RequestContext,
    _cv_app,
    _cv_request,
    _unbound,
    current_request_ctx,
)
from .debughelpers import FormDataRoutingRedirect
from .globals import g, request, session
from .helpers import get_debug_flag, get_flashed_messages, get_load_dotenv, send_from_directory
from .mounts import Mounts
from .routing import Map
from .sansio.app import App
from .sansio.scaffold import _sentinel
from .sessions import SecureCookieSessionInterface, SessionInterface
from .signals import OF_EACH_REQUEST
from .wrappers import Request, Response

if TYPE_CHECKING:
    from starlette.middleware import Middleware

    from .templating import Environment
    from .testing import FlaskClient, FlaskCliRunner

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


class Flask(App):
    """An application. It is an ASGI app (`uvicorn module:app`), and a WSGI app as well.

    Parameters are Flask's (see `sansio.app.App`), and *lifespan*: a function that is given the
    app and gives an asynchronous context manager, entered before the first request and left
    after the last (Starlette: Lifespan). The dict it gives is each request's `request.state`.
    """

    default_config = ImmutableDict(
        {
            "DEBUG": None,
            "TESTING": False,
            "PROPAGATE_EXCEPTIONS": None,
            "SECRET_KEY": None,
            "SECRET_KEY_FALLBACKS": None,
            "PERMANENT_SESSION_LIFETIME": timedelta(days=31),
            "USE_X_SENDFILE": False,
            "TRUSTED_HOSTS": None,
            "SERVER_NAME": None,
            "APPLICATION_ROOT": "/",
            "SESSION_COOKIE_NAME": "session",
            "SESSION_COOKIE_DOMAIN": None,
            "SESSION_COOKIE_PATH": None,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SECURE": False,
            "SESSION_COOKIE_PARTITIONED": False,
            "SESSION_COOKIE_SAMESITE": None,
            "SESSION_REFRESH_EACH_REQUEST": True,
            "MAX_CONTENT_LENGTH": None,
            "MAX_FORM_MEMORY_SIZE": 500_000,
            "MAX_FORM_PARTS": 1_000,
            "SEND_FILE_MAX_AGE_DEFAULT": None,
            "TRAP_BAD_REQUEST_ERRORS": None,
            "TRAP_HTTP_EXCEPTIONS": False,
            "EXPLAIN_TEMPLATE_LOADING": False,
            "PREFERRED_URL_SCHEME": "http",
            "TEMPLATES_AUTO_RELOAD": None,
            "MAX_COOKIE_SIZE": 4093,
            "PROVIDE_AUTOMATIC_OPTIONS": True,
            # Beyond Flask's.
            "CANCEL_ON_DISCONNECT": False,
            "EVENT_STREAM_KEEP_ALIVE": 15,
            "SHUTDOWN_TIMEOUT": 10,
            "WEBSOCKET_ALLOWED_ORIGINS": None,
            "WEBSOCKET_MAX_MESSAGE_SIZE": None,
            "WEBSOCKET_SEND_POLICY": "close",
            "WEBSOCKET_SEND_QUEUE": 1_000,
            "WEBSOCKET_SEND_QUEUE_BYTES": 1_048_576,
            "WEBSOCKET_SEND_TIMEOUT": 20,
            "WEBSOCKET_SUBPROTOCOLS": (),
            "WORKER_THREADS": 64,
        }
    )

    request_class: type[Request] = Request
    """What requests are made of."""

    response_class: type[Response] = Response
    """What responses are made of."""

    session_interface: SessionInterface = SecureCookieSessionInterface()
    """What opens and saves sessions."""

    _request_context_class = RequestContext

    _own_steps = dispatch.OWN

    def __init__(
        self,
        import_name: str,
        static_url_path: str | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_host: str | None = None,
        host_matching: bool = False,
        subdomain_matching: bool = False,
        template_folder: str | os.PathLike[str] | None = "templates",
        instance_path: str | None = None,
        instance_relative_config: bool = False,
        root_path: str | None = None,
        *,
        lifespan: Lifespan | None = None,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_url_path=static_url_path,
            static_folder=static_folder,
            static_host=static_host,
            host_matching=host_matching,
            subdomain_matching=subdomain_matching,
            template_folder=template_folder,
            instance_path=instance_path,
            instance_relative_config=instance_relative_config,
            root_path=root_path,
        )
        if in_flasks_command():
            click.secho(
                f"The app {self.name!r} is an asyncflask application, which the command of the"
                " real Flask cannot serve. Write 'asyncflask' in place of 'flask'.",
                fg="red",
                err=True,
            )
        self.cli = AppGroup(name=self.name)
        """The app's commands."""
        self.lifespan = lifespan
        self._quiet: tuple[Any, ...] | None = None
        """What `_judge` gave, since an attribute was last set."""
        self._wsgi_wrapped = False
        """Whether `wsgi_app` was set on the app itself, as half of all apps do."""
        self._replaced: frozenset[str] = frozenset()
        """The methods of `_OWN` that were set on the app itself, but for `wsgi_app`."""
        self.background_tasks: set[asyncio.Task[None]] = set()
        """The tasks of `add_background_task` that have not ended."""
        self._conversations = Conversations()
        self._mounts = Mounts()
        if self.has_static_folder:
            assert bool(static_host) == host_matching, (
                "Static files need a 'static_host' with 'host_matching', and only then."
            )
            this = weakref.ref(self)  # not the app itself: the rule would make a cycle of it
            self.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                endpoint="static",
                host=static_host,
                view_func=lambda **kwargs: this().send_static_file(**kwargs),  # type: ignore[union-attr]
            )

    # -- ASGI and WSGI ------------------------------------------------------------------------

    def __call__(self, *args: Any) -> Any:
        """ASGI with *scope*, *receive* and *send*; WSGI with *environ* and *start_response*.
        Goes to `asgi_app` and `wsgi_app`, which middleware may replace."""
        if len(args) == 3:
            return self.asgi_app(*args)
        if len(args) == 2:
            return self.wsgi_app(*args)
        raise TypeError(
            "An app is called by servers: with (scope, receive, send) for ASGI, with (environ,"
            f" start_response) for WSGI; not with {len(args)} arguments."
        )

    async def asgi_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application (ASGI specification 3.0). To wrap it:
        ``app.asgi_app = Middleware(app.asgi_app)``, or `add_middleware`."""
        if scope["type"] == "http" or scope["type"] == "websocket":
            scope = normalised(scope)
        if (quiet := self._quiet) is None:
            quiet = self._judge()
        if (
            not quiet
            or scope["type"] != "http"
            or (_steps_in(_flasks_own) if type(self) is Flask else _steps_of(type(self)))
            != _OWN_STEPS
            or "asyncflask.environ" in scope
        ):
            await self._serve(scope, receive, send)
            return
        # As `_respond` for a request of an app of which no step is replaced.
        ctx = self._request_context_class(self, None)
        headers = scope["headers"]
        lines = dict(headers)
        ctx._lines = lines if len(lines) == len(headers) else None
        ctx._scope = scope
        ctx._receive = receive
        ctx._steps = dispatch.OWN
        ctx._own = True
        ctx._context = context = copy_context()
        ctx._outer = copy_context()
        note_loop()
        if any(quiet):
            coro = dispatch.serve_http(self, ctx, send)
        else:
            coro = dispatch.serve_simple(self, ctx, send, quiet)
        try:
            # What `run` would do first: a request that waits for nothing is over by it.
            yielded = context.run(next, coro.__await__(), ENDED)
            if yielded is not ENDED:
                await self._driven(coro, yielded, ctx.driver, scope)
        finally:
            if ctx._driver is not None:
                ctx._driver.release()
            else:
                ctx._context = None  # so that none is made that nobody releases
        if ctx._whole is not None:
            start, content = ctx._whole
            await send(start)
            await send({"type": "http.response.body", "body": content})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`asgi_app` for all but requests to an app of which no step is replaced."""
        kind = scope["type"]
        if kind == "lifespan":
            await serve_lifespan(self._serving(), scope, receive, send)
            return
        if kind != "http" and kind != "websocket":
            raise RuntimeError(f"This app does not know the ASGI scope type {kind!r}.")
        if self._wsgi_wrapped and "asyncflask.environ" not in scope:
            scope = proxy.fixed_scope(scope, self.wsgi_app)
        if self._mounts and (mounted := self._mounts.asked(self, scope)) is not None:
            await mounted(scope, receive, send)
            return
        await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or WebSocket of this app, in a context of its own."""
        note_loop()
        context, outer = copy_context(), copy_context()
        limit, worker = self.config["WORKER_THREADS"], scope.get("asyncflask.worker")
        driver = Driver(None, limit, worker, context, outer)
        if scope["type"] == "websocket":
            serve: Callable[..., Coroutine[Any, Any, Any]] = dispatch.serve_websocket
        elif "asyncflask.environ" not in scope and self._wsgi_middleware() is not None:
            serve = dispatch.serve_by_wsgi
        else:
            serve = dispatch.serve_request
        coro: Coroutine[Any, Any, Any] = serve(self, driver, scope, receive, send)
        try:
            yielded = context.run(coro.send, None)
        except StopIteration as stop:
            whole = stop.value
        else:
            whole = await self._driven(coro, yielded, driver, scope)
        finally:
            driver.release()
        if whole is not None:
            start, content = whole
            await send(start)
            await send({"type": "http.response.body", "body": content})

    async def _driven(
        self, coro: Coroutine[Any, Any, Any], yielded: Any, driver: Driver | None, scope: Scope
    ) -> Any:
        """What the flow *coro* gives that has begun and yielded something."""
        assert driver is not None
        try:
            return await driver.run(coro, yielded)
        except Abandoned:
            path = scope["path"]
            self.logger.warning("Plain code of %s still blocked: it was left to itself.", path)
            return None

    def wsgi_app(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """The WSGI application (PEP 3333). To wrap it:
        ``app.wsgi_app = Middleware(app.wsgi_app)``; that takes effect under ASGI too, for
        requests."""
        # A request that came by ASGI has been through that middleware already.
        app = self._respond if "asyncflask.scope" in environ else self.asgi_app
        return wsgi.respond(app, environ, start_response)

    def _wsgi_middleware(self) -> Callable[..., Any] | None:
        """What is to be called in place of `wsgi_app`, but for the `ProxyFix` outside of it, which
        `asgi_app` has applied."""
        within = proxy.within(self.wsgi_app)
        return None if within == MethodType(_OWN["wsgi_app"], self) else within

    def add_middleware(
        self, middleware_class: Callable[..., ASGIApp] | Middleware, *args: Any, **kwargs: Any
    ) -> None:
        """Wrap the app in an ASGI middleware, outside of those before it (Starlette:
        `Starlette.add_middleware`)."""
        from starlette.middleware import Middleware  # which not every app has

        if isinstance(middleware_class, Middleware):
            args, kwargs = (*middleware_class.args, *args), {**middleware_class.kwargs, **kwargs}
            middleware_class = middleware_class.cls
        wrapped: Any = middleware_class(self.asgi_app, *args, **kwargs)
        self.asgi_app = wrapped  # type: ignore[method-assign]

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Have the ASGI *app* answer all below *path*; its lifespan is run with this app's. It
        is asked before the routes, but at ``"/"`` after them. *path* itself is redirected to
        ``path/``, if no route has it. Hooks and error handlers of this app are not run for it."""
        self._mounts = self._mounts.with_mount(path, app, name)

    # -- starting and stopping ----------------------------------------------------------------

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[dict[str, Any]]:
        """The app's lifespan: mounted apps, `lifespan`, `while_serving`, `before_serving`; and
        back in the opposite order, after the streams and WebSockets have been ended."""
        loop = asyncio.get_running_loop()
        driver = Driver(loop, self.config["WORKER_THREADS"])
        app_ctx = self.app_context()
        conversations = self._conversations = Conversations()
        timeout = self.config["SHUTDOWN_TIMEOUT"]
        stopping: list[asyncio.Task[None]] = []

        def stop() -> None:
            if not stopping:
                stopping.append(asyncio.ensure_future(conversations.stop(timeout)))

        async def run(func: Callable[..., Any], *args: Any) -> Any:
            async def on_its_side() -> Any:
                value = await driver.call(func, *args)
                await driver.to_loop()
                return value

            return await driver.run(on_its_side())

        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            stack.callback(driver.release)
            stack.callback(setattr, self, "_conversations", Conversations())
            await run(app_ctx._push, driver.call)
            stack.push_async_callback(run, app_ctx._pop, None, driver.call)
            for mount in self._mounts:
                state.update(await stack.enter_async_context(lifespan(mount.app)))
            if self.lifespan is not None:
                user_lifespan = self.lifespan(self)
                state.update(await run(user_lifespan.__aenter__) or {})
                stack.push_async_exit(partial(run, user_lifespan.__aexit__))
            for generator_function in self.while_serving_gens:
                generator = generator_function()
                await run(partial(_advance, generator))
                stack.push_async_callback(run, partial(_finish, generator))
            for func in self.before_serving_funcs:
                await run(func)
            stack.enter_context(on_stop_signal(stop))
            try:
                yield state
            finally:
                stop()
                await asyncio.wait(stopping)
                await self._end_background_tasks(timeout)
                for func in self.after_serving_funcs:
                    await run(func)

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call *func*, plain or asynchronous, with the arguments and in an app context: after
        the response of the current request, or at once where there is none. An error is logged;
        the server waits for it at shutdown, up to `SHUTDOWN_TIMEOUT` seconds (Quart:
        `add_background_task`)."""
        ctx = _cv_request.get(None)
        if ctx is not None and ctx.driver is not None:
            loop = ctx.driver.loop
            start = partial(self._start_background_task, loop, func, args, kwargs)
            if ctx.websocket is None:
                ctx._background.append(start)
                return
        else:
            loop = asyncio.get_running_loop() if on_loop() else background_loop()
            start = partial(self._start_background_task, loop, func, args, kwargs)
        loop.call_soon_threadsafe(start)

    def _start_background_task(
        self,
        loop: asyncio.AbstractEventLoop,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        driver = Driver(loop, self.config["WORKER_THREADS"])
        driver.context = Context()

        async def run() -> None:
            app_ctx = self.app_context()
            await app_ctx._push(driver.call)
            error: BaseException | None = None
            try:
                await driver.call(func, *args, **kwargs)
            except Exception as exc:
                error = exc
                name = getattr(func, "__qualname__", repr(func))
                self.logger.exception("The background task %s failed.", name)
            finally:
                await app_ctx._pop(error, driver.call)
                await driver.to_loop()

        async def drive_and_release() -> None:
            try:
                await driver.run(run())
            finally:
                driver.release()

        task = loop.create_task(drive_and_release())
        self.background_tasks.add(task)
        task.add_done_callback(self.background_tasks.discard)

    @property
    def stopping(self) -> bool:
        """Whether the server is stopping. A stream may look at it, to end by itself before it is
        cancelled after `SHUTDOWN_TIMEOUT` seconds."""
        return self._conversations.stopping

    async def _end_background_tasks(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        tasks = {task for task in self.background_tasks if task.get_loop() is loop}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                self.logger.warning("%d background tasks were cancelled at shutdown.", len(late))
                await asyncio.wait(late)

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Serve the app with uvicorn, for development: on *host* (default ``127.0.0.1``) and
        *port* (default 5000), or those of `SERVER_NAME`. *debug* sets debug mode, in which the
        server starts anew when a file changes. *options*: see `serving.serve`."""
        # Not at the top: a server that imports the app needs none of it.
        from . import cli, serving

        if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
            if not is_running_from_reloader():
                click.secho(
                    " * Ignoring a call to 'app.run()', which would keep the command from"
                    " running.\n   Put it under 'if __name__ == \"__main__\":'.",
                    fg="red",
                )
            return
        if get_load_dotenv(load_dotenv):
            cli.load_dotenv()
            if "FLASK_DEBUG" in os.environ:
                self.debug = get_debug_flag()
        if debug is not None:
            self.debug = bool(debug)
        name, _, name_port = (self.config.get("SERVER_NAME") or "").partition(":")
        if port is None:
            port = int(name_port) if name_port else 5000
        options = serving.from_run_simple(options)
        options.setdefault("reload", self.debug)
        options.setdefault("debugger", self.debug)
        cli.show_server_banner(self.debug, self.name)
        try:
            serving.serve(self, host or name or "127.0.0.1", int(port), **options)
        finally:
            # Set up further after the server has ended, as in an interactive session.
            self._got_first_request = False

    # -- contexts -----------------------------------------------------------------------------

    def app_context(self) -> AppContext:
        """A context in which the app is `current_app`, for `with` or `async with`."""
        return AppContext(self)

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """The context of the request that a WSGI environ describes."""
        return self._request_context_class(self, environ)

    def test_request_context(self, *args: Any, **kwargs: Any) -> RequestContext:
        """The context of a made-up request, for tests and the shell. The arguments are those of
        `werkzeug.test.EnvironBuilder`, with defaults from the config."""
        from .testing import EnvironBuilder  # which only tests need

        builder = EnvironBuilder(self, *args, **kwargs)
        try:
            return self.request_context(builder.get_environ())
        finally:
            builder.close()

    def test_client(self, use_cookies: bool = True, **kwargs: Any) -> FlaskClient:
        """A client for tests, of `test_client_class` (Flask: Testing Flask Applications)."""
        from .testing import FlaskClient  # which only tests need

        client_class = self.test_client_class or FlaskClient
        client: FlaskClient = client_class(
            self, self.response_class, use_cookies=use_cookies, **kwargs
        )
        return client

    def test_cli_runner(self, **kwargs: Any) -> FlaskCliRunner:
        """A runner of the app's commands for tests, of `test_cli_runner_class`."""
        from .testing import FlaskCliRunner  # which only tests need

        runner_class = self.test_cli_runner_class or FlaskCliRunner
        runner: FlaskCliRunner = runner_class(self, **kwargs)
        return runner

    # -- plain and asynchronous functions -----------------------------------------------------

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """*func* for plain code: a plain function as it is; for a coroutine function one that
        gives the value, by running it on the server's loop. On the loop itself nothing can wait
        for it: there it is given back as it is, to be awaited."""
        if not is_async(func) or on_loop():
            return func
        return self.async_to_sync(func)

    def async_to_sync(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """A plain function that runs the coroutine function *func* on the server's loop."""
        return async_to_sync(func)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_quiet":
            return
        with _judging:
            self._quiet = None
        if name == "wsgi_app":
            self._wsgi_wrapped = True
        elif name in _OWN:
            self._replaced = self._replaced | {name}

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == "wsgi_app":
            self._wsgi_wrapped = False
        self._replaced = self._replaced - {name}

    def _is_replaced(self, name: str) -> bool:
        """Whether a subclass, an extension or a test put something in a method's place."""
        return name in self._replaced or getattr(type(self), name) is not _OWN[name]

    def _judge(self) -> tuple[Any, ...]:
        """What has to be empty for a request to go the short way of `dispatch.serve_simple`; it is
        empty itself if attributes of the app are against that. Kept until one is set."""
        with _judging:
            if (
                self._wsgi_wrapped
                or self._mounts
                or self._replaced
                or not isinstance(self.url_map, Map)
            ):
                self._quiet = ()
            else:
                self._quiet = (
                    self.before_request_funcs,
                    self.url_value_preprocessors,
                    self.after_request_funcs,
                    self.teardown_request_funcs,
                    self.teardown_appcontext_funcs,
                    *(signal.receivers for signal in OF_EACH_REQUEST),
                )
            return self._quiet

    def _steps(self) -> dispatch.Steps:
        """The steps of the pipeline, with what calls the methods that took the place of some."""
        if not self._replaced:
            own = _steps_in(_flasks_own) if type(self) is Flask else _steps_of(type(self))
            if own == _OWN_STEPS:
                return dispatch.OWN
        return dispatch.Steps._make(
            partial(_call_replaced, getattr(self, name)) if self._is_replaced(name) else step
            for name, step in dispatch.OWN._asdict().items()
        )

    # -- the steps, for plain code ------------------------------------------------------------

    def full_dispatch_request(self) -> Response:
        """Run hooks, view and error handlers, and give the response."""
        ctx = current_request_ctx()
        rv = drive(dispatch.full_dispatch_request(self, ctx, call_here))
        return self.response_class(rv[1], mimetype=rv[0]) if type(rv) is tuple else rv

    def preprocess_request(self) -> Any:
        """Run the `before_request` functions; gives the value of the first that has one."""
        return drive(dispatch.preprocess_request(self, current_request_ctx(), call_here))

    def dispatch_request(self) -> Any:
        """Call the view of the matched rule, and give its value."""
        return drive(dispatch.dispatch_request(self, current_request_ctx(), call_here))

    def handle_http_exception(self, e: HTTPException) -> Any:
        """What the error handler for *e* gives, or *e* itself."""
        return drive(dispatch.handle_http_exception(self, current_request_ctx(), call_here, e))

    def handle_user_exception(self, e: Exception) -> Any:
        """What the error handler for *e* gives; without one it is raised again."""
        return drive(dispatch.handle_user_exception(self, current_request_ctx(), call_here, e))

    def handle_exception(self, e: Exception) -> Response:
        """The response to an exception that no handler took: a 500, or it is raised again."""
        return drive(dispatch.handle_exception(self, current_request_ctx(), call_here, e))  # type: ignore[no-any-return]

    def finalize_request(self, rv: Any, from_error_handler: bool = False) -> Response:
        """The response for the value of a view, after the `after_request` functions."""
        ctx = current_request_ctx()
        return drive(  # type: ignore[no-any-return]
            dispatch.finalize_request(self, ctx, call_here, rv, from_error_handler)
        )

    def make_response(self, rv: Any) -> Response:
        """The response for the value of a view: `str`, `bytes`, `dict`, `list`, an iterator, an
        asynchronous iterator, a response of Werkzeug or Starlette, a WSGI callable, or a tuple
        of one of these with status and headers. Raises `TypeError` for anything else."""
        return dispatch.make_response(self, _cv_request.get(None), rv)  # type: ignore[no-any-return]

    def process_response(self, response: Response) -> Response:
        """Run the `after_request` functions, and save the session."""
        ctx = current_request_ctx()
        return drive(dispatch.process_response(self, ctx, call_here, response))  # type: ignore[no-any-return]

    def do_teardown_request(self, exc: BaseException | None = _sentinel) -> None:
        """Run the `teardown_request` functions; *exc* is by default the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        drive(dispatch.do_teardown_request(self, current_request_ctx(), call_here, exc))

    def do_teardown_appcontext(self, exc: BaseException | None = _sentinel) -> None:
        """Run the `teardown_appcontext` functions; *exc* is by default the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        ctx = _cv_app.get()
        drive(dispatch.do_teardown_appcontext(self, ctx, call_here, exc))

    def update_template_context(self, context: dict[str, Any]) -> None:
        """Add to *context* what the context processors give."""
        ctx = _cv_request.get(None)
        drive(dispatch.update_template_context(self, ctx, call_here, context))

    # -- what the steps ask -------------------------------------------------------------------

    def _opens_session_lazily(self) -> bool:
        """Whether the session is a signed cookie, which costs nothing unless it is used. Others
        are opened for each request, as their authors expect."""
        return type(self.session_interface) is SecureCookieSessionInterface

    def log_exception(self, exc_info: Any) -> None:
        """Log an exception that became a 500."""
        req = current_request_ctx().request
        self.logger.error("Exception on %s [%s]", req.path, req.method, exc_info=exc_info)

    def raise_routing_exception(self, request: Request) -> NoReturn:
        """Raise why no rule matched. In debug mode a redirect that would lose a form is an
        error that says so."""
        error = request.routing_exception
        assert error is not None
        if (
            not self.debug
            or not isinstance(error, RequestRedirect)
            or error.code in {307, 308}
            or request.method in {"GET", "HEAD", "OPTIONS"}
        ):
            raise error
        raise FormDataRoutingRedirect(request)

    def make_default_options_response(self) -> Response:
        """The answer to OPTIONS: what methods the URL has."""
        response = self.response_class()
        response.allow.update(current_request_ctx().url_adapter.allowed_methods())
        return response

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What matches and builds URLs for *request*, or by `SERVER_NAME` outside of one.
        Raises `SecurityError` (400) for a host that is not in `TRUSTED_HOSTS`."""
        config = self.config
        if request is None:
            if config["SERVER_NAME"] is None:
                return None
            return self.url_map.bind(
                config["SERVER_NAME"],
                script_name=config["APPLICATION_ROOT"],
                url_scheme=config["PREFERRED_URL_SCHEME"],
            )
        if config["TRUSTED_HOSTS"] is not None:
            request.trusted_hosts = config["TRUSTED_HOSTS"]
        host_matching = self.url_map.host_matching
        scope = request._scope
        if scope is not None and request._lazy and not (host_matching or self.subdomain_matching):
            return self.url_map.bind(
                request.host,
                script_name=request.root_path,
                subdomain=self.url_map.default_subdomain or "",
                url_scheme=request.scheme,
                # Not the request's, which a subclass may have changed for others to see.
                default_method=scope.get("method", "GET"),
                path_info=wsgi.route_path(scope),
                query_args=request.query_string.decode("latin-1"),
            )
        request.host = get_host(request.environ, request.trusted_hosts)
        # Werkzeug gives no host for what it takes for none; names in Unicode are not refused.
        if not request.host and not request.environ.get("HTTP_HOST", "").isprintable():
            raise BadRequest("The request's Host header is malformed.")
        subdomain = None
        if not host_matching and not self.subdomain_matching:
            subdomain = self.url_map.default_subdomain or ""
        return self.url_map.bind_to_environ(
            request.environ,
            server_name=None if host_matching else config["SERVER_NAME"],
            subdomain=subdomain,
        )

    def _map_of_paths(self, own: bool) -> Map | None:
        """The URL map, where the host has no part in matching and building, nor anything else
        that an adapter would add to it. *own*: whether no step was replaced."""
        url_map = self.url_map
        if (
            not isinstance(url_map, Map)
            or url_map.host_matching
            or self.subdomain_matching
            or self.request_class.trusted_hosts is not None
            or self.config["TRUSTED_HOSTS"] is not None
            or not (own or not self._is_replaced("create_url_adapter"))
        ):
            return None
        return url_map

    def _build_path(
        self, ctx: RequestContext, endpoint: str, values: dict[str, Any], method: str | None
    ) -> str | None:
        """What `Map.build_path` gives for *ctx*, unless it has an adapter to ask already, which
        may be another one than this app would make."""
        request = ctx.request
        if (
            ctx.app is not self
            or ctx._url_adapter is not _unbound
            or request._scope is None
            or request.trusted_hosts is not None
        ):
            return None
        # A rule that was matched without an adapter was found in it.
        known = request.url_rule is not None
        url_map: Any = self.url_map if known else self._map_of_paths(ctx._own)
        if url_map is None:
            return None
        path: str | None = url_map.build_path(endpoint, values, method or request.method)
        return None if path is None else f"{request.root_path}/{path}"

    # -- URLs ---------------------------------------------------------------------------------

    def url_for(
        self,
        /,
        endpoint: str,
        *,
        _anchor: str | None = None,
        _method: str | None = None,
        _scheme: str | None = None,
        _external: bool | None = None,
        **values: Any,
    ) -> str:
        """The URL of *endpoint* with *values* for its placeholders; the others become the query
        string. ``".name"`` is in the current blueprint. *_external*: with scheme and host, as is
        the default outside of a request, where `SERVER_NAME` has to be set. Raises
        `werkzeug.routing.BuildError` if nothing fits (Flask: `Flask.url_for`)."""
        adapter: Any
        ctx = _cv_request.get(None)
        if ctx is not None:
            if endpoint.startswith("."):
                blueprint = ctx.request.blueprint
                endpoint = endpoint[1:] if blueprint is None else f"{blueprint}{endpoint}"
            if _external is None:
                _external = _scheme is not None
            if ctx.websocket is not None and _external and _scheme is None:
                # A link for a person, not for another WebSocket.
                _scheme = "https" if ctx.request.scheme == "wss" else "http"
        else:
            app_ctx = _cv_app.get(None)
            adapter = app_ctx.url_adapter if app_ctx is not None else self.create_url_adapter(None)
            if adapter is None:
                raise RuntimeError(
                    "A URL cannot be built outside of a request unless the config has"
                    " 'SERVER_NAME' (and 'APPLICATION_ROOT' and 'PREFERRED_URL_SCHEME' if they"
                    " are not the defaults)."
                )
            if _external is None:
                _external = True
        if _scheme is not None and not _external:
            raise ValueError("With '_scheme', '_external' must be True.")
        self.inject_url_defaults(endpoint, values)
        url: str | None = None
        if ctx is not None and not _external:
            url = self._build_path(ctx, endpoint, values, _method)
        if url is None:
            if ctx is not None:
                adapter = ctx.url_adapter
            try:
                url = adapter.build(
                    endpoint, values, method=_method, url_scheme=_scheme, force_external=_external
                )
            except BuildError as error:
                values.update(
                    _anchor=_anchor, _method=_method, _scheme=_scheme, _external=_external
                )
                return self.handle_url_build_error(error, endpoint, values)
        if _anchor is not None:
            anchor = quote(_anchor, safe="%!#$&'()*+,/:;=?@")
            url = f"{url}#{anchor}"
        return url

    # -- files and templates ------------------------------------------------------------------

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """For how many seconds a browser may use a file without asking: the config's
        `SEND_FILE_MAX_AGE_DEFAULT`. `None`: it asks each time."""
        value = self.config["SEND_FILE_MAX_AGE_DEFAULT"]
        return int(value.total_seconds()) if isinstance(value, timedelta) else value

    def send_static_file(self, filename: str) -> Response:
        """The view of the static files."""
        if not self.has_static_folder:
            raise RuntimeError("'static_folder' must be set to serve static files.")
        assert self.static_folder is not None
        return send_from_directory(
            self.static_folder, filename, max_age=self.get_send_file_max_age(filename)
        )

    def open_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = None
    ) -> IO[Any]:
        """Open a file relative to `root_path`, for reading."""
        if mode not in {"r", "rt", "rb"}:
            raise ValueError("Resources can only be opened for reading.")
        path = os.path.join(self.root_path, resource)
        return open(path, mode) if mode == "rb" else open(path, mode, encoding=encoding)

    def open_instance_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = "utf-8"
    ) -> IO[Any]:
        """Open a file relative to `instance_path`, for reading or writing."""
        path = os.path.join(self.instance_path, resource)
        return open(path, mode) if "b" in mode else open(path, mode, encoding=encoding)

    def create_jinja_environment(self) -> Environment:
        """Make the Jinja environment, with Flask's globals."""
        options = dict(self.jinja_options)
        options.setdefault("autoescape", self.select_jinja_autoescape)
        if "auto_reload" not in options:
            auto_reload = self.config["TEMPLATES_AUTO_RELOAD"]
            options["auto_reload"] = self.debug if auto_reload is None else auto_reload
        environment = self.jinja_environment(self, **options)
        environment.globals.update(
            url_for=self.url_for,
            get_flashed_messages=get_flashed_messages,
            config=self.config,
            request=request,
            session=session,
            g=g,
        )
        environment.policies["json.dumps_function"] = self.json.dumps
        return environment

    def make_shell_context(self) -> dict[str, Any]:
        """The names in the `shell` command."""
        names: dict[str, Any] = {"app": self, "g": g}
        for processor in self.shell_context_processors:
            names.update(processor())
        return names


_judging = threading.RLock()
"""Held while `Flask._quiet` is set: one thread may change an app that another one looks at."""

# The methods that are looked at before they are called: one that was replaced is user code.
_NAMES = (
    *dispatch.Steps._fields,
    "app_context",
    "create_url_adapter",
    "make_response",
    "wsgi_app",
)
_steps_of = attrgetter(*_NAMES)
_steps_in = itemgetter(*_NAMES)
_flasks_own = Flask.__dict__
_OWN_STEPS = _steps_of(Flask)
_OWN = {name: Flask.__dict__[name] for name in _NAMES}

# Servers look at this to tell ASGI from WSGI: calling an app gives a coroutine.
if sys.version_info >= (3, 12):
    inspect.markcoroutinefunction(Flask.__call__)
else:
    Flask.__call__._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]


async def _call_replaced(
    method: Callable[..., Any], app: Flask, ctx: Any, call: Call, *args: Any
) -> Any:
    return await call(method, *args)


async def _nothing() -> NoReturn:
    raise RuntimeError("There is nothing to receive here.")


async def _advance_async(generator: Any) -> None:
    await generator.__anext__()


def _advance(generator: Any) -> Any:
    """To the first `yield` of a `while_serving` function."""
    return _advance_async(generator) if hasattr(generator, "__anext__") else next(generator)


def _finish(generator: Any) -> Any:
    """To the end of it."""
    if hasattr(generator, "__anext__"):
        return _finish_async(generator)
    if next(generator, _sentinel) is not _sentinel:
        raise RuntimeError("A 'while_serving' function has to yield once, and did so twice.")
    return None


async def _finish_async(generator: Any) -> None:
    async for _ in generator:
        raise RuntimeError("A 'while_serving' function has to yield once, and did so twice.")
