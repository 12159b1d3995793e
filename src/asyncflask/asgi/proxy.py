"""Werkzeug's `ProxyFix` for ASGI scopes, including WebSockets, without a thread. Werkzeug's
middleware decides what to trust; this file translates a scope to the part of an environ that it
reads, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.types import Scope
from werkzeug.middleware.proxy_fix import ProxyFix

from .environ import PROXY_FIX_ORIGINAL, Environ, port_number
from .scope import RECEIVED, route_path

_FORWARDED: Final = {
    f"x-forwarded-{name}".encode(): f"HTTP_X_FORWARDED_{name.upper()}"
    for name in ("for", "proto", "host", "port", "prefix")
}


def within(wsgi_app: Callable[..., object]) -> Callable[..., object]:
    """Return what is inside the `ProxyFix` middleware that *wsgi_app* starts with. A subclass
    counts as any other middleware."""
    while type(wsgi_app) is ProxyFix:
        wsgi_app = wsgi_app.app
    return wsgi_app


def fixed_scope(scope: Scope, wsgi_app: Callable[..., object]) -> Scope:
    """Return *scope* after that middleware: a copy, if there is any."""
    if type(wsgi_app) is not ProxyFix:
        return scope
    before = _environ(scope)
    environ = dict(before)
    while type(wsgi_app) is ProxyFix:
        fix = wsgi_app
        trusted = fix.x_for, fix.x_proto, fix.x_host, fix.x_port, fix.x_prefix
        ProxyFix(_nothing, *trusted)(environ, _nothing)
        wsgi_app = fix.app
    changed = {key for key, value in environ.items() if before.get(key) != value}
    original = environ[PROXY_FIX_ORIGINAL]
    fixed: Scope = {**scope, PROXY_FIX_ORIGINAL: original, RECEIVED: scope}
    if "REMOTE_ADDR" in changed:
        client = scope.get("client")
        fixed["client"] = environ["REMOTE_ADDR"], client[1] if client else 0
    if "wsgi.url_scheme" in changed:
        scheme = environ["wsgi.url_scheme"]
        websocket = {"http": "ws", "https": "wss"} if scope["type"] == "websocket" else {}
        fixed["scheme"] = websocket.get(scheme, scheme)
    if "HTTP_HOST" in changed:
        others = (line for line in scope["headers"] if line[0] != b"host")
        fixed["headers"] = [*others, (b"host", environ["HTTP_HOST"].encode("latin-1"))]
    if changed & {"SERVER_NAME", "SERVER_PORT"}:
        fixed["server"] = environ["SERVER_NAME"], port_number(environ["SERVER_PORT"])
    if "SCRIPT_NAME" in changed:
        root_path = environ["SCRIPT_NAME"].encode("latin-1").decode("utf-8", "replace").strip("/")
        fixed["root_path"] = f"/{root_path}" if root_path else ""
        fixed["path"] = (fixed["root_path"] + route_path(scope)) or "/"
    return fixed


def _environ(scope: Scope) -> Environ:
    server = scope.get("server") or ("localhost", None)
    secure = scope.get("scheme", "http") in ("https", "wss")
    environ: dict[str, object] = {
        "wsgi.url_scheme": "https" if secure else "http",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] if server[1] is not None else 443 if secure else 80),
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = client[0]
    for name, raw_value in scope["headers"]:
        key = "HTTP_HOST" if name == b"host" else _FORWARDED.get(name)
        if key is not None:
            value = raw_value.decode("latin-1")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _nothing(*args: object) -> Any:
    """Called by `ProxyFix` instead of the app; its result is in the environ."""
