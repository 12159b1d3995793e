"""The proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asyncflask import Flask, globals
from asyncflask.ctx import _cv_app
from asyncflask.globals import request, session, websocket

# By name: an unbound proxy cannot even be asked for its own, as pytest does for its output.
NEEDS = {
    "app_ctx": "app",
    "current_app": "app",
    "g": "app",
    "request_ctx": "request",
    "request": "request",
    "session": "request",
    "websocket": "websocket",
}
MESSAGES = {
    "app": "Working outside of application context",
    "request": "Working outside of request context",
    "websocket": "Working outside of a WebSocket",
}


@pytest.fixture
def app() -> Flask:
    app = Flask("globals_test", static_folder=None)
    app.secret_key = "test key"
    return app


@pytest.mark.parametrize(("name", "kind"), NEEDS.items())
def test_outside(name: str, kind: str) -> None:
    proxy: Any = vars(globals)[name]
    with pytest.raises(RuntimeError, match=MESSAGES[kind]):
        _ = proxy.anything
    with pytest.raises(RuntimeError, match=MESSAGES[kind]):
        proxy._get_current_object()
    assert not proxy  # Werkzeug's: an unbound proxy is false
    assert repr(proxy) == "<LocalProxy unbound>"


@pytest.mark.parametrize(
    ("name", "get"),
    [
        ("app_ctx", lambda ctx: _cv_app.get()),
        ("current_app", lambda ctx: ctx.app),
        ("g", lambda ctx: _cv_app.get().g),
        ("request_ctx", lambda ctx: ctx),
        ("request", lambda ctx: ctx.request),
        ("session", lambda ctx: ctx.session),
    ],
)
def test_inside(app: Flask, name: str, get: Callable[[Any], Any]) -> None:
    with app.test_request_context() as ctx:
        assert vars(globals)[name]._get_current_object() is get(ctx)


def test_websocket_is_none_of_a_request(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(RuntimeError, match="a request has none"):
        websocket.receive()


async def test_messages_outside(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="Working outside of a WebSocket"):
        websocket.send("x")
    async with app.test_request_context():
        with pytest.raises(RuntimeError, match="a request has none"):
            websocket.receive()
        with pytest.raises(RuntimeError, match="a request has none"):
            websocket.receive(timeout=1)
        with pytest.raises(RuntimeError, match="a request has none"):
            websocket.send("x")


def test_websocket(app: Flask) -> None:
    @app.websocket("/")
    async def handler() -> None:
        await websocket.send(f"{request.path} {websocket.accepted}")

    with app.test_client().websocket_connect("/") as client:
        assert client.receive() == "/ False"


def test_session_through_the_proxy_counts_as_access(app: Flask) -> None:
    with app.test_request_context() as ctx:
        ctx._session = app.session_interface.open_session(app, ctx.request)
        assert not ctx._session.accessed
        session.get("name")
        assert ctx._session.accessed
