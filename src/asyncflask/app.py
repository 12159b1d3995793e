"""`Flask`: ASGI and WSGI entry points, contexts, URLs, static files, serving, test clients, and
noticing changed attributes. The steps of a request are methods in `steps.py`, middleware and
mounted apps are in `around.py`, the settings in `settings.py`, the registries in
`sansio/app.py`."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.routing import MapAdapter, RequestRedirect
from werkzeug.routing import Rule as Rule  # exported: Flask has this name too
from werkzeug.serving import is_running_from_reloader

from . import converse, urls
from .alias import in_flasks_command
from .around import Around
from .asgi import proxy
from .asgi.conversation import Conversations
from .asgi.environ import Environ, Origin
from .asgi.lifespan import serve_lifespan
from .asgi.loops import background_loop, note_loop
from .asgi.scope import ORIGIN, normalised
from .asgi.servers import is_closed
from .asgi.stepping import ENDED
from .asgi.threads import Abandoned, is_async, on_loop
from .asgi.waiting import async_to_sync
from .asgi.wsgi import respond
from .ctx import AppContext, RequestContext, _cv_app, _cv_request
from .debughelpers import FormDataRoutingRedirect
from .dispatch import Flow, Step, serve_by_wsgi, serve_http, step
from .entry import CHANGES, AppType, arguments, marked_async, note_change
from .globals import g, request, session
from .handlers import Answered
from .helpers import get_debug_flag, get_flashed_messages, get_load_dotenv, send_from_directory
from .lazy import Lazy
from .lifetime import look_for_lifespan, serving, start_background_task
from .mounts import Mounts
from .plan import METHODS, NO_SETUP, WATCHED, Setup
from .sansio.app import App
from .sessions import SecureCookieSessionInterface, SessionInterface
from .settings import DEFAULTS
from .steps import Steps
from .wrappers import Request, Response

if TYPE_CHECKING:
    from .commands import AppGroup
    from .loop_guard import LoopGuard
    from .templating import Environment
    from .testing import FlaskClient, FlaskCliRunner

P = ParamSpec("P")
T = TypeVar("T")

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


class Flask(Steps, Around, App, metaclass=AppType):
    """An application: an ASGI app (`uvicorn module:app`) and a WSGI app.

    :param import_name: the module or package of the app; usually `__name__`.
    :param static_url_path: the URL prefix of the static files. Default: the name of the folder.
    :param static_folder: the folder of static files, relative to `root_path`. `None` for none.
    :param static_host: the host of the static files; required with `host_matching`.
    :param host_matching: match rules by their `host`. Default: `False`.
    :param subdomain_matching: match rules by subdomain of `SERVER_NAME`. Default: `False`.
    :param template_folder: the folder of templates, relative to `root_path`.
    :param instance_path: the absolute path of the instance folder. Default: `instance` next to the
        module or package, or `var/NAME-instance` under the prefix of an installed package.
    :param instance_relative_config: load config files from `instance_path`. Default: `False`.
    :param root_path: the directory that relative paths start from. Default: that of `import_name`.
    :param lifespan: a function that takes the app and returns an async context manager, entered
        before the first request and left after the last. A dict it yields is available as
        `request.state`.
    :raises ValueError: if `instance_path` is relative.
    """

    default_config = DEFAULTS

    request_class: type[Request] = Request
    """The class of requests."""

    response_class: type[Response] = Response
    """The class of responses."""

    _asgi_app: ASGIApp
    """`asgi_app` as it was set, without the object that accessing it returns."""

    session_interface: SessionInterface = SecureCookieSessionInterface()
    """Opens and saves sessions."""

    _request_context_class = RequestContext

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
        self._made_setup = cast(Setup, NO_SETUP)
        self._replaced: frozenset[str] = frozenset()
        """The steps that were replaced on the app itself."""
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
            import click

            click.secho(
                f"The app {self.name!r} is an asyncflask app, which Flask's own command cannot"
                " serve. Write 'asyncflask' instead of 'flask'.",
                fg="red",
                err=True,
            )
        self.lifespan = lifespan
        self.background_tasks: set[asyncio.Task[None]] = set()
        """Unfinished tasks of `add_background_task`."""
        self._conversations = Conversations()
        self._asks: Callable[[Flask, Scope, Send], None] | None = look_for_lifespan
        """Inspects incoming connections, until it has found what it looks for."""
        self._mounts = Mounts()
        self._loop_guard: LoopGuard | None = None
        """Watches the loop, while it is on."""
        if self.has_static_folder:
            assert bool(static_host) == host_matching, (
                "Static files need a 'static_host' with 'host_matching', and only then."
            )
            this = weakref.ref(self)  # a weak reference, since the rule would be a cycle
            self.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                endpoint="static",
                host=static_host,
                view_func=lambda **kwargs: this().send_static_file(**kwargs),  # type: ignore[union-attr]
            )

    @Lazy
    def cli(self) -> AppGroup:
        """The app's commands."""
        from .commands import AppGroup

        return AppGroup(name=self.name)

    # -- ASGI and WSGI ------------------------------------------------------------------------

    @marked_async
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The ASGI app (*scope*, *receive*, *send*) and WSGI app (*environ*, *start_response*).
        Calls `asgi_app` or `wsgi_app`: wrap those in middleware, so that `app` stays the app."""
        if len(args) == 3:
            return self._asgi_app(*args)
        args = arguments(args, kwargs)
        return self._asgi_app(*args) if len(args) == 3 else self.wsgi_app(*args)

    async def asgi_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application (ASGI specification 3.0). To wrap it in middleware, write
        ``app.asgi_app = Middleware(app.asgi_app)`` or call `add_middleware`."""
        setup = self._made_setup
        if setup.version is not CHANGES["last"]:
            setup = self._setup()
        flow: Flow = serve_http
        if scope["type"] != setup.direct:
            chosen = await self._choose_flow(setup, scope, receive, send)
            if chosen is None:
                return
            flow, scope = chosen
            setup = self._setup()  # inspecting the connection may have changed it
        note_loop()
        # In a `contextvars.Context` of its own.
        ctx = RequestContext.of_scope(self, setup, scope, receive)
        coro = flow(self, ctx, send)
        try:
            # The first step of `Driver.run`, which completes a request that waits for nothing.
            yielded = ctx.context.run(next, coro.__await__(), ENDED)  # type: ignore[union-attr]
            if yielded is not ENDED:
                assert ctx.driver is not None
                ctx.send = send
                rest = ctx.driver.run(coro, yielded)
                yielded = None  # its error's traceback may refer to this frame
                await rest
        except Answered:
            pass
        except Abandoned:
            path = ctx.scope["path"]
            self.logger.warning(
                "Sync code of %s still blocks at shutdown and was abandoned.", path
            )
        finally:
            if ctx.driver_or_none is None:
                ctx.context = None  # so that nothing creates a driver any more
            else:
                ctx.driver_or_none.release()
        if ctx.to_send is not None:
            start, content = ctx.to_send
            try:
                if start is not None:
                    await send(start)
                await send({"type": "http.response.body", "body": content})
            except Exception:  # see `is_closed`
                if not is_closed(send):
                    raise

    async def _choose_flow(
        self, setup: Setup, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Flow, Scope] | None:
        """Return the flow for scopes other than requests, or for requests not for this app
        alone. `None` if it was served."""
        kind = scope["type"]
        if kind == "lifespan":
            await serve_lifespan(serving(self, receive), scope, receive, send)
            return None
        if kind == _CALLED_ROUND:
            return partial(serve_by_wsgi, wsgi_app=scope[_CALLED_ROUND]), {**scope, "type": "http"}
        if kind != "http" and kind != "websocket":
            raise RuntimeError(f"Unsupported ASGI scope type {kind!r}.")
        if self._asks is not None:
            self._asks(self, scope, send)
        scope = normalised(scope)
        flow: Flow = serve_http
        origin: Origin | None = scope.get(ORIGIN)
        if setup.wsgi_app is not None and (origin is None or origin.app is not self):
            scope = proxy.fixed_scope(scope, setup.wsgi_app)
            if setup.wsgi_middleware is not None:
                flow = partial(serve_by_wsgi, wsgi_app=setup.wsgi_middleware)
        if kind == "websocket":
            flow = converse.serve_websocket
        if self._mounts and (mounted := self._mounts.asked(self, scope)) is not None:
            await mounted(scope, receive, send)
            return None
        if self._loop_guard is not None:
            flow = self._loop_guard.counting(flow)
        return flow, scope

    def _called_round(
        self, func: Callable[..., Any], scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Serve ASGI for an app whose `__call__` is the WSGI function *func*."""
        if scope["type"] != "http":
            return self._asgi_app(scope, receive, send)

        def called(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ["asyncflask.outermost"] = True
            content: Iterable[bytes] = func(self, environ, start_response)
            return content

        scope = {**scope, "type": _CALLED_ROUND, _CALLED_ROUND: called}
        return _asgi_app(self, scope, receive, send)

    def wsgi_app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application (PEP 3333). To wrap it in middleware, write ``app.wsgi_app =
        Middleware(app.wsgi_app)``. WSGI middleware runs under an ASGI server too, for HTTP
        requests."""
        # A request that arrived over ASGI has already passed the ASGI middleware.
        inside = "asyncflask.scope" in environ and not environ.pop("asyncflask.outermost", False)
        app: Any = partial(Flask._asgi_app, self) if inside else self.asgi_app  # type: ignore[arg-type]
        return respond(app, environ, start_response, self, (_cv_app, _cv_request))

    # -- starting and stopping ----------------------------------------------------------------

    def add_background_task(
        self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Run *func*, sync or async, in an app context after the response of the current request,
        or immediately outside of a request. ::

            app.add_background_task(send_mail, user.email, subject="Welcome")

        Errors are logged. At shutdown the server waits for the task, at most `SHUTDOWN_TIMEOUT`
        seconds.
        """
        ctx = _cv_request.get(None)
        if ctx is not None and ctx.driver is not None:
            loop = ctx.driver.loop
            start = partial(start_background_task, self, loop, func, args, kwargs)
            if ctx.websocket is None:
                ctx.add_background(start)
                return
        else:
            loop = asyncio.get_running_loop() if on_loop() else background_loop()
            start = partial(start_background_task, self, loop, func, args, kwargs)
        loop.call_soon_threadsafe(start)

    @property
    def stopping(self) -> bool:
        """`True` once the server is stopping. Check it in a long stream to end cleanly before the
        stream is cancelled after `SHUTDOWN_TIMEOUT` seconds."""
        return self._conversations.stopping

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Serve the app with uvicorn, for development. Call it under ``if __name__ ==
        "__main__":``, or use `asyncflask run` instead. In production, run an ASGI server yourself.

        :param host: default: the host in `SERVER_NAME`, or ``127.0.0.1``. ``0.0.0.0``: all
            interfaces.
        :param port: default: the port in `SERVER_NAME`, or 5000.
        :param debug: turn debug mode on or off; it enables the debugger and restarts on changes.
        :param load_dotenv: load ``.env`` and ``.flaskenv`` files. Default: `True`.
        :param options: passed to `serving.serve`; most options of Werkzeug's `run_simple` work.
        """
        # Imported late: a server that imports the app needs none of it.
        import click

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
            # Setup may continue after the server has ended, as in an interactive session.
            self._got_first_request = False

    # -- contexts -----------------------------------------------------------------------------

    def app_context(self) -> AppContext:
        """Return an app context for `with` or `async with`, in which `current_app` and `g` work.
        Views, hooks and commands have one already."""
        return AppContext(self)

    def request_context(self, environ: Environ) -> RequestContext:
        """Return the context of the request in a WSGI environ, for `with`. See
        `test_request_context`."""
        return self._request_context_class(self, environ)

    def test_request_context(self, *args: Any, **kwargs: Any) -> RequestContext:
        """Return the context of a made-up request, for `with` in tests and in the shell. Hooks do
        not run. The arguments are those of `werkzeug.test.EnvironBuilder`: `path`, `method`,
        `json`, `data`, `headers`...; `SERVER_NAME` and `APPLICATION_ROOT` supply defaults. ::

            with app.test_request_context("/?page=2"):
                assert request.args["page"] == "2"
        """
        from .testing import EnvironBuilder  # which only tests need

        builder = EnvironBuilder(self, *args, **kwargs)
        try:
            return self.request_context(builder.get_environ())
        finally:
            builder.close()

    def test_client(self, use_cookies: bool = True, **kwargs: Any) -> FlaskClient:
        """Return a test client, an instance of `test_client_class` or `FlaskClient`. Set
        `app.testing` first, so that exceptions reach the test.

        :param use_cookies: keep cookies between requests. Default: `True`.
        :param kwargs: passed to the client class; `lifespan=True` starts and stops the app.
        """
        from .testing import FlaskClient  # which only tests need

        client_class = self.test_client_class or FlaskClient
        client: FlaskClient = client_class(
            self, self.response_class, use_cookies=use_cookies, **kwargs
        )
        return client

    def test_cli_runner(self, **kwargs: Any) -> FlaskCliRunner:
        """Return a runner for the app's commands in tests, an instance of `test_cli_runner_class`
        or `FlaskCliRunner`, which is given *kwargs*."""
        from .testing import FlaskCliRunner  # which only tests need

        runner_class = self.test_cli_runner_class or FlaskCliRunner
        runner: FlaskCliRunner = runner_class(self, **kwargs)
        return runner

    # -- sync and async functions --------------------------------------------------------------

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a version of *func* that sync code can call. Sync functions are returned as they
        are; a coroutine function is wrapped to run on the server's loop and return its value. On
        the loop itself, where nothing may wait, *func* is returned as it is, to be awaited."""
        if not is_async(func) or on_loop():
            return func
        return self.async_to_sync(func)

    def async_to_sync(self, func: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        """Return a sync function that runs the coroutine function *func* on the server's loop and
        returns its value. Override it to run coroutines in another way."""
        return async_to_sync(func)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in WATCHED:
            self._changed(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in WATCHED:
            self._changed(name, None)

    def _changed(self, name: str, value: Any) -> None:
        """Called when an attribute that request plans depend on is set or deleted."""
        if name == "asgi_app":
            if value is None:
                object.__delattr__(self, "_asgi_app")
            else:
                object.__setattr__(self, "_asgi_app", value)
        if name in _STEPS:
            replaced = self._replaced - {name} if value is None else self._replaced | {name}
            object.__setattr__(self, "_replaced", replaced)
        note_change()

    def _setup(self) -> Setup:
        """The app's current setup, as requests use it."""
        setup = self._made_setup
        if setup.version is not CHANGES["last"] and not setup.is_current(self):
            setup = self._made_setup = Setup(self, _STEPS)
        return setup

    def _step(self, name: str) -> Step:
        return step(self, name)

    # -- what the steps ask -------------------------------------------------------------------

    def _opens_session_lazily(self) -> bool:
        """True for signed cookie sessions, which cost nothing until used. Other sessions are
        opened for each request, as their authors expect."""
        return type(self.session_interface) is SecureCookieSessionInterface

    def raise_routing_exception(self, request: Request) -> NoReturn:
        """Raise the exception for a request that matched no rule. In debug mode, a redirect that
        would lose a form's data raises an error that explains it."""
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

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Create the adapter that matches and builds URLs for *request*, or from `SERVER_NAME` if
        *request* is `None`. Raises `SecurityError` (400) if the host is not in `TRUSTED_HOSTS`."""
        return urls.adapter(self, request)

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
        """Build the URL of an endpoint; the function `url_for` calls this.

        :param endpoint: the endpoint; ``".name"`` is relative to the current blueprint.
        :param _anchor: the fragment to append after ``#``.
        :param _method: choose the rule for this HTTP method.
        :param _scheme: the scheme of an external URL.
        :param _external: include scheme and host. Default: `True` outside of a request only, which
            requires `SERVER_NAME`.
        :param values: the variables of the rule; anything else becomes the query string.
        :raises werkzeug.routing.BuildError: if no rule fits and no build error handler has a URL.
        """
        return urls.build(
            self,
            endpoint,
            values,
            anchor=_anchor,
            method=_method,
            scheme=_scheme,
            external=_external,
        )

    # -- files and templates ------------------------------------------------------------------

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Return the seconds for which browsers may cache a file: the `SEND_FILE_MAX_AGE_DEFAULT`
        setting. `None`: they ask each time. Override it to decide by *filename*."""
        value = self.config["SEND_FILE_MAX_AGE_DEFAULT"]
        return int(value.total_seconds()) if isinstance(value, timedelta) else value

    def send_static_file(self, filename: str) -> Response:
        """The view of static files. Raises `NotFound` if *filename* is not in `static_folder`."""
        if not self.has_static_folder:
            raise RuntimeError("'static_folder' must be set to serve static files.")
        assert self.static_folder is not None
        return send_from_directory(
            self.static_folder, filename, max_age=self.get_send_file_max_age(filename)
        )

    def open_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = None
    ) -> IO[Any]:
        """Open a file relative to `root_path`, for reading. *mode*: ``"rb"`` (default), ``"r"`` or
        ``"rt"``; *encoding* applies to text. Raises `ValueError` for other modes."""
        if mode not in {"r", "rt", "rb"}:
            raise ValueError("Resources can only be opened for reading.")
        path = os.path.join(self.root_path, resource)
        return open(path, mode) if mode == "rb" else open(path, mode, encoding=encoding)

    def open_instance_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = "utf-8"
    ) -> IO[Any]:
        """Open a file relative to `instance_path`, for reading or writing. *encoding*: UTF-8 by
        default; ignored in binary modes."""
        path = os.path.join(self.instance_path, resource)
        return open(path, mode) if "b" in mode else open(path, mode, encoding=encoding)

    def create_jinja_environment(self) -> Environment:
        """Create `jinja_env` from `jinja_options` with Flask's globals (`url_for`, `g`,
        `request`...)."""
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
        """Return the names for `asyncflask shell`: `app`, `g` and those of
        `shell_context_processor`."""
        names: dict[str, Any] = {"app": self, "g": g}
        for processor in self.shell_context_processors:
            names.update(self.ensure_sync(processor)())
        return names


_STEPS = {name: getattr(Flask, name) for name in METHODS}
"""The original methods that are steps of a request, by name."""

_asgi_app: Callable[..., Awaitable[None]] = Flask._asgi_app
"""The original `asgi_app`."""

_CALLED_ROUND: Final = "asyncflask.called"
"""The type of a scope that first goes to a WSGI function that replaced `Flask.__call__`."""


async def _nothing() -> NoReturn:
    raise RuntimeError("This connection has nothing to receive.")
