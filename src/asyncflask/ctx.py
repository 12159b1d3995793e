"""The contexts: what belongs to one request or WebSocket, and what to one use of an app.

`_cv_app` and `_cv_request` are the only variables; the framework passes the contexts by hand
and reads the variables only where user code calls in without one. The proxies are in
`globals.py`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starlette.types import Receive, Scope
from werkzeug.exceptions import HTTPException

from .asgi.threads import Call, Driver, call_here, drive, is_async, run_in_worker
from .asgi.wsgi import route_path
from .lazy import Lazy
from .signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    emit,
    request_tearing_down,
)

F = TypeVar("F", bound=Callable[..., Any])

_sentinel: Any = object()
_unbound: Any = object()

_making = threading.RLock()  # a signal handler may ask, too


class App(Protocol):
    """What the contexts, and everything below `sansio`, need of an app."""

    @property
    def import_name(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Any: ...
    @property
    def json(self) -> Any: ...
    @property
    def logger(self) -> Any: ...
    @property
    def debug(self) -> bool: ...
    @property
    def testing(self) -> bool: ...
    @property
    def secret_key(self) -> Any: ...
    @property
    def session_interface(self) -> Any: ...
    @property
    def request_class(self) -> Any: ...
    @property
    def response_class(self) -> Any: ...
    @property
    def app_ctx_globals_class(self) -> Any: ...
    @property
    def permanent_session_lifetime(self) -> Any: ...
    @property
    def jinja_env(self) -> Any: ...
    @property
    def jinja_loader(self) -> Any: ...
    @property
    def root_path(self) -> str: ...
    @property
    def aborter(self) -> Any: ...
    def create_url_adapter(self, request: Any) -> Any: ...
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]: ...
    def make_response(self, rv: Any) -> Any: ...
    def redirect(self, location: str, code: int = 302) -> Any: ...
    def url_for(self, endpoint: str, **values: Any) -> str: ...
    def _map_of_paths(self, own: bool) -> Any: ...
    def get_send_file_max_age(self, filename: str | None) -> int | None: ...
    def iter_blueprints(self) -> Any: ...
    def create_global_jinja_loader(self) -> Any: ...
    def update_template_context(self, context: dict[str, Any]) -> None: ...
    def _steps(self) -> Any: ...
    def _is_replaced(self, name: str) -> bool: ...
    @property
    def _own_steps(self) -> Any: ...


class _AppCtxGlobals:
    """The namespace behind `g`: any attribute may be set on it (Flask: `flask.g`)."""

    # Named so for type checkers: any attribute may be there.
    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    if TYPE_CHECKING:  # as any object has them

        def __setattr__(self, name: str, value: Any) -> None: ...
        def __delattr__(self, name: str) -> None: ...

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute *name*, or *default*."""
        return self.__dict__.get(name, default)

    def pop(self, name: str, default: Any = _sentinel) -> Any:
        """Remove the attribute *name* and give its value; *default* if there is none, or
        `KeyError` without one."""
        if default is _sentinel:
            return self.__dict__.pop(name)
        return self.__dict__.pop(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The attribute *name*, which is set to *default* first if there is none."""
        return self.__dict__.setdefault(name, default)

    def __contains__(self, item: object) -> bool:
        return item in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        ctx = _cv_app.get(None)
        return object.__repr__(self) if ctx is None else f"<flask.g of {ctx.app.name!r}>"


class AppContext:
    """An app that is in use, with its `g` (Flask: The Application Context).

    Enter it with `with`; in asynchronous code with `async with`, if functions registered with
    `teardown_appcontext` are asynchronous.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.g: Any = app.app_ctx_globals_class()
        self._url_adapter: Any = _unbound
        self._cv_tokens: list[Token[AppContext]] = []

    @property
    def url_adapter(self) -> Any:
        """What builds URLs outside of a request; `None` without `SERVER_NAME`."""
        if self._url_adapter is _unbound:
            self._url_adapter = self.app.create_url_adapter(None)
        return self._url_adapter

    @url_adapter.setter
    def url_adapter(self, value: Any) -> None:
        self._url_adapter = value

    async def _push(self, call: Call) -> None:
        self._cv_tokens.append(_cv_app.set(self))
        if appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)

    async def _pop(self, exc: BaseException | None, call: Call) -> None:
        app = self.app
        try:
            if len(self._cv_tokens) == 1 and (
                app.teardown_appcontext_funcs
                or appcontext_tearing_down.receivers
                or app._is_replaced("do_teardown_appcontext")
            ):
                if exc is _sentinel:
                    exc = sys.exc_info()[1]
                await app._steps().do_teardown_appcontext(app, self, call, exc)
        finally:
            current = _cv_app.get()
            _cv_app.reset(self._cv_tokens.pop())
        if current is not self:
            raise AssertionError(f"Popped wrong app context: {current!r} instead of {self!r}.")
        if appcontext_popped.receivers:
            await emit(appcontext_popped, app, call)

    def push(self) -> None:
        """Make this the current app context."""
        drive(self._push(call_here))

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Undo `push`; the last one runs the functions registered with `teardown_appcontext`."""
        drive(self._pop(exc, call_here))

    def __enter__(self) -> AppContext:
        self.push()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.pop(exc_value)

    async def __aenter__(self) -> AppContext:
        await self._push(_call_on_loop)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._pop(exc_value, _call_on_loop)


class RequestContext:
    """One request or WebSocket: its `request`, `session` and matched rule (Flask: The Request
    Context). Made by `Flask.request_context` and `Flask.test_request_context`.

    *environ*: a WSGI environ, from which the request is made unless *request* is given.
    """

    websocket: Any
    """The connection, if this is a WebSocket."""

    flashes: list[tuple[str, str]] | None = None
    """The messages of `get_flashed_messages`, once it was called."""

    _deferred: tuple[AppContext | None, BaseException | None] | None = None
    _error: BaseException | None = None

    # What each request reads has no default in the class, and `__dict__` is left alone: either
    # keeps Python 3.11 from reading attributes in its fast way. In `AppContext` too.

    def __init__(self, app: Any, environ: Any, request: Any = None, session: Any = None) -> None:
        self.app = app
        self.websocket: Any = None
        self._driver: Driver | None = None
        self._context: Context | None = None
        self._lines: dict[bytes, bytes] | None = None
        """The header lines by name, if no name is repeated."""
        self._url_adapter: Any = _unbound
        self._holds = 0
        self._found: tuple[Any, dict[str, Any]] | None = None
        """The rule that was matched and the values of its placeholders, until `request` is made,
        which has them then."""
        self._made = False
        self._whole: Any = None
        """The response as a whole: the message that begins it, and its content."""
        self._opened_session = session
        self._after_request_functions: list[Callable[[Any], Any]] = []
        self._background: list[Callable[[], None]] = []
        self._cv_tokens: list[tuple[Token[RequestContext], AppContext | None]] = []
        if request is not None:
            self.request = request
            self._made = True
        elif environ is not None:
            self.request = app.request_class(environ)
            self.request.json_module = app.json
            self._made = True
        if environ is not None:
            self._bind()

    @Lazy
    def _steps(self) -> Any:
        return self.app._steps()

    @Lazy
    def _own(self) -> bool:
        """Whether no step of the pipeline was replaced."""
        return self._steps is self.app._own_steps

    @property
    def driver(self) -> Driver | None:
        """What runs it, made when it is first needed; `None` for a context that was pushed by
        hand."""
        if self._driver is None and self._context is not None:
            with _making:
                if self._driver is None:
                    limit = self.app.config["WORKER_THREADS"]
                    self._driver = Driver(None, limit, None, self._context, self._outer)
        return self._driver

    @driver.setter
    def driver(self, value: Driver | None) -> None:
        self._driver = value

    def _call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """`Driver.call`, which needs no driver for coroutine functions."""
        driver = self._driver
        if driver is None:
            if is_async(func):
                return func(*args, **kwargs)  # type: ignore[no-any-return]
            driver = self.driver
            assert driver is not None
            return driver.call_plain(func, args, kwargs)
        return driver.call(func, *args, **kwargs)

    _scope: Scope
    _receive: Receive
    _outer: Context

    @Lazy
    def request(self) -> Any:
        """The request."""
        with _making:  # two threads of the user's may ask at once
            if self._made:
                return self.request
            request = self.app.request_class.from_scope(
                self._scope, self._receive, self._outer, self._lines
            )
            request.json_module = self.app.json
            if self._made:
                return self.request
            if self._found is not None:
                request.url_rule, request.view_args = self._found
                self._found = None
            self.request = request
            self._made = True
            return request

    def _bind(self) -> Any:
        """Make the URL adapter, or note why there can be none."""
        self._url_adapter = None
        try:
            self._url_adapter = self.app.create_url_adapter(self.request)
        except HTTPException as exc:
            self.request.routing_exception = exc
        return self._url_adapter

    @property
    def url_adapter(self) -> Any:
        """What matches and builds URLs for this request; `None` if its host is refused."""
        return self._bind() if self._url_adapter is _unbound else self._url_adapter

    @url_adapter.setter
    def url_adapter(self, value: Any) -> None:
        self._url_adapter = value

    def copy(self) -> RequestContext:
        """A context of its own with the same request and session, to be pushed in another
        thread or task."""
        ctx = self.__class__(self.app, None, self.request, self._opened_session)
        ctx.websocket = self.websocket
        return ctx

    def match_request(self) -> None:
        """Find the rule of the request's URL, or note the `HTTPException` that says why not."""
        request, websocket = self.request, self.websocket is not None
        found = None
        scope = request._scope
        if self._url_adapter is _unbound and scope is not None and request._lazy:
            url_map = self.app._map_of_paths(self._own)
            if url_map is not None:
                path, method = route_path(scope), scope.get("method", "GET")
                found = url_map.find_at_once(path, method, websocket)
        if found is None:
            adapter = self.url_adapter
            if adapter is None:
                return  # there is a routing exception instead
            try:
                found = adapter.match(return_rule=True, websocket=websocket)
            except HTTPException as exc:
                request.routing_exception = exc
                return
        request.url_rule, request.view_args = found

    @property
    def session(self) -> Any:
        """The session, opened now if it was not before. Reading it marks it as accessed, for
        the `Vary` header."""
        session = self._session
        session.accessed = True
        return session

    @property
    def _session(self) -> Any:
        """The session, opened now if it was not before; not marked as accessed."""
        if self._opened_session is None:
            drive(self._open_session(call_here))
        return self._opened_session

    @_session.setter
    def _session(self, session: Any) -> None:
        self._opened_session = session

    async def _open_session(self, call: Call) -> None:
        interface = self.app.session_interface
        session = await call(interface.open_session, self.app, self.request)
        if session is None:
            session = await call(interface.make_null_session, self.app)
        self._opened_session = session

    def _enter(self, app_ctx: AppContext) -> None:
        """`_push` when it has nothing to call."""
        app_ctx._cv_tokens.append(_cv_app.set(app_ctx))
        self._cv_tokens.append((_cv_request.set(self), app_ctx))
        self._find_rule()

    def _find_rule(self) -> None:
        """`match_request`, by the path alone if that will do."""
        if not self._made:
            url_map = self.app._map_of_paths(self._own)
            if url_map is not None:
                scope = self._scope
                path = route_path(scope) if scope.get("root_path") else scope["path"]
                self._found = found = url_map.find_at_once(path, scope["method"], False)
                if found is not None:
                    return
        if self.request.routing_exception is None:
            self.match_request()

    def _is_missed(self) -> bool:
        """Whether `_pop` has anything to call."""
        app = self.app
        return bool(
            app.teardown_request_funcs
            or app.teardown_appcontext_funcs
            or request_tearing_down.receivers
            or appcontext_tearing_down.receivers
            or appcontext_popped.receivers
            or not self._own
        )

    def _leave(self) -> bool:
        """`_pop` when it has nothing to call. If other contexts are in the way, false, and nothing
        is done."""
        tokens = self._cv_tokens
        if len(tokens) != 1 or _cv_request.get(None) is not self:
            return False
        token, app_ctx = tokens[0]
        if _cv_app.get(None) is not app_ctx or app_ctx is None or len(app_ctx._cv_tokens) != 1:
            return False
        if self._made:
            self.request.close()
        tokens.clear()
        _cv_request.reset(token)
        _cv_app.reset(app_ctx._cv_tokens.pop())
        return True

    async def _push(self, call: Call, app_ctx: AppContext | None = None) -> None:
        """*app_ctx*: what to use in place of a current one, which is then not looked at."""
        if app_ctx is None:
            current = _cv_app.get(None)
            if current is None or current.app is not self.app:
                app_ctx = self.app.app_context()
        if app_ctx is not None:
            await app_ctx._push(call)
        self._cv_tokens.append((_cv_request.set(self), app_ctx))
        if self._opened_session is None and not self.app._opens_session_lazily():
            await self._open_session(call)
        if self.request.routing_exception is None:
            self.match_request()

    async def _pop(self, exc: BaseException | None, call: Call) -> None:
        app = self.app
        last = len(self._cv_tokens) == 1
        if exc is _sentinel:
            exc = sys.exc_info()[1]
        held = last and self._holds > 0
        try:
            if held:
                self._deferred = self._cv_tokens[-1][1], exc
            elif last:
                try:
                    if (
                        app.teardown_request_funcs
                        or request_tearing_down.receivers
                        or app._is_replaced("do_teardown_request")
                    ):
                        await app._steps().do_teardown_request(app, self, call, exc)
                finally:
                    self.request.close()
        finally:
            current = _cv_request.get()
            token, app_ctx = self._cv_tokens.pop()
            _cv_request.reset(token)
            if app_ctx is not None:
                if held:
                    _cv_app.reset(app_ctx._cv_tokens.pop())
                else:
                    await app_ctx._pop(exc, call)
            if current is not self:
                raise AssertionError(
                    f"Popped wrong request context: {current!r} instead of {self!r}."
                )

    def push(self) -> None:
        """Make this the current request context, and its app's the current app context unless
        that is one of this app already."""
        drive(self._push(call_here))

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Undo `push`; the last one runs the functions registered with `teardown_request`."""
        drive(self._pop(exc, call_here))

    def hold(self) -> None:
        """Put off the teardown until `release`: a stream still needs the context."""
        self._holds += 1

    def release(self) -> None:
        """Undo `hold`; run the teardown if the context was popped meanwhile."""
        self._holds -= 1
        if self._deferred is not None and not self._holds:
            (app_ctx, exc), self._deferred = self._deferred, None
            drive(self._push(call_here, app_ctx))
            self.pop(exc)

    def __enter__(self) -> RequestContext:
        self.push()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.pop(exc_value)

    async def __aenter__(self) -> RequestContext:
        await self._push(_call_on_loop)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._pop(exc_value, _call_on_loop)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.request.url!r}"
            f" [{self.request.method}] of {self.app.name}>"
        )


_cv_app: ContextVar[AppContext] = ContextVar("asyncflask.app_ctx")
_cv_request: ContextVar[RequestContext] = ContextVar("asyncflask.request_ctx")

NO_APP = """Working outside of application context.

