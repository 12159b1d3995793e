"""The doors by which our own tests of an extension reach its app: made in the test, or served by
a program of its own in `served`.

These tests run under Flask and under asyncflask (there `flask` is the alias), so they say
`flask` throughout, and each has sync and async views. By the second door, ASGI, they run under
asyncflask only.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import flask
import httpx
import pytest
from servers import Process
from serving import COMMAND, UNDER_FLASK, served


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


SERVED = Path(__file__).parent / "served"


class Site:
    """A program of `served`, on a server of its own: Flask's, or uvicorn for asyncflask."""

    def __init__(self, server: Process) -> None:
        self.ws_url = server.ws_url
        self.client = httpx.Client(base_url=server.url, timeout=30)
        self.get = self.client.get
        self.post = self.client.post
        self.put = self.client.put

    def at_once(self, *paths: str, method: str = "GET", **kwargs: Any) -> list[httpx.Response]:
        """The answers to requests that are made side by side, with the client's cookies."""

        def request(path: str) -> httpx.Response:
            return self.client.request(method, path, **kwargs)

        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(request, paths))

    def visit_pool(self, path: str, visits: int = 20, **kwargs: Any) -> None:
        """Have the view at *path* use its pool by many requests at once, and check that each had
        its turn."""
        if UNDER_FLASK:
            pytest.skip("A pool of one loop cannot be opened in Flask: each view has another.")
        answers = self.at_once(*[path] * visits, **kwargs)
        numbers = [int(answer.text) for answer in answers]
        assert sorted(numbers) == list(range(min(numbers), min(numbers) + visits))


@pytest.fixture
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """The program that is named as the test's file: `served/flask_login_site.py` for
    `test_flask_login.py`. It may keep files in the folder `SITE_FOLDER`."""
    name = f"{request.path.stem.removeprefix('test_')}_site"
    way = COMMAND if UNDER_FLASK else "httptools"
    monkeypatch.setenv("SITE_FOLDER", str(tmp_path))
    with served(way, f"{name}:app", SERVED) as server:
        site = Site(server)
        with site.client:
            yield site
