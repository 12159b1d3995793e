"""WSGI and ASGI, each in terms of the other (PEP 3333; ASGI specification: WSGI compatibility).

`respond` answers WSGI requests with an ASGI app; the calling thread becomes the request's
thread. `serve` does the reverse: a WSGI callable answers an ASGI request. `environ.py`
translates between environs and scopes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

from starlette.types import ASGIApp, Message, Send
from werkzeug.wsgi import get_input_stream

from .body import READ_BYTES, Body
from .conversation import Conversations
from .environ import Environ, Origin, scope_from_environ
from .head import start_message
from .loops import background_loop, off_loop
from .response import send_response
from .scope import ORIGIN
from .threads import Driver, this_driver, this_worker

T = TypeVar("T")

CLOSE_AT_ONCE: Final = "asyncflask.close_at_once"
"""Environ key set by a test, which need not close its response."""


# -- the WSGI face of an ASGI app -------------------------------------------------------------


class _Changes:
    """Copies changes of a request's context variables to the thread that makes the request:
    what was set or reset since the last time. Changes by the thread in the meantime are kept,
    such as those that WSGI middleware makes when its app has returned."""

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
            except ValueError:  # the server reads the body in another context
                pass


_missing = object()


class _Exchange:
    """A WSGI request that an ASGI app answers: the app runs as a task on the loop; this thread
    does the app's sync work and receives its messages.

    This thread may have a loop itself, if a coroutine function uses the test client. The app
    then runs on another loop.
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
        # Now, before the environ's body is replaced by that of `receive`.
        self.input: Any = get_input_stream(environ)
        self.task: asyncio.Task[None] | None = None
        self.taken = asyncio.Event()  # set when the message was taken and more is requested
        self.left = asyncio.Event()  # set when the client closed, or everything was sent
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
        """Call *func* on the thread and return its value."""
        ended = asyncio.Event()
        values: list[T] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                values.append(func())
            except BaseException as exc:
                errors.append(exc)
            self.loop.call_soon_threadsafe(ended.set)

        # Not at once: the request's context is in use until the end of this loop iteration.
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
        """Call `start_response`, the server's or a middleware's, within the request's contexts."""
        status = message["status"]
        # In their original case, which matters to some clients, such as S3's for metadata.
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
        """Start the app, and return when the response has started."""
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
            raise RuntimeError("The ASGI app returned without a response.")

    def _work_until(self, reached: Callable[[], object]) -> None:
        """Do the app's sync work until *reached*, or until the app has ended. Raises the app's
        exception."""
        with off_loop():
            while not self.done and not reached():
                try:
                    self.worker.jobs.get()()
                except BaseException:  # KeyboardInterrupt, or gevent's GreenletExit or Timeout
                    self._abort()
                    raise
        if self.origin.context is not None:
            self.changes.follow(self.origin.context)
        if self.error is not None and not reached():
            error, self.error = self.error, None
            raise error

    def _abort(self) -> None:
        """End the app first, when this thread is told to end: the app may need it for teardown."""

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()

        self.loop.call_soon_threadsafe(cancel)
        while not self.done:
            self.worker.jobs.get()()

    def next_message(self) -> Message | None:
        """Do the app's sync work until it sends a message, and return that; `None` when it has
        ended. The app continues at the next call. Raises the app's exception."""
        if self.holds_app and not self.done:
            self.loop.call_soon_threadsafe(self.taken.set)
        self._work_until(lambda: self.inbox)
        self.holds_app = bool(self.inbox)
        return self.inbox.popleft() if self.inbox else None

    def close(self) -> None:
        """Tell the app that the client has left, and wait for its end, unless this is the loop
        that the app runs on."""
        if self.tell_left() and asyncio._get_running_loop() is not self.loop:
            while self.next_message() is not None:
                pass

    def tell_left(self) -> bool:
        """Tell the app that the client has left. Return `True` if it has yet to end."""
        if self.done or self.loop.is_closed():
            return False
        for event in (self.left, self.taken):
            self.loop.call_soon_threadsafe(event.set)
        self.holds_app = False
        return True

    def drop(self) -> None:
        """Handle a body that was dropped without closing. The garbage collector calls this on
        any thread. On a thread other than its own, it must not wait or do that thread's work,
        which that thread does when it next waits."""
        if this_worker() is self.worker:
            self.close()
        else:
            self.tell_left()


_read_to_end: Any = object()


class _Stream:
    """A response body whose rest the app has yet to send: an iterable for a WSGI server."""

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
    """A complete response body. The app continues when the server has sent and closed it."""

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
    """Answer a WSGI request with an ASGI *app*, which runs on the loop of the request that this
    thread works for, or on a background loop. Raises the app's exception.

    *owner*: see `Origin.app`. Afterwards, the request's changes of context variables are
    visible here, as in WSGI, except for those in *private*.
    """
    exchange = _Exchange(app, environ, start_response, owner, private)
    exchange.begin()
    message = exchange.next_message()
    if message is None:
        return []
    if message.get("more_body", False):
        if (driver := this_driver()) is not None:
            driver.free_slot()  # this thread mostly waits for the loop from here on
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
    """Answer with *wsgi_app*, on the request's thread."""
    started: list[Any] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        started[:] = status, headers
        return _no_write

    content = await driver.call(wsgi_app, environ, start_response)
    try:
        if not started:  # PEP 3333: it may be called as late as with the first chunk
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
        "The 'write' function returned by start_response (PEP 3333) is not supported. Return"
        " an iterable of bytes."
    )
