"""A pytest plugin: each request of the test client goes over a socket to uvicorn.

The one place that is changed is the client's `run_wsgi_app`: what is above it (cookies,
redirects, the response object) stays, what is below (the app's WSGI face) is not used. uvicorn
runs in a thread of the test process, and answers each request by the app of its client. Whatever
the app raises is raised in the test, as the test client does it. How a request is carried:

- Over a socket. A client address, a scheme and a path below which the app is mounted that the
  test made up are written into the scope, as uvicorn does by proxy headers and ``--root-path``.
- By a bare ASGI scope, if it cannot be on the wire: its body is shorter than it says, or uvicorn
  itself refuses it.
- By the in-process client, if its environ has keys or an error stream of the test's own, which no
  server would make.

After ``with client:`` the contexts are kept: those that were current when `request_started` was
sent. The last line of pytest's summary says how many requests were carried in which way.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import logging
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from werkzeug.datastructures import Headers
from werkzeug.test import Client
from werkzeug.wsgi import get_current_url

from asyncflask import Flask
from asyncflask.asgi.wsgi import CLOSE_AT_ONCE
from asyncflask.globals import app_ctx, request_ctx
from asyncflask.signals import request_started
from asyncflask.testing import FlaskClient

SECONDS: Final = 30
"""For an answer, so that a hang ends in the test that it is of."""

HTTP: Final = os.environ.get("SERVED_HTTP", "auto")
"""uvicorn's option: ``httptools`` or ``h11``."""

LOCALHOST: Final = "127.0.0.1"

KEEP: Final = "werkzeug.debug.preserve_context"
"""In an environ: what is to be given the contexts, which the client pushes again."""

CARRIED: Final = {
    "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI",
    "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "REMOTE_PORT", "CONTENT_TYPE",
    "CONTENT_LENGTH", "wsgi.version", "wsgi.url_scheme", "wsgi.input", "wsgi.input_terminated",
    "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "werkzeug.request",
    KEEP, CLOSE_AT_ONCE,
}  # fmt: skip
"""What a server makes an environ of, beside header lines; a request with more is not served."""

HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding"}
"""Of one connection, and not for the application (RFC 9110 section 7.6.1)."""

Answer = tuple[Iterable[bytes], int, Headers]
"""Body, status and headers, as the client takes them. A reason phrase is lost (ASGI has none)."""


