"""The contexts: `RequestContext` is what belongs to one request or WebSocket, `AppContext` what
belongs to one use of an app.

`_cv_app` and `_cv_request` are the only variables; the framework passes the contexts by hand
and reads the variables only where user code calls in without one. What users call to get at a
context is in `ctx.py`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

from starlette.types import Message, Receive, Scope
from werkzeug.exceptions import HTTPException, NotFound

from .alias import advise
from .asgi.threads import Call, Driver, call_here, drive, is_async
from .asgi.wsgi import ORIGIN, Origin, route_path
from .routing import NOT_FOUND
from .signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    emit,
    request_tearing_down,
)

_NO_MATCH = None, None
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
    def get_send_file_max_age(self, filename: str | None) -> int | None: ...
    def iter_blueprints(self) -> Any: ...
    def create_global_jinja_loader(self) -> Any: ...
    def update_template_context(self, context: dict[str, Any]) -> None: ...
    def _setup(self) -> Any: ...
    def _step(self, name: str) -> Any: ...
    def _opens_session_lazily(self) -> bool: ...


class _Context:
    """Both contexts: entered and left by hand, by `with`, or by `async with` where functions
    that run at teardown may be asynchronous."""

    app: Any
    _url_adapter: Any = _unbound

    async def _push(self, call: Call) -> None:
        raise NotImplementedError

    async def _pop(self, exc: BaseException | None, call: Call) -> None:
        raise NotImplementedError

    def _bind_urls(self) -> Any:
        """Make what `url_adapter` gives."""
        raise NotImplementedError

    @property
    def url_adapter(self) -> Any:
        """What matches and builds URLs here (Werkzeug: `MapAdapter`), or `None`."""
        return self._bind_urls() if self._url_adapter is _unbound else self._url_adapter

    @url_adapter.setter
    def url_adapter(self, value: Any) -> None:
        self._url_adapter = value

    def push(self) -> None:
        """Make this the current context."""
        drive(self._push(call_here))

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Undo `push`; the last `pop` runs the teardown functions with *exc*, by default the
        exception that is being handled."""
        drive(self._pop(exc, call_here))

    def __enter__(self) -> Self:
        self.push()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc_value is not None:
            advise(exc_value)
        self.pop(exc_value)

    async def __aenter__(self) -> Self:
        await self._push(_call_on_loop)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc_value is not None:
            advise(exc_value)
        await self._pop(exc_value, _call_on_loop)


class AppContext(_Context):
    """An app in use, with its `g` (Flask: The Application Context)."""

    # No defaults in the class: either they or a look at `__dict__` keep Python 3.11 from reading
    # attributes in its fast way. In `RequestContext` too.

    def __init__(self, app: Any) -> None:
        self.app = app
        self.g: Any = app.app_ctx_globals_class()
        self._cv_tokens: list[tuple[Token[AppContext], None]] = []

    def _bind_urls(self) -> Any:
        self._url_adapter = self.app.create_url_adapter(None)
        return self._url_adapter

    async def _push(self, call: Call) -> None:
        self._cv_tokens.append((_cv_app.set(self), None))
        if appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)

    async def _pop(self, exc: BaseException | None, call: Call) -> None:
        errors: list[BaseException] = []
        if len(self._cv_tokens) == 1:
            exc = sys.exception() if exc is _sentinel else exc
            teardown = self.app._setup().plan(self.app, None).end_app
            await tear_down(self.app, call, teardown, exc, errors)
        if self._unset(errors):
            await self._tell(call, errors)
        if errors:
            raise collected("app", errors)

    def _unset(self, errors: list[BaseException]) -> bool:
        """Make this the current context no longer. Returns whether anybody is to be told."""
        current = _cv_app.get(None)
        _undo(_cv_app, self._cv_tokens)
        if current is not self:
            errors.append(_popped_wrong("app", current, self))
            return False
        return bool(appcontext_popped.receivers)

    async def _tell(self, call: Call, errors: list[BaseException]) -> None:
        try:
            await emit(appcontext_popped, self.app, call)
        except BaseException as error:
            errors.append(error)


