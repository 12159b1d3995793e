"""`asyncflask.socketio` in several processes, connected by Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection

from socketio_apps.raw import SECONDS, ask, emit, open_websocket, receive
from support.redis import Redis, needs_redis
from support.servers import Server

APPS = Path(__file__).parent / "socketio_apps"
CONNECTIONS = 200

pytestmark = needs_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture
def server(redis: Redis) -> Iterator[Server]:
    args = ["--workers", "2", "--no-access-log"]
    with Server("everything:app", app_dir=APPS, args=args, env={"QUEUE": redis.url}) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def clients(server: Server, redis: Redis) -> Iterator[list[ClientConnection]]:
    """Two, each with another worker of the server."""
    deadline = time.monotonic() + SECONDS
    while server.output.count("Application startup complete") < 2:
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)
    with ExitStack() as stack:
        found: dict[int, ClientConnection] = {}
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(open_websocket(server))
            found.setdefault(ask(connection, "where")[0], connection)
            if len(found) == 2:
                break
        assert len(found) == 2, "All connections went to one worker."
        deadline = time.monotonic() + SECONDS
        while not redis.ask("PUBSUB", "NUMSUB", "flask-socketio").endswith(b":2\r\n"):
            assert time.monotonic() < deadline, server.output
            time.sleep(0.02)
        yield list(found.values())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_view_of_one_worker(server: Server, clients: list[ClientConnection], colour: str) -> None:
    for number in range(5):
        assert (
            httpx.get(f"{server.url}/news/{colour}/{number}", timeout=SECONDS).status_code == 200
        )
        for client in clients:
            assert receive(client) == ["news", str(number)]


def test_handlers(clients: list[ClientConnection]) -> None:
    ada, bob = clients
    emit(ada, "all", "hello")
    assert [receive(client) for client in clients] == [["news", "hello"]] * 2
    for client in clients:
        ask(client, "enter", "tea")
    emit(bob, "say to the others", "tea", "from bob")
    assert receive(ada) == ["message", "from bob"]
    emit(ada, "sync", {"only": "ada"})
    assert receive(ada) == ["answer", {"only": "ada"}]
    emit(bob, "all", "end")
    assert [receive(client) for client in clients] == [["news", "end"]] * 2


def test_acknowledgement_from_another_worker(clients: list[ClientConnection]) -> None:
    ada, bob = clients
    sid = ask(bob, "where")[1]
    ada.send(f'427["ask another", "{sid}", "who"]')
    packet = str(bob.recv(SECONDS))
    number = packet[2 : packet.index("[")]
    assert packet == f'42{number}["question","who"]'
    bob.send(f'43{number}["bob"]')
    assert receive(ada) == ["bob"]


def test_disconnected_from_another_worker(server: Server, clients: list[ClientConnection]) -> None:
    ada, bob = clients
    emit(ada, "remove", ask(bob, "where")[1])
    assert bob.recv(SECONDS) == "41"
    deadline = time.monotonic() + SECONDS
    while "left: True server disconnect" not in server.output:
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)


EXTERNAL = """
import asyncio, sys
from asyncflask.socketio import SocketIO

socketio = SocketIO(message_queue=sys.argv[1])
socketio.emit("news", "plain")

async def main():
    await socketio.emit("news", b"binary", namespace="/")
    socketio.send("text")  # begins at once

for _ in range(2):  # on loops of their own
    asyncio.run(main())
socketio.emit("news", "end")
"""


def test_process_without_an_app(redis: Redis, clients: list[ClientConnection]) -> None:
    command = [sys.executable, "-c", EXTERNAL, redis.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr  # a connection may have to be made anew on each loop
    for client in clients:
        texts: list[str] = []
        while len(texts) < 6:
            packet = client.recv(SECONDS)
            if isinstance(packet, bytes):
                texts.append(packet.decode())
            elif packet.startswith("42"):
                texts.append(json.loads(packet[2:])[1])
        # What is not awaited may be overtaken.
        assert sorted(texts) == sorted(["plain", *["binary", "text"] * 2, "end"])
        assert texts[0] == "plain"