No app is in use here, so 'current_app' and 'g' have nothing to stand for. They do in views,
hooks and commands; elsewhere write 'with app.app_context():' round the code."""

NO_REQUEST = """Working outside of request context.

No request is being handled here, so 'request' and 'session' have nothing to stand for. They do
in views and hooks; a test may write 'with app.test_request_context():' round the code."""

NO_WEBSOCKET = """Working outside of a WebSocket.

'websocket' stands for the connection in functions registered with 'app.websocket', and in the
hooks that run for them; a request has none."""


async def _call_on_loop(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Driver.call` for `async with`: what plain functions clean up was made by plain code in
    that same block, on the loop's thread."""
    value = func(*args, **kwargs)
    return await value if isinstance(value, Awaitable) else value


def current_app_ctx() -> AppContext:
    """The current app context. Raises `RuntimeError` if there is none."""
    ctx = _cv_app.get(None)
    if ctx is None:
        raise RuntimeError(NO_APP)
    return ctx


def current_request_ctx() -> RequestContext:
    """The current request context. Raises `RuntimeError` if there is none."""
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(NO_REQUEST)
    return ctx


def has_app_context() -> bool:
    """Whether an app context is active (Flask: `has_app_context`)."""
    return _cv_app.get(None) is not None


def has_request_context() -> bool:
    """Whether a request context is active, of a WebSocket too (Flask: `has_request_context`)."""
    return _cv_request.get(None) is not None


