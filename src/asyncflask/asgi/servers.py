"""What servers let us know of a connection, and do with it, beyond what ASGI says. The functions
take the server's `send`; of a middleware's nothing is known.
"""

from __future__ import annotations

import inspect
import select
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Send

_SERVERS: Final = frozenset({"uvicorn", "hypercorn", "asyncio", "asyncflask"})
"""The packages whose connections, or queues in their place, lose nothing when a `receive` is
cancelled; the in-memory client's is one."""


def is_of_server(func: Callable[..., object]) -> bool:
    """Whether *func* is a coroutine method of the server's connection; anything else may be a
    middleware's, which could lose a message when it is cancelled."""
    if not inspect.ismethod(func) or not inspect.iscoroutinefunction(func):
        return False
    return type(func.__self__).__module__.partition(".")[0] in _SERVERS


def _transport(send: Send) -> Any:
    return getattr(send.__self__, "transport", None) if inspect.ismethod(send) else None


def unsent_bytes(send: Send) -> int:
    """How much the client has not taken in of what was sent."""
    size: int = getattr(_transport(send), "get_write_buffer_size", int)()
    return size


def abort(send: Send) -> None:
    """Break off the connection."""
    getattr(_transport(send), "abort", bool)()


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
