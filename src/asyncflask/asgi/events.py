"""Server-sent events (WHATWG HTML, section 9.2): the format, and sending a stream. The response
for views, `EventStream`, is in `asyncflask/events.py`."""

from __future__ import annotations

import asyncio
import codecs
import json
import random
import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Message, Send

from .body import Body
from .conversation import Conversation, Conversations
from .streams import send_async_chunks, send_chunks
from .threads import Driver

MIMETYPE: Final = "text/event-stream"

KEEP_ALIVE: Final = b":\n\n"
"""A comment, which clients ignore (section 9.2.7 recommends one about every 15 seconds)."""

LAST_SECONDS: Final = 1.0
"""Seconds that a client that reads nothing gets for the end of its stream at shutdown."""

RECONNECT_MILLISECONDS: Final = 1000, 5000
"""The range of delays before clients reconnect after a shutdown, spread out so that they do not
overload the new server."""

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class ServerSentEvent:
    """An event for the browser's `EventSource`.

    :param data: a `str`, or a value to send as JSON. Default: no data; the browser then applies
        the other fields but dispatches no event.
    :param event: the event's type. Default: ``message``.
    :param id: a `str` or `int` that the browser sends back as `Last-Event-ID` when it
        reconnects.
    :param retry: the milliseconds before the browser reconnects.
    :param comment: text that scripts do not see.
    :raises ValueError: if *event* or *id* contains a line end or NUL, or *retry* is negative.
    :raises TypeError: if a value has the wrong type, or *data* is bytes.
    """

    data: Any = None
    event: str | None = None
    id: str | int | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.data, bytes | bytearray | memoryview):
            raise TypeError(
                "An event's data must be a str. For UTF-8 bytes, write 'data.decode()'."
            )
        for name, value, kinds in (
            ("event", self.event, str),
            ("id", self.id, str | int),
            ("retry", self.retry, int),
            ("comment", self.comment, str),
        ):
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                expected = "str or int" if name == "id" else getattr(kinds, "__name__", "")
                raise TypeError(f"An event's {name} must be {expected}, not {value!r}.")
            if name in ("event", "id") and re.search(r"[\r\n\0]", str(value)):
                raise ValueError(f"An event's {name} must be one line without NUL, not {value!r}.")
        if self.retry is not None and self.retry < 0:
            raise ValueError(
                f"An event's retry must be 0 or more milliseconds, not {self.retry!r}."
            )

    def encode(self, dumps: Callable[[Any], str] = json.dumps) -> bytes:
        """Return the event in the format of the stream. *dumps* serializes data that is not a
        `str`."""
        lines = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        for name, value in (("event", self.event), ("id", self.id), ("retry", self.retry)):
            if value is not None:
                lines.append(f"{name}: {value}")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else dumps(self.data)
            lines += [f"data: {line}" for line in _LINE_END.split(text)]
        return "".join(f"{line}\n" for line in [*lines, ""]).encode() if lines else b""


class EventParser:
    """Parses an event stream, as a client does (section 9.2.6)."""

    def __init__(self) -> None:
        self.retry: int | None = None
        """The reconnection delay that the stream requested, in milliseconds."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._fields: dict[str, Any] = {}

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that *data* completes. Their data is always `str`."""
        self._text += self._decoder.decode(data)
        # A final carriage return may be the first half of a line end.
        held = self._text.endswith("\r")
        *lines, rest = _LINE_END.split(self._text[:-1] if held else self._text)
        self._text = rest + "\r" if held else rest
        for line in lines:
            if line:
                self._field(*line.partition(":"))
            else:
                fields, self._fields = self._fields, {}
                if "data" in fields:
                    yield ServerSentEvent(**fields)

    def _field(self, name: str, colon: str, value: str) -> None:
        value = value.removeprefix(" ")
        if name == "data":
            before = self._fields.get("data")
            self._fields["data"] = value if before is None else f"{before}\n{value}"
        elif name in ("event", "id") and "\0" not in value:
            self._fields[name] = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)


@dataclass(frozen=True)
class Options:
    """How to send a stream."""

    keep_alive: float
    """Seconds without an event before a comment is sent, even while sync code blocks. 0: never."""

    retry: int | None
    """The reconnection delay to send first, in milliseconds."""

    finite: bool
    """True if the stream ends by itself. Other streams are ended at once at shutdown."""


class _Outlet:
    """`send` for an event stream's chunks. Adds comments during silence, and ends the stream
    only once."""

    def __init__(self, send: Send, keep_alive: float) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        self._over = False
        self._last_sent = asyncio.get_running_loop().time()
        self._ticker = (
            asyncio.create_task(self._keep_alive(keep_alive)) if keep_alive > 0 else None
        )

    async def __call__(self, message: Message) -> None:
        async with self._lock:
            if self._over:  # the generator ignored its cancellation
                raise asyncio.CancelledError
            await self._send(message)
            self._last_sent = asyncio.get_running_loop().time()

    async def _keep_alive(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # the client has left (ASGI specification 2.4)
            while True:
                await asyncio.sleep(self._last_sent + seconds - loop.time())
                if loop.time() - self._last_sent >= seconds:
                    await self(_chunk(KEEP_ALIVE))

    async def end(self, last: bytes, seconds: float | None = None) -> None:
        """Complete the response, if that is still to be done, within *seconds*."""
        self.stop()
        with suppress(OSError):  # TimeoutError, or the client has left
            async with asyncio.timeout(seconds), self._lock:
                if not self._over:
                    self._over = True
                    await self._send(_chunk(last, more=False))

    def stop(self) -> None:
        """Stop sending comments."""
        if self._ticker is not None:
            self._ticker.cancel()


def _chunk(data: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def send_events(
    driver: Driver,
    send: Send,
    body: Body,
    conversations: Conversations,
    start: Message | None,
    content: Iterable[bytes] | AsyncIterable[bytes],
    options: Options,
) -> None:
    """Send a response as `http.send_response` does: the message *start*, then *content*, whose
    chunks are events."""

    def last() -> bytes:
        again = None if options.retry is not None else random.randint(*RECONNECT_MILLISECONDS)
        return ServerSentEvent(retry=again, comment="The server stops.").encode()

    async def end_at_shutdown() -> None:
        conversation.end("shutdown")
        # Not in the block below: sync code in it may go on blocking.
        await outlet.end(last(), LAST_SECONDS)

    ending: list[asyncio.Task[None]] = []  # the loop keeps no strong reference to tasks

    def told() -> None:
        ending.append(asyncio.create_task(end_at_shutdown()))

    await driver.to_loop()
    if start is not None:
        await send(start)
    outlet = _Outlet(send, options.keep_alive)
    # A sync stream's thread mostly waits. If it counted against the limit, a few clients'
    # streams would keep all other sync code from running.
    limit, driver.limit, driver.slots = driver.limit, None, None
    try:
        when_told = None if options.finite else told
        async with Conversation(conversations, body.gone_unread, when_told) as conversation:
            # Some servers hold back the head of the response until the body begins.
            await outlet(_chunk(ServerSentEvent(retry=options.retry).encode()))
            if isinstance(content, AsyncIterable):
                await send_async_chunks(outlet, body, content)
            else:
                await send_chunks(driver, outlet, body, content)
        if conversation.ended == "shutdown" or ending:
            await outlet.end(last(), LAST_SECONDS)
        elif conversation.ended is None:
            await outlet.end(b"")
    finally:
        outlet.stop()
        driver.limit = limit
