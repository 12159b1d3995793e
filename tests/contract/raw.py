"""What the contract's tests share: an ill-behaved client, and the diary of an app.

Lives here: bytes on sockets, and waiting. Does not live here: what is right or wrong.
"""

from __future__ import annotations

import io
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from support.servers import HOST, Process, Server

TESTS: Final = Path(__file__).parents[1]
APPS: Final = "contract.apps"
"""Where servers import from, and the package of the apps there."""

SECONDS: Final = 45.0
"""After this a test gives up; nothing here takes that long, unless it hangs, on a busy machine
either. What is not to come to its end by itself takes longer."""

Parser = Literal["h11", "httptools"]
PARSERS: Final[tuple[Parser, ...]] = ("h11", "httptools")

SOCKETS: Final = ("websockets-sansio", "wsproto")
"""The WebSocket implementations of uvicorn; the first is what it takes by default."""


@dataclass
class Reply:
    status: int
    headers: Message
    body: bytes


class _Reader(io.BufferedReader):
    """Outlives each reply: it may hold the beginning of the next."""

    def close(self) -> None:
        pass


class Connection:
    """A TCP connection that sends just what it is told to."""

    def __init__(self, server: Process, *, small_buffers: bool = False) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if small_buffers:  # so that what is sent or received shows how much the other side took
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.socket.connect((HOST, server.port))
        self._raw = self.socket.makefile("rb", buffering=0)
        self._reader = _Reader(self._raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._raw.close()
        self.socket.close()

    def makefile(self, mode: str) -> io.BufferedReader:
        """For `HTTPResponse`, which takes this for a socket."""
        return self._reader

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, target: str, method: str = "GET", body: bytes = b"", *lines: str) -> None:
        """Send a proper request."""
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def reply(self, method: str = "GET") -> Reply:
        """Read a whole answer. Raises `http.client.BadStatusLine` for an empty one and
        `IncompleteRead` for one that breaks off."""
        response = HTTPResponse(self, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            return Reply(response.status, response.headers, response.read())
        finally:
            response.close()

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            part = self._reader.read1(65_536)
            if not part:
                raise AssertionError(f"The connection ended before {mark!r}, after {data!r}.")
            data += part
        return data

    def read_to_end(self) -> bytes:
        parts = []
        while part := self._reader.read1(65_536):
            parts.append(part)
        return b"".join(parts)


def get(
    server: Process, target: str, method: str = "GET", body: bytes = b"", *lines: str
) -> Reply:
    """One request on a connection of its own."""
    with Connection(server) as connection:
        connection.request(target, method, body, *lines)
        return connection.reply(method)


def exchange(server: Process, data: bytes, method: str = "GET") -> Reply:
    """The answer to *data*, which is sent as it is."""
    with Connection(server) as connection:
        connection.send(data)
        return connection.reply(method)


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for *condition*."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"In vain: {what or condition}")
        time.sleep(0.02)


class Diary:
    """The file to which an app writes a line ``<id> <event>`` for all that happens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {"DIARY": str(path)}
        path.touch()

    def of(self, request_id: str) -> list[str]:
        lines = (line.partition(" ") for line in self.path.read_text().splitlines())
        return [event for name, _, event in lines if name == request_id]

    def count(self, request_id: str) -> Counter[str]:
        return Counter(self.of(request_id))

    def wait(self, request_id: str, event: str) -> None:
        """Wait until *event* was written, wholly or as the beginning of a line."""
        until(
            lambda: any(line.startswith(event) for line in self.of(request_id)),
            f"{event!r} of {request_id!r}, only {self.of(request_id)}",
        )


def serve(
    app: str,
    http: Parser = "httptools",
    *args: str,
    ws: str = SOCKETS[0],
    diary: Diary | None = None,
    env: dict[str, str] | None = None,
) -> Server:
    """A server for ``apps/<app>``, such as ``"streams:app"``."""
    return Server(
        f"{APPS}.{app}",
        app_dir=TESTS,
        http=http,
        args=["--ws", ws, "--no-access-log", *args],
        env={**(env or {}), **({} if diary is None else diary.env)},
    )
