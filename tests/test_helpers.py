"""Helpers for views: URLs, redirects, flashed messages, files, streams."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response as BaseResponse
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized
from werkzeug.routing import BuildError

from asyncflask import (
    Flask,
    Response,
    abort,
    flash,
    g,
    get_flashed_messages,
    get_template_attribute,
    make_response,
    message_flashed,
    redirect,
    request,
    send_file,
    send_from_directory,
    session,
    stream_with_context,
    url_for,
)
from asyncflask.helpers import (
    _split_blueprint_path,
    get_debug_flag,
    get_load_dotenv,
    get_root_path,
)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("helpers_test", root_path=str(tmp_path))
    app.testing = True
    app.secret_key = "test key"
    return app


class TestEnvironment:
    @pytest.mark.parametrize(
        ("value", "on"),
        [("", False), ("0", False), ("False", False), ("no", False), ("1", True), ("x", True)],
    )
    def test_debug(self, monkeypatch: pytest.MonkeyPatch, value: str, on: bool) -> None:
        monkeypatch.setenv("FLASK_DEBUG", value)
        assert get_debug_flag() is on

    def test_debug_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FLASK_DEBUG", raising=False)
        assert get_debug_flag() is False

    @pytest.mark.parametrize(
        ("value", "load"), [("0", True), ("False", True), ("1", False), ("yes", False)]
    )
    def test_dotenv(self, monkeypatch: pytest.MonkeyPatch, value: str, load: bool) -> None:
        monkeypatch.setenv("FLASK_SKIP_DOTENV", value)
        assert get_load_dotenv() is load

    def test_dotenv_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FLASK_SKIP_DOTENV", raising=False)
        assert get_load_dotenv() is True
        assert get_load_dotenv(default=False) is False


class TestMakeResponse:
    @pytest.mark.parametrize(
        ("args", "status", "body"),
        [
            ((), 200, b""),
            (("text",), 200, b"text"),
            (("text", 404), 404, b"text"),
            ((({"a": 1}, 201),), 201, b'{"a":1}\n'),
        ],
    )
    def test_of_what_views_return(
        self, app: Flask, args: tuple[Any, ...], status: int, body: bytes
    ) -> None:
        with app.test_request_context():
            response = make_response(*args)

        assert isinstance(response, Response)
        assert (response.status_code, response.data) == (status, body)

    def test_asks_the_app(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(app, "make_response", lambda rv: Response("replaced"))

        with app.app_context():
            assert make_response("text").data == b"replaced"

    def test_needs_no_request(self, app: Flask) -> None:
        with app.app_context():
            assert make_response("text", 404).status_code == 404
            with pytest.raises(RuntimeError, match="request context"):
                make_response(BaseResponse())  # which is asked as a WSGI callable

    def test_needs_an_app(self) -> None:
        with pytest.raises(RuntimeError, match="application context"):
            make_response()


class TestUrlFor:
    @pytest.fixture(autouse=True)
    def index(self, app: Flask) -> Iterator[None]:
        app.add_url_rule("/", "index")
        app.add_url_rule("/items/<int:id>", "item")
        app.add_url_rule("/items/new", "item", methods=["POST"])

        with app.test_request_context():
            yield

    def test_values(self) -> None:
        assert url_for("item", id=1, page=2) == "/items/1?page=2"

    def test_method(self) -> None:
        assert url_for("item", _method="POST") == "/items/new"

    def test_anchor(self) -> None:
        assert url_for("index", _anchor="x y") == "/#x%20y"

    def test_external(self) -> None:
        assert url_for("index", _external=True) == "http://localhost/"
        assert url_for("index", _scheme="https") == "https://localhost/"

    def test_scheme_of_an_internal_url(self) -> None:
        with pytest.raises(ValueError):
            url_for("index", _scheme="https", _external=False)

    def test_no_rule(self) -> None:
        with pytest.raises(BuildError):
            url_for("missing")


class TestRedirect:
    def test_without_app(self) -> None:
        class MyResponse(Response):
            pass

        response = redirect("/next", 307, Response=MyResponse)
        assert isinstance(response, MyResponse)
        assert (response.status_code, response.location) == (307, "/next")

    def test_asks_the_app(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        def replaced(location: str, code: int = 302) -> Response:
            return Response(f"{code} {location}")

        monkeypatch.setattr(app, "redirect", replaced)

        with app.app_context():
            assert redirect("/next").get_data() == b"302 /next"


class TestAbort:
    def test_without_app(self) -> None:
        with pytest.raises(Unauthorized, match="who are you"):
            abort(401, "who are you")

        with pytest.raises(LookupError):
            abort(900)

    def test_response(self) -> None:
        response = Response("no")

        with pytest.raises(HTTPException) as info:
            abort(response)

        assert info.value.get_response() is response

    def test_asks_the_app(self, app: Flask) -> None:
        class Enough(HTTPException):
            code = 900

        app.aborter.mapping[900] = Enough

        with app.app_context(), pytest.raises(Enough):
            abort(900)


def test_template_attribute(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "m.html").write_text(
        "{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}"
    )

    with app.app_context():
        assert get_template_attribute("m.html", "bold")("<") == "<b>&lt;</b>"


class TestFlash:
    @pytest.fixture(autouse=True)
    def context(self, app: Flask) -> Iterator[None]:
        with app.test_request_context():
            yield

    def test_default(self) -> None:
        flash("one")
        flash("two", "error")
        assert get_flashed_messages() == ["one", "two"]

    def test_categories(self) -> None:
        flash("one")
        flash("two", "error")
        pairs = [("message", "one"), ("error", "two")]
        assert get_flashed_messages(with_categories=True) == pairs
        assert get_flashed_messages(category_filter=["error"]) == ["two"]
        assert get_flashed_messages(True, ["error", "info"]) == pairs[1:]

    def test_stay_for_the_request_only(self) -> None:
        flash("one")
        get_flashed_messages()
        assert "_flashes" not in session
        assert get_flashed_messages() == ["one"]

    def test_looking_changes_nothing(self) -> None:
        assert get_flashed_messages() == []
        assert not session.modified

    def test_signal(self, app: Flask) -> None:
        sent = []

        def receive(sender: Flask, message: str, category: str) -> None:
            sent.append((sender, message, category))

        with message_flashed.connected_to(receive, app):
            flash("one", "info")

        assert sent == [(app, "one", "info")]


def test_flashed_for_the_next_request(app: Flask) -> None:
    @app.post("/")
    def save() -> str:
        flash("saved")
        return ""

    @app.get("/")
    async def show() -> list[Any]:
        return get_flashed_messages(with_categories=True)

    client = app.test_client()
    client.post("/")
    assert client.get("/").json == [["message", "saved"]]
    assert client.get("/").json == []


class TestSendFile:
    @pytest.fixture(autouse=True)
    def file(self, app: Flask, tmp_path: Path) -> Iterator[Path]:
        path = tmp_path / "static" / "page.html"
        path.parent.mkdir()
        path.write_text("<h1>Hello</h1>")

        with app.test_request_context():
            yield path

    @staticmethod
    def read(response: Response) -> bytes:
        response.direct_passthrough = False
        data: bytes = response.data
        response.close()
        return data

    def test_path(self) -> None:
        response = send_file("static/page.html")
        assert response.direct_passthrough
        assert response.mimetype == "text/html"
        assert response.get_etag()[0]
        assert response.last_modified is not None
        assert self.read(response) == b"<h1>Hello</h1>"

    def test_absolute_path(self, file: Path) -> None:
        assert self.read(send_file(file)) == b"<h1>Hello</h1>"

    def test_open_file(self) -> None:
        response = send_file(io.BytesIO(b"text"), mimetype="text/plain")
        assert self.read(response) == b"text"

    def test_file_opened_as_text(self, file: Path) -> None:
        with file.open() as opened, pytest.raises(ValueError):
            send_file(opened, mimetype="text/html")  # type: ignore[arg-type]

    def test_attachment(self) -> None:
        response = send_file("static/page.html", as_attachment=True, download_name="a.txt")
        assert response.headers["Content-Disposition"] == "attachment; filename=a.txt"
        response.close()

    def test_missing(self) -> None:
        with pytest.raises(FileNotFoundError):
            send_file("static/missing.html")

    def test_max_age(self, app: Flask) -> None:
        def max_age(**kwargs: Any) -> int | None:
            response = send_file("static/page.html", **kwargs)
            response.close()
            return response.cache_control.max_age

        assert max_age() is None
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
        assert max_age() == 60
        assert max_age(max_age=5) == 5
        assert max_age(max_age=lambda path: 6) == 6

    def test_x_sendfile(self, app: Flask, file: Path) -> None:
        app.config["USE_X_SENDFILE"] = True
        response = send_file("static/page.html")
        assert response.headers["X-Sendfile"] == str(file)

    def test_range(self, app: Flask) -> None:
        with app.test_request_context(headers={"Range": "bytes=4-8"}):
            response = send_file("static/page.html")
            assert response.status_code == 206
            assert self.read(response) == b"Hello"

    def test_not_modified(self, app: Flask) -> None:
        response = send_file("static/page.html")
        response.close()

        with app.test_request_context(headers={"If-None-Match": response.headers["ETag"]}):
            response = send_file("static/page.html")
            assert response.status_code == 304
            response.close()

    def test_from_directory(self) -> None:
        assert self.read(send_from_directory("static", "page.html")) == b"<h1>Hello</h1>"

    @pytest.mark.parametrize("path", ["missing.html", "../secret", "/etc/passwd", "."])
    def test_nothing_else_of_it(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "secret").touch()

        with pytest.raises(NotFound):
            send_from_directory("static", path)


class TestRootPath:
    def test_of_an_imported_module(self) -> None:
        assert get_root_path("json") == os.path.dirname(io.__file__) + f"{os.sep}json"

    def test_of_a_module_that_is_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "root_path_module.py").write_text("raise AssertionError('imported')")
        monkeypatch.syspath_prepend(tmp_path)
        assert get_root_path("root_path_module") == str(tmp_path)

    def test_of_nothing(self) -> None:
        assert get_root_path("no_such_module") == os.getcwd()

    def test_of_a_namespace_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "root_path_namespace").mkdir()
        monkeypatch.syspath_prepend(tmp_path)

        monkeypatch.delitem(sys.modules, "root_path_namespace", raising=False)
        importlib.import_module("root_path_namespace")

        with pytest.raises(RuntimeError, match="root"):
            get_root_path("root_path_namespace")


@pytest.mark.parametrize(("name", "names"), [("a", ["a"]), ("a.b.c", ["a.b.c", "a.b", "a"])])
def test_split_blueprint_path(name: str, names: list[str]) -> None:
    assert _split_blueprint_path(name) == names


@pytest.fixture
def events(app: Flask) -> list[str]:
    """What happened, in order; at each teardown, with what `g` still holds."""
    events: list[str] = []

    @app.teardown_request
    def note(error: BaseException | None) -> None:
        events.append(f"teardown {g.get('kept')}")

    return events


def sync_source(events: list[str]) -> Iterator[str]:
    try:
        yield "Hello "
        yield request.args["name"]
        yield f" {g.kept}"
    finally:
        events.append(f"closed in {request.path}")


async def async_source(events: list[str]) -> AsyncIterator[str]:
    try:
        yield "Hello "
        yield request.args["name"]
        yield f" {g.kept}"
    finally:
        events.append(f"closed in {request.path}")


Source = Callable[[list[str]], Any]
both_sources = pytest.mark.parametrize("source", [sync_source, async_source])


def add_view(app: Flask, view: Callable[[], Any], colour: str) -> None:
    async def async_view() -> Any:
        return view()

    app.add_url_rule("/", "index", view if colour == "def" else async_view)


@both_sources
@pytest.mark.parametrize("colour", ["def", "async def"])
class TestStream:
    @pytest.fixture(autouse=True)
    def view(self, app: Flask, events: list[str], source: Source, colour: str) -> None:
        def view() -> Response:
            g.kept = "kept"
            return Response(stream_with_context(source(events)))

        add_view(app, view, colour)

    def test_context_stays_until_the_end(self, app: Flask, events: list[str]) -> None:
        assert app.test_client().get("/?name=you").text == "Hello you kept"
        assert events == ["closed in /", "teardown kept"]

    def test_closed_before_the_first_step(self, app: Flask, events: list[str]) -> None:
        app.test_client().get("/?name=you").close()
        assert "teardown kept" in events[-1:]
        assert len(events) <= 2

    def test_head_has_no_stream(self, app: Flask, events: list[str]) -> None:
        app.test_client().head("/?name=you")
        assert events.count("teardown kept") == 1

    def test_replaced_response(self, app: Flask, events: list[str]) -> None:
        @app.after_request
        def replace(response: Response) -> Response:
            response.close()
            return Response("replaced")

        assert app.test_client().get("/?name=you").text == "replaced"
        assert events.count("teardown kept") == 1

    def test_nothing_stays_bound(self, app: Flask) -> None:
        assert app.test_client().get("/?name=you").text
        assert not request


@both_sources
def test_stream_decorator(app: Flask, events: list[str], source: Source) -> None:
    @app.get("/")
    def index() -> Response:
        g.kept = "kept"
        decorated = stream_with_context(source)
        assert decorated.__name__ == source.__name__
        return Response(decorated(events))

    assert app.test_client().get("/?name=you").text == "Hello you kept"


@both_sources
def test_stream_sees_the_session(app: Flask, events: list[str], source: Source) -> None:
    @app.get("/")
    async def index() -> Response:
        session["name"] = "you"

        @stream_with_context
        def generate() -> Iterator[str]:
            yield session["name"]

        return Response(generate())

    assert app.test_client().get("/").text == "you"


@both_sources
def test_stream_outside_of_a_request(source: Source) -> None:
    with pytest.raises(RuntimeError, match="request context"):
        stream_with_context(source([]))

    decorated = stream_with_context(source)

    with pytest.raises(RuntimeError, match="request context"):
        decorated([])


def test_stream_closes_what_it_wraps(app: Flask) -> None:
    class Rows:
        closed = False

        def __init__(self) -> None:
            self.rows = iter(["a", "b"])

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return next(self.rows)

        def close(self) -> None:
            self.closed = True

    rows = Rows()
    app.add_url_rule("/", "index", lambda: Response(stream_with_context(rows)))
    assert app.test_client().get("/").text == "ab"
    assert rows.closed


class TestStreamByHand:
    """Iterated in a place of the test's own, after the context was popped."""

    @pytest.fixture
    def open(self, app: Flask, events: list[str]) -> Callable[[Source], Any]:
        def open(source: Source) -> Any:
            with app.test_request_context("/?name=you"):
                g.kept = "kept"
                return stream_with_context(source(events))

        return open

    def test_sync(self, open: Callable[[Source], Any], events: list[str]) -> None:
        stream = open(sync_source)
        assert events == []
        assert next(stream) == "Hello "
        assert not request  # between two steps nothing is bound
        assert [*stream] == ["you", " kept"]
        assert events == ["closed in /", "teardown kept"]

    @pytest.mark.asyncio
    async def test_async(self, open: Callable[[Source], Any], events: list[str]) -> None:
        stream = open(async_source)
        assert events == []
        assert await anext(stream) == "Hello "
        assert not request
        assert [item async for item in stream] == ["you", " kept"]
        assert events == ["closed in /", "teardown kept"]

    def test_sync_closed_early(self, open: Callable[[Source], Any], events: list[str]) -> None:
        stream = open(sync_source)
        next(stream)
        stream.close()
        stream.close()
        assert events == ["closed in /", "teardown kept"]

    @pytest.mark.asyncio
    async def test_async_closed_early(
        self, open: Callable[[Source], Any], events: list[str]
    ) -> None:
        stream = open(async_source)
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert events == ["closed in /", "teardown kept"]

        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    @both_sources
    def test_closed_before_the_first_step(
        self, open: Callable[[Source], Any], events: list[str], source: Source
    ) -> None:
        open(source).close()
        assert events == ["teardown kept"]

    @both_sources
    def test_forgotten(
        self, open: Callable[[Source], Any], events: list[str], source: Source
    ) -> None:
        open(source)
        gc.collect()
        assert events == ["teardown kept"]

    @pytest.mark.asyncio
    async def test_error_ends_it(self, open: Callable[[Source], Any], events: list[str]) -> None:
        async def failing(events: list[str]) -> AsyncIterator[str]:
            raise ValueError("broken")
            yield ""

        stream = open(failing)

        with pytest.raises(ValueError, match="broken"):
            await anext(stream)

        assert events == ["teardown kept"]

        with pytest.raises(StopAsyncIteration):
            await anext(stream)
