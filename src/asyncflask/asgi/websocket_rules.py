"""WebSocket rules that need no connection: states and the steps allowed in each, close codes,
the options of a route, and the origin check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from starlette.types import Message, Scope

if TYPE_CHECKING:
    from starlette.websockets import WebSocketDisconnect

NORMAL: Final = 1000
ABNORMAL: Final = 1006
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
"""Close codes (RFC 6455 section 7.4.1; the IANA registry for 1012 and 1013)."""

REASON_BYTES: Final = 123
"""The maximum size of a close reason in bytes (RFC 6455 section 5.5)."""

_NOT_SENT: Final = 1004, 1005, 1006
"""Codes in the valid range that are reserved or never sent."""

Policy = Literal["close", "drop_oldest", "wait"]
POLICIES: Final[tuple[Policy, ...]] = ("close", "drop_oldest", "wait")

SEND_TIMEOUT: Final = 20.0
"""Seconds that a client has to take in a message. TCP retries several times in that time."""

QUEUED_MESSAGES: Final = 1_000
"""How many delivered messages may be queued for one client."""

QUEUED_BYTES: Final = 1_048_576
"""Their maximum total size in bytes. A longer message is queued only alone."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@cache
def disconnect_type() -> type[WebSocketDisconnect]:
    """Return Starlette's `WebSocketDisconnect`. Not imported at the top, because many apps have no
    WebSockets and it takes a tenth of the time of our own import."""
    from starlette.websockets import WebSocketDisconnect

    return WebSocketDisconnect


class State(Enum):
    """The state of a connection. The value completes a sentence in error messages."""

    CONNECTING = "has not been accepted yet"
    ACCEPTED = "has been accepted"
    CLOSED = "has been closed by its handler"
    ENDED = "has ended"
    """The client left or was cut off, or the server is stopping. A handler learns that only by
    trying, so every step but `close` raises `WebSocketDisconnect`."""


CONNECTING, ACCEPTED, CLOSED, ENDED = State

STEPS: Final[dict[State, dict[str, State]]] = {
    CONNECTING: {
        "accept": ACCEPTED,
        "receive": ACCEPTED,
        "send": ACCEPTED,
        "close": CLOSED,
        "deny": CLOSED,
    },
    ACCEPTED: {"receive": ACCEPTED, "send": ACCEPTED, "close": CLOSED},
    CLOSED: {"receive": CLOSED, "close": CLOSED},
    ENDED: {"close": ENDED},
}
"""The steps allowed in each state, and the state that each leads to. `receive` and `send`
accept the handshake if needed. After `close`, `receive` returns the messages that came earlier
and then raises `WebSocketDisconnect`, which ends a loop over the messages; another `close` does
nothing."""

_ADVICE: Final = {
    (ACCEPTED, "accept"): "Call 'accept' once, before 'receive' and 'send', which otherwise"
    " do it themselves.",
    (ACCEPTED, "deny"): "End it with 'await websocket.close(code, reason)'.",
    (CLOSED, "accept"): "Call 'websocket.close()' before 'accept' only to reject the connection.",
    (CLOSED, "send"): "Write 'websocket.send(...)' before 'websocket.close()'.",
    (
        CLOSED,
        "deny",
    ): "To reject with a response, return it instead of calling 'websocket.close()'.",
}
"""Advice for each step that `STEPS` does not allow."""


def next_state(state: State, step: str) -> State:
    """Return the state that *step* leads to.

    :raises RuntimeError: if the step is not allowed.
    :raises KeyError: if it is not allowed in `ENDED`, where trying is no mistake.
    """
    steps = STEPS[state]
    if step in steps or state is ENDED:
        return steps[step]
    allowed = ", ".join(map(repr, steps))
    raise RuntimeError(
        f"{step!r} is not allowed: this WebSocket {state.value}. Allowed now: {allowed}."
        f" {_ADVICE[state, step]}"
    )


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """The options of a route, or of the app, for its WebSockets."""

    subprotocols: Sequence[str] = ()
    """The server's subprotocols, best first. The first one that the client offers is used."""
    max_message_size: int | None = None
    """Maximum size of a received message in bytes, in addition to the server's limit. A larger
    one closes the connection with 1009."""
    send_timeout: float | None = SEND_TIMEOUT
    """Seconds that the client has to take in a message before it is closed with 1013."""
    send_queue: int = QUEUED_MESSAGES
    """How many delivered messages may be queued for the client."""
    send_queue_bytes: int = QUEUED_BYTES
    """Their maximum total size in bytes. A longer message is queued only alone."""
    send_policy: Policy = "close"
    """What happens to a delivered message when the queue is full; see `WebSocket.deliver`."""

    def __post_init__(self) -> None:
        if isinstance(self.subprotocols, str):
            raise TypeError(
                "'subprotocols' must be a list of strings. Write"
                f" subprotocols=[{self.subprotocols!r}]."
            )
        if self.send_policy not in POLICIES:
            raise ValueError(f"'send_policy' must be one of {POLICIES}, not {self.send_policy!r}.")
        for name in ("max_message_size", "send_timeout", "send_queue", "send_queue_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name!r} must be a number above 0, not {value!r}.")


