"""`asyncflask.socketio` with its test client: handlers, contexts, sessions, errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import asyncflask
from asyncflask import Flask, current_app, g, request, session, url_for
from asyncflask.asgi.lifespan import lifespan
from asyncflask.async_testing import AsyncClient, WebSocketDenied
from asyncflask.sessions import SessionInterface, SessionMixin
from asyncflask.signals import got_request_exception
from asyncflask.socketio import (
    ConnectionRefusedError,
    Namespace,
    SocketIO,
    SocketIOTestClient,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)
from asyncflask.socketio.server import REQUIRED, check_version


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    return app


@pytest.fixture
def socketio(app: Flask) -> SocketIO:
    return SocketIO(app)


@pytest.fixture
def connect(app: Flask, socketio: SocketIO) -> Callable[..., SocketIOTestClient]:
    """Makes clients."""
    return lambda *args, **kwargs: socketio.test_client(app, *args, **kwargs)


def received(client: SocketIOTestClient, namespace: str | None = None) -> list[Any]:
    return [event["args"] for event in client.get_received(namespace)]


# -- handlers


def test_plain_handler_runs_on_the_tests_thread(socketio: SocketIO, connect: Any) -> None:
    threads = []

    @socketio.on("event")
    def handle(*args: Any) -> Any:
        threads.append(threading.current_thread())
        emit("answer", args)
        return args

    client = connect()
    assert client.emit("event", 1, {"b": b"2"}, callback=True) == [1, {"b": b"2"}]
    assert client.get_received() == [
        {"name": "answer", "args": [1, {"b": b"2"}], "namespace": "/"}
    ]
    assert threads == [threading.current_thread()]


def test_asynchronous_handler(socketio: SocketIO, connect: Any) -> None:
    @socketio.event
    async def event(number: int) -> int:
        await asyncio.sleep(0)
        await emit("answer", number)
        await send("text")
        await send({"a": 1}, json=True)
        return number + 1

    client = connect()
    assert client.emit("event", 1, callback=True) == 2
    assert received(client) == [[1], "text", {"a": 1}]


def test_what_an_asynchronous_handler_does_not_await_begins_nevertheless(
    socketio: SocketIO, connect: Any
) -> None:
    @socketio.event
    async def event() -> None:
        join_room("room")
        emit("first", to="room")
        task = emit("second", to="room")
        assert isinstance(task, asyncio.Task)
        assert await task is None

    client = connect()
    client.emit("event")
    assert [event["name"] for event in client.get_received()] == ["first", "second"]


def test_coroutine_that_a_plain_wrapper_gives(socketio: SocketIO, connect: Any) -> None:
    async def inner() -> str:
        return "inner"

    socketio.on_event("event", lambda: inner())
    assert connect().emit("event", callback=True) == "inner"


@pytest.mark.parametrize("namespace", ["/", "/other"])
def test_stars(app: Flask, namespace: str) -> None:
    socketio = SocketIO(app, namespaces="*")
    seen: list[Any] = []

    def note(*args: Any) -> None:
        seen.append((request.namespace, request.event["message"], *args))  # type: ignore[attr-defined]

    socketio.on("*", namespace="*")(note)
    socketio.on("named", namespace="*")(note)
    client = socketio.test_client(app, namespace)
    client.emit("any", 1, namespace=namespace)
    client.emit("named", 2, namespace=namespace)
    assert seen == [(namespace, "*", "any", 1), (namespace, "named", 2)]


def test_handler_of_connect_may_leave_out_auth(socketio: SocketIO, connect: Any) -> None:
    calls: list[Any] = []

    @socketio.on("connect", namespace="/with")
    def with_auth(auth: Any) -> None:
        calls.append(auth)

    @socketio.on("connect", namespace="/without")
    async def without() -> None:
        calls.append(request.event["args"][1])  # type: ignore[attr-defined]

    assert connect("/with", auth={"a": 1}).is_connected("/with")
    assert connect("/with").is_connected("/with")
    assert connect("/without", auth="b").is_connected("/without")
    assert calls == [{"a": 1}, None, "b"]


def test_type_error_in_the_handler_of_connect_is_its_own(socketio: SocketIO, connect: Any) -> None:
    calls = []

    @socketio.on("connect")
    def handle(auth: Any) -> None:
        calls.append(auth)
        raise TypeError("mine")

    for auth in None, {"a": 1}:
        with pytest.raises(TypeError, match="mine"):
            connect(auth=auth)
    assert calls == [None, {"a": 1}]


@pytest.mark.parametrize("value", [False, ConnectionRefusedError("no")])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_refused(socketio: SocketIO, connect: Any, value: Any, asynchronous: bool) -> None:
    def refuse() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    async def refuse_async() -> Any:
        return refuse()

    socketio.on_event("connect", refuse_async if asynchronous else refuse)
    client = connect()
    assert not client.is_connected()
    with pytest.raises(RuntimeError, match="not connected"):
        client.emit("event")


def test_reason_of_a_disconnect(socketio: SocketIO, connect: Any) -> None:
    reasons: list[Any] = []
    socketio.on_event("disconnect", lambda reason: reasons.append(reason))
    socketio.on_event("disconnect", lambda: reasons.append("none"), namespace="/quiet")
    connect().disconnect()
    connect("/quiet").disconnect("/quiet")

    @socketio.on("leave")
    async def leave() -> None:
        await disconnect()

    client = connect()
    client.emit("leave")
    assert not client.is_connected()
    expected = [socketio.reason.CLIENT_DISCONNECT, "none", socketio.reason.SERVER_DISCONNECT]
    assert reasons == expected


class Both(Namespace):
    async def on_connect(self) -> None:
        await self.emit("hello", room=request.sid)  # type: ignore[attr-defined]

    def on_enter(self, room: str) -> None:
        sid = request.sid  # type: ignore[attr-defined]
        self.enter_room(sid, room)
        self.send("entered", room=room)
        self.leave_room(sid, room)
        self.send("nobody is there", room=room)

    def on_leave(self) -> None:
        self.disconnect(request.sid)  # type: ignore[attr-defined]

    async def on_data(self) -> Any:
        sid = request.sid  # type: ignore[attr-defined]
        await self.save_session(sid, {"a": 1})
        return await self.get_session(sid)

    def on_fail(self) -> None:
        raise LookupError("failed")

    async def error(self, error: Exception) -> str:
        return f"{request.path}: {error}"


def test_class(socketio: SocketIO, connect: Any) -> None:
    socketio.on_namespace(Both("/both"))
    client = connect("/both")
    assert [event["name"] for event in client.get_received("/both")] == ["hello"]
    client.emit("enter", "room", namespace="/both")
    assert received(client, "/both") == ["entered"]
    assert client.emit("data", namespace="/both", callback=True) == {"a": 1}
    assert client.emit("fail", namespace="/both", callback=True) == "/socket.io/: failed"
    assert client.emit("unknown", namespace="/both", callback=True) is None
    client.emit("leave", namespace="/both")
    assert not client.is_connected("/both")
    with pytest.raises(ValueError, match="Not a namespace instance"):
        socketio.on_namespace(object())  # type: ignore[arg-type]


# -- rooms


@pytest.mark.parametrize("asynchronous", [False, True])
def test_rooms(socketio: SocketIO, connect: Any, asynchronous: bool) -> None:
    def on(func: Callable[..., Any]) -> None:
        async def in_turn(*args: Any) -> Any:
            value = func(*args)
            return await value if isinstance(value, asyncio.Task) else value

        socketio.on_event(func.__name__, in_turn if asynchronous else func)

    def enter(room: str) -> Any:
        return join_room(room)

    def leave(room: str) -> Any:
        return leave_room(room)

    def close(room: str) -> Any:
        return close_room(room)

    def where() -> Any:
        return sorted(set(rooms()) - {request.sid})  # type: ignore[attr-defined]

    def others(room: str) -> Any:
        return emit("news", to=room, include_self=False)

    for func in (enter, leave, close, where, others):
        on(func)
    ada, bob = connect(), connect()
    for client in ada, bob:
        client.emit("enter", "tea")
        client.emit("enter", "cake")
    assert ada.emit("where", callback=True) == ["cake", "tea"]
    ada.emit("others", "tea")
    assert (len(ada.get_received()), len(bob.get_received())) == (0, 1)
    bob.emit("leave", "tea")
    ada.emit("others", "tea")
    socketio.emit("news", to="cake", skip_sid=None)
    assert (len(ada.get_received()), len(bob.get_received())) == (1, 1)
    ada.emit("close", "cake")
    assert ada.emit("where", callback=True) == ["tea"]
    assert bob.emit("where", callback=True) == []


# -- from elsewhere


def test_views_send(app: Flask, socketio: SocketIO, connect: Any) -> None:
    @app.get("/sync")
    def sync_view() -> str:
        assert socketio.emit("news", 1, 2) is None
        socketio.send("text", namespace="/other")
        return ""

    @app.get("/async")
    async def async_view() -> str:
        await socketio.emit("news", ["list"])
        await socketio.send({"a": 1}, json=True)
        return ""

    @app.cli.command("tell")
    def tell() -> None:
        socketio.emit("news", "command", broadcast=True)

    socketio.on_event("connect", lambda: None, namespace="/other")
    client, other = connect(), connect("/other")
    app.test_client().get("/sync")
    assert received(client) == [[1, 2]]
    assert received(other, "/other") == ["text"]
    app.test_client().get("/async")
    assert received(client) == [[["list"]], {"a": 1}]
    app.test_cli_runner().invoke(args=["tell"])
    assert received(client) == [["command"]]


def test_functions_outside_of_an_event(app: Flask, socketio: SocketIO) -> None:
    @app.get("/")
    def view() -> str:
        emit("news")
        return ""

    app.testing = True
    with pytest.raises(RuntimeError, match=r"No Socket\.IO event .* write 'socketio\.emit"):
        app.test_client().get("/")
    with pytest.raises(RuntimeError, match="outside of application context"):
        emit("news")
    with Flask("other").app_context(), pytest.raises(RuntimeError, match=r"no Socket\.IO"):
        emit("news")
    with pytest.raises(RuntimeError, match="has no app"):
        SocketIO().emit("news")
    with pytest.raises(RuntimeError, match="No server is running"):
        socketio.stop()


async def test_client_is_for_plain_tests(app: Flask, socketio: SocketIO) -> None:
    with pytest.raises(RuntimeError, match="write 'def test_"):
        socketio.test_client(app)


def test_background_tasks(socketio: SocketIO, connect: Any) -> None:
    done = threading.Event()

    def plain(text: str) -> None:
        with pytest.raises(RuntimeError, match="outside of request context"):
            _ = request.path
        socketio.sleep(0.001)
        socketio.emit("news", text)

    async def asynchronous(text: str) -> None:
        with pytest.raises(RuntimeError, match="outside of request context"):
            _ = request.path
        await socketio.sleep(0.001)
        await socketio.emit("news", text)
        done.set()

    @socketio.on("plain")
    def in_plain() -> None:
        socketio.start_background_task(plain, "thread").join()
        assert socketio.start_background_task(asynchronous, text="task").result(10) is None

    @socketio.on("asynchronous")
    async def in_asynchronous() -> None:
        await socketio.start_background_task(asynchronous, "task")

    client = connect()
    for name, texts in {"plain": ["thread", "task"], "asynchronous": ["task"]}.items():
        client.emit(name)
        assert done.wait(10)
        assert received(client) == [[text] for text in texts]


# -- contexts


def test_contexts_of_an_event(app: Flask, socketio: SocketIO, connect: Any) -> None:
    torn: list[Any] = []
    app.add_url_rule("/page/<name>", "page", lambda name: name)
    app.teardown_request(lambda error: torn.append(("request", type(error))))

    @app.teardown_appcontext
    async def teardown(error: BaseException | None) -> None:
        torn.append(("app", g.get("number")))

    @socketio.on("event")
    def handle(number: int) -> Any:
        assert "number" not in g
        g.number = number
        assert current_app.name == app.name
        return [
            request.path,
            request.args["a"],
            request.headers["X-A"],
            request.method,
            request.environ["PATH_INFO"],
            url_for("page", name="b", _external=True),
            request.get_data(as_text=True),
            request.event,  # type: ignore[attr-defined]
        ]

    client = connect(query_string="?a=1", headers={"X-A": "2"})
    assert torn == []
    for number in 1, 2:
        assert client.emit("event", number, callback=True) == [
            *("/socket.io/", "1", "2", "GET", "/socket.io/", "http://localhost/page/b", ""),
            {"message": "event", "args": [number]},
        ]
        assert torn == [("request", type(None)), ("app", number)]
        torn.clear()


def test_teardown_gets_an_error_that_nobody_took(
    app: Flask, socketio: SocketIO, connect: Any
) -> None:
    errors: list[Any] = []
    sent: list[Any] = []
    app.teardown_appcontext(lambda error: errors.append(repr(error)))

    def note(sender: Any, exception: Exception) -> None:
        sent.append((sender, request.event["message"], repr(exception)))  # type: ignore[attr-defined]

    @socketio.on("event")
    async def event() -> None:
        raise LookupError("failed")

    client = connect()
    with (
        got_request_exception.connected_to(note, app),
        pytest.raises(LookupError, match="failed"),
    ):
        client.emit("event")
    assert errors == ["LookupError('failed')"]
    assert sent == [(app, "event", "LookupError('failed')")]

    socketio.on_error_default(lambda error: f"took {error!r}")
    assert client.emit("event", callback=True) == "took LookupError('failed')"
    assert errors[1:] == ["None"]


def test_error_handlers(socketio: SocketIO, connect: Any) -> None:
    def fail() -> None:
        raise LookupError("failed")

    @socketio.on_error("/a")
    async def of_a(error: Exception) -> str:
        return f"{request.namespace} {error}"  # type: ignore[attr-defined]

    @socketio.on_error_default
    def of_others(error: Exception) -> str:
        raise ValueError("in the handler") from error

    for namespace in "/a", "/b":
        socketio.on_event("fail", fail, namespace=namespace)
    assert connect("/a").emit("fail", callback=True, namespace="/a") == "/a failed"
    with pytest.raises(ValueError, match="in the handler"):
        connect("/b").emit("fail", namespace="/b")
    for register in socketio.on_error(), socketio.on_error_default:
        with pytest.raises(ValueError, match="must be callable"):
            register(1)  # type: ignore[type-var]


def test_add_background_task(app: Flask, socketio: SocketIO, connect: Any) -> None:
    done = threading.Event()

    @socketio.event
    def event() -> None:
        app.add_background_task(done.set)

    connect().emit("event")
    assert done.wait(10)


# -- sessions


def test_session_is_the_clients_own_copy(app: Flask, socketio: SocketIO, connect: Any) -> None:
    @app.get("/login/<name>")
    def login(name: str) -> str:
        session["name"] = name
        return str(session.get("number"))

    @socketio.event
    def count() -> Any:
        session["number"] = session.get("number", 0) + 1
        return dict(session)

    @socketio.on("read", namespace="/other")
    async def read() -> Any:
        return dict(session)

    http = app.test_client()
    http.get("/login/ada")
    ada, also_ada, nobody = (
        connect(flask_test_client=http),
        connect(flask_test_client=http),
        connect(),
    )
    assert ada.emit("count", callback=True) == {"name": "ada", "number": 1}
    assert http.get("/login/bob").text == "None"
    assert ada.emit("count", callback=True) == {"name": "ada", "number": 2}
    assert also_ada.emit("count", callback=True) == {"name": "ada", "number": 1}
    assert nobody.emit("count", callback=True) == {"number": 1}
    assert socketio.server.environ[ada.eio_sid]["saved_session"]["number"] == 2
    assert connect("/other").emit("read", callback=True, namespace="/other") == {}


class Kept(dict[str, Any], SessionMixin):
    pass


class KeptSessions(SessionInterface):
    """In memory, by the header that says who it is; as a plain extension does it."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def open_session(self, app: Any, request: Any) -> Kept:
        return Kept(self.kept.get(request.headers["X-User"], {}))

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        self.kept[request.headers["X-User"]] = session


