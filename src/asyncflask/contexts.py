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
from typing import TYPE_CHECKING, Any, Self, cast

from starlette.types import Message, Receive, Scope, Send
from werkzeug.exceptions import HTTPException, NotFound, RequestURITooLarge
from werkzeug.routing import MapAdapter, Rule, WebsocketMismatch

from .alias import advise
from .asgi.environ import Environ, Origin
from .asgi.scope import ORIGIN, route_path
from .asgi.threads import Call, Driver, is_async
from .asgi.waiting import call_here, drive
from .asgi.websocket import WebSocket
from .routing import NO_WEBSOCKET, NOT_FOUND, TOO_LONG, UpgradeRequired
from .signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    emit,
    request_tearing_down,
)
from .teardown import collected, tear_down

if TYPE_CHECKING:
    from .app import Flask
    from .ctx import _AppCtxGlobals
    from .plan import Plan, Setup
    from .sessions import SessionMixin
    from .wrappers import Request

_NO_MATCH = None, None, None
_new = object.__new__
_sentinel: Any = object()
_unbound: object = object()

_making = threading.RLock()  # a signal handler may ask, too


class _Context:
    """Both contexts: entered and left by hand, by `with`, or by `async with` where functions
    that run at teardown may be asynchronous."""

    app: Flask
    _url_adapter: Any = _unbound

    async def push_by(self, call: Call) -> None:
        raise NotImplementedError

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        raise NotImplementedError

    def _bind_urls(self) -> MapAdapter | None:
        """Make what `url_adapter` gives."""
        raise NotImplementedError

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What matches and builds URLs here (Werkzeug: `MapAdapter`), or `None`."""
        return self._bind_urls() if self._url_adapter is _unbound else self._url_adapter

    @url_adapter.setter
    def url_adapter(self, value: MapAdapter | None) -> None:
        self._url_adapter = value

    def push(self) -> None:
        """Make this the current context."""
        drive(self.push_by(call_here))

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Undo `push`; the last `pop` runs the teardown functions with *exc*, by default the
        exception that is being handled."""
        drive(self.pop_by(exc, call_here))

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
        await self.push_by(_call_on_loop)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc_value is not None:
            advise(exc_value)
        await self.pop_by(exc_value, _call_on_loop)


def _note_push() -> None:
    """A context is pushed, or popped, while a request is handled: its plan knows of none."""
    if (current := _cv_request.get(None)) is not None:
        current.unplanned = True


class AppContext(_Context):
    """An app in use, with its `g` (Flask: The Application Context)."""

    # No defaults in the class: either they or a look at `__dict__` keep Python 3.11 from reading
    # attributes in its fast way. In `RequestContext` too.

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.g: _AppCtxGlobals = app.app_ctx_globals_class()
        self._cv_tokens: list[tuple[Token[AppContext], None]] = []

    def _bind_urls(self) -> MapAdapter | None:
        adapter = self._url_adapter = self.app.create_url_adapter(None)
        return adapter

    async def push_by(self, call: Call) -> None:
        _note_push()
        self._cv_tokens.append((_cv_app.set(self), None))
        if appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        _note_push()
        errors: list[BaseException] = []
        if len(self._cv_tokens) == 1:
            exc = sys.exception() if exc is _sentinel else exc
            teardown = self.app._setup().plan(self.app, None).end_app
            await tear_down(self.app, call, teardown, exc, errors)
        _undo(_cv_app, self._cv_tokens, self, errors)
        if appcontext_popped.receivers:
            await self.tell(call, errors)
        if errors:
            raise collected("app", errors)

    async def tell(self, call: Call, errors: list[BaseException]) -> None:
        """Tell who is to be told of a pop."""
        try:
            await emit(appcontext_popped, self.app, call)
        except BaseException as error:
            errors.append(error)


