"""What every server is put to: each case is a function that talks to the server of `app`, and
raises what is not as it should be. How servers stop is in `stops.py`.

The first line of a case's docstring is its name in `servers.toml`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from contract.raw import Connection, Diary, Reply
from support.servers import HOST, Process

SECONDS: Final = 20.0
"""After which a case fails."""

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KINDS: Final = ("sync", "async")


@dataclass(frozen=True)
class Subject:
    """A server at work, as the cases see it."""

    process: Process
    diary: Diary
    buffers: bool = False
    """Whether the server calls the app when it has all of a request's body."""

    def connect(self) -> Connection:
        connection = Connection(self.process)
        connection.socket.settimeout(SECONDS)
        return connection

    def get(
        self, target: str, method: str = "GET", body: bytes = b"", lines: tuple[str, ...] = ()
    ) -> Reply:
        with self.connect() as connection:
            connection.request(target, method, body, *lines)
            return connection.reply(method)

    def socket(self, path: str, **options: Any) -> ClientConnection:
        options = {
            "open_timeout": SECONDS,
            "close_timeout": SECONDS,
            "compression": None,
        } | options
        return connect(f"{self.process.ws_url}{path}", **options)

    def wait(self, name: str, event: str) -> None:
        """Wait until *event* is in the diary."""
        until(lambda: event in self.diary.of(name), f"{event}, only {self.diary.of(name)}")

    def go(self, name: str) -> None:
        """Let what waits for it go on."""
        with self.diary.path.open("a") as file:
            file.write(f"{name} go\n")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"In vain: {what}.")
        time.sleep(0.02)


Case = Callable[[Subject], None]


@dataclass(frozen=True)
class Cases:
    """Those of one kind, in order."""

    all: list[Case] = field(default_factory=list)

    def __call__(self, case: Case) -> Case:
        self.all.append(case)
        return case


http: Final = Cases()
"""For every server."""

asgi: Final = Cases()
"""For those that speak ASGI."""

forwarding: Final = Cases()
"""For one that was told to believe ``X-Forwarded-For`` and ``-Proto``."""

prefixed: Final = Cases()
"""For one that was told that it serves below ``/shop``."""


def title(case: Callable[..., None]) -> str:
    """The case's name."""
    return (case.__doc__ or "").partition("\n")[0].rstrip(".")


def name_of() -> str:
    """One for a request, in the diary."""
    return uuid4().hex


