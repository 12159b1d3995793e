"""A request's steps: their order, and their replacements."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import pytest
import werkzeug
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from werkzeug.exceptions import BadRequest, ImATeapot, NotFound
from werkzeug.local import LocalProxy
from werkzeug.test import EnvironBuilder

from asyncflask import (
    Blueprint,
    Flask,
    Request,
    Response,
    WebSocketDisconnect,
    abort,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    current_app,
    g,
    got_request_exception,
    render_template_string,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    session,
    stream_with_context,
    websocket,
)
from asyncflask.asgi import pool
from asyncflask.asgi.client import WebSocketDenied, WebSocketSession
from asyncflask.async_testing import AsyncClient
from asyncflask.dispatch import STEPS
from asyncflask.json.provider import DefaultJSONProvider
from asyncflask.sessions import SecureCookieSession, SessionInterface
from support.asgi import Peer, chunks, exchange, http_scope

COLOURS = ["plain", "async"]


def coloured(func: Callable[..., Any], colour: str) -> Callable[..., Any]:
    """*func*, or the same as a coroutine function."""
    if colour == "plain":
        return func

    @functools.wraps(func)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args, **kwargs)

    return coroutine


def divide() -> Any:
    return 1 / 0


@pytest.fixture
def app() -> Flask:
    app = Flask("dispatch_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    return app


# -- hooks ------------------------------------------------------------------------------------


class Trace:
    """Hooks of an app, a blueprint and one inside of it, each of which notes its name. *colours*
    are those of the hooks in turn, and of the view."""

    def __init__(self, app: Flask, colours: Callable[[int], str]) -> None:
        self.events: list[str] = []
        self.threads: set[str] = set()
        self.number = 0
        self.colours = colours
        child, parent = Blueprint("child", __name__), Blueprint("parent", __name__)
        scopes: list[tuple[str, Any]] = [("child", child), ("parent", parent), ("app", app)]
        for name, scope in scopes:
            scope.url_value_preprocessor(self.note(f"url {name}"))
            for number in "12":
                scope.before_request(self.note(f"before {number} {name}"))
                scope.after_request(self.note(f"after {number} {name}", passes=True))
                scope.teardown_request(self.note(f"teardown {number} {name}"))
        app.teardown_appcontext(self.note("teardown context"))
        child.add_url_rule("/", "view", self.note("view", value="data"))
        parent.register_blueprint(child)
        app.register_blueprint(parent)

    def note(self, name: str, passes: bool = False, value: Any = None) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            self.events.append(name)
            self.threads.add(threading.current_thread().name)
            return args[0] if passes else value

        self.number += 1
        return coloured(noted, self.colours(self.number))


ORDER = """
url app, url parent, url child
before 1 app, before 2 app, before 1 parent, before 2 parent, before 1 child, before 2 child
view
after 2 child, after 1 child, after 2 parent, after 1 parent, after 2 app, after 1 app
teardown 2 child, teardown 1 child, teardown 2 parent, teardown 1 parent
teardown 2 app, teardown 1 app, teardown context
"""

MIXES: dict[str, Callable[[int], str]] = {
    "plain": lambda number: "plain",
    "async": lambda number: "async",
    "every other": lambda number: COLOURS[number % 2],
    "every third": lambda number: COLOURS[number % 3 == 0],
}


@pytest.mark.parametrize("mix", MIXES)
class TestOrder:
    def test_by_the_test_client(self, app: Flask, mix: str) -> None:
        trace = Trace(app, MIXES[mix])
        assert app.test_client().get("/").text == "data"
        assert trace.events == ORDER.strip().replace("\n", ", ").split(", ")
        assert trace.threads <= {"MainThread", "asyncflask-loop"}

    async def test_by_asgi(self, app: Flask, mix: str) -> None:
        trace = Trace(app, MIXES[mix])
        peer = await exchange(app, http_scope())
        assert (peer.status, peer.body) == (200, b"data")
        assert trace.events == ORDER.strip().replace("\n", ", ").split(", ")
        assert trace.threads <= {"MainThread", "asyncflask-worker"}


@pytest.mark.parametrize(("mix", "hops"), [("plain", 1), ("async", 0)])
async def test_hops_of_a_request(
    app: Flask, monkeypatch: pytest.MonkeyPatch, mix: str, hops: int
) -> None:
    Trace(app, MIXES[mix])
    jobs: list[object] = []
    post = pool.Worker.post

    def counting(worker: pool.Worker, job: Callable[[], None]) -> None:
        jobs.append(job)
        post(worker, job)

    with monkeypatch.context() as patch:
        patch.setattr(pool.Worker, "post", counting)
        assert (await exchange(app, http_scope())).status == 200
    assert len(jobs) == hops


@pytest.mark.parametrize("colour", COLOURS)
class TestHooks:
    def test_value_of_before_request_is_the_response(self, app: Flask, colour: str) -> None:
        app.before_request(coloured(lambda: ("stop", 401), colour))
        app.before_request(lambda: pytest.fail("must not be called"))
        app.add_url_rule("/", "view", lambda: pytest.fail("must not be called"))
        app.after_request(
            coloured(lambda response: (response.headers.add("X", "1"), response)[1], colour)
        )
        response = app.test_client().get("/")
        assert (response.status_code, response.text, response.headers["X"]) == (401, "stop", "1")

    def test_after_request_may_give_another_response(self, app: Flask, colour: str) -> None:
        app.add_url_rule("/", "view", lambda: "first")
        app.after_request(coloured(lambda response: Response("other", 201), colour))
        response = app.test_client().get("/")
        assert (response.status_code, response.text) == (201, "other")

    @pytest.mark.parametrize(
        "place", ["before_request", "url_value_preprocessor", "view", "after_request"]
    )
    def test_errors_go_to_error_handlers(self, app: Flask, colour: str, place: str) -> None:
        def fail(*args: Any) -> None:
            raise LookupError(place)

        app.add_url_rule("/", "view", coloured(fail, colour) if place == "view" else lambda: "ok")
        if place != "view":
            getattr(app, place)(coloured(fail, colour))
        app.register_error_handler(LookupError, coloured(lambda error: (str(error), 418), colour))
        app.config["PROPAGATE_EXCEPTIONS"] = False
        response = app.test_client().get("/")
        # As in Flask, an error of after_request is none of the view's: it ends in a 500.
        assert response.status_code == (500 if place == "after_request" else 418)

    def test_session_is_saved_after_the_hooks(self, app: Flask, colour: str) -> None:
        def change(response: Response) -> Response:
            session["name"] = "value"
            return response

        app.add_url_rule("/", "view", coloured(lambda: session.get("name", "none"), colour))
        app.after_request(coloured(change, colour))
        client = app.test_client()
        assert [client.get("/").text for _ in range(2)] == ["none", "value"]


class TestTeardown:
    @pytest.fixture
    def failing(self, app: Flask) -> list[str]:
        """Two that fail of four, the others note that they were called."""
        events: list[str] = []
        app.add_url_rule("/", "view", lambda: "data")

        @app.teardown_request
        async def one(error: BaseException | None) -> None:
            events.append("one")

        @app.teardown_request
        def two(error: BaseException | None) -> None:
            raise ValueError("two")

        @app.teardown_request
        async def three(error: BaseException | None) -> None:
            raise LookupError("three")

        @app.teardown_appcontext
        def four(error: BaseException | None) -> None:
            events.append(f"four {error}")

        return events

    def test_all_run_and_errors_are_collected(self, app: Flask, failing: list[str]) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            app.test_client().get("/")
        assert [str(error) for error in caught.value.exceptions] == ["three", "two"]
        assert failing == ["one", "four None"]

    async def test_client_gets_its_answer(
        self, app: Flask, failing: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        app.testing = False
        peer = await exchange(app, http_scope())
        assert (peer.status, peer.body) == (200, b"data")
        assert "A teardown function failed." in caplog.text
        assert failing == ["one", "four None"]

    def test_one_error_is_raised_as_it_is(self, app: Flask) -> None:
        @app.teardown_request
        def teardown(error: BaseException | None) -> None:
            raise LookupError

        with pytest.raises(LookupError):
            app.test_client().get("/")

    @pytest.mark.parametrize("ignored", [False, True])
    def test_is_told_of_the_error(self, app: Flask, ignored: bool) -> None:
        errors: list[BaseException | None] = []
        app.add_url_rule("/", "view", divide)
        app.teardown_request(errors.append)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.should_ignore_error = lambda error: ignored  # type: ignore[method-assign]
        assert app.test_client().get("/").status_code == 500
        assert [type(error) for error in errors] == [type(None) if ignored else ZeroDivisionError]

    def test_not_told_of_what_was_handled(self, app: Flask) -> None:
        errors: list[BaseException | None] = []
        app.add_url_rule("/", "view", divide)
        app.register_error_handler(ZeroDivisionError, lambda error: "handled")
        app.teardown_request(errors.append)
        assert app.test_client().get("/").text == "handled"
        assert errors == [None]


SIGNALS: dict[str, Any] = {
    "started": request_started,
    "finished": request_finished,
    "exception": got_request_exception,
    "tearing down": request_tearing_down,
    "context pushed": appcontext_pushed,
    "context tearing down": appcontext_tearing_down,
    "context popped": appcontext_popped,
}


class TestSignals:
    @pytest.mark.parametrize("colour", COLOURS)
    @pytest.mark.parametrize("view_colour", COLOURS)
    def test_receivers(self, app: Flask, colour: str, view_colour: str) -> None:
        events: list[str] = []
        receivers = []
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.add_url_rule("/", "view", coloured(divide, view_colour))

        def receive(name: str, sender: Flask, **kwargs: Any) -> None:
            assert sender is app
            events.append(f"{name} {[type(value).__name__ for value in kwargs.values()]}")

        for name, signal in SIGNALS.items():
            receivers.append(
                coloured(functools.partial(receive, name), colour)
                if colour == "plain"
                else self.coroutine(receive, name)
            )
            signal.connect(receivers[-1], app)
        assert app.test_client().get("/").status_code == 500
        assert events == [
            "context pushed []",
            "started []",
            "exception ['ZeroDivisionError']",
            "finished ['Response']",
            "tearing down ['ZeroDivisionError']",
            "context tearing down ['ZeroDivisionError']",
            "context popped []",
        ]

    def coroutine(self, receive: Callable[..., None], name: str) -> Callable[..., Any]:
        async def receiver(sender: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            receive(name, sender, **kwargs)

        return receiver

    def test_error_of_a_receiver(self, app: Flask) -> None:
        def fail(sender: Any, **kwargs: Any) -> None:
            raise LookupError

        app.add_url_rule("/", "view", lambda: "data")
        with request_tearing_down.connected_to(fail, app), pytest.raises(LookupError):
            app.test_client().get("/")

    def test_muted(self, app: Flask) -> None:
        def fail(sender: Any, **kwargs: Any) -> None:
            raise LookupError

        app.add_url_rule("/", "view", lambda: "data")
        with request_started.connected_to(fail, app), request_started.muted():
            assert app.test_client().get("/").text == "data"


# -- steps that were replaced -----------------------------------------------------------------

REPLACED = [
    ("full_dispatch_request", "/"),
    ("preprocess_request", "/"),
    ("dispatch_request", "/"),
    ("make_response", "/"),
    ("finalize_request", "/"),
    ("process_response", "/"),
    ("do_teardown_request", "/"),
    ("do_teardown_appcontext", "/"),
    ("handle_user_exception", "/error"),
    ("handle_exception", "/error"),
    ("handle_http_exception", "/nothing"),
    ("update_template_context", "/template"),
]


class TestReplaced:
    STATUS = {"/": 200, "/error": 500, "/nothing": 404, "/template": 200}

    def views(self, app: Flask, colour: str) -> None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.add_url_rule("/", "view", coloured(lambda: "data", colour))
        app.add_url_rule("/error", "error", coloured(divide, colour))
        app.add_url_rule("/template", "template", lambda: render_template_string("data"))

    def test_table_is_complete(self) -> None:
        assert {name for name, _ in REPLACED} == {*STEPS, "make_response"}

    @pytest.mark.parametrize("view_colour", COLOURS)
    @pytest.mark.parametrize(("name", "path"), REPLACED)
    async def test_in_a_subclass(self, name: str, path: str, view_colour: str) -> None:
        calls: list[str] = []

        def step(self: Flask, *args: Any) -> Any:
            calls.append(name)
            return getattr(Flask, name)(self, *args)

        subclass: Any = type("Subclass", (Flask,), {name: step})
        app = subclass("dispatch_test", static_folder=None)
        self.views(app, view_colour)
        assert (await exchange(app, http_scope(path))).status == self.STATUS[path]
        assert calls == [name]

    @pytest.mark.parametrize("view_colour", COLOURS)
    @pytest.mark.parametrize(("name", "path"), REPLACED)
    async def test_on_the_instance(
        self, app: Flask, name: str, path: str, view_colour: str
    ) -> None:
        calls: list[str] = []
        self.views(app, view_colour)
        original = getattr(app, name)

        def step(*args: Any) -> Any:
            calls.append(threading.current_thread().name)
            return original(*args)

        setattr(app, name, step)
        assert (await exchange(app, http_scope(path))).status == self.STATUS[path]
        assert calls == ["asyncflask-worker"]

    @pytest.mark.parametrize(
        ("name", "path"), [pair for pair in REPLACED if pair[0] != "update_template_context"]
    )
    async def test_by_a_coroutine_function(self, app: Flask, name: str, path: str) -> None:
        calls: list[str] = []
        self.views(app, "plain")

        async def step(*args: Any) -> Any:
            calls.append(threading.current_thread().name)
            await asyncio.sleep(0)
            return await asyncio.to_thread(getattr(Flask, name), app, *args)

        setattr(app, name, step)
        assert (await exchange(app, http_scope(path))).status == self.STATUS[path]
        assert calls == ["MainThread"]

    def test_super(self) -> None:
        class Own(Flask):
            def dispatch_request(self) -> Any:
                return f"own {super().dispatch_request()}"

            def handle_user_exception(self, e: Exception) -> Any:
                if isinstance(e, LookupError):
                    return "lookup", 418
                return super().handle_user_exception(e)

            def make_response(self, rv: Any) -> Response:
                response = super().make_response(rv)
                response.headers["X-Own"] = "yes"
                return response

        app = Own("dispatch_test", static_folder=None)

        @app.get("/<colour>")
        async def index(colour: str) -> str:
            if colour == "error":
                raise LookupError
            return colour

        @app.websocket("/ws/<colour>")
        async def echo(colour: str) -> None:
            await websocket.send(f"{colour} {await websocket.receive()!s}")

        client = app.test_client()
        with client.websocket_connect("/ws/red") as ws:
            ws.send("message")
            assert ws.receive() == "red message"
        assert client.get("/data").text == "own data"
        assert client.get("/error").status_code == 418
        assert client.get("/data").headers["X-Own"] == "yes"
        assert client.get("/none/at/all").status_code == 404

    def test_error_in_the_steps_place_has_its_exception(self, app: Flask) -> None:
        """flask-restful's: handlers look at `sys.exc_info()`."""
        seen: list[Any] = []
        app.add_url_rule("/", "view", divide)

        def handle(error: Exception) -> Any:
            seen.append((error, sys.exc_info()[1]))
            return "handled"

        app.handle_user_exception = handle  # type: ignore[method-assign]
        assert app.test_client().get("/").text == "handled"
        assert seen[0][0] is seen[0][1]


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
class TestErrors:
    def test_500(self, app: Flask, colour: str, caplog: pytest.LogCaptureFixture) -> None:
        app.testing = False
        app.add_url_rule("/", "view", coloured(divide, colour))
        response = app.test_client().get("/")
        assert response.status_code == 500
        assert "Exception on / [GET]" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("mode", ["TESTING", "DEBUG", "PROPAGATE_EXCEPTIONS"])
    def test_propagate(self, app: Flask, colour: str, mode: str) -> None:
        app.testing = False
        app.config[mode] = True
        app.add_url_rule("/", "view", coloured(divide, colour))
        with pytest.raises(ZeroDivisionError):
            app.test_client().get("/")

    def test_handler_of_the_500(self, app: Flask, colour: str) -> None:
        app.testing = False
        app.add_url_rule("/", "view", divide)

        def handler(error: Any) -> Any:
            return type(error.original_exception).__name__, 500

        app.register_error_handler(500, coloured(handler, colour))
        assert app.test_client().get("/").text == "ZeroDivisionError"

    def test_http_exception(self, app: Flask, colour: str) -> None:
        def fail() -> None:
            raise ImATeapot("short and stout")

        app.add_url_rule("/", "view", coloured(fail, colour))
        app.add_url_rule("/other", "other", coloured(lambda: abort(404), colour))
        app.register_error_handler(418, coloured(lambda error: error.description, colour))
        assert app.test_client().get("/").text == "short and stout"
        assert app.test_client().get("/other").status_code == 404

    def test_response_in_an_exception(self, app: Flask, colour: str) -> None:
        def fail() -> None:
            raise BadRequest(response=werkzeug.Response("own", 402))

        app.add_url_rule("/", "view", coloured(fail, colour))
        app.register_error_handler(400, lambda error: error)
        response = app.test_client().get("/")
        assert (response.status_code, response.text) == (402, "own")

    def test_handler_that_fails(self, app: Flask, colour: str) -> None:
        def fail(error: Exception) -> None:
            raise LookupError("in the handler")

        app.add_url_rule("/", "view", divide)
        app.register_error_handler(ZeroDivisionError, coloured(fail, colour))
        with pytest.raises(LookupError):
            app.test_client().get("/")

    def test_hook_that_fails_for_the_500(
        self, app: Flask, colour: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(response: Response) -> None:
            raise LookupError

        app.testing = False
        app.add_url_rule("/", "view", lambda: "data")
        app.after_request(coloured(fail, colour))
        assert app.test_client().get("/").status_code == 500
        assert "could not be finalized" in caplog.text

    @pytest.mark.parametrize(
        "rv", [("", 200, {"X": "ä☃"}), ("", 999), ("", 200, [("a b", "c")])], ids=range(3)
    )
    async def test_response_that_cannot_be_sent(self, app: Flask, colour: str, rv: Any) -> None:
        app.testing = False
        app.add_url_rule("/", "view", coloured(lambda: rv, colour))
        app.register_error_handler(500, lambda error: ("own page", 500))
        peer = await exchange(app, http_scope())
        assert (peer.status, peer.body) == (500, b"own page")

    async def test_hook_that_breaks_every_response(
        self, app: Flask, colour: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def spoil(response: Response) -> Response:
            response.headers["a b"] = "c"
            return response

        app.testing = False
        app.add_url_rule("/", "view", lambda: "data")
        app.after_request(coloured(spoil, colour))
        peer = await exchange(app, http_scope())
        assert peer.status == 500
        assert "The response to an exception could not be sent." in caplog.text


@pytest.mark.parametrize(("key", "shown"), [("name", False), ("other", True)])
def test_missing_form_key_in_debug_mode(app: Flask, key: str, shown: bool) -> None:
    app.testing = False
    app.config.update(TRAP_BAD_REQUEST_ERRORS=False, DEBUG=True)
    app.add_url_rule("/", "view", lambda: request.form["name"], methods=["POST"])
    response = app.test_client().post("/", data={key: "value"})
    assert response.status_code == (200 if key == "name" else 400)
    assert ("KeyError" in response.text) is shown


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (http_scope(headers=[("host", "a b")]), 400),
        ({**http_scope(), "headers": []}, 400),
        ({**http_scope(), "path": "@evil"}, 400),
        (http_scope(), 200),
    ],
)
async def test_malformed_requests(app: Flask, scope: Any, status: int) -> None:
    app.add_url_rule("/", "view", lambda: "data")
    assert (await exchange(app, scope)).status == status


