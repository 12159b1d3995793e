"""Requests to apps without hooks, and to the same apps with one: clients see no difference."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from starlette.responses import PlainTextResponse
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter, Rule

from asyncflask import (
    Flask,
    Request,
    Response,
    abort,
    after_this_request,
    current_app,
    flash,
    g,
    has_app_context,
    has_request_context,
    make_response,
    request,
    run_sync,
    session,
    stream_with_context,
    url_for,
)
from asyncflask.globals import request_ctx
from support.asgi import Peer, chunks, exchange, http_scope


class Broken(BaseConverter):
    def to_python(self, value: str) -> Any:
        raise LookupError(f"{value!r} of {current_app.name}")


def make_app() -> Flask:
    app = Flask("simple", static_folder=None)
    app.secret_key = "secret"
    app.url_map.converters["broken"] = Broken

    def sync_and_async(path: str, view: Callable[..., Any], **options: Any) -> None:
        async def async_view(**values: Any) -> Any:
            return view(**values)

        app.add_url_rule(f"/sync{path}", f"sync{path}", view, **options)
        app.add_url_rule(f"/async{path}", f"async{path}", async_view, **options)

    def text() -> str:
        return "ä text"

    def values(number: int, name: str) -> Any:
        return {"number": number, "name": name, "page": request.args.get("page", type=int)}

    def echo() -> Any:
        return request.get_json()

    def form() -> Any:
        return [request.form["name"], request.method]

    def unread() -> str:
        return "read nothing"

    def headers() -> Any:
        return "created", 201, {"X-Test": "yes"}

    def response() -> Any:
        answer = make_response("response")
        answer.set_cookie("a", "b")
        return answer

    def no_value() -> None:
        return None

    def fails() -> Any:
        raise ValueError("of the view")

    def aborts() -> Any:
        abort(418)

    def handled() -> Any:
        raise KeyError("handled")

    def bad_key() -> Any:
        return request.form["missing"]

    def unserializable() -> Any:
        return {"a": object()}

    def writes_session() -> str:
        session["a"] = 1
        return "written"

    def reads_session() -> str:
        return str(session.get("a"))

    def flashes() -> str:
        flash("message")
        return "flashed"

    def after() -> str:
        after_this_request(lambda response: Response(b"changed: " + response.data))
        return "after"

    def context() -> str:
        g.a = 1
        return f"{g.a} {request.endpoint} {url_for(str(request.endpoint))} {has_request_context()}"

    def changed_method() -> str:
        request.method = "HEAD"
        return "not to be seen"

    def stream() -> Any:
        def parts() -> Iterator[str]:
            yield "a"
            yield request.path

        return stream_with_context(parts())

    def starlettes() -> Any:
        return PlainTextResponse("Starlette's")

    everywhere: dict[str, Any] = {"methods": ["GET", "POST", "PUT"]}
    for path, view in {
        "/text": text,
        "/unread": unread,
        "/headers": headers,
        "/response": response,
        "/none": no_value,
        "/fails": fails,
        "/aborts": aborts,
        "/handled": handled,
        "/unserializable": unserializable,
        "/writes": writes_session,
        "/reads": reads_session,
        "/flashes": flashes,
        "/after": after,
        "/context": context,
        "/changed-method": changed_method,
        "/stream": stream,
        "/starlette": starlettes,
        "/slash/": text,
    }.items():
        sync_and_async(path, view, **everywhere)
    sync_and_async("/values/<int:number>/<name>", values)
    sync_and_async("/broken/<broken:value>", unread)
    sync_and_async("/defaults/", lambda page: {"page": page}, defaults={"page": 1})
    sync_and_async("/echo", echo, methods=["POST"])
    sync_and_async("/form", form, methods=["POST"])
    sync_and_async("/bad-key", bad_key, methods=["POST"])
    sync_and_async("/own-options", text, methods=["GET", "OPTIONS"])
    sync_and_async("/no-view", text)
    del app.view_functions["sync/no-view"], app.view_functions["async/no-view"]
    app.register_error_handler(KeyError, lambda error: (f"handled {error}", 400))
    return app


JSON = [("content-type", "application/json")]
FORM = [("content-type", "application/x-www-form-urlencoded")]
REQUESTS: list[tuple[str, str, list[tuple[str, str]], bytes | None]] = [
    *(
        (method, path, [], None)
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")
        for path in (
            "/text", "/headers", "/response", "/none", "/fails", "/aborts", "/handled",
            "/unserializable", "/writes", "/reads", "/flashes", "/after", "/context",
            "/changed-method", "/stream", "/starlette", "/slash/", "/slash", "/missing", "//text",
            "/values/7/a?page=2", "/values/x/a", "/broken/1", "/defaults/", "/own-options",
            "/no-view",
        )
    ),
    ("POST", "/echo", JSON, b'{"a": [1, 2]}'),
    ("POST", "/echo", JSON, b"{no json"),
    ("POST", "/echo", JSON, b""),
    ("POST", "/echo", [], b"{}"),
    ("POST", "/form", FORM, b"name=a+b"),
    ("POST", "/form", FORM, b"name=" + 2000 * b"x"),
    ("POST", "/bad-key", FORM, b"a=1"),
    ("POST", "/unread", FORM, b"name=" + 2000 * b"x"),
    ("PUT", "/unread", [], b"data"),
    ("GET", "/text", [("cookie", "session=bad")], None),
    ("GET", "/reads", [("cookie", "session=bad; a=b")], None),
    ("GET", "/text", [("host", "a b")], None),
    ("GET", "/text", [("host", "a"), ("host", "b")], None),
    ("GET", "/text", [("x-a", "1"), ("x-a", "2")], None),
    ("GET", "/text", [("host", "")], None),
]  # fmt: skip


async def ask(
    app: Flask, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None
) -> tuple[Any, ...]:
    if body is not None:
        headers = [*headers, ("content-length", str(len(body)))]
    peer = Peer([] if body is None else chunks(*([body] if body else [])))
    await app(http_scope(path, method, headers), peer.receive, peer.send)
    content = re.sub(rb"0x[0-9a-f]+", b"", peer.body)
    return peer.status, sorted(peer.headers), content


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_hooks_change_nothing_else(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: 1_700_000_000)
    bare, hooked = make_app(), make_app()
    bare.config["MAX_CONTENT_LENGTH"] = hooked.config["MAX_CONTENT_LENGTH"] = 1000
    teardowns: list[Any] = []
    hooked.teardown_request(teardowns.append)
    hooked.after_request(lambda response: response)
    for app in (bare, hooked):
        app.logger.disabled = True
    for method, path, headers, body in REQUESTS:
        slashes = "/" if path.startswith("//") else ""
        path = f"{slashes}/{kind}{path.removeprefix(slashes)}"
        answers = [await ask(app, method, path, headers, body) for app in (bare, hooked)]
        assert answers[0] == answers[1], (method, path)
        assert not has_request_context()
        assert not has_app_context()
    assert len(teardowns) == len(REQUESTS)


async def test_trusted_hosts_of_the_request_class(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    assert (await exchange(app, http_scope("/async/text"))).status == 200
    monkeypatch.setattr(Request, "trusted_hosts", ["example.com"])
    assert (await exchange(app, http_scope("/async/text"))).status == 400


@pytest.mark.parametrize("register", ["teardown_request", "after_request", "teardown_appcontext"])
async def test_hook_that_the_view_registers(register: str) -> None:
    app, calls = make_app(), []
    app._got_first_request = False

    def note(value: Any) -> Any:
        calls.append(value)
        return value

    @app.get("/")
    async def view() -> str:
        app._got_first_request = False  # which forbids it
        getattr(app, register)(note)
        return "text"

    assert (await exchange(app, http_scope())).body == b"text"
    assert len(calls) == 1


async def test_contexts_that_the_view_leaves_behind() -> None:
    app, other = make_app(), Flask("other")

    @app.get("/app")
    async def push_app() -> str:
        other.app_context().push()
        return "text"

    @app.get("/again")
    async def push_again() -> str:
        request_ctx.push()
        return "text"

    @app.get("/popped")
    async def pop() -> str:
        request_ctx.pop()
        return "text"

    app.testing = True
    with pytest.raises(AssertionError, match="Popped wrong app context"):
        await exchange(app, http_scope("/app"))
    assert (await exchange(app, http_scope("/again"))).body == b"text"
    assert (await exchange(app, http_scope("/popped"))).body == b"text"
    assert not has_request_context()


async def test_context_of_its_own() -> None:
    """What a view sets is not seen by the server, nor by the next request."""
    app, variable = make_app(), ContextVar("variable", default=0)

    @app.get("/")
    async def view() -> str:
        variable.set(variable.get() + 1)
        return str(variable.get())

    for _ in range(2):
        assert (await exchange(app, http_scope())).body == b"1"
    assert variable.get() == 0


async def test_view_that_waits() -> None:
    app = make_app()

    @app.get("/<int:number>")
    async def view(number: int) -> str:
        g.number = number
        await asyncio.sleep(0.001 * (number % 3))
        here = threading.current_thread()
        thread = await run_sync(threading.current_thread)
        return f"{number} {g.number} {request.view_args} {here is thread}"

    numbers = range(20)
    peers = await asyncio.gather(*(exchange(app, http_scope(f"/{n}")) for n in numbers))
    for number, peer in zip(numbers, peers, strict=True):
        assert peer.body == f"{number} {number} {{'number': {number}}} False".encode()


async def test_cancelled() -> None:
    app, begun, ended = make_app(), asyncio.Event(), []

    @app.get("/")
    async def view() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(has_request_context())
        return "never"

    task = asyncio.ensure_future(exchange(app, http_scope()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_rule_that_was_added_by_hand() -> None:
    app = make_app()
    app.url_map.add(Rule("/by-hand", endpoint="by-hand"))
    app.view_functions["by-hand"] = lambda: "by hand"
    assert (await exchange(app, http_scope("/by-hand"))).body == b"by hand"


async def test_without_a_root_path() -> None:
    """It is optional in a scope (ASGI specification, HTTP connection scope)."""
    app, scope = make_app(), http_scope("/async/text")
    del scope["root_path"]
    assert (await exchange(app, scope)).status == 200
    assert (await exchange(app, http_scope("/base/async/text", root_path="/base"))).status == 200


async def test_limit_of_a_body() -> None:
    app = make_app()
    app.config["MAX_CONTENT_LENGTH"] = 3
    for announced in ("content-length", "4"), ("transfer-encoding", "chunked"):
        peer = Peer(chunks(b"data"))
        scope = http_scope("/async/echo", "POST", [*JSON, announced])
        await app(scope, peer.receive, peer.send)
        assert peer.status == 413


def test_under_wsgi() -> None:
    """There it is not taken: the environ is the request."""
    client = make_app().test_client()
    for _ in range(2):
        with client:
            assert client.get("/async/text", environ_overrides={"a.b": 1}).status_code == 200
            assert request.environ["a.b"] == 1


async def test_error_that_aborts_matching() -> None:
    """It is not the view's, so no handler of `Exception` gets it, as in Flask."""
    app = make_app()
    app.logger.disabled = True

    @app.errorhandler(LookupError)
    def handle(error: LookupError) -> Any:
        return "not reached", 400

    assert (await exchange(app, http_scope("/async/broken/1"))).status == 500


