"""Reloading pages in the browser when the app changes, as ASGI middleware for debug mode.

Each HTML page gets a script that opens a WebSocket and receives the app's version, which
changes with each start of the process and each change of a template or static file. A page with
another version reloads. While nobody answers, as between two starts, it waits.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

import watchfiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .asgi.scope import route_path

_logger = logging.getLogger(__name__)

PATH: Final = "/__asyncflask__/livereload"
"""The path of the WebSocket."""

SCRIPT_PATH: Final = f"{PATH}.js"

HELD_BYTES: Final = 4_194_304
"""The maximum size of a page in several pieces that is held back until it is complete."""

SCRIPT: Final = b"""\
// asyncflask, debug mode: reloads this page when the app has changed.
(() => {
  if (window.asyncflaskLivereload) return;
  window.asyncflaskLivereload = true;
  const script = new URL(document.currentScript.src);
  const page = script.searchParams.get("v");
  const address = new URL("livereload", script);
  address.protocol = script.protocol.replace("http", "ws");
  // A page that comes out of a cache is reloaded once, not over and over.
  const key = `asyncflask-livereload:${location.pathname}${location.search}`;
  const connect = (delay) => {
    const socket = new WebSocket(address);
    socket.onopen = () => { delay = 100; };
    socket.onmessage = ({ data: version }) => {
      if (version === page || sessionStorage.getItem(key) === version) return;
      sessionStorage.setItem(key, version);
      location.reload();
    };
    socket.onclose = () => setTimeout(connect, delay, Math.min(2 * delay, 2000));
  };
  connect(100);
})();
"""


class LiveReload:
    """ASGI middleware that reloads the pages of *app* when it changes.

    :param exclude_patterns: `fnmatch` patterns of files to ignore.
    """

    def __init__(self, app: ASGIApp, flask: Any, exclude_patterns: Sequence[str] = ()) -> None:
        self.app = app
        self._flask = flask
        self._exclude = tuple(exclude_patterns)
        self._process = secrets.token_hex(4)
        self._changes = 0
        self._pages: set[Send] = set()
        """The WebSockets of the open pages."""
        self._watching: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        return f"{self._process}-{self._changes}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, partial(self._send_of_lifespan, send))
        elif kind == "http" and route_path(scope) == SCRIPT_PATH:
            await _send_script(send)
        elif kind == "websocket" and route_path(scope) == PATH:
            await self._tell(receive, send)
        elif kind == "http" and scope["method"] in ("GET", "HEAD"):
            src = f"{scope.get('root_path', '')}{SCRIPT_PATH}?v={self.version}"
            await self.app(_unconditional(scope), receive, _Page(send, scope["method"], src))
        else:
            await self.app(scope, receive, send)

    async def _tell(self, receive: Receive, send: Send) -> None:
        """Send a page the version, now and after each change."""
        await receive()
        await send({"type": "websocket.accept"})
        self._start_watching()  # in case the server runs no lifespan
        self._pages.add(send)
        try:
            await send({"type": "websocket.send", "text": self.version})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._pages.discard(send)

    async def _watch(self) -> None:
        try:
            await self._tell_of_changes()
        except Exception:  # such as the system's limit on watches
            _logger.exception(
                "Live reload cannot watch templates and static files; reload pages yourself."
            )

    async def _tell_of_changes(self) -> None:
        folders = [folder for folder in folders_of(self._flask) if Path(folder).is_dir()]
        if not folders:
            return
        accept = _Filter(self._exclude)
        async for _ in watchfiles.awatch(*folders, watch_filter=accept):
            self._changes += 1
            for send in list(self._pages):
                try:
                    await send({"type": "websocket.send", "text": self.version})
                except Exception:  # servers raise various errors if the page was closed
                    self._pages.discard(send)

    async def _send_of_lifespan(self, send: Send, message: Message) -> None:
        """Start watching when the app has started, so that no page is older. Stop before the
        last message, after which the server ends the loop."""
        if message["type"] == "lifespan.startup.complete":
            self._start_watching()
        elif self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await send(message)

    def _start_watching(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())


class _Filter(watchfiles.DefaultFilter):
    """Ignores files of editors and version control, and those that the reloader ignores."""

    def __init__(self, exclude: tuple[str, ...]) -> None:
        super().__init__()
        self._exclude = exclude

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return super().__call__(change, path) and not any(
            fnmatch(path, pattern) for pattern in self._exclude
        )


def folders_of(app: Any) -> set[str]:
    """Return the folders with the templates and static files of a Flask app and its blueprints."""
    folders: set[str] = set()
    for owner in (app, *getattr(app, "blueprints", {}).values()):
        if static := getattr(owner, "static_folder", None):
            folders.add(static)
        folders.update(_search_path(getattr(owner, "jinja_loader", None)))
    for mount in getattr(app, "_mounts", ()):
        folders.update(map(str, getattr(mount.app, "all_directories", ())))  # Starlette's
    return folders


def _search_path(loader: Any) -> Iterator[str]:
    """Yield the folders of Jinja's *loader*, which may contain other loaders."""
    yield from map(str, getattr(loader, "searchpath", ()))
    inner: Iterable[Any] = getattr(loader, "loaders", ())
    for other in (*inner, *getattr(loader, "mapping", {}).values()):
        yield from _search_path(other)


