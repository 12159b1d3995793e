"""Plans are always current: any change after a request applies to the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Rule

from asyncflask import (
    Blueprint,
    Flask,
    Request,
    Response,
    after_this_request,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    current_app,
    g,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    session,
)
from asyncflask.ctx import AppContext
from asyncflask.sessions import SecureCookieSessionInterface
from support.asgi import Peer, exchange, http_scope


@pytest.fixture
def app() -> Flask:
    app = Flask("plan_test", static_folder=None)
    app.secret_key = "secret"
    app.add_url_rule("/", "index", lambda: "text")
    return app


async def get(app: Flask, path: str = "/", **more: Any) -> Peer:
    return await exchange(app, http_scope(path, **more))


class Calls:
    """A function that notes its calls and returns what it is given first."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return args[0] if args and isinstance(args[0], Response) else None


REGISTER: dict[str, Callable[[Flask, Calls], Any]] = {
    "before_request": lambda app, calls: app.before_request(calls),
    "appended": lambda app, calls: app.before_request_funcs[None].append(calls),
    "another list": lambda app, calls: app.before_request_funcs.update({None: [calls]}),
    "another dict": lambda app, calls: setattr(app, "before_request_funcs", {None: [calls]}),
    "after_request": lambda app, calls: app.after_request(calls),
    "teardown_request": lambda app, calls: app.teardown_request(calls),
    "teardown_appcontext": lambda app, calls: app.teardown_appcontext(calls),
    "another list of teardowns": lambda app, calls: setattr(
        app, "teardown_appcontext_funcs", [calls]
    ),
    "url_value_preprocessor": lambda app, calls: app.url_value_preprocessor(calls),
}


@pytest.mark.parametrize("register", REGISTER.values(), ids=REGISTER)
async def test_hook_that_is_registered_between_requests(
    app: Flask, register: Callable[[Flask, Calls], Any]
) -> None:
    calls = Calls()
    assert (await get(app)).body == b"text"
    app._got_first_request = False  # which forbids some of it
    register(app, calls)
    assert (await get(app)).body == b"text"
    assert calls.count == 1


@pytest.mark.parametrize("register", REGISTER.values(), ids=REGISTER)
async def test_hook_that_is_taken_out(app: Flask, register: Callable[[Flask, Calls], Any]) -> None:
    calls = Calls()
    register(app, calls)
    await get(app)
    for registry in (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
    ):
        registry.clear()
    app.teardown_appcontext_funcs.clear()
    await get(app)
    assert calls.count == 1


