"""The interactive debugger: `Debugger` around an app, in memory. `test_debugger_browser.py`
tests its pages in a browser, and the command that enables it."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from asyncflask import (
    Flask,
    Response,
    g,
    render_template,
    render_template_string,
    request,
    session,
    stream_with_context,
    websocket,
)
from asyncflask.asgi.client import WebSocketDenied
from asyncflask.async_testing import AsyncClient
from asyncflask.debugger import KEPT_TRACEBACKS, Debugger
from support.asgi import Peer, exchange, http_scope
from support.releases import older

HTML = {"Accept": "text/html,*/*"}
PIN = "123-456-789"
user: ContextVar[str] = ContextVar("user")


class Obj:
    pass


@pytest.fixture(autouse=True)
def pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WERKZEUG_DEBUG_PIN", PIN)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("debugger_test", root_path=str(tmp_path))
    app.debug = True
    app.secret_key = "x"

    @app.get("/async")
    async def asynchronous() -> str:
        g.name = session["name"] = "ada"
        user.set("ada")
        local = 42
        raise LookupError(f"async {local}")

    @app.get("/sync")
    def synchronous() -> str:
        g.name = "bob"
        try:
            return str(1 / 0)
        except ZeroDivisionError as error:
            raise LookupError("sync") from error

    return app


class Page:
    """A page of the debugger, and what its scripts would do."""

    def __init__(self, client: AsyncClient, response: httpx.Response) -> None:
        self.client = client
        self.response = response
        self.text = unescape(response.text)
        self.secret = re.findall(r'SECRET = "(\w*)"', response.text)[0]
        self.frames = re.findall(
            r'<div class="frame" id="frame-(\d+)">.*?"filename">"(.*?)"</cite>', self.text, re.S
        )
        self.files = [Path(file).name for _, file in self.frames]

    async def ask(self, headers: dict[str, str] | None = None, **query: str) -> httpx.Response:
        query = {"__debugger__": "yes", "s": self.secret, **query}
        return await self.client.get("/", params=query, headers=headers)

    async def unlock(self) -> None:
        answer = await self.ask(cmd="pinauth", pin=PIN)
        assert answer.json() == {"auth": True, "exhausted": False}

    async def evaluate(self, code: str, frame: int = -1) -> str:
        """What the console of a frame shows for *code*."""
        answer = await self.ask(cmd=code, frm=self.frames[frame][0])
        assert answer.status_code == 200, answer.text
        text = unescape(re.sub(r"<[^>]*>", "", answer.text))
        assert text.startswith(f">>> {code}\n"), text
        return text.removeprefix(f">>> {code}\n").rstrip("\n")


@asynccontextmanager
async def open_page(app: Flask, path: str, **options: Any) -> AsyncIterator[Page]:
    async with AsyncClient(Debugger(app, **options), base_url="http://localhost") as client:
        response = await client.get(path, headers=HTML)
        assert response.status_code == 500, response.text
        yield Page(client, response)


# -- pages ----------------------------------------------------------------------------------


async def test_page_has_the_frames_of_the_app(app: Flask) -> None:
    async with open_page(app, "/async") as page:
        assert page.response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "LookupError: async 42" in page.text
        assert page.files == ["test_debugger.py"]


async def test_page_speaks_of_no_wsgi_application(app: Flask) -> None:
    async with open_page(app, "/async") as page:
        assert "The debugger caught an exception in your application." in page.text
        assert "WSGI application" not in page.text


async def test_page_has_the_cause(app: Flask) -> None:
    async with open_page(app, "/sync") as page:
        assert page.files == ["test_debugger.py"] * 2
        assert "ZeroDivisionError: division by zero" in page.text
        assert "was the direct cause of the following exception" in page.text


async def test_own_frames_are_folded(app: Flask) -> None:
    async with open_page(app, "/async") as page:
        [link] = re.findall(r'frames of asyncflask itself are folded: <a href="(.*?)">', page.text)
        all_frames = Page(page.client, await page.client.get(f"/{link}"))
        assert "dispatch.py" in all_frames.files
        assert all_frames.files[-1] == "test_debugger.py"
        await page.unlock()
        assert await all_frames.evaluate("local", -1) == "42"


async def test_error_of_the_framework_has_its_last_frame(app: Flask) -> None:
    app.view_functions["synchronous"] = lambda: None  # type: ignore[assignment]
    async with open_page(app, "/sync") as page:
        assert page.files == ["respond.py"]
        assert "did not return a valid response" in page.text


async def test_line_of_a_template_comes_first(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("<p>\n{{ user.name.first }}\n")

    @app.get("/template")
    def template() -> str:
        return render_template("page.html", user=None)

    async with open_page(app, "/template") as page:
        first = page.text.index("page.html</cite>, line 2</a>: <code>{{ user.name.first }}</code>")
        assert first < page.text.index("test_debugger.py")
        await page.unlock()
        line = page.files.index("page.html")
        assert await page.evaluate("user is None, request.path", line) == "(True, '/template')"


async def test_template_that_cannot_be_parsed(app: Flask) -> None:
    app.view_functions["synchronous"] = lambda: render_template_string("a\n{% if %}")
    async with open_page(app, "/sync") as page:
        assert "In the template" in page.text
        assert "TemplateSyntaxError" in page.text


async def test_hook(app: Flask) -> None:
    @app.before_request
    def hook() -> None:
        raise LookupError("hook")

    async with open_page(app, "/sync") as page:
        assert "LookupError: hook" in page.text
        await page.unlock()
        assert await page.evaluate("request.path") == "'/sync'"


async def test_teardown(app: Flask) -> None:
    app.get("/")(lambda: "fine")

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        raise LookupError("teardown")

    async with open_page(app, "/") as page:
        assert "LookupError: teardown" in page.text


async def test_exception_group_has_the_frames_of_all(app: Flask) -> None:
    async def fail(number: int) -> None:
        raise LookupError(f"<{number}>")

    @app.get("/group")
    async def group() -> str:
        async with asyncio.TaskGroup() as tasks:
            for number in 1, 2:
                tasks.create_task(fail(number))
        return "fine"

    async with open_page(app, "/group?a=1") as page:
        titles = re.findall(r'"exc-divider">(.*?)</div>', page.text)
        assert titles == [f"Exception {n} of the group, LookupError: <{n}>:" for n in (1, 2)]
        assert page.files[-2:] == ["test_debugger.py"] * 2
        await page.unlock()
        for frame, number in (-2, 1), (-1, 2):
            shown = await page.evaluate("number, request.args['a']", frame)
            assert shown == f"({number}, '1')"


async def test_several_errors_of_a_teardown(app: Flask) -> None:
    app.get("/")(lambda: "fine")

    def failing(error: BaseException | None) -> None:
        raise LookupError(f"teardown {failing}")

    app.teardown_request(failing)
    app.teardown_request(failing)
    async with open_page(app, "/") as page:
        assert page.text.count("LookupError: teardown") >= 2
        assert "dispatch.py" not in page.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_others_get_text(app: Flask, accept: str) -> None:
    async with AsyncClient(Debugger(app)) as client:
        response = await client.get("/sync", headers={"Accept": accept})
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text.endswith("LookupError: sync\n")
    assert "ZeroDivisionError: division by zero" in response.text
    assert "dispatch.py" not in response.text


async def test_head_has_no_body(app: Flask) -> None:
    peer = await exchange(Debugger(app), http_scope("/async", "HEAD", [("Accept", "text/html")]))
    assert (peer.status, peer.body) == (500, b"")


async def test_log_names_the_request_and_the_page(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncClient(Debugger(app), base_url="http://localhost:8000") as client:
        await client.get("/async")
        [record] = caplog.records
        lines = record.getMessage().splitlines()
        assert lines[0] == "Exception on /async [GET]"
        assert "dispatch.py" not in record.getMessage()
        assert lines[-2] == "LookupError: async 42"
        page = await client.get(lines[-1].removeprefix("In the debugger: "))
        assert lines[-1].startswith("In the debugger: http://localhost:8000/?__debugger__=yes&")
        assert page.status_code == 200
        assert "LookupError: async 42" in page.text


async def test_what_succeeds_is_untouched(app: Flask) -> None:
    app.get("/")(lambda: Response("fine", headers={"X-A": "b"}))
    app.get("/empty", endpoint="empty")(lambda: Response("", 204))
    app.get("/chunks", endpoint="chunks")(lambda: iter(["a", "", "b"]))
    async with AsyncClient(Debugger(app)) as client:
        response = await client.get("/")
        assert (response.text, response.headers["X-A"]) == ("fine", "b")
        assert (await client.get("/empty")).status_code == 204
        assert (await client.get("/chunks")).text == "ab"


# -- consoles -------------------------------------------------------------------------------


async def test_console_has_the_request_of_its_frame(app: Flask) -> None:
    async with open_page(app, "/async?a=1") as page:
        await page.unlock()
        assert await page.evaluate("local") == "42"
        assert await page.evaluate("request.args['a'], g.name") == "('1', 'ada')"
        assert await page.evaluate("session['name'], user.get()") == "('ada', 'ada')"
        assert await page.evaluate("request.get_data()") == "b''"
        assert await page.evaluate("x = local + 1") == ""
        assert await page.evaluate("x") == "43"
        other = Page(page.client, await page.client.get("/sync?a=2", headers=HTML))
        for frame in 0, 1:
            assert await other.evaluate("request.args['a'], g.name", frame) == "('2', 'bob')"
        assert await page.evaluate("request.args['a'], g.name") == "('1', 'ada')"


@pytest.mark.parametrize("code", ["request.form", "request.get_data()", "request.json"])
async def test_console_does_not_wait_for_a_body(app: Flask, code: str) -> None:
    """The request is over, and what has not been read of it is gone."""
    app.add_url_rule("/post", "post", app.view_functions["synchronous"], methods=["POST"])
    debugger = Debugger(app)
    async with AsyncClient(debugger, base_url="http://localhost") as client:
        page = Page(client, await client.post("/post", content=b"x" * 100_000, headers=HTML))
        await page.unlock()
        assert await page.evaluate(code)


async def test_app_below_a_prefix(app: Flask) -> None:
    headers = [("Accept", "text/html"), ("Host", "localhost")]
    debugger = Debugger(app)
    peer = await exchange(debugger, http_scope("/app/async", headers=headers, root_path="/app"))
    [link] = re.findall(r'folded: <a href="(.*?)">', peer.body.decode())
    scope = http_scope(f"/app/async{unescape(link)}", headers=headers, root_path="/app")
    assert (await exchange(debugger, scope)).status == 200
    console = http_scope("/app/console", headers=headers, root_path="/app")
    assert b"Interactive Console" in (await exchange(debugger, console)).body


async def test_console_awaits_on_the_loop_of_the_app(app: Flask) -> None:
    async with open_page(app, "/sync?a=1") as page:
        await page.unlock()
        assert await page.evaluate("import asyncio") == ""
        assert (
            await page.evaluate("await asyncio.sleep(0); loop = asyncio.get_running_loop()") == ""
        )
        assert await page.evaluate("id(loop)") == str(id(asyncio.get_running_loop()))
        assert await page.evaluate("await asyncio.sleep(0, request.args['a'])") == "'1'"
        shown = await page.evaluate("await missing")
        assert "NameError: name 'missing' is not defined" in shown
        assert "asyncflask" not in shown
        cancelled = "asyncio.current_task().cancel(); await asyncio.sleep(0)"
        assert "CancelledError" in await page.evaluate(cancelled)
        assert "Ctrl-C" in await page.evaluate("exit()")
        assert (await page.evaluate("await")).endswith("SyntaxError: invalid syntax")


async def test_console_is_locked_by_a_pin(app: Flask) -> None:
    async with open_page(app, "/async") as page:
        # Without the cookie of the PIN, or the secret of the page, it is a request for the app.
        frame = page.frames[0][0]
        assert (await page.ask(cmd="local", frm=frame)).status_code == 404
        assert (await page.ask(cmd="pinauth", pin=PIN, s="wrong")).status_code == 404
        wrong = await page.ask(cmd="pinauth", pin="1")
        assert wrong.json() == {"auth": False, "exhausted": False}
        assert (await page.ask(cmd="pinauth")).status_code == 400
        await page.unlock()
        assert (await page.ask(cmd="local", frm=frame, s="wrong")).status_code == 404
        assert await page.evaluate("local") == "42"


@pytest.mark.skipif(
    older("werkzeug", 3, 1, 9), reason="Older releases count failures in another attribute."
)
async def test_pin_is_locked_after_too_many_failures(app: Flask) -> None:
    debugger = Debugger(app)
    async with AsyncClient(debugger, base_url="http://localhost") as client:
        page = Page(client, await client.get("/async", headers=HTML))
        debugger._werkzeug._failed_pin_auth.value = 10
        answer = await page.ask(cmd="pinauth", pin=PIN)
        assert answer.json() == {"auth": False, "exhausted": True}


async def test_foreign_host_gets_400(app: Flask) -> None:
    foreign = {"Host": "evil.example"}
    async with open_page(app, "/async") as page:
        await page.unlock()
        frame = page.frames[0][0]
        number = re.findall(r"id=(\d+)", page.text)[0]
        for query in (
            {"cmd": "local", "frm": frame},
            {"cmd": "pinauth", "pin": PIN},
            {"cmd": "printpin"},
            {"cmd": "traceback", "id": number},
        ):
            answer = await page.ask(foreign, **query)
            assert answer.status_code == 400, (query, answer.text)
        assert (await page.client.get("/console", headers=foreign)).status_code == 400
        there = Page(page.client, await page.client.get("/async", headers=foreign | HTML))
        assert there.secret == ""
        assert "EVALEX = false" in there.text


async def test_host_that_is_trusted(app: Flask) -> None:
    async with open_page(app, "/async", trusted_hosts=["dev.example", "[fd00::1]"]) as page:
        await page.unlock()
        query = {"cmd": "local", "frm": page.frames[0][0]}
        for host in "dev.example:5000", "127.0.0.1", "a.localhost", "[::1]:5000", "[fd00::1]:5000":
            assert (await page.ask({"Host": host}, **query)).status_code == 200, host
        for host in "example:5000", "127.0.0.2", "localhost.example", "[::2]", "[::1]example":
            assert (await page.ask({"Host": host}, **query)).status_code == 400, host


async def test_without_consoles(app: Flask) -> None:
    app.get("/console")(lambda: "the app's own")
    async with open_page(app, "/async", evalex=False) as page:
        assert "EVALEX = false" in page.text
        assert (await page.client.get("/console")).text == "the app's own"


async def test_console_of_the_app(app: Flask) -> None:
    app.shell_context_processor(lambda: {"answer": 42})
    async with open_page(app, "/async") as page:
        console = Page(page.client, await page.client.get("/console"))
        console.frames = [("0", "")]
        await page.unlock()
        assert await console.evaluate("answer, app.name, g.get('x')") == (
            "(42, 'debugger_test', None)"
        )
        assert await console.evaluate("import asyncio; await asyncio.sleep(0, 1)") == "1"


async def test_files_of_the_page(app: Flask) -> None:
    async with open_page(app, "/async") as page:
        for name in "style.css", "debugger.js", "console.png":
            assert (await page.ask(cmd="resource", f=name)).status_code == 200
        assert (await page.ask(cmd="resource", f="../tbtools.py")).status_code == 404


async def test_tracebacks_kept_are_bounded(app: Flask) -> None:
    objects: list[weakref.ref[Obj]] = []

    @app.get("/object")
    async def view() -> str:
        local = Obj()
        objects.append(weakref.ref(local))
        raise LookupError

    debugger = Debugger(app)
    async with AsyncClient(debugger, base_url="http://localhost") as client:
        first = Page(client, await client.get("/object", headers=HTML))
        number = re.findall(r"id=(\d+)", first.text)[0]
        for _ in range(KEPT_TRACEBACKS):
            assert (await first.ask(cmd="traceback", id=number)).status_code == 200
            await client.get("/object")
        assert (await first.ask(cmd="traceback", id=number)).status_code == 404
        gc.collect()
        assert sum(ref() is not None for ref in objects) == KEPT_TRACEBACKS
        assert len(debugger._werkzeug.frames) < 20 * KEPT_TRACEBACKS


async def test_without_the_debugger_its_urls_are_the_apps(app: Flask) -> None:
    app.get("/")(lambda: request.args["cmd"])
    async with AsyncClient(app) as client:
        for cmd in "resource", "traceback", "1":
            response = await client.get("/", params={"__debugger__": "yes", "cmd": cmd, "f": "x"})
            assert response.text == cmd
    async with AsyncClient(Debugger(app)) as client:
        response = await client.get("/", params={"__debugger__": "yes", "cmd": "1"})
        assert response.text == "1"


async def test_as_middleware_of_the_app(app: Flask) -> None:
    app.add_middleware(Debugger)
    async with AsyncClient(app, base_url="http://localhost") as client:
        page = Page(client, await client.get("/async", headers=HTML))
        await page.unlock()
        assert await page.evaluate("g.name") == "'ada'"


# -- streams --------------------------------------------------------------------------------


async def test_stream_that_fails_before_its_first_chunk(app: Flask) -> None:
    @app.get("/stream")
    def stream() -> Iterator[str]:
        @stream_with_context
        def generate() -> Iterator[str]:
            g.step = 1
            if g.step:
                raise LookupError("early")
            yield ""

        return generate()

    async with open_page(app, "/stream?a=1") as page:
        assert "LookupError: early" in page.text
        await page.unlock()
        assert await page.evaluate("request.args['a']") == "'1'"


async def test_stream_that_fails_later_is_cut_off(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "chunk"
        raise LookupError("late")

    app.view_functions["stream"] = lambda: Response(stream())
    peer = await exchange(Debugger(app), http_scope("/stream", headers=HTML.items()))
    assert peer.status == 200
    assert peer.body == b"chunk"
    assert peer.sent[-1]["more_body"]
    assert "LookupError: late\nIn the debugger: http://localhost/?" in caplog.text


async def test_event_stream_starts_at_once(app: Flask) -> None:
    """A page waits for the start of an event stream, which may be long before the first event."""
    started = asyncio.Event()

    @app.get("/events")
    async def events() -> Response:
        async def generate() -> AsyncIterator[str]:
            await started.wait()
            yield "data: x\n\n"

        return Response(generate(), mimetype="text/event-stream")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    await Debugger(app)(http_scope("/events"), receive, send)


# -- WebSockets and the lifespan ------------------------------------------------------------


async def test_websocket(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.accept()
        number = await websocket.receive()
        raise LookupError(number)

    async with AsyncClient(Debugger(app), base_url="http://localhost") as client:
        with pytest.raises(Exception, match="1011"):
            async with client.websocket_connect("/ws?a=1") as connection:
                await connection.send("7")
                await connection.receive()
        message = caplog.records[-1].getMessage()
        assert message.startswith("Exception on /ws [WEBSOCKET]\n")
        url = re.findall(r"In the debugger: (http://localhost/.*)", message)[0]
        page = Page(client, await client.get(url))
        await page.unlock()
        assert await page.evaluate("number, request.args['a']") == "('7', '1')"


async def test_websocket_that_fails_before_accept(app: Flask) -> None:
    @app.websocket("/ws")
    def ws() -> None:
        raise LookupError("early")

    async with AsyncClient(Debugger(app)) as client:
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket_connect("/ws"):
                pass
    assert caught.value.status_code == 500
    assert b"LookupError: early" in caught.value.body


@pytest.mark.parametrize(
    ("messages", "closing"),
    [
        (
            [],
            [{"type": "websocket.close", "code": 1011}],
        ),  # refused by a server that knows no more
        (["accept"], [{"type": "websocket.close", "code": 1011}]),
        (["accept", "send"], [{"type": "websocket.close", "code": 1011}]),
        (["accept", "close"], []),
        (["accept", "disconnect"], []),
    ],
)
async def test_websocket_is_closed_once(messages: list[str], closing: list[Any]) -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            if message == "disconnect":
                await receive()
            else:
                await send({"type": f"websocket.{message}"})
        raise LookupError

    peer = Peer([{"type": "websocket.connect"}, {"type": "websocket.disconnect"}])
    scope = {**http_scope("/ws"), "type": "websocket", "scheme": "ws"}
    await Debugger(plain)(scope, peer.receive, peer.send)
    sent = [{"type": f"websocket.{m}"} for m in messages if m != "disconnect"]
    assert peer.sent == [*sent, *closing]


async def test_failure_without_an_exception_is_passed_on() -> None:
    failed = {"type": "lifespan.startup.failed", "message": "why"}

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(failed)

    async with Lifespan(Debugger(plain, serve_failure=True)) as lifespan:
        assert lifespan.started == failed


class Lifespan:
    """The server's end of the lifespan protocol."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Lifespan:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.create_task(self.app(scope, self.inbox.get, self.sent.put))
        self.inbox.put_nowait({"type": "lifespan.startup"})
        self.started = await self.sent.get()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.inbox.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self.task])