# -- what views return ------------------------------------------------------------------------


class Own(Response):
    pass


def wsgi_callable(environ: Any, start_response: Any) -> list[bytes]:
    start_response("202 Accepted", [("X-Name", "wsgi")])
    return [environ["PATH_INFO"].encode()]


def generator() -> Iterator[str]:
    yield "a"
    yield "b"


async def async_generator() -> AsyncIterator[str | bytes]:
    yield "a"
    await asyncio.sleep(0)
    yield b"b"


RETURNED: dict[str, tuple[Callable[[], Any], int, str]] = {
    "str": (lambda: "data", 200, "data"),
    "bytes": (lambda: b"data", 200, "data"),
    "bytearray": (lambda: bytearray(b"data"), 200, "data"),
    "dict": (lambda: {"a": 1}, 200, '{"a":1}\n'),
    "list": (lambda: [1, {}], 200, "[1,{}]\n"),
    "generator": (generator, 200, "ab"),
    "async generator": (async_generator, 200, "ab"),
    "status": (lambda: ("data", 201), 201, "data"),
    "status text": (lambda: ("data", "201 MADE"), 201, "data"),
    "headers": (lambda: ("data", {"X-Name": "value"}), 200, "data"),
    "list of headers": (lambda: ("data", [("X-Name", "value")]), 200, "data"),
    "status and headers": (lambda: ("data", 201, {"X-Name": "value"}), 201, "data"),
    "dict and status": (lambda: ({}, 201), 201, "{}\n"),
    "async generator and status": (lambda: (async_generator(), 201), 201, "ab"),
    "response": (lambda: Response("data", 201), 201, "data"),
    "response and status": (lambda: (Response("data"), 201), 201, "data"),
    "response and status text": (lambda: (Response("data"), "201 MADE"), 201, "data"),
    "response and headers": (lambda: (Response("data"), {"X-Name": "value"}), 200, "data"),
    "subclass": (lambda: Own("data", 201), 201, "data"),
    "werkzeug's": (lambda: werkzeug.Response("data", 201), 201, "data"),
    "exception": (lambda: NotFound(), 404, NotFound().get_response().get_data(as_text=True)),
    "WSGI callable": (lambda: wsgi_callable, 202, "/view"),
    "starlette's": (lambda: PlainTextResponse("data", 201), 201, "data"),
    "starlette's JSON": (lambda: (JSONResponse({"a": 1}), 201), 201, '{"a":1}'),
    "starlette's stream": (lambda: StreamingResponse(async_generator()), 200, "ab"),
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", RETURNED)
class TestReturned:
    def test_by_the_test_client(self, app: Flask, name: str, colour: str) -> None:
        func, status, text = RETURNED[name]
        app.add_url_rule("/view", "view", self.view(func, colour))
        with app.test_client().get("/view") as response:
            assert (response.status_code, response.get_data(as_text=True)) == (status, text)
            if "headers" in name:
                assert response.headers["X-Name"] == "value"

    async def test_by_asgi(self, app: Flask, name: str, colour: str) -> None:
        func, status, text = RETURNED[name]
        app.add_url_rule("/view", "view", self.view(func, colour))
        peer = await exchange(app, http_scope("/view"))
        assert (peer.status, peer.body.decode()) == (status, text)
        assert peer.sent[-1].get("more_body", False) is False

    def view(self, func: Callable[[], Any], colour: str) -> Callable[[], Any]:
        if colour == "plain":
            return lambda: func()

        async def view() -> Any:
            return func()

        return view


@pytest.mark.parametrize(
    ("rv", "message"),
    [
        (None, "returned None, or ended without"),
        ((None, 200), "returned None"),
        (("a", 1, {}, 2), "valid response tuple"),
        (("a",), "valid response tuple"),
        (1, "was an int"),
        ({1, 2}, "was a set"),
        (print, "was a"),
    ],
)
def test_wrong_values(app: Flask, rv: Any, message: str) -> None:
    app.add_url_rule("/", "view", lambda: rv)
    with pytest.raises(TypeError, match=message):
        app.test_client().get("/")


# -- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
class TestBodies:
    async def post(self, app: Flask, *parts: bytes, type: str = "", length: bool = False) -> Peer:
        headers = [("content-type", type)] if type else []
        size = str(sum(map(len, parts)))
        headers.append(("content-length", size) if length else ("transfer-encoding", "chunked"))
        return await exchange(app, http_scope("/", "POST", headers), chunks(*parts))

    def view(self, app: Flask, colour: str, read: Callable[[], Any]) -> None:
        app.add_url_rule("/", "view", coloured(read, colour), methods=["POST"])

    async def test_data(self, app: Flask, colour: str) -> None:
        self.view(app, colour, lambda: request.get_data())
        assert (await self.post(app, b"one", b"two")).body == b"onetwo"

    async def test_json(self, app: Flask, colour: str) -> None:
        self.view(app, colour, lambda: {"got": request.json})
        peer = await self.post(app, b'{"a": ', b"1}", type="application/json", length=True)
        assert peer.body == b'{"got":{"a":1}}\n'

    async def test_form(self, app: Flask, colour: str) -> None:
        self.view(app, colour, lambda: request.form["a"])
        peer = await self.post(app, b"a=", b"b", type="application/x-www-form-urlencoded")
        assert peer.body == b"b"

    @pytest.mark.parametrize("size", [10, 600_000])
    async def test_upload(self, app: Flask, colour: str, size: int) -> None:
        def read() -> str:
            file = request.files["file"]
            return f"{file.filename} {len(file.read())} {request.form['name']}"

        builder = EnvironBuilder(
            method="POST", data={"file": (io.BytesIO(b"x" * size), "a.txt"), "name": "value"}
        )
        environ = builder.get_environ()
        with environ["wsgi.input"] as input_stream:
            data: bytes = input_stream.read()
        builder.close()
        self.view(app, colour, read)
        parts = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
        peer = await self.post(app, *parts, type=environ["CONTENT_TYPE"])
        assert peer.body == f"a.txt {size} value".encode()

    @pytest.mark.parametrize("length", [False, True])
    async def test_limit(self, app: Flask, colour: str, length: bool) -> None:
        app.config["MAX_CONTENT_LENGTH"] = 5
        self.view(app, colour, lambda: request.get_data())
        assert (await self.post(app, b"12345", length=length)).status == 200
        assert (await self.post(app, b"123", b"456", length=length)).status == 413

    async def test_client_leaves_in_the_middle(self, app: Flask, colour: str) -> None:
        called: list[object] = []

        def read() -> str:
            called.append(request.get_data())
            return ""

        self.view(app, colour, read)
        peer = Peer(chunks(b"part")[:1])
        peer.leave()
        scope = http_scope("/", "POST", [("content-length", "10")])
        await app(scope, peer.receive, peer.send)
        assert (peer.status, called) == (400, [])


async def test_raw_stream(app: Flask) -> None:
    @app.post("/", stream=True)
    async def index() -> AsyncIterator[bytes]:
        async def upper() -> AsyncIterator[bytes]:
            async for chunk in stream:
                yield chunk.upper()

        stream = request.stream
        return upper()

    scope = http_scope("/", "POST", [("transfer-encoding", "chunked")])
    peer = await exchange(app, scope, chunks(b"one", b"two"))
    assert peer.body == b"ONETWO"


# -- the answer -------------------------------------------------------------------------------


class TestAnswer:
    @pytest.mark.parametrize("headers", [{"X-Name": "a", "ETag": 5}, {"Content-Length": "4"}])
    async def test_headers_put_in_as_a_dict(self, app: Flask, headers: Any) -> None:
        @app.get("/")
        def view() -> Response:
            response = Response("data")
            response.headers = headers
            return response

        peer = await exchange(app, http_scope())
        expected = {name.lower(): str(value) for name, value in headers.items()}
        assert dict(peer.headers) == {**expected, "content-length": "4"}
        assert peer.body == b"data"

    async def test_head(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: "data")
        peer = await exchange(app, http_scope(method="HEAD"))
        assert ("content-length", "4") in peer.headers
        assert peer.body == b""

    @pytest.mark.parametrize("status", [204, 304])
    async def test_status_without_a_body(self, app: Flask, status: int) -> None:
        app.add_url_rule("/", "view", lambda: ("data", status))
        assert (await exchange(app, http_scope())).body == b""

    @pytest.mark.parametrize("colour", COLOURS)
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_stream_is_closed_and_torn_down(
        self, app: Flask, colour: str, method: str
    ) -> None:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("teardown"))

        def plain() -> Iterator[str]:
            try:
                yield request.path
                yield "more"
            finally:
                events.append("closed")

        async def coroutine() -> AsyncIterator[str]:
            try:
                yield request.path
                yield "more"
            finally:
                events.append("closed")

        source: Any = plain if colour == "plain" else coroutine
        app.add_url_rule("/", "view", lambda: stream_with_context(source()))
        peer = await exchange(app, http_scope(method=method))
        assert peer.body == (b"/more" if method == "GET" else b"")
        assert events[-1] == "teardown"
        assert events.count("teardown") == 1

    @pytest.mark.parametrize("colour", COLOURS)
    async def test_client_leaves_a_stream(self, app: Flask, colour: str) -> None:
        closed: list[str] = []

        def plain() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                closed.append(threading.current_thread().name)

        async def coroutine() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                closed.append(threading.current_thread().name)

        source: Any = plain if colour == "plain" else coroutine
        app.add_url_rule("/", "view", lambda: source())
        peer = Peer(chunks())
        peer.leave_after = 3
        await asyncio.wait_for(app(http_scope(), peer.receive, peer.send), 30)
        assert closed == ["asyncflask-worker" if colour == "plain" else "MainThread"]

    @pytest.mark.parametrize("colour", COLOURS)
    async def test_call_on_close(self, app: Flask, colour: str) -> None:
        closed: list[str] = []

        def view() -> Response:
            response = Response(async_generator() if colour == "async" else "data")
            response.call_on_close(lambda: closed.append("closed"))
            return response

        app.add_url_rule("/", "view", view)
        await exchange(app, http_scope())
        assert closed == ["closed"]

    async def test_error_in_call_on_close(
        self, app: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged: the server knows of none, and so keeps the connection."""
        app.testing = False
        done = threading.Event()

        @app.get("/")
        def view() -> Response:
            response = Response("data")
            response.call_on_close(lambda: 1 / 0)
            app.add_background_task(done.set)
            return response

        assert (await exchange(app, http_scope())).body == b"data"
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
            "division by zero"
        ]
        assert await asyncio.to_thread(done.wait, 30)  # nor is this request's task lost

    async def test_background_of_starlette(self, app: Flask) -> None:
        done: list[str] = []

        async def work(name: str) -> None:
            done.append(name)

        @app.get("/")
        async def index() -> PlainTextResponse:
            return PlainTextResponse("data", background=BackgroundTask(work, "after"))

        assert (await exchange(app, http_scope())).body == b"data"
        assert done == ["after"]

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_file_response(self, app: Flask, tmp_path: Path, method: str) -> None:
        (tmp_path / "a.txt").write_text("data")

        @app.get("/")
        async def index() -> Any:
            return FileResponse(tmp_path / "a.txt", headers={"X-Kept": "1", "X-Changed": "1"})

        @app.after_request
        def after(response: Response) -> Response:
            response.headers["X-Changed"] = "2"
            response.headers["X-Added"] = "3"
            response.status_code = 203
            return response

        peer = await exchange(app, http_scope(method=method))
        assert (peer.status, peer.body) == (203, b"data" if method == "GET" else b"")
        headers = dict(peer.headers)
        assert [headers[f"x-{key}"] for key in ("kept", "changed", "added")] == ["1", "2", "3"]
        assert headers["content-length"] == "4"

    async def test_session_cookie(self, app: Flask) -> None:
        @app.get("/")
        async def index() -> str:
            session["name"] = "value"
            return ""

        headers = dict((await exchange(app, http_scope())).headers)
        assert headers["set-cookie"].startswith("session=")
        assert headers["vary"] == "Cookie"


@pytest.mark.parametrize("colour", COLOURS)
async def test_cancelled_request_is_torn_down(app: Flask, colour: str) -> None:
    errors: list[Any] = []
    entered = asyncio.Event()
    app.teardown_request(coloured(errors.append, colour))

    @app.get("/")
    async def index() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    task = asyncio.create_task(exchange(app, http_scope()))
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in errors] == [asyncio.CancelledError]


class TestCancelOnDisconnect:
    @pytest.mark.parametrize("by", ["route", "config", "nobody"])
    async def test_view(self, app: Flask, by: str) -> None:
        events: list[str] = []
        app.config["CANCEL_ON_DISCONNECT"] = by == "config"
        options = {"cancel_on_disconnect": True} if by == "route" else {}
        peer = Peer()

        @app.get("/", **options)
        async def index() -> str:
            peer.leave()
            try:
                await asyncio.sleep(30 if by != "nobody" else 0.01)
            except asyncio.CancelledError:
                events.append("cancelled")
                raise
            return "data"

        app.teardown_request(lambda error: events.append(type(error).__name__))
        await asyncio.wait_for(app(http_scope(), peer.receive, peer.send), 10)
        cancelled = ["cancelled", "NoneType"]
        assert events == (cancelled if by != "nobody" else ["NoneType"])

    async def test_view_that_ends(self, app: Flask) -> None:
        @app.get("/", cancel_on_disconnect=True)
        async def index() -> str:
            return "data"

        assert (await exchange(app, http_scope())).body == b"data"


# -- WebSockets -------------------------------------------------------------------------------


class TestWebSocket:
    async def closed(self, session: WebSocketSession) -> int:
        with pytest.raises(WebSocketDisconnect) as caught:
            await session.receive()
        return caught.value.code

    @pytest.mark.parametrize("colour", COLOURS)
    async def test_hooks(self, app: Flask, colour: str) -> None:
        events: list[str] = []
        app.before_request(coloured(lambda: events.append("before"), colour))
        app.teardown_request(coloured(lambda error: events.append(f"teardown {error}"), colour))

        @app.websocket("/<name>")
        async def handler(name: str) -> None:
            events.append("handler")
            await websocket.send(f"{name} {request.args['q']}")

        async with WebSocketSession(app, "/a?q=b") as session:
            assert await session.receive() == "a b"
            assert await self.closed(session) == 1000
        assert events == ["before", "handler", "teardown None"]

    async def test_context_of_the_handler(self, app: Flask) -> None:
        """It has a task of its own, and what it sets is set in the functions after it."""
        seen = []
        variable = ContextVar("variable", default="unset")

        @app.before_request
        async def before() -> None:
            variable.set("before")

        @app.websocket("/")
        async def handler() -> None:
            seen.append(variable.get())
            await websocket.accept()
            await asyncio.sleep(0)
            variable.set("handler")

        @app.teardown_request
        def teardown(error: BaseException | None) -> None:
            seen.append(variable.get())

        async with WebSocketSession(app, "/") as session:
            assert await self.closed(session) == 1000
        assert seen == ["before", "handler"]
        assert variable.get() == "unset"

    @pytest.mark.parametrize("colour", COLOURS)
    async def test_plain_handler(self, app: Flask, colour: str) -> None:
        @app.websocket("/")
        def handler() -> None:
            for message in websocket.sync:
                websocket.sync.send(f"{message!s} {threading.current_thread().name}")

        async with WebSocketSession(app, "/") as session:
            await session.send("hello")
            assert await session.receive() == "hello asyncflask-worker"

    @pytest.mark.parametrize("late", [False, True])
    async def test_error(self, app: Flask, late: bool) -> None:
        errors: list[Any] = []
        app.testing = False
        app.teardown_request(errors.append)

        @app.websocket("/")
        async def handler() -> None:
            if late:
                await websocket.accept()
            raise LookupError

        if late:
            async with WebSocketSession(app, "/") as session:
                assert await self.closed(session) == 1011
        else:
            with pytest.raises(WebSocketDenied) as caught:
                async with WebSocketSession(app, "/"):
                    pytest.fail("must not be run")
            assert caught.value.status_code == 500
        assert [type(error) for error in errors] == [LookupError]

    async def test_error_handler_after_the_handshake(self, app: Flask) -> None:
        handled: list[str] = []

        @app.errorhandler(LookupError)
        def handle(error: LookupError) -> str:
            handled.append(request.path)
            return "nobody reads this"

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            raise LookupError

        async with WebSocketSession(app, "/") as session:
            assert await self.closed(session) == 1011
        assert handled == ["/"]

    @pytest.mark.parametrize("rv", ["body", b"body", generator, async_generator], ids=range(4))
    async def test_denied_by_a_response(self, app: Flask, rv: Any) -> None:
        @app.websocket("/")
        async def handler() -> Any:
            return rv() if callable(rv) else rv, 402, {"X-Name": "value"}

        with pytest.raises(WebSocketDenied) as caught:
            async with WebSocketSession(app, "/"):
                pytest.fail("must not be run")
        assert caught.value.status_code == 402
        assert caught.value.body == (b"ab" if callable(rv) else b"body")
        assert ("x-name", "value") in caught.value.headers

    @pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/http", 404), ("/hook", 401)])
    async def test_denied_by_the_pipeline(self, app: Flask, path: str, status: int) -> None:
        app.add_url_rule("/http", "http", lambda: "data")
        app.before_request(lambda: ("no", 401) if request.path == "/hook" else None)
        app.add_url_rule("/hook", "hook", lambda: "", websocket=True)
        with pytest.raises(WebSocketDenied) as caught:
            async with WebSocketSession(app, path):
                pytest.fail("must not be run")
        # A URL that exists for HTTP only is a mismatch, of Werkzeug's, and none that is found.
        assert caught.value.status_code in (status, 400)

    @pytest.mark.parametrize(
        ("origin", "options", "allowed"),
        [
            ("http://localhost", {}, True),
            ("http://evil.example", {}, False),
            ("http://evil.example", {"allowed_origins": ["*"]}, True),
            ("http://friend.example", {"allowed_origins": ["http://friend.example"]}, True),
        ],
    )
    async def test_origin(self, app: Flask, origin: str, options: Any, allowed: bool) -> None:
        @app.websocket("/", **options)
        async def handler() -> None:
            await websocket.accept()

        session = WebSocketSession(app, "/", headers={"Origin": origin})
        if allowed:
            async with session:
                assert await self.closed(session) == 1000
        else:
            with pytest.raises(WebSocketDenied) as caught:
                async with session:
                    pytest.fail("must not be run")
            assert caught.value.status_code == 403

    async def test_refused_origin_is_logged(
        self, app: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        app.add_url_rule("/", "handler", lambda: "", websocket=True)
        for level, count in (("INFO", 0), ("DEBUG", 1)):
            caplog.set_level(level, app.logger.name)
            with pytest.raises(WebSocketDenied):
                async with WebSocketSession(app, "/", headers={"Origin": "http://evil\t.example"}):
                    pytest.fail("must not be run")
            assert len(caplog.messages) == count
        assert "'http://evil\\t.example'" in caplog.messages[0]
        assert "WEBSOCKET_ALLOWED_ORIGINS" in caplog.messages[0]

    async def test_origins_of_the_config(self, app: Flask) -> None:
        app.config["WEBSOCKET_ALLOWED_ORIGINS"] = ["http://friend.example"]

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()

        async with WebSocketSession(app, "/", headers={"Origin": "http://friend.example"}):
            pass

    async def test_value_after_the_handshake(self, app: Flask) -> None:
        @app.websocket("/")
        async def handler() -> str:
            await websocket.accept()
            return "too late"

        with pytest.raises(TypeError, match="returned a value after"):
            async with WebSocketSession(app, "/") as session:
                assert await self.closed(session) == 1011

    async def test_client_leaves(self, app: Flask) -> None:
        errors: list[Any] = []
        app.teardown_request(errors.append)

        @app.websocket("/")
        async def handler() -> None:
            while True:
                await websocket.receive()

        async with WebSocketSession(app, "/"):
            pass
        assert errors == [None]

    async def test_session_is_sent_with_the_handshake(self, app: Flask) -> None:
        @app.websocket("/")
        async def handler() -> None:
            session["name"] = "value"
            await websocket.accept()

        async with WebSocketSession(app, "/") as client:
            assert dict(client.response_headers)["set-cookie"].startswith("session=")

    async def test_session_that_is_changed_too_late(
        self, app: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            session["name"] = "value"

        async with WebSocketSession(app, "/") as client:
            assert await self.closed(client) == 1000
        assert "before 'websocket.accept()'" in caplog.text

    @pytest.mark.parametrize("colour", COLOURS)
    async def test_session_that_is_kept_elsewhere(self, app: Flask, colour: str) -> None:
        """It is saved with the handshake, and once more if it changes after it."""
        saved: list[str] = []

        class Interface(SessionInterface):
            pass

        def open_session(app: Flask, request: Request) -> SecureCookieSession:
            return SecureCookieSession()

        def save_session(app: Flask, session: Any, response: Response) -> None:
            saved.append(f"{dict(session)} {threading.current_thread().name}")

        interface: Any = Interface()
        interface.open_session = coloured(open_session, colour)
        interface.save_session = coloured(save_session, colour)
        app.session_interface = interface

        @app.websocket("/<int:late>")
        async def handler(late: int) -> None:
            session["a"] = 1
            await websocket.accept()
            if late:
                session["b"] = 2

        thread = "asyncflask-worker" if colour == "plain" else "MainThread"
        for late in (0, 1):
            async with WebSocketSession(app, f"/{late}") as client:
                assert await self.closed(client) == 1000
        first, second = f"{{'a': 1}} {thread}", f"{{'a': 1, 'b': 2}} {thread}"
        assert saved == [first, first, second]

    async def test_shutdown(self, app: Flask) -> None:
        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            await asyncio.Event().wait()

        async with WebSocketSession(app, "/") as session:
            await asyncio.sleep(0)
            await app._conversations.stop(0.05)
            assert await self.closed(session) == 1012


def test_response_class_with_its_own_encoding(app: Flask) -> None:
    class OwnResponse(Response):
        def iter_encoded(self) -> Iterator[bytes]:
            return (chunk.upper() for chunk in super().iter_encoded())

    app.response_class = OwnResponse
    app.add_url_rule("/", "view", lambda: "text")
    assert asyncio.run(exchange(app, http_scope())).body == b"TEXT"


def test_request_class_with_its_own_init(app: Flask) -> None:
    """moto's: a request class that wants its environ."""

    class OwnRequest(Request):
        def __init__(self, environ: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(environ, *args, **kwargs)
            self.own = environ["PATH_INFO"]

    app.request_class = OwnRequest
    app.add_url_rule("/", "view", lambda: request.own)  # type: ignore[attr-defined]
    assert asyncio.run(exchange(app, http_scope())).body == b"/"


async def test_teardown_goes_on_after_a_cancellation() -> None:
    app, ran = Flask("cancelled"), []

    @app.teardown_request
    async def last(error: BaseException | None) -> None:
        ran.append("last")

    @app.teardown_request
    async def cancelled(error: BaseException | None) -> None:
        ran.append("cancelled")
        raise asyncio.CancelledError

    app.add_url_rule("/", view_func=str)
    with pytest.raises(asyncio.CancelledError):
        await exchange(app, http_scope("/"))
    assert ran == ["cancelled", "last"]


def test_end_of_another_websocket_is_an_error() -> None:
    app = Flask("two_sockets")

    @app.websocket("/")
    async def broadcast() -> None:
        await websocket.accept()
        raise WebSocketDisconnect(1001)  # as from sending to a client that has left

    with (
        app.test_client().websocket_connect("/") as ws,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        ws.receive()
    assert closed.value.code == 1011


class TestAsyncViewInAPlainDecorator:
    """As extensions decorate views: `ensure_sync` in a sync function."""

    BODIES: ClassVar[dict[str, dict[str, Any]]] = {
        "json": {"json": {"name": "ann"}},
        "form": {"data": {"name": "ann"}},
        "file": {"data": {"name": "ann"}, "files": {"file": b"x" * 3_000_000}},
        "bytes": {"content": b"x" * 3_000_000},
    }

    @pytest.fixture
    def client(self, app: Flask) -> AsyncClient:
        def decorated(view: Any) -> Any:
            @functools.wraps(view)
            def wrapper(**kwargs: Any) -> Any:
                return current_app.ensure_sync(view)(**kwargs)

            return wrapper

        @app.post("/<kind>")
        @decorated
        async def view(kind: str) -> Any:
            assert threading.get_ident() == loops_thread
            if kind == "json":
                return dict(request.get_json())
            if kind == "bytes":
                return {"size": len(request.get_data())}
            sizes = [len(file.read()) for file in request.files.values()]
            return {**request.form, "sizes": sizes}

        loops_thread = threading.get_ident()
        return AsyncClient(app)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("json", {"name": "ann"}),
            ("form", {"name": "ann", "sizes": []}),
            ("file", {"name": "ann", "sizes": [3_000_000]}),
            ("bytes", {"size": 3_000_000}),
        ],
    )
    async def test_reads_the_body(self, client: AsyncClient, kind: str, expected: Any) -> None:
        async with client:
            answer = await client.post(f"/{kind}", **self.BODIES[kind])
            assert (answer.status_code, answer.json()) == (200, expected)

    @pytest.mark.parametrize("kind", BODIES)
    async def test_limits(self, app: Flask, client: AsyncClient, kind: str) -> None:
        app.config["MAX_CONTENT_LENGTH"] = 5
        async with client:
            assert (await client.post(f"/{kind}", **self.BODIES[kind])).status_code == 413

    async def test_with_the_whole_pipeline_replaced(self, app: Flask, client: AsyncClient) -> None:
        original = app.full_dispatch_request
        app.full_dispatch_request = lambda: original()  # type: ignore[method-assign]
        bare: Any = app.view_functions["view"]
        app.add_url_rule("/bare/<kind>", "bare", bare.__wrapped__, methods=["POST"])
        async with client:
            for path in ("/json", "/bare/json"):
                assert (await client.post(path, json={"name": "ann"})).json() == {"name": "ann"}


async def test_proxy_as_a_value(app: Flask) -> None:
    """Such as the `current_user` of an extension."""
    app.add_url_rule("/", "proxy", lambda: LocalProxy(lambda: g.user))
    app.before_request(lambda: setattr(g, "user", "ann"))
    async with AsyncClient(app) as client:
        assert (await client.get("/")).text == "ann"


# -- a response that nobody is to see ---------------------------------------------------------


class OwnJSON(DefaultJSONProvider):
    def response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().response(*args, **kwargs)
        response.headers["X-Own"] = "1"
        return response


class OwnResponse(Response):
    default_mimetype = "text/plain"


def with_own_json(app: Flask) -> None:
    app.json = OwnJSON(app)


class WrappedJSON(DefaultJSONProvider):
    def _prepare_response_obj(self, args: Any, kwargs: Any) -> Any:
        return {"data": super()._prepare_response_obj(args, kwargs)}


def with_wrapped_json(app: Flask) -> None:
    app.json = WrappedJSON(app)


def with_own_response(app: Flask) -> None:
    app.response_class = OwnResponse


def indented(app: Flask) -> None:
    assert isinstance(app.json, DefaultJSONProvider)
    app.json.compact, app.json.mimetype = False, "application/vnd.api+json"


def as_it_is(app: Flask) -> None: ...


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "change", [as_it_is, with_own_json, with_wrapped_json, with_own_response, indented]
)
@pytest.mark.parametrize(
    "value",
    ["text", "", "ä☃", "\ud800", b"data", {"b": 1, "a": "ä"}, [1, 2], {"a": object()}, ("a", 201)],
    ids=range(9),
)
async def test_response_that_nobody_sees(value: Any, change: Any, method: str) -> None:
    """It is left out; the answer is that of an app with a hook that sees it."""
    peers = []
    for seen in (False, True):
        app = Flask("dispatch_test", static_folder=None)
        change(app)

        @app.route("/", methods=["GET", "POST"])
        async def view() -> Any:
            return value

        if seen:
            app.after_request(lambda response: response)
        peers.append(await exchange(app, http_scope(method=method)))
    assert peers[0].status == peers[1].status
    assert peers[0].headers == peers[1].headers
    assert peers[0].body == peers[1].body


