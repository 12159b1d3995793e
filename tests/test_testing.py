"""Flask's test client and command runner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import click
import pytest
from werkzeug.test import EnvironBuilder as WerkzeugBuilder

from asyncflask import (
    Flask,
    Response,
    WebSocketDisconnect,
    current_app,
    g,
    has_app_context,
    request,
    session,
    stream_with_context,
    websocket,
)
from asyncflask.asgi import wsgi
from asyncflask.asgi.client import WebSocketDenied
from asyncflask.asgi.lifespan import LifespanFailed
from asyncflask.asgi.loops import background_loop
from asyncflask.testing import EnvironBuilder, FlaskClient, FlaskCliRunner

SECONDS = 45


@pytest.fixture
def app() -> Flask:
    app = Flask("testing_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    return app


class TestEnvironBuilder:
    @pytest.mark.parametrize(
        ("config", "args", "kwargs", "url"),
        [
            ({}, ("/a",), {}, "http://localhost/a"),
            ({}, ("/a?q=1",), {}, "http://localhost/a?q=1"),
            ({"SERVER_NAME": "example.org"}, ("/",), {}, "http://example.org/"),
            ({"SERVER_NAME": "example.org:8000"}, ("/",), {}, "http://example.org:8000/"),
            ({"APPLICATION_ROOT": "/mounted"}, ("/a",), {}, "http://localhost/mounted/a"),
            ({"PREFERRED_URL_SCHEME": "https"}, ("/",), {}, "https://localhost/"),
            ({}, ("/",), {"subdomain": "api"}, "http://api.localhost/"),
            ({}, ("/",), {"url_scheme": "https"}, "https://localhost/"),
            ({}, ("/a",), {"base_url": "https://x.example/b"}, "https://x.example/b/a"),
            ({}, ("https://x.example/a?q=1",), {}, "https://x.example/a?q=1"),
        ],
    )
    def test_url(self, app: Flask, config: Any, args: Any, kwargs: Any, url: str) -> None:
        app.config.update(config)
        builder = EnvironBuilder(app, *args, **kwargs)
        assert builder.get_request().url == url
        builder.close()
        with app.test_request_context(*args, **kwargs):
            assert request.url == url

    def test_contradiction(self, app: Flask) -> None:
        with pytest.raises(AssertionError, match="base_url"):
            EnvironBuilder(app, base_url="http://localhost", subdomain="api")

    def test_json_by_the_provider(self, app: Flask) -> None:
        app.json.dumps = lambda obj, **kwargs: '"own"'  # type: ignore[method-assign]
        with app.test_request_context(json={"a": 1}):
            assert request.json == "own"


class TestClient:
    def test_what_it_opens(self, app: Flask) -> None:
        app.add_url_rule("/a", "view", lambda: f"{request.url} {request.user_agent}")
        client = app.test_client()
        expected = client.get("/a").text
        assert expected.startswith("http://localhost/a Werkzeug/")
        builder = EnvironBuilder(app, "/a")
        for opened in (builder, WerkzeugBuilder("/a"), builder.get_environ()):
            assert client.open(opened).text == expected
        assert client.open(builder.get_request()).text == expected
        builder.close()

    def test_environ_base(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: f"{request.remote_addr} {request.headers['X-A']}")
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = "10.0.0.1"
        assert client.get("/", environ_base={"HTTP_X_A": "b"}).text == "10.0.0.1 b"

    def test_json_of_the_response(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: {"a": 1})
        app.json.loads = lambda s, **kwargs: "own"  # type: ignore[method-assign]
        assert app.test_client().get("/").json == "own"

    def test_cookies_and_redirects(self, app: Flask) -> None:
        @app.get("/")
        def index() -> Any:
            response = app.redirect("/next")
            response.set_cookie("name", "value")
            return response

        app.add_url_rule("/next", "next", lambda: request.cookies.get("name", "none"))
        assert app.test_client().get("/", follow_redirects=True).text == "value"
        without = app.test_client(use_cookies=False)
        assert without.get("/", follow_redirects=True).text == "none"
        with pytest.raises(TypeError, match="use_cookies=True"), without.session_transaction():
            pass

    def test_plain_code_runs_on_the_calling_thread(self, app: Flask) -> None:
        app.before_request(lambda: setattr(g, "ident", threading.get_ident()))
        app.add_url_rule("/", "view", lambda: {"a": g.ident, "b": threading.get_ident()})
        ident = threading.get_ident()
        assert app.test_client().get("/").json == {"a": ident, "b": ident}

    def test_class_of_the_app(self, app: Flask) -> None:
        class Own(FlaskClient):
            def __init__(self, *args: Any, name: str = "", **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.name = name

        app.test_client_class = Own
        client: Any = app.test_client(name="me")
        assert (type(client), client.name) == (Own, "me")

    def test_stream(self, app: Flask) -> None:
        events: list[str] = []

        def generate() -> Iterator[str]:
            for number in range(3):
                events.append(f"made {number}")
                yield str(number)

        app.add_url_rule("/", "view", lambda: stream_with_context(generate()))
        app.teardown_request(lambda error: events.append("teardown"))
        with app.test_client().get("/") as response:
            iterator = response.iter_encoded()
            assert next(iterator) == b"0"
            assert "teardown" not in events
            assert list(iterator) == [b"1", b"2"]
        assert events[-1] == "teardown"
        assert app.test_client().get("/", buffered=True).text == "012"


class TestLifespan:
    @pytest.fixture
    def events(self, app: Flask) -> list[str]:
        events: list[str] = []

        @app.before_serving
        async def start() -> None:
            events.append("start")

        @app.after_serving
        def stop() -> None:
            events.append("stop")

        @asynccontextmanager
        async def lifespan(app: Flask) -> AsyncIterator[dict[str, str]]:
            yield {"pool": "a pool"}

        app.lifespan = lifespan
        app.add_url_rule("/", "view", lambda: {"events": events, "pool": request.state.pool})
        return events

    def test_of_a_block(self, app: Flask, events: list[str]) -> None:
        with app.test_client(lifespan=True) as client:
            assert client.get("/").json == {"events": ["start"], "pool": "a pool"}
            assert request.path == "/"  # the context is kept, as in every such block
        assert events == ["start", "stop"]
        with client:
            assert client.get("/").json == {"events": ["start", "stop", "start"], "pool": "a pool"}

    def test_state_of_websockets(self, app: Flask, events: list[str]) -> None:
        @app.websocket("/ws")
        async def pool() -> None:
            await websocket.send(request.state.pool)

        with app.test_client(lifespan=True) as client, client.websocket_connect("/ws") as ws:
            assert ws.receive() == "a pool"

    def test_only_by_the_switch(self, app: Flask, events: list[str]) -> None:
        with app.test_client() as client, pytest.raises(AttributeError):
            client.get("/")
        assert events == []

    def test_failed_start(self, app: Flask) -> None:
        app.before_serving(lambda: 1 / 0)
        with pytest.raises(LifespanFailed, match="ZeroDivisionError"):
            app.test_client(lifespan=True).__enter__()

    async def test_in_a_coroutine_function(self, app: Flask, events: list[str]) -> None:
        with app.test_client(lifespan=True) as client:
            assert client.get("/").json == {"events": ["start"], "pool": "a pool"}
        assert events == ["start", "stop"]

    def test_of_a_command(self, app: Flask, events: list[str]) -> None:
        @app.cli.command()
        async def command() -> None:
            events.append("command")

        app.test_cli_runner().invoke(args=["command"])
        assert events == ["command"]
        result = app.test_cli_runner(lifespan=True).invoke(args=["command"])
        assert result.exit_code == 0
        assert events == ["command", "start", "command", "stop"]


class TestErrorOfAWebSocket:
    """With TESTING the handler's own error is raised, and not what its client would see."""

    @pytest.fixture(autouse=True)
    def handlers(self, app: Flask) -> None:
        @app.websocket("/at-once")
        def at_once() -> None:
            raise LookupError("own")

        @app.websocket("/later")
        async def later() -> None:
            async for _ in websocket:
                raise LookupError("own")

        @app.websocket("/closed")
        async def closed() -> None:
            await websocket.accept()
            await websocket.close(1011, "closed")

    def test_before_the_handshake(self, app: Flask) -> None:
        with pytest.raises(LookupError, match="own"):
            app.test_client().websocket_connect("/at-once").__enter__()

    def test_while_receiving(self, app: Flask) -> None:
        with app.test_client().websocket_connect("/later") as ws:
            ws.send("a")
            with pytest.raises(LookupError, match="own"):
                ws.receive()
            with pytest.raises(WebSocketDisconnect):
                ws.receive()

    def test_while_iterating(self, app: Flask) -> None:
        with (
            pytest.raises(LookupError, match="own"),
            app.test_client().websocket_connect("/later") as ws,
        ):
            ws.send("a")
            list(ws)

    def test_at_the_end(self, app: Flask) -> None:
        with (
            pytest.raises(LookupError, match="own"),
            app.test_client().websocket_connect("/later") as ws,
        ):
            ws.send("a")

    def test_a_handler_that_closes_so(self, app: Flask) -> None:
        with app.test_client().websocket_connect("/closed") as ws:
            with pytest.raises(WebSocketDisconnect) as closed:
                ws.receive()
            assert (closed.value.code, closed.value.reason) == (1011, "closed")

    def test_without_testing(self, app: Flask) -> None:
        app.testing = False
        with app.test_client().websocket_connect("/later") as ws:
            ws.send("a")
            with pytest.raises(WebSocketDisconnect) as closed:
                ws.receive()
            assert closed.value.code == 1011


