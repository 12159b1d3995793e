"""HTTP clients that make no progress: they stop sending a body, or reading a response, while a
request waits for them and holds a thread, a file or a database connection.

No request has a timer. A `receive` or `send` that really has to wait enters a set, and a sweep
checks the progress of all of them, several times per `CLIENT_TIMEOUT`. When the server stops,
clients that are still sending have less time, so that they cannot delay the shutdown.

Not here: WebSockets, whose messages have a timeout of their own (`outbox.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, Final, Protocol

from starlette.types import Message, Receive, Scope, Send
from werkzeug.exceptions import RequestTimeout, ServiceUnavailable

from .servers import abort, has_transport, untaken_bytes
from .stepping import InContext
from .streams import JOIN_BYTES

SWEEPS: Final = 4
"""How often a sweep checks the progress of a client within the time that it has. What counts are
these checks, and not the clock: a loop that is blocked is no fault of the client's."""

LEAST_RATE: Final = 240
"""Bytes per second that count as progress, so that a byte now and then does not. Kestrel, the
server of ASP.NET, has the same rate; the slowest mobile networks are several times faster."""


class Owner(Protocol):
    """The app that waits."""

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def logger(self) -> logging.Logger: ...


class Wait:
    """What makes a request wait for its client: a body, or the `send` of a response."""

    app: Owner | None = None
    scope: Scope

    wanted = 1
    """How many are waiting. While nobody is, nothing counts against the client."""

    live = False
    """Whether a single byte is progress, whatever the rate."""

    ends_at_stop = False
    """Whether `end_uploads` ends it."""

    reproach: str
    """What the client did, for the log."""

    seconds: float | None = None
    """How long the client may make no progress."""

    _among: set[Wait] | None = None
    """All waits on this loop, while this is one of them."""
    _goal: float = -math.inf
    """What `moved` has to reach to be progress."""
    _looks = 0
    """How many checks in a row found that it had not."""

    def moved(self) -> int:
        """How many bytes the client has sent or read, from any starting point."""
        raise NotImplementedError

    def give_up(self, error: Exception) -> None:
        """End the wait. *error* is for whoever reads."""
        raise NotImplementedError

    def timeout(self) -> float | None:
        """The seconds that the app allows."""
        return None if self.app is None else self.app.config["CLIENT_TIMEOUT"]

    def begin_wait(self) -> None:
        """On the loop: from now on the client is waited for."""
        here = _here()
        self._among = here.waits
        self._among.add(self)
        self.seconds = seconds = self.timeout()
        if seconds is not None and seconds > 0 and seconds not in here.sweeps:
            here.sweeps.add(seconds)
            _look_later(seconds)

    def end_wait(self) -> None:
        among, self._among = self._among, None
        if among is not None:
            among.discard(self)

    def is_stalled(self) -> bool:
        """Check the progress. Returns whether `SWEEPS` checks in a row found none."""
        if not self.wanted:
            return False
        moved = self.moved()
        if moved >= self._goal:
            least = 1 if self.live else LEAST_RATE * (self.seconds or 0)
            self._goal, self._looks = moved + least, 0
        else:
            self._looks += 1
        return self._looks >= SWEEPS

    def tell(self) -> None:
        """Log that the client is given up."""
        assert self.app is not None
        self.app.logger.warning(
            "The client of %s %r %s for %g s (CLIENT_TIMEOUT).",
            self.scope["method"],
            self.scope["path"],
            self.reproach,
            self.seconds,
        )


class _Loop:
    """The waits on one loop, and the timeouts for which a sweep is scheduled."""

    def __init__(self) -> None:
        self.waits: set[Wait] = set()
        self.sweeps: set[float] = set()


_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()


def _here() -> _Loop:
    loop = asyncio.get_running_loop()
    here = _loops.get(loop)
    if here is None:
        here = _loops[loop] = _Loop()
    return here


def _look_later(seconds: float) -> None:
    # In no request's context, which the timer would keep.
    loop = asyncio.get_running_loop()
    loop.call_later(seconds / SWEEPS, _look, seconds, context=Context())


def _look(seconds: float) -> None:
    here = _here()
    waits = [wait for wait in here.waits if wait.seconds == seconds]
    if not waits:
        here.sweeps.discard(seconds)
        return
    _look_later(seconds)
    for wait in waits:
        if wait.is_stalled():
            here.waits.discard(wait)
            wait.tell()
            wait.give_up(RequestTimeout())