@pytest.mark.parametrize("asynchronous", [False, True])
def test_session_of_the_app(app: Flask, asynchronous: bool) -> None:
    interface = app.session_interface = KeptSessions()
    socketio = SocketIO(app, manage_session=False)

    def put(key: str) -> None:
        session[key] = True

    async def put_async(key: str) -> None:
        session[key] = True

    socketio.on_event("put", put_async if asynchronous else put)
    clients = {
        name: socketio.test_client(app, headers={"X-User": name}) for name in ("ada", "bob")
    }
    for name, client in clients.items():
        client.emit("put", name)
        client.emit("put", "again")
    assert interface.kept == {name: {name: True, "again": True} for name in clients}


def test_session_without_a_secret_key(app: Flask, socketio: SocketIO, connect: Any) -> None:
    app.secret_key = None

    @socketio.event
    def event() -> Any:
        session["a"] = 1
        return dict(session)

    assert connect().emit("event", callback=True) == {"a": 1}


# -- set-up


def test_delayed_and_repeated_init(app: Flask) -> None:
    socketio = SocketIO(ping_timeout=7)
    socketio.on_event("event", lambda: "here")
    for each in app, Flask("other"), app:
        socketio.init_app(each, path="/elsewhere")
        assert each.extensions["socketio"] is socketio
        assert [mount.path for mount in each._mounts] == ["/elsewhere"]
        assert each._mounts[0].app.server is socketio.server  # type: ignore[attr-defined]
        assert socketio.server.eio.ping_timeout == 7
        assert socketio.test_client(each).emit("event", callback=True) == "here"


