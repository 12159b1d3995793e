"""SIGTERM when nothing moves: while all slots for sync code are taken and others wait for one,
while Redis hangs, and while it is gone. The process exits with 0 within its timeout."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from contract.raw import SECONDS
from socketio_apps.raw import PATH, emit, open_websocket
from support.redis import Redis, needs_redis
from support.servers import HOST, Process

APPS = Path(__file__).parent / "apps"
GRACE = "--timeout-graceful-shutdown", "3"
UVICORN = "uvicorn", "full:app", "--host", HOST, "--port", "{port}", *GRACE
WAYS = {
    "uvicorn": UVICORN,
    "workers": (
        "uvicorn",
        "full:app",
        "--host",
        HOST,
        "--port",
        "{port}",
        *GRACE,
        "--workers",
        "2",
    ),
    "run": ("asyncflask", "--app", "full", "run", "--host", HOST, "--port", "{port}"),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, way: Sequence[str], **env: str) -> Process:
    command = [sys.executable, "-m", *way]
    return stack.enter_context(Process(command, cwd=APPS, env=env))


def ask(stack: ExitStack, server: Process, path: str) -> None:
    """A request whose answer nobody waits for here."""

    def get() -> None:
        with suppress(httpx.HTTPError):
            httpx.get(server.url + path, timeout=SECONDS)

    thread = threading.Thread(target=get)
    thread.start()
    stack.callback(thread.join)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(server: Process) -> int:
    return int(httpx.get(f"{server.url}/begun", timeout=SECONDS).text)


def stop(server: Process) -> None:
    """The process must end by itself, long before it would be killed."""
    assert server.stop() == 0, server.output
    assert "Fatal" not in server.output, server.output


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_requests_wait_for_a_slot(way: Sequence[str], stack: ExitStack) -> None:
    server = start(stack, way)
    for _ in range(12):
        ask(stack, server, "/block")
    until(lambda: begun(server) == 3)
    stop(server)


@pytest.mark.parametrize("way", [WAYS["uvicorn"], WAYS["run"]], ids=["uvicorn", "run"])
def test_websockets_wait_for_a_slot(way: Sequence[str], stack: ExitStack) -> None:
    server = start(stack, way)
    for _ in range(3):
        stack.enter_context(connect(f"{server.ws_url}/block", close_timeout=0.1))
    until(lambda: begun(server) == 3)
    for _ in range(3):
        stack.enter_context(connect(f"{server.ws_url}/room/r", close_timeout=0.1))
        ask(stack, server, "/block")
    stop(server)


@pytest.mark.parametrize("way", [WAYS["uvicorn"], WAYS["run"]], ids=["uvicorn", "run"])
def test_events_wait_for_a_slot(way: Sequence[str], stack: ExitStack) -> None:
    server = start(stack, way)
    for _ in range(3):
        client = stack.enter_context(open_websocket(server, close_timeout=0.1))
        for _ in range(20):
            emit(client, "block")
    until(lambda: begun(server) == 2)
    ask(stack, server, "/block")
    until(lambda: begun(server) == 3)
    for _ in range(3):
        ask(stack, server, "/block")
    stop(server)


# -- Redis


@pytest.fixture(params=["hangs", "is gone"])
def lose(request: pytest.FixtureRequest) -> Callable[[Redis], None]:
    def lose(redis: Redis) -> None:
        (redis.freeze if request.param == "hangs" else redis.stop)()

    return lose


@needs_redis
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_redis_is_away(
    way: Sequence[str], stack: ExitStack, lose: Callable[[Redis], None]
) -> None:
    redis = stack.enter_context(Redis())
    server = start(stack, way, FLASK_ROOMS_URL=redis.url)
    for number in range(4):
        ws = stack.enter_context(connect(f"{server.ws_url}/room/{number}", close_timeout=0.1))
        while ws.recv(SECONDS) != "joined":
            pass
        ws.send("before")
    lose(redis)
    ws.send("after")
    for _ in range(12):  # more than there are slots; they wait for Redis
        ask(stack, server, "/send")
    stop(server)


@needs_redis
@pytest.mark.parametrize("way", [WAYS["uvicorn"], WAYS["run"]], ids=["uvicorn", "run"])
def test_redis_of_socketio_is_away(
    way: Sequence[str], stack: ExitStack, lose: Callable[[Redis], None]
) -> None:
    redis = stack.enter_context(Redis())
    server = start(stack, way, FLASK_ROOMS_URL=redis.url, QUEUE="1")
    client = stack.enter_context(open_websocket(server, close_timeout=0.1))
    httpx.get(f"{server.url}/emit", timeout=SECONDS)
    assert client.recv(SECONDS) == '42["news",1]'
    lose(redis)
    for _ in range(3):
        ask(stack, server, "/emit")
    assert httpx.get(f"{server.url}{PATH}polling", timeout=SECONDS).status_code == 200
    stop(server)
