"""A client that takes nothing of a response, or sends nothing of a body, for `CLIENT_TIMEOUT` is
given up, and what was held for it comes back. One that is slow is not; and an app may take its
time."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from contract.raw import PARSERS, Connection, Diary, Parser, get, serve, until
from support.servers import Server

MAX_THREADS = 20
TOTAL = 20_000_000
SECONDS = 0.5
SERVERS: dict[str, tuple[Parser, str]] = {
    "h11": ("h11", "stalls:app"),
    "httptools": ("httptools", "stalls:app"),
    "hidden": ("httptools", "stalls:hidden"),
}
"""Parsers, and an app; the last one is behind a middleware that hides the server's connection."""


def served(parser: Parser, diary: Diary, seconds: float, app: str = "stalls:app") -> Server:
    return serve(app, parser, diary=diary, env={"SECONDS": str(seconds)})


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Diary:
    return Diary(tmp_path_factory.mktemp("stalls") / "diary")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, diary: Diary) -> Iterator[Server]:
    parser, app = SERVERS[request.param]
    with served(parser, diary, SECONDS, app) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def unread(clients: ExitStack, server: Server, path: str) -> Connection:
    """Ask for a long response, and read nothing of it."""
    connection = clients.enter_context(Connection(server, small_buffers=True))
    connection.request(path)
    return connection


def stalled(
    clients: ExitStack, server: Server, path: str, *lines: str, body: bytes, size: int = 100_000
) -> Connection:
    """Announce a body of *size* bytes, and send no more than *body*."""
    connection = clients.enter_context(Connection(server))
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {size}", *lines]
    connection.send("\r\n".join([*head, "", ""]).encode() + body)
    return connection


def given_up(server: Server, path: str) -> int:
    """How many clients that asked for *path* were."""
    lines = server.output.splitlines()
    return sum(f"{path!r} " in line and "(CLIENT_TIMEOUT)" in line for line in lines)


def assert_all_threads_are_free(server: Server, clients: ExitStack) -> None:
    """As many requests as there may be threads are under way at once; before that some may be
    refused, as a request gives its thread back after its teardown."""

    def ask(connection: Connection) -> int:
        deadline = time.monotonic() + 30
        while True:
            connection.request("/sync/together")
            status = connection.reply().status
            if status != 503 or time.monotonic() > deadline:
                return status

    waiting = [clients.enter_context(Connection(server)) for _ in range(MAX_THREADS)]
    with ThreadPoolExecutor(MAX_THREADS) as threads:
        assert list(threads.map(ask, waiting)) == [200] * MAX_THREADS


@pytest.mark.limit("CLIENT_TIMEOUT")
def test_threads_come_back_from_unread_streams(
    server: Server, diary: Diary, clients: ExitStack
) -> None:
    for number in range(3 * MAX_THREADS):
        unread(clients, server, f"/stream/sync?id=unread-{number}")
    until(lambda: given_up(server, "/stream/sync") >= MAX_THREADS)
    for number in range(3 * MAX_THREADS):
        diary.wait(f"unread-{number}", "torn down")
    assert_all_threads_are_free(server, clients)


@pytest.mark.limit("CLIENT_TIMEOUT")
def test_threads_come_back_from_stalled_bodies(
    server: Server, diary: Diary, clients: ExitStack
) -> None:
    attackers = [
        stalled(clients, server, f"/body/sync?id=stalled-{number}", body=b"x" * 70_000)
        for number in range(3 * MAX_THREADS)
    ]
    statuses = [connection.reply("POST").status for connection in attackers]
    assert statuses.count(408) >= MAX_THREADS
    assert set(statuses) <= {408, 503}
    for number in range(3 * MAX_THREADS):
        diary.wait(f"stalled-{number}", "torn down")
    assert_all_threads_are_free(server, clients)


MULTIPART = "Content-Type: multipart/form-data; boundary=B"
PART = b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
BODIES = {
    "nothing-sync": ("/body/sync", b"", ()),
    "nothing-async": ("/body/async", b"", ()),
    "small-sync": ("/body/sync", b"x", ()),
    "small-async": ("/body/async", b"x", ()),
    "large-sync": ("/body/sync", b"x" * 2_000_000, ()),
    "large-async": ("/body/async", b"x" * 2_000_000, ()),
    "stream": ("/body/stream", b"x", ()),
    "sync-stream": ("/body/sync/stream", b"x", ()),
    "form": ("/form/async", PART + b"x" * 2_000_000, (MULTIPART,)),
    "within-wsgi": ("/wsgi/body/sync", b"x", ()),
}


def test_body_that_stalls(server: Server, diary: Diary, clients: ExitStack) -> None:
    before = given_up(server, "/body/stream")
    waiting = {
        name: stalled(
            clients,
            server,
            f"{path}?id={name}",
            *lines,
            body=body,
            size=max(60_000, len(body) + 1),
        )
        for name, (path, body, lines) in BODIES.items()
    }
    for name, connection in waiting.items():
        reply = connection.reply("POST")
        assert (name, reply.status, reply.headers["Connection"]) == (name, 408, "close")
        assert connection.read_to_end() == b""
        diary.wait(name, "torn down")
    assert given_up(server, "/body/stream") == before + 1
    line = "POST '/body/sync' sent too little of its body for 0.5 s (CLIENT_TIMEOUT)."
    assert line in server.output