class RequestContext(_Context):
    """One request or WebSocket: its `request`, `session` and matched rule (Flask: The Request
    Context). Made by `Flask.request_context` and `Flask.test_request_context`, or `of_scope`.

    *environ*: a WSGI environ, from which the request is made unless *request* is given.
    """

    # In the class: what few requests have.

    flashes: list[tuple[str, str]] | None = None
    """The messages of `get_flashed_messages`, once it was called."""

    websocket: Any = None
    """The connection, if this is a WebSocket."""

    _after_request_functions: Sequence[Callable[[Any], Any]] = ()
    _background: Sequence[Callable[[], None]] = ()

    _deferred: tuple[AppContext | None, BaseException | None] | None = None
    """What `_pop` was to tear down when a stream held the context."""

    _ending = False
    """Whether it is being torn down: then sync functions run on the loop if no thread is to be
    had."""

    _error: BaseException | None = None
    """What the view or a hook raised."""

    _found: Any = _unbound
    """What `_find_by_path` gave, if the rest is left to `_find_rule`."""

    _holds = 0
    _opened_session: Any = None
    _origin: Origin | None = None

    def __init__(self, app: Any, environ: Any, request: Any = None, session: Any = None) -> None:
        self.app = app
        self._context: Context | None = None
        """Where the code of the request runs; `None` for a context that was pushed by hand."""
        self._cv_tokens: list[tuple[Token[RequestContext], AppContext | None]] = []
        self._driver: Driver | None = None
        self._last_plan: Any = None
        """The plan of the request, as it was when it was last looked at."""
        self._lines: dict[bytes, bytes] | None = None
        """The header lines by name, if no name is repeated."""
        self._match: tuple[Any, dict[str, Any] | None] = _NO_MATCH
        """The matched rule and the values of its placeholders, until there is a request, which
        has them then."""
        self._more = False
        """Whether something has a part in the end of the request that its plan does not know of:
        a session, `after_this_request`, a stream, a background task, a test."""
        self._request = request
        self._scope: Any = None
        self._whole: tuple[Message | None, bytes] | None = None
        """The response if it is there as a whole: the message that begins it, unless that was
        sent, and its content."""
        if session is not None:
            self._session = session
        if environ is not None:
            if request is None:
                self._request = app.request_class(environ)
                self._request.json_module = app.json
            self._bind_urls()

    # Of a request that has arrived by ASGI.
    _outer: Context
    _receive: Receive
    _setup: Any

    @classmethod
    def of_scope(cls, app: Any, setup: Any, scope: Scope, receive: Receive) -> Self:
        """The context of a request that has arrived by ASGI. It runs in a copy of the current
        `contextvars.Context`, and *receive* in another one."""
        self = cls(app, None)
        headers = scope["headers"]
        lines = dict(headers)
        if len(lines) == len(headers):
            self._lines = lines
        self._setup = setup
        self._scope = scope
        self._receive = receive
        self._context = context = copy_context()
        self._outer = copy_context()
        if ORIGIN in scope:
            self._more = True
            self._origin = origin = scope[ORIGIN]
            origin.context = context
        return self

    @property
    def driver(self) -> Driver | None:
        """What runs the request, made when it is first needed; `None` for a context that was
        pushed by hand."""
        if self._driver is None and self._context is not None:
            with _making:
                if self._driver is None:
                    worker = None if self._origin is None else self._origin.worker
                    limit = self.app.config["WORKER_THREADS"]
                    self._driver = Driver(None, limit, worker, self._context, self._outer)
                    self._driver.loop_if_no_thread = self._ending
        return self._driver

    @driver.setter
    def driver(self, value: Driver | None) -> None:
        self._driver = value

    def end(self) -> None:
        """Give back what runs the request. None is made any more that nobody would give back."""
        if self._driver is not None:
            self._driver.release()
        else:
            self._context = None

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

    @property
    def request(self) -> Any:
        """The request, made when it is first needed."""
        request = self._request
        return self._make_request() if request is None else request

    @request.setter
    def request(self, value: Any) -> None:
        self._request = value

    def _make_request(self) -> Any:
        with _making:  # two threads of the user's may ask at once
            if self._request is None:
                app = self.app
                request = app.request_class.from_scope(
                    self._scope, self._receive, self._outer, self._lines
                )
                request.json_module = app.json
                if self._request is not None:  # its initializer has asked for it
                    return self._request
                request.url_rule, request.view_args = self._match
                self._request = request
            return self._request

    def _set_match(self, rule: Any, values: dict[str, Any]) -> None:
        if self._request is None:
            self._match = rule, values
        else:
            self._request.url_rule, self._request.view_args = rule, values

    def _plan(self) -> Any:
        """What is to be done for this request, as things are now."""
        rule = self._match[0] if self._request is None else self._request.url_rule
        plan = self._last_plan
        if plan is None or plan.rule is not rule or not plan.is_current(self.app):
            plan = self._last_plan = self._make_plan(self.app._setup(), rule)
        return plan

    def _make_plan(self, setup: Any, rule: Any) -> Any:
        if setup.names_blueprints:
            return setup.plan(self.app, rule)
        return setup.plan(self.app, rule, tuple(self.request.blueprints))

    def _bind_urls(self) -> Any:
        self._url_adapter = None
        try:
            self._url_adapter = self.app.create_url_adapter(self.request)
        except HTTPException as exc:
            self.request.routing_exception = exc
        return self._url_adapter

    def copy(self) -> RequestContext:
        """A context of its own with the same request and session, to be pushed in another
        thread or task."""
        ctx = self.__class__(self.app, None, self.request, self._opened_session)
        ctx.websocket = self.websocket
        return ctx

    def match_request(self) -> None:
        """Find the rule of the request's URL, or note the `HTTPException` that says why not."""
        drive(self._find_rule(call_here))

    async def _find_rule(self, call: Call) -> None:
        """`match_request`. Converters that are not Werkzeug's own are sync code of the app's."""
        found, self._found = self._found, _unbound
        if found is _unbound:
            found = self._find_by_path(self.app._setup())
        rule: Any
        try:
            if found is NOT_FOUND:
                raise NotFound
            if found is None:
                adapter = self.url_adapter
                if adapter is None or self.request.routing_exception is not None:
                    return
                websocket = self.websocket is not None
                match = partial(adapter.match, return_rule=True, websocket=websocket)
                pending = getattr(self.app.url_map, "pending", True)
                rule, values = (await call(match)) if pending else match()
            else:
                rule, values, pending = found
                if pending is not None:
                    values = await call(pending)
        except HTTPException as exc:
            self.request.routing_exception = exc
        else:
            self._set_match(rule, values)

    def _find_by_path(self, setup: Any) -> Any:
        """What `Map.find` gives, if the path alone decides; otherwise `None`. By the scope: what a
        subclass of `Request` says is for its own use, unless it has made another environ."""
        scope, request = self._scope, self._request
        paths = setup.paths(self.app)
        if (
            paths is None
            or scope is None
            or self._url_adapter is not _unbound
            or (request is not None and "environ" in request.__dict__)
        ):
            return None
        path = route_path(scope) if scope.get("root_path") else scope["path"]
        return paths.find(path, scope.get("method", "GET"), self.websocket is not None)

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
        self._more = True

    async def _open_session(self, call: Call) -> None:
        interface = self.app.session_interface
        session = await call(interface.open_session, self.app, self.request)
        if session is None:
            session = await call(interface.make_null_session, self.app)
        self._session = session

    async def _push(self, call: Call, app_ctx: AppContext | None = None) -> None:
        """*app_ctx*: what to use in place of a current one, which is then not looked at."""
        if app_ctx is None and self.shared_app_context() is None:
            app_ctx = self.app.app_context()
        self._set(app_ctx)
        await self._begin(call, app_ctx)
        if self.request.routing_exception is None:
            await self._find_rule(call)

    def shared_app_context(self) -> AppContext | None:
        """The current app context, if it is of the same app: a request that a test or a WSGI
        server makes within it shares it, as in Flask 3.1."""
        current = _cv_app.get(None)
        if current is None or current.app is not self.app or self.app.flask_api >= (3, 2):
            return None
        return current

    def _set(self, app_ctx: AppContext | None) -> None:
        """Make this the current context, and *app_ctx* unless there is one to be shared."""
        if app_ctx is not None:
            app_ctx._cv_tokens.append((_cv_app.set(app_ctx), None))
        self._cv_tokens.append((_cv_request.set(self), app_ctx))

    async def _begin(self, call: Call, app_ctx: AppContext | None) -> None:
        """What follows `_set`: the signal, and a session that is not opened when it is read."""
        if app_ctx is not None and appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)
        if self._opened_session is None and not self.app._opens_session_lazily():
            await self._open_session(call)

    async def _pop(self, exc: BaseException | None, call: Call, plan: Any = None) -> None:
        """*plan*: if it is known to be current."""
        last = len(self._cv_tokens) == 1
        exc = sys.exception() if exc is _sentinel else exc
        if last and self._holds:
            app_ctx = self._cv_tokens[-1][1]
            self._deferred = app_ctx, exc
            self._unset()
            if app_ctx is not None:
                _undo(_cv_app, app_ctx._cv_tokens)
            return
        errors: list[BaseException] = []
        if last:
            plan = plan or self._plan()
            if plan.end_request.is_due():
                await tear_down(self.app, call, plan.end_request, exc, errors)
            try:
                if self._request is not None:
                    self._request.close()
            except BaseException as error:
                errors.append(error)
        current = _cv_request.get(None)
        app_ctx = self._unset()
        if app_ctx is not None:
            if last and plan.end_app.is_due() and len(app_ctx._cv_tokens) == 1:
                await tear_down(self.app, call, plan.end_app, exc, errors)
            if app_ctx._unset(errors):
                await app_ctx._tell(call, errors)
        if current is not self:
            errors.append(_popped_wrong("request", current, self))
        if errors:
            raise collected("context", errors)

    def _unset(self) -> AppContext | None:
        app_ctx: AppContext | None = _undo(_cv_request, self._cv_tokens)
        return app_ctx

    def _leave(self) -> bool:
        """`_pop`, if it has nothing to call. False, with nothing done, if it has, or if other
        contexts were left behind."""
        tokens = self._cv_tokens
        if self._last_plan.ends or any(_AT_END) or len(tokens) != 1:
            return False
        if _cv_request.get(None) is not self:
            return False
        token, app_ctx = tokens[0]
        if app_ctx is not None:
            if _cv_app.get(None) is not app_ctx or len(app_ctx._cv_tokens) != 1:
                return False
            _cv_app.reset(app_ctx._cv_tokens.pop()[0])
        if self._request is not None:
            self._request.close()
        tokens.clear()
        _cv_request.reset(token)
        return True

    def add_background(self, begin: Callable[[], None]) -> None:
        """Have *begin* called after the response was sent."""
        self._background = [*self._background, begin]
        self._more = True

    def hold(self) -> None:
        """Put off the teardown until `release`: a stream still needs the context."""
        self._holds += 1
        self._more = True

    def release(self) -> None:
        """Undo `hold`; run the teardown if the context was popped meanwhile."""
        self._holds -= 1
        if self._deferred is not None and not self._holds:
            (app_ctx, exc), self._deferred = self._deferred, None
            self._set(app_ctx)
            self.pop(exc)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.request.url!r}"
            f" [{self.request.method}] of {self.app.name}>"
        )


