"""Request and response: what they add to Werkzeug's, and their parts under ASGI."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
import werkzeug
from starlette.responses import PlainTextResponse
from starlette.responses import Response as StarletteResponse
from werkzeug.datastructures import EnvironHeaders, ImmutableMultiDict
from werkzeug.exceptions import (
    BadRequest,
    BadRequestKeyError,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.utils import cached_property

from asyncflask import Blueprint, Flask, Request, Response, request
from asyncflask.asgi.waiting import wait
from asyncflask.formparser import FormDataParser
from asyncflask.responses import AsyncBody, from_starlette
from support.asgi import Peer, chunks, exchange, http_scope


def request_of(*parts: bytes, **scope: Any) -> Request:
    made = http_scope(**scope)
    return Request.from_scope(made, Peer(chunks(*parts)).receive)


@pytest.fixture
def app() -> Flask:
    app = Flask("wrappers_test", static_folder=None)
    app.testing = True
    return app


class TestFromScope:
    @pytest.mark.parametrize(
        ("scope", "expected"),
        [
            ({"path": "/ä?q=1&q=2"}, {"path": "/ä", "full_path": "/ä?q=1&q=2"}),
            ({"path": "/?q=1&q=2"}, {"query_string": b"q=1&q=2"}),
            ({"path": "/r/a", "root_path": "/r"}, {"path": "/a", "root_path": "/r"}),
            ({"path": "/r/a", "root_path": "/r"}, {"url": "http://localhost/r/a"}),
            ({"path": "/r/a", "root_path": "/r"}, {"script_root": "/r"}),
            ({"method": "POST"}, {"method": "POST"}),
            ({"scheme": "https"}, {"is_secure": True, "url": "https://localhost/"}),
            ({"headers": [("host", "a.example:81")]}, {"host": "a.example:81"}),
            ({"headers": [("host", "a.example:80")]}, {"host": "a.example"}),
            ({"headers": [("x-name", "välue")]}, {"headers": {"X-Name": "välue"}}),
            ({"headers": [("accept", "a/b"), ("accept", "c/d")]}, {"accept_mimetypes": "a/b,c/d"}),
            (
                {"headers": [("cookie", "a=1"), ("cookie", "b=2")]},
                {"cookies": {"a": "1", "b": "2"}},
            ),
            ({"headers": [("content-type", "text/plain")]}, {"mimetype": "text/plain"}),
            ({"client": ("10.0.0.1", 1)}, {"remote_addr": "10.0.0.1"}),
            ({"client": None}, {"remote_addr": None}),
            ({"server": None}, {"server": None}),
        ],
        ids=range(16),
    )
    def test_attributes(self, scope: dict[str, Any], expected: dict[str, Any]) -> None:
        made = request_of(**scope)
        for name, value in expected.items():
            found = getattr(made, name)
            if name == "headers":
                assert dict(found).items() >= value.items()
            elif isinstance(value, dict):
                assert dict(found) == value
            elif name == "accept_mimetypes":
                assert str(found) == value
            else:
                assert found == value

    def test_environ_is_made_when_read(self) -> None:
        made = request_of(path="/a")
        assert "environ" not in vars(made)
        assert made.environ["PATH_INFO"] == "/a"
        assert made.environ is made.environ
        assert made.environ["werkzeug.request"] is made

    def test_subclass_with_its_own_init(self) -> None:
        class Own(Request):
            def __init__(self, environ: Any) -> None:
                super().__init__(environ)
                self.own = True

        scope = http_scope("/a")
        made: Any = Own.from_scope(scope, Peer().receive)
        assert (made.own, made.path, made.scope) == (True, "/a", scope)

    def test_scope(self) -> None:
        scope = http_scope(state={"a": 1})
        made = Request.from_scope(scope, Peer().receive)
        assert made.scope is scope
        assert made.state.a == 1
        made.state.b = 2
        assert made.state.b == 2

    def test_made_of_an_environ(self) -> None:
        made = Request(werkzeug.test.EnvironBuilder().get_environ())
        with pytest.raises(RuntimeError, match="has no scope"):
            _ = made.scope

    async def test_is_disconnected(self, app: Flask) -> None:
        peer = Peer(chunks())

        @app.get("/")
        async def index() -> dict[str, Any]:
            before = await request.is_disconnected()
            peer.leave()
            return {"before": before, "after": await request.is_disconnected()}

        await app(http_scope(), peer.receive, peer.send)
        assert peer.body == b'{"after":true,"before":false}\n'
        assert not await Request(werkzeug.test.EnvironBuilder().get_environ()).is_disconnected()


@pytest.mark.parametrize(
    ("path", "endpoint", "blueprint", "blueprints"),
    [
        ("/", "index", None, []),
        ("/a/", "a.index", "a", ["a"]),
        ("/a/b/", "a.b.index", "a.b", ["a.b", "a"]),
        ("/none", None, None, []),
    ],
)
def test_endpoint(
    app: Flask, path: str, endpoint: str | None, blueprint: str | None, blueprints: list[str]
) -> None:
    outer = Blueprint("a", __name__, url_prefix="/a")
    inner = Blueprint("b", __name__, url_prefix="/b")
    for scope in (app, outer, inner):
        scope.add_url_rule("/", "index", lambda: "")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    with app.test_request_context(path):
        assert request.endpoint == endpoint
        assert request.blueprint == blueprint
        assert request.blueprints == blueprints


class TestJSON:
    @pytest.mark.parametrize(
        ("data", "mimetype", "kwargs", "expected"),
        [
            (b'{"a": 1}', "application/json", {}, {"a": 1}),
            (b"[]", "application/x+json", {}, []),
            (b"{}", "text/plain", {}, UnsupportedMediaType),
            (b"{}", "text/plain", {"silent": True}, None),
            (b"{}", "text/plain", {"force": True}, {}),
            (b"{", "application/json", {}, BadRequest),
            (b"{", "application/json", {"silent": True}, None),
            (b"\xff", "application/json", {}, BadRequest),
            (b"[" * 100_000, "application/json", {}, BadRequest),
            (b"[" * 100_000, "application/json", {"silent": True}, None),
        ],
        ids=range(10),
    )
    def test_get_json(
        self, app: Flask, data: bytes, mimetype: str, kwargs: Any, expected: Any
    ) -> None:
        with app.test_request_context(method="POST", data=data, content_type=mimetype):
            if isinstance(expected, type):
                with pytest.raises(expected):
                    request.get_json(**kwargs)
            else:
                assert request.get_json(**kwargs) == expected

    @pytest.mark.parametrize("debug", [False, True])
    def test_says_why_in_debug_mode(self, app: Flask, debug: bool) -> None:
        app.debug = debug
        with (
            app.test_request_context(method="POST", data="{", content_type="application/json"),
            pytest.raises(BadRequest) as caught,
        ):
            request.get_json()
        assert ("Failed to decode JSON" in str(caught.value)) is debug


class TestLimits:
    """By the config, by the request, and by Werkzeug's defaults outside of an app."""

    @pytest.mark.parametrize(
        ("name", "key", "default"),
        [
            ("max_content_length", "MAX_CONTENT_LENGTH", None),
            ("max_form_memory_size", "MAX_FORM_MEMORY_SIZE", 500_000),
            ("max_form_parts", "MAX_FORM_PARTS", 1_000),
        ],
    )
    def test_where_they_are_from(
        self, app: Flask, name: str, key: str, default: int | None
    ) -> None:
        assert getattr(request_of(), name) == default
        with app.test_request_context():
            assert getattr(request, name) == default
            app.config[key] = 5
            assert getattr(request, name) == 5
            setattr(request, name, 6)
            assert getattr(request, name) == 6

    @pytest.mark.parametrize("multipart", [False, True])
    @pytest.mark.parametrize(
        ("key", "limit", "refused"),
        [
            ("MAX_FORM_MEMORY_SIZE", 1_000, False),
            ("MAX_FORM_MEMORY_SIZE", 3, True),
            ("MAX_FORM_MEMORY_SIZE", None, False),
            ("MAX_FORM_PARTS", 2, False),
            ("MAX_FORM_PARTS", 1, True),
            ("MAX_FORM_PARTS", None, False),
        ],
    )
    def test_forms(
        self, app: Flask, key: str, limit: int | None, refused: bool, multipart: bool
    ) -> None:
        app.config[key] = limit
        content_type = "multipart/form-data" if multipart else None
        with app.test_request_context(
            method="POST", data={"a": "1234", "b": "5"}, content_type=content_type
        ):
            if refused:
                with pytest.raises(RequestEntityTooLarge):
                    _ = request.form
            else:
                assert request.form.to_dict() == {"a": "1234", "b": "5"}

    @pytest.mark.parametrize("parts", [(b"123456",), (b"12345", b"6")])
    async def test_chunked_body_is_not_cut_off(self, app: Flask, parts: tuple[bytes, ...]) -> None:
        app.config["MAX_CONTENT_LENGTH"] = 5
        app.add_url_rule("/", "view", lambda: request.get_data(), methods=["POST"])
        scope = http_scope(method="POST", headers=[("transfer-encoding", "chunked")])
        assert (await exchange(app, scope, chunks(*parts))).status == 413

    async def test_announced_body_is_refused_when_asked_for(self, app: Flask) -> None:
        app.config["MAX_CONTENT_LENGTH"] = 5
        app.add_url_rule("/", "view", lambda: str(request.stream), methods=["POST"])
        scope = http_scope(method="POST", headers=[("content-length", "6")])
        assert (await exchange(app, scope, chunks(b"123456"))).status == 413


