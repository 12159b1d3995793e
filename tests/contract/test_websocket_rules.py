"""The rules for WebSockets: who may open one, how it ends, and what it shares with requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol
from werkzeug.exceptions import Forbidden

from contract.raw import PARSERS, SECONDS, SOCKETS, Connection, Diary, Parser, serve, until
from support.servers import Server

_numbers = count()


class Site:
    def __init__(self, server: Server, diary: Diary) -> None:
        self.server = server
        self.diary = diary
        self.url = server.ws_url
        self.own = f"http://127.0.0.1:{server.port}"

    def hear(self, path: str, origin: str | None = None) -> str:
        """The first message."""
        with connect(
            self.url + path, origin=None if origin is None else Origin(origin)
        ) as connection:
            return str(connection.recv(SECONDS))

    def refused(self, path: str, origin: str | None = None, **options: Any) -> Response:
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(
                self.url + path,
                origin=None if origin is None else Origin(origin),
                **options,
            ),
        ):
            pass
        return caught.value.response

    def code(self, path: str) -> tuple[int, str]:
        """The close code and reason."""
        with connect(self.url + path) as connection, pytest.raises(ConnectionClosed) as caught:
            connection.recv(SECONDS)
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


PAIRS = [
    (parser, sockets)
    for parser, sockets in [(p, s) for p in PARSERS for s in SOCKETS]
    if not (parser == "h11" and sockets == "wsproto")
]


@pytest.fixture(scope="module", params=PAIRS, ids=["h11-websockets", "websockets", "wsproto"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    parser: Parser = request.param[0]
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("sockets:app", parser, ws=request.param[1], diary=diary) as server:
        yield Site(server, diary)
        assert "Exception in ASGI application" not in server.output, server.output


@pytest.fixture(scope="module")
def limited() -> Iterator[Site]:
    with serve("sockets:limited") as server:
        yield Site(server, Diary.__new__(Diary))


# -- origins: RFC 6455 section 10.2


@pytest.mark.parametrize("path", ["/echo", "/echo/sync"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "{own}.evil.example",
        "http://evil{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:{next}",
        "https://127.0.0.1:{port}",
        "ws://127.0.0.1:{port}",
        "file://",
        "http://x@127.0.0.1:{port}",
        "{own}/path",
        "{own}?",
        "http://127.0.0.1:{port}@evil.example",
        "http://localhost:{port}",
        "{own},http://evil.example",
        "{own} http://evil.example",
        "127.0.0.1:{port}",
        "//127.0.0.1:{port}",
        "*",
    ],
)
def test_foreign_origin(site: Site, path: str, origin: str) -> None:
    port = site.server.port
    origin = origin.format(own=site.own, port=port, next=port + 1 if port < 65_535 else 1)
    name = f"foreign{next(_numbers)}"
    reply = raw_handshake(site, f"{path}?id={name}", f"Origin: {origin}")
    assert reply == 403
    assert site.diary.of(name) == []


def raw_handshake(site: Site, target: str, *lines: str) -> int:
    with Connection(site.server) as connection:
        head = [
            f"GET {target} HTTP/1.1",
            f"Host: 127.0.0.1:{site.server.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *lines,
        ]
        connection.send("\r\n".join([*head, "", ""]).encode("latin-1"))
        return int(connection.read_until(b"\r\n\r\n").split()[1])


@pytest.mark.parametrize(
    "origins",
    [("http://evil.example", "{own}"), ("{own}", "http://evil.example"), ("{own}", "{own}")],
)
def test_two_origins(site: Site, origins: tuple[str, str]) -> None:
    lines = [f"Origin: {origin.format(own=site.own)}" for origin in origins]
    name = f"two{next(_numbers)}"
    assert raw_handshake(site, f"/echo?id={name}", *lines) in (400, 403)  # or by the server
    assert site.diary.of(name) == []


@pytest.mark.parametrize("path", ["/login/ws", "/login/ws/sync"])
@pytest.mark.parametrize(
    "origins",
    [
        ["http://evil.example"],
        ["null"],
        ["{own}.evil.example"],
        ["http://evil-127.0.0.1:{port}"],
        ["http://127.0.0.1"],
        ["https://127.0.0.1:{port}"],
        ["http://localhost:{port}"],
        ["{own}", "http://evil.example"],
        ["http://evil.example", "{own}"],
    ],
)
def test_foreign_page_with_the_cookie_of_a_login(
    site: Site, path: str, origins: list[str]
) -> None:
    """The browser sends the cookie along, whatever page asks it to."""
    reply = httpx.get(f"{site.server.url}/login", timeout=SECONDS)
    cookie = f"Cookie: {reply.headers['Set-Cookie'].partition(';')[0]}"
    own = {"own": site.own, "port": site.server.port}
    name = f"foreign{next(_numbers)}"
    target = f"{path}?id={name}"
    lines = [f"Origin: {origin.format(**own)}" for origin in origins]
    assert raw_handshake(site, target, cookie, *lines) in ((400, 403) if lines[1:] else (403,))
    assert site.diary.of(name) == []
    assert raw_handshake(site, target, cookie) == 101
    assert raw_handshake(site, target, cookie, f"Origin: {site.own}") == 101
    assert raw_handshake(site, target, f"Origin: {site.own}") == 401


@pytest.mark.parametrize("target", ["/nowhere", "/only-http", "/login/ws"])
def test_foreign_origin_is_told_nothing(site: Site, target: str) -> None:
    assert raw_handshake(site, target, "Origin: http://evil.example") == 403


def test_own_origin(site: Site) -> None:
    name = f"own{next(_numbers)}"
    assert raw_handshake(site, f"/echo?id={name}", f"Origin: {site.own}") == 101
    assert raw_handshake(site, "/echo", f"Origin: {site.own.upper()}") == 101
    site.diary.wait(name, "handler")
    assert set(site.diary.of(name)) == {"request_started", "before_request", "handler"}


def test_no_origin(site: Site) -> None:
    assert raw_handshake(site, "/echo") == 101


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        ("/open", "https://friend.example", True),
        ("/open", "https://friend.example:443", True),
        ("/open", "http://friend.example", False),
        ("/open", "https://friend.example.evil.example", False),
        ("/open", "https://xfriend.example", False),
        ("/open", "http://other.example:8080", True),
        ("/open", "http://other.example", False),
        ("/open", "{own}", True),
        ("/open", "null", False),
        ("/any", "http://evil.example", True),
        ("/any", "null", True),
        ("/none", "http://evil.example", False),
        ("/none", "{own}", True),
    ],
)
def test_origins_of_a_route(site: Site, path: str, origin: str, allowed: bool) -> None:
    origin = origin.format(own=site.own)
    if allowed:
        assert site.hear(path, origin) == "hello"
    else:
        assert site.refused(path, origin).status_code == 403


def test_origins_of_the_app(limited: Site) -> None:
    assert limited.hear("/echo", "https://friend.example") == "hello"
    assert limited.hear("/echo", limited.own) == "hello"
    assert limited.refused("/echo", "https://other.example").status_code == 403
    assert limited.hear("/strict", "https://best.example") == "hello"
    assert limited.refused("/strict", "https://friend.example").status_code == 403


# -- the end


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/end/return", (1000, "")),
        ("/end/raise", (1011, "")),
        ("/end/abort", (1008, Forbidden.description)),
        ("/end/value", (1011, "")),
        ("/end/own", (4001, "enough")),
        ("/end/sync/return", (1000, "")),
        ("/end/sync/raise", (1011, "")),
        ("/end/sync/own", (4001, "enough")),
    ],
)
def test_close_code(site: Site, path: str, code: tuple[int, str]) -> None:
    assert site.code(path) == code


def test_close_before_the_handshake(site: Site) -> None:
    assert site.refused("/end/before").status_code == 403


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/refuse/error", 402, b'{"refused":"not today"}\n'),
        ("/refuse/crash", 500, b"the page for errors"),
        ("/refuse/bad", 500, b"the page for errors"),
        ("/refuse/abort", 404, b"no such room"),
        ("/refuse/value", 403, b"denied"),
        ("/login/ws", 401, b"Log in first."),
        ("/login/ws/sync", 401, b"Log in first."),
        ("/nowhere", 404, b"Not Found"),
        ("/only-http", 400, b"Bad Request"),
        ("/accept/bad/subprotocol", 500, b"the page for errors"),
        ("/accept/bad/line", 500, b"the page for errors"),
        ("/accept/bad/name", 500, b"the page for errors"),
    ],
)
def test_refused_with_a_response(site: Site, path: str, status: int, body: bytes) -> None:
    reply = site.refused(path)
    assert reply.status_code == status, reply
    assert body in reply.body
    if path == "/refuse/error":
        assert reply.headers["X-Seen"] == "before"
    if path == "/refuse/value":
        assert reply.headers["X-Why"] == "because"
    assert "Set-Cookie" not in reply.headers


def test_refused_with_a_redirect(site: Site) -> None:
    assert raw_handshake(site, "/login/ws?redirect") == 302


def test_request_to_a_websocket(site: Site) -> None:
    with httpx.Client(base_url=site.server.url, timeout=SECONDS) as client:
        for _ in range(2):  # the connection stays open
            response = client.get("/echo")
            assert (response.status_code, response.headers["Upgrade"]) == (426, "websocket")
            assert response.headers["Connection"].lower() == "upgrade"


# -- messages


@pytest.mark.parametrize("path", ["/echo", "/echo/sync"])
def test_messages(site: Site, path: str) -> None:
    with connect(site.url + path) as connection:
        messages: list[str | bytes] = ["text", "", "☃", b"bytes", b"", b"\xff" * 100_000]
        for message in messages:
            connection.send(message)
            assert connection.recv(SECONDS) == message


@pytest.mark.parametrize("path", ["/late", "/late/sync"])
def test_more_messages_than_wait(site: Site, path: str) -> None:
    with connect(site.url + path) as connection:
        for number in range(1_000):
            connection.send(str(number))
        assert connection.recv(SECONDS) == "in order"


def test_messages_that_nobody_takes(site: Site) -> None:
    """The client has to wait, and memory does not fill."""
    with Connection(site.server, small_buffers=True) as connection:
        connection.request(
            "/never",
            "GET",
            b"",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        connection.read_until(b"\r\n\r\n")
        frame = b"\x82\xfe\xea\x60\0\0\0\0" + b"x" * 60_000  # masked with zeros
        connection.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200_000_000:
                connection.send(frame)
                sent += len(frame)
        assert sent < 24_000_000


@pytest.mark.parametrize("how", ["close", "break"])
@pytest.mark.parametrize("messages", [0, 10, 1_000])
def test_client_leaves_a_handler_that_does_not_listen(site: Site, how: str, messages: int) -> None:
    name = f"waits{next(_numbers)}"
    with connect(f"{site.url}/waits/x?id={name}") as connection:
        site.diary.wait(name, "waits")
        for number in range(messages):
            connection.send(str(number))
        if how == "break":
            connection.socket.close()
    site.diary.wait(name, "cancelled")


# -- what it shares with requests


@pytest.mark.parametrize("path", ["/login/ws", "/login/ws/sync"])
def test_login(site: Site, path: str) -> None:
    reply = httpx.get(f"{site.server.url}/login", timeout=SECONDS)
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    with connect(site.url + path, additional_headers={"Cookie": cookie}) as connection:
        assert connection.recv(SECONDS) == "me"
    bad = site.refused(path, additional_headers={"Cookie": cookie + "x"})
    assert (bad.status_code, bad.body) == (401, b"Log in first.")


def test_session_cookie_in_the_handshake(site: Site) -> None:
    headers: dict[str, str] = {}
    for number in range(3):
        with connect(f"{site.url}/count", additional_headers=headers) as connection:
            assert connection.recv(SECONDS) == str(number + 1)
            assert connection.response is not None
            cookie = connection.response.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            headers = {"Cookie": cookie.partition(";")[0]}


def test_accept(site: Site) -> None:
    protocols = [Subprotocol("superchat"), Subprotocol("chat")]
    with connect(f"{site.url}/accept", subprotocols=protocols) as connection:
        assert connection.subprotocol == "chat"
        assert json.loads(connection.recv(SECONDS)) == ["superchat", "chat"]
        assert connection.response is not None
        assert connection.response.headers["X-Own"] == "yes"
        assert connection.response.headers["Set-Cookie"] == "a=b"


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (["v1", "v2"], "v2"),
        (["v3", "v1"], "v1"),
        (["v3"], None),
        ([], None),
    ],
)
def test_subprotocols_of_a_route(site: Site, offered: list[str], agreed: str | None) -> None:
    protocols = [Subprotocol(name) for name in offered] or None
    with connect(f"{site.url}/protocols", subprotocols=protocols) as connection:
        assert json.loads(connection.recv(SECONDS)) == agreed
        assert connection.subprotocol == agreed


@pytest.mark.limit("WEBSOCKET_MAX_MESSAGE_SIZE")
@pytest.mark.parametrize("path", ["/small", "/small/sync"])
@pytest.mark.parametrize(
    "message",
    ["x" * 11, "☃" * 4, b"x" * 11, "x" * 1_000_000],
    ids=["text", "characters of more bytes", "binary", "huge"],
)
def test_message_that_is_too_big(site: Site, path: str, message: str | bytes) -> None:
    name = f"small{next(_numbers)}"
    with connect(f"{site.url}{path}?id={name}") as connection:
        for small in ("x" * 10, "☃☃☃", b"x" * 10):
            connection.send(small)
            assert connection.recv(SECONDS) == small
        connection.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(SECONDS)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    assert caught.value.rcvd.reason == "Messages may have at most 10 bytes."
    site.diary.wait(name, "ended 1009 Messages may have at most 10 bytes.")


def test_url_for(site: Site) -> None:
    """Werkzeug makes those of WebSockets absolute, as browsers want them."""
    assert json.loads(site.hear("/rooms/7")) == [
        f"{site.url}/echo",
        "/login",
        f"{site.url}/rooms/8",
        f"{site.url}/rooms/1?x=y",
        f"{site.server.url}/login",
        "rooms.room",
        "/rooms/7",
        "GET",
        "before",
    ]


def test_logged(site: Site) -> None:
    site.code("/end/raise")
    until(lambda: "LookupError: on purpose" in site.server.output)