class RequestContext(_Context):
    """One request or WebSocket: its `request`, `session` and matched rule (Flask: The Request
    Context). Made by `Flask.request_context` and `Flask.test_request_context`, or `of_scope`.

    *environ*: a WSGI environ, from which the request is made unless *request* is given.
    """

    # In the class: what few requests have, and what is set once, before it is read.

    flashes: list[tuple[str, str]] | None = None
    """The messages of `get_flashed_messages`, once it was called."""

    websocket: WebSocket = cast("WebSocket", None)
    """The connection, if this is a WebSocket; else `None`."""

    _after_request_functions: Sequence[Callable[[Any], Any]] = ()

    answered_by: tuple[str, Callable[..., Any]] | None = None
    """The hook or error handler that answered in place of the view, for messages, and what it
    is."""

    background: Sequence[Callable[[], None]] = ()
    """What is begun after the response was sent."""

    _deferred: tuple[AppContext | None, BaseException | None] | None = None
    """What `pop_by` was to tear down when a stream held the context."""

    ending = False
    """Whether it is being torn down: then sync functions run on the loop if no thread is to be
    had."""

    error: BaseException | None = None
    """What the view or a hook raised."""

    found: Any = _unbound
    """What `Map.find` gave, if the rest is left to `find_rule`."""

    holds = 0
    """How many streams need the context."""

    lines: dict[bytes, bytes] | None = None
    """The header lines by name, if no name is repeated."""

    match: tuple[Any, dict[str, Any] | None, object] = _NO_MATCH
    """The matched rule, the values of its placeholders, and what of them was to be computed."""

    opened_session: SessionMixin = cast("SessionMixin", None)
    """The session, if it was opened."""

    origin: Origin | None = None

    plan: Plan = cast("Plan", None)
    """What is done for the request, as it was when it was last looked at."""

    prepare: Callable[..., Awaitable[None] | None] | None = None
    """What a driver is to call before the first coroutine function, and, with `False` as second
    argument, before it takes a thread. Set only while no function was called: if there is no
    driver by then, `dispatch_request` calls it."""

    to_send: tuple[Message | None, bytes] | None = None
    """The response, if all of it is there: the message that begins it, unless that was sent, and
    its content."""

    def __init__(
        self,
        app: Flask,
        environ: Environ | None,
        request: Request | None = None,
        session: SessionMixin | None = None,
    ) -> None:
        self.app = app
        self._cv_tokens: list[tuple[Token[RequestContext], AppContext | None]] = []
        self.driver_or_none: Driver | None = None
        """What `driver` gives, if it was made."""
        self.request_or_none = cast("Request", request)
        """What `request` gives, if it was made."""
        self.unplanned = False
        """Whether something has a part in the end of the request that its plan does not know of:
        a session, `after_this_request`, a stream, a background task, a test, another context."""
        if session is not None:
            self._session = session
        if environ is not None:
            if request is None:
                self.request_or_none = app.request_class(environ)
                self.request_or_none.json_module = app.json
            self._bind_urls()

    # Of a request that has arrived by ASGI.
    outer: Context
    receive: Receive
    setup: Setup

    send: Send
    """Set once the request waits for something, or is on a thread."""

    scope: Scope = cast("Scope", None)

    context: Context | None = None
    """Where the code of the request runs; `None` for a context that was pushed by hand."""

    @classmethod
    def of_scope(cls, app: Flask, setup: Setup, scope: Scope, receive: Receive) -> Self:
        """The context of a request that has arrived by ASGI. It runs in a copy of the current
        `contextvars.Context`, and *receive* in another one."""
        self = _new(cls)
        self.app = app
        self.setup = setup
        self.scope = scope
        self.receive = receive
        self.context = copy_context()
        self.outer = copy_context()
        self.driver_or_none = self.request_or_none = None  # type: ignore[assignment]
        self.unplanned = False
        self._cv_tokens = []
        headers = scope["headers"]
        lines = dict(headers)
        self.lines = lines if len(lines) == len(headers) else None
        if ORIGIN in scope:
            self.unplanned = True
            self.origin = scope[ORIGIN]
            self.origin.context = self.context
        return self

    @property
    def driver(self) -> Driver | None:
        """What runs the request, made when it is first needed; `None` for a context that was
        pushed by hand."""
        if self.driver_or_none is None and self.context is not None:
            with _making:
                if self.driver_or_none is None:
                    worker = None if self.origin is None else self.origin.worker
                    limit = self.app.config["WORKER_THREADS"]
                    self.driver_or_none = Driver(None, limit, worker, self.context, self.outer)
                    self.driver_or_none.loop_if_no_thread = self.ending
                    if self.prepare is not None:
                        self.driver_or_none.prepare = partial(self.prepare, self)
                        self.driver_or_none.before_thread = partial(self.prepare, self, False)
        return self.driver_or_none

    @driver.setter
    def driver(self, value: Driver | None) -> None:
        self.driver_or_none = value

    def call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """`Driver.call`, which needs no driver for coroutine functions."""
        driver = self.driver_or_none
        if driver is None:
            if is_async(func) and self.prepare is None:
                return func(*args, **kwargs)  # type: ignore[no-any-return]
            driver = self.driver
            assert driver is not None
        return driver.call(func, *args, **kwargs)

    @property
    def request(self) -> Request:
        """The request, made when it is first needed."""
        request = self.request_or_none
        return self._make_request() if request is None else request

    @request.setter
    def request(self, value: Request) -> None:
        self.request_or_none = value

    def _make_request(self) -> Request:
        with _making:  # two threads of the user's may ask at once
            if self.request_or_none is None:
                app = self.app
                request = app.request_class.from_scope(
                    self.scope, self.receive, self.outer, self.lines
                )
                request.json_module = app.json
                if self.request_or_none is not None:  # its initializer has asked for it
                    return self.request_or_none
                request.url_rule, request.view_args, _ = self.match
                self.request_or_none = request
            return self.request_or_none

    def current_plan(self) -> Plan:
        """What is to be done for this request, as things are now."""
        plan, request = self.plan, self.request_or_none
        if plan is not None and request is None and next(plan.same):
            return plan
        rule = self.match[0] if request is None else request.url_rule
        if plan is None or plan.rule is not rule or not plan.is_current(self.app):
            setup = self.app._setup()
            names = None if setup.names_blueprints else tuple(self.request.blueprints)
            plan = self.plan = setup.plan(self.app, rule, names)
        return plan

    def _bind_urls(self) -> MapAdapter | None:
        adapter: MapAdapter | None = None
        try:
            adapter = self.app.create_url_adapter(self.request)
        except HTTPException as exc:
            self.request.routing_exception = exc
        self._url_adapter = adapter
        return adapter

    def copy(self) -> RequestContext:
        """Another context with the same request and session, to be pushed in another
        thread or task."""
        ctx = self.__class__(self.app, None, self.request, self.opened_session)
        ctx.websocket = self.websocket
        return ctx

    def match_request(self) -> None:
        """Find the rule of the request's URL, or note the `HTTPException` that says why not."""
        drive(self.find_rule(call_here))

    async def find_rule(self, call: Call) -> None:
        """`match_request`. Converters that are not Werkzeug's own are sync code of the app's."""
        found, self.found = self.found, _unbound
        if found is _unbound:
            found = self._find_by_path(self.app._setup())
        rule: Rule
        values: Any
        try:
            if found is NOT_FOUND:
                raise NotFound
            if found is TOO_LONG:
                raise RequestURITooLarge
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
            if type(exc) is WebsocketMismatch:
                if self.websocket is None:
                    exc = UpgradeRequired(self.request.path, self.app.debug)
                elif self.app.debug:
                    self.app.logger.warning(NO_WEBSOCKET, self.request.path)
            self.request.routing_exception = exc
        else:
            self.match = rule, values, None
            if self.request_or_none is not None:
                self.request_or_none.url_rule, self.request_or_none.view_args = rule, values

    def _find_by_path(self, setup: Setup) -> object:
        """What `Map.find` gives, if the path alone decides; otherwise `None`. By the scope: what a
        subclass of `Request` says is for its own use, unless it has made another environ."""
        scope, request = self.scope, self.request_or_none
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
    def session(self) -> SessionMixin:
        """The session, opened now if it was not before. Reading it marks it as accessed, for
        the `Vary` header."""
        session = self._session
        session.accessed = True
        return session

    @property
    def _session(self) -> SessionMixin:
        """The session, opened now if it was not before; not marked as accessed."""
        if self.opened_session is None:
            drive(self.open_session(call_here))
        return self.opened_session

    @_session.setter
    def _session(self, session: SessionMixin) -> None:
        self.opened_session = session
        self.unplanned = True

    async def open_session(self, call: Call) -> None:
        interface = self.app.session_interface
        session = await call(interface.open_session, self.app, self.request)
        if session is None:
            session = await call(interface.make_null_session, self.app)
        self._session = session

    async def push_by(self, call: Call, app_ctx: AppContext | None = None) -> None:
        """*app_ctx*: what to use in place of a current one, which is then not looked at."""
        _note_push()
        self.unplanned = True
        if app_ctx is None and self.shared_app_context() is None:
            app_ctx = self.app.app_context()
        self.set_current(app_ctx)
        await self.begin(call, app_ctx)
        if self.request.routing_exception is None:
            await self.find_rule(call)

    def shared_app_context(self) -> AppContext | None:
        """The current app context, if it is of the same app: a request that a test or a WSGI
        server makes within it shares it, as in Flask 3.1."""
        current = _cv_app.get(None)
        if current is None or current.app is not self.app or self.app.flask_api >= (3, 2):
            return None
        return current

    def set_current(self, app_ctx: AppContext | None) -> None:
        """Make this the current context, and *app_ctx* unless there is one to be shared."""
        if app_ctx is not None:
            app_ctx._cv_tokens.append((_cv_app.set(app_ctx), None))
        self._cv_tokens.append((_cv_request.set(self), app_ctx))

    async def begin(self, call: Call, app_ctx: AppContext | None) -> None:
        """What follows `_set`: the signal, and a session that is not opened when it is read."""
        if app_ctx is not None and appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)
        if self.opened_session is None and not self.app._opens_session_lazily():
            await self.open_session(call)

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        """`pop`, with *call* for what is to be called."""
        self.unplanned = True
        exc = sys.exception() if exc is _sentinel else exc
        last = len(self._cv_tokens) == 1
        if last and self.holds:
            app_ctx = _undo(_cv_request, self._cv_tokens)
            self._deferred = app_ctx, exc
            if app_ctx is not None:
                _undo(_cv_app, app_ctx._cv_tokens)
            return
        await self.end_by(exc, call, self.current_plan() if last else None)

    async def end_by(self, exc: BaseException | None, call: Call, plan: Plan | None) -> None:
        """Undo a push; *plan* says what is to be called, if it is the last one."""
        errors: list[BaseException] = []
        if plan is not None:
            if plan.end_request.functions or request_tearing_down.receivers:
                await tear_down(self.app, call, plan.end_request, exc, errors, self)
                plan = self.current_plan()  # they may have registered functions for the next stage
            if self.request_or_none is not None:
                self._close_request(errors)
        checked = errors if self.unplanned else None  # otherwise nobody else has pushed any
        app_ctx: AppContext | None = _undo(_cv_request, self._cv_tokens, self, checked)
        if app_ctx is not None:
            if (
                plan is not None
                and (plan.end_app.functions or appcontext_tearing_down.receivers)
                and (checked is None or len(app_ctx._cv_tokens) == 1)
            ):
                await tear_down(self.app, call, plan.end_app, exc, errors, self)
                checked = errors  # `unplanned` tells of none that is pushed outside a request
            _undo(_cv_app, app_ctx._cv_tokens, app_ctx, checked)
            if appcontext_popped.receivers:
                await app_ctx.tell(call, errors)
        if errors:
            raise collected("context", errors)

    def leave(self) -> None:
        """`end_by` with nothing to call, in the flow, of which `unplanned` is not set."""
        if self.request_or_none is not None:
            self.request_or_none.close()
        token, app_ctx = self._cv_tokens.pop()
        _cv_request.reset(token)
        _cv_app.reset(app_ctx._cv_tokens.pop()[0])  # type: ignore[union-attr]

    def _close_request(self, errors: list[BaseException]) -> None:
        try:
            self.request_or_none.close()
        except BaseException as error:
            errors.append(error)

    def add_background(self, begin: Callable[[], None]) -> None:
        """Have *begin* called after the response was sent."""
        self.background = [*self.background, begin]
        self.unplanned = True

    def hold(self) -> None:
        """Put off the teardown until `release`: a stream still needs the context."""
        self.holds += 1
        self.unplanned = True

    def release(self) -> None:
        """Undo `hold`; run the teardown if the context was popped meanwhile."""
        self.holds -= 1
        if self._deferred is not None and not self.holds:
            (app_ctx, exc), self._deferred = self._deferred, None
            self.set_current(app_ctx)
            self.pop(exc)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.request.url!r}"
            f" [{self.request.method}] of {self.app.name}>"
        )


