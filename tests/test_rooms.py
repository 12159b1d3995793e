"""Rooms in one process, in memory and in Redis. For several processes, see
`contract/test_rooms.py`."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from asyncflask import Flask, request, websocket
from asyncflask.asgi.lifespan import lifespan
from asyncflask.asgi.loops import background_loop
from asyncflask.asgi.waiting import wait
from asyncflask.async_testing import AsyncClient
from asyncflask.rooms import (
    Change,
    FellBehind,
    Member,
    Message,
    Rooms,
    RoomsError,
    RoomsValueError,
)
from asyncflask.rooms import redis as rooms_redis
from asyncflask.rooms.limits import MESSAGE_BYTES
from asyncflask.rooms.scripts import PUBLISH
from support.redis import Redis, needs_redis

SECONDS = 45.0


@pytest.fixture(scope="module")
def redis_of_all() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture
def redis(redis_of_all: Redis) -> Redis:
    redis_of_all.ask("FLUSHALL")
    return redis_of_all


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(rooms_redis, "IDLE_SECONDS", 0.1)
    if request.param == "memory":
        return "memory://"
    redis: Redis = request.getfixturevalue("redis")
    return redis.url


@pytest.fixture
def app(url: str) -> Flask:
    app = Flask("rooms")
    app.config["ROOMS_URL"] = url
    return app


@pytest.fixture
def rooms(app: Flask) -> Rooms:
    rooms = Rooms(app)

    @app.websocket("/async/<room>")
    async def async_member(room: str) -> None:
        options = request.args
        async with rooms.join(
            room,
            options.get("name"),
            info=options.get("info"),
            history=options.get("history", 0, int),
            after=options.get("after"),
        ):
            async for message in websocket:
                await rooms.send(room, message, exclude_self="x" in options)

    @app.websocket("/plain/<room>")
    def plain_member(room: str) -> None:
        with rooms.sync.join(room, request.args.get("name")) as join:
            assert join.active
            for message in websocket.sync:
                rooms.sync.send(room, message, exclude_self="x" in request.args)
        assert not join.active

    return rooms


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until_followed(hub_of_app: Any, times: int = 1, room: str = "r") -> None:
    """Wait until so many listen to a room live, or have had all that they are behind by."""
    async with asyncio.timeout(SECONDS):
        while (of := hub_of_app.rooms.get(room)) is None or (
            len(of.followers) + list(of.arriving.values()).count(None) < times
        ):
            await asyncio.sleep(0.01)


def there(app: Flask, rooms: Rooms, room: str = "r") -> list[str]:
    with app.app_context():
        return [member.name for member in rooms.sync.members(room)]


# -- sending


@pytest.mark.parametrize("first", ["async", "plain"])
@pytest.mark.parametrize("second", ["async", "plain"])
def test_who_is_in_a_room_gets_what_is_sent_there(
    app: Flask, rooms: Rooms, first: str, second: str
) -> None:
    client = app.test_client()
    with (
        client.websocket_connect(f"/{first}/r?name=ada") as ada,
        client.websocket_connect(f"/{second}/r?name=bob") as bob,
        client.websocket_connect("/async/other?name=eve") as eve,
    ):
        until(lambda: there(app, rooms) == ["ada", "bob"])
        until(lambda: there(app, rooms, "other") == ["eve"])
        ada.send("hello")
        bob_gets = bob.receive()
        bob.send(b"\xff\x00")
        assert [ada.receive(), ada.receive(), bob_gets, bob.receive()] == [
            *("hello", b"\xff\x00"),
            *("hello", b"\xff\x00"),
        ]
        eve.send("alone")
        assert eve.receive() == "alone"


@pytest.mark.parametrize("colour", ["async", "plain"])
def test_sender_can_be_left_out(app: Flask, rooms: Rooms, colour: str) -> None:
    client = app.test_client()
    with (
        client.websocket_connect(f"/{colour}/r?name=ada&x=1") as ada,
        client.websocket_connect(f"/{colour}/r?name=bob") as bob,
    ):
        until(lambda: len(there(app, rooms)) == 2)
        ada.send("from ada")
        assert bob.receive() == "from ada"
        bob.send("from bob")
        assert bob.receive() == "from bob"
        assert ada.receive() == "from bob"


def test_connections_can_be_left_out_by_id(app: Flask, rooms: Rooms) -> None:
    client = app.test_client()
    with (
        client.websocket_connect("/async/r?name=ada") as ada,
        client.websocket_connect("/async/r?name=bob") as bob,
        app.app_context(),
    ):
        until(lambda: len(rooms.sync.members("r")) == 2)
        ids = {member.name: member.id for member in rooms.sync.members("r")}
        rooms.sync.send("r", "1", exclude=ids["ada"])
        rooms.sync.send("r", "2", exclude=[ids["bob"], "nobody's \n, id"])
        rooms.sync.send("r", "3", exclude="nobody's")
        assert [ada.receive(), ada.receive()] == ["2", "3"]
        assert [bob.receive(), bob.receive()] == ["1", "3"]


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("text", "text"),
        ("", ""),
        ("é ☃\n🎉", "é ☃\n🎉"),
        (b"", b""),
        (b"\x00\n\xff 1 2", b"\x00\n\xff 1 2"),
        (bytearray(b"x"), b"x"),
        ({"a": [1, None, "é"]}, None),
        ([1], "[1]"),
        (None, "null"),
        (17, "17"),
    ],
)
def test_text_bytes_and_json(app: Flask, rooms: Rooms, data: Any, payload: Any) -> None:
    client = app.test_client()
    with client.websocket_connect("/async/r?name=ada") as ada, app.app_context():
        until(lambda: there(app, rooms))
        rooms.sync.send("r", data)
        received = ada.receive()
        (message,) = rooms.sync.history("r")
    if payload is not None:
        assert received == payload
    else:
        assert app.json.loads(received) == data
    assert message.payload == received
    assert message.data == data
    assert message.is_json is not isinstance(data, str | bytes | bytearray)
    assert message.room == "r"
    assert message.time is not None and abs(message.time - time.time()) < 60


def test_what_cannot_be_sent_is_an_error_of_the_sender(app: Flask, rooms: Rooms) -> None:
    with app.app_context():
        with pytest.raises(TypeError):
            rooms.sync.send("r", object())
        with pytest.raises(RoomsValueError, match="cannot be encoded as UTF-8"):
            rooms.sync.send("r", "\ud800")
        # A client may send 1e999. What other clients cannot parse is not sent to them.
        for number in app.json.loads("[1e999, -1e999]"), [float("nan")], float("inf"):
            with pytest.raises(ValueError, match="is not a JSON number"):
                rooms.sync.send("r", number)
        names: list[Any] = ["", "x" * 257, None, 17, b"r", "\ud800"]
        for name in names:
            with pytest.raises(ValueError, match="room's name"):
                rooms.sync.send(name, "text")
        assert rooms.sync.history("r") == []


def test_views_background_tasks_and_commands_send(app: Flask, rooms: Rooms) -> None:
    @app.post("/plain")
    def plain() -> dict[str, Any]:
        return {"id": rooms.send("r", "plain view")}

    @app.post("/async")
    async def in_async() -> dict[str, Any]:
        return {"id": await rooms.send("r", "async view")}

    async def later(text: str) -> None:
        await rooms.send("r", text)

    def later_plain(text: str) -> None:
        rooms.sync.send("r", text)

    @app.post("/later")
    async def start() -> str:
        app.add_background_task(later, "async task")
        return ""

    @app.post("/later-plain")
    def start_plain() -> str:
        app.add_background_task(later_plain, "plain task")
        return ""

    @app.cli.command("say")
    @click.argument("text")
    def say(text: str) -> None:
        click.echo(rooms.send("r", text))

    client = app.test_client()
    with client.websocket_connect("/async/r?name=ada") as ada:
        until(lambda: there(app, rooms))
        id = client.post("/plain").get_json()["id"]
        assert ada.receive() == "plain view"
        assert client.post("/async").get_json()["id"] > id
        assert ada.receive() == "async view"
        client.post("/later")
        assert ada.receive() == "async task"
        client.post("/later-plain")
        assert ada.receive() == "plain task"
        result = app.test_cli_runner().invoke(args=["say", "command"])
        assert result.exit_code == 0
        assert ada.receive() == "command"


def test_order_of_a_sender_holds(app: Flask, rooms: Rooms) -> None:
    client = app.test_client()
    with client.websocket_connect("/async/r?name=ada") as ada:
        until(lambda: there(app, rooms))

        async def many() -> None:
            async with app.app_context():
                await asyncio.gather(*(rooms.send("r", number) for number in range(500)))

        wait(many())
        assert [ada.receive() for _ in range(500)] == [str(n) for n in range(500)]


# -- coming and going


def test_join_without_a_block_ends_with_the_socket(app: Flask, rooms: Rooms) -> None:
    @app.websocket("/await")
    async def in_async() -> None:
        await rooms.join("r", "ada")
        await rooms.join("s", "ada")
        async for _ in websocket:
            pass

    @app.websocket("/await-plain")
    def in_plain() -> None:
        rooms.join("r", "bob")
        for _ in websocket.sync:
            pass

    @app.websocket("/raises")
    async def raises() -> None:
        await rooms.join("r", "eve")
        await websocket.receive()
        raise LookupError

    logging.getLogger("rooms").disabled = True
    client = app.test_client()
    with (
        client.websocket_connect("/await"),
        client.websocket_connect("/await-plain"),
        client.websocket_connect("/raises") as eve,
    ):
        until(lambda: sorted(there(app, rooms)) == ["ada", "bob", "eve"])
        until(lambda: there(app, rooms, "s") == ["ada"])
        eve.send("x")
        until(lambda: sorted(there(app, rooms)) == ["ada", "bob"])
    until(lambda: not there(app, rooms) and not there(app, rooms, "s"))


def test_leave_and_come_back(app: Flask, rooms: Rooms) -> None:
    @app.websocket("/ws")
    async def handler() -> None:
        join = await rooms.join("r", "ada")
        await websocket.send("in")
        await websocket.receive()
        await rooms.leave("r")
        assert not join.active
        await rooms.leave("r")
        await join.leave()
        await websocket.send("out")
        await websocket.receive()
        async with rooms.join("r") as join:
            assert join.member is None
            await websocket.send("in again")
            await websocket.receive()

    client = app.test_client()
    with client.websocket_connect("/ws") as ws, app.app_context():
        assert ws.receive() == "in"
        rooms.sync.send("r", "1")
        assert ws.receive() == "1"
        ws.send("leave")
        assert ws.receive() == "out"
        assert rooms.sync.members("r") == []
        rooms.sync.send("r", "2")
        ws.send("join")
        assert ws.receive() == "in again"
        assert rooms.sync.members("r") == []
        rooms.sync.send("r", "3")
        assert ws.receive() == "3"
        ws.send("end")


def test_joining_elsewhere_is_an_error_that_says_what_to_write(app: Flask, rooms: Rooms) -> None:
    @app.get("/")
    async def view() -> str:
        await rooms.join("r")
        return ""

    client = app.test_client()
    app.testing = True
    with pytest.raises(RuntimeError, match=r"'rooms\.join' works in a WebSocket handler only"):
        client.get("/")
    with app.test_request_context("/"), pytest.raises(RuntimeError, match=r"rooms\.send\("):
        rooms.sync.leave("r")


def test_second_join_is_refused(app: Flask, rooms: Rooms) -> None:
    @app.websocket("/ws")
    async def handler() -> None:
        await rooms.join("r", "ada")
        with pytest.raises(RuntimeError, match=r"is already in the room 'r'.*rooms\.leave"):
            await rooms.join("r", "bob")
        await websocket.send("still in")
        await websocket.receive()

    with app.test_client().websocket_connect("/ws") as ws:
        assert ws.receive() == "still in"
        assert there(app, rooms) == ["ada"]
        ws.send("")


def test_join_that_is_not_awaited_is_noticed(app: Flask, rooms: Rooms) -> None:
    async def main() -> None:
        rooms.join("r")
        gc.collect()

    with pytest.warns(RuntimeWarning, match="never awaited"):
        asyncio.run(main())


def test_client_that_leaves_while_joining(app: Flask, rooms: Rooms) -> None:
    @app.websocket("/ws")
    async def handler() -> None:
        await websocket.send("")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(SECONDS)
        seen.append(websocket.closed)
        await rooms.join("r", "ada")

    seen: list[bool] = []
    with app.test_client().websocket_connect("/ws") as ws:
        ws.receive()
    assert seen == [True]
    assert there(app, rooms) == []


# -- presence


def test_members_say_who_and_since_when(app: Flask, rooms: Rooms) -> None:
    client = app.test_client()
    with (
        client.websocket_connect("/async/r?name=ada&info=tea"),
        app.app_context(),
    ):
        until(lambda: rooms.members("r"))
        with client.websocket_connect("/async/r?name=ada"), client.websocket_connect("/async/r"):
            until(lambda: len(rooms.sync.members("r")) == 2)
            first, second = rooms.sync.members("r")
            assert isinstance(first, Member)
            assert (first.name, first.info, second.name, second.info) == (
                "ada",
                "tea",
                "ada",
                None,
            )
            assert first.id != second.id
            assert abs(first.joined_at - time.time()) < 60
            assert first.joined_at <= second.joined_at
        until(lambda: rooms.sync.members("r") == [first])


def test_changes_are_told_in_order_to_functions_of_both_colours(app: Flask, rooms: Rooms) -> None:
    changes: list[tuple[str, list[str], list[str]]] = []

    @rooms.on_change
    async def in_async(change: Change) -> None:
        names = [member.name for member in await rooms.members(change.room)]
        await rooms.send(change.room, ["there", *names], keep=False)

    @rooms.on_change
    def fails(change: Change) -> None:
        raise LookupError("on purpose")

    @rooms.on_change
    def in_plain(change: Change) -> None:
        joined, left = ([m.name for m in part] for part in (change.joined, change.left))
        changes.append((change.room, joined, left))
        assert isinstance(rooms.members(change.room), list)

    logging.getLogger("rooms").disabled = True
    client = app.test_client()
    with client.websocket_connect("/async/r?name=ada") as ada:
        assert ada.receive_json() == ["there", "ada"]
        with client.websocket_connect("/async/r?name=bob"):
            assert ada.receive_json() == ["there", "ada", "bob"]
        assert ada.receive_json() == ["there", "ada"]
        with client.websocket_connect("/async/r"):  # nobody with a name
            pass
    until(lambda: len(changes) == 4)
    assert changes == [
        ("r", ["ada"], []),
        ("r", ["bob"], []),
        ("r", [], ["bob"]),
        ("r", [], ["ada"]),
    ]


# -- history


@pytest.mark.limit("ROOMS_HISTORY")
def test_history_is_bounded_in_number(app: Flask) -> None:
    app.config["ROOMS_HISTORY"] = 3
    rooms = Rooms(app)
    with app.app_context():
        assert rooms.sync.history("r") == []
        ids = [rooms.sync.send("r", str(number)) for number in range(5)]
        rooms.sync.send("s", "elsewhere")
        assert rooms.sync.send("r", "not kept", keep=False) is None
        messages = rooms.sync.history("r")
        assert [message.data for message in messages] == ["2", "3", "4"]
        assert [message.id for message in messages] == ids[2:]
        assert all(isinstance(message, Message) for message in messages)
        assert [m.data for m in rooms.sync.history("r", 2)] == ["3", "4"]
        assert [m.data for m in rooms.sync.history("r", after=ids[3])] == ["4"]
        assert [m.data for m in rooms.sync.history("r", after=ids[0])] == ["2", "3", "4"]
        assert rooms.sync.history("r", after=ids[4]) == []
        with pytest.raises(ValueError, match="'17' is not a message id"):
            rooms.sync.history("r", after="17")
        made_up: list[Any] = [17, b"1-1", ["1-1"], {}]
        for after in made_up:
            with pytest.raises(ValueError, match="is not a message id"):
                rooms.sync.history("r", after=after)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 0), (-1, 0), (-(10**30), 0), (True, 1), (2, 2), (10**30, 3), (None, 3)],
)
def test_any_number_may_be_asked_for(
    app: Flask, rooms: Rooms, count: int | None, expected: int
) -> None:
    @app.websocket("/ws")
    async def handler() -> None:
        await rooms.join("r", history=0 if count is None else count)
        await websocket.send("end")

    with app.app_context():
        for number in range(3):
            rooms.sync.send("r", str(number))
        assert len(rooms.sync.history("r", count)) == expected
    with app.test_client().websocket_connect("/ws") as ws:
        received = list(iter(ws.receive, "end"))
    assert len(received) == (0 if count is None else expected)


@pytest.mark.parametrize("count", ["3", 1.5, [1], {}])
def test_what_is_no_number_is_an_error_at_once(app: Flask, rooms: Rooms, count: Any) -> None:
    """And not one of the connection to Redis, which others would have to wait for."""
    with app.app_context():
        rooms.sync.send("r", "x")
        with pytest.raises(TypeError, match="number of messages"):
            rooms.sync.history("r", count)


def test_history_is_bounded_in_age(app: Flask) -> None:
    app.config["ROOMS_HISTORY_SECONDS"] = 0.2
    rooms = Rooms(app)
    with app.app_context():
        rooms.sync.send("r", "old")
        rooms.sync.send("s", "old")
        until(lambda: rooms.sync.history("r") == [])

        def newer(after: str | None = None) -> list[Any]:
            rooms.sync.send("r", "new")
            return [message.data for message in rooms.sync.history("r", after=after)]

        # Several, if this machine is busy; none, if it is so busy that they are old by now.
        until(lambda: newer())
        until(lambda: newer(after="1-0"))
        assert {message.data for message in rooms.sync.history("r")} <= {"new"}


def test_memory_forgets_rooms_with_only_old_messages() -> None:
    app = Flask("rooms")
    app.config["ROOMS_HISTORY_SECONDS"] = 0.1
    rooms = Rooms(app)

    async def main() -> None:
        for number in range(100):
            await rooms.send(str(number), "x")
        backend: Any = rooms._hub().backend
        async with asyncio.timeout(SECONDS):
            while list(backend._kept) != ["one more"]:
                await rooms.send("one more", "x")

    asyncio.run(main())


@pytest.mark.parametrize("none", [0, False])
def test_no_history(app: Flask, none: int) -> None:
    app.config["ROOMS_HISTORY"] = none
    rooms = Rooms(app)

    @app.websocket("/ws")
    async def handler() -> None:
        await rooms.join("r", "ada", history=10)
        await websocket.receive()

    with app.test_client().websocket_connect("/ws") as ws, app.app_context():
        until(lambda: rooms.members("r"))
        assert rooms.send("r", "x") is None
        assert ws.receive() == "x"
        assert rooms.sync.history("r") == []


def test_late_comer_gets_history_first_and_then_all_the_rest(app: Flask, rooms: Rooms) -> None:
    client = app.test_client()
    with app.app_context():
        ids = [rooms.sync.send("r", str(number)) for number in range(5)]
    sending = True

    async def send_all_the_time() -> None:
        number = 5
        async with app.app_context():
            while sending:
                await rooms.send("r", str(number))
                number += 1
                await asyncio.sleep(0)

    with client.websocket_connect("/async/r?history=3") as ws:
        assert [ws.receive() for _ in range(3)] == ["2", "3", "4"]
    with client.websocket_connect(f"/async/r?after={ids[1]}") as ws:
        assert [ws.receive() for _ in range(3)] == ["2", "3", "4"]

    future = asyncio.run_coroutine_threadsafe(send_all_the_time(), background_loop())
    try:
        for _ in range(5):
            with client.websocket_connect("/async/r?history=10") as ws:
                numbers = [int(ws.receive()) for _ in range(60)]
                assert numbers == list(range(numbers[0], numbers[0] + 60))
    finally:
        sending = False
        future.result(SECONDS)


# -- following


async def test_follow_gets_what_comes_and_what_came(app: Flask, rooms: Rooms) -> None:
    async with AsyncClient(app), app.app_context():
        ids = [await rooms.send("r", number) for number in range(3)]
        follow = rooms.follow("r", after=ids[0])
        assert [(await anext(follow)).data for _ in range(2)] == [1, 2]
        made_up: Any = {"what": "a client made up"}
        live = rooms.follow("r", after=made_up)
        waiting = asyncio.ensure_future(anext(live))
        await until_followed(rooms._hub(), 2)
        id = await rooms.send("r", {"a": 1})
        for message in await waiting, await anext(follow):
            assert (message.id, message.data, message.room) == (id, {"a": 1}, "r")
        await rooms.send("r", b"x", keep=False)
        message = await anext(follow)
        assert (message.id, message.data, message.time) == (None, b"x", None)
        await follow.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(follow)
        async with live:
            pass
        assert rooms._hub().rooms == {}


async def test_follow_ends_when_the_server_stops(app: Flask, rooms: Rooms) -> None:
    ended = asyncio.Event()

    @app.get("/")
    async def stream() -> Any:
        async def body() -> Any:
            yield "begin\n"
            async for message in rooms.follow("r"):
                yield f"{message.data}\n"
            ended.set()

        return body()

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
    }
    scope |= {"headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http"}
    scope |= {"client": None, "server": ("localhost", 80), "asgi": {"version": "3.0"}}
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if body := message.get("body"):
            await got.put(body)

    async with lifespan(app):
        task = asyncio.create_task(app(scope, receive, send))
        assert await got.get() == b"begin\n"
        await until_followed(app.extensions["rooms"].hub())
        async with app.app_context():
            await rooms.send("r", "x")
        assert await got.get() == b"x\n"
        assert not ended.is_set()
    assert ended.is_set()
    await task


@pytest.mark.limit("ROOMS_FOLLOW_QUEUE")
@pytest.mark.limit("ROOMS_FOLLOW_QUEUE_BYTES")
@pytest.mark.parametrize(
    "limit", [("ROOMS_FOLLOW_QUEUE", 3), ("ROOMS_FOLLOW_QUEUE_BYTES", 3 * (MESSAGE_BYTES + 1))]
)
async def test_who_falls_behind_is_told(app: Flask, limit: tuple[str, int]) -> None:
    app.config[limit[0]] = limit[1]
    rooms = Rooms(app)
    async with AsyncClient(app), app.app_context():
        first = await rooms.send("r", "0")
        follow = rooms.follow("r", after="0-0")
        assert (await anext(follow)).id == first
        async with rooms.follow("r", after=first) as keeps_up:
            for number in range(1, 7):
                await rooms.send("r", str(number))
                assert (await anext(keeps_up)).data == str(number)
        last = None
        with pytest.raises(FellBehind, match="Follow the room again"):
            async for message in follow:
                last = message
        assert last is not None
        assert last.data == "3"
        async with rooms.follow("r", after=last.id) as again:
            assert [(await anext(again)).data for _ in range(3)] == ["4", "5", "6"]


async def test_dropped_follow_leaves_the_room(app: Flask, rooms: Rooms) -> None:
    async with AsyncClient(app), app.app_context():
        await rooms.send("r", "x")

        async def first() -> Any:
            async for message in rooms.follow("r", after="0-0"):
                return message.data

        assert await first() == "x"
        gc.collect()
        async with asyncio.timeout(SECONDS):
            while rooms._hub().rooms or app._conversations.open:
                await asyncio.sleep(0.01)


def test_plain_code_cannot_follow(app: Flask, rooms: Rooms) -> None:
    with app.app_context(), pytest.raises(RuntimeError, match="async for"):
        rooms.follow("r")


# -- setting up


def test_set_up_later_and_for_several_apps(url: str) -> None:
    rooms = Rooms(url=url)
    apps = [Flask("one"), Flask("two")]
    for number, app in enumerate(apps):
        app.config["ROOMS_PREFIX"] = f"test{number}"
        rooms.init_app(app)
    for app in apps:
        with app.app_context():
            rooms.sync.send("r", app.name)
    for app in apps:
        with app.app_context():
            assert [m.data for m in rooms.sync.history("r")] == [app.name]
    with pytest.raises(RuntimeError, match="app_context"):
        rooms.sync.send("r", "x")


def test_url_that_cannot_be() -> None:
    for url in "kafka://localhost", "", "memory":
        app = Flask("rooms")
        app.config["ROOMS_URL"] = url
        with pytest.raises(ValueError, match="ROOMS_URL"):
            Rooms(app)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ROOMS_HISTORY", -1),
        ("ROOMS_HISTORY_BYTES", 0),
        ("ROOMS_JOINED", None),
        ("ROOMS_MEMBERS", "many"),
        ("ROOMS_CHANGES", 1.5),
        ("ROOMS_SEND_TIMEOUT", 0),
    ],
)
def test_what_is_no_limit(key: str, value: Any) -> None:
    app = Flask("rooms")
    app.config[key] = value
    with pytest.raises(
        ValueError, match=rf"'{key}' must be a number of .* Write app.config\['{key}'\]"
    ):
        Rooms(app)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_redis, "INSTALLED", False)
    with pytest.raises(RuntimeError, match=r"asyncflask\[redis\]") as raised:
        Rooms(Flask("rooms"), url="redis://:secret@localhost/0")
    assert "secret" not in str(raised.value)


async def test_nothing_is_left_after_the_app_has_stopped(app: Flask, rooms: Rooms) -> None:
    before = asyncio.all_tasks()
    async with AsyncClient(app) as client:
        async with client.websocket_connect("/async/r?name=ada") as ada:
            await ada.send("x")
            assert await ada.receive() == "x"
        state = app.extensions["rooms"]
        assert len(state._hubs) == 1
    assert state._hubs == {}
    assert asyncio.all_tasks() == before


async def test_nothing_is_there_unless_used(app: Flask, rooms: Rooms) -> None:
    async with AsyncClient(app):
        assert app.extensions["rooms"]._hubs == {}


# -- Redis


@needs_redis
def test_redis_that_is_away_is_an_error_and_no_hang() -> None:
    app = Flask("rooms")
    app.config["ROOMS_SEND_TIMEOUT"] = 0.5
    app.logger.disabled = True
    with Redis() as away:
        pass
    rooms = Rooms(app, url=away.url)

    @app.websocket("/ws")
    async def handler() -> None:
        try:
            await rooms.join("r")
        except RoomsError as error:
            await websocket.send(str(error))

    with app.app_context():
        calls: list[Callable[[], object]] = [
            lambda: rooms.sync.send("r", "x"),
            lambda: rooms.sync.members("r"),
            lambda: rooms.sync.history("r"),
        ]
        for call in calls:
            with pytest.raises(RoomsError, match=f"{away.port}.* did not answer within 0.5 s"):
                call()
    with app.test_client().websocket_connect("/ws") as ws:
        assert "cannot be joined" in ws.receive()


@needs_redis
def test_redis_that_hangs_is_an_error_and_sends_no_message_twice() -> None:
    app = Flask("rooms")
    app.config["ROOMS_SEND_TIMEOUT"] = 1
    app.logger.disabled = True
    with Redis() as redis:
        rooms = Rooms(app, url=redis.url)

        @app.websocket("/ws")
        async def handler() -> None:
            await rooms.join("r", "ada")
            await websocket.receive()

        with app.test_client().websocket_connect("/ws") as ws, app.app_context():
            until(lambda: rooms.members("r"))
            rooms.sync.send("r", "1")
            redis.freeze()
            try:
                with pytest.raises(RoomsError):
                    rooms.sync.send("r", "2")
            finally:
                redis.thaw()
            rooms.sync.send("r", "3")
            got = [ws.receive()]
            while got[-1] != "3":
                got.append(ws.receive())
            assert got in (["1", "3"], ["1", "2", "3"])


@needs_redis
def test_redis_that_forgets_its_scripts(redis: Redis) -> None:
    app = Flask("rooms")
    rooms = Rooms(app, url=redis.url)

    async def main() -> None:
        await rooms.send("r", "1")
        redis.ask("SCRIPT", "FLUSH")
        await rooms.send("r", "2")
        assert [m.data for m in await rooms.history("r")] == ["1", "2"]

    asyncio.run(main())


@needs_redis
def test_refusal_of_redis_is_told(redis: Redis) -> None:
    redis.ask("SET", "rooms:stream:r", "x")
    app = Flask("rooms")
    rooms = Rooms(app, url=redis.url)
    with app.app_context(), pytest.raises(RoomsError, match=r"rejected the command: .*WRONGTYPE"):
        rooms.sync.send("r", "1")


@needs_redis
def test_message_that_is_sent_again_is_kept_once(redis: Redis) -> None:
    app = Flask("rooms")
    rooms = Rooms(app, url=redis.url)

    async def main() -> None:
        backend: Any = rooms._hub().backend
        keys = ["rooms:room:r", "rooms:stream:r"]
        args = [10, 60, "abc 1 ", 0, b"abc 1 t \nhello", "rooms:", "r", 300, 9999, 9999, 10]
        id = await backend._script(PUBLISH, keys, *args)
        args[3] = 1
        assert await backend._script(PUBLISH, keys, *args) == id
        assert [m.data for m in await rooms.history("r")] == ["hello"]

    asyncio.run(main())


def test_repetitions_are_noticed() -> None:
    channel = rooms_redis.Channel("r")
    assert [channel.is_new("a", n) for n in (1, 2, 2, 1, 3, 3)] == [
        *(True, True, False, False, True, False)
    ]
    assert channel.is_new("b", 1)
    for number in range(rooms_redis.SENDERS):
        assert channel.is_new(f"c{number}", 1)
    assert len(channel._numbers) <= rooms_redis.SENDERS


@needs_redis
def test_coming_back_just_when_the_connection_is_given_up(redis: Redis) -> None:
    app = Flask("rooms")
    rooms = Rooms(app, url=redis.url)

    async def main() -> None:
        async with lifespan(app):
            first, second = rooms.follow("r"), rooms.follow("r")
            waiting = asyncio.ensure_future(anext(first))
            await until_followed(rooms._hub())
            backend: Any = rooms._hub().backend
            waiting.cancel()
            await first.aclose()
            backend._stop_listening()
            waiting = asyncio.ensure_future(anext(second))
            await until_followed(rooms._hub())
            await rooms.send("r", "x")
            assert (await waiting).data == "x"

    asyncio.run(main())
