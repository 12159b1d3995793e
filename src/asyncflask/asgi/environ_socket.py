"""The socket in a WebSocket's environ, for WSGI libraries that implement the protocol
themselves.

Such a library (Flask-Sock, for example) takes the server's socket from the environ, answers the
handshake on it and exchanges frames (RFC 6455 section 5). It gets one end of a socket pair. At
the other end, its frames are translated to messages of our `WebSocket` and back. Compression
and pings on the real connection remain the server's.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final
from weakref import ref

from starlette.types import Scope

from .connection import GRACE_SECONDS
from .threads import on_loop, this_driver
from .websocket import WebSocket
from .websocket_rules import ABNORMAL, NORMAL, disconnect_type

NO_STATUS: Final = 1005
"""The code for a close frame without a code (RFC 6455 section 7.1.5)."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes (RFC 6455 section 5.2)."""

READ_BYTES: Final = 65_536

Write = Callable[[int, bytes], Awaitable[None]]


def handshake_environ(scope: Scope, sock: EnvironSocket) -> dict[str, object]:
    """Return what a WebSocket's environ has in addition to a request's. Some servers omit the
    handshake headers from the scope, but a library needs them to answer (section 4.2.1)."""
    environ: dict[str, object] = {
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_KEY": base64.b64encode(os.urandom(16)).decode("ascii"),
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "werkzeug.socket": sock,
    }
    if subprotocols := scope.get("subprotocols"):
        environ["HTTP_SEC_WEBSOCKET_PROTOCOL"] = ", ".join(subprotocols)
    return environ


class EnvironSocket:
    """Acts as the server's socket. The pair is created on first use, after *websocket* was set."""

    _pair: tuple[socket.socket, socket.socket] | None = None
    """Our end and the library's."""
    _answer = b""
    _translation: Future[None] | None = None
    """The task that translates frames, from the handshake on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def websocket(self) -> WebSocket:
        websocket = self._websocket()
        assert websocket is not None  # its handler is running
        return websocket

    @websocket.setter
    def websocket(self, websocket: WebSocket) -> None:
        # A weak reference, to avoid a cycle: the WebSocket keeps the scope, which keeps the
        # environ.
        self._websocket = ref(websocket)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._open(), name)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send as a socket does. The response to the handshake completes it before this
        returns."""
        sock = self._open()
        if self._translation is not None:
            sock.sendall(data, flags)
            return len(data)
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if end:
            self._accept(head.decode("latin-1").split("\r\n"))
            sock.sendall(rest)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send as a socket does."""
        self.send(data, flags)

    async def end(self) -> bool:
        """When the handler has ended, wait until all that it sent is delivered. Return `True`
        if it used this socket at all."""
        if self._pair is None:
            return False
        ours, library = self._pair
        if self._translation is None:
            ours.close()
            return False
        with suppress(OSError):  # already closed
            library.shutdown(socket.SHUT_WR)
        await asyncio.wrap_future(self._translation)
        return True

    # -- on the handler's thread

    def _open(self) -> socket.socket:
        if self._pair is None:
            if on_loop():
                raise RuntimeError(
                    "A WSGI library would block the event loop here: it waits on the environ's"
                    " socket. Make the handler 'def', or use asyncflask's 'await"
                    " websocket.receive()' in it."
                )
            driver = this_driver()
            if driver is not None:
                driver.free_slot()  # the library will wait for its client unnoticed by the driver
            self._pair = socket.socketpair()
        return self._pair[1]

    def _accept(self, lines: list[str]) -> None:
        status = lines[0].split(" ")
        if status[1:2] != ["101"]:
            self.websocket.sync.close()
            return
        subprotocol = None
        for name, _, value in (line.partition(":") for line in lines[1:]):
            if name.lower() == "sec-websocket-protocol":
                subprotocol = value.strip()
        self.websocket.sync.accept(subprotocol)
        assert self._pair is not None
        self._translation = asyncio.run_coroutine_threadsafe(
            self._translate(self._pair[0]), self._loop
        )

    # -- on the loop

    async def _translate(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        writing = asyncio.Lock()

        async def write(opcode: int, data: bytes) -> None:
            async with writing:
                await asyncio.get_running_loop().sock_sendall(ours, _frame(opcode, data))

        from_client = asyncio.ensure_future(self._from_client(write, ours))
        try:
            await self._from_library(_Frames(ours), write)
        except disconnect_type():
            # This tells the library, unless it is sending while we no longer read and reads no
            # more itself; then both would wait forever.
            await asyncio.wait([from_client], timeout=GRACE_SECONDS)
        except (EOFError, OSError):
            pass  # the library closed the socket
        finally:
            from_client.cancel()
            await asyncio.gather(from_client, return_exceptions=True)
            ours.close()

    async def _from_client(self, write: Write, ours: socket.socket) -> None:
        try:
            while True:
                message = await self.websocket.receive_on_loop()
                if isinstance(message, str):
                    await write(TEXT, message.encode())
                else:
                    await write(BINARY, message)
        except disconnect_type() as gone:
            if gone.code == ABNORMAL:
                ours.shutdown(socket.SHUT_WR)
            elif gone.code == NO_STATUS:
                await write(CLOSE, b"")
            else:
                await write(CLOSE, gone.code.to_bytes(2, "big") + gone.reason.encode())

    async def _from_library(self, frames: _Frames, write: Write) -> None:
        kind, parts = BINARY, b""
        while True:
            last, opcode, data = await frames.next()
            if opcode == CLOSE:
                code = int.from_bytes(data[:2], "big") if data else NORMAL
                await self.websocket.close_on_loop(code, data[2:].decode())
                return
            if opcode == PING:
                with suppress(OSError):  # closed; what the client sent before still counts
                    await write(PONG, data)
            elif opcode != PONG:
                if opcode != CONTINUATION:
                    kind, parts = opcode, b""
                parts += data
                if last:
                    await self.websocket.send_on_loop(parts.decode() if kind == TEXT else parts)


class _Frames:
    """Reads the frames that a server sends: unmasked (section 5.1)."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    async def next(self) -> tuple[bool, int, bytes]:
        """Return the next frame: `True` if it is its message's last, opcode, payload. Raises
        `EOFError`."""
        first, size = await self._read(2)
        if size == 126:
            size = int.from_bytes(await self._read(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._read(8), "big")
        return bool(first & 0x80), first & 0x0F, await self._read(size)

    async def _read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._buffer) < size:
            data = await loop.sock_recv(self._socket, READ_BYTES)
            if not data:
                raise EOFError
            self._buffer += data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def _frame(opcode: int, data: bytes) -> bytes:
    """Return a frame in the form a client sends: masked, with a key that changes nothing."""
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + data