@pytest.mark.parametrize("mode", [None, "threading", "eventlet", "gevent", "gevent_uwsgi"])
def test_async_mode_is_without_effect(app: Flask, mode: str | None) -> None:
    assert SocketIO(app, async_mode=mode).async_mode == "asgi"


def test_message_queues(app: Flask) -> None:
    assert not SocketIO(app, message_queue="redis://").server.manager.write_only
    assert SocketIO(message_queue="rediss://").server.manager.write_only
    assert SocketIO(message_queue="redis://").server.manager.channel == "flask-socketio"
    socketio = SocketIO(app, message_queue="redis://", channel="mine")
    assert socketio.server.manager.channel == "mine"
    with pytest.raises(RuntimeError, match="does not support a message queue"):
        socketio.test_client(app)
    with pytest.raises(ValueError, match="Unsupported message queue 'kafka://a'"):
        SocketIO(message_queue="kafka://a")


def test_json_of_the_app(app: Flask) -> None:
    apps = SocketIO(app, json=asyncflask.json)
    apps.on_event("event", lambda: date(2026, 11, 21))
    client = apps.test_client(app)
    assert client.emit("event", callback=True) == "Sat, 21 Nov 2026 00:00:00 GMT"
    other = Flask("other")
    plain = SocketIO(other)
    plain.on_event("event", lambda: date(2026, 11, 21))
    with pytest.raises(TypeError, match="not JSON serializable"):
        plain.test_client(other).emit("event", callback=True)


