"""WSGI and ASGI, each in terms of the other."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.test import Client, EnvironBuilder

from asyncflask import Flask
from asyncflask.asgi import pool
from asyncflask.asgi.body import Body
from asyncflask.asgi.conversation import Conversations
from asyncflask.asgi.environ import environ_from_scope, scope_from_environ
from asyncflask.asgi.head import start_message
from asyncflask.asgi.scope import ORIGIN
from asyncflask.asgi.threads import Driver, run_in_worker
from asyncflask.asgi.wsgi import respond, serve
from support.asgi import Peer, http_scope

START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Started:
    """A server's `start_response`."""

    status = ""
    headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
        self.status, self.headers = status, headers


def ask(app: ASGIApp, **kwargs: Any) -> tuple[Started, Iterable[bytes]]:
    started = Started()
    return started, respond(app, EnvironBuilder(**kwargs).get_environ(), started)


class TestRespond:
    """The WSGI face of an ASGI app."""

    @pytest.mark.parametrize(
        ("more", "status"),
        [({}, "200 OK"), ({"asyncflask.status": "200 FINE"}, "200 FINE"), ({"status": 599}, None)],
    )
    def test_whole(self, more: dict[str, Any], status: str | None) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({**START, "headers": [(b"x-name", "ä".encode("latin-1"))], **more})
            await send(part(b"data"))

        started, content = ask(app)
        assert started.status == (status or "599 UNKNOWN")
        assert [(name.lower(), value) for name, value in started.headers] == [("x-name", "ä")]
        assert content == [b"data"]

    def test_starts_in_the_context_of_the_request(self) -> None:
        variable: ContextVar[str] = ContextVar("variable", default="unset")
        private: ContextVar[str] = ContextVar("private", default="unset")
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def request() -> None:
                variable.set("set")
                private.set("set")

            scope[ORIGIN].context = context = copy_context()
            await asyncio.create_task(request(), context=context)
            await send(START)
            seen.append("sent")
            await send(part(b"data"))

        def start_response(status: str, headers: Any) -> None:
            seen.extend([variable.get(), private.get()])

        environ = EnvironBuilder().get_environ()
        content = copy_context().run(respond, app, environ, start_response)
        assert content == [b"data"]
        assert seen == ["set", "set", "sent"]

        def ask_here() -> list[str]:
            respond(app, environ, start_response, None, [private])
            return [variable.get(), private.get()]

        assert copy_context().run(ask_here) == ["set", "unset"]

    def test_start_response_that_raises(self) -> None:
        raised: list[Exception] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await send(START)
            except LookupError as error:
                raised.append(error)
                raise

        def start_response(status: str, headers: Any) -> None:
            raise LookupError("on purpose")

        with pytest.raises(LookupError, match="on purpose") as caught:
            respond(app, EnvironBuilder().get_environ(), start_response)
        assert raised == [caught.value]

    def test_names_of_headers_are_as_written(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            start = start_message(200, [("x-amz-meta-of", "a"), ("ETag", '"b"')])
            await send({**start, "headers": [*start["headers"], (b"x-middleware", b"c")]})
            await send(part(b""))

        started, _ = ask(app)
        assert started.headers == [
            ("x-amz-meta-of", "a"),
            ("ETag", '"b"'),
            ("X-Middleware", "c"),
        ]

    def test_stream(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            for body in (b"one", b"", b"two"):
                await send(part(body, more=True))
            await send(part(b""))

        _, content = ask(app)
        assert not isinstance(content, list)
        assert [chunk for chunk in content if chunk] == [b"one", b"two"]
        content.close()  # type: ignore[attr-defined]

    def test_app_waits_until_a_chunk_is_taken(self) -> None:
        made: list[bytes] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            for body in (b"1", b"2", b"3"):
                made.append(body)
                await send(part(body, more=True))
            await send(part(b""))

        _, content = ask(app)
        iterator = iter(content)
        assert next(iterator) == b"1"
        assert made == [b"1"]
        assert list(iterator) == [b"2", b"3"]

    @pytest.mark.parametrize("how", ["close", "drop"])
    def test_client_leaves_in_a_stream(self, how: str) -> None:
        received: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(START)
            await send(part(b"1", more=True))
            received.append(await receive())
            await send(part(b"nobody reads this", more=True))

        _, content = ask(app)
        assert next(iter(content)) == b"1"
        if how == "close":
            content.close()  # type: ignore[attr-defined]
        del content
        assert received == [{"type": "http.disconnect"}]

    def test_body(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            body = b""
            more = True
            while more:
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            await send(START)
            await send(part(body.upper()))
            assert (await receive())["type"] == "http.disconnect"

        data = b"x" * 100_000
        _, content = ask(app, method="POST", data=data)
        assert b"".join(content) == data.upper()

    def test_body_that_cannot_be_read(self) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise OSError("the client left")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

        with pytest.raises(OSError, match="the client left"):
            overrides = {"wsgi.input_terminated": True}
            ask(app, method="POST", input_stream=Broken(), environ_overrides=overrides)

    @pytest.mark.parametrize("late", [False, True])
    def test_error_of_the_app(self, late: bool) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if late:
                await send(START)
                await send(part(b"1", more=True))
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            _, content = ask(app)
            list(content)

    def test_environ_that_is_none(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

        with pytest.raises(AttributeError):  # and no waiting forever
            respond(app, {**EnvironBuilder().get_environ(), "PATH_INFO": None}, Started())

    def test_port_as_a_number(self) -> None:
        environ = {**EnvironBuilder().get_environ(), "SERVER_PORT": 8000}
        assert scope_from_environ(environ)["server"] == ("localhost", 8000)

    def test_no_response(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

        with pytest.raises(RuntimeError, match="returned without a response"):
            ask(app)

    def test_no_body(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)

        assert ask(app)[1] == []

    def test_plain_code_runs_on_the_calling_thread(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            driver = Driver(asyncio.get_running_loop(), worker=scope[ORIGIN].worker)
            ident = await driver.run_sync(threading.get_ident)
            driver.release()
            await send(START)
            await send(part(str(ident).encode()))

        assert ask(app)[1] == [str(threading.get_ident()).encode()]
        assert pool._idle == []  # it is not one of the pool afterwards

    async def test_within_a_request_it_is_that_requests_loop(self) -> None:
        loops: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            loops.append(asyncio.get_running_loop())
            await send(START)
            await send(part(b"data"))

        assert (await run_in_worker(ask, app))[1] == [b"data"]
        assert loops == [asyncio.get_running_loop()]


WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


async def answer(wsgi_app: WSGIApp, peer: Peer | None = None) -> Peer:
    peer = peer or Peer()
    scope = http_scope()
    body = Body(scope, peer.receive)
    driver = Driver(asyncio.get_running_loop())
    environ = environ_from_scope(scope, body)
    coro = serve(driver, wsgi_app, environ, peer.send, body, Conversations())
    try:
        await asyncio.wait_for(driver.run(coro), 30)
    finally:
        driver.release()
    return peer


class Content:
    """A body that notes where it was iterated and closed."""

    def __init__(self, *parts: bytes, error: Exception | None = None) -> None:
        self.parts = parts
        self.error = error
        self.threads: list[str] = []
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for body in self.parts:
            self.threads.append(threading.current_thread().name)
            yield body
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.closed += 1


class TestServe:
    """A WSGI callable that answers an ASGI request."""

    async def test_whole(self) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("404 NOPE", [("X-Path", environ["PATH_INFO"])])
            return [b"data"]

        peer = await answer(app)
        assert (peer.status, peer.headers) == (404, [("x-path", "/")])
        assert peer.sent[1:] == [{"type": "http.response.body", "body": b"data"}]

    async def test_chunks(self) -> None:
        content = Content(b"one", b"", b"two")

        def app(environ: dict[str, Any], start_response: Any) -> Content:
            start_response("200 OK", [])
            return content

        peer = await answer(app)
        assert peer.body == b"onetwo"
        assert content.closed == 1
        assert set(content.threads) == {"asyncflask-worker"}

    async def test_late_start_response(self) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("201 Created", [])
            yield b"one"
            yield b"two"

        peer = await answer(app)
        assert (peer.status, peer.body) == (201, b"onetwo")

    async def test_late_start_response_of_an_empty_body(self) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("204 No Content", [])
            yield from ()

        peer = await answer(app)
        assert (peer.status, peer.body) == (204, b"")

    @pytest.mark.parametrize(
        ("status", "headers"), [("999 What", []), ("200 OK", [("X", "a\nb")]), ("x", [])]
    )
    async def test_bad_start_closes_the_body(self, status: str, headers: Any) -> None:
        content = Content(b"one", b"two")

        def app(environ: dict[str, Any], start_response: Any) -> Content:
            start_response(status, headers)
            return content

        peer = Peer()
        with pytest.raises(ValueError):
            await answer(app, peer)
        assert peer.sent == []
        assert content.closed == 1

    async def test_error_in_the_body_closes_it(self) -> None:
        content = Content(b"one", error=LookupError("no"))

        def app(environ: dict[str, Any], start_response: Any) -> Content:
            start_response("200 OK", [])
            return content

        with pytest.raises(LookupError):
            await answer(app)
        assert content.closed == 1

    async def test_client_leaves(self) -> None:
        content = Content(*[b"x" * 100_000] * 1000)

        def app(environ: dict[str, Any], start_response: Any) -> Content:
            start_response("200 OK", [])
            return content

        peer = Peer()
        peer.leave_after = 3
        await answer(app, peer)
        assert len(content.threads) < 1000
        assert content.closed == 1

    async def test_start_response_again_after_an_error(self) -> None:
        """PEP 3333: with `exc_info`, it replaces what was given before."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            start_response("500 Oh", [("X-Name", "b")], (None, None, None))
            return [b"sorry"]

        peer = await answer(app)
        assert (peer.status, peer.headers) == (500, [("x-name", "b")])

    async def test_write_is_not_supported(self) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])(b"data")
            return []

        with pytest.raises(RuntimeError, match="Return an iterable"):
            await answer(app)


class TestContextVariables:
    """Between a WSGI app's caller and what it does in a request, as in Flask: the variables of
    monitoring libraries, which begin a span in a hook or in middleware and end it in another."""

    @pytest.fixture
    def variable(self) -> Iterator[ContextVar[str]]:
        yield ContextVar("variable")

    @pytest.fixture(params=[False, True], ids=["sync", "async"])
    def app(self, request: pytest.FixtureRequest) -> Flask:
        app = Flask(__name__)

        async def index() -> Iterator[str]:
            return iter(("con", "tent"))

        app.get("/")(index if request.param else lambda: iter(("con", "tent")))
        return app

    def test_reset_in_teardown(self, app: Flask, variable: ContextVar[str]) -> None:
        tokens = []
        app.before_request(lambda: tokens.append(variable.set("request")))
        app.teardown_request(lambda error: variable.reset(tokens.pop()))
        for _ in range(2):
            assert app.test_client().get("/").text == "content"
            assert not tokens
            assert variable not in copy_context()

    def test_set_anew_by_middleware(self, app: Flask, variable: ContextVar[str]) -> None:
        """When the app has returned, and before its response is read."""
        within = app.wsgi_app

        def middleware(environ: Any, start_response: Any) -> Any:
            variable.set("within")
            try:
                return within(environ, start_response)
            finally:
                variable.set("after")

        app.wsgi_app = middleware  # type: ignore[method-assign]
        assert Client(app.wsgi_app).get("/").text == "content"
        assert variable.get() == "after"

    def test_set_in_the_request(self, app: Flask, variable: ContextVar[str]) -> None:
        variable.set("before")
        app.after_request(lambda response: [variable.set("request"), response][1])
        app.test_client().get("/")
        assert variable.get() == "request"
