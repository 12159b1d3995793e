"""A request made on another request's thread, by WSGI middleware or by the test client in a
sync view: the thread remains the outer request's until that ends, and is given back once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncflask import Flask
from asyncflask.asgi import pool
from contract.raw import SECONDS
from support.asgi import exchange, http_scope


class Site:
    """An app whose view ``/`` goes on, after the inner request, until `go` is set."""

    def __init__(self) -> None:
        self.app = app = Flask("within")
        self.inside, self.go = threading.Event(), threading.Event()
        self.threads: dict[str, int] = {}
        app.get("/inner")(lambda: "inner")

        @app.get("/other")
        def other() -> str:
            self.threads["other"] = threading.get_ident()
            return "other"

    def wait(self) -> None:
        self.threads["outer"] = threading.get_ident()
        self.inside.set()
        assert self.go.wait(SECONDS)


def by_the_test_client(site: Site) -> None:
    @site.app.get("/")
    def outer() -> str:
        inner = site.app.test_client().get("/inner").text
        site.wait()
        return inner


def by_middleware(site: Site) -> None:
    site.app.get("/", endpoint="outer")(lambda: "inner")
    wsgi_app = site.app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        body = wsgi_app(environ, start_response)
        if environ["PATH_INFO"] == "/":
            site.wait()
        return body

    site.app.wsgi_app = middleware  # type: ignore[method-assign]


@pytest.mark.parametrize("make", [by_the_test_client, by_middleware])
async def test_another_request_has_another_thread(make: Any) -> None:
    site = Site()
    make(site)
    outer = asyncio.create_task(exchange(site.app, http_scope("/")))
    try:
        assert await asyncio.to_thread(site.inside.wait, SECONDS)
        async with asyncio.timeout(SECONDS):
            assert (await exchange(site.app, http_scope("/other"))).body == b"other"
    finally:
        site.go.set()
    assert (await outer).body == b"inner"
    assert site.threads["other"] != site.threads["outer"]


@pytest.mark.parametrize("make", [by_the_test_client, by_middleware])
async def test_thread_is_given_back_once(make: Any) -> None:
    """Or it would be in the stack of idle threads when it has ended, idle for too long, and the
    request that takes it then would wait forever."""
    site = Site()
    make(site)
    site.go.set()
    for _ in range(3):
        assert (await exchange(site.app, http_scope("/"))).body == b"inner"
    assert len(pool._idle) == len(set(pool._idle))


async def test_middleware_that_runs_the_app_on_a_thread_of_its_own() -> None:
    """It blocks the loop of the async view whose test client calls it."""
    app = Flask("within")
    wsgi_app = app.wsgi_app

    @app.get("/<int:depth>")
    async def view(depth: int) -> str:
        return app.test_client().get(f"/{depth - 1}").text + "." if depth else "0"

    def middleware(environ: Any, start_response: Any) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(lambda: list(wsgi_app(environ, start_response))).result(SECONDS)

    app.wsgi_app = middleware  # type: ignore[method-assign]
    async with asyncio.timeout(SECONDS):
        assert (await exchange(app, http_scope("/3"))).body == b"0..."
