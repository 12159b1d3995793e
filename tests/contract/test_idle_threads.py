"""Long-lived clients take no threads from requests: those that need none give theirs back; the
others are limited."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from contract.raw import PARSERS, SECONDS, Connection, Parser, get, serve
from support.servers import Server

MANY = 30
"""More than the server has threads."""


@pytest.fixture(params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("idle_threads:app", request.param) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def open_socket(stack: ExitStack, server: Server, path: str) -> ClientConnection:
    ws = stack.enter_context(connect(f"{server.ws_url}{path}", ping_interval=None))
    ws.send("hello")
    assert ws.recv(SECONDS) == "hello"
    return ws


def until_busy(server: Server, number: int) -> None:
    deadline = time.monotonic() + SECONDS
    while (reply := get(server, "/busy")).body != str(number).encode():
        assert time.monotonic() < deadline, reply
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["/stream", "/context", "/events"])
def test_streams_behind_a_sync_hook(server: Server, path: str) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            stream = stack.enter_context(Connection(server))
            stream.request(path)
            stream.read_until(b"tick\n")
        until_busy(server, 1)


def test_websockets_behind_a_sync_hook(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            open_socket(stack, server, "/async")
        until_busy(server, 1)


@pytest.mark.limit("WEBSOCKET_THREADS")
@pytest.mark.parametrize(("env", "most"), [({"FLASK_WEBSOCKET_THREADS": "4"}, 4), ({}, 10)])
@pytest.mark.parametrize("path", ["/sync", "/async"])
@pytest.mark.parametrize("parser", PARSERS)
def test_websockets_that_hold_threads(
    parser: Parser, path: str, env: dict[str, str], most: int
) -> None:
    """Half of all at most, so that requests have the other half."""
    env = {**env, "TEARDOWN": "1"}
    with serve("idle_threads:app", parser, env=env) as server, ExitStack() as stack:
        sockets = [open_socket(stack, server, path) for _ in range(most)]
        with pytest.raises(InvalidStatus) as denied:
            open_socket(stack, server, path)
        assert denied.value.response.status_code == 503
        assert denied.value.response.headers["Retry-After"] == "5"
        assert f"{most} threads for WebSockets are in use" in server.output
        until_busy(server, most + 1)
        sockets[0].close()
        until_busy(server, most)
        open_socket(stack, server, path)
        assert "Traceback" not in server.output, server.output
