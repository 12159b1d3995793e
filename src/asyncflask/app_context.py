"""`AppContext` for one use of an app, the base of both contexts, and the variables that hold them.

`_cv_app` and `_cv_request` are the only context variables. The framework passes contexts by
hand and reads the variables only where user code calls it without one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug.routing import MapAdapter

from .alias import advise
from .asgi.threads import Call
from .asgi.waiting import call_here, drive
from .signals import appcontext_popped, appcontext_pushed, emit
from .teardown import collected, tear_down

if TYPE_CHECKING:
    from .app import Flask
    from .contexts import RequestContext
    from .ctx import _AppCtxGlobals

_sentinel: Any = object()
"""The default of *exc*: the exception being handled."""

UNBOUND: object = object()


class BaseContext:
    """Base of both contexts. Push and pop it by hand, use `with`, or `async with` if teardown
    functions may be async."""

    app: Flask
    _url_adapter: Any = UNBOUND

    async def push_by(self, call: Call) -> None:
        raise NotImplementedError

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        raise NotImplementedError

    def _bind_urls(self) -> MapAdapter | None:
        """Make the value of `url_adapter`."""
        raise NotImplementedError

    @property
    def url_adapter(self) -> MapAdapter | None:
        """The adapter that matches and builds URLs (Werkzeug: `MapAdapter`), or `None`."""
        return self._bind_urls() if self._url_adapter is UNBOUND else self._url_adapter

    @url_adapter.setter
    def url_adapter(self, value: MapAdapter | None) -> None:
        self._url_adapter = value

    def push(self) -> None:
        """Make this the current context."""
        drive(self.push_by(call_here))

    def pop(self, exc: BaseException | None = _sentinel) -> None:
        """Undo `push`. The last `pop` runs the teardown functions with *exc*, by default the
        exception being handled."""
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


def note_push() -> None:
    """Note that a context is pushed or popped during a request, which its plan does not
    include."""
    if (current := _cv_request.get(None)) is not None:
        current.unplanned = True


class AppContext(BaseContext):
    """The context of an app in use, with its `g` (Flask: The Application Context)."""

    # No class-level defaults: they, or any access to `__dict__`, disable Python 3.11's fast
    # attribute access. The same goes for `RequestContext`.

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.g: _AppCtxGlobals = app.app_ctx_globals_class()
        self._cv_tokens: list[tuple[Token[AppContext], None]] = []

    def _bind_urls(self) -> MapAdapter | None:
        adapter = self._url_adapter = self.app.create_url_adapter(None)
        return adapter

    async def push_by(self, call: Call) -> None:
        note_push()
        self._cv_tokens.append((_cv_app.set(self), None))
        if appcontext_pushed.receivers:
            await emit(appcontext_pushed, self.app, call)

    async def pop_by(self, exc: BaseException | None, call: Call) -> None:
        note_push()
        errors: list[BaseException] = []
        if len(self._cv_tokens) == 1:
            exc = sys.exception() if exc is _sentinel else exc
            teardown = self.app._setup().plan(self.app, None).end_app
            await tear_down(self.app, call, teardown, exc, errors)
        undo(_cv_app, self._cv_tokens, self, errors)
        if appcontext_popped.receivers:
            await self.tell(call, errors)
        if errors:
            raise collected("app", errors)

    async def tell(self, call: Call, errors: list[BaseException]) -> None:
        """Send the `appcontext_popped` signal. Collect an exception in *errors*."""
        try:
            await emit(appcontext_popped, self.app, call)
        except BaseException as error:
            errors.append(error)


def undo(
    variable: ContextVar[Any],
    tokens: list[Any],
    popped: BaseContext | None = None,
    errors: list[BaseException] | None = None,
) -> Any:
    """Undo the last push made in this `contextvars.Context`: a test client may have pushed, in
    the test's, a context that a stream still has pushed in its own. Return the value stored
    with it. If *popped* is not current, add that to *errors*."""
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
            return undo(variable, tokens)
        finally:
            tokens.append((token, more))
    return more


async def _call_on_loop(func: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
    """`Driver.call` for `async with`: sync functions run on the loop's thread, since what they
    clean up was made by sync code in the same block."""
    value = func(*args, **kwargs)
    return await value if isinstance(value, Awaitable) else value


_cv_app: ContextVar[AppContext] = ContextVar("asyncflask.app_ctx")


_cv_request: ContextVar[RequestContext] = ContextVar("asyncflask.request_ctx")