async def end_uploads(seconds: float) -> None:
    """While the server stops: give up the bodies on this loop that make no progress for a quarter
    of *seconds*, and after *seconds* all others. Runs until it is cancelled."""
    loop, here = asyncio.get_running_loop(), _here()
    deadline = loop.time() + seconds
    before: dict[Wait, int] = {}
    while True:
        late = loop.time() >= deadline
        waits = [wait for wait in here.waits if wait.ends_at_stop]
        for wait in waits:
            if late or before.get(wait) == wait.moved():
                here.waits.discard(wait)
                wait.give_up(ServiceUnavailable("The server stops."))
        before = {wait: wait.moved() for wait in waits}
        await asyncio.sleep(seconds / SWEEPS)


# -- responses --------------------------------------------------------------------------------


class Client(Protocol):
    """Who gets a response: the `Body` of its request, which receives from the same client."""

    scope: Scope

    def leave(self) -> None:
        """Treat the client as one that has left."""


class PatientSend(InContext[None], Wait):
    """The server's *send* in *context*, watched while it waits. If the client stops reading, its
    connection is aborted; the rest follows as for any client that leaves."""

    reproach = "took too little of the response"

    def __init__(
        self, send: Send, context: Context, connection: Send | Receive, client: Client, app: Owner
    ) -> None:
        super().__init__(send, context)
        self._connection = connection
        self.scope = client.scope
        self.app = app

    def waiting(self, rest: Awaitable[None]) -> Awaitable[None]:
        return self._watched(rest)

    async def _watched(self, rest: Awaitable[None]) -> None:
        # A new wait: the message of the one before it was sent, which is progress.
        self._goal, self._looks = -math.inf, 0
        self.begin_wait()
        try:
            await rest
        finally:
            self.end_wait()

    def moved(self) -> int:
        return -untaken_bytes(self._connection)

    def give_up(self, error: Exception) -> None:
        abort(self._connection)


class BlindSend(PatientSend):
    """The same for a connection that is hidden. The only visible progress is that a message was
    sent, so a long one is sent in pieces: a slow client may need minutes for it."""

    def __init__(
        self, send: Send, context: Context, connection: Send | Receive, client: Client, app: Owner
    ) -> None:
        super().__init__(send, context, connection, client, app)
        self._client = client
        self._over = False
        self._task: asyncio.Task[Any] | None = None

    async def __call__(self, *args: object) -> None:
        rest = self.beginner()(*args)
        if rest is not None:
            await rest

    def beginner(self) -> Callable[..., Awaitable[None] | None]:
        begin = super().beginner()

        def begin_piece(message: Message) -> Awaitable[None] | None:
            if len(message.get("body", b"")) > JOIN_BYTES:
                return self._in_pieces(begin, message)
            return None if self._over else begin(message)

        return begin_piece

    async def _in_pieces(
        self, begin: Callable[..., Awaitable[None] | None], message: Message
    ) -> None:
        body, more = message["body"], message.get("more_body", False)
        for start in range(0, len(body), JOIN_BYTES):
            end = start + JOIN_BYTES
            piece = {**message, "body": body[start:end], "more_body": more or end < len(body)}
            rest = None if self._over else begin(piece)
            if rest is not None:
                await rest

    async def _watched(self, rest: Awaitable[None]) -> None:
        self._task = task = asyncio.current_task()
        try:
            await super()._watched(rest)
        except asyncio.CancelledError:
            # As in asyncio.timeout(): the cancellation is ours unless there is another one.
            if not self._over or task is None or task.uncancel() > 0:
                raise
        finally:
            self._task = None

    def moved(self) -> int:
        return 0

    def give_up(self, error: Exception) -> None:
        self._over = True
        self._client.leave()
        if self._task is not None:
            self._task.cancel()


def patient(
    send: Send, context: Context, receive: Receive, client: Client, app: Owner
) -> PatientSend:
    """The server's *send*, to run in *context*. If a middleware has replaced only *send*, the
    connection is found by *receive*."""
    for connection in (send, receive):
        if has_transport(connection):
            return PatientSend(send, context, connection, client, app)
    return BlindSend(send, context, send, client, app)
