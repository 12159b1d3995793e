"""All of the teardown runs, exactly once, however a request ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from contract.raw import (
    PARSERS,
    SECONDS,
    SOCKETS,
    Connection,
    Diary,
    Parser,
    exchange,
    get,
    serve,
    until,
)
from support.servers import Server

ONCE = ["app-async", "app-sync", "began", "request-async", "request-sync"]


class Site:
    def __init__(self, server: Server, diary: Diary) -> None:
        self.server = server
        self.diary = diary
        self.ids: list[str] = []

    def url(self, path: str, name: str) -> str:
        """*path* with an id for the request, made of *name*."""
        request_id = f"{name}-{len(self.ids)}"
        self.ids.append(request_id)
        return f"{path}{'&' if '?' in path else '?'}id={request_id}"

    @property
    def last(self) -> str:
        return self.ids[-1]

    def torn_down(self) -> None:
        request_id = self.last
        until(
            lambda: len(self.diary.of(request_id)) >= len(ONCE),
            f"teardown of {request_id}: {self.diary.of(request_id)}",
        )
        assert sorted(self.diary.of(request_id)) == ONCE


@pytest.fixture(
    scope="module", params=[*zip(PARSERS, SOCKETS, strict=True)], ids=["h11", "httptools"]
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    parser: Parser = request.param[0]
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("teardown:app", parser, ws=request.param[1], diary=diary) as server:
        site = Site(server, diary)
        yield site
    # Nothing came twice after a test had seen it once.
    assert {name: sorted(diary.of(name)) for name in site.ids} == dict.fromkeys(site.ids, ONCE)


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("?error", 500), ("?hook", 500), ("?deny=0", 418), ("?after", 500)],
    ids=["success", "error", "hook", "denied", "after"],
)
def test_answered(site: Site, view: str, query: str, status: int) -> None:
    assert get(site.server, site.url(f"/{view}{query}", "answered")).status == status
    site.torn_down()


def test_no_view(site: Site) -> None:
    assert get(site.server, site.url("/nowhere", "nowhere")).status == 404
    site.torn_down()


@pytest.mark.parametrize("view", ["sync", "async"])
def test_teardown_functions_that_raise(site: Site, view: str) -> None:
    assert get(site.server, site.url(f"/{view}?raise", "raise")).status == 200
    site.torn_down()


def test_bad_request(site: Site) -> None:
    target = site.url("/sync", "malformed").encode()
    reply = exchange(site.server, b"GET %b HTTP/1.1\r\nHost: a b\r\n\r\n" % target)
    assert reply.status == 400
    if not site.diary.of(site.last):  # refused by the server's parser
        site.ids.pop()
        return
    site.torn_down()


@pytest.mark.parametrize("path", ["/sync?wait=0.3", "/async?wait=0.3", "/cancel"])
def test_client_gone_before_the_answer(site: Site, path: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(path, "gone"))
        site.diary.wait(site.last, "began")
    site.torn_down()


STREAMS = ["sync", "async", "sync-context", "async-context", "crossed"]


@pytest.mark.parametrize("stream", STREAMS)
def test_client_gone_in_the_middle_of_a_stream(site: Site, stream: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/stream/{stream}", f"gone-{stream}"))
        connection.read_until(b"tick 1\n")
    site.torn_down()


@pytest.mark.parametrize("stream", STREAMS)
def test_stream(site: Site, stream: str) -> None:
    reply = get(site.server, site.url(f"/stream/{stream}?ticks=2", stream))
    assert reply.body == b"tick 0\ntick 1\n"
    site.torn_down()


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_that_raises(site: Site, stream: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/stream/{stream}?ticks=2&fail", f"fail-{stream}"))
        assert not connection.read_to_end().endswith(b"0\r\n\r\n")
    site.torn_down()


@pytest.mark.parametrize("stream", STREAMS)
def test_head(site: Site, stream: str) -> None:
    reply = get(site.server, site.url(f"/stream/{stream}", f"head-{stream}"), "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    site.torn_down()


@pytest.mark.parametrize("handler", ["/ws", "/ws/sync"])
@pytest.mark.parametrize("by", ["client", "handler", "error", "broken", "silent"])
def test_websocket(site: Site, handler: str, by: str) -> None:
    with connect(site.server.ws_url + site.url(handler, f"ws-{by}")) as connection:
        connection.send("hello")
        assert connection.recv(SECONDS) == "hello"
        if by == "client":
            connection.close()
        elif by == "broken":
            connection.socket.close()
        elif by == "silent":
            connection.send("wait" if handler == "/ws" else "hello")
            connection.close()
        else:
            connection.send("return" if by == "handler" else "raise")
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv(SECONDS)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == (1000 if by == "handler" else 1011)
    site.torn_down()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ws?deny=0", 418),
        ("/ws?hook", 500),
        ("/ws/early?error", 500),
        ("/ws/early?bad", 500),
        ("/ws?after&deny=0", 500),
        ("/nowhere", 404),
    ],
)
def test_handshake_refused(site: Site, path: str, status: int) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(site.server.ws_url + site.url(path, "refused")),
    ):
        pass
    assert caught.value.response.status_code == status
    site.torn_down()


@pytest.mark.parametrize(
    "path", ["/ws?deny=0.3", "/ws/early?wait=0.3", "/ws/early?wait=0.3&error"]
)
def test_client_gone_during_the_handshake(site: Site, path: str) -> None:
    with Connection(site.server) as connection:
        connection.request(
            site.url(path, "handshake"),
            "GET",
            b"",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        site.diary.wait(site.last, "began")
    site.torn_down()


@pytest.mark.parametrize("http", PARSERS)
def test_shutdown(http: Parser, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    ids = [*STREAMS, "ws", "ws-sync", "ws-waiting"]
    with serve("teardown:app", http, diary=diary) as server, ExitStack() as clients:
        for stream in STREAMS:
            connection = clients.enter_context(Connection(server))
            connection.request(f"/stream/{stream}?id={stream}")
            connection.read_until(b"tick 1\n")
        for name in ids[len(STREAMS) :]:
            path = "/ws/sync" if name == "ws-sync" else "/ws"
            socket = clients.enter_context(connect(f"{server.ws_url}{path}?id={name}"))
            socket.send("hello")
            assert socket.recv(SECONDS) == "hello"
            if name == "ws-waiting":
                socket.send("wait")
        assert server.stop(signal.SIGTERM) == 0, server.output
    assert {name: sorted(diary.of(name)) for name in ids} == dict.fromkeys(ids, ONCE)
