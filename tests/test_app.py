"""Entry points of an app: routing, URLs, mounting, serving, contexts, files."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, BuildError, RequestRedirect

from asyncflask import (
    Blueprint,
    Flask,
    Request,
    Response,
    current_app,
    g,
    has_app_context,
    redirect,
    request,
    url_for,
    websocket,
)
from asyncflask.asgi.client import WebSocketDenied, WebSocketSession
from asyncflask.asgi.lifespan import LifespanFailed, lifespan
from asyncflask.async_testing import AsyncClient
from support.asgi import exchange, http_scope


@pytest.fixture
def app() -> Flask:
    app = Flask("app_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    return app


# -- routing ----------------------------------------------------------------------------------


class ListConverter(BaseConverter):
    def to_python(self, value: str) -> list[str]:
        return value.split("+")

    def to_url(self, value: Any) -> str:
        return "+".join(super(ListConverter, self).to_url(item) for item in value)


ROUTES = {
    "/string/<name>": "string",
    "/int/<int:name>": "int",
    "/float/<float(signed=True):name>": "float",
    "/path/<path:name>": "path",
    "/uuid/<uuid:name>": "uuid",
    "/any/<any(a, b):name>": "any",
    "/list/<list:name>": "list",
    "/default/": "default",
    "/default/<name>": "default",
    "/slash/": "slash",
    "/no-slash": "no-slash",
}


@pytest.mark.parametrize("colour", ["plain", "async"])
class TestRouting:
    @pytest.fixture(autouse=True)
    def routes(self, app: Flask, colour: str) -> None:
        def view(name: Any = None) -> str:
            return f"{request.endpoint} {name!r}"

        async def async_view(name: Any = None) -> str:
            return view(name)

        app.url_map.converters["list"] = ListConverter
        for rule, endpoint in ROUTES.items():
            defaults = {"name": "none"} if rule == "/default/" else None
            app.add_url_rule(rule, endpoint, defaults=defaults)
            app.view_functions[endpoint] = async_view if colour == "async" else view

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/string/a%20b", "string 'a b'"),
            ("/string/%C3%A4", "string 'ä'"),
            ("/int/7", "int 7"),
            ("/int/x", 404),
            ("/float/-1.5", "float -1.5"),
            ("/path/a/b", "path 'a/b'"),
            ("/uuid/12345678123456781234567812345678", 404),
            ("/any/b", "any 'b'"),
            ("/any/c", 404),
            ("/list/a+b", "list ['a', 'b']"),
            ("/default/", "default 'none'"),
            ("/default/x", "default 'x'"),
            ("/default/none", "/default/"),
            ("/slash/", "slash None"),
            ("/slash", "/slash/"),
            ("/slash?q=1", "/slash/?q=1"),
            ("/no-slash", "no-slash None"),
            ("/no-slash/", 404),
            ("//string//x", "/string/x"),
        ],
    )
    async def test_paths(self, app: Flask, path: str, expected: str | int) -> None:
        client = AsyncClient(app)
        response = await client.get(f"http://localhost{path}")
        await client.aclose()
        if isinstance(expected, int):
            assert response.status_code == expected
        elif expected.startswith("/"):
            assert response.status_code == 308
            assert response.headers["Location"] == f"http://localhost{expected}"
        else:
            assert response.text == expected

    def test_methods(self, app: Flask, colour: str) -> None:
        app.add_url_rule("/m", "string", methods=["POST", "put"])
        client = app.test_client()
        statuses = {
            method: client.open("/m", method=method).status_code
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
        }
        assert statuses == {
            "GET": 405, "HEAD": 405, "POST": 200, "PUT": 200, "DELETE": 405, "OPTIONS": 200,
        }  # fmt: skip
        assert set(client.options("/m").allow) == {"POST", "PUT", "OPTIONS"}
        assert set(client.get("/m").allow) == {"POST", "PUT", "OPTIONS"}

    def test_options_by_the_view(self, app: Flask, colour: str) -> None:
        app.add_url_rule("/o", "string", methods=["OPTIONS"])
        assert app.test_client().options("/o").text == "string None"


async def test_subdomains(app: Flask) -> None:
    app = Flask("app_test", static_folder=None, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    app.add_url_rule("/", "main", lambda: "main")
    app.add_url_rule("/", "user", lambda user: user, subdomain="<user>")
    for host, text in {"example.org": "main", "me.example.org": "me"}.items():
        peer = await exchange(app, http_scope(headers=[("host", host)]))
        assert peer.body == text.encode()


async def test_host_matching(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("static")
    app = Flask(
        "app_test", static_folder=tmp_path, static_url_path="/s", host_matching=True,
        static_host="static.example",
    )  # fmt: skip
    app.add_url_rule("/", "one", lambda: "one", host="one.example")
    app.add_url_rule("/", "any", lambda host: host, host="<host>")
    for host, path, text in [
        ("one.example", "/", "one"),
        ("two.example", "/", "two.example"),
        ("static.example", "/s/a.txt", "static"),
    ]:
        peer = await exchange(app, http_scope(path, headers=[("host", host)]))
        assert peer.body == text.encode()


def test_static_host_needs_host_matching(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="host_matching"):
        Flask("app_test", static_host="static.example", static_folder=tmp_path)


@pytest.mark.parametrize(
    ("trusted", "status"), [(None, 200), (["localhost"], 200), (["example.org"], 400)]
)
async def test_trusted_hosts(app: Flask, trusted: list[str] | None, status: int) -> None:
    app.config["TRUSTED_HOSTS"] = trusted
    app.add_url_rule("/", "view", lambda: "data")
    assert (await exchange(app, http_scope())).status == status


def test_rule_that_was_added_by_hand(app: Flask) -> None:
    app.url_map.add(app.url_rule_class("/", endpoint="view"))
    app.view_functions["view"] = lambda: "data"
    assert app.test_client().get("/").text == "data"


def test_redirect_that_loses_a_form_in_debug_mode(app: Flask) -> None:
    with app.test_request_context("/", method="POST") as ctx:
        redirect = RequestRedirect("http://localhost/other")
        redirect.code = 301
        ctx.request.routing_exception = redirect
        with pytest.raises(RequestRedirect):
            app.raise_routing_exception(ctx.request)
        app.debug = True
        with pytest.raises(AssertionError, match="canonical URL"):
            app.raise_routing_exception(ctx.request)


# -- URLs -------------------------------------------------------------------------------------


class TestUrlFor:
    @pytest.fixture(autouse=True)
    def routes(self, app: Flask) -> None:
        def view(**kwargs: Any) -> str:
            return ""

        app.add_url_rule("/", "index", view)
        app.add_url_rule("/user/<name>", "user", view)
        app.add_url_rule("/user", "user", view, methods=["POST"])
        app.add_url_rule("/ws", "ws", view, websocket=True)
        blueprint = Blueprint("bp", __name__, url_prefix="/bp")
        blueprint.add_url_rule("/", "index", view)
        app.register_blueprint(blueprint)

    @pytest.mark.parametrize(
        ("endpoint", "values", "url"),
        [
            ("index", {}, "/"),
            ("index", {"a": 1, "b": "ä b"}, "/?a=1&b=%C3%A4+b"),
            ("index", {"a": [1, 2]}, "/?a=1&a=2"),
            ("index", {"a": None}, "/"),
            ("user", {"name": "a?b c"}, "/user/a%3Fb%20c"),
            ("user", {"name": "x", "_anchor": 'a b/"c"'}, "/user/x#a%20b/%22c%22"),
            ("user", {"_method": "POST"}, "/user"),
            ("index", {"_external": True}, "http://localhost/"),
            ("index", {"_scheme": "https"}, "https://localhost/"),
            ("index", {"_scheme": "https", "_external": True}, "https://localhost/"),
            ("bp.index", {}, "/bp/"),
            (".index", {}, "/"),
            ("ws", {"_external": True}, "ws://localhost/ws"),
        ],
    )
    def test_in_a_request(self, app: Flask, endpoint: str, values: Any, url: str) -> None:
        with app.test_request_context("/"):
            assert app.url_for(endpoint, **values) == url
            assert url_for(endpoint, **values) == url

    def test_relative_to_a_blueprint(self, app: Flask) -> None:
        with app.test_request_context("/bp/"):
            assert app.url_for(".index") == "/bp/"
            assert app.url_for("index") == "/"

    @pytest.mark.parametrize(
        ("values", "url"),
        [
            ({}, "https://example.org/mounted/"),
            ({"_external": False}, "/mounted/"),
            ({"_scheme": "http"}, "http://example.org/mounted/"),
        ],
    )
    @pytest.mark.parametrize("in_context", [False, True])
    def test_outside(self, app: Flask, values: Any, url: str, in_context: bool) -> None:
        app.config.update(
            SERVER_NAME="example.org", APPLICATION_ROOT="/mounted", PREFERRED_URL_SCHEME="https"
        )
        with app.app_context() if in_context else contextlib.nullcontext():
            assert app.url_for("index", **values) == url

    def test_outside_without_a_server_name(self, app: Flask) -> None:
        with pytest.raises(RuntimeError, match="SERVER_NAME"):
            app.url_for("index")

    def test_scheme_of_an_internal_url(self, app: Flask) -> None:
        with app.test_request_context(), pytest.raises(ValueError, match="_external"):
            app.url_for("index", _scheme="https", _external=False)

    def test_no_rule(self, app: Flask) -> None:
        seen: list[Any] = []

        def handle(error: Exception, endpoint: str, values: dict[str, Any]) -> str | None:
            seen.append((endpoint, values))
            return "/handled" if endpoint == "handled" else None

        app.url_build_error_handlers.append(handle)
        with app.test_request_context():
            assert app.url_for("handled", a=1, _anchor="x") == "/handled"
            with pytest.raises(BuildError):
                app.url_for("none")
        assert seen[0] == (
            "handled",
            {"a": 1, "_anchor": "x", "_method": None, "_scheme": None, "_external": False},
        )

    async def test_in_a_websocket(self, app: Flask) -> None:
        @app.websocket("/links")
        async def links() -> Any:
            return f"{url_for('index', _external=True)} {url_for('ws')}", 403

        for scheme, own in {"http": "http", "https": "https"}.items():
            with pytest.raises(WebSocketDenied) as caught:
                async with WebSocketSession(app, "/links", base_url=f"{scheme}://localhost"):
                    pytest.fail("must not be run")
            assert caught.value.body.decode().startswith(f"{own}://localhost/ ")

    async def test_root_path(self, app: Flask) -> None:
        app.add_url_rule("/url", "url", lambda: url_for("index", _external=True))
        peer = await exchange(app, http_scope("/mounted/url", root_path="/mounted"))
        assert peer.body == b"http://localhost/mounted/"


@pytest.mark.parametrize("host_matching", [False, True])
async def test_a_request_class_that_changes_what_it_shows(host_matching: bool) -> None:
    """Routing goes by what the server says, as in Flask: CTFd's requests have another `path`. But
    an initializer may change the environ."""

    class Shown(Request):
        path = property(lambda self: "/shown", lambda self, value: None)
        method = property(lambda self: "PUT", lambda self, value: None)

    class Later(Request):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.path, self.method = "/later", "PUT"

    class Changed(Request):
        def __init__(self, environ: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/changed")
            super().__init__(environ, *args, **kwargs)

    app = Flask("app_test", static_folder=None)
    app.url_map.host_matching = host_matching
    host: Any = {"host": "localhost"} if host_matching else {}
    app.add_url_rule("/a", "a", lambda: f"{request.path} {request.method}", **host)
    app.request_class = Shown
    assert (await exchange(app, http_scope("/a"))).body == b"/shown PUT"
    app.request_class = Later
    assert (await exchange(app, http_scope("/a"))).body == b"/later PUT"
    app.request_class = Changed
    assert (await exchange(app, http_scope("/changed/a"))).body == b"/a GET"


# -- wrapping and mounting --------------------------------------------------------------------


class Header:
    """An ASGI middleware that adds a header to the scope."""

    def __init__(self, app: ASGIApp, name: str, value: str = "1") -> None:
        self.app, self.line = app, (name.encode(), value.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope = {**scope, "headers": [*scope["headers"], self.line]}
        await self.app(scope, receive, send)


class TestMiddleware:
    @pytest.fixture(autouse=True)
    def view(self, app: Flask) -> None:
        app.add_url_rule("/", "view", lambda: request.headers.get("X-Name", "none"))

    def test_add_middleware(self, app: Flask) -> None:
        app.add_middleware(Header, "x-name", value="inner")
        app.add_middleware(Middleware(Header, "x-name", value="outer"))
        assert app.test_client().get("/").text == "outer,inner"
        assert asyncio.run(exchange(app, http_scope())).body == b"outer,inner"

    def test_changes_show_in_the_environ(self, app: Flask) -> None:
        app.add_middleware(Header, "x-name", value="inner")
        app.add_url_rule("/environ", "environ", lambda: request.environ["HTTP_X_NAME"])
        assert app.test_client().get("/environ").text == "inner"
        assert asyncio.run(exchange(app, http_scope("/environ"))).body == b"inner"

    def test_asgi_app_replaced(self, app: Flask) -> None:
        app.asgi_app = Header(app.asgi_app, "x-name")  # type: ignore[method-assign]
        assert app.test_client().get("/").text == "1"

    @pytest.mark.parametrize("how", ["instance", "subclass"])
    async def test_wsgi_app_replaced(self, app: Flask, how: str) -> None:
        """Takes effect under ASGI too, once."""
        calls: list[str] = []

        class Own(Flask):
            def wsgi_app(self, environ: Any, start_response: Any) -> Any:
                calls.append(threading.current_thread().name)
                environ["HTTP_X_NAME"] = "wsgi"
                return super().wsgi_app(environ, start_response)

        if how == "subclass":
            app = Own("app_test", static_folder=None)
            app.add_url_rule("/", "view", lambda: request.headers.get("X-Name", "none"))
        else:
            original = app.wsgi_app

            def wrapped(environ: Any, start_response: Any) -> Any:
                calls.append(threading.current_thread().name)
                environ["HTTP_X_NAME"] = "wsgi"
                return original(environ, start_response)

            app.wsgi_app = wrapped  # type: ignore[method-assign]
        assert (await exchange(app, http_scope())).body == b"wsgi"
        assert calls == ["asyncflask-worker"]
        response = await asyncio.to_thread(app.test_client().get, "/")
        assert response.text == "wsgi"

    async def test_proxy_fix(self, app: Flask) -> None:
        app.add_url_rule("/url", "url", lambda: f"{request.remote_addr} {request.url}")
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
        headers = [
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "example.org"),
        ]
        peer = await exchange(app, http_scope("/url", headers=headers))
        assert peer.body == b"10.0.0.9 https://example.org/url"

    async def test_mounting_with_wsgi_app_replaced(self, app: Flask) -> None:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
        app.mount("/other", PlainTextResponse("other"))
        assert (await exchange(app, http_scope("/other/x"))).body == b"other"


class TestMount:
    @pytest.fixture
    def mounted(self) -> list[str]:
        return []

    @pytest.fixture(autouse=True)
    def routes(self, app: Flask, mounted: list[str]) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(other: Any) -> AsyncIterator[dict[str, Any]]:
            mounted.append("start")
            yield {"other": "state"}
            mounted.append("stop")

        async def view(other: Any) -> PlainTextResponse:
            return PlainTextResponse(f"{other.scope['root_path']} {other.url.path}")

        async def socket(other: WebSocket) -> None:
            await other.accept()
            await other.send_text("hello")
            await other.close()

        self.other = Starlette(
            routes=[Route("/a", view), Route("/view", view), WebSocketRoute("/ws", socket)],
            lifespan=lifespan,
        )
        app.add_url_rule("/view", "view", lambda: "own")
        app.add_url_rule("/other/view", "other_view", lambda: "own")
        app.add_url_rule("/form", "form", lambda: "own", methods=["POST"])

    @pytest.mark.parametrize(
        ("mount", "path", "expected"),
        [
            ("/other", "/other/a", b"/other /other/a"),
            ("/other", "/other/view", b"/other /other/view"),  # before the routes
            ("/other", "/view", b"own"),
            ("/other", "/others", None),
            ("/", "/a", b" /a"),
            ("/", "/view", b"own"),  # after the routes
            ("/", "/form", 405),
            ("/", "/none", 404),
        ],
    )
    async def test_paths(self, app: Flask, mount: str, path: str, expected: Any) -> None:
        app.mount(mount, self.other)
        peer = await exchange(app, http_scope(path))
        if isinstance(expected, bytes):
            assert peer.body == expected
        else:
            assert peer.status == (expected or 404)

    async def test_websocket(self, app: Flask) -> None:
        app.mount("/other", self.other)
        async with WebSocketSession(app, "/other/ws") as session:
            assert await session.receive() == "hello"

    async def test_another_flask(self, app: Flask) -> None:
        inner = Flask("inner", static_folder=None)
        inner.add_url_rule("/", "index", lambda: f"{current_app.name} {url_for('index')}")
        app.mount("/inner", inner)
        assert (await exchange(app, http_scope("/inner/"))).body == b"inner /inner/"
        response = await asyncio.to_thread(app.test_client().get, "/inner/")
        assert response.text == "inner /inner/"

    @pytest.mark.parametrize("door", ["client", "scope"])
    def test_wsgi_middleware_of_another_flask(self, app: Flask, door: str) -> None:
        inner = Flask("inner", static_folder=None)
        inner.add_url_rule("/", "index", lambda: request.environ["own.key"])
        wsgi_app = inner.wsgi_app
        inner.wsgi_app = lambda environ, start_response: wsgi_app(  # type: ignore[method-assign]
            {**environ, "own.key": "value"}, start_response
        )
        app.mount("/inner", inner)
        if door == "client":
            assert app.test_client().get("/inner/").text == "value"
        else:
            assert asyncio.run(exchange(app, http_scope("/inner/"))).body == b"value"

    @pytest.mark.parametrize(
        ("path", "root", "query", "location"),
        [
            ("/other", "", b"", "/other/"),
            ("/other", "", b"a=b%20c", "/other/?a=b%20c"),
            ("/root/other", "/root", b"", "/root/other/"),
            ("/ä ü", "", b"", "/%C3%A4%20%C3%BC/"),
            ("/rest", "", b"", None),  # a route has it
            ("/others", "", b"", None),
        ],
    )
    async def test_without_its_slash(
        self, app: Flask, path: str, root: str, query: bytes, location: str | None
    ) -> None:
        """What is mounted at ``/metrics`` is reached by that, too; by any method."""
        app.add_url_rule("/rest", "rest", lambda: "own")
        for mount in ("/other", "/ä ü", "/rest", "/"):
            app.mount(mount, self.other)
        scope = {**http_scope(path, root_path=root, method="POST"), "query_string": query}
        peer = await exchange(app, scope)
        assert dict(peer.headers).get("location") == location
        assert (peer.status == 307) is (location is not None)

    async def test_websocket_without_its_slash(self, app: Flask) -> None:
        app.mount("/other", self.other)
        with pytest.raises(WebSocketDenied) as denied:
            async with WebSocketSession(app, "/other"):
                pass
        assert denied.value.status_code == 404

    @pytest.mark.parametrize(
        ("hosts", "status"),
        [
            ([b"good.example"], 200),
            ([b"evil.example"], 400),
            ([b"good.example", b"evil.example"], 400),
            ([b"good.example", b"good.example"], 400),
            ([b"a b"], 400),
            ([], 400),
        ],
    )
    @pytest.mark.parametrize("mount", ["/other", "/"])
    async def test_hosts(self, app: Flask, mount: str, hosts: list[bytes], status: int) -> None:
        """A request that the app refuses by its host does not reach what is mounted either."""
        app.config["TRUSTED_HOSTS"] = ["good.example"]
        app.mount(mount, self.other)
        prefix = mount.rstrip("/")
        headers = [(b"host", host) for host in hosts]
        peer = await exchange(app, {**http_scope(f"{prefix}/a"), "headers": headers})
        assert peer.status == status
        if mount == "/other":
            peer = await exchange(app, {**http_scope("/other"), "headers": headers})
            assert peer.status == (307 if status == 200 else status)
        session = WebSocketSession(app, f"{prefix}/ws")
        session.scope["headers"] = headers
        if status == 200:
            async with session:
                assert await session.receive() == "hello"
        else:
            with pytest.raises(WebSocketDenied) as denied:
                async with session:
                    pass
            assert denied.value.status_code == status

    async def test_converter_of_the_app_is_not_called_to_find_out(self, app: Flask) -> None:
        class Guarded(BaseConverter):
            def to_python(self, value: str) -> str:
                return f"{request.endpoint} {value}"

        app.url_map.converters["guarded"] = Guarded
        app.add_url_rule("/guarded/<guarded:a>", "guarded", lambda a: a)
        app.mount("/", self.other)
        assert (await exchange(app, http_scope("/a"))).status == 200

    async def test_lifespan(self, app: Flask, mounted: list[str]) -> None:
        app.mount("/other", self.other)
        async with lifespan(app) as state:
            assert mounted == ["start"]
            assert state == {"other": "state"}
        assert mounted == ["start", "stop"]


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3, 4)])
def test_called_with_other_arguments(app: Flask, args: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match=f"not with {len(args)} arguments"):
        app(*args)


async def test_other_scope_types(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="'rsgi'"):
        await app({"type": "rsgi"}, None, None)


def test_servers_take_it_for_asgi(app: Flask) -> None:
    assert inspect.iscoroutinefunction(app.__call__) or asyncio.iscoroutinefunction(app.__call__)


# -- starting and stopping --------------------------------------------------------------------


class TestServing:
    @pytest.fixture
    def events(self) -> list[str]:
        return []

    @pytest.fixture
    def served(self, events: list[str]) -> Flask:
        """An app with every kind of hook."""

        @contextlib.asynccontextmanager
        async def own_lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
            assert app.name == "app_test"
            events.append("lifespan")
            try:
                yield {"a": 1}
            finally:
                events.append("lifespan end")

        app = Flask("app_test", static_folder=None, lifespan=own_lifespan)

        @app.while_serving
        async def async_while() -> AsyncIterator[None]:
            events.append(f"async while, {has_app_context()}")
            yield
            events.append("async while end")

        @app.while_serving
        def plain_while() -> Iterator[None]:
            events.append(f"plain while {threading.current_thread().name}")
            yield
            events.append(f"plain while end {threading.current_thread().name}")

        @app.before_serving
        async def before() -> None:
            g.value = "kept"
            events.append("before")

        @app.before_serving
        def plain_before() -> None:
            events.append("plain before")

        @app.after_serving
        def after() -> None:
            events.append(f"after {g.value}")

        @app.teardown_appcontext
        async def teardown(error: BaseException | None) -> None:
            events.append("teardown")

        app.add_url_rule("/", "state", lambda: {"state": request.state._state})
        return app

    async def test_order(self, served: Flask, events: list[str]) -> None:
        async with AsyncClient(served) as client:
            assert events == [
                "lifespan",
                "async while, True",
                "plain while asyncflask-worker",
                "before",
                "plain before",
            ]
            assert (await client.get("/")).json() == {"state": {"a": 1}}
            events.clear()
        assert events == [
            "after kept",
            "plain while end asyncflask-worker",
            "async while end",
            "lifespan end",
            "teardown",
        ]

    @pytest.mark.parametrize("colour", ["plain", "async"])
    async def test_start_fails(self, served: Flask, events: list[str], colour: str) -> None:
        def fail() -> None:
            raise LookupError("no database")

        async def async_fail() -> None:
            fail()

        served.before_serving(fail if colour == "plain" else async_fail)
        with pytest.raises(LifespanFailed, match="no database"):
            async with lifespan(served):
                pytest.fail("must not be run")
        # What was started is stopped.
        assert events[-3:] == ["async while end", "lifespan end", "teardown"]

    async def test_stop_fails(self, served: Flask, events: list[str]) -> None:
        @served.after_serving
        def fail() -> None:
            raise LookupError("still open")

        with pytest.raises(LifespanFailed, match="still open"):
            async with lifespan(served):
                pass
        assert events[-3:] == ["async while end", "lifespan end", "teardown"]

    @pytest.mark.parametrize("colour", ["plain", "async"])
    async def test_two_yields(self, app: Flask, colour: str) -> None:
        def plain() -> Iterator[None]:
            yield
            yield

        async def coroutine() -> AsyncIterator[None]:
            yield
            yield

        app.while_serving(plain if colour == "plain" else coroutine)
        with pytest.raises(LifespanFailed, match="yield once"):
            async with lifespan(app):
                pass

    async def test_lifespan_without_a_state(self) -> None:
        @contextlib.asynccontextmanager
        async def own(app: Flask) -> AsyncIterator[None]:
            yield

        async with lifespan(Flask("app_test", static_folder=None, lifespan=own)) as state:
            assert state == {}


class TestBackgroundTasks:
    async def test_after_the_response(self, app: Flask) -> None:
        events: list[str] = []
        done = asyncio.Event()

        def plain(value: str) -> None:
            events.append(f"{value} {current_app.name} {threading.current_thread().name}")

        async def coroutine(value: str) -> None:
            assert not has_request()
            events.append(f"{value} {current_app.name}")
            done.set()

        def has_request() -> bool:
            try:
                return bool(request.path)
            except RuntimeError:
                return False

        @app.get("/")
        async def index() -> str:
            app.add_background_task(plain, "plain")
            app.add_background_task(coroutine, value="async")
            await asyncio.sleep(0)
            assert events == []
            return "data"

        assert (await exchange(app, http_scope())).body == b"data"
        await asyncio.wait_for(done.wait(), 10)
        await asyncio.gather(*app.background_tasks)
        assert sorted(events) == ["async app_test", "plain app_test asyncflask-worker"]
        assert not app.background_tasks

    async def test_without_a_request(self, app: Flask) -> None:
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        app.add_background_task(work)
        await asyncio.wait_for(done.wait(), 10)

    def test_in_plain_code_without_a_request(self, app: Flask) -> None:
        done = threading.Event()
        app.add_background_task(done.set)
        assert done.wait(10)

    async def test_of_a_websocket(self, app: Flask) -> None:
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            app.add_background_task(work)
            await asyncio.wait_for(done.wait(), 10)

        async with WebSocketSession(app, "/") as session:
            with contextlib.suppress(Exception):
                await session.receive()
        assert done.is_set()

    async def test_error_is_logged(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        errors: list[Any] = []
        app.teardown_appcontext(errors.append)

        def fail() -> None:
            raise LookupError

        async with lifespan(app):
            app.add_background_task(fail)
            await asyncio.sleep(0)
        assert "fail failed." in caplog.text
        assert type(errors[0]) is LookupError

    @pytest.mark.parametrize(("timeout", "ends"), [(30, True), (0.01, False)])
    async def test_shutdown(
        self, app: Flask, timeout: float, ends: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended: list[bool] = []
        app.config["SHUTDOWN_TIMEOUT"] = timeout

        async def work() -> None:
            await asyncio.sleep(0.05 if ends else 60)
            ended.append(True)

        async with lifespan(app):
            app.add_background_task(work)
            await asyncio.sleep(0.01)
        assert bool(ended) is ends
        assert (
            "1 background tasks did not end within SHUTDOWN_TIMEOUT" in caplog.text
        ) is not ends


# -- run --------------------------------------------------------------------------------------


class TestRun:
    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []
        monkeypatch.delenv("FLASK_DEBUG", raising=False)
        monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")

        def serve(app: Flask, host: str, port: int, **options: Any) -> None:
            calls.append((host, port, options))

        monkeypatch.setattr("asyncflask.serving.serve", serve)
        return calls

    @pytest.mark.parametrize(
        ("server_name", "kwargs", "host", "port", "options"),
        [
            (None, {}, "127.0.0.1", 5000, {}),
            (None, {"host": "0.0.0.0", "port": 80}, "0.0.0.0", 80, {}),
            ("example.org", {}, "example.org", 5000, {}),
            ("example.org:8000", {}, "example.org", 8000, {}),
            ("example.org:8000", {"port": 0}, "example.org", 0, {}),
            (None, {"debug": True}, "127.0.0.1", 5000, {"reload": True, "debugger": True}),
            (None, {"debug": True, "use_reloader": False}, "127.0.0.1", 5000, {"debugger": True}),
            (
                None,
                {"use_debugger": True, "threaded": True},
                "127.0.0.1",
                5000,
                {"debugger": True},
            ),
        ],
    )
    def test_options(
        self, app: Flask, served: Any, server_name: str | None, kwargs: Any, host: str, port: int,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        app.config["SERVER_NAME"] = server_name
        app.run(**kwargs)
        assert served == [(host, port, {"reload": False, "debugger": False, **options})]

    def test_banner(self, app: Flask, served: Any, capsys: pytest.CaptureFixture[str]) -> None:
        app.run()
        assert "Serving asyncflask app 'app_test'" in capsys.readouterr().out

    def test_under_the_command(
        self, app: Flask, served: Any, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
        app.run()
        assert served == []
        assert "Ignoring a call to 'app.run()'" in capsys.readouterr().out
        monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
        app.run()
        assert capsys.readouterr().out == ""

    def test_dotenv(self, app: Flask, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FLASK_SKIP_DOTENV")
        monkeypatch.setattr(
            "asyncflask.cli.load_dotenv", lambda: monkeypatch.setenv("FLASK_DEBUG", "1")
        )
        app.run()
        assert app.debug

    def test_set_up_may_go_on_afterwards(self, app: Flask, served: Any) -> None:
        app.test_client().get("/")
        app.run()
        app.add_url_rule("/", "view", lambda: "data")
        assert app.test_client().get("/").text == "data"


# -- the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["nothing", "plain", "async", "template"])
def test_app_is_freed_without_the_collector(use: str) -> None:
    app: Any = Flask("app_test")
    app.config.update(SECRET_KEY="test key", PROPAGATE_EXCEPTIONS=False)

    async def coroutine() -> str:
        return "data"

    app.add_url_rule("/plain", "plain", lambda: "data")
    app.add_url_rule("/async", "async", coroutine)
    gc.collect()
    gc.disable()
    try:
        if use == "template":
            app.jinja_env  # noqa: B018
        elif use != "nothing":
            app.test_client().get(f"/{use}")
        ref = weakref.ref(app)
        del app, coroutine
        if use == "template":  # Jinja's environment has cycles of its own
            gc.collect()
        assert ref() is None
    finally:
        gc.enable()


class TestFiles:
    @pytest.fixture
    def app(self, tmp_path: Path) -> Flask:
        for folder in ("static", "instance"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "a.txt").write_text(f"ä {folder}", "utf-8")
        return Flask("app_test", root_path=str(tmp_path), instance_path=str(tmp_path / "instance"))

    async def test_static(self, app: Flask) -> None:
        peer = await exchange(app, http_scope("/static/a.txt"))
        assert peer.body.decode() == "ä static"
        assert (await exchange(app, http_scope("/static/../instance/a.txt"))).status == 404

    def test_no_static_folder(self) -> None:
        app = Flask("app_test", static_folder=None)
        with pytest.raises(RuntimeError, match="static_folder"):
            app.send_static_file("a.txt")

    @pytest.mark.parametrize(
        ("value", "expected"), [(None, None), (60, 60), (timedelta(minutes=1), 60)]
    )
    def test_max_age(self, app: Flask, value: Any, expected: int | None) -> None:
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = value
        assert app.get_send_file_max_age("a.txt") == expected

    @pytest.mark.parametrize(
        ("mode", "encoding", "expected"),
        [("rb", None, "ä static".encode()), ("r", "utf-8", "ä static")],
    )
    def test_open_resource(
        self, app: Flask, mode: str, encoding: str | None, expected: object
    ) -> None:
        with app.open_resource("static/a.txt", mode, encoding) as file:
            assert file.read() == expected
        with pytest.raises(ValueError, match="for reading"):
            app.open_resource("static/a.txt", "w")

    def test_open_instance_resource(self, app: Flask) -> None:
        with app.open_instance_resource("b.txt", "w") as file:
            file.write("ä")
        with app.open_instance_resource("b.txt", "r") as file:
            assert file.read() == "ä"
        with app.open_instance_resource("b.txt") as file:
            assert file.read() == "ä".encode()


def test_shell_context(app: Flask) -> None:
    app.shell_context_processor(lambda: {"name": "value"})
    names = app.make_shell_context()
    assert names["app"] is app
    assert names["name"] == "value"
    assert "g" in names


class TestEnsureSync:
    @staticmethod
    async def coroutine() -> str:
        return threading.current_thread().name

    def test_in_plain_code(self, app: Flask) -> None:
        assert app.ensure_sync(len) is len
        assert app.ensure_sync(self.coroutine)() == "asyncflask-loop"
        assert app.async_to_sync(self.coroutine)() == "asyncflask-loop"

    async def test_on_the_loop(self, app: Flask) -> None:
        assert app.ensure_sync(self.coroutine) is self.coroutine

    async def test_in_a_view_it_is_the_requests_loop(self, app: Flask) -> None:
        """flask-login's: a plain decorator that calls an asynchronous view."""

        def decorator(view: Callable[..., Any]) -> Callable[..., Any]:
            def decorated() -> str:
                return f"decorated {current_app.ensure_sync(view)()}"

            return decorated

        app.add_url_rule("/", "view", decorator(self.coroutine))
        assert (await exchange(app, http_scope())).body == b"decorated MainThread"


