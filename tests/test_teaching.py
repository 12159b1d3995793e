"""Errors in setup and tests say what to write. For requests: `contract/test_teaching.py`."""

from __future__ import annotations

import functools
import gc
import warnings
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import BaseConverter

from asyncflask import Blueprint, Flask, render_template_string, url_for, websocket
from asyncflask.asgi.client import WebSocketDenied
from asyncflask.routing import UpgradeRequired
from asyncflask.testing import FlaskClient


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.testing = True
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


async def something(*args: object, **values: object) -> Any:
    return {"n": 1}


def test_a_converter_that_does_not_exist(app: Flask) -> None:
    with pytest.raises(LookupError) as caught:
        app.add_url_rule("/<itn:number>", view_func=something)
    assert str(caught.value) == (
        "The rule '/<itn:number>' uses a converter 'itn' that does not exist. Did you mean"
        " 'int'? Available: 'any', 'default', 'float', 'int', 'path', 'string', 'uuid'. Add your"
        " own"
        " to 'app.url_map.converters' before the rule."
    )
    with pytest.raises(LookupError, match=r"'zzz' that does not exist\. Available: 'any', "):
        app.add_url_rule("/<zzz:number>", view_func=something)


def test_a_converter_behind_the_name(app: Flask) -> None:
    with pytest.raises(LookupError) as caught:
        app.add_url_rule("/x/<number:int>", view_func=something)
    assert str(caught.value).startswith(
        "The rule '/x/<number:int>' uses a converter 'number' that does not exist. Write"
        " '<int:number>': the converter comes first. Available: "
    )


