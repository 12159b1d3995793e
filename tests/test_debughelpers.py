"""Errors and explanations of debug mode."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import jinja2
import pytest
from click.testing import Result

from asyncflask import Blueprint, Flask, current_app, render_template, request, websocket
from asyncflask.async_testing import AsyncClient
from asyncflask.debughelpers import DebugFilesKeyError, FormDataRoutingRedirect, _describe
from asyncflask.rooms import Rooms
from asyncflask.views import MethodView


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("debughelpers_test", root_path=str(tmp_path))
    app.config.update(TESTING=True, DEBUG=True)
    return app


class TestFiles:
    """A form without `enctype` sends the name of a file only."""

    @pytest.fixture(autouse=True)
    def upload(self, app: Flask) -> None:
        @app.post("/")
        def index() -> str:
            return request.files["file"].filename or ""

        @app.post("/async")
        async def async_index() -> str:
            return request.files["file"].filename or ""

    @pytest.mark.parametrize("path", ["/", "/async"])
    def test_error_says_what_was_submitted(self, app: Flask, path: str) -> None:
        with pytest.raises(DebugFilesKeyError) as caught:
            app.test_client().post(path, data={"file": "cat.png"})
        message = str(caught.value)
        assert "no file contents were transmitted" in message
        assert "This was submitted: 'cat.png'" in message
        assert 'enctype="multipart/form-data"' in message

    def test_key_that_was_not_sent_at_all(self, app: Flask) -> None:
        with pytest.raises(KeyError) as caught:
            app.test_client().post("/", data={"other": "cat.png"})
        assert not isinstance(caught.value, DebugFilesKeyError)

    def test_not_without_debug_mode(self, app: Flask) -> None:
        app.debug = False
        assert app.test_client().post("/", data={"file": "cat.png"}).status_code == 400

    def test_files_stay_what_they_are(self, app: Flask) -> None:
        with app.test_request_context("/", method="POST", data={"file": "cat.png"}):
            assert type(request.files).__name__ == "ImmutableMultiDict"
            assert request.files.get("other") is None
            with pytest.raises(DebugFilesKeyError):
                _ = request.files["file"]


class TestRedirect:
    @pytest.fixture(autouse=True)
    def view(self, app: Flask) -> None:
        # For a POST with a redirect that is none of 307 and 308.
        app.url_map.redirect_defaults = True
        app.add_url_rule("/page/", "page", lambda: "page", methods=["GET", "POST"])

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_method_that_loses_nothing(self, app: Flask, method: str) -> None:
        assert app.test_client().open("/page", method=method).status_code == 308

    def test_redirect_that_keeps_the_form(self, app: Flask) -> None:
        assert app.test_client().post("/page", data={}).status_code == 308

    @pytest.mark.parametrize(
        ("url", "new_url", "reason"),
        [
            ("/page", "http://localhost/page/", "ends with a slash"),
            ("/page", "http://localhost/page/?a=b", "ends with a slash"),
            ("/page", "http://localhost/other", None),
        ],
    )
    def test_message(self, app: Flask, url: str, new_url: str, reason: str | None) -> None:
        with app.test_request_context(url, method="POST") as ctx:
            redirect = ctx.request.routing_exception
            assert redirect is not None
            redirect.code = 301
            vars(redirect)["new_url"] = new_url
            with pytest.raises(FormDataRoutingRedirect) as caught:
                app.dispatch_request()
        message = str(caught.value)
        assert f"the canonical URL '{new_url}'" in message
        assert ("ends with a slash" in message) is (reason is not None)


class TestExplainTemplateLoading:
    @pytest.fixture(autouse=True)
    def templates(self, app: Flask, tmp_path: Path) -> None:
        app.config["EXPLAIN_TEMPLATE_LOADING"] = True
        for folder in ("templates", "bp_templates"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "both.html").write_text(folder)
        (tmp_path / "bp_templates" / "one.html").write_text("one")
        blueprint = Blueprint(
            "bp", __name__, root_path=str(tmp_path), template_folder="bp_templates"
        )
        blueprint.add_url_rule("/<name>", "show", lambda name: render_template(name))
        app.register_blueprint(blueprint)

    def explained(self, app: Flask, caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            try:
                app.test_client().get(f"/{name}")
            except jinja2.TemplateNotFound:
                pass
        assert len(caplog.messages) == 1
        return caplog.messages[0].splitlines()

    def test_found_once(
        self, app: Flask, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        lines = self.explained(app, caplog, "one.html")
        assert lines[0] == "Locating template 'one.html':"
        assert lines[1] == "    1: trying loader of application 'debughelpers_test'"
        assert f"       -> found ({str(tmp_path / 'bp_templates' / 'one.html')!r})" in lines
        assert "       class: jinja2.loaders.FileSystemLoader" in lines
        assert "       encoding: 'utf-8'" in lines
        assert not any("Warning" in line or "Error" in line for line in lines)

    def test_found_twice(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        lines = self.explained(app, caplog, "both.html")
        assert any(line.startswith("Warning: more than one") for line in lines)
        assert app.test_client().get("/both.html").text == "templates"  # the first one counts

    def test_not_found(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        lines = self.explained(app, caplog, "none.html")
        assert lines.count("       -> no match") == 2
        assert "Error: the template could not be found." in lines
        assert any("belongs to the blueprint 'bp'" in line for line in lines)

    def test_other_owner(self) -> None:
        assert _describe("something") == "'something'"


def notes_of(app: Flask, url: str) -> str:
    with pytest.raises(Exception) as caught:
        app.test_client().get(url)
    return "\n".join(getattr(caught.value, "__notes__", ()))


class TestArguments:
    """A rule's variables and a view's parameters differ."""

    def test_parameter_that_the_rule_lacks(self, app: Flask) -> None:
        @app.get("/item/")
        def item(id: str, kind: str) -> str:
            return id + kind

        assert notes_of(app, "/item/").startswith(
            "The rule '/item/' has no '<id>' and no '<kind>'. Write '/item/<id>/<kind>', give"
            " the parameter a default, or pass it from a decorator. The function is 'def item' in"
        )

    def test_variable_that_no_parameter_takes(self, app: Flask) -> None:
        @app.get("/item/<id>")
        async def item() -> str:
            return ""

        assert notes_of(app, "/item/1").startswith(
            "The rule '/item/<id>' has the variable 'id', but 'item' has no such parameter. Add"
            " the parameter 'id', or remove the variable from the rule. The function is 'async"
        )

    def test_class(self, app: Flask) -> None:
        class Item(MethodView):
            def get(self, id: str) -> str:
                return id

        app.add_url_rule("/item", view_func=Item.as_view("item"))
        assert "Write '/item/<id>'" in notes_of(app, "/item")

    def test_decorator_that_keeps_an_argument(self, app: Flask) -> None:
        def keeping(view: Callable[..., str]) -> Callable[..., str]:
            @wraps(view)
            def wrapper(**values: str) -> str:
                return view()

            return wrapper

        @app.get("/item/<id>")
        @keeping
        def item(id: str) -> str:
            return id

        notes = notes_of(app, "/item/1")
        assert notes.startswith("The function is 'def ")
        assert "wrapped by" in notes
        assert "The rule" not in notes

    def test_decorator_that_takes_no_arguments(self, app: Flask) -> None:
        def taking_none(view: Callable[..., str]) -> Callable[..., str]:
            @wraps(view)
            def wrapper() -> str:
                return view()

            return wrapper

        @app.get("/item/<id>")
        @taking_none
        def item(id: str) -> str:
            return id

        assert notes_of(app, "/item/1").startswith("A decorator of 'item' does not take 'id'.")

    def test_other_functions(self, app: Flask) -> None:
        def helper(id: str) -> str:
            return id

        @app.get("/item")
        def item() -> str:
            return helper()  # type: ignore[call-arg]

        assert notes_of(app, "/item") == ""

    @pytest.mark.parametrize("value", ["'a b'", "'id'", "value"])
    def test_error_that_the_view_raises_itself(self, app: Flask, value: str) -> None:
        @app.get("/<id>")
        def item(id: str) -> str:
            raise TypeError(f"{item.__qualname__}() got an unexpected {value}")

        with pytest.raises(TypeError, match="got an unexpected") as caught:
            app.test_client().get("/1")
        assert not hasattr(caught.value, "__notes__")


class TestAttributes:
    """That are missing, of the objects that a request has."""

    def test_state(self, app: Flask) -> None:
        @app.get("/")
        async def index() -> str:
            return str(request.state.pool)

        assert notes_of(app, "/").startswith("'request.state' has what the lifespan yields.")

    def test_other_class_with_the_name_of_states(self, app: Flask) -> None:
        class State:
            pass

        @app.get("/")
        async def index() -> str:
            return str(State().capital)  # type: ignore[attr-defined]

        assert notes_of(app, "/") == ""

    def test_what_the_handshake_has(self, app: Flask) -> None:
        @app.websocket("/")
        async def index() -> None:
            websocket.json  # type: ignore[attr-defined]  # noqa: B018

        with pytest.raises(AttributeError) as caught, app.test_client().websocket_connect("/"):
            pass
        assert caught.value.__notes__ == [
            "'request' is the WebSocket's handshake: write 'request.json'."
        ]


def test_await_of_a_view_that_is_not_async(app: Flask) -> None:
    def awaiting(view: Callable[[], Any]) -> Callable[[], Any]:
        @wraps(view)
        async def wrapper() -> Any:
            return await view()

        return wrapper

    @app.get("/")
    @awaiting
    def index() -> str:
        return "text"

    assert "write 'async def' for the view" in notes_of(app, "/")


class TestAppThatWasNotStarted:
    """What `while_serving` and the like set up is missing."""

    @pytest.fixture(autouse=True)
    def pool(self, app: Flask) -> None:
        @app.while_serving
        async def pool() -> AsyncIterator[None]:
            app.extensions["pool"] = ["connection"]
            yield

        @app.get("/")
        async def index() -> str:
            return str(app.extensions["pool"][0])

        @app.cli.command()
        def use() -> None:
            print(app.extensions["pool"][0])

        @app.get("/none")
        def none() -> str:
            return str(app.extensions.get("pool").acquire())  # type: ignore[union-attr]

        @app.get("/other")
        def other() -> str:
            raise ZeroDivisionError

    @pytest.mark.parametrize("url", ["/", "/none"])
    def test_request(self, app: Flask, url: str) -> None:
        notes = notes_of(app, url)
        assert notes.startswith("The 'while_serving' functions of this app have not run.")
        assert "with app.test_client(lifespan=True)" in notes

    def test_request_of_an_app_that_was_started(self, app: Flask) -> None:
        with app.test_client(lifespan=True) as client:
            assert client.get("/").text == "connection"
            del app.extensions["pool"]
            with pytest.raises(KeyError) as caught:
                client.get("/")
        assert not hasattr(caught.value, "__notes__")

    def test_request_while_the_app_is_started(self, app: Flask) -> None:
        caught: list[str] = []

        @app.before_serving
        def warm_up() -> None:
            app.extensions.pop("pool")
            caught.append(notes_of(app, "/"))

        with app.test_client(lifespan=True):
            assert caught == [""]

    async def test_async_client_starts_the_app(self, app: Flask) -> None:
        async with AsyncClient(app) as client:
            assert (await client.get("/")).text == "connection"

    def test_other_errors(self, app: Flask) -> None:
        assert notes_of(app, "/other") == ""

    def test_command(self, app: Flask) -> None:
        result: Result = app.test_cli_runner().invoke(args=["use"])
        assert isinstance(result.exception, KeyError)
        (note,) = result.exception.__notes__
        assert note.startswith("The 'while_serving' functions of this app have not run.")
        assert "@app.cli.command(lifespan=True)" in note

    def test_command_that_a_command_calls(self, app: Flask) -> None:
        @app.cli.command()
        @click.pass_context
        def call(ctx: click.Context) -> None:
            ctx.invoke(current_app.cli.commands["use"])

        result: Result = app.test_cli_runner().invoke(args=["call"])
        assert isinstance(result.exception, KeyError)
        assert len(result.exception.__notes__) == 1

    def test_command_of_an_app_that_was_started(self, app: Flask) -> None:
        result = app.test_cli_runner(lifespan=True).invoke(args=["use"])
        assert result.output == "connection\n"


def test_app_whose_functions_are_not_its_own(app: Flask) -> None:
    Rooms(app)

    @app.get("/")
    def index() -> str:
        raise KeyError("x")

    assert notes_of(app, "/") == ""
