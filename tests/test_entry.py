"""How servers call an app, even if `Flask.__call__` or `asgi_app` was replaced."""

from __future__ import annotations

import abc
import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from werkzeug.test import Client

from asyncflask import Flask, request
from support.asgi import Peer, exchange, http_scope

is_coroutine_function: Callable[[Any], bool] = (
    inspect.iscoroutinefunction
    if hasattr(inspect, "markcoroutinefunction")
    else asyncio.iscoroutinefunction  # the mark of Python 3.11 is known to asyncio alone
)


def with_views(app: Flask) -> Flask:
    app.add_url_rule("/", "sync", lambda: f"text {request.environ.get('seen', '')}")

    @app.get("/async")
    async def async_view() -> str:
        return f"text {request.environ.get('seen', '')}"

    return app


@pytest.fixture
def app() -> Flask:
    return with_views(Flask("entry_test", static_folder=None))


@pytest.fixture
def put_in_flask() -> Iterator[Callable[[Any], None]]:
    """Set `Flask.__call__`, as monitoring libraries do, for one test."""
    patches: list[Any] = []

    def put(func: Any) -> None:
        patches.append(mock.patch.object(Flask, "__call__", func))
        patches[-1].start()

    yield put
    for patch in reversed(patches):
        patch.stop()


def wsgi_wrapper(original: Any) -> Callable[..., Any]:
    """What Sentry's SDK puts there."""

    def patched(self: Flask, environ: Any, start_response: Any) -> Any:
        environ["seen"] = "by the wrapper"
        return original(self, environ, start_response)

    return patched


@pytest.mark.parametrize("path", ["/", "/async"])
class TestReplacedInTheClass:
    async def test_by_a_wsgi_function(
        self, app: Flask, put_in_flask: Callable[[Any], None], path: str
    ) -> None:
        put_in_flask(wsgi_wrapper(Flask.__call__))
        assert (await exchange(app, http_scope(path))).body == b"text by the wrapper"
        assert Client(app).get(path).text == "text by the wrapper"

    async def test_twice(self, app: Flask, put_in_flask: Callable[[Any], None], path: str) -> None:
        for _ in range(2):
            put_in_flask(wsgi_wrapper(Flask.__call__))
        assert (await exchange(app, http_scope(path))).body == b"text by the wrapper"

    async def test_by_a_function_for_both(
        self, app: Flask, put_in_flask: Callable[[Any], None], path: str
    ) -> None:
        original, calls = Flask.__call__, []

        def patched(*args: Any, **kwargs: Any) -> Any:
            calls.append(len(args))
            return original(*args, **kwargs)

        put_in_flask(patched)
        assert (await exchange(app, http_scope(path))).status == 200
        assert calls == [4]

    async def test_and_put_back(
        self, app: Flask, put_in_flask: Callable[[Any], None], path: str
    ) -> None:
        original = Flask.__call__
        with mock.patch.object(Flask, "__call__", wsgi_wrapper(original)):
            pass
        assert Flask.__call__ is original
        assert (await exchange(app, http_scope(path))).body == b"text "


class TestOverridden:
    async def test_with_the_arguments_of_wsgi(self) -> None:
        class Mine(Flask):
            def __call__(self, environ: Any, start_response: Any) -> Any:
                environ["seen"] = "by Mine"
                return super().__call__(environ, start_response)

        app = with_views(Mine("entry_test", static_folder=None))
        assert (await exchange(app, http_scope())).body == b"text by Mine"
        assert (await exchange(app, http_scope("/async"))).body == b"text by Mine"
        assert Client(app).get("/").text == "text by Mine"

    async def test_asgi_middleware_is_within(self) -> None:
        order: list[str] = []

        class Mine(Flask):
            def __call__(self, environ: Any, start_response: Any) -> Any:
                order.append("__call__")
                return super().__call__(environ, start_response)

        app = with_views(Mine("entry_test", static_folder=None))
        inner = app.asgi_app

        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            order.append("middleware")
            await inner(scope, receive, send)

        app.asgi_app = middleware  # type: ignore[method-assign]
        assert (await exchange(app, http_scope())).status == 200
        assert order == ["__call__", "middleware"]

    async def test_with_the_arguments_of_asgi(self) -> None:
        class Mine(Flask):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                await super().__call__({**scope, "path": "/async"}, receive, send)

        app = with_views(Mine("entry_test", static_folder=None))
        assert (await exchange(app, http_scope("/nowhere"))).body == b"text "

    def test_class_that_is_abstract_too(self) -> None:
        class Base(abc.ABC):
            @abc.abstractmethod
            def name_of_shop(self) -> str: ...

        class Shop(Base, Flask): ...

        with pytest.raises(TypeError, match="name_of_shop"):
            Shop("shop")  # type: ignore[abstract]


class TestArguments:
    async def test_keywords(self, app: Flask) -> None:
        peer = Peer()
        await app(scope=http_scope(), receive=peer.receive, send=peer.send)
        assert peer.body == b"text "
        peer = Peer()
        await app(http_scope(), receive=peer.receive, send=peer.send)
        assert peer.body == b"text "

    @pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), ((), {"a": 1, "b": 2})])
    def test_others(self, app: Flask, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match="scope, receive, send"):
            app(*args, **kwargs)


def looks_like_asgi_3(app: Any) -> bool:
    """As servers and middleware ask (asgiref's `guarantee_single_callable`, Sentry's SDK)."""
    if inspect.isfunction(app):
        return is_coroutine_function(app)
    return is_coroutine_function(getattr(app, "__call__", None))  # noqa: B004


class AsgiMiddleware:
    """Calls what it takes for an app of ASGI 2 in that way, as Sentry's does."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.is_asgi_3 = looks_like_asgi_3(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_asgi_3:
            await self.app(scope, receive, send)
        else:
            await self.app(scope)(receive, send)


class TestAsgiApp:
    def test_an_app_looks_like_asgi_3(self, app: Flask) -> None:
        assert looks_like_asgi_3(app)
        assert looks_like_asgi_3(app.asgi_app)

    async def test_wrapped(self, app: Flask) -> None:
        app.asgi_app = AsgiMiddleware(app.asgi_app)  # type: ignore[method-assign]
        assert (await exchange(app, http_scope())).body == b"text "

    async def test_add_middleware(self, app: Flask) -> None:
        app.add_middleware(AsgiMiddleware)
        app.add_middleware(AsgiMiddleware)
        assert (await exchange(app, http_scope())).body == b"text "

    async def test_override(self) -> None:
        class Mine(Flask):
            async def asgi_app(self, scope: Scope, receive: Receive, send: Send) -> None:
                await super().asgi_app({**scope, "path": "/async"}, receive, send)

        app = with_views(Mine("entry_test", static_folder=None))
        app.add_middleware(AsgiMiddleware)
        assert (await exchange(app, http_scope("/nowhere"))).body == b"text "

    def test_is_equal_to_itself(self, app: Flask) -> None:
        assert app.asgi_app == app.asgi_app
        assert app.asgi_app != Flask("other").asgi_app


async def test_served_when_the_class_was_patched(
    app: Flask, put_in_flask: Callable[[Any], None]
) -> None:
    """A server asks whether the app is a coroutine function before it calls it."""
    put_in_flask(wsgi_wrapper(Flask.__call__))
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        texts = [
            (await client.get(f"http://127.0.0.1:{port}{path}")).text for path in ("/", "/async")
        ]
    server.should_exit = True
    await serving
    assert texts == ["text by the wrapper"] * 2
