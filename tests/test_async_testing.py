"""The client for asynchronous tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncflask import Flask, WebSocketDisconnect, request, session, websocket
from asyncflask.async_testing import AsyncClient


@pytest.fixture
def app() -> Flask:
    app = Flask("async_testing_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")

    @app.get("/")
    async def index() -> dict[str, Any]:
        loop = id(asyncio.get_running_loop())
        return {"url": request.url, "loop": loop, "state": request.state._state}

    @app.post("/login")
    def login() -> str:
        session["name"] = request.form["name"]
        return ""

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send_json(
            [session.get("name"), request.headers.get("X-A"), request.url, request.state._state]
        )

    return app


async def test_on_this_very_loop(app: Flask) -> None:
    async with AsyncClient(app) as client:
        found = (await client.get("/?q=1")).json()
    loop = id(asyncio.get_running_loop())
    assert found == {"url": "http://localhost/?q=1", "loop": loop, "state": {}}


async def test_base_url(app: Flask) -> None:
    async with AsyncClient(app, base_url="https://example.org:8443") as client:
        assert (await client.get("/")).json()["url"] == "https://example.org:8443/"
        async with client.websocket_connect("/ws") as ws:
            assert (await ws.receive_json())[2] == "wss://example.org:8443/ws"


async def test_lifespan_and_its_state(app: Flask) -> None:
    events: list[str] = []

    class Lifespan:
        async def __aenter__(self) -> dict[str, Any]:
            events.append("start")
            return {"a": 1}

        async def __aexit__(self, *args: object) -> None:
            events.append("stop")

    app.lifespan = lambda app: Lifespan()
    async with AsyncClient(app) as client:
        assert events == ["start"]
        assert (await client.get("/")).json()["state"] == {"a": 1}
        async with client.websocket_connect("/ws") as ws:
            assert (await ws.receive_json())[3] == {"a": 1}
    assert events == ["start", "stop"]


async def test_not_started_without_async_with(app: Flask) -> None:
    app.before_serving(lambda: pytest.fail("must not be called"))
    client = AsyncClient(app)
    assert (await client.get("/")).status_code == 200
    await client.aclose()


async def test_cookies(app: Flask) -> None:
    async with AsyncClient(app) as client:
        await client.post("/login", data={"name": "me"})
        async with client.websocket_connect("/ws", headers={"X-A": "b"}) as ws:
            assert (await ws.receive_json())[:2] == ["me", "b"]
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()
        async with client.websocket_connect("/ws", headers=[("X-A", "c")]) as ws:
            assert (await ws.receive_json())[:2] == ["me", "c"]


async def test_stream(app: Flask) -> None:
    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        async def generate() -> AsyncIterator[str]:
            for number in range(3):
                await asyncio.sleep(0)
                yield str(number)

        return generate()

    async with AsyncClient(app) as client:
        assert (await client.get("/stream")).text == "012"


async def test_error_of_the_app(app: Flask) -> None:
    app.add_url_rule("/error", "error", lambda: str(1 / 0))
    async with AsyncClient(app) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get("/error")


def test_without_httpx() -> None:
    code = "import sys; sys.modules['httpx'] = None; import asyncflask.async_testing"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "pip install 'asyncflask[test]'" in done.stderr
