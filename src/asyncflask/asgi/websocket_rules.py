"""The rules for WebSockets, which know no connection: its states and the steps that are legal in
each, close codes, what a route may lay down, and which pages may open one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import CoroutineType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from starlette.types import Message, Scope

NORMAL: Final = 1000
ABNORMAL: Final = 1006
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
"""Close codes: RFC 6455 section 7.4.1, and the IANA registry for 1012 and 1013."""

REASON_BYTES: Final = 123
"""How long the reason of a close is at most (RFC 6455 section 5.5)."""

_NOT_SENT: Final = 1004, 1005, 1006
"""Codes in this range that are never sent, or reserved."""

Policy = Literal["close", "drop_oldest", "wait"]
POLICIES: Final[tuple[Policy, ...]] = ("close", "drop_oldest", "wait")

SEND_TIMEOUT: Final = 20.0
"""Seconds in which a client has to take a message in; TCP has tried several times by then."""

QUEUED_MESSAGES: Final = 1_000
"""How many delivered messages may wait for one client."""

QUEUED_BYTES: Final = 1_048_576
"""And how much they may be together; a longer message waits alone."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class State(Enum):
    """Of a connection. The value goes into errors."""

    CONNECTING = "has not been accepted yet"
    ACCEPTED = "has been accepted"
    CLOSED = "has been closed by its handler"
    ENDED = "has ended"
    """Its client has left or was cut off, or the server stops. A handler cannot know that before
    it tries: every step but `close` raises `WebSocketDisconnect`."""


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
"""The steps that a handler may take, and where they lead. `receive` and `send` accept the
handshake where that has not been done. After `close`, `receive` gives what came before, and then
raises `WebSocketDisconnect`, which ends a loop over the messages; `close` does nothing more."""

_ADVICE: Final = {
    (ACCEPTED, "accept"): "Call 'accept' once, before 'receive' and 'send', which otherwise"
    " do it themselves.",
    (ACCEPTED, "deny"): "End it with 'await websocket.close(code, reason)'.",
    (CLOSED, "accept"): "Call 'websocket.close()' before 'accept' only to reject the connection.",
    (CLOSED, "send"): "Write 'websocket.send(...)' before 'websocket.close()'.",
    (
        CLOSED,
        "deny",
    ): "To reject the connection with a response, return it instead of calling 'websocket.close()'.",
}
"""The line to write, for each step that the table leaves out."""


def next_state(state: State, step: str) -> State:
    """Where *step* leads. Raises `RuntimeError` for one that is not legal, but in `ENDED`
    `KeyError`: what is tried then is no mistake."""
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
    """What a route or the app lays down for its connections."""

    subprotocols: Sequence[str] = ()
    """Those that the server speaks, the best first. The first that the client offers is taken."""
    max_message_size: int | None = None
    """Bytes of a received message, beside the server's limit; more closes with 1009."""
    send_timeout: float | None = SEND_TIMEOUT
    """Seconds in which the client has to take a message in; else it is closed with 1013."""
    send_queue: int = QUEUED_MESSAGES
    """How many delivered messages may wait for the client."""
    send_queue_bytes: int = QUEUED_BYTES
    """How much they may be together; a longer message waits alone."""
    send_policy: Policy = "close"
    """What happens to a delivered message when that is full; see `WebSocket.deliver`."""

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
    """As much of *reason* as can be sent, without half a character."""
    return reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")


def check_returned(value: object, endpoint: str | None, accepted: bool) -> None:
    """Raise `TypeError` for what a handler returns by mistake: before the handshake it may return
    a response, which refuses the connection; after it nothing."""
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
    """That of the response which *value* becomes; `None` for nothing, or what is not known."""
    if isinstance(value, tuple) and len(value) > 1:
        status = value[1] if isinstance(value[1], int | str) else _status_of(value[0])
        with suppress(ValueError):
            return None if status is None else int(str(status).partition(" ")[0])
        return None
    if isinstance(value, str | bytes | bytearray | dict | list | Iterator | AsyncIterator):
        return 200
    return getattr(value, "status_code", None)


def message_of(data: object) -> Message:
    """The ASGI message that sends *data*."""
    if isinstance(data, str):
        return {"type": "websocket.send", "text": data}
    if isinstance(data, bytes | bytearray | memoryview):
        return {"type": "websocket.send", "bytes": bytes(data)}
    if isinstance(data, CoroutineType):
        data.close()  # that it was never awaited is said here
        raise TypeError(f"A WebSocket message is str or bytes, not a coroutine. {await_it(data)}")
    raise TypeError(
        f"A WebSocket message is str or bytes, not {type(data).__name__}; for JSON write"
        " 'websocket.send_json(...)'."
    )


def await_it(coro: CoroutineType[Any, Any, Any]) -> str:
    """What to write, where a value was wanted and not a coroutine."""
    return f"Write 'await' before the call of {coro.__qualname__!r}."


def bytes_of(data: str | bytes, limit: int) -> int:
    """The size of *data* as it was sent; of a text that is within *limit* anyway, about."""
    if isinstance(data, bytes) or len(data) * 4 <= limit:
        return len(data)
    return len(data.encode())


def origin_allowed(scope: Scope, allowed: Iterable[str] | None) -> bool:
    """Whether the page that opens this WebSocket may (RFC 6455 section 10.2). Browsers always
    say what page it is: no `Origin` means another client. Otherwise it has to be the app's
    host with the same scheme and port, or one of *allowed* (``"https://example.com"``; ``"*"``
    for any)."""
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
