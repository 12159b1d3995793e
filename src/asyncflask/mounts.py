"""ASGI apps mounted under paths of an app: finding the one that a request is for.

They are asked before the app's routes, or after them if mounted at ``"/"``. Malformed requests
(such as two `Host` headers), untrusted hosts and paths with neither a mount nor a route are
left to the app, which rejects them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.exceptions import HTTPException, NotFound, SecurityError
from werkzeug.routing import Map as BaseMap
from werkzeug.routing import MapAdapter
from werkzeug.sansio.utils import get_host

from .asgi.scope import malformed, route_path
from .config import Config
from .routing import NOT_FOUND, Map

if TYPE_CHECKING:
    from starlette.routing import Mount


class App(Protocol):
    """What mounts need of the outer app."""

    config: Config
    request_class: Any
    subdomain_matching: bool
    url_map: BaseMap

    def create_url_adapter(self, request: Any) -> MapAdapter | None: ...


class Mounts(tuple["Mount", ...]):
    """The apps mounted in an app, in order. Immutable: mounting another one makes a new object,
    so that the app registers the change."""

    __slots__ = ()

    def with_mount(self, path: str, app: ASGIApp, name: str | None) -> Mounts:
        from starlette.routing import Mount  # takes as long to import as all of `app`

        return Mounts((*self, Mount(path, app, name=name)))

    def asked(self, app: App, scope: Scope) -> ASGIApp | None:
        """Return the mounted app that is to answer, after adapting *scope* for it, or `None`."""
        if malformed(scope) is not None or not _is_trusted(app, scope):
            return None
        for mount in self:
            _, child = mount.matches(scope)  # empty if the path does not match
            if child and (mount.path or not _has_route(app, scope)):
                scope.update(child, app_root_path=child["root_path"])
                scope.pop("router", None)  # its URLs are relative to the mount
                return mount.handle
            if mount.path and scope["type"] == "http" and not scope["path"].endswith("/"):
                within = {**scope, "path": scope["path"] + "/"}
                if mount.matches(within)[1] and not _has_route(app, scope):
                    return _to_slash
        return None


async def _to_slash(scope: Scope, receive: Receive, send: Send) -> None:
    """Redirect ``/other`` to ``/other/``, keeping method and body (307, as Starlette's router).
    The location has no host, since a proxy may use another name for it."""
    path = quote(scope.get("root_path", "") + route_path(scope), safe="/:@!$&'()*+,;=~")
    location = f"/{path.strip('/')}/".encode("ascii")
    if query := scope.get("query_string", b""):
        location += b"?" + query
    headers = [(b"location", location), (b"content-length", b"0")]
    start: Message = {"type": "http.response.start", "status": 307, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


def _is_trusted(app: App, scope: Scope) -> bool:
    trusted = app.config["TRUSTED_HOSTS"]
    if trusted is None:
        trusted = app.request_class.trusted_hosts
    if trusted is None:
        return True
    host = dict(scope["headers"]).get(b"host")  # `malformed` checked that there is only one
    try:
        get_host(
            scope.get("scheme", "http"),
            None if host is None else host.decode("latin-1").strip(" \t"),
            scope.get("server"),
            trusted,
        )
    except SecurityError:
        return False
    return True


def _has_route(app: App, scope: Scope) -> bool:
    websocket = scope["type"] == "websocket"
    url_map = app.url_map
    if isinstance(url_map, Map) and not (url_map.host_matching or app.subdomain_matching):
        found = url_map.find(route_path(scope), scope.get("method", "GET"), websocket)
        # Do not call the app's converters here, outside of the request's context.
        if found is not None or url_map.pending:
            return found is not NOT_FOUND
    request = app.request_class.from_scope(scope, _nothing)
    try:
        adapter = app.create_url_adapter(request)
        if adapter is not None:
            adapter.match(websocket=websocket)
    except NotFound:
        return False
    except HTTPException:
        pass
    return True


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
