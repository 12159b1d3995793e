"""What ASGI servers reveal about a connection, and let us do with it, beyond ASGI. The functions
take the server's `send`, or its `receive` if only that is the server's own. For a middleware's,
nothing is known.
"""

from __future__ import annotations

import inspect
import logging
import select
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from starlette.types import Receive, Send

if sys.platform == "linux":
    import termios
    from fcntl import ioctl

_SERVERS: Final = frozenset({"uvicorn", "hypercorn", "asyncio", "asyncflask"})
"""Packages whose connections, or the queues in their place, lose nothing if a `receive` is
cancelled. The in-memory client is among them."""

_TITLES: Final = {
    "daphne": "Daphne",
    "granian": "Granian",
    "gunicorn": "gunicorn",
    "hypercorn": "Hypercorn",
    "uvicorn": "uvicorn",
    "waitress": "waitress",
    "Werkzeug": "Werkzeug's server",
}
"""Names by package or by the name in `SERVER_SOFTWARE`."""

_DROP_ACCEPT_HEADERS: Final = frozenset({"Daphne", "Granian"})
"""Servers that accept a handshake without the headers of `websocket.accept`."""

_logger: Final = logging.getLogger("asyncflask")
_told: set[str] = set()


def server_of(func: Callable[..., object]) -> str | None:
    """Return the name, as in the documentation, of the server whose `receive` or `send` *func*
    is. `None` if it is a middleware's, or the server is unknown."""
    while isinstance(func, partial):
        func = func.func
    owner = getattr(func, "__self__", None)
    module = getattr(func if owner is None else type(owner), "__module__", None) or ""
    return _TITLES.get(module.partition(".")[0])


def wsgi_server(software: str) -> str | None:
    """Return the name of a WSGI server by its `SERVER_SOFTWARE`, or `None`."""
    return _TITLES.get(software.partition("/")[0])


def tell_once(shortcoming: str) -> None:
    """Log what a server cannot do, and what to do about it, once per process."""
    if shortcoming not in _told:
        _told.add(shortcoming)
        _logger.warning(shortcoming)


def drops_accept_headers(send: Send) -> str | None:
    """Return the server's name if it accepts handshakes without the given headers, else `None`."""
    server = server_of(send)
    return server if server in _DROP_ACCEPT_HEADERS else None


def stop_of(send: Send) -> Callable[[], Awaitable[object]] | None:
    """Return a function that waits until the connection's server begins to stop, or `None`.
    Needed for Hypercorn: it tells its worker processes by an event, not a signal, and, like any
    server, the lifespan only when all connections have ended."""
    if server_of(send) != "Hypercorn":
        return None
    context = getattr(getattr(send, "__self__", None), "context", None)
    return getattr(getattr(context, "terminated", None), "wait", None)


def is_of_server(func: Callable[..., object]) -> bool:
    """Return `True` if *func* is a coroutine method of the server's connection. Anything else
    may be a middleware's, which could lose a message if cancelled."""
    if not inspect.ismethod(func) or not inspect.iscoroutinefunction(func):
        return False
    return type(func.__self__).__module__.partition(".")[0] in _SERVERS


def _transport(func: Callable[..., object]) -> Any:
    return getattr(func.__self__, "transport", None) if inspect.ismethod(func) else None


def has_transport(func: Callable[..., object]) -> bool:
    """Return `True` if the connection reports how much is unsent."""
    return hasattr(_transport(func), "get_write_buffer_size")


def unsent_bytes(send: Send) -> int:
    """Return how many bytes were sent that the client has not taken in."""
    size: int = getattr(_transport(send), "get_write_buffer_size", int)()
    return size


def untaken_bytes(func: Send | Receive) -> int:
    """Like `unsent_bytes`, plus what the system holds and the client has not acknowledged, if it
    tells (Linux: `SIOCOUTQ`). That may be megabytes, a third of which must go before the system
    accepts more; a slow client would otherwise show no progress for minutes."""
    transport = _transport(func)
    size: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sys.platform == "linux" and sock is not None and (fileno := sock.fileno()) >= 0:
        with suppress(OSError):  # not supported by this kind of socket
            size += struct.unpack("i", ioctl(fileno, termios.TIOCOUTQ, bytes(4)))[0]
    return size


def abort(func: Send | Receive) -> None:
    """Abort the connection."""
    getattr(_transport(func), "abort", bool)()


def is_closed(send: Send) -> bool:
    """Return `True` if the server closed the connection or knows that the client did. After a
    malformed request, uvicorn lets other requests on the connection continue; sending then
    raises an error of uvloop or h11."""
    closing: bool = getattr(_transport(send), "is_closing", bool)()
    return closing


def has_hung_up(send: Send) -> bool:
    """Return `True` if the other end closed the connection, even if some of its data is unread.
    If the server does not know, Linux does; elsewhere this is not known."""
    transport = _transport(send)
    if getattr(transport, "is_closing", bool)():
        return True
    sock = transport and transport.get_extra_info("socket")
    if not sock or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))
