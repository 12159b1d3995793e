"""What servers let us know of a connection, and do with it, beyond what ASGI says. The functions
take the server's `send`, or its `receive` where that is the server's own and `send` is not; of a
middleware's nothing is known.
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
"""The packages whose connections, or queues in their place, lose nothing when a `receive` is
cancelled; the in-memory client's is one."""

_TITLES: Final = {
    "daphne": "Daphne",
    "granian": "Granian",
    "gunicorn": "gunicorn",
    "hypercorn": "Hypercorn",
    "uvicorn": "uvicorn",
    "waitress": "waitress",
    "Werkzeug": "Werkzeug's server",
}
"""By their package, or the name in `SERVER_SOFTWARE`."""

_DROP_ACCEPT_HEADERS: Final = frozenset({"Daphne", "Granian"})
"""The servers that answer a handshake without the headers of `websocket.accept`."""

_logger: Final = logging.getLogger("asyncflask")
_told: set[str] = set()


def server_of(func: Callable[..., object]) -> str | None:
    """The server whose `receive` or `send` *func* is, by its name in the documentation; `None`
    for a middleware's, or a server that is not known."""
    while isinstance(func, partial):
        func = func.func
    owner = getattr(func, "__self__", None)
    module = getattr(func if owner is None else type(owner), "__module__", None) or ""
    return _TITLES.get(module.partition(".")[0])


def wsgi_server(software: str) -> str | None:
    """The same for a WSGI server, by what it calls itself in `SERVER_SOFTWARE`."""
    return _TITLES.get(software.partition("/")[0])


def tell_once(shortcoming: str) -> None:
    """Log what a server cannot do, and what to do about it; not again for each connection."""
    if shortcoming not in _told:
        _told.add(shortcoming)
        _logger.warning(shortcoming)


def drops_accept_headers(send: Send) -> str | None:
    """The server, if it answers handshakes without the headers that it is given."""
    server = server_of(send)
    return server if server in _DROP_ACCEPT_HEADERS else None


def stop_of(send: Send) -> Callable[[], Awaitable[object]] | None:
    """What returns when the server of this connection begins to stop, if it has such a thing.
    Hypercorn tells its worker processes by an event and not by a signal; and the lifespan, like
    any server, when all connections have ended."""
    if server_of(send) != "Hypercorn":
        return None
    context = getattr(getattr(send, "__self__", None), "context", None)
    return getattr(getattr(context, "terminated", None), "wait", None)


def is_of_server(func: Callable[..., object]) -> bool:
    """Whether *func* is a coroutine method of the server's connection; anything else may be a
    middleware's, which could lose a message when it is cancelled."""
    if not inspect.ismethod(func) or not inspect.iscoroutinefunction(func):
        return False
    return type(func.__self__).__module__.partition(".")[0] in _SERVERS


def _transport(func: Callable[..., object]) -> Any:
    return getattr(func.__self__, "transport", None) if inspect.ismethod(func) else None


def has_transport(func: Callable[..., object]) -> bool:
    """Whether the connection shows how much of it is unsent."""
    return hasattr(_transport(func), "get_write_buffer_size")


def unsent_bytes(send: Send) -> int:
    """How much the client has not taken in of what was sent."""
    size: int = getattr(_transport(send), "get_write_buffer_size", int)()
    return size


def untaken_bytes(func: Send | Receive) -> int:
    """The same with what the system holds and the client has not acknowledged, as far as it tells
    (`SIOCOUTQ` of Linux). That may be megabytes, and a third of it has to go before it takes more:
    of a slow client nothing else would be seen for minutes."""
    transport = _transport(func)
    size: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sys.platform == "linux" and sock is not None and (fileno := sock.fileno()) >= 0:
        with suppress(OSError):  # a kind of socket that does not know
            size += struct.unpack("i", ioctl(fileno, termios.TIOCOUTQ, bytes(4)))[0]
    return size


def abort(func: Send | Receive) -> None:
    """Break off the connection."""
    getattr(_transport(func), "abort", bool)()


def is_closed(send: Send) -> bool:
    """Whether the server has closed the connection, or knows that the client has. uvicorn lets a
    request go on if another one on its connection was malformed; to send something raises an
    error then, of uvloop or of h11."""
    closing: bool = getattr(_transport(send), "is_closing", bool)()
    return closing


def has_hung_up(send: Send) -> bool:
    """Whether the other end has closed the connection, though not all is read that it sent.
    If the server does not know that either, Linux does; elsewhere it is not known."""
    transport = _transport(send)
    if getattr(transport, "is_closing", bool)():
        return True
    sock = transport and transport.get_extra_info("socket")
    if not sock or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))