class Exchange:
    """One request of a test client, and what became of it."""

    def __init__(self, app: Flask, environ: dict[str, Any]) -> None:
        self.app = app
        self.environ = environ
        self.body = read_body(environ)
        self.arrived = False
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.contexts: list[Any] = []

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the app answer, on the server's loop."""
        self.arrived = True
        try:
            await self.app(self.as_behind_a_proxy(scope), receive, send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error
            raise RuntimeError("The app raised.") from error  # uvicorn takes no `SystemExit`
        finally:
            self.ended.set()

    def as_behind_a_proxy(self, scope: Scope) -> Scope:
        environ = self.environ
        scope["scheme"] = environ["wsgi.url_scheme"]
        address = environ.get("REMOTE_ADDR")
        if address and address != LOCALHOST:
            scope["client"] = (address, int(environ.get("REMOTE_PORT") or 0))
        root = bytes_of(environ["SCRIPT_NAME"]).rstrip(b"/").decode()
        if root:
            scope["root_path"] = root
            scope["path"] = root + scope["path"]
            scope["raw_path"] = quote(root).encode() + scope["raw_path"]
        return scope

    def end(self) -> None:
        """Wait until the app has ended, teardown and all. Raises what it raised."""
        if not self.ended.wait(SECONDS):
            raise TimeoutError(f"The app has not ended {SECONDS} s after its answer.")
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def note_contexts(self, sender: Any, **kwargs: Any) -> None:
        """Of the signal `request_started`, which is asked for by ``with client:`` alone."""
        proxies: list[Any] = [app_ctx, request_ctx]
        self.contexts = [proxy._get_current_object() for proxy in proxies]

    def keep(self) -> None:
        """Give the client contexts with the same `g`, request and session. Not the very same
        ones: a stream may still use these."""
        if self.contexts:
            of_app, of_request = self.contexts
            context = self.app.app_context()
            context.g = of_app.g
            self.environ[KEEP](context)
            self.environ[KEEP](of_request.copy())


def read_body(environ: dict[str, Any]) -> bytes:
    """What the test has for a body; it is left as it was, for a redirect that repeats it."""
    stream = environ["wsgi.input"]
    start = stream.tell() if stream.seekable() else None
    length = -1 if is_chunked(environ) else int(environ.get("CONTENT_LENGTH") or 0)
    data: bytes = stream.read(length)
    if start is not None:
        stream.seek(start)
    return data


def is_chunked(environ: dict[str, Any]) -> bool:
    return "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()


def bytes_of(text: str) -> bytes:
    """PEP 3333: a text in an environ stands for bytes."""
    return text.encode("latin-1")


# -- the request, on the wire or as a scope ---------------------------------------------------


def path_of(environ: dict[str, Any]) -> bytes:
    """The path below where the app is mounted, as the test wrote it if that is known."""
    path = bytes_of(environ["PATH_INFO"])
    if not path.startswith(b"/"):
        path = b"/" + path
    written: str = urlsplit(environ.get("REQUEST_URI", "")).path
    if written.isascii() and written.isprintable() and " " not in written:
        root = quote(bytes_of(environ["SCRIPT_NAME"]))
        if written.startswith(root + "/") and unquote_to_bytes(written[len(root) :]) == path:
            return written[len(root) :].encode()
    return quote(path).encode()


def header_lines(environ: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    lines = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            lines.append((key[5:], value))
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            lines.append((key, value))
    return [(n.replace("_", "-").lower().encode(), bytes_of(str(v))) for n, v in lines]


def on_the_wire(exchange: Exchange) -> bytes:
    environ = exchange.environ
    target = path_of(environ)
    if environ["QUERY_STRING"]:
        target += b"?" + bytes_of(environ["QUERY_STRING"])
    method, protocol = bytes_of(environ["REQUEST_METHOD"]), bytes_of(environ["SERVER_PROTOCOL"])
    head = [b" ".join([method, target, protocol])]
    chunked = is_chunked(environ)
    head += [
        b": ".join(line)
        for line in header_lines(environ)
        if not (chunked and line[0] == b"content-length")  # RFC 9112 section 6.2
    ]
    body = exchange.body
    if chunked:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    return b"\r\n".join([*head, b"", b""]) + body


def scope_of(exchange: Exchange) -> Scope:
    """A scope as uvicorn makes it."""
    environ = exchange.environ
    path = path_of(environ)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ["SERVER_PROTOCOL"].partition("/")[2],
        "server": (LOCALHOST, 80),
        "client": (LOCALHOST, 50000),
        "scheme": "http",
        "method": environ["REQUEST_METHOD"],
        "root_path": "",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": bytes_of(environ["QUERY_STRING"]),
        "headers": header_lines(environ),
        "state": {},
    }


# -- the server -------------------------------------------------------------------------------


class Server:
    """uvicorn in a thread, for the apps of all clients."""

    def __init__(self) -> None:
        self.exchanges: dict[tuple[str, int], Exchange] = {}
        """By the address of the connection; the wire has nothing that tells them apart."""
        self.socket = socket.create_server((LOCALHOST, 0))
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            http=HTTP,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )
        self.uvicorn = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ready = threading.Event()
        logger = logging.getLogger("uvicorn")
        logger.propagate = False  # what an app raises is raised in the test
        logger.addHandler(logging.NullHandler())
        self.thread = threading.Thread(target=self.run, name="served", daemon=True)
        self.thread.start()
        self.ready.wait()

    def run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            self.ready.set()
            await self.uvicorn.serve(sockets=[self.socket])

        with asyncio.Runner(loop_factory=self.uvicorn.config.get_loop_factory()) as runner:
            runner.run(serve())

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(SECONDS)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.exchanges[tuple(scope["client"])].run(scope, receive, send)

    def carry(self, exchange: Exchange, buffered: bool) -> Answer | None:
        """The answer; nothing if uvicorn refused the request before the app had it."""
        connection = socket.create_connection(self.socket.getsockname()[:2], SECONDS)
        address = connection.getsockname()[:2]
        self.exchanges[address] = exchange
        body = Rest(exchange, connection, lambda: self.exchanges.pop(address, None))
        try:
            with suppress(ConnectionError):  # an answer may come before all is sent
                connection.sendall(on_the_wire(exchange))
            body.response.begin()
        except BaseException:
            body.leave()
            if exchange.error is not None:
                exchange.end()
            raise
        if not exchange.arrived:
            refusal = body.response.read()
            body.leave()
            if body.response.status != http.client.BAD_REQUEST:
                raise RuntimeError(f"The request did not reach the app: {refusal!r}")
            return None
        counts["over a socket"] += 1
        if exchange.ended.is_set() and exchange.error is not None:
            body.close()
        chunks: Iterable[bytes] = body
        if buffered or body.response.length is not None:
            chunks = list(body)
            if not buffered:
                chunks = iter(chunks)  # so that the response calls itself streamed
        headers = [(n.title(), v) for n, v in body.response.getheaders()]
        kept = Headers([(n, v) for n, v in headers if n.lower() not in HOP_BY_HOP])
        return chunks, body.response.status, kept

    def call(self, exchange: Exchange) -> Answer:
        """The answer to a bare scope."""
        messages: list[Message] = []
        body = exchange.body
        short = len(body) < int(exchange.environ.get("CONTENT_LENGTH") or 0)
        events: Iterator[Message] = itertools.chain(
            [{"type": "http.request", "body": body, "more_body": short}],
            itertools.repeat({"type": "http.disconnect"}),
        )

        async def receive() -> Message:
            return next(events)

        async def send(message: Message) -> None:
            messages.append(message)

        assert self.loop is not None
        run = exchange.run(scope_of(exchange), receive, send)
        with suppress(RuntimeError):  # what it raised is in the exchange
            asyncio.run_coroutine_threadsafe(run, self.loop).result(SECONDS)
        exchange.end()
        start, *rest = messages
        headers = [(n.decode("latin-1").title(), v.decode("latin-1")) for n, v in start["headers"]]
        return [m.get("body", b"") for m in rest], start["status"], Headers(headers)


