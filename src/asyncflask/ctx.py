"""The functions around the current contexts, and the namespace behind `g`. The contexts are in
`contexts.py`, the proxies in `globals.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .app_context import AppContext as AppContext
from .app_context import _cv_app as _cv_app
from .app_context import _cv_request as _cv_request
from .app_context import _sentinel as _sentinel
from .asgi.threads import is_async, run_in_worker
from .contexts import RequestContext as RequestContext

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class _AppCtxGlobals:
    """The namespace behind `g`. Store anything that your code needs again during the same request:
    `g.user = user`. Use `"user" in g` to test for a name, and `iter(g)` for all names."""

    # For type checkers: any attribute may exist.
    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    if TYPE_CHECKING:  # as on any object

        def __setattr__(self, name: str, value: Any) -> None: ...
        def __delattr__(self, name: str) -> None: ...

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute *name*, or *default* if it is not set."""
        return self.__dict__.get(name, default)

    def pop(self, name: str, default: Any = _sentinel) -> Any:
        """Remove the attribute *name* and return its value. If it is not set, return *default*, or
        raise `KeyError` without one."""
        if default is _sentinel:
            return self.__dict__.pop(name)
        return self.__dict__.pop(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the attribute *name*; if it is not set, set it to *default* first."""
        return self.__dict__.setdefault(name, default)

    def __contains__(self, item: object) -> bool:
        return item in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        ctx = _cv_app.get(None)
        return object.__repr__(self) if ctx is None else f"<flask.g of {ctx.app.name!r}>"


NO_APP = """Working outside of application context.

No app is active, so 'current_app' and 'g' are not available. They are in views, hooks and
commands; elsewhere write 'with app.app_context():' around the code."""

NO_REQUEST = """Working outside of request context.

No request is being handled, so 'request' and 'session' are not available. They are in views
and hooks; in a test, write 'with app.test_request_context():' around the code."""

NO_WEBSOCKET = """Working outside of a WebSocket.

'websocket' is available in functions registered with 'app.websocket' and in the hooks that run
for them, but not in HTTP requests."""


def current_app_ctx() -> AppContext:
    """Return the current app context. Raises `RuntimeError` outside of one."""
    ctx = _cv_app.get(None)
    if ctx is None:
        raise RuntimeError(NO_APP)
    return ctx


def current_request_ctx() -> RequestContext:
    """Return the current request context. Raises `RuntimeError` outside of one."""
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(NO_REQUEST)
    return ctx


def has_app_context() -> bool:
    """Return `True` if an app context is active, so that `current_app` and `g` can be used."""
    return _cv_app.get(None) is not None


def has_request_context() -> bool:
    """Return `True` if a request context is active, that of a WebSocket included. Use it in code
    that also runs outside of requests::

        user = request.remote_addr if has_request_context() else "system"
    """
    return _cv_request.get(None) is not None


def has_websocket_context() -> bool:
    """Return `True` if the current request context is that of a WebSocket (Quart's function)."""
    ctx = _cv_request.get(None)
    return ctx is not None and ctx.websocket is not None


def after_this_request(f: F) -> F:
    """Call *f* with the response of the current request only; it must return this response or
    another one. ::

        @after_this_request
        def remember_language(response):
            response.set_cookie("language", language)
            return response

    :raises RuntimeError: if there is no request context.
    """
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(
            "'after_this_request' registers a function for the current request's response, but"
            " no request is active. Call it in a view or a hook."
        )
    ctx._after_request_functions = [*ctx._after_request_functions, f]
    ctx.unplanned = True
    return f


def copy_current_request_context(f: F) -> F:
    """Decorate *f*, sync or async, to run in another thread or task with a copy of the current
    request context. ::

        @copy_current_request_context
        def work():
            log(request.path, session["user"])

        threading.Thread(target=work).start()

    Each call gets its own copy. Teardown functions run for the original request only.

    :raises RuntimeError: if there is no request context.
    """
    original = _cv_request.get(None)
    if original is None:
        raise RuntimeError(
            "'copy_current_request_context' copies the current request context, but no request"
            " is active. Call it in a view or a hook."
        )
    copied = original.copy()

    # A copy per call: several threads or tasks may use it at once.

    if is_async(f):

        async def async_wrapper(*args: object, **kwargs: object) -> Any:
            async with copied.copy():
                return await f(*args, **kwargs)

        return wraps(f)(async_wrapper)  # type: ignore[return-value]

    def wrapper(*args: object, **kwargs: object) -> Any:
        with copied.copy():
            return f(*args, **kwargs)

    return wraps(f)(wrapper)  # type: ignore[return-value]


copy_current_websocket_context = copy_current_request_context
"""The context of a WebSocket is a request context (Quart: `copy_current_websocket_context`)."""


async def run_sync(func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a sync function from async code without blocking the loop, and return its value. ::

        rows = await run_sync(database.query, "SELECT ...")

    In a request, the function runs on the thread that runs all of the request's sync code, so it
    can use a connection that a sync hook opened. Elsewhere it runs on any worker thread.
    """
    ctx = _cv_request.get(None)
    if ctx is not None and ctx.driver is not None:
        value: T = await ctx.driver.run_sync(func, *args, **kwargs)
        return value
    return await run_in_worker(func, *args, **kwargs)