async def _send_script(send: Send) -> None:
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"content-length", b"%d" % len(SCRIPT)),
        (b"cache-control", b"no-cache"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": SCRIPT})


def _unconditional(scope: Scope) -> Scope:
    """Return *scope* without conditional headers for pages: the browser's copy may be outdated."""
    headers = scope["headers"]
    if not any(name == b"accept" and b"text/html" in value for name, value in headers):
        return scope
    kept = [line for line in headers if line[0] not in (b"if-none-match", b"if-modified-since")]
    return {**scope, "headers": kept} if len(kept) < len(headers) else scope


_OF_THE_CONTENT: Final = frozenset({b"content-length", b"etag", b"last-modified"})
"""Headers that no longer apply if the content changes (RFC 9110 section 8)."""

_WITHOUT_PAGE: Final = frozenset({204, 206, 304})

_NONCE = re.compile(rb"'nonce-([\w+/=-]+)'")


class _Page:
    """Sends a response, and adds the script if it is a whole HTML page: not a stream, not
    compressed, not a fragment."""

    def __init__(self, send: Send, method: str, src: str) -> None:
        self._send = send
        self._method = method
        self._src = src
        self._start: Message | None = None
        self._content = b""

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._may_be_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        elif kind != "http.response.body":
            await self._release()
            await self._send(message)
        else:
            self._content += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_page()
            elif not self._is_whole():
                await self._release()

    def _may_be_page(self, start: Message) -> bool:
        headers = _by_name(start)
        return (
            headers.get(b"content-type", b"").startswith(b"text/html")
            and headers.get(b"content-encoding", b"identity") == b"identity"
            and not headers.get(b"content-disposition", b"").startswith(b"attachment")
            and start["status"] not in _WITHOUT_PAGE
        )

    def _is_whole(self) -> bool:
        """Return `True` if a response in pieces has a known length, so that it is not a stream."""
        assert self._start is not None
        length = _by_name(self._start).get(b"content-length", b"")
        return length.isdigit() and int(length) <= HELD_BYTES

    async def _release(self) -> None:
        """Send what was held back, unchanged, and pass on the rest."""
        start, content = self._start, self._content
        self._start, self._content = None, b""
        assert start is not None
        await self._send(start)
        if content:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def _send_page(self) -> None:
        start, content = self._start, self._content
        assert start is not None
        self._start = None
        if self._method == "HEAD":
            start = {**start, "headers": _without_validators(start)}
        elif (at := content.lower().rfind(b"</body")) >= 0:
            content = content[:at] + self._script(start) + content[at:]
            length = (b"content-length", b"%d" % len(content))
            start = {**start, "headers": [*_without_validators(start), length]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": content})

    def _script(self, start: Message) -> bytes:
        policy = _by_name(start).get(b"content-security-policy", b"")
        nonce = _NONCE.search(policy)
        attribute = b' nonce="%s"' % nonce[1] if nonce else b""
        return b'<script src="%s"%s async></script>' % (escape(self._src).encode(), attribute)


def _by_name(start: Message) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in start.get("headers", ())}


def _without_validators(start: Message) -> list[tuple[bytes, bytes]]:
    headers = start.get("headers", ())
    return [(name, value) for name, value in headers if name.lower() not in _OF_THE_CONTENT]