async def test_response_that_nobody_sees_and_a_background_task(app: Flask) -> None:
    done = asyncio.Event()

    async def task() -> None:
        done.set()

    @app.get("/")
    async def view() -> str:
        app.add_background_task(task)
        return "text"

    peer = await exchange(app, http_scope())
    assert (peer.status, peer.body) == (200, b"text")
    await asyncio.wait_for(done.wait(), 10)


async def test_pipeline_that_plain_code_runs_gives_a_response(app: Flask) -> None:
    @app.get("/")
    def view() -> str:
        return "text"

    with app.test_request_context():
        response = app.full_dispatch_request()
    assert isinstance(response, Response)
    assert (response.get_data(as_text=True), response.mimetype) == ("text", "text/html")


# -- a request that nobody asks for -----------------------------------------------------------


async def test_request_is_made_once(app: Flask) -> None:
    """Whoever asks for it first; here two threads at once."""
    made = []

    class Slow(Request):
        @classmethod
        def from_scope(cls, *args: Any) -> Any:
            made.append(args)
            time.sleep(0.02)
            return super().from_scope(*args)

    app.request_class = Slow

    @app.get("/<name>")
    async def view(name: str) -> dict[str, Any]:
        def look() -> tuple[int, Any]:
            return id(request._get_current_object()), request.view_args  # type: ignore[attr-defined]

        assert not made
        looks = await asyncio.gather(asyncio.to_thread(look), asyncio.to_thread(look))
        return {"same": looks[0] == looks[1], "args": looks[0][1]}

    peer = await exchange(app, http_scope("/x"))
    assert json.loads(peer.body) == {"same": True, "args": {"name": "x"}}
    assert len(made) == 1


