"""Isolation: nothing of one request is ever seen by another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from contract.raw import APPS, Connection, get, serve
from support.servers import Server

USERS = 20
REQUESTS = 50  # of each user

# What others do with the context of a connection is uvicorn's and the loop's affair.
SERVERS = ["httptools uvloop", "httptools asyncio", "h11 asyncio"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    parser, loop = request.param.split()
    with serve("isolation:app", parser, "--loop", loop) as server:
        yield server
        output = server.output.replace("LookupError", "")
        assert "sqlite3" not in output and "AssertionError" not in output, output


def check(reply: dict[str, object], mark: str, count: int) -> None:
    assert reply == {
        "seen": [[mark, mark, mark, False, f"{APPS}.isolation"]] * 4,
        "local": reply["local"],
        "count": count,
    }
    assert reply["local"] and all(seen == [mark, True] for seen in reply["local"])  # type: ignore[attr-defined]


async def test_interleaved(server: Server, request: pytest.FixtureRequest) -> None:
    requests = REQUESTS if "uvloop" in request.node.name else REQUESTS // 5

    async def user(number: int) -> None:
        mark = f"user{number}"
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            for count in range(1, requests + 1):
                path = "/sync" if (number + count) % 2 else "/async"
                reply = await client.get(path, params={"mark": mark})
                assert reply.status_code == 200
                check(reply.json(), mark, count)

    await asyncio.gather(*map(user, range(USERS)))


def test_one_connection_with_large_bodies(server: Server) -> None:
    """Beyond 64 KiB the server pauses reading, and resumes it from within the app's context
    (python/cpython#140947)."""
    with Connection(server) as connection:
        for number in range(30):
            path = ("/sync", "/async", "/stream", "/error", "/nowhere")[number % 5]
            mark = f"m{number}"
            connection.request(f"{path}?mark={mark}", "POST", b"x" * 400_000)
            reply = connection.reply("POST")
            if path == "/stream":
                assert reply.body.decode() == f"{mark} {mark}\n" * 3
            elif path == "/error":
                assert reply.status == 500
            elif path == "/nowhere":
                assert reply.status == 404
            else:
                assert reply.status == 200
                check(json.loads(reply.body), mark, 1)
    assert json.loads(get(server, "/outside").body) == {"request": 0, "app": 0}


def test_pipelined(server: Server) -> None:
    """The server starts the next request from within the `send` of the one before it."""
    with Connection(server) as connection:
        for number in range(10):
            connection.request(f"/{('sync', 'stream', 'async')[number % 3]}?mark=p{number}")
        for number in range(10):
            reply = connection.reply()
            if number % 3 == 1:
                assert reply.body.decode() == f"p{number} p{number}\n" * 3
            else:
                check(json.loads(reply.body), f"p{number}", 1)
    assert json.loads(get(server, "/outside").body) == {"request": 0, "app": 0}


async def test_database_connection(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        closed = int((await client.get("/closed")).text)

        async def one(number: int) -> None:
            path = ("/db/sync", "/db/async")[number % 2]
            reply = await client.get(path, params={"mark": f"d{number}"})
            assert (reply.status_code, reply.text) == (200, f"d{number},d{number}")

        await asyncio.gather(*map(one, range(200)))
        assert int((await client.get("/closed")).text) == closed + 200