class TestPreservedContext:
    @pytest.mark.parametrize("colour", ["plain", "async"])
    def test_after_the_request(self, app: Flask, colour: str) -> None:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("request"))
        app.teardown_appcontext(lambda error: events.append("app"))

        def view() -> str:
            g.name = "value"
            session["a"] = 1
            return "data"

        async def async_view() -> str:
            return view()

        app.add_url_rule("/<name>", "view", lambda name: view())
        app.add_url_rule("/async/<name>", "async_view", async_named(async_view))
        with app.test_client() as client:
            client.get("/x" if colour == "plain" else "/async/x")
            assert request.view_args == {"name": "x"}
            assert (g.name, session["a"]) == ("value", 1)
            client.get("/y")
            assert request.view_args == {"name": "y"}
        assert not request
        # As in Flask: at the end of each request, and of its context that the client kept.
        assert events == ["request", "app"] * 4

    @pytest.fixture
    def events(self, app: Flask) -> list[str]:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("request"))
        app.teardown_appcontext(lambda error: events.append("app"))
        return events

    @pytest.fixture
    def streaming(self, app: Flask, events: list[str]) -> Flask:
        """Of `/plain/` and `/kept/` the second has the context in its stream."""

        def generate(name: str) -> Iterator[str]:
            try:
                for part in "abc":
                    events.append(part)
                    yield part
                    if name == "broken":
                        raise LookupError("on purpose")
            finally:
                events.append("closed")

        @app.get("/plain/<name>")
        def plain(name: str) -> Response:
            return Response(generate(name))

        @app.get("/kept/<name>")
        def kept(name: str) -> Response:
            session["n"] = g.name = name
            return Response(stream_with_context(generate(name)))

        return app

    def test_stream(self, streaming: Flask, events: list[str]) -> None:
        with streaming.test_client() as client:
            assert client.get("/plain/x?q=1").text == "abc"
            assert (request.args["q"], request.view_args) == ("1", {"name": "x"})
        assert events == ["request", "app", "a", "b", "c", "closed", "request", "app"]
        assert not has_app_context()

    def test_stream_with_its_context(self, streaming: Flask, events: list[str]) -> None:
        with streaming.test_client() as client:
            assert client.get("/kept/x?q=1").text == "abc"
            assert (request.args["q"], g.name, session["n"]) == ("1", "x", "x")
            assert events == ["a", "b", "c", "closed"]
        assert events[4:] == ["request", "app"]
        assert not has_app_context()

    def test_several_streams(self, streaming: Flask, events: list[str]) -> None:
        with streaming.test_client() as client:
            first = client.get("/kept/x")
            second = client.get("/kept/y")
            assert request.view_args == {"name": "y"}
            assert events == ["a", "a"]
            assert second.text == first.text == "abc"
            assert request.view_args == {"name": "y"}
            assert events[2:] == ["b", "c", "closed", "b", "c", "closed", "request", "app"]
        assert events[10:] == ["request", "app"]
        assert not has_app_context()

    @pytest.mark.parametrize("kind", ["plain", "kept"])
    def test_stream_that_nobody_reads(
        self, streaming: Flask, events: list[str], kind: str
    ) -> None:
        with streaming.test_client() as client:
            response = client.get(f"/{kind}/x")
            assert request.view_args == {"name": "x"}
        assert not has_app_context()
        response.close()
        torn = ["request", "app"]
        expected = {"plain": [*torn, "a", *torn, "closed"], "kept": ["a", "closed", *torn]}
        assert [event for event in events if event not in "bc"] == expected[kind]

    def test_stream_that_raises(self, streaming: Flask, events: list[str]) -> None:
        with streaming.test_client() as client:
            response = client.get("/kept/broken")
            with pytest.raises(LookupError, match="on purpose"):
                response.get_data()
            assert request.view_args == {"name": "broken"}
        assert events == ["a", "closed", "request", "app"]
        assert not has_app_context()

    def test_async_stream(self, app: Flask, events: list[str]) -> None:
        @app.get("/")
        async def view() -> Response:
            g.name = "x"

            @stream_with_context
            async def generate() -> AsyncIterator[str]:
                yield g.name
                yield request.path

            return Response(generate())

        @app.teardown_request
        async def teardown(error: BaseException | None) -> None:
            events.append("async")

        with app.test_client() as client:
            assert client.get("/").text == "x/"
            assert (g.name, request.path) == ("x", "/")
            assert events == []
        assert events == ["async", "request", "app"]

    def test_nested(self, app: Flask) -> None:
        with app.test_client() as client, pytest.raises(RuntimeError, match="Cannot nest"), client:
            pass

    def test_shares_a_pushed_app_context(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: g.name)
        with app.app_context():
            g.name = "outer"
            assert app.test_client().get("/").text == "outer"


