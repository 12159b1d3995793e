"""The proxies that users import, such as `request` and `g`. The framework itself uses them only
as template globals."""

from __future__ import annotations

import threading
from operator import attrgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from werkzeug.local import LocalProxy

from .asgi.websocket import WebSocket
from .ctx import (
    NO_APP,
    NO_REQUEST,
    NO_WEBSOCKET,
    AppContext,
    RequestContext,
    _AppCtxGlobals,
    _cv_app,
    _cv_request,
)
from .sessions import SessionMixin
from .wrappers import Request

if TYPE_CHECKING:  # the app imports this module
    from .app import Flask


def _websocket() -> WebSocket:
    ctx = _cv_request.get(None)
    if ctx is None or ctx.websocket is None:
        raise RuntimeError(NO_WEBSOCKET)
    websocket: WebSocket = ctx.websocket
    return websocket


class _Proxy(LocalProxy[Any]):
    """`LocalProxy` with faster versions of the most frequent operations."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __contains__(self, item: Any) -> bool:
        return item in self._get_current_object()


def _session() -> Any:
    """Return the current session, in one step instead of three if it is open."""
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(NO_REQUEST)
    session = ctx.opened_session
    if session is None:
        return ctx.session
    session.accessed = True
    return session


class _RequestProxy(_Proxy):
    """Has a property for each common attribute: Python finds those before it calls
    `__getattr__`, which costs an exception."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_REQUEST:
            # Python also calls this after an AttributeError in the property, and drops that
            # error. Do not read again: part of a body may be gone.
            raise _failed.error
        return getattr(self._get_current_object(), name)


_failed = threading.local()


def _of_request(name: str) -> property:
    get = attrgetter(f"request.{name}")

    def attribute(self: _RequestProxy) -> Any:
        ctx = _cv_request.get(None)
        if ctx is None:
            raise RuntimeError(NO_REQUEST)
        try:
            return get(ctx)
        except AttributeError as error:
            _failed.error = error
            raise

    return property(attribute)


_OF_REQUEST = (
    "args",
    "cookies",
    "data",
    "endpoint",
    "files",
    "form",
    "get_data",
    "get_json",
    "headers",
    "host",
    "is_json",
    "json",
    "method",
    "path",
    "remote_addr",
    "stream",
    "url",
    "values",
    "view_args",
)
for _name in _OF_REQUEST:
    setattr(_RequestProxy, _name, _of_request(_name))


class _GProxy(_Proxy):
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        ctx = _cv_app.get(None)
        if ctx is None:
            raise RuntimeError(NO_APP)
        return getattr(ctx.g, name)

    def __setattr__(self, name: str, value: Any) -> None:
        ctx = _cv_app.get(None)
        if ctx is None:
            raise RuntimeError(NO_APP)
        setattr(ctx.g, name, value)


class _WebSocketProxy(_Proxy):
    """Skips Werkzeug's attribute access, which takes longer than the message itself."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Any:
        try:  # These calls only create a coroutine, so the errors cannot come from its code.
            connection = _cv_request.get().websocket
            if connection.thread == get_ident() and timeout is None:
                return connection.receive_on_loop()
        except (LookupError, AttributeError):
            pass
        return self._get_current_object().receive(timeout)

    def send(self, data: str | bytes) -> Any:
        try:
            connection = _cv_request.get().websocket
            if connection.thread == get_ident():
                return connection.send_on_loop(data)
        except (LookupError, AttributeError):
            pass
        return self._get_current_object().send(data)


for _class in (_Proxy, _RequestProxy, _GProxy, _WebSocketProxy):
    _class.__name__ = LocalProxy.__name__  # shown by an unbound proxy
    _class.__doc__ = vars(LocalProxy)["__doc__"]  # the docstring of the object behind the proxy

app_ctx: AppContext = cast(AppContext, _Proxy(_cv_app, unbound_message=NO_APP))
"""The current app context."""

current_app: Flask = cast("Flask", _Proxy(_cv_app, "app", unbound_message=NO_APP))
"""The current app."""

g: _AppCtxGlobals = cast(_AppCtxGlobals, _GProxy(_cv_app, "g", unbound_message=NO_APP))
"""A namespace for the duration of the app context, usually one request. Set any attribute on
it."""

request_ctx: RequestContext = cast(RequestContext, _Proxy(_cv_request, unbound_message=NO_REQUEST))
"""The current request context."""

request: Request = cast(Request, _RequestProxy(_cv_request, "request", unbound_message=NO_REQUEST))
"""The current request; for a WebSocket, its handshake."""

session: SessionMixin = cast(
    SessionMixin, _Proxy(_cv_request, "session", unbound_message=NO_REQUEST)
)
"""The current request's session."""
object.__setattr__(session, "_get_current_object", _session)

websocket: WebSocket = cast(WebSocket, _WebSocketProxy(_websocket))
"""The current WebSocket."""