class Wrapper:
    """Equal to what it wraps, as wrappers of monitoring libraries are."""

    def __init__(self, wrapped: Callable[..., Any]) -> None:
        self.wrapped = wrapped
        self.count = 0

    def __eq__(self, other: object) -> bool:
        return other == self.wrapped or other is self

    def __hash__(self) -> int:
        return hash(self.wrapped)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.wrapped(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else lambda *args: self(instance, *args)


async def test_hook_in_whose_place_an_equal_one_is_put(app: Flask) -> None:
    app.before_request(lambda: None)
    await get(app)
    hooks: list[Any] = app.before_request_funcs[None]
    hooks[0] = wrapper = Wrapper(hooks[0])
    assert wrapper == wrapper.wrapped
    await get(app)
    assert wrapper.count == 1


@pytest.mark.parametrize("name", ["dispatch_request", "finalize_request", "wsgi_app"])
async def test_method_in_whose_place_an_equal_one_is_put(app: Flask, name: str) -> None:
    await get(app)
    wrapper = Wrapper(getattr(Flask, name))
    with mock.patch.object(Flask, name, wrapper):
        assert (await get(app)).body == b"text"
    assert wrapper.count == 1
    await get(app)
    assert wrapper.count == 1


def other_app(scope: Scope, receive: Receive, send: Send) -> Any:
    return PlainTextResponse("mounted")(scope, receive, send)


class OwnRequest(Request):
    made: ClassVar[list[Any]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made.append(self)


class OwnResponse(Response):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers["X-Own"] = "yes"


class OwnSessions(SecureCookieSessionInterface):
    def open_session(self, app: Any, request: Any) -> Any:
        g.opened = True
        return super().open_session(app, request)


class OwnAppContext(AppContext): ...


class TestAttribute:
    """Set on the app, on its class, or on a subclass of `Flask`, after a request."""

    @pytest.fixture(params=["app", "class", "subclass"])
    def put(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Flask]]:
        patches: list[Any] = []
        cls: Any = type("Sub", (Flask,), {}) if request.param == "subclass" else Flask
        app = cls("plan_test", static_folder=None)
        app.secret_key = "secret"
        app.add_url_rule("/", "index", lambda: f"{'opened' in g} {type(request_class())}")

        def put(name: str, value: Any) -> None:
            if request.param == "app":
                setattr(app, name, value)
            else:
                vars(app).pop(name, None)
                patches.append(mock.patch.object(cls, name, value))
                patches[-1].start()

        yield lambda: (app, put)  # type: ignore[misc,return-value]
        for patch in reversed(patches):
            patch.stop()

    async def test_response_class(self, put: Any) -> None:
        app, put = put()
        assert b"x-own" not in dict((await get(app)).sent[0]["headers"])
        put("response_class", OwnResponse)
        assert (b"x-own", b"yes") in (await get(app)).sent[0]["headers"]

    async def test_request_class(self, put: Any) -> None:
        app, put = put()
        await get(app)
        put("request_class", OwnRequest)
        assert b"OwnRequest" in (await get(app)).body

    async def test_session_interface(self, put: Any) -> None:
        app, put = put()
        assert (await get(app)).body.startswith(b"False")
        put("session_interface", OwnSessions())
        assert (await get(app)).body.startswith(b"True")

    async def test_app_context(self, put: Any) -> None:
        app, put = put()
        await get(app)
        made: list[OwnAppContext] = []

        def app_context(*args: Any) -> OwnAppContext:
            made.append(OwnAppContext(app))
            return made[-1]

        put("app_context", app_context)
        await get(app)
        assert len(made) == 1


def request_class() -> Any:
    return request._get_current_object()  # type: ignore[attr-defined]


async def test_trusted_hosts_of_the_config(app: Flask) -> None:
    assert (await get(app)).status == 200
    app.config["TRUSTED_HOSTS"] = ["example.com"]
    assert (await get(app)).status == 400


async def test_trusted_hosts_of_the_request_class(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await get(app)).status == 200
    monkeypatch.setattr(Request, "trusted_hosts", ["example.com"])
    assert (await get(app)).status == 400


async def test_host_matching_of_the_map(app: Flask) -> None:
    assert (await get(app)).status == 200
    app.url_map.host_matching = True
    assert (await get(app)).status == 404  # the rule has no host


async def test_mount(app: Flask) -> None:
    assert (await get(app, "/other/")).status == 404
    app.mount("/other", other_app)
    assert (await get(app, "/other/")).body == b"mounted"


async def test_wsgi_app_that_is_wrapped_and_unwrapped(app: Flask) -> None:
    calls: list[Any] = []
    inner = app.wsgi_app

    def wrapper(environ: Any, start_response: Any) -> Any:
        calls.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    await get(app)
    app.wsgi_app = wrapper  # type: ignore[method-assign]
    assert (await get(app)).body == b"text"
    del app.wsgi_app
    assert (await get(app)).body == b"text"
    assert calls == ["/"]


async def test_asgi_app_that_is_wrapped_and_unwrapped(app: Flask) -> None:
    calls: list[Any] = []
    inner = app.asgi_app

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope["path"])
        await inner(scope, receive, send)

    await get(app)
    app.asgi_app = wrapper  # type: ignore[method-assign]
    assert (await get(app)).body == b"text"
    del app.asgi_app
    assert (await get(app)).body == b"text"
    assert calls == ["/"]


class Mixin:
    """A class that is not of `Flask`'s family, and says nothing when it is changed."""


async def test_method_that_a_mixin_gets(app: Flask) -> None:
    class Mixed(Mixin, Flask): ...

    app = Mixed("plan_test", static_folder=None)
    app.add_url_rule("/", "index", lambda: "text")
    assert (await get(app)).body == b"text"

    def dispatch_request(self: Any) -> str:
        return "the mixin's"

    with mock.patch.object(Mixin, "dispatch_request", dispatch_request, create=True):
        assert (await get(app)).body == b"the mixin's"
    assert (await get(app)).body == b"text"


async def test_method_of_a_mixin_in_whose_place_an_equal_one_is_put() -> None:
    class Steps:
        def dispatch_request(self) -> Any:
            return super().dispatch_request()  # type: ignore[misc]

    class Mixed(Steps, Flask): ...

    app = Mixed("plan_test", static_folder=None)
    app.add_url_rule("/", "index", lambda: "text")
    await get(app)
    wrapper = Wrapper(Steps.dispatch_request)
    with mock.patch.object(Steps, "dispatch_request", wrapper):
        assert (await get(app)).body == b"text"
    assert wrapper.count == 1


async def test_view_that_is_replaced(app: Flask) -> None:
    assert (await get(app)).body == b"text"

    async def other() -> str:
        return "other"

    app.view_functions["index"] = other
    assert (await get(app)).body == b"other"