class Rest:
    """The body of a response that is read as it comes; an iterable, to be closed."""

    def __init__(
        self, exchange: Exchange, connection: socket.socket, left: Callable[[], object]
    ) -> None:
        self.exchange = exchange
        self.connection = connection
        self.left = left
        self.response = http.client.HTTPResponse(
            connection, method=exchange.environ["REQUEST_METHOD"]
        )

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            data = self.response.read1(65_536)
        except (http.client.IncompleteRead, ConnectionError):
            self.close()  # raises what ended the app
            raise
        if data:
            return data
        self.close()
        raise StopIteration

    def leave(self) -> None:
        self.response.close()
        self.connection.close()
        self.left()

    def close(self) -> None:
        self.leave()
        self.exchange.end()

    def __del__(self) -> None:
        self.leave()


# -- the client -------------------------------------------------------------------------------

counts: Final[Counter[str]] = Counter()
"""How many requests were carried in which way."""

_servers: Final[list[Server]] = []


def carry(app: Flask, environ: dict[str, Any], buffered: bool) -> Answer:
    if not _servers:
        _servers.append(Server())
    server = _servers[0]
    if threading.current_thread() is server.thread:
        raise RuntimeError("The test client is called on the server's loop, and would block it.")
    exchange = Exchange(app, environ)
    answer: Answer | None = None
    with ExitStack() as stack:
        if KEEP in environ:
            stack.enter_context(request_started.connected_to(exchange.note_contexts, app))
        if len(exchange.body) >= int(environ.get("CONTENT_LENGTH") or 0):
            answer = server.carry(exchange, buffered)
        if answer is None:
            counts["by a bare scope"] += 1
            answer = server.call(exchange)
    exchange.keep()
    return answer


def is_servable(app: Any, environ: dict[str, Any]) -> bool:
    return (
        isinstance(app, Flask)
        and all(key in CARRIED or key.startswith("HTTP_") for key in environ)
        and environ["wsgi.errors"] is sys.stderr
    )


def serve(client_class: Any) -> None:
    """Have the clients of a class served, where that can be."""
    run_in_process = client_class.run_wsgi_app

    def run_wsgi_app(client: Any, environ: dict[str, Any], buffered: bool = False) -> Any:
        if not is_servable(client.application, environ):
            counts["by the in-process client"] += 1
            return run_in_process(client, environ, buffered=buffered)
        client._add_cookies_to_wsgi(environ)
        answer = carry(client.application, environ, buffered)
        url = urlsplit(get_current_url(environ))
        client._update_cookies_from_response(
            url.hostname or "localhost", url.path, answer[2].getlist("Set-Cookie")
        )
        return answer

    client_class.run_wsgi_app = run_wsgi_app


serve(Client)
if "run_wsgi_app" in vars(FlaskClient):
    serve(FlaskClient)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ways = ", ".join(f"{count} {way}" for way, count in counts.items())
    terminalreporter.write_line(f"Requests of the test client: {ways or 'none'}.")


def pytest_unconfigure() -> None:
    while _servers:
        _servers.pop().stop()
