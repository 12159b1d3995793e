"""WSGI and ASGI, each in terms of the other (PEP 3333, ASGI specification: WSGI compatibility).

`respond` is the WSGI face of an ASGI app: the calling thread becomes the request's thread. What
it cannot say in a scope is in the scope's `Origin`.
`serve` is the other way round: a WSGI callable answers an ASGI request.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope, Send
from werkzeug.wsgi import get_input_stream

from .conversation import Conversations
from .http import ORIGIN as ORIGIN
from .http import READ_BYTES, RECEIVED, Body, send_response, start_message
from .loops import background_loop, off_loop
from .pool import Worker
from .threads import Driver, this_driver, this_worker

Environ = dict[str, Any]
T = TypeVar("T")
FILE_BYTES: Final = 262_144
"""How much of a file is read at a time: each read is a hop to the request's thread."""

PROXY_FIX_ORIGINAL: Final = "werkzeug.proxy_fix.orig"
"""What Werkzeug's `ProxyFix` has replaced: its key in an environ, and ours in a scope."""

SCHEMES: Final = {"ws": "http", "wss": "https"}
"""A WebSocket's handshake is a request (RFC 6455 section 4.1)."""

CLOSE_AT_ONCE: Final = "asyncflask.close_at_once"
"""Set in the environ by a test, which need not close its response."""

STATE: Final = "asyncflask.state"
"""Set in the environ by a test that has started the app: its lifespan's state."""


class Origin:
    """The WSGI request that a scope was built from."""

    __slots__ = {
        "app": "The app whose `wsgi_app` was called: its WSGI middleware is done with.",
        "context": "The `Context` in which the request runs; the app sets it.",
        "environ": "The environ that came in.",
        "keep": "Called with each context at the end of the request, if a test keeps them.",
        "mirrored": "What of the scope the environ has, as it is there.",
        "worker": "The calling thread's; it serves as the request's thread.",
    }

    def __init__(self, environ: Environ, worker: Worker | None = None, app: object = None) -> None:
        self.app = app
        self.context: Context | None = None
        self.environ = environ
        self.keep: Callable[[Any], object] | None = environ.get("werkzeug.debug.preserve_context")
        self.mirrored: tuple[object, ...] = ()
        self.worker = worker

    def update(self, scope: Scope) -> Environ:
        """The environ, after writing to it what ASGI middleware has changed in the scope."""
        environ, mirrored = self.environ, _mirrored(scope)
        if mirrored != self.mirrored:
            self.mirrored = mirrored
            for key in [key for key in environ if _is_header(key)]:
                del environ[key]
            environ.update(_variables(scope))
            environ["wsgi.url_scheme"] = _http_scheme(scope)
        return environ


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


def environ_of(scope: Scope, body: Body) -> Environ:
    """The WSGI environ of a request or WebSocket. If one came in, it is that very one."""
    origin: Origin | None = scope.get(ORIGIN)
    if origin is None:
        return environ_from_scope(scope, body)
    environ = origin.update(scope)
    environ["wsgi.input"] = body.file()
    environ["wsgi.input_terminated"] = True
    return environ


def environ_from_scope(scope: Scope, body: Body) -> Environ:
    """A new WSGI environ of an ASGI request or WebSocket."""
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
        # Compression is between server and client, and not for who answers by the environ.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        environ.update(handshake | environ)
    return environ


def _http_scheme(scope: Scope) -> str:
    scheme: str = scope.get("scheme", "http")
    return SCHEMES.get(scheme, scheme)


def _variables(scope: Scope) -> Environ:
    """What an environ has of a scope, but for the keys that begin with `wsgi.`."""
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
"""What is round a value is no part of it (RFC 9110 section 5.5); httptools leaves what follows."""


