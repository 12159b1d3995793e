"""`RequestContext` for one request or WebSocket. `AppContext`, and the variables that hold both,
are in `app_context.py`; the public functions around contexts in `ctx.py`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, Token, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

from starlette.types import Message, Receive, Scope, Send
from werkzeug.exceptions import HTTPException, NotFound, RequestURITooLarge
from werkzeug.routing import MapAdapter, Rule, WebsocketMismatch

from .app_context import (
    UNBOUND,
    AppContext,
    BaseContext,
    _cv_app,
    _cv_request,
    _sentinel,
    note_push,
    undo,
)
from .asgi.environ import Environ, Origin
from .asgi.scope import ORIGIN, route_path
from .asgi.threads import Call, Driver, is_async
from .asgi.waiting import call_here, drive
from .asgi.websocket import WebSocket
from .routing import (
    IN_BRACES,
    NO_WEBSOCKET,
    NOT_FOUND,
    TOO_LONG,
    UpgradeRequired,
    in_braces,
)
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
    from .plan import Plan, Setup
    from .sessions import SessionMixin
    from .wrappers import Request

_NO_MATCH = None, None, None
_new = object.__new__

_making = threading.RLock()  # reentrant: a signal handler may need it too


class RequestContext(BaseContext):
    """The context of one request or WebSocket: its `request`, `session` and matched rule
    (Flask: The Request Context). Created by `Flask.request_context`,
    `Flask.test_request_context` or `of_scope`.

    :param environ: a WSGI environ to make the request from, unless *request* is given.
    """

    # Class attributes: set for few requests, or set once before they are read.

    flashes: list[tuple[str, str]] | None = None
    """The messages of `get_flashed_messages`, after its first call."""

    websocket: WebSocket = cast("WebSocket", None)
    """The connection if this is a WebSocket, otherwise `None`."""

    _after_request_functions: Sequence[Callable[[Any], Any]] = ()

    answered_by: tuple[str, Callable[..., Any]] | None = None
    """The kind and function of the hook or error handler that answered instead of the view, for
    error messages."""

    background: Sequence[Callable[[], None]] = ()
    """Functions to call after the response was sent."""

    _deferred: tuple[AppContext | None, BaseException | None] | None = None
    """The app context and exception of a teardown that waits for a stream."""

    ending = False
    """`True` during teardown: sync functions then run on the loop if no thread is available."""

    error: BaseException | None = None
    """The exception that the view or a hook raised."""

    found: Any = UNBOUND
    """The result of `Map.find`, if `find_rule` is to do the rest."""

    holds = 0
    """How many streams need the context."""

    lines: dict[bytes, bytes] | None = None
    """The request headers by name, if no name is repeated."""

    match: tuple[Any, dict[str, Any] | None, object] = _NO_MATCH
    """The matched rule, the values of its placeholders, and the values still to be converted."""

    opened_session: SessionMixin = cast("SessionMixin", None)
    """The session, if it was opened."""

    origin: Origin | None = None

    plan: Plan = cast("Plan", None)
    """The request's plan, as of the last check."""

    prepare: Callable[..., Awaitable[None] | None] | None = None
    """Called by a driver before the first coroutine function and, with `False` as second
    argument, before it takes a thread. Set only until a function is called; without a driver by
    then, `dispatch_request` calls it."""

    ready: object = None
    """The view's return value as a `Ready`, if it was serialized before a response object
    turned out to be needed."""

    to_send: tuple[Message | None, bytes] | None = None
    """The complete response: the message that starts it, or `None` if that was sent, and the
    content."""

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
        """The value of `driver`, if it was created."""
        self.request_or_none = cast("Request", request)
        """The value of `request`, if it was created."""
        self.unplanned = False
        """`True` if something that the plan does not include takes part in the end of the
        request: `after_this_request`, a stream, a background task, a test, another context."""
        if session is not None:
            self._session = session
        if environ is not None:
            if request is None:
                self.request_or_none = app.request_class(environ)
                self.request_or_none.json_module = app.json
            self._bind_urls()

    # Only for requests that arrived over ASGI.
    outer: Context
    receive: Receive
    setup: Setup

    send: Send
    """Set once the request waits for something or is on a thread."""

    scope: Scope = cast("Scope", None)

    context: Context | None = None
    """The `contextvars.Context` that the request's code runs in; `None` if pushed by hand."""

    @classmethod
    def of_scope(cls, app: Flask, setup: Setup, scope: Scope, receive: Receive) -> Self:
        """Create the context of a request that arrived over ASGI. The request runs in a copy of
        the current `contextvars.Context`, and *receive* in another copy."""
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
        """The driver that runs the request, created on first use; `None` for a context pushed
        by hand."""
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

    def call(self, func: Callable[..., Any], /, *args: object, **kwargs: object) -> Awaitable[Any]:
        """Like `Driver.call`, but coroutine functions need no driver."""
        driver = self.driver_or_none
        if driver is None:
            if is_async(func) and self.prepare is None:
                return func(*args, **kwargs)  # type: ignore[no-any-return]
            driver = self.driver
            assert driver is not None
        return driver.call(func, *args, **kwargs)

    @property
    def request(self) -> Request:
        """The request, created on first use."""
        request = self.request_or_none
        return self._make_request() if request is None else request

    @request.setter
    def request(self, value: Request) -> None:
        self.request_or_none = value

    def _make_request(self) -> Request:
        with _making:  # two user threads may ask at once
            if self.request_or_none is None:
                app = self.app
                request = app.request_class.from_scope(
                    self.scope, self.receive, self.outer, self.lines, app.json, self.match
                )
                if self.request_or_none is not None:  # created by its own initializer's access
                    return self.request_or_none
                self.request_or_none = request
            return self.request_or_none

    def current_plan(self) -> Plan:
        """Return the request's plan, remade if it is out of date."""
        plan, request = self.plan, self.request_or_none
        rule = self.match[0] if request is None else request.url_rule
        if plan is not None and plan.rule is rule and next(plan.same):
            return plan
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
        """Return another context for the same request and session, to push in another thread or
        task."""
        ctx = self.__class__(self.app, None, self.request, self.opened_session)
        ctx.websocket = self.websocket
        return ctx

    def match_request(self) -> None:
        """Find the rule for the request's URL, or keep the `HTTPException` that matching
        raised."""
        drive(self.find_rule(call_here))

    async def find_rule(self, call: Call) -> None:
        """`match_request`, for the pipeline. Converters other than Werkzeug's are called as
        sync code."""
        found, self.found = self.found, UNBOUND
        if found is UNBOUND:
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
                    exc = UpgradeRequired(self.request.path, self.app.debug, self.scope)
                elif self.app.debug:
                    self.app.logger.warning(NO_WEBSOCKET, self.request.path)
            elif (
                self.app.debug
                and type(exc) is NotFound
                and (in_rule := in_braces(self.app.url_map.iter_rules(), self.request.path))
            ):
                self.app.logger.warning(IN_BRACES, *in_rule)
            self.request.routing_exception = exc
        else:
            self.match = rule, values, None
            if self.request_or_none is not None:
                self.request_or_none.url_rule, self.request_or_none.view_args = rule, values

    def _find_by_path(self, setup: Setup) -> object:
        """Return the result of `Map.find` if the path alone decides, otherwise `None`. Reads
        the scope: what a `Request` subclass changes counts only if it made another environ."""
        scope, request = self.scope, self.request_or_none
        paths = setup.paths(self.app)
        if (
            paths is None
            or scope is None
            or self._url_adapter is not UNBOUND
            or (request is not None and "environ" in request.__dict__)
        ):
            return None
        path = route_path(scope) if scope.get("root_path") else scope["path"]
        return paths.find(path, scope.get("method", "GET"), self.websocket is not None)

    @property
    def session(self) -> SessionMixin:
        """The session, opened on first access. Access is noted, for the `Vary` header."""
        session = self._session
        session.accessed = True
        return session

    @property
    def _session(self) -> SessionMixin:
        """The session, opened on first access. Access is not noted."""
        if self.opened_session is None:
            drive(self.open_session(call_here))
        return self.opened_session

    @_session.setter
    def _session(self, session: SessionMixin) -> None:
        self.opened_session = session

    async def open_session(self, call: Call) -> None:
        interface = self.app.session_interface
        session = await call(interface.open_session, self.app, self.request)
        if session is None:
            session = await call(interface.make_null_session, self.app)
        self._session = session

    async def push_by(self, call: Call, app_ctx: AppContext | None = None) -> None:
        """`push`, for the pipeline. With *app_ctx*, use it instead of looking for a current
        one."""
        note_push()
        self.unplanned = True
        if app_ctx is None and self.shared_app_context() is None:
            app_ctx = self.app.app_context()
        self.set_current(app_ctx)
        await self.begin(call, app_ctx)
        if self.request.routing_exception is None:
            await self.find_rule(call)

    def shared_app_context(self) -> AppContext | None:
        """Return the current app context if it belongs to the same app. As in Flask 3.1, a
        request made within it by a test or a WSGI server shares it."""
        current = _cv_app.get(None)
        if current is None or current.app is not self.app or self.app.flask_api >= (3, 2):
            return None
        return current

    def set_current(self, app_ctx: AppContext | None) -> None:
        """Make this the current context, and *app_ctx* too, unless it is `None`."""
        if app_ctx is not None:
            app_ctx._cv_tokens.append((_cv_app.set(app_ctx), None))
        self._cv_tokens.append((_cv_request.set(self), app_ctx))

    async def begin(self, call: Call, app_ctx: AppContext | None) -> None:
        """Continue after `set_current`: send the signal, and open a session that is not opened
        lazily."""
        if app_ctx is not None and appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)
        if self.opened_session is None and not self.app._opens_session_lazily():
            await self.open_session(call)

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        """`pop`, for the pipeline: *call* calls the functions."""
        self.unplanned = True
        exc = sys.exception() if exc is _sentinel else exc
        last = len(self._cv_tokens) == 1
        if last and self.holds:
            app_ctx = undo(_cv_request, self._cv_tokens)
            self._deferred = app_ctx, exc
            if app_ctx is not None:
                undo(_cv_app, app_ctx._cv_tokens)
            return
        await self.end_by(exc, call, self.current_plan() if last else None)

    async def end_by(self, exc: BaseException | None, call: Call, plan: Plan | None) -> None:
        """Undo a push. If it is the last one, *plan* has the functions to call."""
        errors: list[BaseException] = []
        if plan is not None:
            if plan.end_request.functions or request_tearing_down.receivers:
                await tear_down(self.app, call, plan.end_request, exc, errors, self)
                plan = self.current_plan()  # they may have registered some for the next stage
            if self.request_or_none is not None:
                self._close_request(errors)
        app_ctx: AppContext | None
        if unplanned := self.unplanned:
            app_ctx = undo(_cv_request, self._cv_tokens, self, errors)
        else:  # no other context was pushed
            token, app_ctx = self._cv_tokens.pop()
            _cv_request.reset(token)
        if app_ctx is not None:
            tokens = app_ctx._cv_tokens
            if (
                plan is not None
                and (plan.end_app.functions or appcontext_tearing_down.receivers)
                and len(tokens) == 1
            ):
                await tear_down(self.app, call, plan.end_app, exc, errors, self)
                unplanned = len(tokens) != 1 or _cv_app.get(None) is not app_ctx
            if unplanned:
                undo(_cv_app, tokens, app_ctx, errors)
            else:
                _cv_app.reset(tokens.pop(0)[0])  # later ones are of threads that pushed it
            if appcontext_popped.receivers:
                await app_ctx.tell(call, errors)
        if errors:
            raise collected("context", errors)

    def leave(self) -> None:
        """`end_by` without functions to call, for a request that is not `unplanned`."""
        if self.request_or_none is not None:
            self.request_or_none.close()
        token, app_ctx = self._cv_tokens.pop()
        _cv_request.reset(token)
        # The first: a thread of the user's may have pushed it since, in its own context.
        _cv_app.reset(app_ctx._cv_tokens.pop(0)[0])  # type: ignore[union-attr]

    def _close_request(self, errors: list[BaseException]) -> None:
        try:
            self.request_or_none.close()
        except BaseException as error:
            errors.append(error)

    def add_background(self, begin: Callable[[], None]) -> None:
        """Register *begin* to be called after the response was sent."""
        self.background = [*self.background, begin]
        self.unplanned = True

    def hold(self) -> None:
        """Delay the teardown until `release`, because a stream still needs the context."""
        self.holds += 1
        self.unplanned = True

    def release(self) -> None:
        """Undo `hold`. Runs the teardown if the context was popped in the meantime."""
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
