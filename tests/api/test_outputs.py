"""Outputs of typed views: validation, serialization, statuses, streams and errors."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field
from starlette.responses import PlainTextResponse
from werkzeug.exceptions import HTTPException

from asyncflask import Flask, Response, ServerSentEvent, abort, g, redirect, request
from asyncflask.api import Api, Bearer, Events, problem
from asyncflask.globals import request_ctx
from asyncflask.testing import FlaskClient
from support.asgi import exchange, http_scope


class Note(BaseModel):
    id: int
    text: str = Field("", serialization_alias="content")

    @computed_field
    def url(self) -> str:
        return f"/notes/{self.id}"


@dataclass
class Row:
    """Of a database, say."""

    id: int
    text: str
    password: str = "secret"


@pytest.fixture
def app() -> Flask:
    return Flask("typed_outputs", static_folder=None)


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


@pytest.fixture
def client(app: Flask, api: Api) -> FlaskClient:
    return app.test_client()


SENT = {"id": 1, "content": "a", "url": "/notes/1"}


@pytest.mark.parametrize("value", [Note(id=1, text="a"), {"id": "1", "text": "a"}, Row(1, "a")])
def test_values(app: Flask, api: Api, client: FlaskClient, value: Any) -> None:
    @app.get("/sync")
    @api.typed
    def one() -> Note:
        return value  # type: ignore[no-any-return]

    @app.get("/async")
    @api.typed
    async def many() -> list[Note]:
        return [value, value]

    response = client.get("/sync")
    assert response.json == SENT
    assert response.mimetype == "application/json"
    assert client.get("/async").json == [SENT, SENT]


def test_statuses(app: Flask, api: Api, client: FlaskClient) -> None:
    Made = tuple[Note, Literal[201, 202], dict[str, str]]

    @app.get("/<int:n>")
    @api.typed
    async def view(n: int) -> Note | Made | tuple[None, Literal[204]] | None:
        if n == 200:
            return None
        if n == 204:
            return None, 204
        if n == 999:
            return Note(id=1, text="")
        return Note(id=1, text="a"), n, {"Location": "/1"}  # type: ignore[return-value]

    assert (client.get("/200").status_code, client.get("/200").json) == (200, None)
    assert client.get("/999").json == {**SENT, "content": ""}
    response = client.get("/204")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    response = client.get("/202")
    assert (response.status_code, response.json, response.location) == (202, SENT, "/1")
    app.testing = True
    with pytest.raises(TypeError, match=r"status 418.*Literal\[418\]"):
        client.get("/418")


def test_nothing(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.delete("/")
    @api.typed
    async def view() -> None: ...

    response = client.delete("/")
    assert (response.status_code, response.data) == (204, b"")


def test_responses_pass(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/redirect")
    @api.typed
    def moved() -> Note | Response:
        return redirect("/elsewhere")  # type: ignore[return-value]

    @app.get("/starlette")
    @api.typed
    async def other() -> PlainTextResponse:
        return PlainTextResponse("plain")

    @app.get("/unsaid")
    @api.typed
    async def unsaid(n: int = 1):  # type: ignore[no-untyped-def]
        return f"<p>{n}", 202

    assert client.get("/redirect").location == "/elsewhere"
    assert client.get("/starlette").text == "plain"
    response = client.get("/unsaid")
    assert (response.status_code, response.text) == (202, "<p>1")


def test_a_wrong_value_is_an_error_of_the_server(
    app: Flask, api: Api, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/")
    @api.typed
    async def view() -> Note:
        return {"text": "secret"}  # type: ignore[return-value]

    with caplog.at_level(logging.ERROR):
        response = client.get("/")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "view does not match its annotation" in caplog.text


async def load() -> Note:
    return Note(id=1, text="a")


@pytest.mark.parametrize("kind", ["value", "list", "any"])
def test_a_coroutine_instead_of_its_value(
    app: Flask, api: Api, client: FlaskClient, kind: str
) -> None:
    app.testing = True

    @app.get("/value")
    @api.typed
    async def one() -> Note:
        return load()  # type: ignore[return-value]

    @app.get("/list")
    @api.typed
    def many() -> list[Note]:
        return [load()]  # type: ignore[list-item]

    @app.get("/any")
    @api.typed
    async def anything() -> Any:
        return load()

    with pytest.raises(TypeError, match="The return value of") as caught:
        client.get(f"/{kind}")
    advice, place = caught.value.__notes__
    assert advice == "Write 'await' before the call of 'load'."
    assert place.startswith("The function is ")
    assert "test_outputs.py:" in place


async def async_notes(n: int = 2) -> AsyncIterator[Note]:
    for id in range(n):
        yield Note(id=id, text=request.path)


def notes(n: int = 2) -> Iterator[Note]:
    for id in range(n):
        yield Note(id=id, text=request.path)


@pytest.mark.parametrize("view", [notes, async_notes])
def test_streams(app: Flask, api: Api, client: FlaskClient, view: Any) -> None:
    app.add_url_rule("/lines", view_func=api.typed(view))
    ended = []

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        ended.append(g.get("x"))

    response = client.get("/lines")
    assert response.mimetype == "application/jsonl"
    assert response.text.splitlines() == [
        '{"id":0,"content":"/lines","url":"/notes/0"}',
        '{"id":1,"content":"/lines","url":"/notes/1"}',
    ]
    assert len(ended) == 1
    assert client.get("/lines?n=x").status_code == 422


def test_events(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/sync")
    @api.typed
    def sync() -> Annotated[Iterator[int | ServerSentEvent], Events]:
        yield from ()

    @app.get("/async")
    @api.typed
    async def asynchronous() -> Annotated[AsyncIterator[Note], Events(retry=5, finite=True)]:
        yield Note(id=1, text="a\nb")
        yield ServerSentEvent({"id": 2}, id=7, event="note")  # type: ignore[misc]

    response = client.get("/async")
    assert response.mimetype == "text/event-stream"
    assert response.text == (
        'retry: 5\n\ndata: {"id":1,"content":"a\\nb","url":"/notes/1"}\n\n'
        'event: note\nid: 7\ndata: {"id":2,"content":"","url":"/notes/2"}\n\n'
    )


def test_errors_are_problem_details(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/typed")
    @api.typed
    async def of_typed() -> None:
        abort(404, "There is no such note.")

    @app.get("/other")
    async def of_other() -> str:
        abort(404)

    response = client.get("/typed")
    assert response.mimetype == "application/problem+json"
    assert response.get_json(force=True) == {
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such note.",
    }
    assert client.get("/other").mimetype == "text/html"


@pytest.mark.parametrize("path", ["/?number=x", "/?number=0"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_errors_are_freed_without_the_garbage_collector(
    app: Flask, api: Api, kind: str, path: str
) -> None:
    contexts: list[weakref.ref[object]] = []

    @app.before_request
    async def note() -> None:
        contexts.append(weakref.ref(request_ctx._get_current_object()))  # type: ignore[attr-defined]

    def view(number: int) -> str:
        if number == 0:
            abort(404)
        return "value"

    async def view_async(number: int) -> str:
        return view(number)

    app.add_url_rule("/", "view", api.typed(view if kind == "sync" else view_async))
    scope = http_scope(path)
    await exchange(app, scope)  # what is made once
    gc.collect()
    gc.disable()
    try:
        peer = await exchange(app, scope)
        assert peer.status == (404 if path.endswith("0") else 422)
        async with asyncio.timeout(10):
            while contexts[-1]() is not None:  # the loop has it until its next step
                await asyncio.sleep(0.001)
    finally:
        gc.enable()


def test_all_errors_may_be_problem_details(app: Flask, client: FlaskClient) -> None:
    app.register_error_handler(HTTPException, problem)

    @app.get("/other")
    async def of_other() -> str:
        abort(404)

    assert client.get("/other").mimetype == "application/problem+json"
    assert client.post("/other").headers["Allow"]
    assert client.get("/nowhere").mimetype == "application/problem+json"


def test_error_handlers_come_first(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/")
    @api.typed
    def view() -> None:
        abort(404)

    app.register_error_handler(404, lambda error: ("mine", 404))
    assert client.get("/").text == "mine"


def test_guard(app: Flask, api: Api, client: FlaskClient) -> None:
    @api.guard(Bearer())
    def token_required(view: Any) -> Any:
        @wraps(view)
        def check(*args: Any, **kwargs: Any) -> Any:
            if request.authorization is None:
                abort(401)
            return view(*args, **kwargs)

        return check

    @app.get("/")
    @token_required
    @api.typed
    def view(n: int = 0) -> int:
        return n

    response = client.get("/")
    assert (response.status_code, response.mimetype) == (401, "application/problem+json")
    assert client.get("/?n=1", headers={"Authorization": "Bearer t"}).json == 1


def test_hooks_see_the_response(app: Flask, api: Api, client: FlaskClient) -> None:
    @app.get("/")
    @api.typed
    async def view() -> Note:
        return Note(id=1, text="a")

    seen = []

    @app.after_request
    def after(response: Response) -> Response:
        seen.append((response.status_code, response.mimetype, response.get_json()))
        response.headers["X-Seen"] = "1"
        return response

    assert client.get("/").headers["X-Seen"] == "1"
    assert seen == [(200, "application/json", SENT)]
    head = client.head("/")
    assert (head.data, head.content_length) == (b"", len(client.get("/").data))


def test_tuple_in_which_a_number_may_be_a_status(app: Flask, api: Api) -> None:
    with pytest.raises(TypeError, match=r"view returns tuple\[str, int\].*'Literal\[201\]'"):

        @api.typed
        def view() -> tuple[str, int]:
            return "text", 201
