"""A request's scope: normalizing and checking its target and `Host` (RFC 9112 section 3), the
path for routing, and the keys that asyncflask adds."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from starlette.types import Scope

ORIGIN: Final = "asyncflask.origin"
"""Key of the `Origin`, in a scope built from an environ."""

RECEIVED: Final = "asyncflask.received"
"""Key of the original scope, which middleware and the server have, in a copy of it."""


def route_path(scope: Scope) -> str:
    """Return the path below `root_path`, which servers and Starlette's `Mount` leave in `path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


_ABSOLUTE: Final = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)


def normalised(scope: Scope) -> Scope:
    """Return *scope* as the ASGI specification requires: with the method in upper case, and a
    path even if a server passes on a target in absolute form. Usually it already is."""
    path, root, method = scope["path"], scope.get("root_path", ""), scope.get("method", "GET")
    start = len(root) if path.startswith(root) else 0
    if path[start : start + 1] not in ("/", ""):
        scope = _in_origin_form(scope, root)
    if "scheme" not in scope and scope["type"] == "websocket":
        scope = {**scope, "scheme": "ws", RECEIVED: scope}  # the default, which Daphne omits
    if not method.isupper():
        # Not HEAD: a server that does not recognize it as such waits for the content.
        method = method.upper()
        method = "GET" if method == "HEAD" else method
        scope = {**scope, "method": method, RECEIVED: scope}
    return scope


def _in_origin_form(scope: Scope, root: str) -> Scope:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    raw_root = root.encode()
    absolute = _ABSOLUTE.fullmatch(raw_path.removeprefix(raw_root))
    if absolute is None:
        return scope
    host, target = absolute[1], absolute[2] or b"/"
    headers = scope["headers"]
    if [name for name, _ in headers].count(b"host") == 1:
        # RFC 9112 section 3.2.2: the value of `Host` is ignored in favour of this host. Two
        # `Host` headers, or none, are malformed in any case (section 3.2).
        headers = [(name, host if name == b"host" else value) for name, value in headers]
    return {
        **scope,
        "headers": headers,
        "path": root + unquote(target),
        "raw_path": raw_root + target,
        RECEIVED: scope,
    }


def malformed(scope: Scope) -> str | None:
    """Return what is wrong with a request's target or `Host` (RFC 9112 section 3.2), or `None`.
    Servers let some of it through."""
    if not scope["path"].startswith("/") and (scope["path"] or ORIGIN not in scope):
        # WSGI may have an empty path, which is redirected; an HTTP target is never empty.
        return "The request target does not begin with '/'."
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return "The request has more than one Host header."
    host = hosts[0] if hosts else None
    if host is None:
        return None if scope.get("http_version") == "1.0" else "The request has no Host header."
    return None if _names_a_host(host) else "The request's Host header is malformed."


good_hosts: set[bytes] = set()
"""Values of `Host` known to be valid."""

_GOOD_HOSTS: Final = 256


_LONG_HOST: Final = 261
"""Longer values cannot be a name and a port (RFC 1035 section 2.3.4), and are not cached."""

_HOST: Final = re.compile(
    rb"(?: [a-z0-9.-]+ | \[ [a-f0-9]* : [a-f0-9:.]+ \] ) (?: : ([1-9][0-9]{0,4}) )?",
    re.IGNORECASE | re.VERBOSE,
)
"""A name or address, and a port (RFC 3986 section 3.2.2). Werkzeug checks it since 3.1.7, and
the size of the port since 3.1.9."""


def _names_a_host(line: bytes) -> bool:
    """Return `True` if the value of a `Host` header is valid. A name with an underscore is,
    although Werkzeug then knows no host: proxies send the name of their upstream."""
    value = line.strip(b" \t").replace(b"_", b"-")
    match = _HOST.fullmatch(value)
    if match is None or int(match[1] or 1) > 65_535:
        return False
    try:
        value.decode("ascii").encode("idna")  # as Werkzeug's URL map does to build a URL
    except UnicodeError:
        return False
    if len(line) <= _LONG_HOST:
        if len(good_hosts) >= _GOOD_HOSTS:
            good_hosts.clear()
        good_hosts.add(line)
    return True
