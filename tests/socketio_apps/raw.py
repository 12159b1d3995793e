"""A Socket.IO client without a library, packet by packet."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
from websockets.sync.client import ClientConnection, connect

from support.servers import Process

PATH: Final = "/socket.io/?EIO=4&transport="
SECONDS: Final = 45


@contextmanager
def open_websocket(server: Process, **kwargs: Any) -> Iterator[ClientConnection]:
    """A client that is connected to the default namespace."""
    with connect(f"{server.ws_url}{PATH}websocket", **kwargs) as connection:
        assert connection.recv(SECONDS)[:1] == "0"
        connection.send("40")
        assert connection.recv(SECONDS)[:2] == "40"
        yield connection


def emit(connection: ClientConnection, *event: Any) -> None:
    connection.send(f"42{json.dumps(event)}")


def receive(connection: ClientConnection) -> Any:
    """The next event, or the values of an acknowledgement."""
    while True:
        packet = str(connection.recv(SECONDS))
        if packet == "2":
            connection.send("3")
        elif packet[:2] in ("42", "43"):
            return json.loads(packet[2:].lstrip("0123456789"))


def ask(connection: ClientConnection, *event: Any) -> Any:
    """Emit with an acknowledgement, and give its values."""
    connection.send(f"421{json.dumps(event)}")
    return receive(connection)


class Polling:
    """A client that is connected to the default namespace by long polling."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        opened = self.http.get(f"{PATH}polling")
        self.url = f"{PATH}polling&sid={json.loads(opened.text[1:])['sid']}"
        assert self.post("40").text == "OK"
        assert self.poll().text[:2] == "40"

    def poll(self) -> httpx.Response:
        return self.http.get(self.url)

    def post(self, data: str) -> httpx.Response:
        return self.http.post(self.url, content=data)


def wait_for(server: Process, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in server.output:
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)


def stall(connection: socket.socket) -> None:
    """Connect a client that will read nothing more."""
    lines = [
        f"GET {PATH}websocket HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    while b"\r\n\r\n" not in connection.recv(1024):
        pass
    text = b"40"
    connection.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