@pytest.mark.parametrize("seen", [False, True])
async def test_mimetype_that_cannot_be_sent(seen: bool) -> None:
    """The answer is the page of the error alone."""
    app = make_app()
    app.logger.disabled = True
    app.json.mimetype = "a/b\r\nX: y"  # type: ignore[attr-defined]
    if seen:
        app.teardown_request(lambda error: None)

    @app.get("/")
    async def view() -> Any:
        return {"a": "of the view"}

    peer = await exchange(app, http_scope())
    assert peer.status == 500
    assert b"of the view" not in peer.body
    assert dict(peer.headers)["content-length"] == str(len(peer.body))


async def test_blueprints_of_a_request_are_its_own() -> None:
    app = make_app()

    @app.get("/")
    async def view() -> Any:
        request.blueprints.append("added")
        return request.blueprints

    for _ in range(2):
        assert (await exchange(app, http_scope())).body == b"[]\n"


async def test_attribute_error_of_a_property() -> None:
    """It is what the view gets, and the property is not read twice."""
    reads: list[str] = []

    class Own(Request):
        @property
        def form(self) -> Any:
            reads.append("form")
            raise AttributeError("of the property")

    app = make_app()
    app.request_class = Own

    @app.get("/")
    async def view() -> Any:
        with pytest.raises(AttributeError, match="of the property"):
            request.form  # noqa: B018
        with pytest.raises(AttributeError, match="nothing"):
            request.nothing  # type: ignore[attr-defined]  # noqa: B018
        return "text"

    assert (await exchange(app, http_scope())).body == b"text"
    assert reads == ["form"]


