"""Typed code as users write it, in which mypy and pyright, both strict, find no error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypedDict, TypeVar, assert_type

import click
from starlette.responses import PlainTextResponse
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response as WerkzeugResponse

from asyncflask import (
    Blueprint,
    EventStream,
    Flask,
    Response,
    WebSocketDisconnect,
    copy_current_request_context,
    current_app,
    g,
    jsonify,
    make_response,
    redirect,
    render_template,
    render_template_async,
    request,
    run_sync,
    session,
    stream_with_context,
    url_for,
    websocket,
)
from asyncflask.async_testing import AsyncClient
from asyncflask.rooms import Change, Member, Message, Rooms
from asyncflask.sessions import SessionMixin
from asyncflask.testing import FlaskClient
from asyncflask.typing import ResponseReturnValue
from asyncflask.views import MethodView, View

P = ParamSpec("P")
R = TypeVar("R")


@asynccontextmanager
async def lifespan(app: Flask) -> AsyncGenerator[dict[str, int], None]:
    yield {"answer": 42}


app = Flask(__name__, lifespan=lifespan)
blog = Blueprint("blog", __name__, url_prefix="/blog")
rooms = Rooms(app)

# -- what views return


class User(TypedDict):
    name: str


@app.get("/text")
def text() -> str:
    return "text"


@app.get("/bytes")
async def in_bytes() -> bytes:
    return b"bytes"


@app.get("/dict")
async def in_dict() -> dict[str, int]:
    return {"a": 1}


@app.get("/typed-dict")
def typed_dict() -> User:
    return {"name": "Ada"}


@app.get("/list")
def in_list() -> list[User]:
    return [{"name": "Ada"}]


@app.post("/status")
def status() -> tuple[str, int]:
    return "created", 201


@app.post("/status-by-name")
async def status_by_name() -> tuple[User, HTTPStatus]:
    return {"name": "Ada"}, HTTPStatus.CREATED


@app.post("/status-as-text")
def status_as_text() -> tuple[str, str]:
    return "short and stout", "418 TEAPOT"


@app.get("/headers")
def with_headers() -> tuple[str, dict[str, str]]:
    return "text", {"X-A": "1"}


@app.get("/all")
async def with_all() -> tuple[str, int, list[tuple[str, str]]]:
    return "text", 200, [("X-A", "1")]


@app.get("/headers-object")
def with_headers_object() -> tuple[Response, int, Headers]:
    return jsonify(a=1), 200, Headers({"X-A": "1"})


@app.get("/response")
async def response() -> Response:
    made = make_response("text", 200)
    made.set_cookie("a", "1")
    return made


@app.get("/redirect")
def away() -> WerkzeugResponse:
    return redirect(url_for("text"))


@app.get("/starlette")
async def of_starlette() -> PlainTextResponse:
    return PlainTextResponse("text")


@app.get("/generator")
def generator() -> Generator[str, None, None]:
    yield "a"


@app.get("/iterator")
def iterator() -> Iterator[bytes]:
    yield b"a"


@app.get("/async-generator")
async def async_generator() -> AsyncIterator[str]:
    yield "a"


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    async def generate() -> AsyncIterator[str]:
        yield request.path

    return stream_with_context(generate())


@app.get("/events")
async def events() -> EventStream:
    async def generate() -> AsyncIterator[dict[str, int]]:
        yield {"number": 1}

    return EventStream(generate())


@app.get("/awaitable")
def awaitable() -> Awaitable[str]:
    return later()


async def later() -> str:
    return "later"


@app.get("/any-of-them")
async def any_of_them() -> ResponseReturnValue:
    return "text" if request.args else ({"a": 1}, 404)


@app.get("/template")
async def template() -> str:
    if request.is_json:
        return await render_template_async("page.html", title="a")
    return render_template("page.html", title="a")


# -- decorators keep the types


@app.route("/users/<int:number>", methods=["GET", "POST"])
@blog.get("/<int:number>")
async def user(number: int) -> User:
    return {"name": str(number)}


async def call_them() -> None:
    assert_type(await user(number=1), User)
    assert_type(text(), str)
    assert_type(before(), ResponseReturnValue | None)
    assert_type(missing(NotFound()), tuple[str, int])
    assert_type(await broken(ValueError()), tuple[dict[str, str], int])


@app.before_request
def before() -> ResponseReturnValue | None:
    return None if "user" in session else ("Log in first.", 401)


@app.before_request
async def before_async() -> None:
    g.user = await later()


@blog.before_app_request
async def before_app() -> ResponseReturnValue | None:
    return None


@app.after_request
def after(response: Response) -> Response:
    response.headers["X-A"] = "1"
    return response


@blog.after_request
async def after_async(response: Response) -> Response:
    return response


@app.teardown_request
def teardown(error: BaseException | None) -> None: ...


@app.teardown_appcontext
async def teardown_async(error: BaseException | None) -> None: ...


@app.errorhandler(404)
@app.errorhandler(NotFound)
def missing(error: NotFound) -> tuple[str, int]:
    return error.name, 404


@app.errorhandler(ValueError)
async def broken(error: ValueError) -> tuple[dict[str, str], int]:
    return {"error": str(error)}, 500


@blog.app_errorhandler(HTTPException)
def any_http_error(error: HTTPException) -> WerkzeugResponse:
    return error.get_response()


@app.context_processor
async def variables() -> dict[str, Any]:
    return {"user": g.get("user")}


@app.template_filter
async def shout(text: str) -> str:
    return text.upper()


@app.template_filter("whisper")
def quiet(text: str) -> str:
    return text.lower()


@app.before_serving
async def start() -> None: ...


@app.while_serving
async def serving() -> AsyncIterator[None]:
    yield


@app.cli.command()
@click.argument("name")
async def greet(name: str) -> None:
    print(name)


def logged_in(view: Callable[P, R]) -> Callable[P, R]:
    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        assert "user" in session
        return view(*args, **kwargs)

    return checked


@app.get("/private/<name>")
@logged_in
async def private(name: str) -> str:
    return name


class Page(View):
    decorators = [logged_in]

    def dispatch_request(self, name: str) -> str:
        return name


class AsyncPage(View):
    init_every_request = False

    async def dispatch_request(self) -> ResponseReturnValue:
        return {"a": 1}


class Note(MethodView):
    async def get(self, name: str) -> User:
        return {"name": name}

    def put(self, name: str) -> tuple[str, int]:
        return "", 204


app.add_url_rule("/page/<name>", view_func=Page.as_view("page"))
app.add_url_rule("/async-page", view_func=AsyncPage.as_view("async_page"))
app.add_url_rule("/notes/<name>", view_func=Note.as_view("note"))
app.add_url_rule("/text-again", "again", text)
app.register_blueprint(blog)
app.register_error_handler(KeyError, lambda error: "missing")


# -- proxies, and functions


@dataclass
class Row:
    number: int


def read_row(number: int, *, table: str) -> Row:
    return Row(number)


@app.get("/proxies")
async def proxies() -> dict[str, object]:
    assert_type(current_app, Flask)
    assert_type(session, SessionMixin)
    assert_type(request.args.get("page", 1, type=int), int)
    assert_type(request.form["name"], str)
    assert_type(await run_sync(read_row, 1, table="rows"), Row)
    assert_type(await run_sync(lambda: [1]), list[int])
    app.add_background_task(read_row, 1, table="rows")
    app.add_background_task(later)
    current_app.logger.info("%s", g.user)
    copied = copy_current_request_context(read_row)
    assert_type(copied(1, table="rows"), Row)
    async for chunk in request.stream:
        print(chunk)
    return {"state": request.state.answer}


# -- WebSockets and rooms, in async code


@app.websocket("/chat")
async def chat() -> None:
    await websocket.accept(subprotocol=None)
    assert_type(await websocket.receive(timeout=1), str | bytes)
    await websocket.send_json({"a": 1})
    await websocket.send_json(a=1)
    assert_type(await websocket.receive_as(Row), Row)
    await websocket.send_as(Row, Row(1))
    async with rooms.join("lobby", "Ada", history=10) as joined:
        await rooms.send("lobby", "hello", exclude=joined.id)
        try:
            async for message in websocket:
                assert_type(message, str | bytes)
                await websocket.send(message)
        except WebSocketDisconnect as error:
            print(error.code)
    joined = await rooms.join("other")
    await joined.leave()
    assert_type(await rooms.send("lobby", {"any": "value"}), str | None)
    assert_type(await rooms.members("lobby"), list[Member])
    assert_type(await rooms.history("lobby", 10), list[Message])
    async for kept in rooms.follow("lobby"):
        assert_type(kept, Message)
    await asyncio.gather(rooms.send("a", "x"), rooms.send("b", "x"))
    await websocket.close(1000, "done")


@rooms.on_change
async def changed(change: Change) -> None:
    print(change.joined)


# -- and in sync code: `sync`


@app.websocket("/chat/sync")
def chat_in_a_thread() -> None:
    ws = websocket.sync
    ws.accept()
    assert_type(ws.receive(), str | bytes)
    with rooms.sync.join("lobby", "Ada") as joined:
        rooms.sync.send("lobby", "hello", exclude=joined.id)
        for message in websocket.sync:
            assert_type(message, str | bytes)
            websocket.sync.send(message)
    assert_type(rooms.sync.members("lobby"), list[Member])
    ws.close()


# -- tests


def test_sync(client: FlaskClient) -> None:
    answer = client.get("/dict", query_string={"a": "1"})
    assert_type(answer, TestResponse)
    with client.session_transaction() as opened:
        assert_type(opened, SessionMixin)
        opened["user"] = "Ada"
    with client.websocket_connect("/chat", headers={"X-A": "1"}, subprotocols=["a"]) as ws:
        ws.send("a")
        assert_type(ws.receive(), str | bytes)
        assert ws.receive_json() == {"a": 1}
        for message in ws:
            assert_type(message, str | bytes)
    with client.event_source("/events", last_event_id="1") as source:
        assert_type(source.receive().event, str | None)
        assert source.receive_json() == 1
    with app.test_client(lifespan=True) as started:
        assert started.get("/").status_code == 200


async def test_async() -> None:
    async with AsyncClient(app, lifespan=False) as client:
        assert (await client.get("/dict")).json() == {"a": 1}
        async with client.session_transaction() as opened:
            assert_type(opened, SessionMixin)
            opened["user"] = "Ada"
        async with client.websocket_connect("/chat") as ws:
            await ws.send("a")
            assert_type(await ws.receive(), str | bytes)
            async for message in ws:
                assert_type(message, str | bytes)
            await ws.close()
        async with client.event_source("/events") as source:
            assert_type((await source.receive()).event, str | None)
