"""A Socket.IO client without a library, packet by packet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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