async def test_rule_that_is_added_by_hand(app: Flask) -> None:
    assert (await get(app, "/more")).status == 404
    app.url_map.add(Rule("/more", endpoint="index"))
    assert (await get(app, "/more")).body == b"text"


SIGNALS = [
    request_started,
    request_finished,
    request_tearing_down,
    appcontext_pushed,
    appcontext_popped,
    appcontext_tearing_down,
]


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: str(signal.name))
async def test_signal_that_is_connected_between_requests(app: Flask, signal: Any) -> None:
    calls = Calls()
    await get(app)
    with signal.connected_to(calls):
        await get(app)
    await get(app)
    assert calls.count == 1


class TestWhileTheViewRuns:
    """What the view registers counts for its own request, as in Flask."""

    async def test_after_request(self, app: Flask) -> None:
        calls = Calls()

        @app.get("/registers")
        async def registers() -> str:
            app.after_request_funcs[None].append(calls)
            app.teardown_request_funcs[None].append(calls)
            app.teardown_appcontext_funcs.append(calls)
            return "text"

        await get(app, "/registers")
        assert calls.count == 3

    async def test_after_this_request(self, app: Flask) -> None:
        calls = Calls()

        @app.get("/registers")
        async def registers() -> str:
            after_this_request(calls)
            return "text"

        await get(app, "/registers")
        await get(app)
        assert calls.count == 1

    async def test_session(self, app: Flask) -> None:
        @app.get("/writes")
        async def writes() -> str:
            session["a"] = 1
            return "text"

        peer = await get(app, "/writes")
        assert b"set-cookie" in dict(peer.sent[0]["headers"])

    async def test_teardown_that_an_after_request_function_registers(self, app: Flask) -> None:
        calls = Calls()

        @app.after_request
        async def after(response: Response) -> Response:
            current_app.teardown_request_funcs.setdefault(None, []).append(calls)
            return response

        await get(app)
        assert calls.count == 1


class TestBlueprints:
    def test_order_of_all_hooks(self, app: Flask) -> None:
        order: list[str] = []

        def note(name: str) -> Callable[..., Any]:
            def hook(*args: Any, **kwargs: Any) -> Any:
                order.append(name)
                return args[0] if args and isinstance(args[0], Response) else None

            return hook

        outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
        for name, scaffold in (("app", app), ("outer", outer), ("inner", inner)):
            scaffold.url_value_preprocessor(note(f"{name} values"))
            scaffold.before_request(note(f"{name} before"))
            scaffold.after_request(note(f"{name} after"))
            scaffold.teardown_request(note(f"{name} teardown"))
        inner.add_url_rule("/inner", "view", lambda: "text")
        outer.register_blueprint(inner)
        app.register_blueprint(outer)
        app.test_client().get("/inner")
        assert order == [
            *("app values", "outer values", "inner values"),
            *("app before", "outer before", "inner before"),
            *("inner after", "outer after", "app after"),
            *("inner teardown", "outer teardown", "app teardown"),
        ]

    async def test_only_those_of_the_blueprint_run(self, app: Flask) -> None:
        counts = {}
        for name in ("a", "b"):
            blueprint = Blueprint(name, __name__, url_prefix=f"/{name}")
            counts[name] = calls = Calls()
            blueprint.before_request(calls)
            blueprint.add_url_rule("/", "view", lambda: "text")
            app.register_blueprint(blueprint)
        await get(app, "/a/")
        await get(app)
        assert (counts["a"].count, counts["b"].count) == (1, 0)

    async def test_hook_that_is_registered_between_requests(self, app: Flask) -> None:
        blueprint, calls = Blueprint("b", __name__, url_prefix="/b"), Calls()
        blueprint.add_url_rule("/", "view", lambda: "text")
        app.register_blueprint(blueprint)
        await get(app, "/b/")
        app.before_request_funcs["b"].append(calls)
        await get(app, "/b/")
        await get(app)
        assert calls.count == 1


async def test_after_request_that_returns_none_is_named(app: Flask) -> None:
    @app.after_request
    def forgetful(response: Response) -> Any:
        response.headers["X"] = "1"

    app.testing = True
    with pytest.raises(TypeError, match=r"forgetful.*returned None.*return response"):
        await get(app)