_AT_END = tuple(
    signal.receivers
    for signal in (request_tearing_down, appcontext_tearing_down, appcontext_popped)
)


def _undo(variable: ContextVar[Any], tokens: list[Any]) -> Any:
    """Undo the last push that was made in this `contextvars.Context`: a stream may still have a
    context pushed which a test client pushed again in the test's. Returns what was with it."""
    for token, more in reversed(tokens):
        try:
            variable.reset(token)
        except ValueError:  # of another Context
            continue
        tokens.remove((token, more))
        return more
    raise LookupError("This context was not pushed here.")


def _popped_wrong(kind: str, current: Any, own: Any) -> AssertionError:
    return AssertionError(f"Popped wrong {kind} context: {current!r} instead of {own!r}.")


async def tear_down(
    app: Any, call: Call, teardown: Any, exc: BaseException | None, errors: list[BaseException]
) -> None:
    """Call all functions of *teardown* with *exc*, whatever they raise, and send its signal.
    What they raise is added to *errors*: a cancellation too, for the others still have to run."""
    functions, signal, name = teardown
    raised: list[BaseException] = []
    for func, _ in functions:
        try:
            await call(func, exc)
        except BaseException as error:
            raised.append(error)
    if signal is not None and signal.receivers:
        try:
            await emit(signal, app, call, exc=exc)
        except BaseException as error:
            raised.append(error)
    for failure in raised:
        advise(failure)
    if raised:
        errors.append(collected(name, raised))


def collected(name: str, errors: list[BaseException]) -> BaseException:
    """One error as it is; of several, what is no `Exception` before a group of all."""
    for error in errors:
        if len(errors) == 1 or not isinstance(error, Exception):
            return error
    return BaseExceptionGroup(f"Errors during {name} teardown", errors)


async def _call_on_loop(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Driver.call` for `async with`: what plain functions clean up was made by plain code in
    that same block, on the loop's thread."""
    value = func(*args, **kwargs)
    return await value if isinstance(value, Awaitable) else value


_cv_app: ContextVar[AppContext] = ContextVar("asyncflask.app_ctx")
_cv_request: ContextVar[RequestContext] = ContextVar("asyncflask.request_ctx")