async def test_request_with_an_initializer_of_its_own_is_made_at_once(app: Flask) -> None:
    made = []

    class Own(Request):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    app.request_class = Own

    @app.get("/")
    async def view() -> str:
        return str(len(made))

    assert (await exchange(app, http_scope())).body == b"1"


async def test_request_is_asked_for_while_it_is_made(app: Flask) -> None:
    """By a signal's handler, say."""

    class Interrupted(Request):
        @classmethod
        def from_scope(cls, *args: Any) -> Any:
            if not seen:
                seen.append(None)
                seen.append(request.path)
            return super().from_scope(*args)

    seen: list[Any] = []
    app.request_class = Interrupted

    @app.get("/a")
    async def view() -> str:
        return str(request.path == seen[1] and len(seen) == 2)

    assert (await exchange(app, http_scope("/a"))).body == b"True"


@pytest.mark.parametrize("size", [20, 70_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_limit_that_an_asynchronous_hook_sets(app: Flask, size: int, chunked: bool) -> None:
    @app.before_request
    async def limit() -> None:
        request.max_content_length = 10

    @app.post("/")
    async def view() -> str:
        return str(len(request.get_data()))

    length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))
    scope = http_scope(method="POST", headers=[length])
    assert (await exchange(app, scope, chunks(b"x" * size))).status == 413


async def test_input_that_an_asynchronous_view_replaces(app: Flask) -> None:
    @app.post("/")
    async def view() -> Any:
        request.environ["wsgi.input"] = io.BytesIO(b"other")
        return request.stream.read().decode()

    scope = http_scope(method="POST", headers=[("Content-Length", "5")])
    assert (await exchange(app, scope, chunks(b"first"))).body == b"other"
