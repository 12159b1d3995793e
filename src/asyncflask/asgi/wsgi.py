"""WSGI and ASGI, each in terms of the other (PEP 3333, ASGI specification: WSGI compatibility).

`respond` is the WSGI face of an ASGI app: the calling thread becomes the request's thread.
`serve` is the other way round: a WSGI callable answers an ASGI request.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope, Send
from werkzeug.wsgi import get_input_stream

from .conversation import Conversations
from .http import READ_BYTES, Body, send_response, start_message
from .threads import Driver, background_loop, this_driver, this_worker

Environ = MutableMapping[str, Any]

FILE_BYTES: Final = 262_144
"""How much of a file is read at a time: each read is a hop to the request's thread."""


PROXY_FIX_ORIGINAL: Final = "werkzeug.proxy_fix.orig"
"""What Werkzeug's `ProxyFix` has replaced: its key in an environ, and ours in a scope."""

SCHEMES: Final = {"ws": "http", "wss": "https"}
"""A WebSocket's handshake is a request (RFC 6455 section 4.1)."""


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): an iterator over the blocks of a file."""

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


def route_path(scope: Scope) -> str:
    """The path below `root_path`; servers and Starlette's `Mount` leave both in `path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def environ_from_scope(scope: Scope, body: Body) -> dict[str, Any]:
    """The WSGI environ of an ASGI request or WebSocket. Header names with an underscore are
    left out: in an environ they would pass for the ones with a hyphen."""
    server = scope.get("server") or ("localhost", None)
    client = scope.get("client")
    scheme = scope.get("scheme", "http")
    scheme = SCHEMES.get(scheme, scheme)
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query = scope.get("query_string", b"").decode("latin-1")
    uri = raw_path.decode("latin-1") + (f"?{query}" if query else "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": route_path(scope).encode().decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": uri,
        "RAW_URI": uri,
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or (443 if scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": body.file(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "asyncflask.scope": scope,
    }
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").upper()
        if "_" in name:
            continue
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        value = raw_value.decode("latin-1")
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value
    if PROXY_FIX_ORIGINAL in scope:
        environ[PROXY_FIX_ORIGINAL] = scope[PROXY_FIX_ORIGINAL]
    if (handshake := scope.get("asyncflask.handshake")) is not None:
        # Compression is between server and client, and not for who answers by the environ.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        environ.update(handshake | environ)
    return environ


def scope_from_environ(environ: Environ) -> Scope:
    """The ASGI scope of a WSGI request. What an ASGI server put into the scope that the environ
    was made of (`state`, extensions) is kept."""
    headers = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        else:
            continue
        headers.append((name.replace("_", "-").lower().encode("latin-1"), _bytes(value)))
    if "HTTP_HOST" not in environ:  # HTTP/1.0: the server's own name stands for it
        host = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
        headers.append((b"host", _bytes(host)))
    root_path = _bytes(environ.get("SCRIPT_NAME", "")).decode("utf-8", "replace").rstrip("/")
    if root_path and not root_path.startswith("/"):  # of a header X-Forwarded-Prefix, say
        root_path = f"/{root_path}"
    path = _bytes(environ.get("PATH_INFO", "")).decode("utf-8", "replace")
    if "asyncflask.scope" not in environ and not path.startswith("/") and (path or not root_path):
        # No malformed target, as it would be in a scope: the server parsed that. PEP 3333 asks
        # for no slash, and Werkzeug's test client gives the path as the test wrote it.
        path = f"/{path}"
    scope: Scope = dict(environ.get("asyncflask.scope", ()))
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
            "client": (environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0)),
            "asyncflask.environ": environ,
        }
    )
    scope.setdefault("extensions", {})
    scope["asyncflask.mirrored"] = _mirrored(scope)
    return scope


def _mirrored(scope: Scope) -> tuple[Any, ...]:
    keys = ("method", "scheme", "path", "root_path", "query_string", "client")
    return (list(scope["headers"]), *(scope.get(key) for key in keys))


def update_environ(environ: Environ, scope: Scope, body: Body) -> None:
    """Write to the *environ* that *scope* was made of what ASGI middleware has changed since."""
    if scope["asyncflask.mirrored"] == _mirrored(scope):
        return
    for key in [key for key in environ if key.startswith("HTTP_")]:
        del environ[key]
    for key, value in environ_from_scope(scope, body).items():
        if key == "wsgi.url_scheme" or not key.startswith(("wsgi.", "asyncflask.")):
            environ[key] = value


def port_number(port: Any) -> int | None:
    """`SERVER_PORT`, which is a text, and Hypercorn's a number; `None` for what is no port."""
    text = str(port)
    return int(text) if text.isdecimal() and len(text) <= 5 else None


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")


# -- the WSGI face of an ASGI app -------------------------------------------------------------


