"""Event streams, as views return them and test clients read them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response as WerkzeugResponse

from asyncflask import (
    EventStream,
    Flask,
    Response,
    ServerSentEvent,
    current_app,
    g,
    json,
    make_response,
    request,
    session,
    stream_with_context,
)
from asyncflask.asgi.client import NoEventStream
from asyncflask.async_testing import AsyncClient
from support.asgi import Peer, chunks, http_scope

SECONDS = 45.0


@pytest.fixture
def app() -> Flask:
    app = Flask("events_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    return app


def numbers(start: int = 0, stop: int = 3) -> Iterator[ServerSentEvent]:
    for number in range(start, stop):
        yield ServerSentEvent({"n": number}, id=number)


async def async_numbers(start: int = 0, stop: int = 3) -> AsyncIterator[ServerSentEvent]:
    for number in range(start, stop):
        await asyncio.sleep(0)
        yield ServerSentEvent({"n": number}, id=number)


TEXT = "".join(f'id: {n}\ndata: {{"n": {n}}}\n\n' for n in range(3))


@pytest.mark.parametrize("generate", [numbers, async_numbers])
def test_views_of_both_colours(app: Flask, generate: Any) -> None:
    @app.get("/plain")
    def plain() -> EventStream:
        return EventStream(generate())

    @app.get("/async")
    async def asynchronous() -> EventStream:
        return EventStream(generate())

    for path in ("/plain", "/async"):
        response = app.test_client().get(path)
        assert response.status_code == 200
        assert dict(response.headers) == {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        assert response.text == TEXT


def test_what_may_be_yielded(app: Flask) -> None:
    class Message:
        id = "5-0"
        data = {"from": "a room"}

    class Named(Message):
        event = "said"
        data = "hello"  # type: ignore[assignment]

    class Binary(Message):
        id = "6-0"
        data = b"\xff"  # type: ignore[assignment]

    @app.get("/")
    async def view() -> EventStream:
        return EventStream(
            ["text\nlines", 1, [2], {"a": None}, Message(), Named(), Binary(), None]
        )

    assert app.test_client().get("/").text == (
        "data: text\ndata: lines\n\ndata: 1\n\ndata: [2]\n\n"
        'data: {"a": null}\n\n'
        'id: 5-0\ndata: {"from": "a room"}\n\n'
        "event: said\nid: 5-0\ndata: hello\n\n"
        "id: 6-0\n\n"
    )


def test_json_of_the_app(app: Flask) -> None:
    class Provider(json.provider.DefaultJSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return f"<{obj}>"

    app.json = Provider(app)

    @app.get("/")
    def view() -> EventStream:
        return EventStream(iter([1]))

    assert app.test_client().get("/").text == "data: <1>\n\n"


def test_outside_of_an_app() -> None:
    stream = EventStream(numbers(), retry=5)
    assert list(stream.response) == [event.encode() for event in numbers()]


@pytest.mark.parametrize("source", ["data", b"data", {"a": 1}, 5, None, numbers])
def test_wrong_source(source: Any) -> None:
    with pytest.raises(TypeError, match=r"EventStream\(generate\(\)\)"):
        EventStream(source)


def test_wrong_retry() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        EventStream(numbers(), retry=-1)


def test_retry_comes_first(app: Flask) -> None:
    @app.get("/")
    async def view() -> EventStream:
        return EventStream(async_numbers(), retry=4000)

    assert app.test_client().get("/").text == f"retry: 4000\n\n{TEXT}"


def test_status_and_headers(app: Flask) -> None:
    @app.get("/")
    async def view() -> Any:
        headers = {"Cache-Control": "private", "X-A": "1"}
        return EventStream(numbers(), headers=headers, status=203), {"X-B": "2"}

    response = app.test_client().get("/")
    assert (response.status_code, response.headers["Cache-Control"]) == (203, "private")
    assert (response.headers["X-A"], response.headers["X-B"]) == ("1", "2")


def test_own_response_class(app: Flask) -> None:
    class Own(Response):
        pass

    app.response_class = Own

    @app.get("/")
    async def view() -> EventStream:
        return EventStream(async_numbers(), retry=1)

    @app.after_request
    def after(response: Response) -> Response:
        assert isinstance(response, Own)
        return response

    assert app.test_client().get("/").text == f"retry: 1\n\n{TEXT}"


def test_after_request_cannot_read_it(app: Flask) -> None:
    """It would wait for an end that may never come."""

    @app.get("/")
    async def view() -> Any:
        return make_response(EventStream(async_numbers()))

    @app.after_request
    def after(response: Response) -> Response:
        assert response.is_streamed
        with pytest.raises(RuntimeError, match="direct passthrough"):
            response.get_data()
        response.headers["X-Seen"] = "yes"
        return response

    response = app.test_client().get("/")
    assert (response.text, response.headers["X-Seen"]) == (TEXT, "yes")


def test_last_event_id(app: Flask) -> None:
    @app.get("/")
    def view() -> EventStream:
        last = request.last_event_id
        return EventStream(numbers(0 if last is None else int(last) + 1))

    @app.get("/text")
    def text() -> list[str | None]:
        return [request.last_event_id]

    client = app.test_client()
    with client.event_source("/") as events:
        assert events.receive_json() == {"n": 0}
        assert events.receive_json() == {"n": 1}
    with client.event_source("/", last_event_id=events.last_event_id) as events:
        assert [json.loads(event.data)["n"] for event in events] == [2]
    assert client.get("/text").json == [None]
    # The browser sends UTF-8 (section 9.2.4); what is none does no harm.
    for sent, seen in ((b"\xc3\xa9", "é"), (b"\xff", "\ufffd")):
        headers = {"Last-Event-ID": sent.decode("latin-1")}
        assert client.get("/text", headers=headers).json == [seen]


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_context(app: Flask, colour: str) -> None:
    """As for all streams: kept if asked for."""
    steps = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        steps.append("teardown")

    @app.get("/plain")
    def plain() -> EventStream:
        @stream_with_context
        def generate() -> Iterator[str]:
            steps.append("event")
            yield f"{request.args['q']} {g.get('x')}"

        return EventStream(generate())

    @app.get("/async")
    async def asynchronous() -> EventStream:
        @stream_with_context
        async def generate() -> AsyncIterator[str]:
            steps.append("event")
            yield f"{request.args['q']} {g.get('x')}"

        return EventStream(generate())

    assert app.test_client().get(f"/{colour}?q=1").text == "data: 1 None\n\n"
    assert steps == ["event", "teardown"]


def test_plain_steps_share_thread_and_context(app: Flask) -> None:
    variable: ContextVar[int] = ContextVar("variable")
    threads = []

    @app.get("/")
    async def view() -> EventStream:
        def generate() -> Iterator[str]:
            token = variable.set(1)
            with app.app_context():  # entered and left in different steps
                for _ in range(3):
                    threads.append(threading.get_ident())
                    yield current_app.name
            variable.reset(token)

        return EventStream(generate())

    with app.test_client().event_source("/") as events:
        assert [event.data for event in events] == [app.name] * 3
    assert len(set(threads)) == 1


@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("context", [False, True])
def test_head(app: Flask, colour: str, context: bool) -> None:
    generate: Any = numbers if colour == "plain" else async_numbers
    torn_down: list[Any] = []
    app.teardown_request(torn_down.append)

    @app.get("/")
    def view() -> EventStream:
        source = generate()
        return EventStream(stream_with_context(source) if context else source)

    response = app.test_client().head("/")
    assert (response.data, response.mimetype) == (b"", "text/event-stream")
    assert torn_down == [None]


@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("how", ["argument", "config"])
def test_keep_alive(app: Flask, colour: str, how: str) -> None:
    """While a step takes its time; the generator is not cancelled by it."""
    kept_alive = threading.Event()
    if how == "config":
        app.config["EVENT_STREAM_KEEP_ALIVE"] = 0.05
    keep_alive = 0.05 if how == "argument" else None

    @app.get("/plain")
    def plain() -> EventStream:
        def generate() -> Iterator[str]:
            yield "a"
            assert kept_alive.wait(SECONDS)
            yield "b"

        return EventStream(generate(), keep_alive=keep_alive)

    @app.get("/async")
    async def asynchronous() -> EventStream:
        async def generate() -> AsyncIterator[str]:
            yield "a"
            while not kept_alive.is_set():
                await asyncio.sleep(0.01)
            yield "b"

        return EventStream(generate(), keep_alive=keep_alive)

    class Listener(Peer):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message.get("body") == b":\n\n":
                kept_alive.set()

    peer = Listener(chunks())
    asyncio.run(app(http_scope(f"/{colour}"), peer.receive, peer.send))
    begin, _, rest = peer.body.partition(b":\n\n")
    assert begin == b"data: a\n\n"
    assert rest.replace(b":\n\n", b"") == b"data: b\n\n"


@pytest.mark.parametrize("config", [0, None])
def test_without_keep_alive(app: Flask, config: Any) -> None:
    app.config["EVENT_STREAM_KEEP_ALIVE"] = config
    with app.app_context():
        assert EventStream(numbers()).response.options.keep_alive == 0  # type: ignore[union-attr]
        assert EventStream(numbers(), keep_alive=2).response.options.keep_alive == 2  # type: ignore[union-attr]


def test_error_in_a_step(app: Flask) -> None:
    @app.get("/")
    async def view() -> EventStream:
        async def generate() -> AsyncIterator[Any]:
            yield "a"
            yield b"no text"

        return EventStream(generate())

    with pytest.raises(TypeError, match="decode"), app.test_client().event_source("/") as events:
        assert events.receive().data == "a"
        events.receive()


def test_the_wsgi_face(app: Flask) -> None:
    @app.get("/<colour>")
    def view(colour: str) -> EventStream:
        return EventStream(numbers() if colour == "plain" else async_numbers())

    for colour in ("plain", "async"):
        assert Client(app.wsgi_app, WerkzeugResponse).get(f"/{colour}").text == TEXT


def test_client_leaves(app: Flask) -> None:
    closed = []

    @app.get("/plain")
    def plain() -> EventStream:
        def generate() -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                closed.append("plain")

        return EventStream(generate())

    @app.get("/async")
    async def asynchronous() -> EventStream:
        async def generate() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(60)
            finally:
                closed.append("async")

        return EventStream(generate())

    client = app.test_client()
    for colour in ("plain", "async"):
        with client.event_source(f"/{colour}") as events:
            assert events.receive_json() == 1
        assert closed.pop() == colour
        response = client.get(f"/{colour}")
        next(iter(response.response))
        response.close()
        assert closed.pop() == colour


def test_event_source_of_the_plain_client(app: Flask) -> None:
    @app.get("/")
    async def view() -> EventStream:
        session["seen"] = session.get("seen", 0) + 1
        answer = [session["seen"], request.headers.get("X-A"), request.headers["Accept"]]
        return EventStream([ServerSentEvent(answer, "tick")], retry=7)

    client = app.test_client()
    for seen in (1, 2):
        with client.event_source("/?q=1", headers={"X-A": "b"}) as events:
            assert ("x-accel-buffering", "no") in events.response_headers
            event = events.receive()
            assert (event.event, json.loads(event.data)) == (
                "tick",
                [seen, "b", "text/event-stream"],
            )
            assert events.retry == 7
            for _ in range(2):
                with pytest.raises(EOFError):
                    events.receive()
            assert list(events) == []


async def test_event_source_of_the_asynchronous_client(app: Flask) -> None:
    @app.get("/")
    def view() -> EventStream:
        session["seen"] = session.get("seen", 0) + 1
        return EventStream([ServerSentEvent([session["seen"], request.url])])

    @app.get("/endless")
    async def endless() -> EventStream:
        async def generate() -> AsyncIterator[int]:
            while True:
                yield 1

        return EventStream(generate())

    async with AsyncClient(app) as client:
        for seen in (1, 2):
            async with client.event_source("/") as events:
                assert await events.receive_json() == [seen, "http://localhost/"]
                assert [event async for event in events] == []
        async with client.event_source("/endless") as events:
            async for event in events:
                assert event == ServerSentEvent("1")
                break


def test_event_source_without_an_event_stream(app: Flask) -> None:
    @app.get("/text")
    def text() -> str:
        return "some text"

    client = app.test_client()
    for path, status, body in (("/text", 200, b"some text"), ("/none", 404, b"<!doctype")):
        with pytest.raises(NoEventStream) as caught, client.event_source(path):
            pass
        assert caught.value.status_code == status
        assert caught.value.body.startswith(body)
        assert "content-type" in dict(caught.value.headers)


def test_event_source_raises_what_the_view_raises(app: Flask) -> None:
    @app.get("/")
    def view() -> EventStream:
        raise LookupError("on purpose")

    with pytest.raises(LookupError), app.test_client().event_source("/"):
        pass
