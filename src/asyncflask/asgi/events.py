"""Server-sent events (WHATWG HTML, section 9.2): their format, and how a stream of them is sent.

What a view returns is `EventStream`, in `asyncflask/events.py`.
"""

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

from .conversation import Conversation, Conversations
from .http import Body
from .streams import send_async_chunks, send_chunks
from .threads import Driver

MIMETYPE: Final = "text/event-stream"

KEEP_ALIVE: Final = b":\n\n"
"""A comment, which a client skips (section 9.2.7 recommends one every 15 seconds or so)."""

LAST_SECONDS: Final = 1.0
"""How long a client that takes nothing is given for the end of its stream at shutdown."""

RECONNECT_MILLISECONDS: Final = 1000, 5000
"""When clients come back after a shutdown: not all at once, or they would run the new server
down."""

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class ServerSentEvent:
    """An event for the browser's `EventSource`.

    *data*: a `str`, or a value that is sent as JSON; `None` for no data, which sets the other
    fields and dispatches nothing. *event*: its type, ``message`` if there is none. *id*: what the
    client sends back as `Last-Event-ID` when it connects again. *retry*: after how many
    milliseconds it does so. *comment*: is not seen by scripts.

    Raises `ValueError` for what the format cannot carry: a line end in *event* or *id*, a NUL in
    one of them, a negative *retry*; `TypeError` for wrong types.
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
        """The event as it is sent. *dumps* makes JSON of data that is no `str`."""
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
    """A client's end of the format (section 9.2.6)."""

    def __init__(self) -> None:
        self.retry: int | None = None
        """The milliseconds that the stream has asked for."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._fields: dict[str, Any] = {}

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """The events that are complete with *data*. Their data are `str`."""
        self._text += self._decoder.decode(data)
        # A carriage return at the very end may be half of a line end.
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
    """How a stream is sent."""

    keep_alive: float
    """A comment is sent after so many seconds without an event, also while sync code blocks;
    none for 0."""

    retry: int | None
    """The milliseconds that the client is told at first."""

    finite: bool
    """Whether the stream comes to an end. One that does not is ended at once at shutdown."""


class _Outlet:
    """`send` for the chunks of an event stream: with comments while there is no event, and an
    end that is sent once."""

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
            if self._over:  # a generator that takes no notice of its cancellation
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
        """Complete the response, if that has not been done. *seconds*: how long that may take."""
        self.stop()
        with suppress(OSError):  # TimeoutError is one, and so is the news that the client left
            async with asyncio.timeout(seconds), self._lock:
                if not self._over:
                    self._over = True
                    await self._send(_chunk(last, more=False))

    def stop(self) -> None:
        """Send no more comments."""
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
    """Send a response as `http.send_response` does: the message *start*, and *content*, each
    chunk of which is an event."""

    def last() -> bytes:
        again = None if options.retry is not None else random.randint(*RECONNECT_MILLISECONDS)
        return ServerSentEvent(retry=again, comment="The server stops.").encode()

    async def end_at_shutdown() -> None:
        conversation.end("shutdown")
        # Not left to the block: sync code may go on blocking in it.
        await outlet.end(last(), LAST_SECONDS)

    ending: list[asyncio.Task[None]] = []  # a task that nobody holds may vanish

    def told() -> None:
        ending.append(asyncio.create_task(end_at_shutdown()))

    await driver.to_loop()
    if start is not None:
        await send(start)
    outlet = _Outlet(send, options.keep_alive)
    # The thread of a sync stream mostly waits. Counted as running, the streams of some clients
    # would be all the sync code that runs.
    limit, driver.limit, driver.slots = driver.limit, None, None
    try:
        when_told = None if options.finite else told
        async with Conversation(conversations, body.gone_unread, when_told) as conversation:
            # Some servers hold the head of the response back until the body begins.
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