def _undo(
    variable: ContextVar[Any],
    tokens: list[Any],
    popped: _Context | None = None,
    errors: list[BaseException] | None = None,
) -> Any:
    """Undo the last push that was made in this `contextvars.Context`: a stream may still have a
    context pushed which a test client pushed again in the test's. Returns what was with it.
    *errors*: is told if *popped* is not current."""
    if errors is not None and variable.get(None) is not popped:
        kind, current = "app" if variable is _cv_app else "request", variable.get(None)
        message = f"Popped wrong {kind} context: {current!r} instead of {popped!r}."
        errors.append(AssertionError(message))
    try:
        token, more = tokens.pop()
    except IndexError:
        raise LookupError("This context was not pushed here.") from None
    try:
        variable.reset(token)
    except ValueError:  # of another Context
        try:
            return _undo(variable, tokens)
        finally:
            tokens.append((token, more))
    return more


async def _call_on_loop(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Driver.call` for `async with`: what sync functions clean up was made by sync code in
    that same block, on the loop's thread."""
    value = func(*args, **kwargs)
    return await value if isinstance(value, Awaitable) else value


_cv_app: ContextVar[AppContext] = ContextVar("asyncflask.app_ctx")
_cv_request: ContextVar[RequestContext] = ContextVar("asyncflask.request_ctx")
