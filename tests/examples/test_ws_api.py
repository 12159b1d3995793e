"""examples/ws_api on a real server, through its own client and without it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from support.servers import Server

FOLDER = Path(__file__).parents[2] / "examples" / "ws_api"
SECONDS = 45

spec = importlib.util.spec_from_file_location("ws_api_client", FOLDER / "client.py")
assert spec is not None
assert spec.loader is not None
client_module: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client_module)
Client = client_module.Client
CallFailed = client_module.CallFailed


def serve() -> Iterator[Server]:
    with Server("app:app", app_dir=FOLDER, env={"ROOMS_URL": "memory://"}) as server:
        yield server
        assert "Traceback" not in server.output, server.output


server = pytest.fixture(name="server")(serve)
server_of_all = pytest.fixture(name="server_of_all", scope="module")(serve)


@pytest.fixture
def url(server: Server) -> str:
    return f"{server.ws_url}/api"


@pytest.fixture
def any_url(server_of_all: Server) -> str:
    """Of a server whose tasks a test leaves as they are."""
    return f"{server_of_all.ws_url}/api"


async def test_calls_and_events(url: str) -> None:
    async with Client(url) as ada, Client(url) as bob:
        await bob.call("subscribe")
        await bob.call("subscribe")  # which makes no difference
        events = bob.events()
        task = await ada.call("add", title=" Have tea ")
        assert task == {"number": 1, "title": "Have tea", "done": False}
        assert await anext(events) == ("added", task)
        assert await ada.call("list_tasks") == [task]
        assert (await bob.call("finish", number=1))["done"] is True
        assert await anext(events) == ("finished", {**task, "done": True})
        await bob.call("unsubscribe")
        assert await ada.call("remove", number=1) is None
        assert await bob.call("list_tasks") == []
        assert bob._events.empty()


async def test_calls_run_side_by_side(any_url: str) -> None:
    async with Client(any_url) as client:
        order: list[float] = []

        async def sleep(seconds: float) -> None:
            order.append(await client.call("sleep", seconds=seconds))

        await asyncio.gather(sleep(1.5), sleep(0))
        assert order == [0, 1.5]
        await asyncio.gather(*(client.call("sleep", seconds=0.01) for _ in range(50)))


async def test_errors_have_codes(any_url: str) -> None:
    async with Client(any_url) as client:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("unknown_method", "fly", {}),
            ("invalid_params", "add", {}),
            ("invalid_params", "add", {"title": "x", "more": 1}),
            ("invalid_params", "add", {"title": 17}),
            ("invalid_params", "add", {"title": " "}),
            ("invalid_params", "add", {"title": "x" * 201}),
            ("invalid_params", "finish", {"number": "1"}),
            ("invalid_params", "finish", {"number": True}),
            ("invalid_params", "sleep", {"seconds": 11}),
            ("not_found", "finish", {"number": 99}),
        ]
        for code, method, params in calls:
            with pytest.raises(CallFailed) as failed:
                await client.call(method, **params)
            assert failed.value.code == code, (method, params)
            assert str(failed.value)


@pytest.mark.parametrize(
    ("message", "code", "id"),
    [
        ("", "parse_error", None),
        ("not JSON", "parse_error", None),
        (b"\xff", "parse_error", None),
        ("[" * 10_000, "parse_error", None),
        ("17", "invalid_call", None),
        ("[]", "invalid_call", None),
        ("{}", "invalid_call", None),
        ('{"id": null, "method": "list_tasks"}', "invalid_call", None),
        ('{"id": [1], "method": "list_tasks"}', "invalid_call", [1]),
        ('{"id": 1}', "invalid_call", 1),
        ('{"id": 1, "method": ["add"]}', "invalid_call", 1),
        ('{"id": "a", "method": "add", "params": []}', "invalid_call", "a"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_bad_message_is_answered(
    any_url: str, message: str | bytes, code: str, id: object
) -> None:
    with connect(any_url) as connection:
        connection.send(message)
        answer = json.loads(connection.recv(SECONDS))
        assert (answer["id"], answer["error"]["code"]) == (id, code)
        connection.send(json.dumps({"id": 2, "method": "list_tasks"}))
        assert json.loads(connection.recv(SECONDS)) == {"id": 2, "result": []}


async def test_client_that_leaves_in_the_middle(any_url: str) -> None:
    async with Client(any_url) as client:
        call = asyncio.ensure_future(client.call("sleep", seconds=0.5))
        await client.call("list_tasks")
    with pytest.raises(ConnectionError):
        await call
    with pytest.raises(ConnectionError):
        await client.call("list_tasks")
    async with Client(any_url) as client:
        assert await client.call("sleep", seconds=0.6) == 0.6


async def test_server_that_ends_in_the_middle(server: Server, url: str) -> None:
    async with Client(url) as client:
        await client.call("subscribe")
        call = asyncio.ensure_future(client.call("sleep", seconds=10))
        await client.call("list_tasks")
        await asyncio.to_thread(server.stop)
        with pytest.raises(ConnectionError):
            await call
        assert [event async for event in client.events()] == []


def test_readme_says_what_happens(server: Server, url: str) -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "client.py"), url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    readme = (FOLDER / "README.rst").read_text("utf-8")
    shown = re.search(r"client.py\n((?:    .*\n)+)", readme)
    assert shown is not None
    assert result.stdout.splitlines() == [line.strip() for line in shown[1].splitlines()]