def async_named(func: Any) -> Any:
    async def view(name: str) -> Any:
        return await func()

    return view


class TestContextVariables:
    """What the app sets in them is seen by the test, as in Flask; the contexts are not."""

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_seen_afterwards(self, app: Flask, kind: str) -> None:
        variable: ContextVar[str] = ContextVar("variable", default="unset")

        @app.get("/sync")
        def view() -> str:
            variable.set("set")
            return "data"

        @app.get("/async")
        async def async_view() -> str:
            return view()

        app.test_client().get(f"/{kind}")
        assert variable.get() == "set"
        assert not has_app_context()


class TestInAsyncCode:
    """The client blocks the loop; it works all the same."""

    @pytest.fixture
    def app(self, app: Flask) -> Flask:
        @app.post("/sync")
        def view() -> str:
            return f"{len(request.get_data())} {threading.current_thread().name}"

        @app.post("/async")
        async def async_view() -> str:
            await asyncio.sleep(0)
            return view()

        @app.post("/stream")
        async def stream() -> Response:
            async def generate() -> AsyncIterator[str]:
                await asyncio.sleep(0)
                yield "a"
                await asyncio.sleep(0)
                yield "b"

            return Response(generate())

        @app.get("/deep/<int:depth>")
        async def deep(depth: int) -> str:
            if not depth:
                return "end"
            return f"{depth} {app.test_client().get(f'/deep/{depth - 1}').text}"

        return app

    async def test_in_an_async_test(self, app: Flask) -> None:
        client = app.test_client()
        data = b"x" * 200_000
        # The thread of the test is the request's, as it is in sync tests.
        assert client.post("/sync", data=data).text == "200000 MainThread"
        assert client.post("/async", data=data).text == "200000 asyncflask-loop"
        assert client.post("/stream").text == "ab"
        await asyncio.sleep(0)  # the loop goes on

    async def test_keeps_contexts(self, app: Flask) -> None:
        with app.test_client() as client:
            client.post("/async?q=1")
            assert request.args["q"] == "1"
        assert not has_app_context()

    def test_nested(self, app: Flask) -> None:
        assert app.test_client().get("/deep/3").text == "3 2 1 end"

    def test_loop_that_waits_serves_nobody(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also if the inner request begins before the outer one has begun to wait."""
        loops: list[asyncio.AbstractEventLoop] = []
        asked = [threading.Event() for _ in range(4)]

        def another_loop() -> asyncio.AbstractEventLoop:
            loop = background_loop()
            if loop in loops:
                raise AssertionError("This loop waits for another request.")
            loops.append(loop)
            asked[len(loops) - 1].set()
            return loop

        def wait_late(exchange: Any, reached: Any) -> None:
            number = loops.index(exchange.loop)
            if number < 3:
                asked[number + 1].wait(SECONDS)
            work_until(exchange, reached)

        work_until = wsgi._Exchange._work_until
        monkeypatch.setattr(wsgi, "background_loop", another_loop)
        monkeypatch.setattr(wsgi._Exchange, "_work_until", wait_late)
        assert app.test_client().get("/deep/3").text == "3 2 1 end"


class TestSessionTransaction:
    def test_round_trip(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: session.get("name", "none"))
        client = app.test_client()
        with client.session_transaction() as sess:
            sess["name"] = "value"
        assert client.get("/").text == "value"
        with client.session_transaction() as sess:
            assert sess["name"] == "value"
            del sess["name"]
        assert client.get("/").text == "none"

    def test_without_a_session(self, app: Flask) -> None:
        app.secret_key = None
        with (
            pytest.raises(RuntimeError, match="did not open a session"),
            app.test_client().session_transaction(),
        ):
            pass

    def test_null_session_is_not_saved(self, app: Flask) -> None:
        interface: Any = app.session_interface
        client = app.test_client()

        class Null(type(interface)):  # type: ignore[misc]
            def open_session(self, app: Any, request: Any) -> Any:
                return self.make_null_session(app)

        app.session_interface = Null()
        with client.session_transaction() as sess:
            assert not sess
        assert client.get_cookie("session") is None


class TestWebSocket:
    def test_cookies_and_headers(self, app: Flask) -> None:
        @app.websocket("/ws")
        async def handler() -> None:
            await websocket.send_json([session["name"], request.headers["X-A"], request.url])

        client = app.test_client()
        with client.session_transaction() as sess:
            sess["name"] = "value"
        with client.websocket_connect("/ws?q=1", headers={"X-A": "b"}) as ws:
            assert ws.receive_json() == ["value", "b", "ws://localhost/ws?q=1"]
        with client.websocket_connect("/ws", headers=[("X-A", "b")]) as ws:
            assert ws.receive_json()[1] == "b"

    def test_denied(self, app: Flask) -> None:
        with pytest.raises(WebSocketDenied), app.test_client().websocket_connect("/none"):
            pass


class TestRunner:
    def test_commands(self, app: Flask) -> None:
        @app.cli.command()
        @click.argument("name")
        def hello(name: str) -> None:
            click.echo(f"{name} {current_app.name}")

        runner = app.test_cli_runner()
        assert runner.invoke(args=["hello", "you"]).output == "you testing_test\n"
        assert runner.invoke(hello, ["you"]).output == "you testing_test\n"

    def test_object_of_its_own(self, app: Flask) -> None:
        @click.command()
        @click.pass_obj
        def show(obj: object) -> None:
            click.echo(obj)

        assert app.test_cli_runner().invoke(show, obj="own").output == "own\n"

    def test_class_of_the_app(self, app: Flask) -> None:
        class Own(FlaskCliRunner):
            pass

        app.test_cli_runner_class = Own
        assert isinstance(app.test_cli_runner(), Own)


def test_response_class_of_the_app(app: Flask) -> None:
    class Own(Response):
        own = "own"

    app.response_class = Own
    app.add_url_rule("/", "view", lambda: "data")
    response: Any = app.test_client().get("/")
    assert response.own == "own"


def test_empty_path_is_redirected() -> None:
    app = Flask("empty", static_folder=None)
    app.add_url_rule("/", "index", lambda: "text")
    response = app.test_client().get("")
    assert (response.status_code, response.location) == (308, "http://localhost/")
