"""One over each limit of rooms, over real sockets: in memory, and in a real Redis."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asyncflask.rooms.limits import MESSAGE_BYTES
from support.redis import Redis, needs_redis
from support.servers import Server

APPS = Path(__file__).parent / "apps"
SECONDS = 45.0


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def redis(request: pytest.FixtureRequest) -> Iterator[Redis | None]:
    if request.param == "memory":
        yield None
    else:
        with Redis() as redis:
            yield redis


def start(redis: Redis | None, **settings: object) -> Server:
    env = {f"FLASK_ROOMS_{key}": str(value) for key, value in settings.items()}
    if redis is not None:
        env["FLASK_ROOMS_URL"] = redis.url
    return Server("rooms_limits:app", app_dir=APPS, env=env)


@pytest.fixture
def server(redis: Redis | None) -> Iterator[Server]:
    with start(redis) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=SECONDS) as http:
        yield http


def open_websocket(stack: ExitStack, server: Server, path: str = "ws") -> ClientConnection:
    return stack.enter_context(connect(f"{server.ws_url}/{path}", ping_interval=None))


def ask(ws: ClientConnection, *words: Any) -> Any:
    ws.send(json.dumps(words))
    while (answer := json.loads(ws.recv(SECONDS)))[0] != words[0]:
        pass
    return answer[1]


def refused(ws: ClientConnection, *words: Any) -> str:
    """Why the connection was closed with 1008."""
    with pytest.raises(ConnectionClosed) as closed:
        ask(ws, *words)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    return closed.value.rcvd.reason


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send(http: httpx.Client, room: str, text: str) -> Any:
    return http.post("/send", params={"room": room}, content=text).json()["id"]


def history(http: httpx.Client, room: str) -> Any:
    return http.get("/history", params={"room": room}).json()


def total(redis: Redis | None) -> int | None:
    """What Redis counts for all histories together."""
    if redis is None:
        return None
    return int(redis.ask("GET", "rooms:total").split()[-1])


# -- history


@pytest.mark.limit("ROOMS_HISTORY_BYTES")
def test_bytes_of_a_history(http: httpx.Client, redis: Redis | None) -> None:
    for number in range(9):
        assert send(http, "r", "x" * (3000 + number)) is not None
    assert history(http, "r") == [3006, 3007, 3008]
    send(http, "r", "x" * (9_000 - MESSAGE_BYTES))
    assert history(http, "r") == [9_000 - MESSAGE_BYTES]
    assert total(redis) in (None, 9_000)


def test_characters_outside_of_ascii_count_as_python_keeps_them(http: httpx.Client) -> None:
    for _ in range(5):
        send(http, "r", "é" * 1000)
    assert history(http, "r") == [1000, 1000]


def test_message_that_no_history_takes(
    http: httpx.Client, server: Server, stack: ExitStack
) -> None:
    ws = open_websocket(stack, server)
    ask(ws, "join", "r")
    send(http, "r", "first")
    assert send(http, "r", "x" * (10_001 - MESSAGE_BYTES)) is None
    assert ws.recv(SECONDS) == "first"
    assert len(ws.recv(SECONDS)) == 10_001 - MESSAGE_BYTES
    assert history(http, "r") == [5]
    assert "larger than ROOMS_HISTORY_BYTES (10000)" in server.output


@pytest.mark.limit("ROOMS_HISTORY_TOTAL_BYTES")
def test_bytes_of_all_histories(http: httpx.Client, server: Server, redis: Redis | None) -> None:
    for room in "abcd":
        for _ in range(3):
            send(http, room, "x" * 3000)
        if room == "c":
            send(http, "a", "x")  # now the one sent to longest ago is b
    assert [len(history(http, room)) for room in "abcd"] == [3, 0, 3, 3]
    assert "ROOMS_HISTORY_TOTAL_BYTES (30000) or ROOMS_HISTORY_ROOMS" in server.output
    assert total(redis) in (None, 8 * (3000 + MESSAGE_BYTES) + 1 + MESSAGE_BYTES)


@pytest.mark.limit("ROOMS_HISTORY_ROOMS")
def test_number_of_histories(http: httpx.Client, redis: Redis | None) -> None:
    for number in range(20):
        send(http, f"room {number}", "x")
    kept = [number for number in range(20) if history(http, f"room {number}")]
    assert kept == list(range(12, 20))
    assert total(redis) in (None, 8 * (1 + MESSAGE_BYTES))


def test_bytes_of_histories_that_expired_are_free_again(redis: Redis | None) -> None:
    with (
        start(redis, HISTORY_SECONDS=1) as server,
        httpx.Client(base_url=server.url, timeout=SECONDS) as http,
    ):
        for room in "abc":
            send(http, room, "x" * 8000)
        until(lambda: not any(history(http, room) for room in "abc"))

        def only_new() -> bool:
            assert send(http, "d", "x") is not None
            return total(redis) is None or total(redis) % (1 + MESSAGE_BYTES) == 0  # type: ignore[operator]

        until(only_new)
        assert "ROOMS_HISTORY_TOTAL_BYTES" not in server.output


@needs_redis
def test_redis_that_lost_a_part_counts_anew() -> None:
    """Such as one that evicts keys when its memory is full."""
    with (
        Redis() as redis,
        start(redis) as server,
        httpx.Client(base_url=server.url, timeout=SECONDS) as http,
    ):
        for lost in "rooms:sizes", "rooms:kept", "rooms:counts:a", "rooms:stream:a", "rooms:total":
            send(http, "a", "x" * 9000)
            redis.ask("DEL", lost)
            for room in "bcdefa":
                send(http, room, "x" * 9000)
                assert history(http, room)[-1:] == [9000], lost
        redis.ask("SET", "rooms:total", "1000000")
        send(http, "a", "x")
        assert history(http, "a")[-1:] == [1]
        assert total(redis) == int(redis.ask("HGET", "rooms:sizes", "a").split()[-1])


# -- who is there


@pytest.mark.limit("ROOMS_JOINED")
@pytest.mark.parametrize("path", ["ws", "sync"])
def test_rooms_of_one_connection(server: Server, stack: ExitStack, path: str) -> None:
    ws = open_websocket(stack, server, path)
    for room in "abc":
        ask(ws, "join", room)
    if path == "ws":
        ask(ws, "leave", "a")
        ask(ws, "join", "d")
    reason = "This WebSocket is in 3 rooms, the maximum (ROOMS_JOINED)."
    assert refused(ws, "join", "e") == reason
    assert f"WARNING in hub: A client could not join a room: {reason}" in server.output
    until(lambda: httpx.get(f"{server.url}/state", timeout=SECONDS).json()["rooms"] == 0)


@pytest.mark.limit("ROOMS_MEMBERS")
def test_members_of_one_room(server: Server, http: httpx.Client, stack: ExitStack) -> None:
    sockets = [open_websocket(stack, server) for _ in range(6)]
    for number in range(4):
        ask(sockets[number], "join", "r", f"member {number}")
    ask(sockets[4], "join", "r")  # without a name
    ask(sockets[5], "join", "s", "in another room")
    reason = "The room 'r' has 4 members, the maximum (ROOMS_MEMBERS)."
    assert refused(sockets[5], "join", "r", "one more") == reason
    assert f"A client could not join a room: {reason}" in server.output
    assert http.get("/members", params={"room": "r"}).json() == [
        f"member {number}" for number in range(4)
    ]
    sockets[0].close()
    until(lambda: len(http.get("/members", params={"room": "r"}).json()) == 3)
    ask(open_websocket(stack, server), "join", "r", "one more")


@pytest.mark.limit("ROOMS_MEMBER_BYTES")
def test_bytes_of_one_member(server: Server, stack: ExitStack) -> None:
    for name, info in [("n" * 1000, None), ("n", "i" * 1000), ("n", ["\x00"] * 120)]:
        reason = refused(open_websocket(stack, server), "join", "r", name, info)
        assert "more than ROOMS_MEMBER_BYTES (1000)" in reason
    ask(open_websocket(stack, server), "join", "r", "n", "i" * 900)


@pytest.mark.limit("ROOMS_MEMBERS_TOTAL_BYTES")
def test_bytes_of_all_members(server: Server, http: httpx.Client, stack: ExitStack) -> None:
    sockets = [open_websocket(stack, server) for _ in range(7)]
    for number, ws in enumerate(sockets[:6]):
        ask(ws, "join", f"room {number}", "n", "i" * 990)
    assert "ROOMS_MEMBERS_TOTAL_BYTES" in refused(sockets[6], "join", "r", "n", "i" * 990)
    ask(sockets[0], "leave", "room 0")
    ask(sockets[0], "join", "r", "n", "i" * 990)
    for ws in sockets:
        ws.close()

    def place(room: str) -> bool:
        ws = open_websocket(stack, server)
        try:
            return ask(ws, "join", room, "n", "i" * 990) is None
        except ConnectionClosed:
            return False

    for number in range(6):
        until(partial(place, f"another {number}"))


@needs_redis
def test_members_of_a_process_that_was_killed_count_no_more(stack: ExitStack) -> None:
    redis = stack.enter_context(Redis())
    one, two = stack.enter_context(start(redis)), start(redis)
    ask(open_websocket(stack, one), "join", "elsewhere", "so that it looks who is gone")
    two.start()
    stack.callback(two.close)
    for number in range(6):
        ws = open_websocket(stack, two)
        ask(ws, "join", f"room {number}", "n", "i" * 990)
    refused(open_websocket(stack, one), "join", "r", "n", "i" * 990)
    two.stop(signal.SIGKILL)

    def free() -> bool:
        return redis.ask("HLEN", "rooms:presence") == b":1\r\n"

    until(free)
    for number in range(6):
        ask(open_websocket(stack, one), "join", f"room {number}", "n", "i" * 990)


@pytest.mark.limit("ROOMS_CHANGES")
def test_changes_that_are_still_to_be_told(
    server: Server, http: httpx.Client, stack: ExitStack
) -> None:
    """Who comes waits while the app does not keep up with those who came before."""
    http.post("/hold")
    sockets = [open_websocket(stack, server) for _ in range(8)]
    for number, ws in enumerate(sockets):
        ws.send(json.dumps(["join", f"room {number}", "n"]))
    for ws in sockets[:3]:
        ws.recv(SECONDS)
    assert http.get("/state").json()["changes"] <= 2
    with pytest.raises(TimeoutError):
        sockets[-1].recv(0.1)
    http.post("/go-on")
    for ws in sockets[3:]:
        assert json.loads(ws.recv(SECONDS)) == ["join", None]


# -- what is no name, no id, no message


@pytest.mark.limit("ROOMS_NAME_BYTES")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["join", "n" * 41], "ROOMS_NAME_BYTES"),
        (["join", ""], "ROOMS_NAME_BYTES"),
        (["join", "\ud800"], "ROOMS_NAME_BYTES"),
        (["send", "é" * 21, "x"], "ROOMS_NAME_BYTES"),
        (["send", "r", "\ud800"], "cannot be encoded as UTF-8"),
        (["after", "r", "yesterday"], "is not a message id"),
    ],
)
def test_what_is_none_by_websocket(
    server: Server, stack: ExitStack, words: list[Any], why: str
) -> None:
    ws = open_websocket(stack, server)
    assert why in refused(ws, *words)


def test_what_is_none_by_http(http: httpx.Client) -> None:
    answer = http.post("/send", params={"room": "n" * 41}, content="x")
    assert answer.status_code == 400
    assert "ROOMS_NAME_BYTES" in answer.text
    answer = http.get("/history", params={"room": "r", "after": "yesterday"})
    assert answer.status_code == 400
    assert "is not a message id" in answer.text