def test_braces_in_a_rule_are_explained_in_debug_mode_only(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.get("/items/<page>/{id:int}")(something)
    for debug in False, True:
        app.debug = debug
        assert client.get("/items/1/2/3").status_code == 404
        assert not caplog.messages
        assert client.get("/items/1/2").status_code == 404
        assert (
            caplog.messages
            == [
                "No rule matches '/items/1/2'. In the rule '/items/<page>/{id:int}' the braces are"
                " literal text. If they mark a variable, write '/items/<page>/<int:id>'."
            ][:debug]
        )
    assert client.get("/items/1/{id:int}").json == {"n": 1}


@pytest.mark.parametrize(
    ("decorator", "line"),
    [
        *((name, f'@app.{name}("/path")') for name in ("route", "get", "post", "put", "delete")),
        ("websocket", '@app.websocket("/path")'),
        ("endpoint", '@app.endpoint("name")'),
        ("errorhandler", "@app.errorhandler(404)"),
    ],
)
def test_a_decorator_without_parentheses(app: Flask, decorator: str, line: str) -> None:
    for owner in app, Blueprint("pages", __name__):
        with pytest.raises(TypeError) as caught:
            getattr(owner, decorator)(something)
        assert str(caught.value) == (
            f"The decorator of 'something' needs an argument. Write {line}."
        )


def test_an_endpoint_that_is_taken_is_named_with_its_line(app: Flask) -> None:
    app.get("/a")(something)

    @functools.wraps(something)
    def wrapper() -> str:
        return "x"

    app.add_url_rule("/b", "b", wrapper)
    with pytest.raises(AssertionError) as caught:
        app.get("/c", endpoint="b")(str)
    number = something.__code__.co_firstlineno
    place = f"'async def something' in {__file__.removeprefix(f'{Path.cwd()}/')}:{number}"
    assert str(caught.value) == (
        f"Registering <class 'str'> would overwrite an existing endpoint function: 'b'"
        f" is {place}. Pass another name as 'endpoint='. If a decorator returned both, use"
        " functools.wraps in it."
    )


def test_another_error_of_a_converter_stays_what_it_is(app: Flask) -> None:
    class Picky(BaseConverter):
        def __init__(self, *args: Any) -> None:
            raise KeyError("colour")

    app.url_map.converters["picky"] = Picky
    with pytest.raises(KeyError, match=r"^'colour'$"):
        app.add_url_rule("/<picky:x>", view_func=something)


def test_a_converter_that_is_async(app: Flask, client: FlaskClient) -> None:
    class Slow(BaseConverter):
        async def to_python(self, value: str) -> str:
            return value

    app.url_map.converters["slow"] = Slow
    app.add_url_rule("/<slow:x>", view_func=lambda x: x)
    with pytest.raises(TypeError) as caught:
        client.get("/a")
    assert str(caught.value) == (
        "The converter of 'x' in '/<slow:x>' is async. Write 'def to_python(...)': it runs on"
        " the request's thread, where it may block."
    )


def test_url_defaults_that_are_async(app: Flask) -> None:
    app.url_defaults(something)  # type: ignore[type-var]
    app.add_url_rule("/", "index", lambda: "x")
    with app.test_request_context(), pytest.raises(TypeError) as caught:
        url_for("index")
    assert str(caught.value) == (
        "The url_defaults function 'something' is async, but sync code builds URLs. Write 'def'."
    )


@pytest.mark.parametrize("debug", [True, False])  # with and without indentation
def test_a_json_default_that_is_async(app: Flask, client: FlaskClient, debug: bool) -> None:
    app.debug = debug
    app.json.default = something  # type: ignore[attr-defined]
    app.add_url_rule("/", "index", lambda: {"a": object()})
    with pytest.raises(RuntimeError) as caught:
        client.get("/")
    assert str(caught.value) == (
        "The 'default' of a JSON provider is called by sync code, but this one is 'async def'."
        " Write 'def', and await what it needs in the view."
    )


def test_an_async_processor_of_the_shell_works(app: Flask) -> None:
    app.shell_context_processor(something)  # type: ignore[type-var]
    assert app.make_shell_context()["n"] == 1


@pytest.mark.parametrize(
    ("function", "template"),
    [("context_processor", "{{ n }}"), ("template_filter", "{{ 2|something }}")],
)
def test_async_functions_of_templates_in_an_async_view(
    app: Flask, client: FlaskClient, function: str, template: str
) -> None:
    getattr(app, function)(something)

    @app.get("/")
    async def index() -> str:
        return render_template_string(template)

    with pytest.raises(RuntimeError) as caught:
        client.get("/")
    assert caught.value.__notes__ == [
        "A template called it: write 'await render_template_string_async(...)' instead of"
        " 'render_template_string(...)'."
    ]


def test_url_for_knows_the_handlers_of_websockets(app: Flask) -> None:
    app.websocket("/chat/<int:room>", endpoint="chat")(something)
    with app.test_request_context():
        with pytest.raises(Exception, match=r"endpoint 'chta'\. Did you mean 'chat' instead"):
            url_for("chta")
        with pytest.raises(Exception, match=r"Did you forget to specify values \['room'\]"):
            url_for("chat")


def test_send_without_await(app: Flask, client: FlaskClient) -> None:
    @app.websocket("/ws")
    async def handler() -> None:
        await websocket.accept()
        websocket.send("lost")  # type: ignore[unused-coroutine]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with client.websocket_connect("/ws"):
            pass
        gc.collect()
    assert [str(warning.message) for warning in caught] == [
        "coroutine 'websocket.send' was never awaited"
    ]


def test_the_url_of_a_websocket_has_an_error_handler(app: Flask, client: FlaskClient) -> None:
    app.websocket("/ws")(something)
    app.register_error_handler(UpgradeRequired, lambda error: (error.description, 404))
    response = client.get("/ws")
    assert (response.status_code, response.text) == (404, "This URL is for WebSocket connections.")


def test_the_url_of_a_websocket_under_wsgi(app: Flask, client: FlaskClient) -> None:
    """PEP 3333 forbids hop-by-hop headers: with one, some servers respond with a 500."""
    app.websocket("/ws")(something)
    response = client.get("/ws")
    assert (response.status_code, response.headers.get("Upgrade")) == (426, None)
    assert "Connection" not in response.headers


def test_a_websocket_at_the_url_of_a_page_is_explained_in_debug_mode_only(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.get("/chat")(something)
    for debug in False, True:
        app.debug = debug
        with pytest.raises(WebSocketDenied) as caught, client.websocket_connect("/chat"):
            pass
        assert caught.value.status_code == 400
        assert ("'@app.websocket(" in caplog.text) is debug


def test_a_page_and_a_websocket_may_have_the_same_url(app: Flask, client: FlaskClient) -> None:
    @app.websocket("/chat")
    async def chat() -> None:
        await websocket.send("hello")

    app.get("/chat", endpoint="page")(something)
    assert client.get("/chat").json == {"n": 1}
    with client.websocket_connect("/chat") as ws:
        assert ws.receive() == "hello"
