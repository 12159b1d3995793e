"""Blueprints: what is recorded, and what an app has of it after registration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import click
import pytest

from asyncflask import Blueprint, Flask
from asyncflask.blueprints import BlueprintSetupState


@pytest.fixture
def app() -> Flask:
    return Flask(__name__, static_folder=None)


def view() -> str:
    return ""


def rules(app: Flask) -> dict[str, str]:
    """The URL of each endpoint."""
    return {
        rule.endpoint: f"{rule.subdomain or ''}{rule.rule}" for rule in app.url_map.iter_rules()
    }


# -- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a.b"])
def test_bad_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Blueprint(name, __name__)


def test_bad_endpoint() -> None:
    bp = Blueprint("bp", __name__)
    with pytest.raises(ValueError, match=r"endpoint in a blueprint must not contain a dot: 'a.b'"):
        bp.add_url_rule("/", "a.b", view)

    def dotted() -> str:
        return ""

    dotted.__name__ = "a.b"
    with pytest.raises(ValueError, match=r"name of a view.* must not contain a dot"):
        bp.route("/")(dotted)


def test_name_is_taken(app: Flask) -> None:
    bp = Blueprint("bp", __name__)
    app.register_blueprint(bp)
    with pytest.raises(ValueError, match="already registered"):
        app.register_blueprint(bp)
    with pytest.raises(ValueError, match="Another blueprint"):
        app.register_blueprint(Blueprint("bp", __name__))
    app.register_blueprint(bp, name="other", url_prefix="/other")
    assert list(app.blueprints) == ["bp", "other"]
    assert list(app.iter_blueprints()) == [bp, bp]


# -- where its routes are -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "rule", "url"),
    [
        (None, "/page", "/page"),
        ("/bp", "/page", "/bp/page"),
        ("/bp/", "page", "/bp/page"),
        ("/bp", "/", "/bp/"),
        ("/bp", "", "/bp"),
    ],
)
def test_url_prefix(app: Flask, prefix: str | None, rule: str, url: str) -> None:
    bp = Blueprint("bp", __name__, url_prefix=prefix)
    bp.route(rule)(view)
    app.register_blueprint(bp)
    assert rules(app) == {"bp.view": url}


def test_options_win_over_the_blueprints_own(app: Flask) -> None:
    bp = Blueprint("bp", __name__, url_prefix="/own", url_defaults={"a": 1, "b": 1, "c": 1})
    bp.add_url_rule("/", view_func=view, defaults={"c": 3})
    app.register_blueprint(bp, url_prefix="/given", url_defaults={"b": 2})
    [rule] = app.url_map.iter_rules()
    assert rule.rule == "/given/"
    assert rule.defaults == {"a": 1, "b": 2, "c": 3}


def test_nested(app: Flask) -> None:
    outer = Blueprint("outer", __name__, url_prefix="/o", subdomain="out.")
    inner = Blueprint("inner", __name__, url_prefix="/i/", subdomain="in")
    plain = Blueprint("plain", __name__)
    for bp in (outer, inner):
        bp.route("/page")(view)
    plain.route("/other")(view)
    outer.register_blueprint(inner)
    outer.register_blueprint(inner, name="again", url_prefix="/a")
    outer.register_blueprint(plain)
    app.register_blueprint(outer)
    assert rules(app) == {
        "outer.view": "out./o/page",
        "outer.inner.view": "in.out./o/i/page",
        "outer.again.view": "in.out./o/a/page",
        "outer.plain.view": "out./o/other",
    }


def test_nested_in_itself() -> None:
    bp = Blueprint("bp", __name__)
    with pytest.raises(ValueError, match="in itself"):
        bp.register_blueprint(bp)


def test_websocket_and_route_options(app: Flask) -> None:
    bp = Blueprint("bp", __name__)
    bp.websocket("/ws", allowed_origins=["https://a.example"])(view)
    bp.route("/upload", endpoint="upload", stream=True, methods=["POST"])(view)
    app.register_blueprint(bp)
    app.register_blueprint(bp, name="again", url_prefix="/again")
    for name in ("bp", "again"):
        [socket] = app.url_map.iter_rules(f"{name}.view")
        [upload] = app.url_map.iter_rules(f"{name}.upload")
        assert socket.websocket and not upload.websocket
        assert vars(socket)["allowed_origins"] == ["https://a.example"]
        assert vars(upload)["stream"] is True


# -- recording ------------------------------------------------------------------------------


def test_record(app: Flask) -> None:
    bp = Blueprint("bp", __name__)
    always: list[tuple[str, bool, Any]] = []
    once: list[str] = []
    bp.record(lambda s: always.append((s.name, s.first_registration, s.options.get("extra"))))
    bp.record_once(lambda s: once.append(s.name))
    app.register_blueprint(bp, extra=1)
    app.register_blueprint(bp, name="again")
    assert always == [("bp", True, 1), ("again", False, None)]
    assert once == ["bp"]

    with pytest.raises(AssertionError, match="setup method 'record'"):
        bp.record(lambda s: None)


def test_setup_state_of_a_subclass(app: Flask) -> None:
    class State(BlueprintSetupState):
        pass

    class Custom(Blueprint):
        def make_setup_state(
            self, app: Any, options: dict[str, Any], first_registration: bool = False
        ) -> BlueprintSetupState:
            return State(self, app, options, first_registration)

    states: list[BlueprintSetupState] = []
    bp = Custom("bp", __name__)
    bp.record(states.append)
    app.register_blueprint(bp)
    assert isinstance(states[0], State)
    assert states[0].app is app
    assert states[0].blueprint is bp


# -- hooks ----------------------------------------------------------------------------------

HOOKS = [
    ("before_request", "before_app_request", "before_request_funcs"),
    ("after_request", "after_app_request", "after_request_funcs"),
    ("teardown_request", "teardown_app_request", "teardown_request_funcs"),
    ("context_processor", "app_context_processor", "template_context_processors"),
    ("url_value_preprocessor", "app_url_value_preprocessor", "url_value_preprocessors"),
    ("url_defaults", "app_url_defaults", "url_default_functions"),
]


@pytest.mark.parametrize(("own", "of_app", "registry"), HOOKS)
def test_hooks(app: Flask, own: str, of_app: str, registry: str) -> None:
    def mine() -> Any: ...
    def everyones() -> Any: ...

    outer, bp = Blueprint("outer", __name__), Blueprint("bp", __name__)
    getattr(bp, own)(mine)
    assert getattr(bp, of_app)(everyones) is everyones
    outer.register_blueprint(bp)
    app.register_blueprint(outer)
    app.register_blueprint(bp, name="again")

    funcs = getattr(app, registry)
    assert mine in funcs["outer.bp"] and mine in funcs["again"]
    assert mine not in funcs[None]
    assert funcs[None].count(everyones) == 1


def test_error_handlers(app: Flask) -> None:
    def handler(error: Any) -> str:
        return ""

    bp = Blueprint("bp", __name__)
    bp.register_error_handler(404, handler)
    bp.app_errorhandler(LookupError)(handler)
    app.register_blueprint(bp)
    assert list(app.error_handler_spec["bp"]) == [404]
    assert app.error_handler_spec[None][None][LookupError] is handler


def test_serving_hooks(app: Flask) -> None:
    bp = Blueprint("bp", __name__)

    @bp.before_app_serving
    async def start() -> None: ...

    @bp.after_app_serving
    def stop() -> None: ...

    @bp.while_app_serving
    async def around() -> AsyncIterator[None]:
        yield

    app.register_blueprint(bp)
    app.register_blueprint(bp, name="again")
    assert app.before_serving_funcs == [start]
    assert app.after_serving_funcs == [stop]
    assert app.while_serving_gens == [around]


def test_wrong_serving_hooks() -> None:
    def generator() -> Iterator[None]:
        yield

    bp = Blueprint("bp", __name__)
    with pytest.raises(TypeError, match="'while_app_serving' instead"):
        bp.before_app_serving(generator)
    with pytest.raises(TypeError, match="'while_app_serving' instead"):
        bp.after_app_serving(generator)
    with pytest.raises(TypeError, match="generator function"):
        bp.while_app_serving(view)


@pytest.mark.parametrize("kind", ["filter", "test", "global"])
def test_template_functions(app: Flask, kind: str) -> None:
    bp = Blueprint("bp", __name__)
    decorator = getattr(bp, f"app_template_{kind}")
    assert decorator()(view) is view
    assert decorator("given")(view) is view
    getattr(bp, f"add_app_template_{kind}")(view, "other_name")
    app.register_blueprint(bp)
    functions = getattr(app.jinja_env, f"{kind}s")
    assert functions["view"] is functions["given"] is functions["other_name"] is view


@pytest.mark.parametrize("kind", ["filter", "test", "global"])
def test_template_functions_without_parentheses(app: Flask, kind: str) -> None:
    bp = Blueprint("bp", __name__)
    assert getattr(bp, f"app_template_{kind}")(view) is view
    app.register_blueprint(bp)
    assert getattr(app.jinja_env, f"{kind}s")["view"] is view


# -- commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "given", "path"),
    [
        ({}, {}, ["bp", "hello"]),
        ({"cli_group": "own"}, {}, ["own", "hello"]),
        ({"cli_group": None}, {}, ["hello"]),
        ({"cli_group": "own"}, {"cli_group": "given"}, ["given", "hello"]),
        ({"cli_group": "own"}, {"cli_group": None}, ["hello"]),
    ],
)
def test_commands(app: Flask, own: Any, given: Any, path: list[str]) -> None:
    bp = Blueprint("bp", __name__, **own)

    @bp.cli.command("hello")
    def hello() -> None: ...

    app.register_blueprint(bp, **given)
    command: click.Command = app.cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command is hello


def test_no_commands_no_group(app: Flask) -> None:
    app.register_blueprint(Blueprint("bp", __name__))
    assert "bp" not in app.cli.commands


# -- files ----------------------------------------------------------------------------------


def test_static_view_can_be_told(app: Flask) -> None:
    # Frozen-Flask compares it so.
    app.register_blueprint(Blueprint("bp", __name__, static_folder="static", url_prefix="/bp"))
    assert rules(app) == {"bp.static": "/bp/static/<path:filename>"}
    static: Any = app.view_functions["bp.static"]
    assert static.__func__ is Blueprint.send_static_file