class TestHooks:
    """What subclasses change in how a body is read, as Werkzeug documents it."""

    @pytest.mark.parametrize("size", [10, 100_000, 2_000_000])
    @pytest.mark.parametrize("colour", ["sync", "async"])
    @pytest.mark.parametrize("how", ["data", "form"])
    async def test_stream(self, app: Flask, size: int, colour: str, how: str) -> None:
        class Own(Request):
            @cached_property
            def stream(self) -> Any:
                return io.BytesIO(super().stream.read().replace(b"x", b"yy"))

        app.request_class = Own
        app.config["MAX_FORM_MEMORY_SIZE"] = None

        def read() -> str:
            return str(len(request.get_data() if how == "data" else request.form["f"]))

        async def read_async() -> str:
            return read()

        app.add_url_rule("/", "view", read if colour == "sync" else read_async, methods=["POST"])
        kind = "application/x-www-form-urlencoded" if how == "form" else "text/plain"
        scope = http_scope("/", "POST", [("transfer-encoding", "chunked"), ("content-type", kind)])
        body = b"f=" + b"x" * size
        parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        peer = await exchange(app, scope, chunks(*parts))
        assert peer.body == str(size * 2 + (2 if how == "data" else 0)).encode()

    @pytest.mark.parametrize("size", [10, 100_000, 2_000_000])
    async def test_parser_and_file(self, app: Flask, size: int) -> None:
        made = []

        class OwnParser(FormDataParser):
            def parse(self, *args: Any, **kwargs: Any) -> Any:
                made.append("parser")
                return super().parse(*args, **kwargs)

        class Own(Request):
            form_data_parser_class = OwnParser

            def _get_file_stream(self, *args: Any, **kwargs: Any) -> Any:
                made.append("file")
                return io.BytesIO()

        app.request_class = Own

        @app.post("/")
        async def view() -> str:
            file = request.files["f"]
            assert isinstance(file.stream, io.BytesIO)
            return str(len(file.read()))

        head = b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        body = head + b"x" * size + b"\r\n--B--\r\n"
        kind = ("content-type", "multipart/form-data; boundary=B")
        scope = http_scope("/", "POST", [("content-length", str(len(body))), kind])
        parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        peer = await exchange(app, scope, chunks(*parts))
        assert (peer.body, made) == (str(size).encode(), ["parser", "file"])

    @pytest.mark.parametrize("size", [10, 100_000])
    async def test_body_is_read_once(self, app: Flask, size: int) -> None:
        """By whatever comes first; data that are kept are parsed again."""

        @app.post("/<how>")
        async def view(how: str) -> list[int]:
            if how == "form first":
                return [len(request.form["f"]), len(request.get_data()), len(request.data)]
            if how == "some first":
                return [len(request.stream.read(4)), len(request.get_data()), len(request.form)]
            if how == "environ first":
                return [len(request.environ["wsgi.input"].read()), len(request.form)]
            return [len(request.get_data()), len(request.form["f"]), len(request.stream.read())]

        async def lengths(how: str) -> Any:
            kind = ("content-type", "application/x-www-form-urlencoded")
            scope = http_scope(f"/{how}", "POST", [("transfer-encoding", "chunked"), kind])
            peer = await exchange(app, scope, chunks(b"f=", *[b"x" * 10] * (size // 10)))
            return json.loads(peer.body)

        assert await lengths("form first") == [size, 0, 0]
        assert await lengths("data first") == [size + 2, size, 0]
        assert await lengths("some first") == [4, size - 2, 1]
        assert await lengths("environ first") == [size + 2, 0]


class GeneralRequest(Request):
    """Has a say in all that there is a short way for, and says nothing new."""

    @property
    def want_form_data_parsed(self) -> bool:
        return super().want_form_data_parsed

    @cached_property
    def stream(self) -> Any:
        return super().stream


def set_limit(size: int) -> str:
    request.max_content_length = size
    return "set"


def set_stream(content: bytes) -> str:
    request.stream = io.BytesIO(content)
    return "set"


READS: dict[str, Any] = {
    "form": lambda: request.form.to_dict(flat=False),
    "form twice": lambda: [request.form.to_dict(flat=False), request.form is request.form],
    "files": lambda: [len(request.files), request.form.to_dict(flat=False)],
    "data": lambda: [request.get_data(as_text=True), request.data.decode("latin-1")],
    "data, then form": lambda: [len(request.get_data()), request.form.to_dict(flat=False)],
    "data that are not kept": lambda: [
        len(request.get_data(cache=False)),
        len(request.get_data(cache=False)),
        len(request.stream.read()),
        request.form.to_dict(flat=False),
    ],
    "form, then the rest": lambda: [
        request.form.to_dict(flat=False),
        len(request.get_data()),
        len(request.stream.read()),
        request.stream is request.stream,
    ],
    "some of it first": lambda: [
        request.stream.read(2).decode("latin-1"),
        request.form.to_dict(flat=False),
        len(request.get_data()),
    ],
    "environ": lambda: [
        request.environ["wsgi.input"].read().decode("latin-1"),
        len(request.get_data()),
    ],
    "data, then environ": lambda: [
        len(request.get_data()),
        len(request.environ["wsgi.input"].read()),
        request.form.to_dict(flat=False),
    ],
    "lines": lambda: [line.decode("latin-1") for line in request.stream],
    "stream of its own": lambda: [
        set_stream(b"own=1"),
        request.get_data(as_text=True),
        request.form.to_dict(flat=False),
    ],
    "values": lambda: request.values.to_dict(flat=False),
    "json": lambda: [
        request.get_json(force=True, silent=True),
        request.get_json(force=True, silent=True),
        len(request.get_data()),
    ],
    "json that is not kept": lambda: [
        request.get_json(force=True, silent=True, cache=False),
        request.get_json(force=True, silent=True),
    ],
    "json or an error": lambda: request.json,
    "limit that comes late": lambda: [
        set_limit(3),
        len(request.get_data()),
    ],
    "limit that is lifted": lambda: [
        set_limit(3),
        set_limit(100),
        len(request.get_data()),
    ],
}


class TestShortWay:
    """To a body that has come with one message there is a shorter way than to others."""

    @pytest.mark.parametrize("colour", ["sync", "async"])
    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"MAX_CONTENT_LENGTH": 7},
            {"MAX_FORM_MEMORY_SIZE": 8},
            {"MAX_FORM_PARTS": 2},
        ],
    )
    @pytest.mark.parametrize("read", READS)
    async def test_same_answer(self, read: str, config: dict[str, Any], colour: str) -> None:
        async def awaited() -> Any:
            return {"read": READS[read]()}

        form = "application/x-www-form-urlencoded"
        bodies = [
            (form, b"a=1&b=%C3%A4+%2B&a=3"),
            (form, b"a=1&b=2"),
            (form, b"a&=b&&c=%zz&%E4=%E4"),
            (form, b"a=\xff"),
            (form + "; charset=utf-8", b"a=1"),
            (form.upper(), b"a=1"),
            ("text/plain", b"a=1"),
            ("", b"a=1"),
            ("application/json", b'{"a": [1]}'),
            ("application/vnd.x+json", b"[1"),
            ("multipart/form-data; boundary=B", b"--B\r\n\r\n--B--\r\n"),
        ]
        apps = []
        for request_class in (Request, GeneralRequest):
            app = Flask("short_way", static_folder=None)
            app.request_class = request_class
            app.config.update(config)
            view = awaited if colour == "async" else lambda: {"read": READS[read]()}
            app.add_url_rule("/", "view", view, methods=["POST"])
            apps.append(app)
        for kind, body in bodies:
            answers = []
            for app in apps:
                for way in ("whole", "chunks", "waiting"):
                    whole = {"type": "http.request", "body": body, "more_body": False}
                    peer = Peer(chunks(body[:2], body[2:]) if way == "chunks" else [whole])

                    async def receive(peer: Peer = peer, way: str = way) -> Any:
                        if way == "waiting":
                            await asyncio.sleep(0)
                        return await peer.receive()

                    headers = [("content-length", str(len(body)))]
                    if kind:
                        headers.append(("content-type", kind))
                    await app(http_scope("/", "POST", headers), receive, peer.send)
                    answers.append((peer.status, peer.body))
            assert [answer for answer in answers if answer != answers[0]] == []

    @pytest.mark.parametrize("waits", [False, True])
    async def test_received_in_the_context_of_the_server(self, app: Flask, waits: bool) -> None:
        variable = ContextVar("variable", default="server")
        seen: list[str] = []

        async def receive() -> Any:
            seen.append(variable.get())
            if waits:
                await asyncio.sleep(0)
                seen.append(variable.get())
            variable.set("receive")
            return {"type": "http.request", "body": b"1", "more_body": False}

        @app.post("/")
        async def view() -> Any:
            return [request.get_json(force=True), variable.get()]

        @app.before_request
        def before() -> None:
            variable.set("hook")

        peer = Peer()
        scope = http_scope("/", "POST", [("content-length", "1")])
        await app(scope, receive, peer.send)
        assert json.loads(peer.body) == [1, "hook"]
        assert set(seen) == {"server"}

    @pytest.mark.parametrize("limit", [None, 5, 6])
    @pytest.mark.parametrize("announced", [b"5", b"6", b"x", None])
    async def test_more_than_was_announced(
        self, app: Flask, announced: bytes | None, limit: int | None
    ) -> None:
        """What comes counts, as well as what was said."""
        app.config["MAX_CONTENT_LENGTH"] = limit

        @app.post("/")
        async def view() -> Any:
            return request.get_data()

        header = ("transfer-encoding", "chunked")
        if announced is not None:
            header = ("content-length", announced.decode())
        whole = {"type": "http.request", "body": b"123456", "more_body": False}
        peer = await exchange(app, http_scope("/", "POST", [header]), [whole])
        assert peer.status == (413 if limit == 5 else 200)

    async def test_after_it_was_read(self, app: Flask) -> None:
        """The client is still looked after."""
        seen: list[Any] = []

        @app.before_request
        def before() -> None:
            seen.append(request.content_length)

        @app.post("/")
        async def view() -> Any:
            seen.append(request.get_json(force=True))
            seen.append(await request.is_disconnected())

            async def stream() -> AsyncIterator[str]:
                yield "one"
                peer.leave()
                await asyncio.sleep(10)

            return stream()

        whole = {"type": "http.request", "body": b"[1]", "more_body": False}
        peer = Peer([whole])
        scope = http_scope("/", "POST", [("content-length", "3")])
        await app(scope, peer.receive, peer.send)
        assert (seen, peer.body) == ([3, [1], False], b"one")

    # Werkzeug 3.2 deprecates `parameter_storage_class` and the argument that it is for.
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    async def test_hook_of_a_subclass(self, app: Flask) -> None:
        """Each is asked though the body has come whole."""
        asked = []

        class Parser(FormDataParser):
            pass

        class Storage(ImmutableMultiDict[str, str]):
            pass

        class Own(Request):
            form_data_parser_class = Parser
            parameter_storage_class = Storage

            def make_form_data_parser(self) -> Any:
                asked.append("make_form_data_parser")
                return super().make_form_data_parser()

            def on_json_loading_failed(self, e: ValueError | None) -> Any:
                asked.append("on_json_loading_failed")
                return "failed"

        app.request_class = Own

        @app.post("/form")
        async def form() -> str:
            return type(request.form).__name__ + type(request.args).__name__

        @app.post("/json")
        async def of_json() -> Any:
            return [request.get_json(), request.get_json(), request.get_json(silent=True)]

        def post(path: str, kind: str, body: bytes) -> Any:
            headers = [("content-length", str(len(body))), ("content-type", kind)]
            whole = {"type": "http.request", "body": body, "more_body": False}
            return exchange(app, http_scope(path, "POST", headers), [whole])

        peer = await post("/form", "application/x-www-form-urlencoded", b"a=1")
        assert (peer.body, asked) == (b"StorageStorage", ["make_form_data_parser"])
        peer = await post("/json", "application/json", b"{")
        assert json.loads(peer.body) == ["failed", "failed", None]
        assert asked[1:] == ["on_json_loading_failed"]


