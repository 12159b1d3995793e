"""Translating a request's scope to a WSGI environ and back (PEP 3333; ASGI specification: WSGI
compatibility). The scope's `Origin` keeps what a scope cannot express. `wsgi.py` uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from typing import Any, Final
from urllib.parse import quote

from starlette.types import Scope

from .body import Body
from .pool import Worker
from .scope import ORIGIN, RECEIVED, route_path

Environ = dict[str, Any]

FILE_BYTES: Final = 262_144
"""How much of a file to read at a time. Each read is a hop to the request's thread."""

PROXY_FIX_ORIGINAL: Final = "werkzeug.proxy_fix.orig"
"""The environ key of the values that Werkzeug's `ProxyFix` replaced; also the scope's."""

SCHEMES: Final = {"ws": "http", "wss": "https"}
"""A WebSocket's handshake is an HTTP request (RFC 6455 section 4.1)."""

STATE: Final = "asyncflask.state"
"""Environ key of the lifespan state, set by a test that started the app."""


class Origin:
    """The WSGI request that a scope was built from."""

    __slots__ = {
        "app": "The app whose `wsgi_app` was called, so that its WSGI middleware has already run.",
        "context": "The `Context` that the request runs in. Set by the app.",
        "environ": "The original environ.",
        "keep": "Called with each context at the end of the request, if a test keeps them.",
        "mirrored": "The parts of the scope that the environ contains, as of the last update.",
        "worker": "The calling thread's worker. It is the request's thread.",
    }

    def __init__(self, environ: Environ, worker: Worker | None = None, app: object = None) -> None:
        self.app = app
        self.context: Context | None = None
        self.environ = environ
        self.keep: Callable[[Any], object] | None = environ.get("werkzeug.debug.preserve_context")
        self.mirrored: tuple[object, ...] = ()
        self.worker = worker

    def update(self, scope: Scope) -> Environ:
        """Return the environ, after applying what ASGI middleware changed in the scope."""
        environ, mirrored = self.environ, _mirrored(scope)
        if mirrored != self.mirrored:
            self.mirrored = mirrored
            for key in [key for key in environ if _is_header(key)]:
                del environ[key]
            environ.update(_variables(scope))
            environ["wsgi.url_scheme"] = _http_scheme(scope)
        return environ


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): iterates over the blocks of a file."""

    def __init__(self, file: Any, block_size: int = 0) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.file.read(FILE_BYTES)
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        if hasattr(self.file, "close"):
            self.file.close()

    def seekable(self) -> bool:
        return hasattr(self.file, "seekable") and bool(self.file.seekable())

    def seek(self, *args: int) -> None:
        self.file.seek(*args)

    def tell(self) -> int | None:
        return self.file.tell() if hasattr(self.file, "tell") else None


def environ_of(scope: Scope, body: Body) -> Environ:
    """Return the WSGI environ of a request or WebSocket: the original one if it came over WSGI."""
    origin: Origin | None = scope.get(ORIGIN)
    if origin is None:
        return environ_from_scope(scope, body)
    environ = origin.update(scope)
    environ["wsgi.input"] = body.file()
    environ["wsgi.input_terminated"] = True
    return environ


def environ_from_scope(scope: Scope, body: Body) -> Environ:
    """Create a WSGI environ from the scope of a request or WebSocket."""
    environ = {
        **_variables(scope),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": _http_scheme(scope),
        "wsgi.input": body.file(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "asyncflask.scope": scope,
    }
    if (handshake := scope.get("asyncflask.handshake")) is not None:
        # Compression is between server and client; an environ's library must not negotiate it.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        environ.update(handshake | environ)
    return environ


def _http_scheme(scope: Scope) -> str:
    scheme: str = scope.get("scheme", "http")
    return SCHEMES.get(scheme, scheme)


def _variables(scope: Scope) -> Environ:
    """Return the environ keys of a scope, except those that begin with `wsgi.`."""
    server = scope.get("server") or ("localhost", None)
    client = scope.get("client")
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query = scope.get("query_string", b"").decode("latin-1")
    uri = raw_path.decode("latin-1") + (f"?{query}" if query else "")
    port = server[1] or (443 if _http_scheme(scope) == "https" else 80)
    variables: Environ = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": route_path(scope).encode().decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": uri,
        "RAW_URI": uri,
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
    }
    if client is not None:
        variables["REMOTE_ADDR"] = client[0]
        variables["REMOTE_PORT"] = str(client[1])
    variables.update(header_variables(scope["headers"]))
    if PROXY_FIX_ORIGINAL in scope:
        variables[PROXY_FIX_ORIGINAL] = scope[PROXY_FIX_ORIGINAL]
    return variables


BLANKS: Final = " \t"
"""Whitespace around a value is not part of it (RFC 9110 section 5.5); httptools leaves what
follows."""


def header_variables(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the environ keys of the headers. Repeated headers are joined, as WSGI servers do
    (RFC 9110 section 5.3). Names with an underscore are dropped: in an environ they would pass
    for those with a hyphen."""
    variables: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").upper()
        if "_" in name:
            continue
        key = name.replace("-", "_")
        if key not in _WITHOUT_PREFIX:
            key = f"HTTP_{key}"
        value = raw_value.decode("latin-1").strip(BLANKS)
        if key in variables:
            value = f"{variables[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        variables[key] = value
    return variables


