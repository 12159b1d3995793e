"""examples/hello on a real server, with each of uvicorn's HTTP parsers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import httpx
import pytest

from support.servers import Server, python_path

HELLO = Path(__file__).parents[2] / "examples" / "hello"
SECONDS = 45


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    http: Literal["httptools", "h11"] = request.param
    with Server("app:app", app_dir=HELLO, http=http) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize(
    ("path", "text"), [("/", "<h1>Hello, World!</h1>"), ("/later", "<h1>Hello, later!</h1>")]
)
def test_views(server: Server, path: str, text: str) -> None:
    response = httpx.get(server.url + path, timeout=SECONDS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert text in response.text


def test_unknown_path(server: Server) -> None:
    assert httpx.get(server.url + "/nobody", timeout=SECONDS).status_code == 404


TOGETHER = """
import asyncio
from types import SimpleNamespace

import app as hello

everybody = asyncio.Barrier(20)

async def until_all_are_there(seconds):
    await everybody.wait()

hello.asyncio = SimpleNamespace(sleep=until_all_are_there)
app = hello.app
"""


def test_async_view_holds_up_nobody(tmp_path: Path) -> None:
    """Twenty visitors wait at the same time: the view's wait ends when all of them are in it."""
    (tmp_path / "together.py").write_text(TOGETHER)
    limits = httpx.Limits(max_connections=20)
    with (
        Server("together:app", app_dir=tmp_path, env=python_path(HELLO)) as server,
        httpx.Client(base_url=server.url, limits=limits, timeout=SECONDS) as client,
        ThreadPoolExecutor(20) as pool,
    ):
        answers = list(pool.map(lambda _: client.get("/later").status_code, range(20)))
    assert answers == [200] * 20
