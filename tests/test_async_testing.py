"""The client for async tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncflask import Flask, WebSocketDisconnect, request, session, websocket
from asyncflask.async_testing import AsyncClient
from asyncflask.sessions import SecureCookieSessionInterface, SessionInterface


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


async def test_for_instead_of_async_for(app: Flask) -> None:
    @app.websocket("/echo")
    async def echo() -> None:
        await websocket.accept()
        for message in websocket:  # type: ignore[attr-defined]
            await websocket.send(message)

    async with AsyncClient(app) as client:
        with pytest.raises(RuntimeError, match="handler, write 'async for message in websocket:'"):
            async with client.websocket_connect("/echo") as ws:
                await ws.receive()
        async with client.websocket_connect("/ws") as ws:
            with pytest.raises(RuntimeError, match="test, write 'async for'"):
                for _ in ws:  # type: ignore[attr-defined]
                    pass


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


async def test_not_started_without_lifespan(app: Flask) -> None:
    app.before_serving(lambda: pytest.fail("must not be called"))
    async with AsyncClient(app, lifespan=False) as client:
        assert (await client.get("/")).status_code == 200


class AsyncInterface(SecureCookieSessionInterface):
    """One that waits, for a database say."""

    async def open_session(self, app: Any, request: Any) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().open_session(app, request)

    async def save_session(self, app: Any, session: Any, response: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().save_session(app, session, response)


@pytest.mark.parametrize("interface", [SecureCookieSessionInterface, AsyncInterface])
async def test_session_transaction(app: Flask, interface: type[SessionInterface]) -> None:
    app.session_interface = interface()

    @app.get("/name")
    async def name() -> str:
        return str(session.pop("name", "nobody"))

    async with AsyncClient(app, base_url="https://example.org") as client:
        async with client.session_transaction() as opened:
            assert "name" not in opened
            opened["name"] = "Ada"
        async with client.websocket_connect("/ws") as ws:
            assert (await ws.receive_json())[0] == "Ada"
        async with client.session_transaction() as opened:
            assert opened["name"] == "Ada"
        assert (await client.get("/name")).text == "Ada"
        assert (await client.get("/name")).text == "nobody"
        async with client.session_transaction() as opened:
            assert "name" not in opened


async def test_no_session_of_another_app() -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(TypeError, match=r"AsyncClient\(app\)"):
        async with AsyncClient(other).session_transaction():
            pass


async def test_error_of_a_websocket(app: Flask) -> None:
    @app.websocket("/broken")
    async def broken() -> None:
        await websocket.receive()
        raise LookupError("own")

    async with AsyncClient(app) as client, client.websocket_connect("/broken") as ws:
        await ws.send("a")
        with pytest.raises(LookupError, match="own"):
            await ws.receive()


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
