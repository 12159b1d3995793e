"""Common mistakes: the server's log says what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from support.servers import Server

APPS = Path(__file__).parent / "apps"
SHOWN = str(APPS / "teaching.py").removeprefix(f"{Path.cwd()}/")
"""The app, as seen from the folder in which the server runs."""
TYPES = (
    "The return type must be a string, dict, list, tuple with headers or status, Response"
    " instance, iterator, async iterator, or WSGI callable, but it was"
)


@pytest.fixture(scope="module")
def site() -> Iterator[Server]:
    with Server("teaching:app", app_dir=APPS) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/coroutine",
            "TypeError: The view function for 'forgets_await' did not return a valid response."
            f" {TYPES} a coroutine. Write 'await' before the call of 'load'.",
        ),
        (
            "/coroutine/json",
            "TypeError: Object of type coroutine is not JSON serializable. Write 'await' before"
            " the"
            " call of 'load'.",
        ),
        (
            "/set",
            "TypeError: The view function for 'returns_a_set' did not return a valid response."
            f" {TYPES} a set. Write 'list(...)' or 'sorted(...)': JSON has no sets.",
        ),
        (
            "/status",
            "TypeError: The view function for 'returns_a_status' did not return a valid response."
            f" {TYPES} an int. If 204 is the status, write 'return \"\", 204'; if not,"
            " 'str(...)'.",
        ),
        (
            "/number",
            "TypeError: The view function for 'returns_a_number' did not return a valid response."
            f" {TYPES} a float. Write 'str(...)' for text, or 'jsonify(...)' for JSON.",
        ),
        (
            "/state",
            "AttributeError: 'State' object has no attribute 'pool'\n'request.state' has what"
            " the lifespan yields. It is empty here: the app has no lifespan that yields a"
            " dict, or was not started. In tests, write 'with app.test_client(lifespan=True)"
            " as client:', or 'async with AsyncClient(app) as client:'.",
        ),
        (
            "/app-state",
            "AttributeError: 'Flask' object has no attribute 'state'\nWhat the lifespan"
            " yields is in each request's 'request.state'. For data of the app, use an"
            " attribute of your own or 'app.extensions'.",
        ),
        (
            "/template",
            "jinja2.exceptions.TemplateNotFound: missing.html\n'missing.html' was not found"
            f" in: {APPS / 'templates'}",
        ),
        (
            "/filter",
            "A template called it: write 'await render_template_string_async(...)' instead of"
            " 'render_template_string(...)'.",
        ),
        (
            "/websocket",
            "RuntimeError: Working outside of a WebSocket.\n\n'websocket' is available in"
            " functions registered with 'app.websocket' and in the hooks that run\nfor them,"
            " but not in HTTP requests.",
        ),
    ],
)
def test_the_log_says(site: Server, path: str, message: str) -> None:
    assert httpx.get(site.url + path, timeout=90).status_code == 500
    assert message in site.output
    assert "never awaited" not in site.output


@pytest.mark.parametrize(
    ("path", "who", "places"),
    [
        ("/none", "The view function for 'returns_none'", ["def returns_none"]),
        ("/set", "The view function for 'returns_a_set'", ["def returns_a_set"]),
        ("/number", "The view function for 'returns_a_number'", ["async def returns_a_number"]),
        (
            "/wrapped",
            "The view function for 'is_wrapped'",
            ["def is_wrapped", "def wrapper"],
        ),
        ("/item", "The view function for 'item'", ["def Item.get"]),
        (
            "/hook",
            "The 'before_request' function 'answers_for_the_view'",
            ["async def answers_for_the_view"],
        ),
        ("/error", "The error handler 'handles_an_error'", ["async def handles_an_error"]),
        (
            "/after",
            "The 'after_request' function 'forgets_the_response' returned None.",
            ["async def forgets_the_response"],
        ),
    ],
)
def test_the_log_names_the_line_of_the_function(
    site: Server, path: str, who: str, places: list[str]
) -> None:
    source = (APPS / "teaching.py").read_text().splitlines()
    place, *wrapped = (
        f"'{name}' in {SHOWN}:{number}"
        for name in places
        for number, line in enumerate(source, 1)
        if line.strip().startswith(name.replace("Item.", "") + "(")
    )
    by = "".join(f", wrapped by {each}" for each in wrapped)
    assert httpx.get(site.url + path, timeout=90).status_code == 500
    assert any(
        line.startswith(f"TypeError: {who}") and line.endswith(f" The function is {place}{by}.")
        for line in site.output.splitlines()
    )


@pytest.mark.parametrize(
    ("path", "advice", "function"),
    [
        (
            "/argument",
            "The rule '/argument' has no '<number>'. Write '/argument/<number>', give the"
            " parameter a default, or pass it from a decorator.",
            "def takes_what_the_rule_lacks",
        ),
        (
            "/argument/x",
            "The rule '/argument/<name>' has the variable 'name', but 'misspells_the_variable'"
            " has no such parameter. Did you mean 'nam'? Use the same name in both.",
            "async def misspells_the_variable",
        ),
        (
            "/typed/argument/x",
            "has no such parameter. Did you mean 'nam'? Use the same name in both.",
            "async def misspells_the_variable_in_a_typed_view",
        ),
        (
            "/typed/coroutine",
            "Write 'await' before the call of 'load'.",
            "async def forgets_await_in_a_typed_view",
        ),
        (
            "/coroutine/json",
            "Write 'await' before the call of 'load'.",
            "async def forgets_await_in_json",
        ),
    ],
)
def test_the_log_has_advice_and_the_line_if_no_line_of_the_app_failed(
    site: Server, path: str, advice: str, function: str
) -> None:
    assert httpx.get(site.url + path, timeout=90).status_code == 500
    assert advice in site.output
    assert f"The function is '{function}' in {SHOWN}:" in site.output
    assert "never awaited" not in site.output


def test_nothing_about_functions_that_have_run(site: Server) -> None:
    assert httpx.get(f"{site.url}/key", timeout=90).status_code == 500
    assert "KeyError: 'missing'" in site.output
    assert "have not run" not in site.output


def test_the_log_names_the_line_of_a_websocket_handler(site: Server) -> None:
    with (
        websockets.sync.client.connect(f"{site.ws_url}/ws/returns") as ws,
        pytest.raises(websockets.exceptions.ConnectionClosedError),
    ):
        ws.recv()
    assert f"\nThe function is 'async def returns_a_message' in {SHOWN}:" in site.output


def test_of_a_websocket(site: Server) -> None:
    with (
        websockets.sync.client.connect(f"{site.ws_url}/ws") as ws,
        pytest.raises(websockets.exceptions.ConnectionClosedError),
    ):
        ws.send("x")
        ws.recv()
    assert (
        "TypeError: A WebSocket message is str or bytes, not a coroutine. Write 'await' before the"
        " call of 'websocket.receive'." in site.output
    )


def test_of_a_loop_over_a_websocket(site: Server) -> None:
    with (
        pytest.raises(websockets.exceptions.InvalidStatus, match="HTTP 500"),
        websockets.sync.client.connect(f"{site.ws_url}/ws/for"),
    ):
        pass
    assert (
        "RuntimeError: In an 'async def' handler, write 'async for message in websocket:'."
        in site.output
    )


def test_the_url_of_a_websocket_in_a_browser(site: Server) -> None:
    response = httpx.get(f"{site.url}/ws", timeout=90)
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert (
        "<p>&#39;/ws&#39; is the URL of a WebSocket, but this was an ordinary request, such as"
        " a browser&#39;s address bar sends. Connect with &#39;new"
        " WebSocket(&#39;/ws&#39;)&#39; in a page, or with websockets.connect() in Python. If"
        " you did, something between client and app drops the &#39;Upgrade&#39; header, or the"
        " server does not support WebSockets: &#39;pip install uvicorn[standard]&#39;.</p>"
        in response.text
    )


def test_a_websocket_at_the_url_of_a_page(site: Server) -> None:
    with (
        pytest.raises(websockets.exceptions.InvalidStatus, match="HTTP 400"),
        websockets.sync.client.connect(f"{site.ws_url}/page/1"),
    ):
        pass
    assert (
        "A client tried to open a WebSocket at '/page/1', which is the URL of an HTTP route, and"
        " got a 400. Register a WebSocket handler for this URL" in site.output
    )


def line_of(source: str) -> int:
    """The number of the line in the app."""
    lines = (APPS / "teaching.py").read_text().splitlines()
    return [line.partition("  #")[0].strip() for line in lines].index(source) + 1


def test_the_line_of_a_coroutine_that_was_never_awaited() -> None:
    with Server("teaching:app", app_dir=APPS) as server:
        assert httpx.get(f"{server.url}/never", timeout=90).text == "coroutine"
        with websockets.sync.client.connect(f"{server.ws_url}/ws/never") as ws:
            assert ws.recv() == "sent"
        output = server.output
    assert "RuntimeWarning: coroutine 'load' was never awaited" in output
    assert f'teaching.py", line {line_of("task = load()")}, in never_awaits\n' in output
    number = line_of('websocket.send("lost")')
    assert "RuntimeWarning: coroutine 'websocket.send' was never awaited" in output
    assert f'teaching.py", line {number}, in never_awaits_send\n' in output


def test_braces_in_a_rule(site: Server) -> None:
    assert httpx.get(f"{site.url}/braces/1", timeout=90).status_code == 404
    assert (
        "No rule matches '/braces/1'. In the rule '/braces/{id}' the braces are literal text. If"
        " they mark a variable, write '/braces/<id>'." in site.output
    )