def has_websocket_context() -> bool:
    """Whether the active request context is that of a WebSocket (Quart)."""
    ctx = _cv_request.get(None)
    return ctx is not None and ctx.websocket is not None


def after_this_request(f: F) -> F:
    """Register *f* to be called with the response of this very request, of which it gives the
    same or another one. Raises `RuntimeError` outside of a request."""
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(
            "'after_this_request' registers a function for the response of the current request,"
            " and a request context is not active here. Call it in a view or a hook."
        )
    ctx._after_request_functions.append(f)
    return f


def copy_current_request_context(f: F) -> F:
    """Wrap *f* so that it can be called in another thread or task, with a copy of the current
    request context. Raises `RuntimeError` outside of a request."""
    original = _cv_request.get(None)
    if original is None:
        raise RuntimeError(
            "'copy_current_request_context' copies the current request context, and a request"
            " context is not active here. Call it in a view or a hook."
        )
    ctx = original.copy()

    if is_async(f):

        async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
            async with ctx:
                return await f(*args, **kwargs)

        return wraps(f)(async_wrapper)  # type: ignore[return-value]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with ctx:
            return f(*args, **kwargs)

    return wraps(f)(wrapper)  # type: ignore[return-value]


copy_current_websocket_context = copy_current_request_context
"""The context of a WebSocket is a request context (Quart: `copy_current_websocket_context`)."""


async def run_sync(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """From asynchronous code: call a plain function without blocking the loop, on the thread
    that runs all plain code of this request (so that a connection which a plain hook opened can
    be used), or on another thread outside of a request. Gives its value."""
    ctx = _cv_request.get(None)
    if ctx is not None and ctx.driver is not None:
        return await ctx.driver.run_sync(func, *args, **kwargs)
    return await run_in_worker(func, *args, **kwargs)
