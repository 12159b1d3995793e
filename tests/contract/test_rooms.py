"""Rooms in two server processes, through a real Redis that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from support.redis import Redis, needs_redis
from support.servers import Server

APPS = Path(__file__).parent / "apps"
SECONDS = 45.0

pytestmark = needs_redis


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


def start(stack: ExitStack, redis: Redis) -> Server:
    env = {"FLASK_ROOMS_URL": redis.url, "FLASK_ROOMS_PRESENCE_TIMEOUT": "3"}
    return stack.enter_context(Server("rooms:app", app_dir=APPS, env=env))


@pytest.fixture
def servers(redis: Redis) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [start(stack, redis), start(stack, redis)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def join(stack: ExitStack, server: Server, path: str) -> ClientConnection:
    # Whatever comes is taken in, also while the test does not look.
    connection = stack.enter_context(
        connect(f"{server.ws_url}/{path}", ping_interval=None, max_queue=None)
    )
    assert json.loads(connection.recv(SECONDS)) == {"in_process": server.pid}
    return connection


def members(server: Server, room: str = "r") -> list[tuple[str, int]]:
    return [
        tuple(pair) for pair in httpx.get(f"{server.url}/members/{room}", timeout=SECONDS).json()
    ]


def wait_for(expected: Any, found: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while (last := found()) != expected:
        assert time.monotonic() < deadline, last
        time.sleep(0.05)


def test_two_processes_share_rooms(servers: list[Server], stack: ExitStack, redis: Redis) -> None:
    one, two = servers
    ada, bob = join(stack, one, "async/r/ada"), join(stack, two, "plain/r/bob")
    eve = join(stack, two, "async/elsewhere/eve")
    for server in servers:
        assert members(server) == [("ada", one.pid), ("bob", two.pid)]
    ada.send("hello")
    assert (ada.recv(SECONDS), bob.recv(SECONDS)) == ("ada: hello", "ada: hello")
    bob.send("é")
    assert (ada.recv(SECONDS), bob.recv(SECONDS)) == ("bob: é", "bob: é")
    httpx.post(f"{one.url}/send/r", content=b"from a view", timeout=SECONDS).raise_for_status()
    assert (ada.recv(SECONDS), bob.recv(SECONDS)) == ("from a view", "from a view")
    env = {**os.environ, "FLASK_ROOMS_URL": redis.url}
    command = [sys.executable, "-W", "error", "-m", "asyncflask", "--app", "rooms", "send"]
    result = subprocess.run(
        [*command, "r", "from a command"],
        cwd=APPS,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (ada.recv(SECONDS), bob.recv(SECONDS)) == ("from a command", "from a command")
    eve.send("alone")
    assert eve.recv(SECONDS) == "eve: alone"
    bob.close()
    assert json.loads(ada.recv(SECONDS)) == {"left": ["bob"]}
    assert members(one) == [("ada", one.pid)]


def test_room_is_followed_and_followed_again(servers: list[Server], stack: ExitStack) -> None:
    one, two = servers
    client = stack.enter_context(httpx.Client(timeout=SECONDS))
    after: str | None = None
    for first in 0, 10:
        params: dict[str, str] = {} if after is None else {"after": after}
        with client.stream("GET", f"{one.url}/follow/r", params=params) as response:
            lines = response.iter_lines()
            assert next(lines) == "begin"
            if after is not None:  # what came in between
                assert next(lines).split()[1] == "between"
            else:
                wait_for(True, lambda: has_subscriber(two))
            for number in range(first, first + 10):
                id = client.post(f"{two.url}/send/r", content=str(number)).json()["id"]
                assert next(lines) == f"{id} {number}"
                after = id
        wait_for(False, lambda: has_subscriber(two))  # the client has left
        client.post(f"{two.url}/send/r", content="between")


def has_subscriber(server: Server) -> bool:
    redis = Redis.__new__(Redis)
    redis.port = int(server._env["FLASK_ROOMS_URL"].split(":")[2].partition("/")[0])
    return b"rooms:room:r" in redis.ask("PUBSUB", "CHANNELS")


@pytest.mark.parametrize("persistent", [False, True], ids=["forgetful", "persistent"])
def test_redis_restarts_in_the_middle(stack: ExitStack, persistent: bool) -> None:
    """Sockets live on; messages flow again, none twice and in each sender's order."""
    redis = stack.enter_context(Redis(persistent=persistent))
    one, two = start(stack, redis), start(stack, redis)
    ada, bob = join(stack, one, "async/r/ada"), join(stack, two, "async/r/bob")
    stop = threading.Event()
    sent: dict[str, list[str]] = {one.url: [], two.url: []}
    refused: list[int] = []

    def send_all_the_time(server: Server) -> None:
        number = 0
        while not stop.is_set():
            text = f"{server.pid} {number}"
            answer = httpx.post(f"{server.url}/send/r", content=text, timeout=SECONDS)
            (sent[server.url].append(text) if answer.is_success else refused.append(number))
            number += 1

    threads = [threading.Thread(target=send_all_the_time, args=[s]) for s in (one, two)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            wait_for_more(sent, 15)
            lost = [server.output.count("lost the connection") + 1 for server in (one, two)]
            redis.stop()
            wait_for(
                lost, lambda: [server.output.count("lost the connection") for server in (one, two)]
            )
            redis.start()
        wait_for_more(sent, 15)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert refused == []  # all was sent within the time to try
    ada.send("the end")
    for connection in ada, bob:
        texts = []
        while (text := str(connection.recv(SECONDS))) != "ada: the end":
            if "left" not in text:
                texts.append(text)
        assert len(texts) == len(set(texts)), "a message came twice"
        for server in one, two:
            own = [text for text in texts if text.startswith(f"{server.pid} ")]
            assert own == sorted(own, key=lambda text: int(text.split()[1]))
            if persistent:
                assert own == sent[server.url]  # what the history keeps is not lost either
            else:
                assert set(own) <= set(sent[server.url])
                assert own[-1] == sent[server.url][-1]
    for server in one, two:
        wait_for([("ada", one.pid), ("bob", two.pid)], lambda server=server: members(server))
        assert server.output.count("lost the connection") >= 1
        assert "connected to Redis at" in server.output
        assert "Traceback" not in server.output


def wait_for_more(sent: dict[str, list[str]], number: int) -> None:
    before = {url: len(texts) for url, texts in sent.items()}
    wait_for(True, lambda: all(len(sent[url]) >= before[url] + number for url in sent))


def test_members_of_a_killed_process_leave(
    servers: list[Server], stack: ExitStack, redis: Redis
) -> None:
    one, two = servers
    env = {"FLASK_ROOMS_URL": redis.url, "FLASK_ROOMS_PRESENCE_TIMEOUT": "3"}
    doomed = Server(
        "rooms:app", app_dir=APPS, env=env
    )  # not 'with', which asks for an orderly end
    doomed.start()
    stack.callback(doomed.close)
    join(stack, one, "async/r/ada")
    listener = join(stack, two, "async/r/bob")
    join(stack, doomed, "async/r/eve")
    wait_for(["ada", "bob", "eve"], lambda: [name for name, _ in members(two)])
    os.kill(doomed.pid, signal.SIGKILL)
    wait_for(["ada", "bob"], lambda: [name for name, _ in members(one)])
    assert json.loads(listener.recv(SECONDS)) == {"left": ["eve"]}
    assert b"eve" not in redis.ask("HVALS", "rooms:members:r")


def test_room_of_nobody_is_not_listened_to(
    servers: list[Server], stack: ExitStack, redis: Redis
) -> None:
    one, _ = servers
    ada = join(stack, one, "async/r/ada")
    bob = join(stack, one, "async/s/bob")
    assert redis.ask("PUBSUB", "NUMSUB", "rooms:room:r").endswith(b":1\r\n")
    ada.close()
    wait_for(True, lambda: redis.ask("PUBSUB", "NUMSUB", "rooms:room:r").endswith(b":0\r\n"))
    assert redis.ask("PUBSUB", "NUMSUB", "rooms:room:s").endswith(b":1\r\n")
    bob.close()
    wait_for(1, lambda: redis.ask("CLIENT", "LIST").count(b"id="))  # the one that asks


def test_stalled_redis_connection_is_noticed(stack: ExitStack, redis: Redis) -> None:
    one = start(stack, redis)
    ada = join(stack, one, "async/r/ada")
    redis.freeze()
    try:
        wait_for(True, lambda: "lost the connection" in one.output)
    finally:
        redis.thaw()
    wait_for(True, lambda: "connected to Redis at" in one.output)
    ada.send("hello")
    assert ada.recv(SECONDS) == "ada: hello"
