"""`before_websocket` and similar hooks, on apps and blueprints, and other features of code
written for Quart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncflask import (
    Blueprint,
    Flask,
    Response,
    abort,
    copy_current_request_context,
    copy_current_websocket_context,
    g,
    has_websocket_context,
    render_template_string,
    request,
    websocket,
)
from asyncflask.asgi.client import WebSocketDenied
from asyncflask.async_testing import AsyncClient


def of_colour(colour: str, func: Callable[..., Any]) -> Callable[..., Any]:
    if colour == "plain":
        return func

    async def asynchronous(*args: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args)

    return asynchronous


@pytest.fixture
def log() -> list[Any]:
    return []


@pytest.fixture
def blueprint(log: list[Any]) -> Blueprint:
    blueprint = Blueprint("bp", __name__, url_prefix="/bp")

    @blueprint.websocket("/ws")
    async def ws() -> None:
        await websocket.send("bp")

    @blueprint.get("/")
    async def index() -> str:
        return "bp"

    return blueprint


@pytest.fixture
def app() -> Flask:
    app = Flask("test_websocket_hooks", static_folder=None)
    app.testing = True

    @app.get("/")
    async def index() -> str:
        return "http"

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send("async")

    @app.websocket("/plain")
    def plain() -> None:
        websocket.sync.send("plain")

    @app.websocket("/refused")
    async def refused() -> Any:
        return "no", 403

    @app.websocket("/aborted")
    async def aborted() -> None:
        abort(401)

    return app


async def talk(app: Flask, path: str) -> Any:
    async with AsyncClient(app) as client:
        try:
            async with client.websocket_connect(path) as ws:
                return await ws.receive()
        except WebSocketDenied as denied:
            return denied.status_code


async def get(app: Flask, path: str) -> str:
    async with AsyncClient(app) as client:
        return (await client.get(path)).text


colours = pytest.mark.parametrize("colour", ["plain", "async"])


@colours
@pytest.mark.parametrize("path", ["/ws", "/plain"])
async def test_before(app: Flask, log: list[Any], colour: str, path: str) -> None:
    hook = of_colour(colour, lambda: log.append(request.path))
    assert app.before_websocket(hook) is hook
    assert await get(app, "/") == "http"
    assert log == []
    assert await talk(app, path) in ("async", "plain")
    assert log == [path]


@colours
async def test_before_refuses(app: Flask, colour: str) -> None:
    app.before_websocket(of_colour(colour, lambda: ("log in", 401)))
    assert await talk(app, "/ws") == 401
    assert await get(app, "/") == "http"


@colours
async def test_after_gets_the_refusal(app: Flask, log: list[Any], colour: str) -> None:
    def after(response: Response | None) -> Response | None:
        log.append(response and response.status_code)
        if response is not None and response.status_code == 401:
            response.status_code = 404
        return response

    app.after_websocket(of_colour(colour, after))
    assert await get(app, "/") == "http"
    assert log == []
    assert await talk(app, "/refused") == 403
    assert await talk(app, "/aborted") == 404
    assert log == [403, 401]


@colours
@pytest.mark.parametrize("path", ["/ws", "/plain"])
async def test_after_a_conversation_gets_none(
    app: Flask, log: list[Any], colour: str, path: str
) -> None:
    app.teardown_websocket(lambda error: log.append("teardown"))
    app.after_websocket(of_colour(colour, log.append))
    await talk(app, path)
    assert log == [None, "teardown"]


@colours
async def test_teardown(app: Flask, log: list[Any], colour: str) -> None:
    error = ValueError("on purpose")

    @app.websocket("/error")
    async def failing() -> None:
        await websocket.send("first")
        raise error

    app.teardown_websocket(of_colour(colour, log.append))
    await get(app, "/")
    assert log == []
    assert await talk(app, "/ws") == "async"
    assert log == [None]
    app.testing = False
    assert await talk(app, "/error") == "first"
    assert log == [None, error]


HOOKS = ("before", "after", "teardown")


@colours
async def test_of_a_blueprint(
    app: Flask, blueprint: Blueprint, log: list[Any], colour: str
) -> None:
    for name in HOOKS:
        getattr(blueprint, f"{name}_websocket")(
            of_colour(colour, lambda *args, name=name: log.append(name))
        )
    app.register_blueprint(blueprint)
    assert await talk(app, "/ws") == "async"
    assert await get(app, "/bp/") == "bp"
    assert log == []
    assert await talk(app, "/bp/ws") == "bp"
    assert sorted(log) == sorted(HOOKS)


@colours
async def test_of_the_app_from_a_blueprint(
    app: Flask, blueprint: Blueprint, log: list[Any], colour: str
) -> None:
    for name in HOOKS:
        hook = of_colour(colour, lambda *args, name=name: log.append(name))
        assert getattr(blueprint, f"{name}_app_websocket")(hook) is hook
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, name="again", url_prefix="/again")
    assert await get(app, "/bp/") == "bp"
    assert log == []
    assert await talk(app, "/ws") == "async"
    assert sorted(log) == sorted(HOOKS)


async def test_order_among_other_hooks(app: Flask, log: list[Any]) -> None:
    app.before_request(lambda: log.append(1))
    app.before_websocket(lambda: log.append(2))
    app.before_request(lambda: log.append(3))
    await talk(app, "/ws")
    assert log == [1, 2, 3]


async def test_asynchronous_ones_leave_requests_on_the_loop(app: Flask) -> None:
    async def hook(*args: Any) -> Any:
        raise AssertionError("There is no WebSocket.")

    before = threading.active_count()
    app.before_websocket(hook)
    app.after_websocket(hook)
    app.teardown_websocket(hook)
    assert await get(app, "/") == "http"
    assert threading.active_count() == before


def test_names_of_the_functions_stay(app: Flask) -> None:
    """A profiler or a trace shows the user's function."""

    @app.before_websocket
    def check_login() -> None: ...

    assert [f.__name__ for f in app.before_request_funcs[None]] == ["check_login"]