def test_steps_for_plain_code(app: Flask) -> None:
    """The public methods with the steps' names, in a context that was pushed by hand."""
    events: list[Any] = []
    app.add_url_rule("/", "view", lambda: "data")
    app.before_request(lambda: events.append("before"))
    app.teardown_request(lambda error: events.append(("request", error)))
    app.teardown_appcontext(lambda error: events.append(("app", error)))

    @app.after_request
    def after(response: Response) -> Response:
        events.append("after")
        return response

    error = LookupError()
    with app.test_request_context("/"):
        assert app.full_dispatch_request().get_data() == b"data"
        assert app.preprocess_request() is None
        assert app.dispatch_request() == "data"
        assert app.finalize_request("other").get_data() == b"other"
        assert isinstance(app.process_response(Response()), Response)
        try:
            raise error
        except LookupError:
            app.do_teardown_request()
            app.do_teardown_appcontext()
        app.do_teardown_request(None)
        with pytest.raises(LookupError):
            app.handle_user_exception(error)
        with pytest.raises(LookupError):
            app.handle_exception(error)
        values = {"own": 1}
        app.update_template_context(values)
        assert values["own"] == 1
        assert events[:6] == ["before", "after", "before", "after", "after", ("request", error)]
        assert events[6:8] == [("app", error), ("request", None)]


