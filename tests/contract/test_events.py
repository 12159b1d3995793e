"""Event streams over real connections: they end with their client and with the server, are kept
alive, and delay nobody."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from asyncflask.asgi.events import EventParser, ServerSentEvent
from contract.raw import PARSERS, Connection, Diary, Parser, exchange, get, serve, until
from contract.test_streams import Site, resident, until_full

KINDS = ["sync", "async", "sync-from-async", "sync-context", "async-context"]
_numbers = count()


@pytest.fixture(scope="module", params=PARSERS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    parser: Parser = request.param
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("events:app", parser, diary=diary) as server:
        yield Site(server, diary)


def events_in(body: bytes) -> list[ServerSentEvent]:
    return list(EventParser().feed(body))


def unchunked(data: bytes) -> bytes:
    return re.sub(rb"(?:\A|\r\n)[0-9a-f]+\r\n", b"", data).removesuffix(b"\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_ends_with_its_client(site: Site, kind: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}"))
        connection.read_until(b"data: tick\n\n")
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async", "async-context"])
def test_that_never_waits(site: Site, kind: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}?pause=0"))
        left = threading.Event()

        def read() -> None:
            while not left.is_set():
                connection.read_until(b"data: tick\n\n")

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(3):
                assert get(site.server, "/produced/nobody").body == b"0"
        finally:
            left.set()
            reader.join()
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_that_ends_while_it_waits(site: Site, kind: str) -> None:
    """The sync one when its step has ended: a thread cannot be interrupted."""
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}/quiet"))
        connection.read_until(b"data: tick\n\n")
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async", "sync-context"])
@pytest.mark.parametrize("keep_alive", ["0", "0.01"])
def test_slow_reader(site: Site, kind: str, keep_alive: str) -> None:
    """What is on the way is bounded by the sockets' buffers."""
    memory = resident(site.server.pid)
    with Connection(site.server, small_buffers=True) as connection:
        connection.request(site.url(f"/{kind}?pause=0&large&keep_alive={keep_alive}"))
        connection.read_until(b"xxx")
        assert 0 < until_full(site.server, site.id) < 16_000_000
        assert resident(site.server.pid) - memory < 32_000_000
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_keep_alive(site: Site, kind: str) -> None:
    """Also while a plain step blocks; and the generator goes on."""
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}/quiet"))
        connection.read_until(b"data: tick\n\n")
        for _ in range(3):
            connection.read_until(b":\n\n")
        if kind == "sync":
            assert connection.read_until(b"data: tick\n\n").count(b"id: 2\n") == 1
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_resumption(site: Site, kind: str) -> None:
    last = "0"
    for _ in range(2):
        with Connection(site.server) as connection:
            connection.request(site.url(f"/{kind}"), "GET", b"", f"Last-Event-ID: {last}")
            first = connection.read_until(b"data: tick\n\n")
            assert f"id: {int(last) + 1}\n".encode() in first
            last = re.findall(rb"id: (\d+)\n", first)[-1].decode()
        site.ended()


def test_room(site: Site) -> None:
    """Followed as a stream; who comes back has missed nothing, and nothing comes twice."""

    def publish(text: str) -> None:
        assert get(site.server, "/room", "POST", text.encode()).status == 200

    def follow(connection: Connection, until: str, last: str | None = None) -> list[str]:
        lines = [] if last is None else [f"Last-Event-ID: {last}"]
        connection.request("/room", "GET", b"", *lines)
        data = connection.read_until(b"\r\n\r\n")  # the head, and maybe more
        publish(until)
        data += connection.read_until(f"data: {until}\n\n".encode())
        body = data.partition(b"\r\n\r\n")[2]
        return [f"{event.id} {event.data}" for event in events_in(unchunked(body))]

    with Connection(site.server) as connection:
        *_, seen = follow(connection, "one")
    publish("two")
    publish("three")
    last, _, text = seen.partition(" ")
    assert text == "one"
    with Connection(site.server) as connection:
        events = follow(connection, "four", last)
        assert [event.partition(" ")[2] for event in events] == ["two", "three", "four"]
    with Connection(site.server) as connection:  # what is no id is none
        events = follow(connection, "five", "x" * 100)
        assert [event.partition(" ")[2] for event in events] == ["five"]


