"""Building an app's URLs, and the adapters that match and build them, within requests and
outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from werkzeug.exceptions import BadRequest
from werkzeug.routing import BuildError, MapAdapter
from werkzeug.wsgi import get_host

from .app_context import UNBOUND
from .asgi.scope import route_path
from .ctx import RequestContext, _cv_app, _cv_request
from .wrappers import Request

if TYPE_CHECKING:
    from .app import Flask


def adapter(app: Flask, request: Request | None) -> MapAdapter | None:
    """Implement `Flask.create_url_adapter`. Reads the request's environ if it has one,
    otherwise its scope: what a subclass changes in `path` and `method` is for its own use."""
    config, url_map = app.config, app.url_map
    if request is None:
        if config["SERVER_NAME"] is None:
            return None
        return url_map.bind(
            config["SERVER_NAME"],
            script_name=config["APPLICATION_ROOT"],
            url_scheme=config["PREFERRED_URL_SCHEME"],
        )
    if config["TRUSTED_HOSTS"] is not None:
        request.trusted_hosts = config["TRUSTED_HOSTS"]
    by_host = url_map.host_matching or app.subdomain_matching
    if not by_host and request.asgi_scope is not None and "environ" not in request.__dict__:
        return url_map.bind(
            request.host,
            script_name=request.root_path,
            subdomain=url_map.default_subdomain or "",
            url_scheme=request.scheme,
            default_method=request.asgi_scope.get("method", "GET"),
            path_info=route_path(request.asgi_scope),
            query_args=request.query_string.decode("latin-1"),
        )
    request.host = get_host(request.environ, request.trusted_hosts)
    # Werkzeug gives an empty host for an invalid one. Names in Unicode are accepted.
    if not request.host and not request.environ.get("HTTP_HOST", "").isprintable():
        raise BadRequest("The request's Host header is malformed.")
    return url_map.bind_to_environ(
        request.environ,
        server_name=None if url_map.host_matching else config["SERVER_NAME"],
        subdomain=None if by_host else url_map.default_subdomain or "",
    )


def build(
    app: Flask,
    endpoint: str,
    values: dict[str, object],
    *,
    anchor: str | None,
    method: str | None,
    scheme: str | None,
    external: bool | None,
) -> str:
    """Implement `Flask.url_for`."""
    ctx = _cv_request.get(None)
    if ctx is not None:
        if endpoint.startswith("."):
            blueprint = ctx.request.blueprint
            endpoint = endpoint[1:] if blueprint is None else f"{blueprint}{endpoint}"
        if external is None:
            external = scheme is not None
        if ctx.websocket is not None and external and scheme is None:
            # A link for people, not for another WebSocket.
            scheme = "https" if ctx.request.scheme == "wss" else "http"
    elif external is None:
        external = True
    if scheme is not None and not external:
        raise ValueError("With '_scheme', '_external' must be True.")
    app.inject_url_defaults(endpoint, values)
    url = None
    if ctx is not None and not external:
        url = _path(app, ctx, endpoint, values, method)
    if url is None:
        try:
            url = _adapter_here(app, ctx).build(
                endpoint, values, method=method, url_scheme=scheme, force_external=external
            )
        except BuildError as error:
            values.update(_anchor=anchor, _method=method, _scheme=scheme, _external=external)
            return app.handle_url_build_error(error, endpoint, values)
    return url if anchor is None else f"{url}#{quote(anchor, safe=_IN_ANCHOR)}"


_IN_ANCHOR = "%!#$&'()*+,/:;=?@"


def _adapter_here(app: Flask, ctx: RequestContext | None) -> Any:
    if ctx is not None:
        return ctx.url_adapter
    app_ctx = _cv_app.get(None)
    found = app_ctx.url_adapter if app_ctx is not None else app.create_url_adapter(None)
    if found is None:
        raise RuntimeError(
            "A URL cannot be built outside of a request unless the config has 'SERVER_NAME' (and"
            " 'APPLICATION_ROOT' and 'PREFERRED_URL_SCHEME' if they are not the defaults)."
        )
    return found


def _path(
    app: Flask, ctx: RequestContext, endpoint: str, values: dict[str, object], method: str | None
) -> str | None:
    """Return the URL without scheme and host if the host plays no part in it. `None` if *ctx*
    already has an adapter, which may differ from the one the app would make."""
    request = ctx.request
    if (
        ctx.app is not app
        or ctx._url_adapter is not UNBOUND
        or request.asgi_scope is None
        or request.trusted_hosts is not None
    ):
        return None
    url_map = app._setup().paths(app)
    if url_map is None:
        return None
    path: str | None = url_map.build_path(endpoint, values, method or request.method)
    return None if path is None else f"{request.root_path}/{path}"
