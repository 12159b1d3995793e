"""examples/hello on a real server, with each of uvicorn's HTTP parsers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import httpx
import pytest

from support.servers import Server

HELLO = Path(__file__).parents[2] / "examples" / "hello"


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    http: Literal["httptools", "h11"] = request.param
    with Server("app:app", app_dir=HELLO, http=http) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize(
    ("path", "text"), [("/", "Hello, World!\n"), ("/later", "Hello, a little later!\n")]
)
def test_views(server: Server, path: str, text: str) -> None:
    response = httpx.get(server.url + path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == text


def test_unknown_path(server: Server) -> None:
    assert httpx.get(server.url + "/nobody").status_code == 404


def test_async_view_holds_up_nobody(server: Server) -> None:
    """Twenty visitors wait 0.1 s at the same time, not one after the other (which is 2 s)."""
    limits = httpx.Limits(max_connections=20)
    with httpx.Client(base_url=server.url, limits=limits) as client:
        client.get("/later")
        started = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: client.get("/later").status_code, range(20)))
    assert answers == [200] * 20
    assert time.monotonic() - started < 1.5
