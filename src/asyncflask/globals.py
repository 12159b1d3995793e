"""The proxies that users import, such as `request` and `g`. The framework itself does not use
them, except as globals of templates."""

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

if TYPE_CHECKING:  # the app is above: it gives the proxies to its templates
    from .app import Flask


def _websocket() -> WebSocket:
    ctx = _cv_request.get(None)
    if ctx is None or ctx.websocket is None:
        raise RuntimeError(NO_WEBSOCKET)
    websocket: WebSocket = ctx.websocket
    return websocket


class _Proxy(LocalProxy[Any]):
    """As its base, where the most frequent operations have to make a function first."""

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
    """What is `session` of the request context, with one step instead of three if it is open."""
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError(NO_REQUEST)
    session = ctx.opened_session
    if session is None:
        return ctx.session
    session.accessed = True
    return session


class _RequestProxy(_Proxy):
    """With a short way to what views ask for most: Python looks for a name in the proxy before it
    asks `__getattr__`, and makes an exception of that."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_REQUEST:
            # Python asks here too after an AttributeError of the property, and forgets that one:
            # to read anew could be to read what is left of a body.
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
    """Without Werkzeug's way to an attribute, which for these takes longer than the message."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Any:
        try:  # What is called here makes a coroutine, no more: no code of it can raise these.
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
    _class.__name__ = LocalProxy.__name__  # an unbound proxy shows it
    _class.__doc__ = vars(LocalProxy)["__doc__"]  # that of what it stands for

app_ctx: AppContext = cast(AppContext, _Proxy(_cv_app, unbound_message=NO_APP))
"""The current app context."""

current_app: Flask = cast("Flask", _Proxy(_cv_app, "app", unbound_message=NO_APP))
"""The app that is in use."""

g: _AppCtxGlobals = cast(_AppCtxGlobals, _GProxy(_cv_app, "g", unbound_message=NO_APP))
"""A namespace that lasts as long as the request: any attribute may be set on it."""

request_ctx: RequestContext = cast(RequestContext, _Proxy(_cv_request, unbound_message=NO_REQUEST))
"""The current request context."""

request: Request = cast(Request, _RequestProxy(_cv_request, "request", unbound_message=NO_REQUEST))
"""The request being handled; for a WebSocket, that of its handshake."""

session: SessionMixin = cast(
    SessionMixin, _Proxy(_cv_request, "session", unbound_message=NO_REQUEST)
)
"""The session of the client."""
object.__setattr__(session, "_get_current_object", _session)

websocket: WebSocket = cast(WebSocket, _WebSocketProxy(_websocket))
"""The WebSocket being handled."""