async def test_httpx_client_of_its_own(app: Flask) -> None:
    """It is an ASGI app: any client of such takes it."""
    app.add_url_rule("/", "view", lambda: "data")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/")).text == "data"


async def test_stopping() -> None:
    seen: list[bool] = []
    app = Flask("stopping")
    app.after_serving(lambda: seen.append(app.stopping))
    async with lifespan(app):
        seen.append(app.stopping)
    assert seen == [False, True]
    assert not app.stopping


async def test_lifespan_function_has_the_app_context() -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def both_ends(app: Flask) -> AsyncIterator[None]:
        seen.append(current_app.name)
        yield
        seen.append(current_app.name)

    async with lifespan(Flask("with_lifespan", lifespan=both_ends)):
        pass
    assert seen == ["with_lifespan", "with_lifespan"]


class TestFlaskApi:
    """Where Flask 3.1 and 3.2 differ, `Flask.flask_api` decides."""

    @pytest.mark.parametrize(("version", "status"), [((3, 1), 302), ((3, 2), 303)])
    def test_redirect(self, app: Flask, version: tuple[int, int], status: int) -> None:
        app.flask_api = version
        app.add_url_rule("/default", "default", lambda: redirect("/"))
        app.add_url_rule("/chosen", "chosen", lambda: redirect("/", 302))
        client = app.test_client()
        assert client.get("/default").status_code == status
        assert client.get("/chosen").status_code == 302

    @pytest.mark.parametrize(("version", "shared"), [((3, 1), True), ((3, 2), False)])
    def test_app_context_round_a_request(
        self, app: Flask, version: tuple[int, int], shared: bool
    ) -> None:
        app.flask_api = version
        app.add_url_rule("/g", "g", lambda: {"shared": "name" in g})
        with app.app_context():
            g.name = "pushed"
            assert app.test_client().get("/g").json == {"shared": shared}
