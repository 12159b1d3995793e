"""Liveness and readiness probes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from asyncflask import Flask, abort, current_app
from asyncflask.async_testing import AsyncClient
from support.asgi import exchange, http_scope
from support.servers import Process, python_path

SECONDS = 45.0


@pytest.fixture
def app() -> Flask:
    return Flask("health", static_folder=None)


async def test_alive_and_ready(app: Flask) -> None:
    app.health("/alive", "/ready")
    async with AsyncClient(app) as client:
        for url in "/alive", "/ready":
            response = await client.get(url)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})
            assert response.headers["Cache-Control"] == "no-store"


def test_one_of_them(app: Flask) -> None:
    app.health(None, "/readyz")
    assert app.test_client().get("/livez").status_code == 404
    assert app.test_client().get("/readyz").status_code == 200


async def test_not_ready_before_the_start(app: Flask) -> None:
    app.health()
    seen: list[int] = []

    @app.before_serving
    async def start() -> None:
        for url in "/readyz", "/livez":
            seen.append((await exchange(app, http_scope(url))).status)

    async with AsyncClient(app) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert seen == [503, 200]


async def test_checks(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    good = {"sync": True, "async": True}

    def sync_check() -> bool:
        assert threading.current_thread() is not threading.main_thread()
        assert current_app.name == "health"
        return good["sync"]

    async def async_check() -> None:
        if not good["async"]:
            raise ValueError("no database")

    app.health(checks=[sync_check, async_check])
    async with AsyncClient(app) as client:
        assert (await client.get("/readyz")).status_code == 200
        good["sync"] = False
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["failed"] == [sync_check.__qualname__]
        good["async"] = False
        response = await client.get("/readyz")
        assert len(response.json()["failed"]) == 2
        assert "no database" not in response.text
        assert "no database" in caplog.text
        assert (await client.get("/livez")).status_code == 200


async def test_a_check_has_a_time_limit_and_runs_once(app: Flask) -> None:
    go_on = threading.Event()
    calls: list[int] = []

    def hangs() -> None:
        calls.append(1)
        go_on.wait(SECONDS)

    async def hangs_too() -> None:
        await asyncio.sleep(SECONDS)

    app.health(checks=[hangs, hangs_too], timeout=0.01)
    async with AsyncClient(app) as client:
        for _ in range(3):
            response = await client.get("/readyz")
            assert response.status_code == 503
            assert len(response.json()["failed"]) == 2
        assert calls == [1]
        go_on.set()


async def test_a_check_does_not_wait_for_requests(app: Flask) -> None:
    app.config["WORKER_THREADS"] = 1
    app.health(checks=[lambda: None])
    began, go_on = threading.Event(), threading.Event()

    @app.get("/busy")
    def busy() -> str:
        began.set()
        go_on.wait()
        return "done"

    async with AsyncClient(app) as client:
        request = asyncio.ensure_future(client.get("/busy"))
        await asyncio.to_thread(began.wait)
        try:
            assert (await client.get("/readyz")).status_code == 200
        finally:
            go_on.set()
        assert (await request).text == "done"


async def test_hooks_are_not_run(app: Flask) -> None:
    app.health()
    app.before_request(lambda: abort(401))
    app.after_request(lambda response: abort(500))
    async with AsyncClient(app) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/livez")).status_code == 200


SERVED = """
import asyncio, time
from asyncflask import Flask

app = Flask("served", static_folder=None)
app.health(drain=60)  # until another signal

@app.get("/sync")
def sync():
    time.sleep(0.01)
    return "ok"

@app.get("/async")
async def asynchronous():
    await asyncio.sleep(0.01)
    return "ok"
"""

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "served_app:app", "--port", "{port}"],
    "run": ["-m", "asyncflask", "--app", "served_app", "run", "--port", "{port}"],
}


class Traffic:
    """Clients that ask on and on, on a connection that they keep or on a new one for each request,
    until the load balancer takes the server out; and what they were answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.routed = True
        self.answers: list[int | str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._ask, args=(path, keep))
            for path in ("/sync", "/async")
            for keep in (True, False)
        ]

    def _ask(self, path: str, keep: bool) -> None:
        headers = {} if keep else {"Connection": "close"}
        with httpx.Client(base_url=self.url, timeout=SECONDS, headers=headers) as client:
            while self.routed:
                answer: int | str
                try:
                    answer = client.get(path).status_code
                except httpx.HTTPError as error:
                    answer = repr(error)
                with self._news:
                    self.answers.append(answer)
                    self._news.notify_all()

    def wait_for_more(self, count: int = 20) -> None:
        with self._news:
            until = len(self.answers) + count
            assert self._news.wait_for(lambda: len(self.answers) >= until, SECONDS)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.routed = False
        for thread in self._threads:
            thread.join()


def polled(url: str) -> Iterator[int]:
    """What a probe is answered, each with a connection of its own."""
    while True:
        yield httpx.get(url, timeout=SECONDS).status_code


@pytest.mark.parametrize("server", ["uvicorn", "run"])
def test_no_request_is_lost_at_sigterm(tmp_path: Path, server: str) -> None:
    """What Kubernetes does: it polls, sends SIGTERM, and sends no more requests to a server that
    is not ready."""
    (tmp_path / "served_app.py").write_text(SERVED)
    command = [sys.executable, *SERVERS[server]]
    with Process(command, env=python_path(tmp_path), cwd=tmp_path) as process:
        ready = polled(f"{process.url}/readyz")
        while next(ready) != 200:
            pass
        with Traffic(process.url) as traffic:
            traffic.wait_for_more()
            os.kill(process.pid, signal.SIGTERM)
            while next(ready) != 503:
                pass
            traffic.wait_for_more()  # the load balancer has not heard of it yet
            assert next(polled(f"{process.url}/livez")) == 200
        assert set(traffic.answers) == {200}