def same(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{expected!r} was expected, not {found!r:.400}.")


# -- requests and bodies ----------------------------------------------------------------------


@http
def every_method(server: Subject) -> None:
    """Requests of every method."""
    for kind in KINDS:
        for method in METHODS:
            reply = server.get(f"/method/{kind}", method)
            same((reply.status, reply.body), (200, method.encode()))


@http
def head(server: Subject) -> None:
    """HEAD has a length and no content."""
    for kind in KINDS:
        with server.connect() as connection:
            connection.request(f"/method/{kind}", "HEAD")
            same(connection.reply("HEAD").headers["Content-Length"], "4")
            connection.request(f"/method/{kind}")  # nothing of it stands before the next answer
            same(connection.reply().body, b"GET")


@http
def keep_alive(server: Subject) -> None:
    """A connection is kept, after errors too."""
    with server.connect() as connection:
        for path, status in ("/nowhere", 404), ("/fails", 500), ("/method/sync", 200):
            connection.request(path)
            same(connection.reply().status, status)


@http
def bad_header(server: Subject) -> None:
    """A header that cannot be sent is a 500."""
    same(server.get("/bad-header").status, 500)


@http
def on_thread(server: Subject) -> None:
    """Sync views do not run on the main thread."""
    same(json.loads(server.get("/thread/sync").body), {"main": False})


@http
def body_with_length(server: Subject) -> None:
    """A body of 3 MB with Content-Length."""
    for kind in (*KINDS, "stream"):
        reply = server.get(f"/size/{kind}", "POST", b"x" * 3_000_000)
        same((reply.status, reply.body), (200, b"3000000"))


@http
def body_in_chunks(server: Subject) -> None:
    """A chunked body."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in (1, 70_000, 3_000))
    for kind in (*KINDS, "stream"):
        with server.connect() as connection:
            connection.request(f"/size/{kind}", "POST", b"", "Transfer-Encoding: chunked")
            connection.send(chunks + b"0\r\n\r\n")
            same(connection.reply().body, b"73001")


@http
def form(server: Subject) -> None:
    """A form with a file of 2 MB."""
    head = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    file = head.format("file", '; filename="a.bin"').encode() + b"x" * 2_000_000
    body = head.format("by", "").encode() + b"ada\r\n" + file + b"\r\n--x--\r\n"
    for kind in KINDS:
        line = "Content-Type: multipart/form-data; boundary=x"
        reply = server.get(f"/form/{kind}", "POST", body, (line,))
        same(json.loads(reply.body), {"by": "ada", "size": 2_000_000})


@http
def expect(server: Subject) -> None:
    """A client that expects 100 Continue."""
    for kind in (*KINDS, "stream"):
        with server.connect() as connection:
            lines = "Content-Length: 5", "Expect: 100-continue"
            connection.request(f"/size/{kind}", "POST", b"", *lines)
            same(connection.read_until(b"\r\n\r\n").split()[1], b"100")
            connection.send(b"12345")
            same(connection.reply().body, b"5")


UPLOADS: Final = ("/size/sync", 1_000), ("/size/sync", 5_000_000), ("/size/async", 5_000_000)
"""A view, and how long a body of which little comes. A short one is received before a sync view
is called, and a long one while it reads."""


def begin_upload(connection: Connection, target: str, size: int) -> None:
    """Send the beginning of a body that the server waits for."""
    lines = f"Content-Length: {size}", "Expect: 100-continue"
    connection.request(target, "POST", b"", *lines)
    connection.read_until(b"\r\n\r\n")
    connection.send(b"x" * 10)


@http
def aborted_upload(server: Subject) -> None:
    """A client that leaves in the middle of its body."""
    for path, size in UPLOADS:
        name = name_of()
        with server.connect() as connection:
            begin_upload(connection, f"{path}?id={name}", size)
        if not server.buffers:
            server.wait(name, "teardown")
    same(server.get("/method/sync").status, 200)


@http
def cookies(server: Subject) -> None:
    """Several headers of one name."""
    lines = server.get("/cookies").headers.get_all("Set-Cookie")
    same([line.partition("=")[0] for line in lines or ()], ["other", "session"])


@http
def large(server: Subject) -> None:
    """A response of 5 MB."""
    for kind in KINDS:
        reply = server.get(f"/large/{kind}")
        same((len(reply.body), reply.headers["Content-Length"]), (5_000_000, "5000000"))


@http
def file(server: Subject) -> None:
    """A range of a static file."""
    reply = server.get("/static/alphabet.txt", lines=("Range: bytes=3-5",))
    same((reply.status, reply.body), (206, b"def"))


# -- streams ----------------------------------------------------------------------------------


@http
def stream(server: Subject) -> None:
    """A stream's chunks are sent when they are made."""
    for kind in KINDS:
        name = name_of()
        with server.connect() as connection:
            connection.request(f"/stream/{kind}?id={name}")
            connection.read_until(b"first\n")
            server.go(name)
            connection.read_until(b"second\n")
            server.wait(name, "teardown")
        same([event for event in server.diary.of(name) if event != "go"], ["closed", "teardown"])


@http
def stream_left(server: Subject) -> None:
    """A client that leaves a stream closes its generator."""
    for kind in KINDS:
        _leave(server, f"/endless/{kind}", b"tick\n", "teardown")


def _leave(server: Subject, path: str, after: bytes, then: str) -> None:
    name = name_of()
    with server.connect() as connection:
        connection.request(f"{path}?id={name}")
        if after:
            connection.read_until(after)
        else:
            server.wait(name, "began")
    server.wait(name, then)


@asgi
def idle_stream_left(server: Subject) -> None:
    """A client that leaves a stream which waits."""
    _leave(server, "/idle", b"tick\n", "teardown")


@asgi
def cancelled(server: Subject) -> None:
    """A view with cancel_on_disconnect is cancelled."""
    _leave(server, "/cancelled", b"", "cancelled")


@asgi
def asks(server: Subject) -> None:
    """A view that asks is_disconnected."""
    _leave(server, "/asks", b"", "disconnected")


# -- behind a proxy, below a path -------------------------------------------------------------

FORWARDED: Final = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")


@http
def proxy_fix(server: Subject) -> None:
    """ProxyFix applies forwarded headers."""
    lines = *FORWARDED, "X-Forwarded-Host: example.org", "X-Forwarded-Prefix: /shop"
    client = json.loads(server.get("/proxied/client", lines=lines).body)
    same(client["client"], "203.0.113.9")
    same(client["url"], "https://example.org/shop/client")
    same(client["here"], "/shop/client")


@asgi
def proxy_fix_for_sockets(server: Subject) -> None:
    """ProxyFix applies forwarded headers to WebSockets."""
    headers = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
    headers += [("X-Forwarded-Host", "example.org")]
    with server.socket(
        "/proxied/client", origin="https://example.org", additional_headers=headers
    ) as client:
        seen = json.loads(client.recv(SECONDS))
    same(seen["client"], "203.0.113.9")
    same(seen["url"].partition("/proxied")[0].partition("/client")[0], "wss://example.org")


@http
def mounted(server: Subject) -> None:
    """A mounted app answers below its path."""
    reply = server.get("/starlette/beside")
    same((reply.status, reply.body), (200, b"/starlette beside"))


@forwarding
def forwarded(server: Subject) -> None:
    """The server applies forwarded headers."""
    client = json.loads(server.get("/client", lines=FORWARDED).body)
    same(client["client"], "203.0.113.9")
    same(client["url"].partition(":")[0], "https")


@prefixed
def below_a_path(server: Subject) -> None:
    """The server is told the path that a proxy strips."""
    client = json.loads(server.get("/client").body)
    same(client["here"], "/shop/client")
    same(client["url"], "http://localhost/shop/client")


# -- WebSockets -------------------------------------------------------------------------------


@asgi
def echo(server: Subject) -> None:
    """WebSocket messages, text and binary, small and large."""
    for path in ("/ws", "/ws/sync"):
        with server.socket(path) as client:
            for message in ("snow \N{SNOWMAN}", b"\x00\xff", "x" * 200_000, b"y" * 200_000):
                client.send(message)
                same(client.recv(SECONDS), message)


@asgi
def empty_messages(server: Subject) -> None:
    """Empty WebSocket messages."""
    with server.socket("/ws") as client:
        for message in ("", b"", "last"):
            client.send(message)
            same(client.recv(3), message)


@asgi
def subprotocol(server: Subject) -> None:
    """A WebSocket's subprotocol."""
    with server.socket("/ws", subprotocols=[Subprotocol("v1"), Subprotocol("other")]) as client:
        same(client.subprotocol, "v1")


@asgi
def socket_url(server: Subject) -> None:
    """A WebSocket's URL and client."""
    with server.socket("/ws/client") as client:
        seen = json.loads(client.recv(SECONDS))
    same(seen, {"url": f"{server.process.ws_url}/ws/client", "client": HOST})


@asgi
def denied(server: Subject) -> None:
    """A WebSocket is rejected with the view's response."""
    status, headers, body = _denial(server, "/ws/denied")
    same(status, 401)
    same(
        (headers["Content-Type"], json.loads(body)),
        ("application/json", {"error": "Log in first."}),
    )


@asgi
def not_found(server: Subject) -> None:
    """A WebSocket for an unknown path is a 404."""
    same(_denial(server, "/ws/nowhere")[0], 404)


@asgi
def foreign_origin(server: Subject) -> None:
    """A WebSocket of another site's page is a 403."""
    same(_denial(server, "/ws", origin="https://evil.example")[0], 403)


def _denial(server: Subject, path: str, **options: Any) -> tuple[int, Any, bytes]:
    try:
        with server.socket(path, **options):
            raise AssertionError("It was accepted.")
    except InvalidStatus as error:
        response = error.response
        return response.status_code, response.headers, bytes(response.body or b"")


@asgi
def session_cookie(server: Subject) -> None:
    """A session changed before accept, and headers of accept."""
    with server.socket("/ws/session") as client:
        same(client.recv(SECONDS), "accepted")
        assert client.response is not None
        same(client.response.headers.get("Set-Cookie", "").partition("=")[0], "session")
        same(client.response.headers.get("X-Room"), "tea")


@asgi
def closes(server: Subject) -> None:
    """A WebSocket's close code and reason."""
    with server.socket("/ws/closes") as client:
        same(end_of(client), (4001, "enough"))


@asgi
def returns(server: Subject) -> None:
    """A handler that returns closes with 1000."""
    with server.socket("/ws/client") as client:
        client.recv(SECONDS)
        same(end_of(client)[0], 1000)


@asgi
def raises(server: Subject) -> None:
    """A handler that raises closes with 1011."""
    with server.socket("/ws/raises") as client:
        same(end_of(client)[0], 1011)


def end_of(client: ClientConnection) -> tuple[int | None, str]:
    """Code and reason with which the server closes."""
    try:
        while True:
            client.recv(SECONDS)
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            return None, ""
        return closed.rcvd.code, closed.rcvd.reason


@asgi
def client_closes(server: Subject) -> None:
    """The code with which a client closes a WebSocket."""
    name = name_of()
    with server.socket(f"/ws?id={name}") as client:
        client.send("hello")
        client.recv(SECONDS)
        client.close(4002, "bye")
    server.wait(name, "teardown")
    same(server.diary.of(name), ["code 4002", "teardown"])


@asgi
def client_vanishes(server: Subject) -> None:
    """A WebSocket's client that vanishes."""
    name = name_of()
    with server.socket(f"/ws?id={name}") as client:
        client.send("hello")
        client.recv(SECONDS)
        # With this, closing is a reset.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        server.wait(name, "teardown")
