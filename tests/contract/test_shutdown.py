"""SIGTERM: finite work finishes, endless work is ended, and the process exits with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from contract.raw import (
    APPS,
    PARSERS,
    SECONDS,
    SOCKETS,
    TESTS,
    Connection,
    Diary,
    Parser,
    Reply,
    get,
    serve,
    until,
)
from support.servers import Process, python_path

RUN = f"from {APPS}.shutdown import app; app.run"
AFTER = ["after sync", "after async", "while ends", "lifespan ends"]


def close_code(connection: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.recv(SECONDS)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("http", "ws"), [*zip(PARSERS, SOCKETS, strict=True)])
def test_stop(http: Parser, ws: str, sig: signal.Signals, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", http, ws=ws, diary=diary) as server, ExitStack() as clients:
        pool = clients.enter_context(ThreadPoolExecutor())

        def ask(path: str) -> Reply:
            return get(server, path, "POST", b"body")

        sockets = [
            clients.enter_context(connect(f"{server.ws_url}{path}", close_timeout=1))
            for path in ("/ws", "/ws/sync", "/ws/deaf", "/ws")
        ]
        streams = {}
        for name in ("stream/sync", "stream/async", "stream/short"):
            streams[name] = clients.enter_context(Connection(server))
            streams[name].request(f"/{name}")
            streams[name].read_until(b"tick\n")
        idle = clients.enter_context(Connection(server))
        idle.request("/nowhere")
        idle.reply()
        slow = [pool.submit(ask, f"/slow/{colour}") for colour in ("sync", "async")]
        for colour in ("sync", "async"):
            diary.wait(colour, "began")

        codes = [pool.submit(close_code, socket) for socket in sockets]
        stopped = threading.Thread(target=server.stop, args=(sig,))
        stopped.start()
        assert [answer.result().body for answer in slow] == [b"body", b"body"]
        assert [code.result() for code in codes] == [1012] * 4
        assert b"end\n" in streams["stream/short"].read_until(b"0\r\n\r\n")
        stopped.join()
        assert server.stop() == 0
        for name in streams:
            assert diary.of(name) == ["ended"], name
        assert diary.of("app") == ["lifespan begins", "while begins", "before", *AFTER]
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize("http", PARSERS)
def test_late(http: Parser, tmp_path: Path) -> None:
    """A request is not cut off, whatever it takes; a stream that it begins is."""
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", http, diary=diary) as server, ExitStack() as clients:
        pool = clients.enter_context(ThreadPoolExecutor())
        long = pool.submit(get, server, "/long", "POST", b"body")
        diary.wait("long", "began")
        late = clients.enter_context(Connection(server))
        late.request("/stream/late", "POST")
        diary.wait("stream/late", "began")
        assert server.stop() == 0, server.output
        assert long.result().body == b"done"
        assert diary.of("app")[-4:] == AFTER


@pytest.mark.parametrize("kind", ["told", "told/sync"])
def test_stream_that_is_told(kind: str, tmp_path: Path) -> None:
    """It has its own end, and the process need not wait for SHUTDOWN_TIMEOUT."""
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", diary=diary) as server, Connection(server) as stream:
        stream.request(f"/stream/{kind}")
        stream.read_until(b"tick\n")
        assert server.stop() == 0, server.output
        assert stream.read_to_end().endswith(b"end\n\r\n0\r\n\r\n")
        assert diary.of(f"stream/{kind}") == ["ended"]


BLOCKING = ["/stream/blocks/sync", "/stream/blocks/async", "/ws/blocks"]


@pytest.mark.parametrize("http", PARSERS)
def test_plain_code_that_blocks(http: Parser, tmp_path: Path) -> None:
    """A thread cannot be interrupted: in what lasts as long as its client, it is left behind."""
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", http, diary=diary) as server, ExitStack() as clients:
        for path in BLOCKING[:2]:
            stream = clients.enter_context(Connection(server))
            stream.request(path)
            stream.read_until(b"tick\n")
        clients.enter_context(connect(f"{server.ws_url}{BLOCKING[2]}", close_timeout=1))
        assert server.stop() == 0, server.output
        assert diary.of("app")[-4:] == AFTER
        for path in (BLOCKING[0], BLOCKING[2]):
            assert f"Sync code of {path} still blocks" in server.output
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize("path", BLOCKING)
def test_plain_code_that_blocks_under_run(path: str, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    command = [sys.executable, "-c", f"{RUN}(port={{port}})"]
    env = {**diary.env, **python_path(TESTS)}
    with Process(command, env=env) as server, ExitStack() as clients:
        if path.startswith("/ws"):
            clients.enter_context(connect(f"{server.ws_url}{path}", close_timeout=1))
        else:
            stream = clients.enter_context(Connection(server))
            stream.request(path)
            stream.read_until(b"tick\n")
        assert server.stop() == 0, server.output
        assert diary.of("app")[-4:] == AFTER


STUCK = {
    "run": ["asyncflask", "--app", f"{APPS}.shutdown:stuck", "run"],
    "uvicorn": ["uvicorn", f"{APPS}.shutdown:stuck", "--timeout-graceful-shutdown", "1"],
}


@pytest.mark.parametrize("command", STUCK.values(), ids=STUCK)
def test_views_that_never_end(command: list[str], tmp_path: Path) -> None:
    """Nor does the one that waits for its turn; the server gives them up, and the app ends."""
    diary = Diary(tmp_path / "diary")
    command = [sys.executable, "-m", *command, "--port", "{port}"]
    with Process(command, env=diary.env, cwd=TESTS) as server, ExitStack() as clients:
        for name in ("one", "two"):
            client = clients.enter_context(Connection(server))
            client.request(f"/{name}")
        until(lambda: diary.of("one") + diary.of("two") == ["began"])
        assert server.stop() == 0, server.output
        assert diary.of("app") == ["lifespan begins", "after sync", "lifespan ends"]


@pytest.mark.parametrize("command", STUCK.values(), ids=STUCK)
def test_background_task_that_never_ends(command: list[str], tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    command = [sys.executable, "-m", *command, "--port", "{port}"]
    with Process(command, env=diary.env, cwd=TESTS) as server:
        assert get(server, "/background").status == 200
        diary.wait("background", "began")
        assert server.stop() == 0, server.output
        assert diary.of("app") == ["lifespan begins", "after sync", "lifespan ends"]
        assert "work still blocks after SHUTDOWN_TIMEOUT and was abandoned" in server.output


def test_stop_during_a_handshake(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", diary=diary) as server, Connection(server) as connection:
        connection.request(
            "/ws/handshake",
            "GET",
            b"",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        diary.wait("handshake", "began")
        assert server.stop() == 0, server.output
        assert diary.of("app")[-4:] == AFTER


@pytest.mark.parametrize("http", PARSERS)
@pytest.mark.parametrize("size", [100, 5_000_000])
@pytest.mark.parametrize("path", ["/slow/sync", "/slow/async"])
def test_client_that_keeps_its_body_back(
    path: str, size: int, http: Parser, tmp_path: Path
) -> None:
    """It gets a 503, and holds nothing up, though uvicorn has no limit of its own here."""
    diary = Diary(tmp_path / "diary")
    with serve("shutdown:app", http, diary=diary) as server, Connection(server) as stalled:
        stalled.request(path, "POST", b"", f"Content-Length: {size}", "Expect: 100-continue")
        stalled.read_until(b"100 Continue\r\n\r\n")  # it is waited for
        stalled.send(b"some")
        assert server.stop() == 0, server.output
        assert stalled.reply().status == 503
        assert diary.of("app")[-4:] == AFTER
        assert "Traceback" not in server.output, server.output


def test_server_that_stops_sooner(tmp_path: Path) -> None:
    """uvicorn's own limit cancels the tasks; clean-up and exit code are the same."""
    diary = Diary(tmp_path / "diary")
    args = "--timeout-graceful-shutdown", "1"
    with (
        serve("shutdown:app", "httptools", *args, diary=diary) as server,
        Connection(server) as stream,
        Connection(server) as long,
    ):
        stream.request("/stream/async")
        stream.read_until(b"tick\n")
        long.request("/long", "POST", b"body")
        diary.wait("long", "began")
        assert server.stop() == 0, server.output
        assert diary.of("stream/async") == ["ended"]
        assert diary.of("app")[-4:] == AFTER


def test_that_fails_to_start(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    result = subprocess.run(
        [sys.executable, "-m", "uvicorn", f"{APPS}.shutdown:broken", "--port", "0"],
        cwd=TESTS,
        env={**os.environ, **diary.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=90,
        text=True,
        check=False,
    )
    assert result.returncode not in (0, -signal.SIGTERM)
    assert "LookupError: no database" in result.stdout
    assert "in fail\n" in result.stdout
    assert diary.of("broken") == []
