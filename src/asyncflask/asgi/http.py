"""HTTP over ASGI: receive a request's body, send a response.

`Body` is the only reader of a request's messages. Limits and the checks of what is sent are
here; what a request or a response *is* (Werkzeug's classes) is not.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.sansio.utils import get_host

from .conversation import Conversation, Conversations
from .threads import Driver, InContext, on_loop, wait

SPOOL_BYTES: Final = 500_000
"""A body that is received ahead for asynchronous code is kept in memory up to this size, and in
a temporary file beyond it. As large as Werkzeug's limit for an uploaded file."""

READ_AHEAD_BYTES: Final = 256_000
"""How much of an unread body is buffered while waiting for the client of a stream to leave."""

READ_AHEAD_SECONDS: Final = 0.1
MAX_READ_AHEAD_SECONDS: Final = 30.0
"""How long to wait, at first and at last, before more than that is read."""

HELD_LOOP_SECONDS: Final = 0.005
"""A stream that never waits gives the loop to others after this time."""

Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 5.6.2: token; section 5.5: field-value has no control characters but tab.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_end: Any = object()


class Body(io.RawIOBase):
    """The body of a request, as it arrives. A file for plain code, which waits for the loop
    when it reads more than is there; an asynchronous iterable of `bytes` for the rest.

    Raises `ClientDisconnected` (400) when the client leaves in the middle of it.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__()
        self._receive = receive
        self._chunks: deque[bytes | memoryview] = deque()
        self._buffered = 0
        self._file: io.BufferedRandom | None = None
        self._error: Exception | None = None
        self._receiving = False
        self._received: asyncio.Event | None = None
        self.content_length, has_body = announced(scope)
        self.complete = not has_body
        self._limit: int | None = None
        http_1 = scope.get("http_version", "1.1") < "2"
        self.closable = http_1 and "asyncflask.environ" not in scope
        """Whether the response may say that the connection ends with it (RFC 9112 section 9.6;
        HTTP/2 knows no such header, and in WSGI it is the server's own affair)."""
        self._kept = False
        self.left = False
        """Whether the client is known to have left."""

    # -- on the loop

    async def _message(self) -> None:
        if self._receiving:  # by another task
            if self._received is None:
                self._received = asyncio.Event()
            await self._received.wait()
            return
        self._receiving = True
        try:
            message = await self._receive()
        finally:
            self._receiving = False
            if self._received is not None:
                self._received.set()
                self._received = None
        if message["type"] == "http.disconnect":
            self.left = True
            if not self.complete:
                self.complete = True
                self._error = ClientDisconnected()
            return
        if chunk := message.get("body", b""):
            self._buffered += len(chunk)
            self._chunks.append(chunk)
            self._check()
        if not message.get("more_body", False):
            self.complete = True

    async def fill(self) -> None:
        """Return when there is something to read, or nothing will come any more."""
        while not self._chunks and not self.complete:
            await self._message()

    def limit(self, size: int | None) -> None:
        """Refuse more than *size* bytes: whoever reads gets `RequestEntityTooLarge` (413), at
        once if more are announced."""
        self._limit = size
        self._check()

    def _check(self) -> None:
        if self._limit is not None and max(self.content_length, self._buffered) > self._limit:
            self._error, self.complete = RequestEntityTooLarge(), True

    async def receive_ahead(self, spool: bool, driver: Driver) -> None:
        """Receive the body now, so that plain reads do not have to wait.

        *spool*: keep all of it, on disk beyond `SPOOL_BYTES`; otherwise stop at that size.
        """
        while not self.complete:
            await self._message()
            if self._buffered > SPOOL_BYTES:
                if not spool:
                    break
                if self._file is None:
                    self._file = tempfile.TemporaryFile()
                await driver.run_sync(self._write_out)
        if self._error is not None:
            raise self._error
        if self._file is not None:
            await driver.run_sync(self._file.seek, 0)

    async def keep(self, driver: Driver) -> None:
        """Receive what is left, to be read after the request has ended."""
        with suppress(HTTPException):
            await self.receive_ahead(spool=True, driver=driver)
        self._kept = True

    def _write_out(self) -> None:
        assert self._file is not None
        while self._chunks:
            self._file.write(self._chunks.popleft())

    async def gone(self) -> None:
        """Return when the client has left. What arrives of the body meanwhile is kept."""
        pause = READ_AHEAD_SECONDS
        while not self.left:
            if sum(map(len, self._chunks)) > READ_AHEAD_BYTES:
                # Ever slower, but never not at all: a client whose body nobody reads may leave.
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_READ_AHEAD_SECONDS)
            await self._message()

    async def as_receive(self) -> Message:
        """`receive` for an ASGI app that sends a response only: tells it of the client's end."""
        await self.gone()
        return {"type": "http.disconnect"}

    async def is_disconnected(self) -> bool:
        """Whether the client has left, without waiting for it. Known only when all of the body
        has been received."""
        if not self.left and self.complete:
            task = asyncio.ensure_future(self._message())
            await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        return self.left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self.fill()
            if self._error is not None:
                raise self._error
            if not self._chunks:
                return
            yield bytes(self._chunks.popleft())

    # -- plain code

    def readable(self) -> bool:
        return True

    def _ready(self) -> None:
        if not self._chunks and not self.complete and self._error is None:
            if on_loop():
                raise RuntimeError(
                    "The body of this request has not been received, and plain reads cannot"
                    " wait for it on the event loop. With 'stream=True' on the route, write"
                    " 'async for chunk in request.stream'; an asynchronous hook after the view"
                    " can only read what was read before it."
                )
            wait(self.fill())
        if self._error is not None:
            raise self._error

    def readinto(self, buffer: Any) -> int:
        if self._file is not None:
            return self._file.readinto(buffer)
        self._ready()
        if not self._chunks:
            return 0
        chunk = self._chunks.popleft()
        size = min(len(buffer), len(chunk))
        buffer[:size] = chunk[:size]
        if size < len(chunk):
            self._chunks.appendleft(memoryview(chunk)[size:])
        return size

    def readall(self) -> bytes:
        if self._file is not None:
            return self._file.read()
        parts: list[bytes | memoryview] = []
        while True:
            self._ready()
            if not self._chunks:
                return b"".join(parts)
            while self._chunks:
                parts.append(self._chunks.popleft())

    def close(self) -> None:
        """Nothing: a buffer round this file closes it when it is thrown away, as the one in a
        WSGI environ is while the request goes on. See `end`."""

    def end(self) -> None:
        """Free what this holds: the request is over."""
        if self._kept:
            return
        if self._file is not None:
            self._file.close()
        self._receive = _closed  # the server's, which may lead back here: a cycle
        super().close()


