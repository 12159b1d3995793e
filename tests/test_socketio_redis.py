"""`asyncflask.socketio` in several processes, which hear of each other through Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from socketio_apps.raw import ask, emit, open_websocket, receive
from support.redis import Redis, needs_redis
from support.servers import Server

APPS = Path(__file__).parent / "socketio_apps"
CONNECTIONS = 60

pytestmark = needs_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture
def clients(redis: Redis) -> Iterator[list[ClientConnection]]:
    """Two, each with another worker of one server; that server's URL is `clients.url`."""
    args = ["--workers", "2", "--no-access-log"]
    env = {"MESSAGE_QUEUE": redis.url}
    with (
        Server("everything:app", app_dir=APPS, args=args, env=env) as server,
        ExitStack() as stack,
    ):
        found: dict[int, ClientConnection] = {}
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(open_websocket(server))
            pid, _sid = ask(connection, "where")
            found.setdefault(pid, connection)
            if len(found) == 2:
                break
        assert len(found) == 2, "All connections went to one worker."
        stack.pop_all()
        with ExitStack() as kept:
            for connection in found.values():
                kept.enter_context(connection)
            yield list(found.values())
        assert "Traceback" not in server.output, server.output
