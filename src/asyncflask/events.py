"""Event streams: what a view returns to send server-sent events.

Their format, and how they are sent, is in `asgi/events.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any, Self

from . import json
from .asgi.events import MIMETYPE, Options
from .asgi.events import ServerSentEvent as ServerSentEvent
from .ctx import _cv_app
from .wrappers import AsyncBody, Response

KEEP_ALIVE_SECONDS = 15
"""Seconds without an event until a comment is sent; in an app `EVENT_STREAM_KEEP_ALIVE`."""

Dumps = Callable[[Any], str]


class Events:
    """The body of an event stream: the bytes of each event, and what its sender has to know."""

    def __init__(self, dumps: Dumps, options: Options) -> None:
        self._dumps = dumps
        self.options = options

    def encode(self, value: object) -> bytes:
        if isinstance(value, ServerSentEvent):
            event = value
        elif hasattr(value, "id") and hasattr(value, "data"):
            # A binary message for WebSockets is no event; but the client has come past it.
            data = None if isinstance(value.data, bytes) else value.data
            event = ServerSentEvent(data, getattr(value, "event", None), value.id)
        else:
            event = ServerSentEvent(value)
        return event.encode(self._dumps)


class PlainEvents(Events):
    """Of a sync iterable. Not a generator, which would close its source only if it was begun."""

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
    """Of an async iterable."""

    def __init__(self, source: AsyncIterable[Any], dumps: Dumps, options: Options) -> None:
        Events.__init__(self, dumps, options)
        AsyncBody.__init__(self, source)

    async def __anext__(self) -> bytes:
        assert self._iterator is not None
        return self.encode(await self._iterator.__anext__())


class EventStream(Response):
    """A response that sends an event to the browser's `EventSource` for each value of *source*,
    a generator or another iterable, sync or async.

    A value is a `ServerSentEvent`; an object with `data` and `id`, and maybe `event`; or the
    data of an event, a `str` or what becomes JSON. *keep_alive*: a comment is sent after so many
    seconds without an event, none for 0; by default the config's `EVENT_STREAM_KEEP_ALIVE`.
    *retry*: after how many milliseconds the browser connects again. *finite*: the stream comes
    to an end, for which it is given `SHUTDOWN_TIMEOUT` seconds when the server stops; otherwise
    it is ended at once, and the browser connects again. *status* and *headers* are those of
    `Response`.
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
                "An event stream takes a generator or another iterable, such as"
                f" 'EventStream(generate())', and not {source!r}."
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
            self.response = PlainEvents(source, dumps, options)
        self.headers.setdefault("Cache-Control", "no-store")
        self.headers.setdefault("X-Accel-Buffering", "no")  # nginx