DRIPPING = ["/body/sync", "/body/async", "/body/sync/stream"]


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_body_that_stalls_after_the_response_has_begun(
    server: Server, diary: Diary, clients: ExitStack, size: int
) -> None:
    """The response breaks off, and is no error of the app: see the fixture `server`."""
    path, name = "/body/while/responding", f"responding-{size}"
    connection = stalled(clients, server, f"{path}?id={name}", body=b"x", size=size)
    assert connection.read_until(b"first").startswith(b"HTTP/1.1 200 ")
    assert b"0\r\n\r\n" not in connection.read_to_end()
    diary.wait(name, "closed")
    diary.wait(name, "torn down")


def test_body_that_drips(server: Server, clients: ExitStack) -> None:
    """A byte now and then is not enough where it would hold a thread, or a place on the disk."""
    before = [given_up(server, path) for path in DRIPPING]
    waiting = [stalled(clients, server, path, body=b"x" * 50) for path in DRIPPING]
    while [given_up(server, path) for path in DRIPPING] != [count + 1 for count in before]:
        for connection in waiting:
            with suppress(OSError):
                connection.send(b"x")
        time.sleep(SECONDS / 10)


RESPONSES = [
    "/stream/sync",
    "/stream/async",
    "/stream/starlette",
    "/stream/one",
    "/events/sync",
    "/events/async",
    "/file",
    "/wsgi/stream/sync",
]


def test_response_that_is_not_read(server: Server, diary: Diary, clients: ExitStack) -> None:
    before = {path: given_up(server, path) for path in RESPONSES}
    waiting = {path: unread(clients, server, f"{path}?id={path}") for path in RESPONSES}
    for path in RESPONSES:
        until(lambda path=path: given_up(server, path) == before[path] + 1, path)  # type: ignore[misc]
        diary.wait(path, "closed" if path not in ("/file", "/stream/one") else "torn down")
    assert "GET '/file' took too little of the response for 0.5 s" in server.output
    for path, connection in waiting.items():  # what they get nevertheless does not look complete
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            raise AssertionError(path, connection.reply().status)


def test_app_may_take_its_time(server: Server, clients: ExitStack) -> None:
    """Also while a body is there that nobody reads, and the client is watched."""
    waiting: dict[str, Connection] = {}
    for path in ("/view/sync", "/view/async", "/idle/sync", "/idle/async"):
        waiting[f"GET {path}"] = connection = clients.enter_context(Connection(server))
        connection.request(path)
    for path in ("/idle/sync", "/idle/async", "/view/sync"):
        waiting[f"POST {path}"] = stalled(clients, server, path, body=b"x" * 70_000)
    for _ in range(2):
        before = given_up(server, "/body/async")
        stalled(clients, server, "/body/async", body=b"")
        until(lambda before=before: given_up(server, "/body/async") > before)  # type: ignore[misc]
    get(server, "/go", "POST")
    for name, connection in waiting.items():
        reply = connection.reply(name.partition(" ")[0])
        assert (name, reply.status) == (name, 200)
        assert reply.body in (b"sync", b"async") or b"last" in reply.body
    assert given_up(server, "/idle/sync") == given_up(server, "/idle/async") == 0


@pytest.mark.slow
@pytest.mark.parametrize("parser", PARSERS)
def test_clients_that_are_slow(parser: Parser, tmp_path: Path) -> None:
    """They get all, and are heard to the end, though it takes longer than one that does nothing
    is waited for. A body that is read on the loop may be a feed that has little to say."""
    with served(parser, Diary(tmp_path / "diary"), 2) as server, ExitStack() as clients:
        unread(clients, server, "/events/sync")
        paths = ["/stream/sync", "/stream/async", "/file", "/stream/one"]
        readers = {path: unread(clients, server, path) for path in paths}
        received = dict.fromkeys(paths, 0)
        paths = ["/body/sync", "/body/async"]
        writers = [stalled(clients, server, path, body=b"x" * 70_000) for path in paths]
        feed = stalled(clients, server, "/body/stream", body=b"", size=1_000)
        sent = 70_000
        while not given_up(server, "/events/sync"):
            for path, connection in readers.items():
                received[path] += len(connection.socket.recv(30_000))
            for connection in writers:
                connection.send(b"x" * 50)
            feed.send(b"x")
            sent += 50
            time.sleep(0.05)
        for connection in writers:
            connection.send(b"x" * (100_000 - sent))
            assert connection.reply("POST").body == b"100000"
        feed.send(b"x" * (1_000 - (sent - 70_000) // 50))
        assert feed.reply("POST").body == b"1000"
        for path, connection in readers.items():
            assert received[path] < TOTAL / 2
            while received[path] < TOTAL and (part := connection.socket.recv(1_000_000)):
                received[path] += len(part)
            assert received[path] >= TOTAL
        assert server.output.count("CLIENT_TIMEOUT") == 1
