"""Event streams: the response that a view returns to send server-sent events. `asgi/events.py`
has their format and sends them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any, Self, cast

from starlette.types import Message, Send

from . import json
from .asgi.body import Body
from .asgi.conversation import Conversations
from .asgi.events import MIMETYPE, Options, send_events
from .asgi.events import ServerSentEvent as ServerSentEvent
from .asgi.response import SelfSent
from .asgi.threads import Driver
from .ctx import _cv_app
from .responses import AsyncBody
from .wrappers import Response

KEEP_ALIVE_SECONDS = 15
"""Seconds of silence before a comment is sent. In an app, `EVENT_STREAM_KEEP_ALIVE` applies."""

Dumps = Callable[[Any], str]


class Events(SelfSent):
    """The body of an event stream: encoded events, and the options for sending them."""

    def __init__(self, dumps: Dumps, options: Options) -> None:
        self._dumps = dumps
        self.options = options

    def encode(self, value: object) -> bytes:
        if isinstance(value, ServerSentEvent):
            event = value
        elif hasattr(value, "id") and hasattr(value, "data"):
            # A binary message cannot be an event, but its id still tells the client how far it
            # is.
            data = None if isinstance(value.data, bytes) else value.data
            event = ServerSentEvent(data, getattr(value, "event", None), value.id)
        else:
            event = ServerSentEvent(value)
        return event.encode(self._dumps)

    async def send_all(
        self,
        driver: Driver,
        send: Send,
        body: Body,
        conversations: Conversations,
        start: Message | None,
    ) -> None:
        content = cast("Iterable[bytes] | AsyncIterable[bytes]", self)
        await send_events(driver, send, body, conversations, start, content, self.options)


class SyncEvents(Events):
    """Events from a sync iterable. Not a generator: that would close its source only if it was
    started."""

    def __init__(self, source: Iterable[Any], dumps: Dumps, options: Options) -> None:
        super().__init__(dumps, options)
        self._source = source
        self._iterator: Iterator[object] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._source)
        return self.encode(next(self._iterator))

    def close(self) -> None:
        if hasattr(self._source, "close"):
            self._source.close()


class AsyncEvents(Events, AsyncBody):
    """Events from an async iterable."""

    def __init__(self, source: AsyncIterable[Any], dumps: Dumps, options: Options) -> None:
        Events.__init__(self, dumps, options)
        AsyncBody.__init__(self, source)

    async def __anext__(self) -> bytes:
        assert self._iterator is not None
        return self.encode(await self._iterator.__anext__())


class EventStream(Response):
    """A response that sends server-sent events to a browser's `EventSource`. ::

        @app.get("/ticks")
        async def ticks():
            async def generate():
                while True:
                    yield {"time": time.time()}
                    await asyncio.sleep(1)

            return EventStream(generate())

    :param source: a generator or another iterable, sync or async. It yields the data of each event
        (a `str`, or a value to send as JSON), a `ServerSentEvent`, or an object with `data`, `id`
        and optionally `event`.
    :param keep_alive: the seconds without an event after which a comment is sent; 0 for never.
        Default: the `EVENT_STREAM_KEEP_ALIVE` setting.
    :param retry: the milliseconds before the browser reconnects. Default: the browser's.
    :param finite: `True` for a stream that ends by itself; at shutdown it has `SHUTDOWN_TIMEOUT`
        seconds to do so. Otherwise it ends at once, and the browser reconnects.
    :param status: the status of the response.
    :param headers: additional headers of the response.
    """

    default_mimetype = MIMETYPE

    def __init__(
        self,
        source: Iterable[Any] | AsyncIterable[Any],
        *,
        keep_alive: float | None = None,
        retry: int | None = None,
        finite: bool = False,
        status: int | str | None = None,
        headers: Any = None,
    ) -> None:
        if isinstance(source, str | bytes | dict) or not isinstance(
            source, Iterable | AsyncIterable
        ):
            raise TypeError(
                "EventStream takes a generator or another iterable, as in"
                f" 'EventStream(generate())', not {source!r}."
            )
        ctx = _cv_app.get(None)
        if keep_alive is None:
            keep_alive = KEEP_ALIVE_SECONDS
            if ctx is not None:
                keep_alive = ctx.app.config["EVENT_STREAM_KEEP_ALIVE"] or 0
        ServerSentEvent(retry=retry)  # checks it
        options = Options(keep_alive, retry, finite)
        dumps = json.dumps if ctx is None else ctx.app.json.dumps
        super().__init__(status=status, headers=headers, direct_passthrough=True)
        if isinstance(source, AsyncIterable):
            self.response = AsyncEvents(source, dumps, options)
        else:
            self.response = SyncEvents(source, dumps, options)
        self.headers.setdefault("Cache-Control", "no-store")
        self.headers.setdefault("X-Accel-Buffering", "no")  # nginx