class TestContextFirst:
    """Overrides with the signatures of Flask 3.2, beside those of Flask 3.1."""

    async def test_steps(self, app: Flask) -> None:
        calls: list[str] = []

        class Next(Flask):
            def full_dispatch_request(self, ctx: Any) -> Any:
                calls.append("full_dispatch_request")
                return super().full_dispatch_request(ctx)

            def dispatch_request(self, ctx: Any) -> Any:
                calls.append(f"dispatch_request {ctx.request.path}")
                return super().dispatch_request(ctx)

            def handle_user_exception(self, ctx: Any, e: Exception) -> Any:
                calls.append(f"handle_user_exception {type(e).__name__}")
                return super().handle_user_exception(ctx, e)

            def do_teardown_appcontext(self, ctx: Any, exc: Any = None) -> None:
                calls.append("do_teardown_appcontext")
                super().do_teardown_appcontext(ctx, exc)

        app = Next("next", static_folder=None)
        app.add_url_rule("/", "index", lambda: "text")
        assert (await get(app)).body == b"text"
        assert (await get(app, "/none")).status == 404
        assert calls == [
            "full_dispatch_request",
            "dispatch_request /",
            "do_teardown_appcontext",
            "full_dispatch_request",
            "dispatch_request /none",
            "handle_user_exception NotFound",
            "do_teardown_appcontext",
        ]

    def test_calls_of_both_kinds(self, app: Flask) -> None:
        with app.test_request_context("/") as ctx:
            assert app.dispatch_request() == app.dispatch_request(ctx) == "text"


async def test_route_is_told_to_middleware(app: Flask) -> None:
    app.add_url_rule("/item/<int:n>", "item", lambda n: str(n))
    scope = http_scope("/item/3")
    await exchange(app, scope)
    assert (scope["route"].path, scope["path_params"]) == ("/item/<int:n>", {"n": 3})
    assert scope["endpoint"] is app.view_functions["item"]


def wrapped_wsgi(app: Flask) -> Callable[..., Any]:
    wsgi_app = app.wsgi_app
    return lambda environ, start_response: wsgi_app(environ, start_response)


@pytest.mark.parametrize("middleware", [ProxyFix, wrapped_wsgi])
async def test_route_is_told_behind_wsgi_middleware(app: Flask, middleware: Any) -> None:
    """The app works on a copy of the scope then."""
    app.add_url_rule("/item/<int:n>", "item", lambda n: str(n))
    app.wsgi_app = middleware(app if middleware is wrapped_wsgi else app.wsgi_app)  # type: ignore[method-assign]
    scope = http_scope("/item/3", headers=[("x-forwarded-for", "10.0.0.1")])
    assert (await exchange(app, scope)).body == b"3"
    assert (scope["route"].path, scope["path_params"]) == ("/item/<int:n>", {"n": 3})
    assert scope["client"] == ("127.0.0.1", 50000)


async def test_view_in_whose_place_an_equal_one_is_put(app: Flask) -> None:
    async def view() -> str:
        return "text"

    app.add_url_rule("/async", "async", view)
    await get(app, "/async")
    app.view_functions["async"] = wrapper = Wrapper(view)
    assert (await get(app, "/async")).body == b"text"
    assert wrapper.count == 1


async def test_registries_that_are_replaced_by_name(app: Flask) -> None:
    """`view_functions` and `config`."""
    await get(app)
    app.view_functions = {"index": lambda: "other"}
    assert (await get(app)).body == b"other"
    config = type(app.config)(app.root_path, {**app.config, "TRUSTED_HOSTS": ["example.com"]})
    app.config = config
    assert (await get(app)).status == 400


async def test_change_of_another_app_makes_no_difference(app: Flask) -> None:
    calls = Calls()
    app.before_request(calls)
    await get(app)
    other = Flask("other", static_folder=None)
    other.dispatch_request = lambda: "other's"  # type: ignore[method-assign]
    other.add_url_rule("/", "index", lambda: "text")
    assert (await get(app)).body == b"text"
    assert (await get(other)).body == b"other's"
    assert calls.count == 2


def test_step_that_sync_code_calls_waits_for_async_hooks(app: Flask) -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    app.before_request(waits)
    with app.test_request_context("/"):
        assert app.preprocess_request() is None


async def test_names_of_blueprints_from_the_client_are_not_kept(app: Flask) -> None:
    class Named(Request):
        @property
        def blueprints(self) -> list[str]:
            return [self.headers.get("x-blueprint", "")]

    app.request_class = Named
    app.register_blueprint(Blueprint("known", __name__))
    calls: list[str] = []
    app.before_request_funcs["known"] = [lambda: calls.append("known")]
    app.before_request_funcs["other"] = [lambda: calls.append("other")]
    for name in ("known", "other", "known", *map(str, range(20))):
        peer = await exchange(app, http_scope("/", headers=[("x-blueprint", name)]))
        assert peer.status == 200
    assert calls == ["known", "other", "known"]
    assert len(app._setup().plans) <= 2
