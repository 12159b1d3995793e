"""The doors by which our own tests of an extension reach its app.

These tests run under Flask and under asyncflask (there `flask` is the alias), so they say
`flask` throughout, and each has sync and async views. By the second door, ASGI, they run under
asyncflask only.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import flask
import pytest


class Answer(NamedTuple):
    status: int
    text: str
    headers: Any


class WSGIDoor:
    def __init__(self, app: flask.Flask) -> None:
        self.app = app
        self.client = app.test_client()

    def __call__(self, path: str, method: str = "GET", **kwargs: Any) -> Answer:
        response = self.client.open(path, method=method, **kwargs)
        data = response.get_data()
        if response.headers.get("Content-Encoding") == "deflate":
            data = zlib.decompress(data)  # as httpx does
        return Answer(response.status_code, data.decode(), response.headers)

    def at_once(self, *paths: str) -> list[Answer]:
        """The answers to requests that are handled side by side, without cookies."""
        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(lambda path: WSGIDoor(self.app)(path), paths))

    def close(self) -> None:
        pass


class ASGIDoor:
    """All requests on one event loop, as under a server."""

    def __init__(self, app: flask.Flask) -> None:
        from asyncflask.async_testing import AsyncClient  # the reference run must not have it

        self.runner = asyncio.Runner()
        self.client = AsyncClient(app)

    def __call__(self, path: str, method: str = "GET", **kwargs: Any) -> Answer:
        return self.runner.run(self._request(path, method, **kwargs))

    async def _request(self, path: str, method: str = "GET", **kwargs: Any) -> Answer:
        response = await self.client.request(method, path, **kwargs)
        return Answer(response.status_code, response.text, response.headers)

    def at_once(self, *paths: str) -> list[Answer]:
        async def gather() -> list[Answer]:
            return await asyncio.gather(*map(self._request, paths))

        return self.runner.run(gather())

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()


@pytest.fixture(params=["wsgi", "asgi"])
def open_door(request: pytest.FixtureRequest) -> Iterator[Callable[[flask.Flask], Any]]:
    """Gives a function for an app: with a path, a method, and `json`, `data` or `headers`, it
    makes a request and keeps the cookies."""
    if request.param == "asgi" and flask.Flask.__module__.partition(".")[0] == "flask":
        pytest.skip("Flask has no such door.")
    doors: list[Any] = []

    def open_door(app: flask.Flask) -> Any:
        doors.append(WSGIDoor(app) if request.param == "wsgi" else ASGIDoor(app))
        return doors[-1]

    yield open_door
    for door in doors:
        door.close()


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY="for these tests")
    return app