async def test_failed_startup_is_served(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.before_serving
    async def start() -> None:
        local = 42
        raise LookupError(local)

    address = "http://127.0.0.1:5000"
    debugger = Debugger(app, address=address, serve_failure=True)
    async with Lifespan(debugger) as lifespan:
        assert lifespan.started == {"type": "lifespan.startup.complete"}
        message = caplog.records[-1].getMessage()
        assert message.startswith("Exception at startup\n")
        async with AsyncClient(debugger, base_url="http://localhost") as client:
            page = Page(client, await client.get("/anything", headers=HTML))
            assert page.response.status_code == 500
            await page.unlock()
            assert await page.evaluate("local") == "42"
            assert await page.evaluate("from asyncflask import current_app as a") == ""
            assert await page.evaluate("a.name") == "'debugger_test'"
            linked = re.findall(r"In the debugger: (.*)", message)[0].removeprefix(address)
            assert (await client.get(linked)).status_code == 200
            with pytest.raises(WebSocketDenied):
                async with client.websocket_connect("/ws"):
                    pass
    assert lifespan.sent.get_nowait() == {"type": "lifespan.shutdown.complete"}


@pytest.mark.parametrize("stage", ["startup", "shutdown"])
async def test_failed_lifespan_ends_the_server_otherwise(app: Flask, stage: str) -> None:
    register = app.before_serving if stage == "startup" else app.after_serving

    @register
    def hook() -> None:
        raise LookupError(stage)

    async with Lifespan(Debugger(app, serve_failure=stage == "shutdown")) as lifespan:
        pass
    assert isinstance(lifespan.task.exception(), LookupError)
    message = lifespan.started if stage == "startup" else lifespan.sent.get_nowait()
    assert message["type"] == f"lifespan.{stage}.failed"
    assert "dispatch.py" not in message["message"]
    assert message["message"].endswith(f"LookupError: {stage}\n")


async def test_app_without_lifespan_or_logger(caplog: pytest.LogCaptureFixture) -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError(scope["type"])

    with pytest.raises(LookupError, match="lifespan"):
        await Debugger(plain)({"type": "lifespan"}, asyncio.Event().wait, print)  # type: ignore[arg-type]
    async with AsyncClient(Debugger(plain), base_url="http://localhost") as client:
        page = Page(client, await client.get("/", headers=HTML))
        await page.unlock()
        assert await page.evaluate("scope['path']") == "'/'"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