async def test_properties_of_a_request_class() -> None:
    class Own(Request):
        @property
        def args(self) -> Any:  # type: ignore[override]
            return {name.lower(): value for name, value in super().args.items()}

        @property
        def form(self) -> Any:
            return {"own": 1}

    app = make_app()
    app.request_class = Own

    @app.post("/")
    async def view() -> Any:
        return [request.args, request.form, request.data.decode()]

    scope = http_scope("/?A=b", "POST", [*FORM, ("content-length", "3")])
    peer = Peer(chunks(b"a=1"))
    await app(scope, peer.receive, peer.send)
    assert peer.body == b'[{"a":"b"},{"own":1},""]\n'


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_form_that_is_too_large_stays_so(kind: str) -> None:
    app = make_app()
    app.config["MAX_FORM_MEMORY_SIZE"] = 10

    def twice() -> Any:
        for _ in range(2):
            with pytest.raises(RequestEntityTooLarge):
                request.form  # noqa: B018
        return "text"

    async def async_twice() -> Any:
        return twice()

    app.post("/")(twice if kind == "sync" else async_twice)
    peer = Peer(chunks(b"a=1&b=345678901234567890"))
    scope = http_scope("/", "POST", [*FORM, ("content-length", "24")])
    await app(scope, peer.receive, peer.send)
    assert peer.body == b"text"


