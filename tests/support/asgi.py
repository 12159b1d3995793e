"""ASGI messages to and from an app in memory, for tests that need more control than an HTTP
client gives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Scope

HeaderPairs = Iterable[tuple[str, str]]


def http_scope(
    path: str = "/", method: str = "GET", headers: HeaderPairs = (), **more: Any
) -> Scope:
    """Return the scope of a request, with a `Host` unless *headers* has one."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in pairs):
        pairs.insert(0, (b"host", b"localhost"))
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": pairs,
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
        **more,
    }


def chunks(*parts: bytes) -> list[Message]:
    """Return the messages of a body that arrives in *parts*."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    return [*messages, {"type": "http.request", "body": b"", "more_body": False}]


class Peer:
    """The server's side: `receive` returns *messages*, then waits for `leave`; `send` collects."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.inbox = list(messages)
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.received = 0
        self.leave_after: int | None = None
        """Disconnect after this many messages were sent."""

    def leave(self) -> None:
        self.left.set()

    async def receive(self) -> Message:
        self.received += 1
        if self.inbox:
            return self.inbox.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if self.leave_after is not None and len(self.sent) >= self.leave_after:
            self.leave()

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            (name.decode(), value.decode("latin-1")) for name, value in self.sent[0]["headers"]
        ]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def exchange(app: ASGIApp, scope: Scope, messages: Iterable[Message] = ()) -> Peer:
    """Run one request to its end."""
    peer = Peer(messages or chunks())
    await app(scope, peer.receive, peer.send)
    return peer
