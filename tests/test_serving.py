"""`serving.py`, where necessary with a process of its own on a free port."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from click import UsageError
from starlette.middleware.errors import ServerErrorMiddleware
from watchfiles import Change

from asyncflask import Flask, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="tests by POSIX signals")

SCRIPT = """
import asyncio, os, signal, sys, threading
from asyncflask.serving import serve

if os.path.exists("handles"):  # a thread for which Python waits, until a signal ends it
    ended = threading.Event()
    threading.Thread(target=ended.wait).start()

    def handle(number, frame):
        with open("handled", "a") as file:
            file.write("x" if os.path.exists("stopped") else "-")
        ended.set()

    signal.signal(signal.SIGTERM, handle)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        with open("stopped", "a") as file:
            file.write("x")
        while os.path.exists("held"):
            await asyncio.sleep(0.01)
        return await send({"type": "lifespan.shutdown.complete"})
    if scope["path"] == "/broken":
        raise LookupError("broken on purpose")
    if scope["path"] == "/slow":
        open("slow", "w").close()
        await asyncio.sleep(600)
    body = str(os.getpid()).encode() if scope["path"] == "/pid" else b"VALUE"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

app.config = {"SHUTDOWN_TIMEOUT": 1}

def load():
    if os.path.exists("broken"):
        raise LookupError("broken on purpose")
    return app

if __name__ == "__main__":
    serve(app, port=int(os.environ["PORT"]), OPTIONS)
    open("returned", "w").close()
"""


class Process:
    """A script that serves, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.folder = folder
        self.options = ""
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, value: str) -> None:
        text = SCRIPT.replace("VALUE", value).replace("OPTIONS", self.options)
        (self.folder / "served.py").write_text(text)

    def start(self, *command: str, options: str = "") -> None:
        self.options = options
        self.write("first")
        self.process = subprocess.Popen(
            [sys.executable, *(command or ["served.py"])],
            cwd=self.folder,
            env={**os.environ, "PORT": str(self.port)},
            start_new_session=True,  # a process group, as under a shell
        )
        self.until(lambda: self.get() == "first")

    def get(self, path: str = "/", **headers: str) -> str | None:
        """The body, or `None` if nobody answers."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            return httpx.get(url, headers=headers, timeout=60).text
        except httpx.TransportError:
            return None

    def pids(self, count: int) -> set[int]:
        """Of the workers, when there are this many."""
        seen: set[int] = set()

        def all_seen() -> bool:
            seen.update(map(int, filter(None, [self.get("/pid")])))
            return len(seen) >= count

        self.until(all_seen)
        return seen

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def until_restarted(self, times: int) -> None:
        self.until(lambda: len(self.stopped()) == times and self.get() == "first")

    def stop(self, number: signal.Signals, group: bool = False) -> int:
        """Send a signal, to the process group as Ctrl-C does, and give the exit status."""
        assert self.process is not None
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.wait(60)

    def stopped(self) -> str:
        """An x for each time that the lifespan was ended."""
        file = self.folder / "stopped"
        return file.read_text() if file.exists() else ""

    def port_is_free(self) -> bool:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            return True


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.process is not None and process.process.poll() is None:
        os.killpg(process.process.pid, signal.SIGKILL)
        process.process.wait()


WORKERS = "workers=2, load=load"
WAYS = {"": "x", "reload=True": "x", WORKERS: "xx"}
"""Options, and what is there after the end: an x for each process that served."""


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all_and_frees_the_port(
    process: Process, number: signal.Signals, options: str
) -> None:
    process.start(options=options)
    process.pids(len(WAYS[options]))
    assert process.stop(number) == 0
    assert process.stopped() == WAYS[options]
    assert process.port_is_free()
    # As in Flask, code after `app.run()` is reached by Ctrl-C.
    returns = number == signal.SIGINT or bool(options)
    assert (process.folder / "returned").exists() == returns


@pytest.mark.parametrize(("options", "processes"), [("", 1), ("reload=True", 2), (WORKERS, 3)])
def test_handler_of_the_apps_own(process: Process, options: str, processes: int) -> None:
    """It is called in each process, once that has shut down."""
    (process.folder / "handles").touch()
    process.start(options=options)
    if options == WORKERS:
        process.pids(2)
    assert process.stop(signal.SIGTERM) == 0
    assert (process.folder / "handled").read_text() == "x" * processes


@pytest.mark.parametrize("options", WAYS)
def test_ctrl_c_reaches_parent_and_children(process: Process, options: str) -> None:
    process.start(options=options)
    process.pids(len(WAYS[options]))
    assert process.stop(signal.SIGINT, group=True) == 0
    assert process.stopped() == WAYS[options]
    assert process.port_is_free()


# -- several processes


def test_worker_that_dies_is_replaced(process: Process) -> None:
    process.start(options="workers=2, load=load")
    before = process.pids(2)
    os.kill(min(before), signal.SIGKILL)
    process.until(lambda: process.pids(2) != before)
    assert process.stop(signal.SIGTERM) == 0


def test_worker_that_cannot_load_ends_all(process: Process) -> None:
    (process.folder / "broken").touch()
    process.options = "workers=2, load=load"
    process.write("first")
    result = subprocess.run(
        [sys.executable, "served.py"],
        cwd=process.folder,
        env={**os.environ, "PORT": str(process.port)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 3
    assert "LookupError: broken on purpose" in result.stderr
    assert process.port_is_free()


def loaded() -> Any:
    return nothing


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, "asyncflask --app module run --workers 3"),
        ({"load": loaded, "reload": True}, "'--reload'"),
        ({"load": loaded, "ssl": "adhoc"}, "'--cert"),
        ({"load": lambda: nothing}, "factory"),
    ],
)
def test_workers_are_refused(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(serving.CannotServe, match=hint):
        serving.serve(nothing, workers=3, **options)


def test_number_of_workers_is_not_asked_of_the_environment(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")  # uvicorn's
    process.start()
    assert process.stop(signal.SIGTERM) == 0
    assert process.stopped() == "x"


@pytest.mark.parametrize("as_flask", [False, True])
def test_loader_installs_the_alias_first(as_flask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(serving, "install_as_flask", lambda: called.append("installed"))
    loader = pickle.loads(pickle.dumps(serving._Loader(loaded, False, as_flask)))
    assert called == ["installed"] * as_flask
    assert loader() is nothing


def test_error_in_loading_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> None:
        raise UsageError("no app")

    with pytest.raises(SystemExit) as info:
        serving.load_or_exit(load)
    assert info.value.code == 3
    assert capsys.readouterr().err == "Error: no app\n"


# -- the reloader


@pytest.mark.parametrize("command", [["served.py"], ["-m", "served"], ["-X", "utf8", "served.py"]])
def test_reload(process: Process, command: list[str]) -> None:
    process.start(*command, options="reload=True")
    process.write("second")
    process.until(lambda: process.get() == "second")
    assert process.stopped() == "x"

    (process.folder / "served.py").write_text("def (")
    process.until(lambda: process.get() is None)
    process.write("third")
    process.until(lambda: process.get() == "third")
    assert process.stop(signal.SIGINT) == 0
    assert process.port_is_free()


def test_request_during_a_restart_waits(process: Process) -> None:
    process.start(options="reload=True")
    held = process.folder / "held"
    held.touch()
    process.write("second")
    process.until(lambda: process.stopped() == "x")
    answers: list[str | None] = []
    with socket.create_connection(("127.0.0.1", process.port)) as early:
        early.sendall(b"GET / HTTP/1.0\r\n\r\n")
        late = threading.Thread(target=lambda: answers.append(process.get()))
        late.start()
        held.unlink()
        late.join()
        with early.makefile() as file:
            assert "\nsecond\n" in file.read()
    assert answers == ["second"]
    assert process.stop(signal.SIGTERM) == 0
    assert process.port_is_free()


async def test_shutdown_waits_for_the_request_of_who_has_just_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serving._Server(uvicorn.Config(nothing, log_config=None))
    connections: set[Any] = server.server_state.connections
    answering = Connected()
    answering.cycle = object()
    connections.update([answering, object()])  # a WebSocket has none
    await server._first_requests()

    def receive() -> None:
        connected.cycle = object()

    monkeypatch.setattr(serving, "FIRST_REQUEST_SECONDS", 60)
    connections.add(connected := Connected())
    asyncio.get_running_loop().call_later(0.05, receive)
    await server._first_requests()
    assert connected.cycle is not None

    connections.add(Connected())
    monkeypatch.setattr(serving, "FIRST_REQUEST_SECONDS", 0)
    await server._first_requests()


class Connected:
    """A connection of uvicorn's without a request."""

    cycle: object = None


