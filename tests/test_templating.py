"""Rendering templates, sync and async."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from asyncflask import (
    Blueprint,
    Flask,
    before_render_template,
    flash,
    g,
    render_template,
    render_template_async,
    render_template_string,
    render_template_string_async,
    request,
    session,
    stream_template,
    stream_template_async,
    stream_template_string,
    stream_template_string_async,
    template_rendered,
)
from asyncflask.asgi.waiting import wait
from support.asgi import exchange, http_scope


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    for folder, files in {
        "templates": {"hello.html": "Hello, {{ name }}!", "both.html": "app"},
        "bp_templates": {"both.html": "bp", "bp.html": "{{ who }}", "part.txt": "{{ '<' }}"},
    }.items():
        (tmp_path / folder).mkdir()
        for name, source in files.items():
            (tmp_path / folder / name).write_text(source)
    app = Flask("templating_test", root_path=str(tmp_path), static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    bp = Blueprint("bp", __name__, root_path=str(tmp_path), template_folder="bp_templates")
    bp.context_processor(lambda: {"who": "bp"})
    bp.add_url_rule("/bp", "index", lambda: render_template("bp.html"))
    app.register_blueprint(bp)
    return app


async def collected(stream: Any) -> str:
    return "".join([chunk async for chunk in stream])


Render = Callable[..., str]

BY_NAME: dict[str, Render] = {
    "render": render_template,
    "render async": lambda name, /, **context: wait(render_template_async(name, **context)),
    "stream": lambda name, /, **context: "".join(stream_template(name, **context)),
    "stream async": lambda name, /, **context: wait(stream_async(name, **context)),
}


async def stream_async(name: Any, /, **context: Any) -> str:
    return await collected(await stream_template_async(name, **context))


BY_SOURCE: dict[str, Render] = {
    "render": render_template_string,
    "render async": lambda source, /, **context: wait(
        render_template_string_async(source, **context)
    ),
    "stream": lambda source, /, **context: "".join(stream_template_string(source, **context)),
    "stream async": lambda source, /, **context: wait(stream_string_async(source, **context)),
}


async def stream_string_async(source: str, /, **context: Any) -> str:
    return await collected(await stream_template_string_async(source, **context))


@pytest.mark.parametrize("how", BY_NAME)
class TestByName:
    @pytest.fixture
    def render(self, app: Flask, how: str) -> Iterator[Render]:
        with app.app_context():
            yield BY_NAME[how]

    def test_context(self, render: Render) -> None:
        assert render("hello.html", name="<you>") == "Hello, &lt;you&gt;!"

    def test_first_that_exists(self, render: Render) -> None:
        assert render(["none.html", "hello.html"], name="you") == "Hello, you!"

    def test_template_object(self, app: Flask, render: Render, how: str) -> None:
        environment = app.jinja_env.asynchronous if "async" in how else app.jinja_env
        assert render(environment.from_string("{{ 1 + 1 }}")) == "2"

    def test_missing(self, render: Render) -> None:
        with pytest.raises(jinja2.TemplateNotFound, match=r"none\.html"):
            render("none.html")

    def test_app_before_blueprints(self, render: Render) -> None:
        assert render("both.html") == "app"
        assert render("part.txt") == "<"  # not escaped

    def test_signals(self, app: Flask, render: Render) -> None:
        events: list[tuple[str, str | None, Any]] = []

        def before(sender: Flask, template: Any, context: dict[str, Any]) -> None:
            events.append(("before", template.name, context["name"]))
            context["name"] = "changed"

        async def after(sender: Flask, template: Any, context: dict[str, Any]) -> None:
            events.append(("after", template.name, context["name"]))

        with (
            before_render_template.connected_to(before, app),
            template_rendered.connected_to(after, app),
        ):
            assert render("hello.html", name="you") == "Hello, changed!"
        assert events == [("before", "hello.html", "you"), ("after", "hello.html", "changed")]


@pytest.mark.parametrize("how", BY_SOURCE)
class TestFunctions:
    """Filters, tests, globals and context processors, sync and async."""

    @pytest.mark.parametrize("colour", ["plain", "async"])
    @pytest.mark.parametrize(
        ("register", "source"),
        [
            ("template_filter", "{{ 'a'|double }}"),
            ("template_global", "{{ double('a') }}"),
            ("template_test", "{{ 'aa' if 'a' is double else '' }}"),
        ],
    )
    def test_registered(
        self, app: Flask, how: str, colour: str, register: str, source: str
    ) -> None:
        def double(value: str) -> str:
            return value * 2

        async def async_double(value: str) -> str:
            return value * 2

        getattr(app, register)("double")(double if colour == "plain" else async_double)
        with app.app_context():
            assert BY_SOURCE[how](source) == "aa"

    def test_registered_without_parentheses(self, app: Flask, how: str) -> None:
        @app.template_filter
        def double(value: str) -> str:
            return value * 2

        @app.template_test
        def short(value: str) -> bool:
            return len(value) < 3

        @app.template_global
        async def name() -> str:
            return "a"

        with app.app_context():
            assert BY_SOURCE[how]("{{ name()|double if 'a' is short }}") == "aa"

    @pytest.mark.parametrize("colour", ["plain", "async"])
    def test_function_in_the_context(self, app: Flask, how: str, colour: str) -> None:
        async def name() -> str:
            return "you"

        func: Any = name if colour == "async" else lambda: "you"
        with app.app_context():
            assert BY_SOURCE[how]("{{ name() }}", name=func) == "you"

    def test_context_processors(self, app: Flask, how: str) -> None:
        app.context_processor(lambda: {"a": "plain", "b": "plain"})

        @app.context_processor
        async def processor() -> dict[str, Any]:
            return {"b": "async", "c": "async"}

        with app.app_context():
            text = BY_SOURCE[how]("{{ a }} {{ b }} {{ c }}", c="given")
        assert text == "plain async given"

    def test_standard_names(self, app: Flask, how: str) -> None:
        app.add_url_rule("/", "index", lambda: "")
        source = (
            "{{ request.path }} {{ g.name }} {{ session.name }} {{ config.TESTING }}"
            " {{ url_for('index') }} {{ get_flashed_messages() }}"
        )
        with app.test_request_context("/"):
            g.name, session["name"] = "g", "session"
            flash("message")
            text = BY_SOURCE[how](source)
        assert text == "/ g session True / [&#39;message&#39;]"

    def test_session_that_is_not_used_is_not_accessed(self, app: Flask, how: str) -> None:
        with app.test_request_context() as ctx:
            BY_SOURCE[how]("{{ request.path }}")
            assert ctx.opened_session is None

    def test_without_a_request(self, app: Flask, how: str) -> None:
        with app.app_context():
            assert BY_SOURCE[how]("{{ g.get('a', 'none') }}") == "none"


def test_blueprints_context_processor(app: Flask) -> None:
    assert app.test_client().get("/bp").text == "bp"
    with app.test_request_context("/"):
        assert render_template("bp.html") == ""


class TestOnTheLoop:
    async def test_plain_rendering(self, app: Flask) -> None:
        @app.get("/")
        async def index() -> str:
            return render_template("hello.html", name=request.path)

        assert (await exchange(app, http_scope())).body == b"Hello, /!"

    async def test_call_that_cannot_be_waited_for(self, app: Flask) -> None:
        async def name() -> str:
            return "you"

        async with app.app_context():
            with pytest.raises(RuntimeError, match="'name', which is async") as caught:
                render_template_string("{{ name() }}", name=name)
        assert "render_template" in str(caught.value)

    async def test_asynchronous_environment(self, app: Flask) -> None:
        app.jinja_options = {"enable_async": True}

        @app.get("/<function>")
        async def index(function: str) -> str:
            functions: dict[str, Render] = {
                "file": render_template,
                "string": render_template_string,
            }
            with pytest.raises(RuntimeError, match="has 'enable_async'") as caught:
                functions[function]("hello.html")
            return str(caught.value)

        answer = (await exchange(app, http_scope(path="/file"))).body.decode()
        assert answer.startswith("The template 'hello.html' cannot be rendered")
        assert "Write 'await render_template_async(...)' instead." in answer
        answer = (await exchange(app, http_scope(path="/string"))).body.decode()
        assert "Write 'await render_template_string_async(...)' instead." in answer

    async def test_asynchronous_environment_where_that_works(self, app: Flask) -> None:
        app.jinja_options = {"enable_async": True}

        @app.get("/sync")
        def sync_view() -> str:
            return render_template("hello.html", name="sync")

        @app.get("/async")
        async def async_view() -> str:
            return await render_template_async("hello.html", name="async")

        @app.get("/stream")
        async def stream() -> Any:
            return stream_template("hello.html", name="stream")

        for name in ("sync", "async", "stream"):
            answer = await exchange(app, http_scope(path=f"/{name}"))
            assert answer.body.decode() == f"Hello, {name}!"

    async def test_context_processors_run_on_the_requests_thread(self, app: Flask) -> None:
        app.before_request(lambda: setattr(g, "ident", threading.get_ident()))
        app.context_processor(lambda: {"same": g.ident == threading.get_ident()})

        @app.get("/")
        async def index() -> str:
            return await render_template_string_async("{{ same }}")

        assert (await exchange(app, http_scope())).body == b"True"

    async def test_streamed_from_a_view(self, app: Flask) -> None:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("teardown"))

        async def numbers() -> AsyncIterator[int]:
            for number in range(3):
                events.append(str(number))
                yield number

        @app.get("/")
        async def index() -> Any:
            return await stream_template_async(
                app.jinja_env.asynchronous.from_string(
                    "{% for n in numbers %}{{ n }}{{ request.path }}{% endfor %}"
                ),
                numbers=numbers(),
            )

        assert (await exchange(app, http_scope())).body == b"0/1/2/"
        assert events[-4:] == ["0", "1", "2", "teardown"]


@pytest.mark.parametrize("stream", [stream_template, stream_template_string])
def test_streamed_from_a_plain_view(app: Flask, stream: Callable[..., Any]) -> None:
    app.add_url_rule("/", "index", lambda: stream("hello.html", name=request.path))
    expected = "Hello, /!" if stream is stream_template else "hello.html"
    assert app.test_client().get("/").text == expected


class TestLoader:
    def test_names(self, app: Flask) -> None:
        assert sorted(app.jinja_env.list_templates()) == [
            "both.html",
            "bp.html",
            "hello.html",
            "part.txt",
        ]

    def test_app_without_templates(self) -> None:
        app = Flask("templating_test", static_folder=None, template_folder=None)
        assert app.jinja_env.list_templates() == []

    def test_loader_of_its_own(self, app: Flask) -> None:
        app.jinja_options = {"loader": jinja2.DictLoader({"a.html": "own"})}
        with app.app_context():
            assert render_template("a.html") == "own"

    @pytest.mark.parametrize(("value", "debug", "reload"), [
        (None, False, False), (None, True, True), (True, False, True), (False, True, False),
    ])  # fmt: skip
    def test_auto_reload(self, value: bool | None, debug: bool, reload: bool) -> None:
        app = Flask("templating_test", static_folder=None)
        app.config.update(TEMPLATES_AUTO_RELOAD=value, DEBUG=debug)
        assert app.jinja_env.auto_reload is reload


class TestGlobals:
    @pytest.mark.parametrize("shared", [True, False])
    @pytest.mark.parametrize("own", [None, {"a": "own", "only": 1}])
    @pytest.mark.parametrize("locals", [None, {"a": "local", "l": 1}])
    def test_as_jinja(self, app: Flask, shared: bool, own: Any, locals: Any) -> None:
        app.jinja_env.globals.update(a="of the environment", b=1)
        template = app.jinja_env.get_template("hello.html", globals=own)
        ours = template.new_context({"b": 2, "v": 3}, shared, locals)
        theirs = jinja2.Template.new_context(template, {"b": 2, "v": 3}, shared, locals)
        assert ours.get_all() == theirs.get_all()
        assert list(ours.get_all()) == list(theirs.get_all())
        assert ours.globals_keys == theirs.globals_keys

    def test_changed_after_a_template_was_loaded(self, app: Flask) -> None:
        app.jinja_env.globals["name"] = "A"
        with app.app_context():
            assert render_template("hello.html") == "Hello, A!"
            app.jinja_env.globals["name"] = "B"
            assert render_template("hello.html") == "Hello, B!"
            template = app.jinja_env.get_template("hello.html", globals={"name": "C"})
            assert render_template(template) == render_template("hello.html") == "Hello, C!"
            assert render_template("hello.html", name="D") == "Hello, D!"

    @pytest.mark.parametrize("context", ["with context", "without context"])
    def test_imported_and_included(self, app: Flask, context: str) -> None:
        files = {
            "macros.html": "{% macro who() %}{{ name }}{{ given }}{% endmacro %}",
            "part.html": "{{ name }}{{ given }}",
        }
        app.jinja_options = {"loader": jinja2.DictLoader(files)}
        app.jinja_env.globals["name"] = "global "
        plain = jinja2.Environment(loader=jinja2.DictLoader(files), autoescape=True)
        plain.globals["name"] = "global "
        source = (
            f"{{% from 'macros.html' import who {context} %}}{{{{ who() }}}}"
            f"{{% include 'part.html' {context} %}}"
        )
        expected = plain.from_string(source).render(given="x")
        with app.app_context():
            assert render_template_string(source, given="x") == expected


def _generator() -> Any:
    return next(iter(()))


class _Callable:
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def method(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    @jinja2.pass_context
    def of_context(self, context: Any, name: str) -> Any:
        return context[name]


class _OfContext:
    @jinja2.pass_context
    def __call__(self, context: Any, name: str) -> Any:
        return context[name]


@jinja2.pass_environment
def _of_environment(environment: Any) -> Any:
    return isinstance(environment, jinja2.Environment)


@jinja2.pass_eval_context
def _of_eval_context(eval_ctx: Any) -> Any:
    return eval_ctx.autoescape


@pytest.mark.parametrize(
    "source",
    [
        "{{ f(1, a=2) }} {{ f() }}",
        "{{ c.method(1, a=2) }} {{ c(1, a=2) }}",
        "{{ c.of_context('name') }} {{ o('name') }}",
        "{{ env() }} {{ ev() }}",
        "{{ stop() is undefined }} {{ stop() or 'nothing' }}",
        "{% macro m(x) %}{{ f(x) }}{{ caller() }}{% endmacro %}{% call m(1) %}{{ f(2) }}"
        "{% endcall %}",
        "{% for i in [1, 2] %}{% set x = i %}{{ f(i, a=x) }}{{ o('x') }}{{ loop.cycle(1, 2) }}"
        "{% endfor %}",
        "{% block b scoped %}{% set y = 3 %}{{ f(y) }}{{ o('y') }}{% endblock %}",
        "{{ 'a'.upper() }} {{ range(3)|list }} {{ dict(a=1) }} {{ partial(1) }}",
        "{{ missing() }}",
        "{{ f.x() }}",
    ],
)
def test_calls_as_jinja(app: Flask, source: str) -> None:
    names: dict[str, Any] = {
        "f": lambda *args, **kwargs: (args, kwargs),
        "c": _Callable(),
        "o": _OfContext(),
        "env": _of_environment,
        "ev": _of_eval_context,
        "stop": _generator,
        "partial": functools.partial(lambda *args: args, 0),
        "name": "value",
    }
    outcomes = []
    for environment in (app.jinja_env, jinja2.Environment(autoescape=True)):
        try:
            outcomes.append(environment.from_string(source).render(names))
        except jinja2.UndefinedError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