_WITHOUT_PREFIX: Final = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


def _is_header(key: str) -> bool:
    return key.startswith("HTTP_") or key in _WITHOUT_PREFIX


def scope_from_environ(
    environ: Environ, worker: Worker | None = None, app: object = None
) -> Scope:
    """Create the ASGI scope of a WSGI request, with its `Origin`. Keeps what an ASGI server put
    into the scope that the environ was built from (`state`, extensions)."""
    received = environ.get("asyncflask.scope")
    headers = []
    for key, value in environ.items():
        if not _is_header(key) or (key in _WITHOUT_PREFIX and not value):
            continue
        name = key.removeprefix("HTTP_").replace("_", "-").lower()
        headers.append((name.encode("latin-1"), _bytes(value)))
    if "HTTP_HOST" not in environ and (
        received is None or b"host" in dict(received["headers"])
    ):  # HTTP/1.0, or removed by middleware: use the server's name
        host = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
        headers.append((b"host", _bytes(host)))
    root_path = _bytes(environ.get("SCRIPT_NAME", "")).decode("utf-8", "replace").rstrip("/")
    if root_path and not root_path.startswith("/"):  # for example, from X-Forwarded-Prefix
        root_path = f"/{root_path}"
    path = _bytes(environ.get("PATH_INFO", "")).decode("utf-8", "replace")
    if received is None and path and not path.startswith("/"):
        # Not a malformed target, as it would be in a scope: the server parsed it. PEP 3333
        # does not require a slash, and Werkzeug's test client passes the path as the test
        # wrote it.
        path = f"/{path}"
    address = environ.get("REMOTE_ADDR")
    origin = Origin(environ, worker, app)
    scope: Scope = {}
    if received is not None:
        scope = {**received, RECEIVED: received}
    scope.update(
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
            "method": environ.get("REQUEST_METHOD", "GET").upper(),
            "scheme": environ.get("wsgi.url_scheme", "http"),
            "path": root_path + path,
            "raw_path": quote(root_path + path).encode("ascii"),
            "root_path": root_path,
            "query_string": _bytes(environ.get("QUERY_STRING", "")),
            "headers": headers,
            "server": (environ.get("SERVER_NAME", ""), port_number(environ.get("SERVER_PORT"))),
            "client": (address, int(environ.get("REMOTE_PORT") or 0)) if address else None,
            ORIGIN: origin,
        }
    )
    scope.setdefault("extensions", {})
    if (state := environ.get(STATE)) is not None:
        scope["state"] = state.copy()
    origin.mirrored = _mirrored(scope)
    return scope


def _mirrored(scope: Scope) -> tuple[object, ...]:
    keys = ("method", "scheme", "path", "root_path", "query_string", "client")
    return (list(scope["headers"]), *(scope.get(key) for key in keys))


def port_number(port: object) -> int | None:
    """Return `SERVER_PORT`, which is text (Hypercorn: a number), as a number, or `None` if
    invalid."""
    text = str(port)
    return int(text) if text.isdecimal() and len(text) <= 5 else None


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")