class Closing:
    """An asynchronous iterable that notes its end."""

    closed = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    left = 3

    async def __anext__(self) -> Any:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await asyncio.sleep(0)
        return "a" if self.left % 2 else b"b"

    async def aclose(self) -> None:
        self.closed += 1


class TestAsyncBody:
    async def test_awaited(self) -> None:
        body = AsyncBody(source := Closing())
        assert [chunk async for chunk in body] == [b"b", b"a", b"b"]
        await body.aclose()
        assert source.closed == 1

    def test_in_plain_code(self) -> None:
        response = Response(source := Closing())
        assert response.get_data() == b"bab"
        response = Response(source := Closing())
        response.close()
        assert source.closed == 1

    async def test_never_begun(self) -> None:
        source = Closing()
        await AsyncBody(source).aclose()
        assert source.closed == 1

    async def test_iterable_without_aclose(self) -> None:
        class Plain:
            async def __aiter__(self) -> AsyncIterator[str]:
                yield "a"

        await AsyncBody(Plain()).aclose()

    def test_error(self) -> None:
        async def fail() -> AsyncIterator[str]:
            yield "a"
            raise LookupError

        with pytest.raises(LookupError):
            Response(fail()).get_data()


class TestResponse:
    def test_is_werkzeugs(self) -> None:
        response = Response("data")
        assert isinstance(response, werkzeug.Response)
        assert response.mimetype == "text/html"
        assert not response.autocorrect_location_header

    def test_max_cookie_size(self, app: Flask) -> None:
        assert Response().max_cookie_size == 4093
        app.config["MAX_COOKIE_SIZE"] = 10
        with app.app_context():
            assert Response().max_cookie_size == 10
            with pytest.warns(UserWarning, match="too large"):
                Response().set_cookie("name", "x" * 100)