def header_variables(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What an environ has of the header lines. Repeated ones are joined, as WSGI servers do (RFC
    9110 section 5.3). Names with an underscore are left out: in an environ they would pass for
    the ones with a hyphen."""
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
    """The ASGI scope of a WSGI request, with its `Origin`. What an ASGI server put into the scope
    that the environ was built from (`state`, extensions) is kept."""
    received = environ.get("asyncflask.scope")
    headers = []
    for key, value in environ.items():
        if not _is_header(key) or (key in _WITHOUT_PREFIX and not value):
            continue
        name = key.removeprefix("HTTP_").replace("_", "-").lower()
        headers.append((name.encode("latin-1"), _bytes(value)))
    if "HTTP_HOST" not in environ and (
        received is None or b"host" in dict(received["headers"])
    ):  # HTTP/1.0, or a middleware has removed it: the server's name stands for it
        host = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
        headers.append((b"host", _bytes(host)))
    root_path = _bytes(environ.get("SCRIPT_NAME", "")).decode("utf-8", "replace").rstrip("/")
    if root_path and not root_path.startswith("/"):  # of a header X-Forwarded-Prefix, say
        root_path = f"/{root_path}"
    path = _bytes(environ.get("PATH_INFO", "")).decode("utf-8", "replace")
    if received is None and path and not path.startswith("/"):
        # No malformed target, as it would be in a scope: the server parsed that. PEP 3333 asks
        # for no slash, and Werkzeug's test client gives the path as the test wrote it.
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
    """`SERVER_PORT`, which is a text, and Hypercorn's a number; `None` for what is no port."""
    text = str(port)
    return int(text) if text.isdecimal() and len(text) <= 5 else None


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")


# -- the WSGI face of an ASGI app -------------------------------------------------------------


class _Changes:
    """The context variables of a request, followed by those of the thread that makes it: what has
    been set or reset in the one since the last look is set or reset in the other. What the thread
    changes in the meantime stays, as a WSGI middleware does it when its app has returned."""

    def __init__(self, private: Collection[ContextVar[Any]]) -> None:
        self._private = private
        self._seen = copy_context()
        self._set: dict[ContextVar[Any], Token[Any]] = {}

    def follow(self, context: Context) -> None:
        seen, self._seen = self._seen, context.copy()
        for variable, value in self._seen.items():
            if seen.get(variable, _missing) is not value and variable not in self._private:
                token = variable.set(value)
                if token.old_value is Token.MISSING:
                    self._set[variable] = token
        for variable in self._set.keys() - self._seen.keys():
            try:
                variable.reset(self._set.pop(variable))
            except ValueError:  # a server that reads the body in another context
                pass


_missing = object()


class _Exchange:
    """One WSGI request that an ASGI app answers: the app as a task on the loop, and this
    thread, which does the app's sync work and takes its messages.

    This thread may be that of a loop, if a coroutine function called the test client: then the
    app runs on another loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        environ: Environ,
        start_response: Callable[..., object],
        owner: object,
        private: Collection[ContextVar[Any]],
    ) -> None:
        self.app = app
        self.start_response = start_response
        self.changes = _Changes(private)
        self.worker = this_worker()
        self.loop: asyncio.AbstractEventLoop
        self.inbox: deque[Message] = deque()
        self.holds_app = False
        self.started = self.done = False
        self.error: BaseException | None = None
        # Now: the environ will have the body that `receive` gives in its place.
        self.input: Any = get_input_stream(environ)
        self.task: asyncio.Task[None] | None = None
        self.taken = asyncio.Event()  # that the message was, and more is asked for
        self.left = asyncio.Event()  # that the client closed, or that all is sent
        self.scope = scope_from_environ(environ, self.worker, owner)
        self.origin: Origin = self.scope[ORIGIN]

    # on the loop

    async def run(self) -> None:
        error: BaseException | None = None
        try:
            await self.app(self.scope, self.receive, self.send)
        except BaseException as exc:
            error = exc

        def finish() -> None:
            self.done, self.error = True, error

        self.worker.post(finish)

    async def receive(self) -> Message:
        if self.input is not _read_to_end and not self.left.is_set():
            data = await self._on_thread(self.read)
            return {"type": "http.request", "body": data, "more_body": bool(data)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.left.is_set():
            return
        if message["type"] == "http.response.start":
            await self._on_thread(partial(self.start, message))
            return
        self.taken.clear()
        self.worker.post(partial(self.inbox.append, message))
        if not message.get("more_body", False):
            self.left.set()
        await self.taken.wait()

    async def _on_thread(self, func: Callable[[], T]) -> T:
        """The value of *func*, called on the thread."""
        ended = asyncio.Event()
        values: list[T] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                values.append(func())
            except BaseException as exc:
                errors.append(exc)
            self.loop.call_soon_threadsafe(ended.set)

        # Not at once: until this step of the loop is over, the request's context is in use.
        self.loop.call_soon(self.worker.post, job)
        await ended.wait()
        if errors:
            raise errors.pop()
        return values[0]

    # on the thread

    def read(self) -> bytes:
        data: bytes = self.input.read(READ_BYTES)
        if not data:
            self.input = _read_to_end
        return data

    def start(self, message: Message) -> None:
        """Call the server's `start_response`, or a middleware's, within the request's contexts."""
        status = message["status"]
        # As they were written: some clients look at the case, as S3's do for metadata.
        written = {name.lower(): name for name, _ in message.get("asyncflask.headers", ())}
        headers = []
        for raw_name, raw_value in message["headers"]:
            name = raw_name.decode("latin-1")
            headers.append((written.get(name) or name.title(), raw_value.decode("latin-1")))
        line = message.get("asyncflask.status")
        line = line or f"{status} {_PHRASES.get(status, 'UNKNOWN')}"
        self.started = True
        context = self.origin.context
        if context is None:
            self.start_response(line, headers)
        else:
            context.run(self.start_response, line, headers)

    def begin(self) -> None:
        """Have the app answer. Returns when the response has started."""
        context = copy_context()

        def start() -> None:
            self.task = self.loop.create_task(self.run(), context=context)

        # First: neither the app nor another thread may choose the loop that this code blocks.
        with off_loop():
            driver = this_driver()
            self.loop = background_loop() if driver is None else driver.loop
            self.loop.call_soon_threadsafe(start)
            self._work_until(lambda: self.started)
        if not self.started:
            raise RuntimeError("The ASGI app has ended without a response.")

    def _work_until(self, reached: Callable[[], object]) -> None:
        """Work until *reached*, or until the app has ended. Raises what the app raised."""
        with off_loop():
            while not self.done and not reached():
                try:
                    self.worker.jobs.get()()
                except BaseException:  # KeyboardInterrupt; GreenletExit or Timeout of gevent
                    self._abort()
                    raise
        if self.origin.context is not None:
            self.changes.follow(self.origin.context)
        if self.error is not None and not reached():
            error, self.error = self.error, None
            raise error

    def _abort(self) -> None:
        """This thread is told to end: see the app end first, which may need it for teardown."""

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()

        self.loop.call_soon_threadsafe(cancel)
        while not self.done:
            self.worker.jobs.get()()

    def next_message(self) -> Message | None:
        """Work until the app has sent something, and give that; `None` when it has ended. The app
        goes on when this is called again. Raises what the app raised."""
        if self.holds_app and not self.done:
            self.loop.call_soon_threadsafe(self.taken.set)
        self._work_until(lambda: self.inbox)
        self.holds_app = bool(self.inbox)
        return self.inbox.popleft() if self.inbox else None

    def close(self) -> None:
        """Tell the app that the client has left, and see it end; but not from the very loop that
        the app runs on."""
        if self.tell_left() and asyncio._get_running_loop() is not self.loop:
            while self.next_message() is not None:
                pass

    def tell_left(self) -> bool:
        """Tell the app that the client has left. Whether it is still to end."""
        if self.done or self.loop.is_closed():
            return False
        for event in (self.left, self.taken):
            self.loop.call_soon_threadsafe(event.set)
        self.holds_app = False
        return True

    def drop(self) -> None:
        """The body was dropped, and not closed. The garbage collector calls this on any thread.
        On another than its own it must not wait, nor do the work of that thread, which does it
        when it next waits itself."""
        if this_worker() is self.worker:
            self.close()
        else:
            self.tell_left()


_read_to_end: Any = object()


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

    def __del__(self) -> None:
        self._exchange.drop()


class _Whole(list[bytes]):
    """A response body, all of it. The app goes on when the server has sent it and closes this."""

    def __init__(self, exchange: _Exchange, body: bytes) -> None:
        super().__init__([body])
        self._exchange = exchange

    def close(self) -> None:
        self._exchange.close()

    def __del__(self) -> None:
        self._exchange.drop()


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def respond(
    app: ASGIApp,
    environ: Environ,
    start_response: Callable[..., object],
    owner: object = None,
    private: Collection[ContextVar[Any]] = (),
) -> Iterable[bytes]:
    """Answer a WSGI request by an ASGI *app*, which runs on the loop of the request that this
    thread works for, or on a background loop. Raises what the app raises.

    *owner*: see `Origin.app`. What the request changes in context variables is seen here
    afterwards, as in WSGI, but for those that are *private*."""
    exchange = _Exchange(app, environ, start_response, owner, private)
    exchange.begin()
    message = exchange.next_message()
    if message is None:
        return []
    if message.get("more_body", False):
        if (driver := this_driver()) is not None:
            driver.free_slot()  # from here on this thread mostly waits for the loop
        return _Stream(exchange, message.get("body", b""))
    whole = _Whole(exchange, message.get("body", b""))
    if environ.get(CLOSE_AT_ONCE):
        exchange.close()
    return whole


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
        status: str, headers: list[tuple[str, str]], exc_info: object = None
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
