"""The proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from werkzeug.local import LocalProxy

from asyncflask import Flask, globals
from asyncflask.asgi.websocket import SyncWebSocket
from asyncflask.ctx import _cv_app, _cv_request
from asyncflask.globals import request, session, websocket
from asyncflask.sessions import SessionMixin

blocking = cast(SyncWebSocket, websocket)

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


def test_as_the_proxies_of_the_library(app: Flask) -> None:
    """Each way to an attribute, by ours and by Werkzeug's own."""
    plain: dict[str, Any] = {
        "g": LocalProxy(_cv_app, "g"),
        "request": LocalProxy(_cv_request, "request"),
        "session": LocalProxy(_cv_request, "session"),
    }
    with app.test_request_context("/a?b=1", headers={"Cookie": "c=2"}):
        for name, theirs in plain.items():
            ours: Any = vars(globals)[name]
            theirs.own, theirs._own = 1, 2
            for key in ("own", "_own", "__class__", "__dict__", "__doc__", *REQUESTS[name]):
                assert getattr(ours, key) == getattr(theirs, key), key
            ours.own = 3
            assert theirs.own == 3
            del ours.own
            for key in ("own", "_missing", "missing", "__missing__"):
                assert not hasattr(ours, key)
                assert getattr(ours, key, "none") == "none"
                with pytest.raises(AttributeError):
                    getattr(ours, key)
            assert dir(ours) == dir(theirs)
            assert repr(ours) == repr(theirs)
            assert type(ours).__name__ == type(theirs).__name__


REQUESTS: dict[str, tuple[str, ...]] = {
    "g": ("get",),
    "request": ("args", "cookies", "headers", "method", "path", "url"),
    "session": ("get", "items", "modified", "permanent"),
}


def test_session_reads(app: Flask) -> None:
    with app.test_request_context() as ctx:
        assert ctx.opened_session is None
        assert session.get("a") is None
        session["a"] = 1
        assert session.get("a", 2) == session["a"] == 1
        assert "a" in session
        assert dict(session) == {"a": 1}
        assert len(session) == 1
        assert [*session] == ["a"]
        assert session
        assert ctx.opened_session == {"a": 1}


def test_an_error_of_an_attribute_is_shown(app: Flask) -> None:
    class Broken(app.app_ctx_globals_class):  # type: ignore[misc, name-defined]
        @property
        def value(self) -> int:
            return {}.mistaken  # type: ignore[attr-defined, no-any-return]

    app.app_ctx_globals_class = Broken
    with app.app_context(), pytest.raises(AttributeError):
        _ = globals.g.value


def test_websocket_is_none_of_a_request(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(RuntimeError, match="not in HTTP requests"):
        blocking.receive()


async def test_messages_outside(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="Working outside of a WebSocket"):
        blocking.send("x")
    async with app.test_request_context():
        with pytest.raises(RuntimeError, match="not in HTTP requests"):
            blocking.receive()
        with pytest.raises(RuntimeError, match="not in HTTP requests"):
            blocking.receive(timeout=1)
        with pytest.raises(RuntimeError, match="not in HTTP requests"):
            blocking.send("x")


def test_websocket(app: Flask) -> None:
    @app.websocket("/")
    async def handler() -> None:
        await websocket.send(f"{request.path} {websocket.accepted}")

    with app.test_client().websocket_connect("/") as client:
        assert client.receive() == "/ False"


def test_session_through_the_proxy_counts_as_access(app: Flask) -> None:
    with app.test_request_context() as ctx:
        ctx._session = cast(SessionMixin, app.session_interface.open_session(app, ctx.request))
        assert not ctx._session.accessed
        session.get("name")
        assert ctx._session.accessed


@pytest.mark.parametrize(
    "name", [name for name in vars(type(globals.request)) if not name.startswith("_")]
)
def test_attributes_that_have_a_short_way(app: Flask, name: str) -> None:
    with pytest.raises(RuntimeError, match="Working outside of request context"):
        getattr(globals.request, name)
    with app.test_request_context("/?a=1", json=1) as ctx:
        assert getattr(globals.request, name) == getattr(ctx.request, name)