def test_run(app: Flask, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(app, "run", lambda *args, **kwargs: calls.append((args, kwargs)))
    socketio.run(app)
    socketio.run(
        app,
        "0.0.0.0",
        8000,
        debug=True,
        allow_unsafe_werkzeug=True,
        log_output=False,
        reloader_options={"extra_files": ["a"]},
        certfile="cert",
        keyfile="key",
    )
    assert calls == [
        ((None, None), {"debug": False, "access_log": False, "use_reloader": False}),
        (
            ("0.0.0.0", 8000),
            {
                "debug": True,
                "access_log": False,
                "use_reloader": True,
                "extra_files": ["a"],
                "ssl_context": ("cert", "key"),
            },
        ),
    ]


POLL = "/socket.io/?EIO=4&transport=polling"


@pytest.mark.parametrize(
    ("option", "config", "allowed"),
    [
        (None, None, ["http://localhost"]),
        (None, ["https://a.example"], ["http://localhost", "https://a.example"]),
        ("https://a.example", None, ["https://a.example"]),
        (["https://a.example", "https://b.example"], None, ["https://b.example"]),
        ("*", None, ["https://b.example"]),
        (lambda origin: origin == "https://b.example", None, ["https://b.example"]),
    ],
)
async def test_origins(app: Flask, option: Any, config: Any, allowed: list[str]) -> None:
    SocketIO(app, cors_allowed_origins=option)
    app.config["WEBSOCKET_ALLOWED_ORIGINS"] = config
    async with AsyncClient(app) as client:
        assert (await client.get(POLL)).status_code == 200
        for origin in allowed:
            answer = await client.get(POLL, headers={"Origin": origin})
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
        if option != "*":
            answer = await client.get(POLL, headers={"Origin": "https://c.example"})
            assert answer.status_code == 400


async def test_https_page(app: Flask, socketio: SocketIO) -> None:
    origin = {"Origin": "https://localhost"}
    async with AsyncClient(app, base_url="https://localhost") as client:
        assert (await client.get(POLL, headers=origin)).status_code == 200


async def test_untrusted_host(app: Flask, socketio: SocketIO) -> None:
    app.config["TRUSTED_HOSTS"] = ["localhost"]
    async with AsyncClient(app) as client:
        assert (await client.get(POLL)).status_code == 200
        assert (await client.get(POLL, headers={"Host": "other"})).status_code == 400
        with pytest.raises(WebSocketDenied):
            async with client.websocket_connect(POLL, headers={"Host": "other"}):
                pass


async def test_below_another_app(app: Flask, socketio: SocketIO) -> None:
    outer = Flask("outer")
    outer.mount("/inner", app)
    app.add_url_rule("/page", "page", lambda: "")

    @socketio.on("where")
    async def where() -> Any:
        return [request.root_path, request.path, url_for("page")]

    async with AsyncClient(outer) as client:
        opened = json.loads((await client.get(f"/inner{POLL}")).text[1:])
        url = f"/inner{POLL}&sid={opened['sid']}"
        assert (await client.post(url, content="40")).text == "OK"
        assert (await client.get(url)).text.startswith("40{")
        await client.post(url, content='420["where"]')
        assert (await client.get(url)).text == '430[["/inner","/socket.io/","/inner/page"]]'


async def test_started_and_stopped_again_and_again(app: Flask, socketio: SocketIO) -> None:
    for _ in range(2):
        async with lifespan(app):
            assert socketio.server.loop is asyncio.get_running_loop()
            task = socketio.start_background_task(asyncio.sleep, 3600)
            await socketio.emit("news")
        assert task.cancelled()
        assert socketio.server.loop is None


def test_without_the_extra() -> None:
    code = (
        "import sys\nsys.modules['socketio'] = None\n"
        "try:\n    import asyncflask.socketio\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'asyncflask[socketio]'" in done.stdout, done.stderr


def test_as_flask_socketio() -> None:
    code = (
        "import asyncflask; asyncflask.install_as_flask()\n"
        "import flask_socketio, asyncflask.socketio\n"
        "from flask_socketio import SocketIO, emit\n"
        "from flask_socketio.namespace import Namespace\n"
        "from flask_socketio.test_client import SocketIOTestClient\n"
        "assert flask_socketio is asyncflask.socketio\n"
        "assert Namespace is asyncflask.socketio.Namespace\n"
        "import importlib\n"
        "try:\n    importlib.import_module('flask_socketio.nothing')\n"
        "except ModuleNotFoundError as error:\n    assert error.name == 'flask_socketio.nothing'\n"
        "else:\n    raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("installed", ["5.16.1", "5.11.4", "4.6.1"])
def test_python_socketio_that_is_too_old(installed: str) -> None:
    with pytest.raises(ImportError, match=rf"5\.16\.2 or newer, and {installed} is installed"):
        check_version(installed)


def test_version_is_the_one_of_the_extra() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    needed = tomllib.loads(project.read_text())["project"]["optional-dependencies"]["socketio"]
    assert f"python-socketio>={'.'.join(map(str, REQUIRED))}" in needed