@pytest.mark.parametrize("fails", [False, True])
async def test_step_that_is_replaced_while_the_view_runs(fails: bool) -> None:
    """It counts for the next request: the view is not called again."""
    app, calls = make_app(), []
    app.logger.disabled = True

    @app.get("/")
    async def view() -> Any:
        calls.append("view")
        app.process_response = lambda response: response  # type: ignore[method-assign]
        if fails:
            raise ValueError
        return "created", 201

    assert (await exchange(app, http_scope())).status == (500 if fails else 201)
    assert calls == ["view"]


async def test_task_that_outlives_its_request() -> None:
    """It has threads as any other, which are given back."""
    app, before = make_app(), threading.active_count()
    tasks: list[asyncio.Task[Any]] = []

    async def later() -> None:
        await asyncio.sleep(0.01)
        await run_sync(int)

    @app.get("/")
    async def view() -> str:
        tasks.append(asyncio.ensure_future(later()))
        return "text"

    for _ in range(20):
        await exchange(app, http_scope())
        await tasks[-1]
    assert threading.active_count() <= before + 3


@pytest.mark.parametrize("target", ["*", "foo", "@google.com", "a/b"])
async def test_target_without_a_slash(target: str) -> None:
    app, scope = make_app(), http_scope("/x")
    app.add_url_rule("/<value>", "value", lambda value: value)
    assert (await exchange(app, http_scope("/x"))).status == 200
    scope["path"] = target
    assert (await exchange(app, scope)).status == 400


