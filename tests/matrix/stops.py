"""How a server stops at SIGTERM: with everything going on, with uploads that have stalled, with
sync code that never ends, and when no thread is to be had.

A scenario starts a server, stops it, and gives what was `Seen`; cases look at that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final

from contract.raw import Connection
from matrix.cases import UPLOADS, Subject, begin_upload, end_of, name_of, same, until

LISTENS_SECONDS: Final = 0.5
"""How long a server that stops may go on listening before its clients go on."""

HOOKS: Final = ["while begins", "before", "after async", "after sync", "while ends"]
"""Of the app's lifespan, in order."""


@dataclass
class Seen:
    """What was seen of a stop. What a scenario has not is empty."""

    status: int = 0
    """The process's exit status."""
    seconds: float = 0.0
    output: str = ""
    """What was logged from the signal on."""
    hooks: list[list[str]] = field(default_factory=list)
    """What the app has noted of its lifespan, by process."""
    requests: dict[str, int | str] = field(default_factory=dict)
    """The status of each request under way, or the error with which it ended."""
    events: bytes = b""
    """What the event stream got after the signal."""
    streams: dict[str, list[str]] = field(default_factory=dict)
    """What the generators of endless streams have noted."""
    codes: dict[str, int | None] = field(default_factory=dict)
    """The codes with which the WebSockets were closed."""


StopCase = Callable[[Seen], None]
Scenario = Callable[[Subject, bool], Seen]
"""Is given a server that has started, and whether it speaks ASGI."""


def status_of(connection: Connection) -> int | str:
    try:
        return connection.reply().status
    except (HTTPException, OSError) as error:
        return type(error).__name__


def rest_of(connection: Connection) -> bytes:
    parts = []
    with suppress(OSError):
        while part := connection.socket.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def stop(server: Subject, seen: Seen) -> None:
    before, began = len(server.process.output), time.monotonic()
    seen.status = server.process.stop()
    seen.seconds = time.monotonic() - began
    seen.output = server.process.output[before:]
    lines = [line.partition(" ") for line in server.diary.path.read_text().splitlines()]
    names = dict.fromkeys(name for name, _, _ in lines if name.startswith("app-"))
    seen.hooks = [server.diary.of(name) for name in names]


def listens(server: Subject) -> bool:
    try:
        Connection(server.process).close()
    except OSError:
        return False
    return True


# -- everything going on ----------------------------------------------------------------------