async def _closed() -> Message:
    return {"type": "http.disconnect"}


def announced(scope: Scope) -> tuple[int, bool]:
    """The length that the request announces, 0 if none, and whether it may have a body."""
    if scope["type"] != "http":
        return 0, False
    chunked = scope.get("http_version", "1.1") >= "2" and scope["method"] not in ("GET", "HEAD")
    for name, value in scope["headers"]:
        if name == b"content-length":
            # Servers check it (RFC 9112 section 6.2); what is no number limits nothing.
            length = int(value) if value.isdigit() else 0
            return length, length > 0 or not value.isdigit()
        if name == b"transfer-encoding":
            chunked = True
    return 0, chunked


@lru_cache(maxsize=1024)
def _header_name(name: str) -> bytes:
    if not _NAME.match(name):
        raise ValueError(f"The response has a header named {name!r}, which is no token.")
    return name.lower().encode("ascii")


def encode_headers(status: int, headers: Iterable[tuple[str, str]]) -> Headers:
    """Header lines as ASGI wants them, checked. Raises `ValueError` for what a server would
    refuse after the response has begun, or a client would read as something else."""
    if not 100 <= status <= 599:
        raise ValueError(
            f"The response has status {status}; RFC 9110 section 15 knows 100 to 599."
        )
    encoded = []
    length: bytes | None = None
    for name, value in headers:
        key = _header_name(name)
        # Printable is a stricter and faster answer; the rule is for what it leaves out.
        if not value.isprintable() and _NOT_IN_VALUE.search(value):
            raise ValueError(
                f"The response header {name!r} has a control character in its value {value!r}."
            )
        line = value.strip(" \t").encode("latin-1")
        if key == b"content-length":
            if not line.isdigit() or (length is not None and length != line):
                raise ValueError(
                    f"The response has the Content-Length {value!r}; it takes one number (RFC"
                    " 9110 section 8.6). Left out, it is set or not needed."
                )
            length = line
        # The server's own affair: "should be ignored" (ASGI specification, HTTP: Response Start).
        if key != b"transfer-encoding":
            encoded.append((key, line))
    return encoded


