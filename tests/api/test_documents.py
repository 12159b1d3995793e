"""The OpenAPI and AsyncAPI documents, and their page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import wraps
from typing import Annotated, Any, Literal

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from typing_extensions import deprecated
from werkzeug.datastructures import FileStorage

from asyncflask import Blueprint, Flask, websocket
from asyncflask.api import (
    Api,
    ApiKey,
    Basic,
    Bearer,
    Body,
    Cookie,
    Events,
    Form,
    Header,
    Path,
    Query,
    SessionCookie,
)
from asyncflask.testing import FlaskClient
from asyncflask.views import MethodView


class NewNote(BaseModel):
    text: str = Field(min_length=1, examples=["Milk"])


class Note(NewNote):
    id: int = 0


class Leave(BaseModel):
    why: str


class Filter(BaseModel):
    limit: int = Field(10, ge=1, description="At most so many")


@pytest.fixture
def app() -> Flask:
    return Flask("documents", static_folder=None)


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app, title="Notes", version="2.0", description="All of them.")


@pytest.fixture
def client(app: Flask, api: Api) -> FlaskClient:
    return app.test_client()


def document_of(client: FlaskClient, url: str = "/openapi.json") -> Any:
    document: Any = client.get(url).json
    validate(document)
    return document


def test_document(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/notes/<int:id>")
    @api.typed(responses={404: "No such note", 409: Leave})
    async def one_note(
        id: Annotated[int, Path(ge=1)],
        q: Annotated[str, Query(description="Text", examples=["milk"], deprecated=True)] = "",
        x_token: Annotated[str | None, Header()] = None,
        seen: Annotated[int, Cookie()] = 0,
    ) -> Note:
        """One note.

        The one with this number.
        """
        raise NotImplementedError

    @app.post("/notes")
    @api.typed
    def add(note: NewNote) -> tuple[Note, Literal[201]]:
        raise NotImplementedError

    @app.get("/plain")
    def plain() -> str:
        raise NotImplementedError

    document = document_of(client)
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {
        "title": "Notes",
        "version": "2.0",
        "description": "All of them.",
    }
    assert document["paths"].keys() == {"/notes/{id}", "/notes"}
    described = document["paths"]["/notes/{id}"]["get"]
    assert described["summary"] == "One note."
    assert described["description"] == "The one with this number."
    assert described["operationId"] == "one_note"
    assert described["parameters"] == [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 1, "title": "Id"},
        },
        {
            "name": "q",
            "in": "query",
            "required": False,
            "description": "Text",
            "deprecated": True,
            "schema": {
                "type": "string",
                "title": "Q",
                "default": "",
                "description": "Text",
                "examples": ["milk"],
                "deprecated": True,
            },
        },
        {
            "name": "x-token",
            "in": "header",
            "required": False,
            "schema": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "X-Token"},
        },
        {
            "name": "seen",
            "in": "cookie",
            "required": False,
            "schema": {"type": "integer", "title": "Seen", "default": 0},
        },
    ]
    assert described["responses"].keys() == {"200", "404", "409", "422"}
    described = document["paths"]["/notes"]["post"]
    assert described["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewNote"}}},
    }
    members = document["components"]["schemas"]["Note"]["properties"]
    assert list(members) == ["text", "id"]  # in their own order
    assert described["responses"].keys() == {"201", "415", "422"}
    assert document["components"]["schemas"].keys() == {
        "Invalid",
        "Leave",
        "NewNote",
        "Note",
        "Problem",
    }


def test_forms_and_several_bodies(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.post("/upload")
    @api.typed
    def upload(file: FileStorage, name: Annotated[str, Form()] = "x") -> int:
        raise NotImplementedError

    @app.post("/two")
    @api.typed
    def two(note: NewNote, n: Annotated[int, Body()] = 1) -> int:
        raise NotImplementedError

    @app.get("/filter")
    @api.typed
    def of_model(filter: Annotated[Filter, Query()], q: str = "") -> int:
        raise NotImplementedError

    paths = document_of(client)["paths"]
    content = paths["/upload"]["post"]["requestBody"]["content"]
    schema = content["multipart/form-data"]["schema"]
    assert schema["properties"]["file"] == {"type": "string", "format": "binary", "title": "File"}
    assert schema["required"] == ["file"]
    schema = paths["/two"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"].keys() == {"note", "n"}
    parameters = {one["name"]: one for one in paths["/filter"]["get"]["parameters"]}
    assert parameters.keys() == {"q", "limit"}
    assert parameters["limit"]["description"] == "At most so many"


def test_tags_deprecation_and_hidden_views(app: Flask, api: Api, client: FlaskClient) -> None:
    blueprint = Blueprint("admin", __name__, url_prefix="/admin")

    class Things(MethodView):
        @api.typed
        async def get(self) -> int:
            raise NotImplementedError

        @api.typed(tags=["changes"], operation_id="put_thing")
        def put(self, n: int) -> int:
            raise NotImplementedError

    blueprint.add_url_rule("/things", view_func=Things.as_view("things"))

    @blueprint.get("/old")
    @api.typed
    @deprecated("Use /things.")
    def old() -> int:
        raise NotImplementedError

    @blueprint.get("/hidden")
    @api.typed(hidden=True)
    def hidden() -> int:
        raise NotImplementedError

    @app.get("/a")
    @app.get("/b", defaults={"n": 3})
    @api.typed
    def twice(n: int = 1) -> int:
        raise NotImplementedError

    app.register_blueprint(blueprint)
    document = document_of(client)
    assert document["tags"] == [{"name": "admin"}, {"name": "changes"}]
    things = document["paths"]["/admin/things"]
    assert things["get"]["tags"] == ["admin"]
    assert things["get"]["operationId"] == "admin_things_get"
    assert things["put"]["tags"] == ["changes"]
    assert document["paths"]["/admin/old"]["get"]["deprecated"] is True
    assert "/admin/hidden" not in document["paths"]
    assert document["paths"]["/a"]["get"]["parameters"]
    assert "parameters" not in document["paths"]["/b"]["get"]


def test_security_schemes(app: Flask, api: Api, client: FlaskClient) -> None:
    def guard(view: Any) -> Any:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        return guarded

    schemes = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {"type": "http", "scheme": "basic"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "session": {"type": "apiKey", "in": "cookie", "name": "session"},
    }
    for scheme in Bearer(format="JWT"), Basic(), ApiKey(), SessionCookie():

        def view() -> int:
            raise NotImplementedError

        guarded = api.guard(scheme)(guard)(api.typed(view))
        app.add_url_rule(f"/{scheme.name}", scheme.name, guarded)

    class Guarded(MethodView):
        decorators = [api.guard(SessionCookie())(guard)]

        @api.typed
        def get(self) -> int:
            raise NotImplementedError

    app.add_url_rule("/class", view_func=Guarded.as_view("class"))
    document = document_of(client)
    assert document["components"]["securitySchemes"] == schemes
    for name in schemes:
        described = document["paths"][f"/{name}"]["get"]
        assert described["security"] == [{name: []}]
        assert "401" in described["responses"]
    assert document["paths"]["/class"]["get"]["security"] == [{"session": []}]


def test_api_of_a_blueprint(app: Flask) -> None:
    first, second = Blueprint("v1", __name__), Blueprint("v2", __name__)
    for blueprint in first, second:
        api = Api(blueprint, title=blueprint.name)

        @blueprint.get("/note")
        @api.typed
        def note() -> Note:
            raise NotImplementedError

        app.register_blueprint(blueprint, url_prefix=f"/{blueprint.name}")
    client = app.test_client()
    document = document_of(client, "/v2/openapi.json")
    assert document["info"]["title"] == "v2"
    assert document["paths"].keys() == {"/v2/note"}
    assert 'data-document="/v2/openapi.json"' in client.get("/v2/docs").text


def test_an_app_made_by_a_factory() -> None:
    api = Api(title="Factory")

    @api.typed
    def note() -> Note:
        raise NotImplementedError

    app = Flask("made", static_folder=None)
    app.add_url_rule("/note", view_func=note)
    api.init_app(app)
    assert document_of(app.test_client())["paths"].keys() == {"/note"}


def test_document_of_a_mounted_app(app: Flask, api: Api) -> None:
    outer = Flask("outer", static_folder=None)
    outer.mount("/inner", app)
    document = document_of(outer.test_client(), "/inner/openapi.json")
    assert document["servers"] == [{"url": "/inner"}]
    assert "/inner/docs/start.js" in outer.test_client().get("/inner/docs").text


def test_asyncapi(app: Flask, api: Api, client: FlaskClient) -> None:
    @api.guard(SessionCookie())
    def login_required(view: Any) -> Any:
        return view

    @app.websocket("/rooms/<room>")
    @login_required
    @api.typed
    async def feed(room: str, since: int = 0) -> None:
        """What is said."""
        said = await websocket.receive_as(NewNote | Leave)
        await websocket.send_as(Note, said)

    @app.websocket("/named")
    @api.typed(receives=NewNote, sends=Note | Leave)
    def named() -> None:
        raise NotImplementedError

    @app.get("/ticks")
    @api.typed
    async def ticks() -> Annotated[AsyncIterator[Note], Events()]:
        yield Note(text="a")

    document: Any = client.get("/asyncapi.json").json
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"].keys() == {"feed", "named", "ticks"}
    channel = document["channels"]["feed"]
    assert channel["address"] == "/rooms/{room}"
    assert channel["summary"] == "What is said."
    assert channel["parameters"].keys() == {"room"}
    assert channel["messages"].keys() == {"NewNote", "Leave", "Note"}
    query = channel["bindings"]["ws"]["query"]
    assert query["properties"]["since"]["type"] == "integer"
    received = document["operations"]["feed_receive"]
    assert received["messages"] == [
        {"$ref": "#/channels/feed/messages/NewNote"},
        {"$ref": "#/channels/feed/messages/Leave"},
    ]
    assert received["security"] == [{"$ref": "#/components/securitySchemes/session"}]
    assert document["components"]["securitySchemes"]["session"]["type"] == "httpApiKey"
    assert len(document["operations"]["named_send"]["messages"]) == 2
    assert document["operations"]["ticks_send"]["action"] == "send"
    assert "ticks_receive" not in document["operations"]
    assert document_of(client)["paths"].keys() == {"/ticks"}  # WebSockets are not OpenAPI's


def test_page(app: Flask, api: Api, client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "://" not in page.text  # nothing comes from elsewhere
    for name in "swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "start.js":
        assert f"/docs/{name}" in page.text
        assert client.get(f"/docs/{name}").status_code == 200
    assert client.get("/docs/LICENSE").status_code == 404
    assert client.get("/docs/..%2F__init__.py").status_code == 404


def test_no_page(app: Flask) -> None:
    Api(app, docs=None, asyncapi=None)
    client = app.test_client()
    assert client.get("/docs").status_code == 404
    assert client.get("/asyncapi.json").status_code == 404
    assert document_of(client)["paths"] == {}