class TestFromStarlette:
    def test_with_a_body(self) -> None:
        source = PlainTextResponse("data", 201, {"X-Name": "value"})
        source.set_cookie("a", "1")
        source.set_cookie("b", "2")
        response = from_starlette(Response, source)
        assert (response.status_code, response.get_data()) == (201, b"data")
        assert response.headers["X-Name"] == "value"
        assert len(response.headers.getlist("Set-Cookie")) == 2
        assert response.asgi_response is None

    def test_memoryview(self) -> None:
        source = StarletteResponse(memoryview(b"data"))
        assert from_starlette(Response, source).get_data() == b"data"

    def test_that_sends_itself(self) -> None:
        class Own(StarletteResponse):
            def __init__(self) -> None:
                self.status_code = 203
                self.background = None
                self.init_headers({"X-Name": "value"})

        source = Own()
        source.__dict__.pop("body", None)
        response = from_starlette(Response, source)
        assert response.asgi_response is source
        assert ("X-Name", "value") in response.asgi_headers


def test_wait_of_the_last_item_is_no_error() -> None:
    async def empty() -> AsyncIterator[str]:
        return
        yield

    assert list(AsyncBody(empty())) == []
    assert wait(asyncio.sleep(0, "still works")) == "still works"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("X-Number",), {}),
        (("x-number",), {"type": int}),
        (("X-Name",), {"type": int}),
        (("X-Name", 7), {"type": int}),
        (("X-Missing",), {}),
        (("X-Missing", "default"), {}),
        (("X-Missing",), {"default": 1, "type": int}),
    ],
)
def test_get_of_headers_as_the_library(args: Any, kwargs: Any) -> None:
    headers = request_of(headers=[("x-number", "1"), ("x-name", "value")]).headers
    expected = werkzeug.datastructures.Headers(headers.to_wsgi_list())
    assert type(headers) is not type(expected)
    assert headers.get(*args, **kwargs) == expected.get(*args, **kwargs)