class _Exchange:
    """One WSGI request that an ASGI app answers: the app as a task on the loop, and this
    thread, which does the app's plain work and takes its messages."""

    def __init__(self, app: ASGIApp, environ: Environ) -> None:
        self.app = app
        self.environ = environ
        self.worker = this_worker()
        driver = this_driver()
        self.loop = background_loop() if driver is None else driver.loop
        self.inbox: deque[tuple[Message, Callable[[], object]]] = deque()
        self.done = False
        self.error: BaseException | None = None
        # Now: the environ will have the body that `receive` gives in its place.
        self.input: Any = get_input_stream(environ)  # type: ignore[arg-type]
        self.task: asyncio.Task[None] | None = None
        self.left = asyncio.Event()  # that the client closed, or that all is sent

    # on the loop

    async def run(self) -> None:
        error: BaseException | None = None
        try:
            scope = scope_from_environ(self.environ)
            scope["asyncflask.worker"] = self.worker
            await self.app(scope, self.receive, self.send)
        except BaseException as exc:
            error = exc

        def finish() -> None:
            self.done, self.error = True, error

        self.worker.post(finish)

    async def receive(self) -> Message:
        if self.input is not _read_to_end and not self.left.is_set():
            done = self.loop.create_future()

            def read() -> None:
                result: tuple[bytes, Exception | None]
                try:
                    result = self.read(), None
                except Exception as exc:
                    result = b"", exc
                self.loop.call_soon_threadsafe(_settle, done, result)

            self.worker.post(read)
            data, error = await done
            if error is not None:
                raise error
            return {"type": "http.request", "body": data, "more_body": bool(data)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.left.is_set():
            return
        taken = asyncio.Event()

        def take() -> None:
            self.loop.call_soon_threadsafe(taken.set)

        self.worker.post(lambda: self.inbox.append((message, take)))
        if message["type"] == "http.response.body":
            if message.get("more_body", False):
                left = asyncio.ensure_future(self.left.wait())
                took = asyncio.ensure_future(taken.wait())
                await asyncio.wait([left, took], return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                took.cancel()
            else:
                self.left.set()

    # on the thread

    def read(self) -> bytes:
        data: bytes = self.input.read(READ_BYTES)
        if not data:
            self.input = _read_to_end
        return data

    def start(self) -> None:
        context = copy_context()

        def start() -> None:
            self.task = self.loop.create_task(self.run(), context=context)

        self.loop.call_soon_threadsafe(start)

    def next_message(self) -> Message | None:
        """Work until the app has sent something, and give that; `None` when it has ended.
        Raises what the app raised."""
        while not self.inbox and not self.done:
            self.worker.jobs.get()()
        if self.inbox:
            message, take = self.inbox.popleft()
            take()
            return message
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return None

    def close(self) -> None:
        """Tell the app that the client has left, and see it end."""
        if not self.done and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.left.set)
            while self.next_message() is not None:
                pass


_read_to_end: Any = object()


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


class _Stream:
    """A response body whose rest the app has yet to send; an iterable for a WSGI server."""

    def __init__(self, exchange: _Exchange, first: bytes) -> None:
        self._exchange = exchange
        self._first = first

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        while (message := self._exchange.next_message()) is not None:
            body: bytes = message.get("body", b"")
            if body:
                return body
        raise StopIteration

    def close(self) -> None:
        self._exchange.close()

    __del__ = close  # an iterable that was dropped: the app must not wait for ever


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def respond(app: ASGIApp, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a WSGI request by an ASGI *app*, which runs on the loop of the request that this
    thread works for, or on the background loop. Raises what the app raises."""
    exchange = _Exchange(app, environ)
    exchange.start()
    message = exchange.next_message()
    if message is None:
        raise RuntimeError("The ASGI app has ended without a response.")
    status = message["status"]
    # As they were written: some clients look at the case, as S3's do for metadata.
    written = {name.lower(): name for name, _ in message.get("asyncflask.headers", ())}
    headers = []
    for raw_name, raw_value in message["headers"]:
        name = raw_name.decode("latin-1")
        headers.append((written.get(name) or name.title(), raw_value.decode("latin-1")))
    start_response(
        message.get("asyncflask.status") or f"{status} {_PHRASES.get(status, 'UNKNOWN')}",
        headers,
    )
    message = exchange.next_message()
    if message is None:
        return []
    if message.get("more_body", False):
        if (driver := this_driver()) is not None:
            driver.free_slot()  # from here on this thread mostly waits for the loop
        return _Stream(exchange, message.get("body", b""))
    exchange.close()
    return [message.get("body", b"")]


# -- a WSGI callable that answers an ASGI request ---------------------------------------------


async def serve(
    driver: Driver,
    wsgi_app: Callable[..., Iterable[bytes]],
    environ: Environ,
    send: Send,
    body: Body,
    conversations: Conversations,
) -> None:
    """Have *wsgi_app* answer, on the request's thread."""
    started: list[Any] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        started[:] = status, headers
        return _no_write

    content = await driver.call(wsgi_app, environ, start_response)
    try:
        if not started:  # PEP 3333: may be called as late as with the first chunk
            await driver.to_thread()
            chunks = iter(content)
            first = next(chunks, b"")
            rest: Iterable[bytes] = _chained(first, chunks)
        else:
            rest = content
        status, headers = started
        code = int(status.partition(" ")[0])
        start = start_message(code, headers)
        whole = rest[0] if isinstance(rest, list) and len(rest) == 1 else rest
        await send_response(driver, send, body, conversations, start, whole)
    finally:
        if hasattr(content, "close"):
            await driver.call(content.close)
        await driver.to_loop()


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _no_write(data: bytes) -> object:
    raise RuntimeError(
        "The 'write' function that start_response gives (PEP 3333) is not supported: return an"
        " iterable of bytes."
    )
