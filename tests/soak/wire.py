"""An HTTP/1.1 client of few lines, which can be as slow, as rude and as fast as a test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple, Self

HOST = "127.0.0.1"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    """With names in lower case."""
    body: bytes


class Connection:
    """A connection for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, *, buffer: int | None = None) -> Self:
        """*buffer*: the most that the system keeps for a client that does not read."""
        if buffer is None:
            return cls(*await asyncio.open_connection(HOST, port))
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, (HOST, port))
        return cls(*await asyncio.open_connection(sock=end, limit=buffer))

    async def send(self, target: str, method: str = "GET", body: bytes = b"", *lines: str) -> None:
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
        if method == "POST":
            head.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await self.writer.drain()

    async def reply(self, method: str = "GET") -> Reply:
        """Read a whole answer. Raises `asyncio.IncompleteReadError` for one that breaks off."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        body = b""
        if method != "HEAD":
            if headers.get("transfer-encoding") == "chunked":
                body = b"".join([chunk async for chunk in self.chunks()])
            else:
                body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(head[0].split(" ")[1]), headers, body)

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()

    def leave(self) -> None:
        """Without a word; what was sent and not taken is dropped."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the other side was faster