async def test_late(app: Flask) -> None:
    await get(app, "/")
    with pytest.raises(AssertionError, match="before_websocket"):
        app.before_websocket(lambda: None)


async def test_copied_context(app: Flask, log: list[Any]) -> None:
    assert copy_current_websocket_context is copy_current_request_context

    @app.websocket("/copied")
    async def copied() -> None:
        g.value = 1

        @copy_current_websocket_context
        async def task() -> None:
            assert has_websocket_context()
            await websocket.send(f"from {request.path}")

        await asyncio.create_task(task())

    assert await talk(app, "/copied") == "from /copied"
    with pytest.raises(RuntimeError, match="no request is active"):
        copy_current_websocket_context(lambda: None)


class TestAdvice:
    """A note on what to write here in place of Quart's."""

    @pytest.mark.parametrize("value", ["json", "text", "form"])
    async def test_await(self, app: Flask, value: str) -> None:
        @app.post("/awaits")
        async def awaits() -> Any:
            if value == "json":
                return await request.get_json()
            if value == "form":
                return await request.form  # type: ignore[misc]
            return await render_template_string("x")  # type: ignore[misc]

        async with AsyncClient(app) as client:
            with pytest.raises(TypeError, match="'await' expression") as caught:
                await client.post("/awaits", json={})
        (note,) = caught.value.__notes__
        assert "remove 'await'" in note

    async def test_in_the_log(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        app.testing = False

        @app.post("/awaits")
        async def awaits() -> Any:
            return await request.get_json()

        async with AsyncClient(app) as client:
            assert (await client.post("/awaits", json={})).status_code == 500
        assert "remove 'await'" in caplog.text

    async def test_handshake(self, app: Flask) -> None:
        @app.websocket("/asks")
        async def asks() -> None:
            await websocket.send(websocket.headers["Host"])  # type: ignore[attr-defined]

        with pytest.raises(AttributeError) as caught:
            await talk(app, "/asks")
        assert caught.value.__notes__ == [
            "'request' is the WebSocket's handshake: write 'request.headers'."
        ]

    @pytest.mark.parametrize("error", [TypeError("something else"), AttributeError("x")])
    async def test_other_errors_have_none(self, app: Flask, error: Exception) -> None:
        @app.websocket("/fails")
        async def fails() -> None:
            raise error

        @app.websocket("/typo")
        async def typo() -> None:
            await websocket.recieve()  # type: ignore[attr-defined]

        for path in ("/fails", "/typo"):
            with pytest.raises(type(error) if path == "/fails" else AttributeError) as caught:
                await talk(app, path)
            assert not hasattr(caught.value, "__notes__")
