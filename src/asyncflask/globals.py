"""The proxies that users import: what is current, by names. The framework does not use them,
but for the globals of templates."""

from __future__ import annotations

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


class _WebSocketProxy(_Proxy):
    """Without Werkzeug's way to an attribute, which for these takes longer than the message."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Any:
        try:  # What is called here makes a coroutine, no more: no code of it can raise these.
            connection = _cv_request.get().websocket
            if connection.thread == get_ident() and timeout is None:
                return connection._receive()
        except (LookupError, AttributeError):
            pass
        return self._get_current_object().receive(timeout)

    def send(self, data: str | bytes) -> Any:
        try:
            connection = _cv_request.get().websocket
            if connection.thread == get_ident():
                return connection._send(data)
        except (LookupError, AttributeError):
            pass
        return self._get_current_object().send(data)


_Proxy.__name__ = _WebSocketProxy.__name__ = LocalProxy.__name__  # an unbound proxy shows it


def _proxy(local: Any, name: str | None = None, message: str | None = None) -> Any:
    return _Proxy(local, name, unbound_message=message)


app_ctx: AppContext = _proxy(_cv_app, message=NO_APP)
"""The current app context."""

current_app: Flask = _proxy(_cv_app, "app", NO_APP)
"""The app that is in use."""

g: _AppCtxGlobals = _proxy(_cv_app, "g", NO_APP)
"""A namespace that lasts as long as the request: any attribute may be set on it."""

request_ctx: RequestContext = _proxy(_cv_request, message=NO_REQUEST)
"""The current request context."""

request: Request = _proxy(_cv_request, "request", NO_REQUEST)
"""The request being handled; for a WebSocket, that of its handshake."""

session: SessionMixin = _proxy(_cv_request, "session", NO_REQUEST)
"""The session of the client."""

websocket: WebSocket = cast(WebSocket, _WebSocketProxy(_websocket))
"""The WebSocket being handled."""