DEFAULT_OPTIONS: Final = WebSocketOptions()


def check_code(code: int) -> None:
    """Raise `ValueError` unless *code* can be sent (RFC 6455 section 7.4)."""
    if not ((1000 <= code <= 1014 and code not in _NOT_SENT) or 3000 <= code <= 4999):
        raise ValueError(
            f"{code!r} is not a close code that an app may send. Use 1000, or one of your own"
            " from 4000 to 4999."
        )


def shortened(reason: str) -> str:
    """Cut *reason* to the size that can be sent, without splitting a character."""
    return reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")


def check_returned(value: object, endpoint: str | None, accepted: bool) -> None:
    """Raise `TypeError` for a wrong return value. Before the handshake, a handler may return a
    response, which rejects the connection; after it, nothing."""
    handler = f"The WebSocket handler for {endpoint!r}"
    if isinstance(value, CoroutineType):
        value.close()
        raise TypeError(
            f"{handler} returned the coroutine {value.__qualname__!r} without awaiting it."
            " Write 'await' before the call."
        )
    if accepted and value is not None:
        raise TypeError(
            f"{handler} returned a value after the handshake. Send it with"
            " 'websocket.send(...)'; a response is only for refusing the connection, before"
            " 'websocket.accept()'."
        )
    status = _status_of(value)
    if status is not None and 200 <= status < 300:
        raise TypeError(
            f"{handler} returned a response with status {status}, {value!r:.60}, without"
            " 'websocket.accept()'. That rejects the connection, so it needs an error status:"
            " write 'return \"Log in first.\", 401'. To send a message, write"
            " 'websocket.send(...)'."
        )


def _status_of(value: object) -> int | None:
    """Return the status of the response that *value* becomes, or `None` if there is none or it
    is unknown."""
    if isinstance(value, tuple) and len(value) > 1:
        status = value[1] if isinstance(value[1], int | str) else _status_of(value[0])
        with suppress(ValueError):
            return None if status is None else int(str(status).partition(" ")[0])
        return None
    if isinstance(value, str | bytes | bytearray | dict | list | Iterator | AsyncIterator):
        return 200
    return getattr(value, "status_code", None)


def message_of(data: object) -> Message:
    """Return the ASGI message that sends *data*."""
    if isinstance(data, str):
        return {"type": "websocket.send", "text": data}
    if isinstance(data, bytes | bytearray | memoryview):
        return {"type": "websocket.send", "bytes": bytes(data)}
    if isinstance(data, CoroutineType):
        data.close()  # the error below replaces Python's warning
        raise TypeError(f"A WebSocket message is str or bytes, not a coroutine. {await_it(data)}")
    raise TypeError(
        f"A WebSocket message is str or bytes, not {type(data).__name__}; for JSON write"
        " 'websocket.send_json(...)'."
    )


def await_it(coro: CoroutineType[Any, Any, Any]) -> str:
    """Return advice for code that passed a coroutine instead of its value."""
    return f"Write 'await' before the call of {coro.__qualname__!r}."


def bytes_of(data: str | bytes, limit: int) -> int:
    """Return the size of *data* in UTF-8, approximately if it cannot exceed *limit* anyway."""
    if isinstance(data, bytes) or len(data) * 4 <= limit:
        return len(data)
    return len(data.encode())


def origin_allowed(scope: Scope, allowed: Iterable[str] | None) -> bool:
    """Return `True` if the page that opens this WebSocket is allowed to (RFC 6455 section
    10.2). Browsers always send `Origin`; without one, the client is not a browser. Otherwise it
    must be the app's own host with the same scheme and port, or be in *allowed*
    (``"https://example.com"``; ``"*"`` for any)."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not origins:
        return True
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    allowed = () if allowed is None else allowed
    if "*" in allowed:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin = _parsed(origins[0].decode("latin-1").strip(" \t"))
    if origin is None:
        return False
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    expected = _parsed(f"{scheme}://{hosts[0].decode('latin-1').strip()}")
    return origin == expected or any(origin == _parsed(other) for other in allowed)


def _parsed(origin: str) -> tuple[str, str, int | None] | None:
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    if not url.hostname or url.username is not None:
        return None
    if f"{url.scheme}://{url.netloc}".lower() != origin.lower():  # RFC 6454 section 6.2: no path
        return None
    return url.scheme, url.hostname, port if port is not None else _DEFAULT_PORTS.get(url.scheme)