def start_message(status: int, headers: Iterable[tuple[str, str]], line: str = "") -> Message:
    """The message that begins a response, checked. *line*: status and reason for a WSGI server,
    which gets the names of *headers* as they are written too.
    Raises `ValueError` as `encode_headers` does."""
    if 100 <= status < 200:
        raise ValueError(
            f"The response has status {status}, after which another response would have to come"
            " (RFC 9110 section 15.2)."
        )
    message = checked_start_message(status, encode_headers(status, headers), line)
    message["asyncflask.headers"] = headers
    return message


def checked_start_message(status: int, headers: Headers, line: str) -> Message:
    """The message, of a status and headers that are known to be good."""
    if not line.isprintable() and _NOT_IN_VALUE.search(line):
        raise ValueError(f"The response has a control character in its status {line!r}.")
    return {
        "type": "http.response.start",
        "status": status,
        "headers": headers,
        "asyncflask.status": line,
    }


async def send_response(
    driver: Driver,
    send: Send,
    body: Body,
    conversations: Conversations,
    start: Message,
    content: bytes | Iterable[bytes] | AsyncIterable[bytes],
) -> None:
    """Send a response: the message *start*, and *content* whole or chunk by chunk as the client
    takes it. Ends early when the client leaves. Plain iterables run on the request's thread;
    closing them is up to the caller."""
    await driver.to_loop()
    if start["status"] == 413 and body.closable:
        # RFC 9110 section 15.5.14: to prevent the client from continuing the request.
        start = {**start, "headers": [*start["headers"], (b"connection", b"close")]}
    await send(start)
    if isinstance(content, bytes):
        await send({"type": "http.response.body", "body": content})
        return
    async with Conversation(conversations, body.gone) as conversation:
        if isinstance(content, AsyncIterable):
            begin = send.beginner() if isinstance(send, InContext) else send
            await _send_async_chunks(begin, body, content)
        else:
            try:
                await _send_chunks(driver, send, body, content)
            finally:
                await driver.to_loop()
    # One that was cut short at shutdown must not look complete.
    if conversation.ended is None:
        await send({"type": "http.response.body", "body": b""})


async def _send_chunks(driver: Driver, send: Send, body: Body, content: Iterable[bytes]) -> None:
    await driver.to_thread()
    iterator = iter(content)
    while not body.left:
        await driver.to_thread()
        chunk = next(iterator, _end)
        await driver.to_loop()
        if chunk is _end:
            return
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _send_async_chunks(
    send: Callable[[Message], Awaitable[None] | None],
    body: Body,
    content: AsyncIterable[bytes | str],
) -> None:
    """*send*: gives what to await, if it has to wait."""
    until = monotonic() + HELD_LOOP_SECONDS
    async for chunk in content:
        if body.left:
            return
        if chunk:
            if type(chunk) is not bytes:
                chunk = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
            rest = send({"type": "http.response.body", "body": chunk, "more_body": True})
            if rest is not None:
                await rest
        # `send` need not suspend: without this a stream that never waits itself would keep the
        # loop, and its client's leaving would never be seen.
        if monotonic() > until:
            await asyncio.sleep(0)
            until = monotonic() + HELD_LOOP_SECONDS


def malformed(scope: Scope, lines: Mapping[bytes, bytes] | None = None) -> str | None:
    """What is wrong with a request's target or `Host` (RFC 9112 section 3.2), if anything.
    Servers let some of it through. *lines*: the headers by name, if none is repeated."""
    if not scope["path"].startswith("/"):
        return "The request target does not begin with '/'."
    if lines is not None:
        host = lines.get(b"host")
    else:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1:
            return "The request has more than one Host header."
        host = hosts[0] if hosts else None
    if host is None:
        return None if scope.get("http_version") == "1.0" else "The request has no Host header."
    # Only what can be a name is remembered: RFC 1035 section 2.3.4, and a port.
    names_a_host = _names_a_host if len(host) < 262 else _names_a_host.__wrapped__
    return None if names_a_host(host) else "The request's Host header is malformed."


@lru_cache(maxsize=256)
def _names_a_host(value: bytes) -> bool:
    host = get_host("", value.decode("latin-1"))
    try:
        host.encode("idna")  # as Werkzeug's URL map does, but only when a URL is built
    except UnicodeError:
        return False
    return bool(host)