@pytest.mark.parametrize("kind", KINDS)
def test_head(site: Site, kind: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}"), "HEAD")
        reply = connection.reply("HEAD")
        assert (reply.body, reply.headers["Content-Type"]) == (
            b"",
            "text/event-stream; charset=utf-8",
        )
        connection.request("/produced/nobody")  # the connection is in order
        assert connection.reply().body == b"0"
    assert site.diary.of(site.id) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_http_1_0(site: Site, kind: str) -> None:
    with Connection(site.server) as connection:
        connection.send(f"GET {site.url(f'/{kind}')} HTTP/1.0\r\n\r\n".encode())
        head, _, rest = connection.read_until(b"data: tick\n\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/event-stream" in head
        assert b"id: 1\ndata: tick\n\n" in unchunked(rest)
    site.ended()
    if kind == "async":  # one that ends, ends the connection
        reply = exchange(site.server, b"GET /finite HTTP/1.0\r\n\r\n")
        assert [event.data for event in events_in(reply.body)] == ["tick", "end"]


def test_error_breaks_the_connection(site: Site) -> None:
    """So that the browser connects again, and takes nothing for complete."""
    with Connection(site.server) as connection:
        connection.request("/error")
        data = connection.read_to_end()
        assert b"data: begun\n\n" in data
        assert b"0\r\n\r\n" not in data
    until(lambda: "LookupError: on purpose" in site.server.output)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_two_hundred_idle_streams_hold_no_one_up(site: Site, kind: str) -> None:
    """Nor do sync ones, each of which has a thread, count among the sync functions that run:
    there may be 4 of them here."""
    with ExitStack() as clients:
        for _ in range(200):
            connection = clients.enter_context(Connection(site.server))
            connection.request(site.url(f"/{kind}/idle"))
            connection.read_until(b"data: tick\n\n")
        assert get(site.server, "/produced/nobody").body == b"0"
    if kind == "sync":
        get(site.server, "/sync/idle?n=200", "POST")
    assert get(site.server, "/produced/nobody").body == b"0"


@pytest.mark.parametrize("http", PARSERS)
def test_shutdown(http: Parser, tmp_path: Path) -> None:
    """Each stream is told at once, and has a proper end; the process need not wait for any."""
    diary = Diary(tmp_path / "diary")
    with serve("events:app", http, diary=diary) as server, ExitStack() as clients:
        streams = {}
        for path in ("/sync", "/async", "/sync-context", "/async-context", "/async/quiet"):
            streams[path] = clients.enter_context(Connection(server))
            streams[path].request(f"{path}?id={path}")
        streams["/room"] = clients.enter_context(Connection(server))
        streams["/room"].request("/room")
        streams["/room"].read_until(b"\r\n\r\n")
        get(server, "/room", "POST", b"tick")
        for path in ("/async/stubborn", "/finite"):
            streams[path] = clients.enter_context(Connection(server))
            streams[path].request(path)
        for stream in streams.values():
            stream.read_until(b"data: tick\n\n")
        assert server.stop() == 0, server.output
        for path, stream in streams.items():
            rest = stream.read_to_end()
            assert rest.endswith(b"0\r\n\r\n"), path
            if path == "/finite":
                assert b"data: end\n\n" in rest
                continue
            last = unchunked(rest).removesuffix(b"\r\n\r\n").split(b"\n\n")[-2]
            assert last.startswith(b": The server stops."), (path, rest)
            retry = re.search(rb"\nretry: (\d+)", last)
            if path == "/async/quiet":
                assert retry is None  # it has told its client
            else:
                assert retry is not None and 1000 <= int(retry[1]) <= 5000
            if path not in ("/async/stubborn", "/room"):
                began, ended = diary.of(path)
                assert ended == began.replace("began", "ended")
        assert diary.of("finite") == ["ended"]
        assert diary.of("app") == ["after"]
        assert "Traceback" not in server.output, server.output
        assert "without completing" not in server.output, server.output


@pytest.mark.parametrize("http", PARSERS)
def test_shutdown_while_a_plain_step_blocks(http: Parser, tmp_path: Path) -> None:
    """Its client has the end at once. The thread is left behind after SHUTDOWN_TIMEOUT."""
    diary = Diary(tmp_path / "diary")
    with serve("events:app", http, diary=diary) as server, Connection(server) as stream:
        stream.request("/sync/blocks?id=blocks")
        stream.read_until(b"data: tick\n\n")
        assert server.stop() == 0, server.output
        assert b": The server stops.\nretry: " in stream.read_to_end()
        assert diary.of("blocks")[0].startswith("began")
        assert len(diary.of("blocks")) == 1
        assert diary.of("app") == ["after"]
        assert "Sync code of /sync/blocks still blocks" in server.output
        assert "Traceback" not in server.output, server.output


def test_that_begins_when_the_server_stops(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("events:app", diary=diary) as server, Connection(server) as stream:
        stream.request("/late")
        diary.wait("late", "began")
        assert server.stop() == 0, server.output
        rest = stream.read_to_end()
        assert b": The server stops.\nretry: " in rest
        assert rest.endswith(b"0\r\n\r\n")


def test_shutdown_of_one_that_should_have_ended(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("events:app", diary=diary) as server, Connection(server) as stream:
        stream.request("/finite/late?id=late")
        stream.read_until(b"data: tick\n\n")
        assert server.stop() == 0, server.output
        assert b": The server stops.\nretry: " in stream.read_to_end()
        assert diary.of("late") == ["began on loop", "ended on loop"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_shutdown_with_a_client_that_takes_nothing(kind: str, tmp_path: Path) -> None:
    """uvicorn waits forever for such a connection, unless it is told otherwise."""
    diary = Diary(tmp_path / "diary")
    args = "--timeout-graceful-shutdown", "4"
    with (
        serve("events:app", "httptools", *args, diary=diary) as server,
        Connection(server, small_buffers=True) as stream,
    ):
        stream.request(f"/{kind}?id=deaf&pause=0&large")
        stream.read_until(b"xxx")
        until_full(server, "deaf")
        assert server.stop() == 0, server.output
        began, ended = diary.of("deaf")
        assert ended == began.replace("began", "ended")
        assert diary.of("app") == ["after"]


def test_behind_wsgi_middleware(tmp_path: Path) -> None:
    """`app.wsgi_app` is wrapped: requests go through WSGI."""
    diary = Diary(tmp_path / "diary")
    with serve("events:proxied", diary=diary) as server:
        site = Site(server, diary)
        for kind in ("sync", "async"):
            with Connection(server) as connection:
                connection.request(site.url(f"/{kind}"))
                connection.read_until(b"data: tick\n\n")
            site.diary.wait(site.id, "ended")
        with ExitStack() as clients:
            for _ in range(20):  # each has a thread of its own
                connection = clients.enter_context(Connection(server))
                connection.request(site.url("/async/idle"))
                connection.read_until(b"data: tick\n\n")
            assert get(server, "/produced/nobody").body == b"0"
            assert server.stop() == 0, server.output
            assert b": The server stops.\nretry: " in connection.read_to_end()