def test_process_that_has_failed_is_not_waited_for(process: Process) -> None:
    process.start(options="reload=True")
    (process.folder / "served.py").write_text("raise SystemExit(3)")
    process.until(process.port_is_free)
    assert process.get() is None
    process.write("again")
    process.until(lambda: process.get() == "again")
    held = process.folder / "held"  # and from then on as before
    held.touch()
    process.write("second")
    process.until(lambda: process.stopped() == "xx")
    with socket.create_connection(("127.0.0.1", process.port)):
        held.unlink()
        assert process.get() == "second"


def test_code_that_changes_the_port(process: Process) -> None:
    process.start(options="reload=True")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        other = sock.getsockname()[1]
    first, source = process.port, (process.folder / "served.py").read_text()
    (process.folder / "served.py").write_text(
        source.replace('int(os.environ["PORT"])', str(other))
    )
    process.port = other
    process.until(lambda: process.get() == "first")
    process.port = first
    if sys.platform == "linux":  # elsewhere a socket that others have too cannot be shut down
        assert process.get() is None
    process.write("back")
    process.until(lambda: process.get() == "back")


def test_reload_by_extra_file_that_is_replaced(process: Process, tmp_path: Path) -> None:
    extra = tmp_path / "elsewhere" / "settings.toml"
    extra.parent.mkdir()
    extra.write_text("")
    process.folder = tmp_path / "here"
    process.folder.mkdir()
    process.start(options=f"reload=True, extra_files=[{str(extra)!r}]")
    for times in (1, 2):  # as an editor does it: another file under the same name
        new = extra.with_suffix(".new")
        new.write_text("x")
        new.rename(extra)
        process.until_restarted(times)