async def test_thread_of_a_view_finds_the_loop() -> None:
    """From the first request on a loop."""
    app = make_app()

    @app.get("/")
    async def view() -> Any:
        loops: list[Any] = []

        async def note() -> None:
            loops.append(asyncio.get_running_loop())

        thread = threading.Thread(target=app.async_to_sync(note))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)
        return {"same": loops == [asyncio.get_running_loop()]}

    assert (await exchange(app, http_scope())).body == b'{"same":true}\n'


async def test_wrapped_in_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    own, calls = Flask.asgi_app, []

    async def wrapped(self: Flask, *args: Any) -> None:
        calls.append(self)
        await own(self, *args)

    monkeypatch.setattr(Flask, "asgi_app", wrapped)
    app = make_app()
    for _ in range(3):
        await exchange(app, http_scope("/async/text"))
    assert calls == [app] * 3


async def test_value_is_serialized_once() -> None:
    app, defaults = make_app(), []
    app.logger.disabled = True

    def default(value: Any) -> Any:
        defaults.append(value)
        return list(value)

    app.json.default = default  # type: ignore[attr-defined]

    @app.get("/rows")
    async def rows() -> Any:
        current_app.app_context().push()
        return {"rows": (number for number in range(3))}

    @app.get("/bad")
    async def bad() -> Any:
        return {"bad": 1j}

    app.testing = True
    with pytest.raises(AssertionError, match="Popped wrong app context"):
        await exchange(app, http_scope("/rows"))
    app.testing = False
    assert (await exchange(app, http_scope("/bad"))).status == 500
    assert len(defaults) == 2


# -- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", ["own", "replaced"])
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "outcome",
    ["value", "abort", "abort in except", "abort and after", "error", "handled", "404", "405"],
)
async def test_request_is_freed_without_the_garbage_collector(
    outcome: str, kind: str, steps: str
) -> None:
    app = Flask(__name__, static_folder=None)
    if steps == "replaced":
        original = app.full_dispatch_request
        app.full_dispatch_request = lambda: original()  # type: ignore[method-assign]
    app.logger.disabled = True
    app.register_error_handler(LookupError, lambda error: "handled")
    contexts: list[weakref.ref[object]] = []

    @app.before_request
    async def note() -> None:
        contexts.append(weakref.ref(request_ctx._get_current_object()))  # type: ignore[attr-defined]

    @app.after_request
    async def after(response: Response) -> Response:
        if outcome == "abort and after":
            raise ValueError("on purpose")
        return response

    def view() -> str:
        if outcome in ("abort", "abort and after"):
            abort(403)
        if outcome == "abort in except":
            try:
                raise LookupError("on purpose")
            except LookupError:
                abort(403)
        if outcome == "error":
            raise ValueError("on purpose")
        if outcome == "handled":
            raise LookupError("on purpose")
        return "value"

    async def view_async() -> str:
        return view()

    methods = ["POST"] if outcome == "405" else ["GET"]
    app.route("/", methods=methods)(view if kind == "sync" else view_async)
    await exchange(app, http_scope("/"))  # what is made once
    gc.collect()
    gc.disable()
    try:
        peer = await exchange(app, http_scope("/nothing" if outcome == "404" else "/"))
        statuses = {
            "abort": 403,
            "abort in except": 403,
            "abort and after": 500,
            "error": 500,
            "404": 404,
            "405": 405,
        }
        assert peer.status == statuses.get(outcome, 200)
        async with asyncio.timeout(10):
            while contexts[-1]() is not None:  # the loop has it until its next step
                await asyncio.sleep(0.001)
    finally:
        gc.enable()