class TestHeaders:
    """They are the ones of Flask, `EnvironHeaders`, whether they are read from the scope's lines
    or from the environ."""

    LINES: ClassVar = [("host", "a.example"), ("x-name", "v\xe4lue"), ("x-empty", "")]

    @pytest.mark.parametrize("made", [None, "list", "environ"])
    @pytest.mark.parametrize("more", [[], [("x-other", "1"), ("x-other", "2")]])
    @pytest.mark.parametrize(
        "name", ["X-Name", "x-name", "X-NAME", "x-empty", "x_name", "\u2603", "?", "", "X-Other"]
    )
    def test_as_the_library(
        self, name: str, more: list[tuple[str, str]], made: str | None
    ) -> None:
        request = request_of(headers=[*self.LINES, *more])
        headers = request.headers
        expected = EnvironHeaders(request_of(headers=[*self.LINES, *more]).environ)
        if made == "list":
            assert [*headers] == [*expected]
        elif made == "environ":
            assert request.environ
        assert isinstance(headers, EnvironHeaders)
        assert headers.get(name, "none") == expected.get(name, "none")
        assert headers.get(name, type=len) == expected.get(name, type=len)
        assert (name in headers) is (name in expected)
        if name in expected:
            assert headers[name] == expected[name]
        else:
            with pytest.raises(BadRequestKeyError):
                headers[name]
        assert headers.getlist(name) == expected.getlist(name)
        assert len(headers) == len(expected)
        assert str(headers) == str(expected)

    @pytest.mark.parametrize("more", [[], [("x-name", "again")]])
    def test_cannot_be_changed(self, more: list[tuple[str, str]]) -> None:
        headers = request_of(headers=[*self.LINES, *more]).headers
        changes: list[Callable[[], Any]] = [
            lambda: headers.set("X-New", "1"),
            lambda: headers.__setitem__("X-New", "1"),
            lambda: headers.__delitem__("Host"),
            lambda: headers.pop("Host"),
            lambda: headers.copy(),
        ]
        for change in changes:
            with pytest.raises(TypeError, match=r"immutable|cannot create"):
                change()

    def test_names_in_capitals(self) -> None:
        scope = {**http_scope(), "headers": [(b"X-Name", b"value"), (b"HOST", b"a")]}
        headers = Request.from_scope(scope, Peer(chunks()).receive).headers
        assert headers["x-name"] == headers.get("x-name") == "value"

    def test_name_with_an_underscore_is_not_the_one_with_a_hyphen(self) -> None:
        headers = request_of(headers=[("x_user", "admin"), ("x-name", "a")]).headers
        assert headers.get("X-User") is headers.get("X_User") is None
        assert [name for name, _ in headers] == ["Host", "X-Name"]


def test_blueprints_of_a_subclass() -> None:
    class Renamed(Request):
        @property
        def endpoint(self) -> str | None:
            return "outer.inner.index"

    renamed = Renamed.from_scope(http_scope(), Peer(chunks()).receive)
    assert renamed.blueprints == ["outer.inner", "outer"]
    assert request_of().blueprints == []
