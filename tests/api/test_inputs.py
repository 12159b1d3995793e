"""Inputs of typed views: where their values come from, and what happens to invalid ones."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import wraps
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict
from werkzeug.datastructures import FileStorage

from asyncflask import Blueprint, Flask, abort, request
from asyncflask.api import (
    Api,
    Body,
    Cookie,
    File,
    Form,
    Given,
    Header,
    InvalidRequest,
    Path,
    Query,
    SessionCookie,
)
from asyncflask.testing import FlaskClient
from asyncflask.views import MethodView


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


class Note(BaseModel):
    text: str = Field(min_length=1)
    kind: Kind = Kind.SMALL


@dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict):
    limit: int
    dry: NotRequired[bool]


class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(10, ge=1)
    tags: list[str] = []


class Sender(BaseModel):
    user_agent: str
    x_tags: list[str] = []


@pytest.fixture
def app() -> Flask:
    return Flask("typed_inputs", static_folder=None)


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


@pytest.fixture
def client(app: Flask, api: Api) -> FlaskClient:
    return app.test_client()


def faults(response: Any, status: int = 422) -> list[tuple[str, str, str]]:
    """What a response says is wrong."""
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    details = response.get_json(force=True)
    assert details["status"] == status
    assert details["title"]
    return [(fault["in"], fault["pointer"], fault["type"]) for fault in details["errors"]]


def of_both_colours(
    app: Flask, api: Api, view: Callable[..., Any]
) -> tuple[str, str]:  # the URLs of a sync view, and of the same one as a coroutine function
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    asynchronous.__wrapped__ = view  # type: ignore[attr-defined]
    app.add_url_rule("/sync", "sync", api.typed(view), methods=["GET", "POST"])
    app.add_url_rule("/async", "async", api.typed(asynchronous), methods=["GET", "POST"])
    return "/sync", "/async"


def test_query(app: Flask, api: Api, client: FlaskClient) -> None:
    def search(
        q: str,
        page: Annotated[int, Query(ge=1)] = 1,
        kind: Kind | None = None,
        since: Annotated[date | None, Query(alias="from")] = None,
        tags: Annotated[list[str], Query()] = [],  # noqa: B006
    ) -> list[Any]:
        return [q, page, kind, since, tags]

    for url in of_both_colours(app, api, search):
        response = client.get(f"{url}?q=a&page=2&kind=large&from=2026-11-30&tags=x&tags=y")
        assert response.json == ["a", 2, "large", "2026-11-30", ["x", "y"]]
        assert client.get(f"{url}?q=a").json == ["a", 1, None, None, []]
        assert faults(client.get(f"{url}?page=0&from=x")) == [
            ("query", "#/q", "missing"),
            ("query", "#/page", "greater_than_equal"),
            ("query", "#/from", "date_from_datetime_parsing"),
        ]


def test_path(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/int/<int:number>")
    @api.typed
    async def by_number(number: Annotated[int, Path(le=9)]) -> int:
        return number

    @app.get("/text/<key>")
    @api.typed
    def by_text(key: uuid.UUID, q: int = 0) -> str:
        return f"{key.version} {q}"

    assert client.get("/int/3").json == 3
    assert faults(client.get("/int/10")) == [("path", "#/number", "less_than_equal")]
    assert client.get(f"/text/{uuid.uuid4()}?q=1").json == "4 1"
    assert faults(client.get("/text/x")) == [("path", "#/key", "uuid_parsing")]


def test_headers_and_cookies(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/")
    @api.typed
    def view(
        x_token: Annotated[str, Header(max_length=3)],
        lang: Annotated[str, Header(alias="Accept-Language")] = "en",
        seen: Annotated[int, Cookie()] = 0,
    ) -> list[Any]:
        return [x_token, lang, seen]

    client.set_cookie("seen", "7")
    assert client.get("/", headers={"X-Token": "abc"}).json == ["abc", "en", 7]
    assert faults(client.get("/", headers={"X-Token": "abcd"})) == [
        ("header", "#/x-token", "string_too_long")
    ]


def test_models_of_all_parameters(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/query")
    @api.typed
    async def query(filter: Annotated[Filter, Query()]) -> Filter:
        return filter

    @app.get("/header")
    @api.typed
    async def header(sender: Annotated[Sender, Header()]) -> Sender:
        return sender

    assert client.get("/query?limit=3&tags=a&tags=b").json == {"limit": 3, "tags": ["a", "b"]}
    assert faults(client.get("/query?limit=0&other=1")) == [
        ("query", "#/limit", "greater_than_equal"),
        ("query", "#/other", "extra_forbidden"),
    ]
    sent = {"User-Agent": "me", "X-Tags": "a"}
    assert client.get("/header", headers=sent).json == {"user_agent": "me", "x_tags": ["a"]}


def test_body(app: Flask, api: Api, client: FlaskClient) -> None:
    def add(note: Note) -> Note:
        assert isinstance(note, Note)
        return note

    for url in of_both_colours(app, api, add):
        assert client.post(url, json={"text": "a"}).json == {"text": "a", "kind": "small"}
        assert faults(client.post(url, json={"text": "", "kind": 1})) == [
            ("body", "#/text", "string_too_short"),
            ("body", "#/kind", "enum"),
        ]
        assert faults(client.post(url)) == [("body", "#", "missing")]
        broken = client.post(url, data="{", content_type="application/json")
        assert faults(broken) == [("body", "#", "json_invalid")]
        assert client.post(url, data='{"text": "a"}').status_code == 415


def test_types_of_bodies(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/dataclass")
    @api.typed
    def of_dataclass(point: Point) -> float:
        return point.x + point.y

    @app.post("/typed-dict")
    @api.typed
    def of_typed_dict(options: Options) -> Options:
        return options

    @app.post("/union")
    @api.typed
    def of_union(value: list[Point] | Note) -> str:
        return type(value).__name__

    @app.post("/scalar")
    @api.typed
    def of_scalar(value: Annotated[int, Body(gt=0)]) -> int:
        return value

    assert client.post("/dataclass", json={"x": 1.5}).json == 1.5
    assert client.post("/typed-dict", json={"limit": "3"}).json == {"limit": 3}
    assert client.post("/union", json=[{"x": 1}]).json == "list"
    assert client.post("/union", json={"text": "a"}).json == "Note"
    assert client.post("/scalar", json=3).json == 3
    assert faults(client.post("/scalar", json=0)) == [("body", "#", "greater_than")]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    toys: list[Point]


def test_pointers_lead_into_what_was_sent(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/tagged")
    @api.typed
    def tagged(pet: Annotated[Cat | Dog, Field(discriminator="kind")]) -> str:
        return pet.kind

    @app.post("/untagged")
    @api.typed
    def untagged(value: list[Point | Note]) -> int:
        return len(value)

    assert client.post("/tagged", json={"kind": "cat", "lives": 9}).json == "cat"
    wrong = client.post("/tagged", json={"kind": "dog", "toys": [{"x": "far"}, {}]})
    assert faults(wrong) == [
        ("body", "#/toys/0/x", "float_parsing"),
        ("body", "#/toys/1/x", "missing"),
    ]
    assert faults(client.post("/tagged", json={"kind": "cat"})) == [("body", "#/lives", "missing")]
    assert {where for _, where, _ in faults(client.post("/untagged", json=[{"x": "far"}]))} == {
        "#/0/x",
        "#/0/text",
    }


def test_several_parts_of_a_body(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/two")
    @api.typed
    def two(note: Note, point: Point | None = None) -> list[Any]:
        return [note.text, point]

    @app.post("/one")
    @api.typed
    def one(note: Annotated[Note, Body(embed=True)]) -> str:
        return note.text

    sent = {"note": {"text": "a"}, "point": {"x": 1}}
    assert client.post("/two", json=sent).json == ["a", {"x": 1.0, "y": 0.0}]
    assert client.post("/two", json={"note": {"text": "a"}}).json == ["a", None]
    assert faults(client.post("/two", json={"note": {}})) == [("body", "#/note/text", "missing")]
    assert faults(client.post("/two")) == [("body", "#/note", "missing")]
    assert client.post("/one", json={"note": {"text": "a"}}).json == "a"


def test_a_body_may_be_left_out(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/")
    @api.typed
    def view(note: Note | None = None) -> bool:
        return note is None

    assert client.post("/").json is True
    assert client.post("/", json={"text": "a"}).json is False


def test_form_and_files(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/fields")
    @api.typed
    async def fields(
        name: Annotated[str, Form()],
        file: FileStorage,
        raw: Annotated[bytes, File()] = b"",
        more: list[FileStorage] = [],  # noqa: B006
        age: Annotated[int | None, Form()] = None,
    ) -> list[Any]:
        return [name, file.filename, file.read().decode(), len(raw), len(more), age]

    @app.post("/model")
    @api.typed
    def model(note: Annotated[Note, Form()]) -> Note:
        return note

    def files() -> dict[str, Any]:
        return {
            "file": (io.BytesIO(b"abc"), "a.txt"),
            "raw": (io.BytesIO(b"12"), "b"),
            "more": [(io.BytesIO(b""), "c"), (io.BytesIO(b""), "d")],
        }

    sent = {"name": "n", "age": "", **files()}  # a field that nobody filled
    assert client.post("/fields", data=sent).json == ["n", "a.txt", "abc", 2, 2, None]
    assert faults(client.post("/fields", data={"age": "x"})) == [
        ("form", "#/name", "missing"),
        ("file", "#/file", "missing"),
        ("form", "#/age", "int_parsing"),
    ]
    assert client.post("/model", data={"text": "a"}).json == {"text": "a", "kind": "small"}
    assert faults(client.post("/model", data={})) == [("form", "#/text", "missing")]


def test_methods_of_a_class(app: Flask, api: Api, client: FlaskClient) -> None:
    class Notes(MethodView):
        @api.typed
        async def get(self, n: int = 1) -> int:
            return n

        @api.typed
        def post(self, note: Note) -> Note:
            return note

    app.add_url_rule("/notes", view_func=Notes.as_view("notes"))
    assert client.get("/notes?n=2").json == 2
    assert faults(client.get("/notes?n=x")) == [("query", "#/n", "int_parsing")]
    assert client.post("/notes", json={"text": "a"}).status_code == 200


def test_a_decorator_may_pass_a_value(app: Flask, api: Api, client: FlaskClient) -> None:
    class User:
        name = "Ada"

    def with_user(view: Any) -> Any:
        async def guarded(**kwargs: Any) -> Any:
            return await view(user=User(), **kwargs)

        return guarded

    @app.get("/", endpoint="view")
    @with_user
    @api.typed
    async def view(user: Annotated[User, Given()], n: int = 0) -> list[Any]:
        return [user.name, n]

    assert client.get("/?n=1").json == ["Ada", 1]


def test_views_that_are_not_marked_stay_as_they_are(app: Flask, client: FlaskClient) -> None:
    @app.get("/<n>")
    def view(n: int) -> str:
        return type(n).__name__

    assert client.get("/1").text == "str"


def test_status_of_invalid_requests(app: Flask) -> None:
    api = Api(app, invalid_status=400)

    @app.get("/")
    @api.typed
    def view(n: int) -> int:
        return n

    assert faults(app.test_client().get("/"), 400) == [("query", "#/n", "missing")]


def test_error_handler_for_invalid_requests(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/")
    @api.typed
    async def view(n: int) -> int:
        return n

    @app.errorhandler(InvalidRequest)
    def handle(error: InvalidRequest) -> tuple[str, int]:
        return f"{error.faults[0][0]}", 400

    response = client.get("/")
    assert (response.status_code, response.text) == (400, "('query', 'n')")


def test_values_are_not_sent_back(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/")
    @api.typed
    def view(password: Annotated[int, Body(embed=True)]) -> None: ...

    response = client.post("/", json={"password": "hunter2"})
    assert response.status_code == 422
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'"\xff"', b'"\\ud800"', b"1e999999", b"1" * 5_000]
)
def test_hostile_bodies(app: Flask, api: Api, client: FlaskClient, body: bytes) -> None:
    @app.post("/")
    @api.typed
    async def view(note: Note) -> Note:
        return note

    response = client.post("/", data=body, content_type="application/json")
    assert response.status_code == 422


def test_mistakes_are_named_where_they_are_made(app: Flask, api: Api) -> None:
    class Unknown:
        pass

    with pytest.raises(TypeError, match=r"'value'.*Given\(\)"):

        @api.typed
        def unknown(value: Unknown) -> None: ...

    with pytest.raises(TypeError, match=r"a JSON body .* and a form"):

        @api.typed
        def both(note: Note, name: Annotated[str, Form()]) -> None: ...

    with pytest.raises(TypeError, match="= 1"):
        Query(default=1)

    with pytest.raises(TypeError, match=r"contains the number 201.*Literal\[201\]"):

        @api.typed
        def bare_status() -> tuple[Note, 201]:  # type: ignore[valid-type]
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"the return value.*remove the return annotation"):

        @api.typed
        def unknown_value() -> Unknown:
            raise NotImplementedError

    with pytest.raises(TypeError, match="Put it on each method"):

        @api.typed
        class View(MethodView):
            pass


def test_a_list_without_a_marker_is_no_query(app: Flask, api: Api, client: FlaskClient) -> None:
    app.testing = True

    @app.get("/")
    @api.typed
    def view(tags: list[str]) -> list[str]:
        return tags

    with pytest.raises(TypeError, match=r"Annotated\[list\[...\], Query\(\)\]"):
        client.get("/?tags=a")


def test_a_model_without_a_marker_is_no_query(app: Flask, api: Api, client: FlaskClient) -> None:
    app.testing = True

    @app.get("/model")
    @api.typed
    def of_model(filter: Filter) -> Filter:
        return filter

    @app.get("/dict")
    @api.typed
    def of_dict(filter: dict[str, str]) -> dict[str, str]:
        return filter

    with pytest.raises(TypeError, match=r"write Annotated\[Filter, Query\(\)\]"):
        client.get("/model?limit=1")
    with pytest.raises(TypeError, match=r"a GET has none\. The function is"):
        client.get("/dict?limit=1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_body_that_one_of_several_methods_lacks(
    app: Flask, api: Api, client: FlaskClient, method: str
) -> None:
    app.testing = True

    @app.route("/", methods=["GET", "POST"])
    @api.typed
    def view(filter: Filter) -> Filter:
        return filter

    assert client.open("/", method=method).status_code == 422


class TestAboveTheDecoratorThatRegisters:
    """There, a decorator has no effect on requests."""

    @pytest.mark.parametrize("blueprint", [False, True])
    def test_typed(self, app: Flask, api: Api, blueprint: bool) -> None:
        owner: Flask | Blueprint = Blueprint("notes", __name__) if blueprint else app

        with pytest.raises(TypeError, match=r"'notes'.*Write '@api\.typed' below"):

            @api.typed
            @owner.get("/notes")
            def notes(n: int) -> str:
                return str(n)

        with pytest.raises(TypeError, match=r"'more'.*Write '@api\.typed' below"):

            @api.typed(
                summary="More notes",
            )
            @owner.get("/more")
            def more(n: int) -> str:
                return str(n)

    def test_guard(self, app: Flask, api: Api) -> None:
        with pytest.raises(TypeError, match=r"'secret'.*Write '@login_required' below"):

            @api.guard(SessionCookie())(login_required)
            @app.get("/secret")
            def secret() -> str:
                return "secret"

    def test_not_as_decorators(self, app: Flask, api: Api, client: FlaskClient) -> None:
        @app.get("/<n>")
        def notes(n: int) -> str:
            return f"{type(n).__name__} {n}"

        guarded = api.guard(SessionCookie())(login_required)
        app.view_functions["notes"] = guarded(api.typed(app.view_functions["notes"]))
        assert client.get("/1").status_code == 401
        assert client.get("/1", headers={"X-User": "ann"}).text == '"int 1"'


def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def guarded(**values: Any) -> Any:
        if "X-User" not in request.headers:
            abort(401)
        return view(**values)

    return guarded


class TestMistakesOfTheServer:
    """No request can be right, so the client is not told that this one is wrong."""

    @pytest.fixture(autouse=True)
    def testing(self, app: Flask) -> None:
        app.testing = True

    def test_variable_that_no_parameter_takes(
        self, app: Flask, api: Api, client: FlaskClient
    ) -> None:
        @app.get("/notes/<id>")
        @api.typed
        def note(idd: str) -> str:
            return idd

        message = "The rule '/notes/<id>' has the variable 'id', but 'note' has no such"
        with pytest.raises(TypeError, match=message):
            client.get("/notes/1")
        with pytest.raises(TypeError) as caught:
            client.get("/notes/1?idd=2")
        assert message in caught.value.__notes__[0]

    def test_parameter_that_takes_all_variables(
        self, app: Flask, api: Api, client: FlaskClient
    ) -> None:
        @app.get("/notes/<id>")
        @api.typed
        def note(n: int, **values: str) -> str:
            return values["id"]

        assert client.get("/notes/1?n=2").json == "1"
        assert faults(client.get("/notes/1")) == [("query", "#/n", "missing")]

    def test_value_that_no_decorator_passes(
        self, app: Flask, api: Api, client: FlaskClient
    ) -> None:
        @app.get("/")
        @api.typed
        def view(n: int, user: Annotated[str, Given()]) -> str:
            return user

        with pytest.raises(TypeError, match=r"No decorator passed 'user' to .*view\. .* above"):
            client.get("/")

    def test_path_that_the_rule_lacks(self, app: Flask, api: Api, client: FlaskClient) -> None:
        @app.get("/notes")
        @api.typed
        async def note(id: Annotated[int, Path(ge=1)]) -> int:
            return id

        with pytest.raises(TypeError, match=r"has no '<id>'\. Write '/notes/<id>'"):
            client.get("/notes")


def test_names_that_are_defined_later(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/")
    @api.typed
    def view(value: DefinedLater) -> DefinedLater:
        return value

    assert client.post("/", json={"n": 1}).json == {"n": 1}


class DefinedLater(BaseModel):
    n: int


def test_names_of_a_function(app: Flask, api: Api, client: FlaskClient) -> None:
    class Within(BaseModel):
        n: int

    @app.post("/plain")
    @api.typed
    def plain(value: Within) -> int:
        return value.n

    @app.post("/options")
    @api.typed(summary="With options")
    async def with_options(value: Within) -> int:
        return value.n

    assert client.post("/plain", json={"n": 1}).json == 1
    assert client.post("/options", json={"n": 2}).json == 2


@pytest.mark.parametrize(
    "query",
    ["a=1", "a=1&a=2", "a=", "a", "=1&a=2", "&&a=1&", "a=1=2", "a=%31", "a=1+2", "a=%", "b=1", ""],
)
def test_query_strings_are_read_as_ever(
    app: Flask, api: Api, client: FlaskClient, query: str
) -> None:
    @app.get("/typed")
    @api.typed
    async def of_typed(a: str = "none") -> str:
        return a

    @app.get("/plain")
    async def plain() -> Any:
        return [request.args.get("a", "none")]

    assert [client.get(f"/typed?{query}").json] == client.get(f"/plain?{query}").json