def at_work(server: Subject, is_asgi: bool) -> Seen:
    """SIGTERM with requests, streams and WebSockets under way; the requests go on when the server
    no longer listens."""
    seen = Seen()
    with ExitStack() as clients, ThreadPoolExecutor(16) as pool:
        slow: dict[str, tuple[str, Future[int | str]]] = {}
        for kind in ("sync", "async"):
            name = name_of()
            connection = clients.enter_context(server.connect())
            connection.request(f"/slow/{kind}?id={name}")
            server.wait(name, "began")
            slow[kind] = name, pool.submit(status_of, connection)
        streams: dict[str, str] = {}
        codes: dict[str, Future[tuple[int | None, str]]] = {}
        events: Future[bytes] | None = None
        if is_asgi:
            for kind in ("endless/sync", "endless/async", "idle"):
                name = streams[kind] = name_of()
                connection = clients.enter_context(server.connect())
                connection.request(f"/{kind}?id={name}")
                connection.read_until(b"tick\n")
                pool.submit(rest_of, connection)
            connection = clients.enter_context(server.connect())
            connection.request("/events")
            connection.read_until(b"data:")
            events = pool.submit(rest_of, connection)
            for path in ("/ws", "/ws/sync", "/ws/deaf"):
                client = clients.enter_context(server.socket(path, close_timeout=1))
                codes[path] = pool.submit(end_of, client)

        stopping = threading.Thread(target=stop, args=(server, seen))
        stopping.start()
        deadline = time.monotonic() + LISTENS_SECONDS
        while listens(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        for name, _ in slow.values():
            server.go(name)
        stopping.join()
        seen.requests = {kind: status.result() for kind, (_, status) in slow.items()}
        seen.streams = {kind: server.diary.of(name) for kind, name in streams.items()}
        if events is not None:
            seen.events = events.result()
        for path, code in codes.items():
            try:
                seen.codes[path] = code.result()[0]
            except Exception:  # of whatever kind: it was not closed as it should be
                seen.codes[path] = None
    return seen


def requests_finish(seen: Seen) -> None:
    """SIGTERM: requests under way are answered."""
    same(seen.requests, {"sync": 200, "async": 200})


def streams_close(seen: Seen) -> None:
    """SIGTERM: endless streams are closed, with their teardown."""
    for kind, events in seen.streams.items():
        same((kind, events), (kind, ["closed", "teardown"]))


def events_end(seen: Seen) -> None:
    """SIGTERM: an event stream ends, and says when to come back."""
    same(b"retry: " in seen.events and seen.events.endswith(b"0\r\n\r\n"), True)


def sockets_told(seen: Seen) -> None:
    """SIGTERM: WebSockets are closed with 1012."""
    same(seen.codes, dict.fromkeys(seen.codes, 1012))


# -- uploads that have stalled ----------------------------------------------------------------


def stalled_uploads(server: Subject, is_asgi: bool) -> Seen:
    """SIGTERM while clients keep their bodies back."""
    seen = Seen()
    with ExitStack() as clients:
        for path, size in UPLOADS:
            begin_upload(clients.enter_context(server.connect()), path, size)
        stop(server, seen)
    return seen


# -- sync code that never ends ----------------------------------------------------------------

WORKER_THREADS: Final = 16
"""Of the app: so many sync functions run at a time."""


def stuck(server: Subject, is_asgi: bool) -> Seen:
    """SIGTERM while as many sync views as may run never end, and one waits for its turn."""
    seen = Seen()
    with ExitStack() as clients:
        names = [name_of() for _ in range(WORKER_THREADS + 1)]
        connection = clients.enter_context(server.connect())
        connection.request("/stuck/background")
        seen.requests["background"] = status_of(connection)
        for name in names:
            connection = clients.enter_context(server.connect())
            connection.request(f"/stuck?id={name}")
        running = WORKER_THREADS - 1
        until(lambda: sum("began" in server.diary.of(name) for name in names) >= running, "views")
        stop(server, seen)
    return seen


# -- no thread is to be had -------------------------------------------------------------------


def without_threads(server: Subject, is_asgi: bool) -> Seen:
    """SIGTERM when a sync view was refused a thread, and hooks need one."""
    seen = Seen()
    with server.connect() as connection:
        for path in ("/no-more-threads", "/method/sync"):
            connection.request(path)
            seen.requests[path] = status_of(connection)
    stop(server, seen)
    return seen


def refused_for_now(seen: Seen) -> None:
    """Without threads: a sync view is a 503."""
    same(seen.requests["/method/sync"], 503)


# -- what is looked at after each -------------------------------------------------------------


def ends(what: str) -> tuple[StopCase, StopCase, StopCase]:
    """Cases for a stop *what*: its status, the lifespan's hooks, and the log."""

    def hooks(seen: Seen) -> None:
        if not seen.hooks:
            raise AssertionError("The lifespan's hooks were not called.")
        for events in seen.hooks:
            same(events, HOOKS)

    def status(seen: Seen) -> None:
        same(seen.status, 0)

    def log(seen: Seen) -> None:
        same(seen.output.count("Traceback (most recent call last)"), 0)

    hooks.__doc__ = f"{what}: hooks run once and in order."
    status.__doc__ = f"{what}: the server ends in order."
    log.__doc__ = f"{what}: no traceback in the log."
    return hooks, status, log


@dataclass(frozen=True)
class Stop:
    """A scenario, and the cases that look at it; those of `asgi` where the server speaks it."""

    scenario: Scenario
    cases: tuple[StopCase, ...]
    asgi: tuple[StopCase, ...] = ()


_hooks, _status, _log = ends("SIGTERM")
AT_WORK: Final = Stop(
    at_work, (requests_finish, _status, _log), (events_end, streams_close, sockets_told, _hooks)
)
_hooks, _status, _log = ends("Stalled uploads")
STALLED: Final = Stop(stalled_uploads, (_status, _log), (_hooks,))
_hooks, _status, _log = ends("Stuck sync code")
STUCK: Final = Stop(stuck, (), (_hooks, _status))
_hooks, _status, _log = ends("Without threads")
WITHOUT_THREADS: Final = Stop(without_threads, (), (refused_for_now, _hooks, _status, _log))
