"""`ProxyFix` around an app served over ASGI: the same result as under WSGI, without a thread."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import JSONResponse
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import run_wsgi_app

from asyncflask import Flask, Response, request, stream_with_context, url_for, websocket
from asyncflask.asgi.body import Body
from asyncflask.asgi.client import WebSocketDenied
from asyncflask.asgi.environ import environ_from_scope
from asyncflask.asgi.proxy import fixed_scope, within
from asyncflask.async_testing import AsyncClient
from support.asgi import Peer, chunks, exchange, http_scope

ENVIRON = (
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "wsgi.url_scheme",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "HTTP_X_FORWARDED_FOR",
    "werkzeug.proxy_fix.orig",
)


def seen() -> dict[str, Any]:
    environ = {key: request.environ.get(key) for key in ENVIRON}
    return {
        "remote_addr": request.remote_addr,
        "access_route": list(request.access_route),
        "scheme": request.scheme,
        "is_secure": request.is_secure,
        "host": request.host,
        "url": request.url,
        "path": request.path,
        "script_root": request.script_root,
        "server": request.server,
        "headers": sorted(line for line in request.headers.items() if "_" not in line[0]),
        "here": url_for("plain"),
        "external": url_for("plain", _external=True),
        # A scope's `root_path` has no slash at its end.
        "environ": {**environ, "SCRIPT_NAME": (environ["SCRIPT_NAME"] or "").rstrip("/")},
    }


async def seen_asynchronously() -> dict[str, Any]:
    return seen()


@pytest.fixture
def app() -> Flask:
    app = Flask("test_proxy", static_folder=None)
    app.add_url_rule("/plain", "plain", seen)
    app.add_url_rule("/async", "async", seen_asynchronously)
    return app


async def by_asgi(app: Flask, scope: Any) -> tuple[int, Any]:
    peer = await exchange(app, scope)
    return peer.status, json.loads(peer.body) if peer.status == 200 else None


async def by_wsgi(app: Flask, scope: Any) -> tuple[int, Any]:
    """The same request, as a WSGI server gives it to the app."""
    environ = environ_from_scope(scope, Body(scope, Peer(chunks()).receive))
    del environ["asyncflask.scope"]

    def run() -> tuple[int, Any]:
        content, status, _ = run_wsgi_app(app, environ, buffered=True)
        code = int(status.partition(" ")[0])
        return code, json.loads(b"".join(content)) if code == 200 else None

    return await asyncio.to_thread(run)


VALUES: dict[str, list[tuple[str, ...]]] = {
    "x-forwarded-for": [
        (),
        ("10.0.0.1",),
        ("6.6.6.6, 10.0.0.1",),
        ("6.6.6.6,10.0.0.2", "10.0.0.1"),
        ("",),
        (" , ",),
        ("unknown",),
        ("2001:db8::1",),
        ('"[2001:db8::1]:123", 10.0.0.1:99',),
        ("ä",),
    ],
    "x-forwarded-proto": [(), ("https",), ("http, https",), ("https", "http"), ("HTTPS",), ("",)],
    "x-forwarded-host": [
        (),
        ("a.example",),
        ("a.example:8443",),
        ("evil.example, a.example",),
        ("[::1]",),
        ("[::1]:81",),
        ("a b",),
        ("a/b",),
    ],
    "x-forwarded-port": [
        (),
        ("8443",),
        ("1, 443",),
        ("80",),
        ("x",),
        ("²",),
        ("",),
        ("9" * 5000,),
    ],
    "x-forwarded-prefix": [  # the last one: UTF-8
        (),
        ("/shop",),
        ("/x, /shop/",),
        ("/",),
        ("/a/b",),
        ("/Ã¤%20",),
    ],
    "host": [("localhost",), ("localhost:5000",), ("[::1]:5000",)],
    # In an environ it could pass for the header with hyphens.
    "x_forwarded_for": [(), ("6.6.6.6",)],
}


def requests(count: int) -> list[tuple[dict[str, int], list[tuple[str, str]], dict[str, Any]]]:
    """Each value of each header by itself, trusted 0 to 3 times, and *count* random mixtures."""
    made: list[Any] = []
    for name, values in VALUES.items():
        for value, trusted in itertools.product(values, range(4)):
            lines = [(name, line) for line in value]
            key = name.replace("x-forwarded-", "x_") if "-" in name else ""
            made.append(({key: trusted} if key.startswith("x_") else {}, lines, {}))
    chance = random.Random(7239)
    for _ in range(count):
        hops = {
            key: chance.choice([0, 1, 1, 1, 2, 3])
            for key in ("x_for", "x_proto", "x_host", "x_port", "x_prefix")
        }
        lines = [(name, v) for name in VALUES for v in chance.choice(VALUES[name])]
        chance.shuffle(lines)
        more = {
            "scheme": chance.choice(["http", "https"]),
            "server": chance.choice([("localhost", 80), ("10.9.9.9", 8000)]),
            "client": chance.choice([("127.0.0.1", 50000), ("10.0.0.7", 0)]),
            "root_path": (root := chance.choice(["", "/mounted"])),
            "path": f"{root}/{chance.choice(['plain', 'async'])}",
        }
        made.append((hops, lines, more))
    return made


async def test_as_under_wsgi(app: Flask) -> None:
    """For every mixture of headers and trusted hops."""
    original = app.wsgi_app
    statuses = []
    for number, (trusted, lines, more) in enumerate(requests(400)):
        app.wsgi_app = ProxyFix(original, **trusted)  # type: ignore[method-assign]
        scope = http_scope(headers=lines, **{"path": "/plain", **more})
        here, there = await by_asgi(app, scope), await by_wsgi(app, scope)
        assert here == there, (number, trusted, lines, more)
        statuses.append(here[0])
    assert {200, 400} == set(statuses)


@pytest.mark.parametrize("client", [None, ("", 0)])
async def test_no_client_address(app: Flask, client: Any) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    headers = [("x-forwarded-for", "10.0.0.1")]
    _, found = await by_asgi(app, http_scope("/plain", headers=headers, client=client))
    assert found["remote_addr"] == "10.0.0.1"


async def test_several_round_each_other(app: Flask) -> None:
    """The outer one first; the inner one sees what it left."""
    app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
        ProxyFix(app.wsgi_app, x_for=2, x_proto=0, x_port=1), x_for=1, x_host=1
    )
    headers = [
        ("x-forwarded-for", "10.0.0.2, 10.0.0.1"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "https"),
    ]
    scope = http_scope("/async", headers=headers)
    status, found = await by_asgi(app, scope)
    assert (status, found) == await by_wsgi(app, scope)
    assert found["remote_addr"] == "10.0.0.2"
    assert found["host"] == "a.example:8443"


async def test_prefix_without_a_slash(app: Flask) -> None:
    """Flask makes relative URLs of it."""
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    scope = http_scope("/plain", headers=[("x-forwarded-prefix", "shop")])
    _, found = await by_asgi(app, scope)
    assert (found["script_root"], found["path"], found["here"]) == (
        "/shop",
        "/plain",
        "/shop/plain",
    )
    status, _ = await by_wsgi(app, scope)
    assert status == 200


async def test_root_of_the_app(app: Flask) -> None:
    app.add_url_rule("/", "root", lambda: request.full_path)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    scope = http_scope("/mounted", root_path="/mounted", headers=[("x-forwarded-prefix", "/")])
    assert (await exchange(app, scope)).status == 200


# -- without a thread


async def test_stays_on_the_loop(app: Flask) -> None:
    threads = []

    @app.get("/thread")
    async def thread() -> str:
        threads.append(threading.current_thread())
        return "ok"

    before = threading.active_count()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert (await exchange(app, http_scope("/thread"))).body == b"ok"
    assert threads == [threading.current_thread()]
    assert threading.active_count() == before


async def test_disconnect(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    found: list[Any] = []

    @app.get("/ask")
    async def ask() -> str:
        found.append(await request.is_disconnected())
        peer.leave()
        await asyncio.sleep(0.01)
        found.append(await request.is_disconnected())
        return request.remote_addr or ""

    @app.get("/wait", cancel_on_disconnect=True)
    async def wait() -> str:
        asyncio.get_running_loop().call_soon(peer.leave)
        try:
            await asyncio.sleep(60)
        finally:
            found.append("cancelled")
        return ""

    peer = Peer(chunks())
    await app(
        http_scope("/ask", headers=[("x-forwarded-for", "10.0.0.1")]), peer.receive, peer.send
    )
    assert (found, peer.body) == ([False, True], b"10.0.0.1")
    peer = Peer(chunks())
    await app(http_scope("/wait"), peer.receive, peer.send)
    assert found == [False, True, "cancelled"]


async def test_streams_both_ways(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    @app.post("/upper", stream=True)
    async def upper() -> Response:
        async def generate() -> AsyncIterator[bytes]:
            async for chunk in request.stream:
                yield chunk.upper()

        return Response(stream_with_context(generate()))

    scope = http_scope("/upper", "POST", [("transfer-encoding", "chunked")])
    peer = await exchange(app, scope, chunks(b"a", b"b"))
    assert peer.body == b"AB"


# -- WebSockets


@pytest.fixture
def talking(app: Flask) -> Flask:
    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send_json(
            url=request.url,
            client=request.remote_addr,
            root=request.script_root,
            link=url_for("plain", _external=True),
            here=url_for("ws"),
        )

    app.wsgi_app = ProxyFix(app.wsgi_app, 1, 1, 1, 1, 1)  # type: ignore[method-assign]
    return app


FORWARDED = {
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "a.example",
    "X-Forwarded-Prefix": "/shop",
}


@pytest.mark.parametrize("proto", ["https", "wss"])
async def test_websocket(talking: Flask, proto: str) -> None:
    headers = {**FORWARDED, "X-Forwarded-Proto": proto, "Origin": "https://a.example"}
    async with (
        AsyncClient(talking) as client,
        client.websocket_connect("/ws", headers=headers) as ws,
    ):
        assert await ws.receive_json() == {
            "url": "wss://a.example/shop/ws",
            "client": "10.0.0.1",
            "root": "/shop",
            "link": "https://a.example/shop/plain",
            "here": "wss://a.example/shop/ws",
        }


@pytest.mark.parametrize(
    ("changed", "origin"),
    [
        ({}, "https://evil.example"),
        ({}, "http://a.example"),
        ({}, "http://localhost"),  # the proxy's own address, as the app would see it without
        ({"X-Forwarded-Proto": "http"}, "https://a.example"),
        ({"X-Forwarded-Host": "a.example, b.example"}, "https://a.example"),  # a spoofed hop
    ],
)
async def test_origin_is_checked_against_what_the_proxy_says(
    talking: Flask, changed: dict[str, str], origin: str
) -> None:
    async with AsyncClient(talking) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket_connect(
                "/ws", headers={**FORWARDED, **changed, "Origin": origin}
            ):
                pass
    assert denied.value.status_code == 403


# -- other middleware


class Marked:
    """Some other middleware, which writes down what it sees."""

    def __init__(self, app: Any, seen: list[Any]) -> None:
        self.app, self.seen = app, seen

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.seen.append((environ["REMOTE_ADDR"], threading.current_thread().name))
        environ["HTTP_X_MARK"] = "seen"
        return self.app(environ, start_response)


@pytest.mark.parametrize("outside", [True, False])
async def test_with_another_middleware(app: Flask, outside: bool) -> None:
    """Outside of it, it is applied before the worker thread; inside, with it."""
    marked: list[Any] = []
    app.add_url_rule("/mark", "mark", lambda: f"{request.headers['X-Mark']} {request.remote_addr}")
    if outside:
        app.wsgi_app = ProxyFix(Marked(app.wsgi_app, marked))  # type: ignore[method-assign]
    else:
        app.wsgi_app = Marked(ProxyFix(app.wsgi_app), marked)  # type: ignore[method-assign]
    headers = [("x-forwarded-for", "10.0.0.1")]
    peer = await exchange(app, http_scope("/mark", headers=headers))
    assert peer.body == b"seen 10.0.0.1"
    assert marked == [("10.0.0.1" if outside else "127.0.0.1", "asyncflask-worker")]


async def test_a_subclass_is_another_middleware(app: Flask) -> None:
    class Own(ProxyFix):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            environ["HTTP_X_FORWARDED_FOR"] = environ.pop("HTTP_X_REAL_IP")
            return super().__call__(environ, start_response)

    app.wsgi_app = Own(app.wsgi_app)  # type: ignore[method-assign]
    _, found = await by_asgi(app, http_scope("/async", headers=[("x-real-ip", "10.0.0.1")]))
    assert found["remote_addr"] == "10.0.0.1"


async def test_round_a_subclass_s_wsgi_app(app: Flask) -> None:
    class Own(Flask):
        def wsgi_app(self, environ: Any, start_response: Any) -> Any:
            environ["REMOTE_ADDR"] += " seen"
            return super().wsgi_app(environ, start_response)

    own = Own("own", static_folder=None)
    own.add_url_rule("/", "client", lambda: request.remote_addr or "")
    own.wsgi_app = ProxyFix(own.wsgi_app)  # type: ignore[method-assign]
    peer = await exchange(own, http_scope("/", headers=[("x-forwarded-for", "10.0.0.1")]))
    assert peer.body == b"10.0.0.1 seen"


async def test_round_another_app(app: Flask) -> None:
    other = Flask("other", static_folder=None)
    other.add_url_rule("/", "client", lambda: f"other {request.remote_addr}")
    app.wsgi_app = ProxyFix(other.wsgi_app)  # type: ignore[method-assign]
    peer = await exchange(app, http_scope("/", headers=[("x-forwarded-for", "10.0.0.1")]))
    assert peer.body == b"other 10.0.0.1"


async def test_mounted_apps_see_it(app: Flask) -> None:
    """As they do under WSGI."""

    async def other(scope: Any, receive: Any, send: Any) -> None:
        found = [scope["client"][0], scope["scheme"], scope["root_path"]]
        await JSONResponse(found)(scope, receive, send)

    inner = Flask("inner", static_folder=None)
    inner.add_url_rule("/", "root", lambda: [request.url, request.environ["SCRIPT_NAME"]])
    app.mount("/other", other)
    app.mount("/inner", inner)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    headers = [(name.lower(), value) for name, value in FORWARDED.items()]
    for path, expected in (
        ("/other/x", ["10.0.0.1", "https", "/shop/other"]),
        ("/inner/", ["https://localhost/shop/inner/", "/shop/inner"]),
    ):
        scope = http_scope(path, headers=headers)
        assert await by_asgi(app, scope) == (200, expected)
        assert await by_wsgi(app, scope) == (200, expected)


# -- the functions themselves


def other_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def test_scope_without_it_is_the_same_one() -> None:
    scope = http_scope()
    assert fixed_scope(scope, other_app) is scope
    assert within(other_app) is other_app


def test_scope_is_not_changed() -> None:
    scope = http_scope(headers=[("x-forwarded-for", "10.0.0.1")])
    before = {**scope, "headers": list(scope["headers"])}
    fixed = fixed_scope(scope, ProxyFix(other_app, x_host=1, x_prefix=1))
    assert scope == before
    assert fixed["client"] == ("10.0.0.1", 50000)
    assert within(ProxyFix(ProxyFix(other_app))) is other_app
