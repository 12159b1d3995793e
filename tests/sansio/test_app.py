"""Apps before any request: rules, template functions, serving hooks, and what they answer when
a request asks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, BadRequestKeyError, HTTPException, NotFound
from werkzeug.routing import BuildError, Map, Rule

from asyncflask import Config, Flask


@pytest.fixture
def app() -> Flask:
    return Flask(__name__, static_folder=None)


def view() -> str:
    return ""


async def handler() -> None: ...


def only_rule(app: Flask) -> Any:
    [rule] = app.url_map.iter_rules()
    return rule


# -- construction ---------------------------------------------------------------------------


def test_classes_can_be_replaced() -> None:
    class MyConfig(Config): ...

    class MyMap(Map): ...

    class MyRule(Rule): ...

    class MyFlask(Flask):
        config_class = MyConfig
        url_map_class = MyMap
        url_rule_class = MyRule

    app = MyFlask(__name__)
    assert type(app.config) is MyConfig
    assert type(app.url_map) is MyMap
    assert type(only_rule(app)) is MyRule


def test_config_attributes(app: Flask) -> None:
    app.config["PERMANENT_SESSION_LIFETIME"] = 60
    app.testing = True
    app.secret_key = "k"
    assert app.permanent_session_lifetime == timedelta(minutes=1)
    assert (app.config["TESTING"], app.config["SECRET_KEY"]) == (True, "k")


@pytest.mark.parametrize(("value", "debug"), [("1", True), ("0", False), (None, False)])
def test_debug_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, debug: bool
) -> None:
    monkeypatch.delenv("FLASK_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("FLASK_DEBUG", value)
    assert Flask(__name__).debug is debug


def test_debug_reloads_templates(app: Flask) -> None:
    app.debug = True
    assert app.jinja_env.auto_reload
    app.config["TEMPLATES_AUTO_RELOAD"] = True
    app.debug = False
    assert app.jinja_env.auto_reload


def test_instance_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_project.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    app = Flask("some_project", instance_relative_config=True)
    assert app.instance_path == app.config.root_path == str(tmp_path / "instance")

    with pytest.raises(ValueError, match="must be absolute"):
        Flask("some_project", instance_path="instance")


def test_instance_path_of_an_installed_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "lib" / "python3" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "some_product.py").touch()
    monkeypatch.syspath_prepend(packages)
    assert Flask("some_product").instance_path == str(tmp_path / "var" / "some_product-instance")


def test_name(app: Flask) -> None:
    assert app.name == __name__
    app.name = "other"
    assert app.name == "other"
    assert repr(app) == "<Flask 'other'>"


# -- rules ----------------------------------------------------------------------------------


def view_with(**attributes: Any) -> Any:
    function = functools.partial(view)
    vars(function).update(attributes, __name__="view")
    return function


@pytest.mark.parametrize(
    ("attributes", "options", "methods", "automatic"),
    [
        ({}, {}, "GET HEAD OPTIONS", True),
        ({}, {"methods": ["post"]}, "POST OPTIONS", True),
        ({}, {"methods": ["GET", "OPTIONS"]}, "GET HEAD OPTIONS", False),
        ({}, {"provide_automatic_options": False}, "GET HEAD", False),
        ({"methods": ["PUT"]}, {}, "PUT OPTIONS", True),
        ({"methods": ["PUT"]}, {"methods": ["POST"]}, "POST OPTIONS", True),
        ({"required_methods": ["DELETE"]}, {}, "GET HEAD DELETE OPTIONS", True),
        ({"provide_automatic_options": False}, {}, "GET HEAD", False),
    ],
)
def test_methods(
    app: Flask, attributes: dict[str, Any], options: dict[str, Any], methods: str, automatic: bool
) -> None:
    app.add_url_rule("/", view_func=view_with(**attributes), **options)
    rule = only_rule(app)
    assert rule.methods == set(methods.split())
    assert rule.provide_automatic_options is automatic


def test_automatic_options_by_config(app: Flask) -> None:
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.add_url_rule("/", view_func=view)
    assert sorted(only_rule(app).methods) == ["GET", "HEAD"]


@pytest.mark.parametrize(
    ("attributes", "options"),
    [({}, {"provide_automatic_options": True}), ({"provide_automatic_options": True}, {})],
)
def test_automatic_options_against_the_config(
    app: Flask, attributes: dict[str, Any], options: dict[str, Any]
) -> None:
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.add_url_rule("/", view_func=view_with(**attributes), **options)
    rule = only_rule(app)
    assert sorted(rule.methods) == ["GET", "HEAD", "OPTIONS"]
    assert rule.provide_automatic_options is True


def test_methods_is_not_a_string(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"methods=\['POST'\]"):
        app.route("/", methods="POST")(view)


def test_endpoint_is_taken(app: Flask) -> None:
    def other() -> str:
        return ""

    app.add_url_rule("/", "e", view)
    app.add_url_rule("/same", "e", view)
    app.add_url_rule("/later", "e")
    with pytest.raises(AssertionError, match="existing endpoint function"):
        app.add_url_rule("/other", "e", other)
    assert app.view_functions == {"e": view}


def test_route_options(app: Flask) -> None:
    app.route("/", stream=True, cancel_on_disconnect=False)(view)
    rule = only_rule(app)
    assert (rule.stream, rule.cancel_on_disconnect, rule.allowed_origins) == (True, False, None)


def test_route_options_have_defaults(app: Flask) -> None:
    app.route("/")(view)
    rule = only_rule(app)
    assert (rule.stream, rule.cancel_on_disconnect, rule.allowed_origins) == (False, None, None)


# -- WebSocket rules ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"methods": ["get"]}, {"methods": None}])
def test_websocket(app: Flask, options: dict[str, Any]) -> None:
    app.websocket("/ws", **options)(handler)
    app.route("/ws")(view)  # the same URL by HTTP
    socket, http = sorted(app.url_map.iter_rules(), key=lambda rule: not rule.websocket)
    assert socket.websocket and not http.websocket
    assert "OPTIONS" not in (socket.methods or ())
    assert vars(socket)["provide_automatic_options"] is False

    adapter = app.url_map.bind("localhost")
    assert adapter.match("/ws", websocket=True)[0] == "handler"
    assert adapter.match("/ws", websocket=False)[0] == "view"


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"methods": ["POST"]}, "Remove that option"),
        ({"methods": ["GET", "POST"]}, "Remove that option"),
        ({"methods": "GET"}, "Remove that option"),
        ({"stream": True}, "iterate over the messages"),
        ({"allowed_origins": "https://a.example"}, r"allowed_origins=\['https://a.example'\]"),
    ],
)
def test_websocket_options_that_make_no_sense(
    app: Flask, options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(TypeError, match=hint):
        app.websocket("/ws", **options)(handler)
    assert not list(app.url_map.iter_rules())


def test_origins_are_for_websockets(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"@app\.websocket\('/'"):
        app.route("/", allowed_origins=["https://a.example"])(view)
    with pytest.raises(TypeError, match="'send_timeout' is a WebSocket option"):
        app.route("/", send_timeout=1)(view)


# -- templates ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["filter", "test", "global"])
def test_template_functions(app: Flask, kind: str) -> None:
    functions = getattr(app.jinja_env, f"{kind}s")
    assert getattr(app, f"template_{kind}")()(view) is view
    getattr(app, f"template_{kind}")("other_name")(view)
    assert functions["view"] is functions["other_name"] is view


@pytest.mark.parametrize("kind", ["filter", "test", "global"])
def test_async_template_functions(app: Flask, kind: str) -> None:
    async def is_good(value: int) -> bool:
        return value > 1

    assert getattr(app, f"template_{kind}")()(is_good) is is_good
    function = getattr(app.jinja_env, f"{kind}s")["is_good"]
    assert function.__name__ == "is_good"
    source = {
        "filter": "{{ 1 | is_good }} {{ x | is_good }}",
        "test": "{{ 1 is is_good }} {{ x is is_good }}",
        "global": "{{ is_good(1) }} {{ is_good(x) }}",
    }[kind]
    template = app.jinja_env.from_string(source)
    assert template.render(x=2) == "False True"

    async def on_the_loop() -> None:
        template.render(x=2)

    with pytest.raises(RuntimeError, match="'await'"):
        asyncio.run(on_the_loop())


# -- hooks of the app -----------------------------------------------------------------------


def test_serving_hooks(app: Flask) -> None:
    @app.before_serving
    def start() -> None: ...

    @app.after_serving
    async def stop() -> None: ...

    @app.while_serving
    def around() -> Iterator[None]:
        yield

    @app.while_serving
    async def async_around() -> AsyncIterator[None]:
        yield

    assert app.before_serving_funcs == [start]
    assert app.after_serving_funcs == [stop]
    assert app.while_serving_gens == [around, async_around]


def test_wrong_serving_hooks(app: Flask) -> None:
    @contextlib.asynccontextmanager
    async def managed() -> AsyncIterator[None]:
        yield

    async def generator() -> AsyncIterator[None]:
        yield

    with pytest.raises(TypeError, match="Remove '@asynccontextmanager'"):
        app.while_serving(managed)
    with pytest.raises(TypeError, match="generator function"):
        app.while_serving(handler)
    with pytest.raises(TypeError, match="'while_serving' instead"):
        app.before_serving(generator)
    with pytest.raises(TypeError, match="'while_serving' instead"):
        app.after_serving(generator)
    nothing: Any = None
    with pytest.raises(TypeError, match="not None"):
        app.before_serving(nothing)


def test_setup_ends_with_the_first_request(app: Flask) -> None:
    app._got_first_request = True
    for method in ("before_request", "before_serving", "while_serving", "teardown_appcontext"):
        with pytest.raises(AssertionError, match=f"setup method '{method}'"):
            getattr(app, method)(view)


# -- questions that a request asks ----------------------------------------------------------


def test_find_error_handler(app: Flask) -> None:
    class Special(NotFound): ...

    def named(name: str) -> Any:
        return lambda error: name

    def found(error: Exception, *blueprints: str) -> Any:
        handler: Any = app._find_error_handler(error, list(blueprints))
        return handler and handler(error)

    assert found(NotFound(), "bp") is None
    assert not app.error_handler_spec  # asking leaves no trace

    app.register_error_handler(HTTPException, named("app, HTTP"))
    app.register_error_handler(LookupError, named("app, class"))
    app.error_handler_spec["bp"][None][Exception] = named("bp, any")
    assert found(NotFound()) == "app, HTTP"
    assert found(NotFound(), "bp") == "bp, any"
    assert found(KeyError()) == "app, class"
    assert found(ValueError(), "other") is None

    app.register_error_handler(404, named("app, 404"))
    assert found(NotFound(), "bp") == "app, 404"
    app.error_handler_spec["bp"][404][NotFound] = named("bp, 404")
    app.error_handler_spec["outer"][404][Special] = named("outer, special")
    assert found(Special(), "bp", "outer") == "bp, 404"
    assert found(Special(), "outer") == "outer, special"


@pytest.mark.parametrize(
    ("config", "error", "trapped"),
    [
        ({}, BadRequestKeyError(), False),
        ({"DEBUG": True}, BadRequestKeyError(), True),
        ({"DEBUG": True}, BadRequest(), False),
        ({"DEBUG": True, "TRAP_BAD_REQUEST_ERRORS": False}, BadRequestKeyError(), False),
        ({"TRAP_BAD_REQUEST_ERRORS": True}, BadRequest(), True),
        ({"TRAP_BAD_REQUEST_ERRORS": True}, NotFound(), False),
        ({"TRAP_HTTP_EXCEPTIONS": True}, NotFound(), True),
    ],
)
def test_trap_http_exception(
    app: Flask, config: dict[str, Any], error: Exception, trapped: bool
) -> None:
    app.config.update(config)
    assert app.trap_http_exception(error) is trapped


def test_inject_url_defaults(app: Flask) -> None:
    def note(scope: str | None, endpoint: str, values: dict[str, Any]) -> None:
        order.append(scope)

    order: list[str | None] = []
    for scope in (None, "outer", "outer.inner", "other"):
        app.url_default_functions[scope].append(functools.partial(note, scope))
    app.inject_url_defaults("outer.inner.page", {})
    assert order == [None, "outer", "outer.inner"]


def test_handle_url_build_error(app: Flask) -> None:
    error = BuildError("e", {}, None)
    with pytest.raises(BuildError) as raised:
        app.handle_url_build_error(error, "e", {})
    assert raised.value is error

    other = BuildError("other", {}, None)

    def fails(error: Exception, endpoint: str, values: dict[str, Any]) -> str | None:
        raise other

    app.url_build_error_handlers += [lambda *_: None, fails]
    with pytest.raises(BuildError) as raised:
        app.handle_url_build_error(error, "e", {})
    assert raised.value is other

    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/{endpoint}")
    assert app.handle_url_build_error(error, "e", {}) == "/e"


def test_redirect(app: Flask) -> None:
    response = app.redirect("/there", 303)
    assert (response.status_code, response.location) == (303, "/there")
    assert isinstance(response, app.response_class)
