"""Mounted apps guarded by the app's hooks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.typing import Origin

from asyncflask import Flask, abort, current_app, g, request, session
from asyncflask.async_testing import AsyncClient
from support.servers import Process, python_path

SECONDS = 45.0


class Inner:
    """A Starlette app, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.started = False
        self.app = Starlette(
            routes=[
                Route("/", self.index, methods=["GET", "POST", "PURGE"]),
                Route("/stream", self.stream),
                Route("/login", self.login, methods=["POST"]),
                Route("/headers", self.headers),
                Route("/fail", self.fail),
                WebSocketRoute("/ws", self.websocket),
            ],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.started = True
        yield {"inner": True}

    async def index(self, inner: Request) -> JSONResponse:
        self.asked.append("index")
        body = await inner.body()
        return JSONResponse(
            {
                "app": current_app.name,
                "user": g.user,
                "session": session.get("n"),
                "path": inner.url.path,
                "root_path": inner.scope["root_path"],
                "body": len(body),
                "outer": request.path,
                "state": dict(inner.scope.get("state", {})),
            },
            headers={"X-Inner": "1"},
        )

    async def stream(self, inner: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            for n in range(3):
                await asyncio.sleep(0)
                yield f"{n} {g.user}\n"

        return StreamingResponse(chunks())

    async def login(self, inner: Request) -> PlainTextResponse:
        session["n"] = 7
        return PlainTextResponse("welcome", 201)

    async def headers(self, inner: Request) -> PlainTextResponse:
        session["inner"] = 1
        headers = {"Vary": "Accept-Encoding", "ETag": '"inner"', "X-Frame-Options": "SAMEORIGIN"}
        response = PlainTextResponse("content", headers=headers)
        response.set_cookie("inner", "1")
        response.set_cookie("session", "2", path="/inner")  # as of Starlette's sessions
        return response

    async def fail(self, inner: Request) -> PlainTextResponse:
        raise ValueError("of the inner app")

    async def websocket(self, ws: WebSocket) -> None:
        self.asked.append("websocket")
        await ws.accept()
        async for text in ws.iter_text():
            await ws.send_text(f"{text} {g.user} {session.get('n')}")


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def torn_down() -> list[Any]:
    return []


@pytest.fixture
def app(inner: Inner, torn_down: list[Any]) -> Flask:
    app = Flask("guard", static_folder=None)
    app.secret_key = "key"

    @app.before_request
    def log_in() -> None:
        if request.args.get("user") is None:
            abort(401)
        g.user = request.args["user"]

    @app.before_request
    async def remember() -> None:
        g.endpoint = request.endpoint

    @app.after_request
    def sign(response: Any) -> Any:
        response.headers["X-Outer"] = g.get("endpoint", "-")
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        torn_down.append((g.get("user"), error))

    @app.errorhandler(401)
    def refused(error: Any) -> tuple[str, int]:
        return "log in first", 401

    app.mount("/inner", inner.app, guarded=True)
    return app


async def test_a_request_is_the_apps(app: Flask, inner: Inner, torn_down: list[Any]) -> None:
    async with AsyncClient(app) as client:
        response = await client.post("/inner/?user=Ada", content=b"x" * 300_000)
        assert inner.started
    assert response.json() == {
        "app": "guard",
        "user": "Ada",
        "session": None,
        "path": "/inner/",
        "root_path": "/inner",
        "body": 300_000,
        "outer": "/inner/",
        "state": {"inner": True},
    }
    assert response.headers["X-Inner"] == "1"
    assert response.headers["X-Outer"] == "mount:/inner"
    assert torn_down == [("Ada", None)]


async def test_a_refused_one_does_not_reach_it(app: Flask, inner: Inner) -> None:
    async with AsyncClient(app) as client:
        response = await client.post("/inner/", content=b"x")
        assert (response.status_code, response.text) == (401, "log in first")
        response = await client.get("/inner/nowhere")
        assert response.status_code == 401
    assert inner.asked == []


async def test_any_method_and_unknown_urls_are_its_own(app: Flask, inner: Inner) -> None:
    async with AsyncClient(app) as client:
        assert (await client.request("PURGE", "/inner/?user=A")).status_code == 200
        assert (await client.request("DELETE", "/inner/?user=A")).status_code == 405
        assert (await client.get("/inner/nowhere?user=A")).text == "Not Found"
        assert (await client.head("/inner/?user=A")).content == b""
        response = await client.get("/inner?user=A", follow_redirects=True)
        assert response.json()["path"] == "/inner/"


@pytest.mark.parametrize("target", ["//inner/", "/inner/%0Aabc", "/inner/a%0Ab", "/inner%0A/"])
async def test_paths_that_only_werkzeug_takes_for_its_own(app: Flask, target: str) -> None:
    async with AsyncClient(app) as client:
        response = await client.get(f"http://localhost{target}?user=A")
        assert response.status_code == 404
        response = await client.get(f"http://localhost{target}")
        assert response.status_code == 401


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_body_that_a_hook_has_read_is_there_once_more(app: Flask, size: int) -> None:
    @app.before_request
    def look() -> None:
        request.get_data()
        assert len(request.form.get("field", "")) in (0, size)

    async with AsyncClient(app) as client:
        response = await client.post("/inner/?user=A", data={"field": "x" * size})
        assert response.json()["body"] == size + len("field=")
        response = await client.post("/inner/?user=A")
        assert response.json()["body"] == 0
        assert (await client.get("/inner/?user=A")).json()["body"] == 0


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_form_that_a_hook_has_read_is_an_error_that_says_what_to_write(
    app: Flask, torn_down: list[Any], size: int
) -> None:
    @app.before_request
    def look() -> None:
        request.values.get("field")

    app.testing = True
    async with AsyncClient(app) as client:
        assert (await client.get("/inner/?user=A")).json()["body"] == 0
        with pytest.raises(RuntimeError, match=r"'request\.get_data\(\)' before 'request\.form'"):
            await client.post("/inner/?user=A", data={"field": "x" * size})
    assert [user for user, _ in torn_down] == ["A", "A"]


async def test_contexts_stay_to_the_end_of_a_stream(app: Flask, torn_down: list[Any]) -> None:
    async with AsyncClient(app) as client:
        response = await client.get("/inner/stream?user=Ada")
    assert response.text == "0 Ada\n1 Ada\n2 Ada\n"
    assert torn_down == [("Ada", None)]


async def test_its_changes_of_the_session_are_saved(app: Flask) -> None:
    async with AsyncClient(app) as client:
        response = await client.post("/inner/login?user=A")
        assert (response.status_code, response.text) == (201, "welcome")
        assert len(response.headers.get_list("Set-Cookie")) == 1
        assert (await client.get("/inner/?user=A")).json()["session"] == 7


async def test_headers_of_hooks_and_its_own(app: Flask) -> None:
    @app.before_request
    def change_session() -> None:
        session["outer"] = 1

    @app.after_request
    def change_headers(response: Any) -> Any:
        response.add_etag()  # of no content, as far as is known here
        response.headers["X-Frame-Options"] = "DENY"
        response.set_cookie("outer", "1")
        response.set_cookie("other", "1")
        return response

    async with AsyncClient(app) as client:
        response = await client.get("/inner/headers?user=A")
        headers = response.headers
        cookies = [line.partition("=")[0] for line in headers.get_list("Set-Cookie")]
        assert cookies == ["inner", "session", "session", "outer", "other"]
        assert sum("Path=/inner" in line for line in headers.get_list("Set-Cookie")) == 1
        assert set(headers["Vary"].split(", ")) == {"Accept-Encoding", "Cookie"}
        assert (headers["ETag"], headers["Content-Length"]) == ('"inner"', "7")
        assert headers.get_list("X-Frame-Options") == ["DENY"]
        async with client.session_transaction() as saved:
            assert dict(saved) == {"outer": 1, "inner": 1}


@pytest.mark.parametrize("outcome", ["replaced", "error"])
async def test_teardown_if_a_hook_does_not_let_it_answer(
    app: Flask, torn_down: list[Any], outcome: str
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.logger.disabled = True

    @app.after_request
    def answer(response: Any) -> Any:
        if outcome == "error" and request.path != "/":
            raise LookupError("on purpose")
        return app.response_class("replaced", 418)

    async with AsyncClient(app) as client:
        response = await client.get("/inner/?user=Ada")
    assert response.status_code == (418 if outcome == "replaced" else 500)
    assert [user for user, _ in torn_down] == ["Ada"]


async def test_its_errors(app: Flask, torn_down: list[Any]) -> None:
    async with AsyncClient(app) as client:
        with pytest.raises(ValueError, match="of the inner app"):
            await client.get("/inner/fail?user=A")
    assert [user for user, _ in torn_down] == ["A"]


def test_with_the_test_client(app: Flask, torn_down: list[Any]) -> None:
    client = app.test_client()
    assert client.post("/inner/?user=A", data=b"abc").get_json()["body"] == 3
    assert client.get("/inner/").status_code == 401
    assert len(torn_down) == 2
    with client.websocket_connect("/inner/ws?user=A") as ws:
        ws.send("hi")
        assert ws.receive() == "hi A None"
    assert len(torn_down) == 3


async def test_an_asyncflask_app(app: Flask) -> None:
    shop = Flask("shop", static_folder=None)

    @shop.get("/cart")
    def cart() -> list[str]:
        return [current_app.name, request.path, request.script_root]

    @shop.get("/async")
    async def asynchronous() -> str:
        return current_app.name

    app.mount("/shop", shop, name="shop", guarded=True)
    async with AsyncClient(app) as client:
        assert (await client.get("/shop/cart?user=A")).json() == ["shop", "/cart", "/shop"]
        assert (await client.get("/shop/async?user=A")).text == "shop"
        assert (await client.get("/shop/cart")).status_code == 401
    assert app.test_client().get("/shop/cart?user=A").json == ["shop", "/cart", "/shop"]


async def test_routes_of_the_app_come_first(app: Flask, inner: Inner) -> None:
    @app.get("/inner/own")
    async def own() -> str:
        return "own"

    async with AsyncClient(app) as client:
        assert (await client.get("/inner/own?user=A")).text == "own"


def test_mounting_without_protection_warns(inner: Inner) -> None:
    app = Flask("warned", static_folder=None)
    app.mount("/before", inner.app)  # no hooks that could be missed
    app.before_request(lambda: None)
    app.mount("/known", inner.app, guarded=False)
    with pytest.warns(UserWarning, match=r"app\.mount\('/inner', \.\.\., guarded=True\)"):
        app.mount("/inner", inner.app)


SERVED = """
from asyncflask import Flask, abort, g, request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

torn_down = []

async def echo(request):
    return PlainTextResponse(f"{len(await request.body())} {g.user}")

async def stream(request):
    async def forever():
        yield "first"
        while not await request.is_disconnected():
            yield "."
            import asyncio; await asyncio.sleep(0.01)
    return StreamingResponse(forever())

async def websocket(ws):
    await ws.accept()
    async for text in ws.iter_text():
        if text == "bye":
            await ws.close(4001, "bye")
            return
        await ws.send_text(f"{text} {g.user}")

app = Flask("served", static_folder=None)

@app.before_request
def log_in():
    g.user = request.args.get("user")
    if g.user is None and request.endpoint != "torn_down":
        abort(401)

@app.teardown_request
def end(error):
    if request.endpoint != "torn_down":
        torn_down.append(g.get("user"))

@app.get("/torn-down", endpoint="torn_down")
async def seen():
    return torn_down

app.mount("/inner", Starlette(routes=[
    Route("/echo", echo, methods=["POST"]), Route("/stream", stream),
    WebSocketRoute("/ws", websocket)]), guarded=True)
"""


async def test_served(tmp_path: Path) -> None:
    (tmp_path / "served_app.py").write_text(SERVED)
    command = [sys.executable, "-m", "uvicorn", "served_app:app", "--port", "{port}"]
    with Process(command, env=python_path(tmp_path)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
            sent = b"x" * 1_000_000
            response = await client.post("/inner/echo?user=A", content=sent)
            assert response.text == "1000000 A"
            assert (await client.post("/inner/echo", content=sent)).status_code == 401
            async with client.stream("GET", "/inner/stream?user=B") as stream:
                async for _ in stream.aiter_text():
                    break  # leave in the middle of it
            async with websockets.connect(f"{server.ws_url}/inner/ws?user=C") as ws:
                await ws.send("hi")
                assert await ws.recv() == "hi C"
                await ws.send("bye")
                with pytest.raises(websockets.ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 4001
            # By the server's log: the answer of uvicorn 0.51 cannot be read.
            with pytest.raises(websockets.InvalidHandshake):
                await websockets.connect(f"{server.ws_url}/inner/ws")
            with pytest.raises(websockets.InvalidHandshake):
                await websockets.connect(
                    f"{server.ws_url}/inner/ws?user=A", origin=Origin("https://evil.example")
                )
            seen: list[str] = []
            while not {"A", "B", "C"} <= set(seen):
                seen = (await client.get("/torn-down")).json()
        assert '"WebSocket /inner/ws" 401' in server.output
        assert '"WebSocket /inner/ws?user=A" 403' in server.output
        assert "Traceback" not in server.output
