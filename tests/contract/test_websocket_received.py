"""Messages that a client sends while its handler reads none: a limited number is received
ahead."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asyncflask.asgi.inbox import RECEIVED_BYTES, RECEIVED_MESSAGES
from contract.raw import PARSERS, SECONDS, SOCKETS, Parser, serve
from support.servers import Server


def until_waiting(server: Server, expected: list[int]) -> None:
    deadline = time.monotonic() + SECONDS
    while (found := httpx.get(f"{server.url}/waiting", timeout=SECONDS).json()) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def send_all(ws: ClientConnection, size: int, number: int) -> threading.Thread:
    def send() -> None:
        with suppress(ConnectionClosed):
            for _ in range(number):
                ws.send("x" * size)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.limit("RECEIVED_MESSAGES")
@pytest.mark.limit("RECEIVED_BYTES")
@pytest.mark.parametrize(("size", "held"), [(10, RECEIVED_MESSAGES), (300_000, 4)])
@pytest.mark.parametrize(("http", "ws"), [*zip(PARSERS, SOCKETS, strict=True)])
def test_messages_that_wait_for_the_handler(http: Parser, ws: str, size: int, held: int) -> None:
    assert RECEIVED_BYTES <= 4 * 300_000
    with serve("deaf:app", http, ws=ws) as server, connect(f"{server.ws_url}/ws") as client:
        sending = send_all(client, size, 200)
        until_waiting(server, [held, held * size])
        httpx.post(f"{server.url}/go-on", timeout=SECONDS)
        assert [client.recv(SECONDS) for _ in range(200)] == [str(size)] * 200
        sending.join()
        until_waiting(server, [0, 0])