def test_shutdown_has_a_deadline(process: Process) -> None:
    process.start()
    slow = threading.Thread(target=process.get, args=("/slow",))
    slow.start()
    process.until((process.folder / "slow").exists)
    assert process.stop(signal.SIGTERM) == 0
    slow.join()


@pytest.mark.parametrize(
    ("options", "page"),
    [
        ("debugger=False", None),
        ("debugger=True", "Werkzeug Debugger"),
        (f"debugger=True, {WORKERS}", "Starlette"),  # no console: which process has the frames?
    ],
)
def test_debugger(process: Process, options: str, page: str | None) -> None:
    process.start(options=options)
    body = process.get("/broken", Accept="text/html")
    assert body is not None
    assert ("LookupError: broken on purpose" in body) == (page is not None)
    assert ("Werkzeug Debugger" in body) == (page == "Werkzeug Debugger")
    file = process.get("/?__debugger__=yes&cmd=resource&f=debugger.js")
    assert file is not None
    assert (file == "first") == (page != "Werkzeug Debugger")  # the app's own answer


@pytest.mark.parametrize("options", ["", "reload=True", "reload=True, livereload=False"])
def test_pages_reload_with_the_code(process: Process, options: str) -> None:
    process.start(options=options)
    script = process.get("/__asyncflask__/livereload.js")
    assert script is not None
    assert (script == "first") == (options != "reload=True")


@pytest.mark.parametrize("options", WAYS)
def test_port_in_use_is_an_error(process: Process, options: str) -> None:
    process.options = options
    process.write("first")
    with socket.socket() as other:
        other.bind(("127.0.0.1", process.port))
        other.listen()
        again = subprocess.run(
            [sys.executable, "served.py"],
            cwd=process.folder,
            env={**os.environ, "PORT": str(process.port)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert again.returncode == 1
    assert f"Port {process.port} is in use by another program. Stop it, or" in again.stderr
    assert "Traceback" not in again.stderr
    assert not process.stopped()  # nothing of the app's was begun


def test_address_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        serving.serve(nothing, "192.0.2.1", 0)  # an address for documentation (RFC 5737)
    assert caught.value.code == 1
    assert "The server cannot listen on 192.0.2.1:0: " in capsys.readouterr().err


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not called")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"ws": "nosuch:Protocol"}, "nosuch"),
        ({"ws": "nosuch"}, "nosuch"),
        ({"ssl": ("nosuch.pem", None)}, "No such file"),
        ({"ssl": (__file__, None)}, "set up"),
        pytest.param(
            {"http2": True},
            "HTTP/2",
            marks=pytest.mark.skipif(
                "http2" not in inspect.signature(uvicorn.Config).parameters,
                reason="uvicorn before 0.53 has no HTTP/2",
            ),
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(serving.CannotServe, match=hint):
        serving.serve(nothing, **options)


def test_socket_file_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "socket"
    with serving._without_socket_file(uvicorn.Config(nothing, uds=str(file))):
        file.touch()
    assert not file.exists()


def test_running_loop_is_refused() -> None:
    async def main() -> None:
        serving.serve(nothing)

    with pytest.raises(RuntimeError, match=r"await uvicorn\.Server"):
        asyncio.run(main())


def test_reloader_wants_the_main_thread() -> None:
    errors: list[str] = []

    def run() -> None:
        try:
            serving.serve(nothing, port=0, reload=True)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "use_reloader=False" in errors[0]


def test_options_of_run_simple() -> None:
    options = {
        "use_reloader": True,
        "use_evalex": False,
        "ssl_context": "adhoc",
        "threaded": True,
        "log_level": "info",
    }
    assert serving.from_run_simple(options) == {
        "reload": True,
        "evalex": False,
        "ssl": "adhoc",
        "log_level": "info",
    }


def test_ssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    config = uvicorn.Config(nothing, log_config=None, **serving._ssl_options(context))
    config.load()
    assert config.ssl is context

    files = serving._ssl_options(("cert.pem", "key.pem"))
    assert files == {"ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"}


def test_what_is_watched(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    extra = tmp_path / "data.json"
    extra.touch()
    root = str(tmp_path)
    watched = serving._Watched(
        {root, str(tmp_path / "app"), "/no/such/folder"}, {str(extra)}, ("*/generated/*",)
    )
    assert watched.paths() == [root]

    for path, counts in {
        f"{root}/app/views.py": True,
        f"{root}/app/views.html": False,
        f"{root}/app/__pycache__/views.py": False,
        f"{root}/app/generated/views.py": False,
        str(extra): True,
    }.items():
        assert watched(Change.modified, path) is counts


def test_werkzeug_without_the_debugger_that_is_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "asyncflask.debugger", None)
    app = serving._with_debugger(Flask("app"), "127.0.0.1", 5000, https=False, evalex=True)
    assert isinstance(app, ServerErrorMiddleware)
    assert caplog.messages[0].startswith("The interactive debugger is not available: ")
