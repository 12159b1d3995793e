"""Bytes on a socket: each request that a parser of uvicorn makes of them gets the answer that
Flask gives to the same request, or a 400 if it is malformed. None is left without an end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final
from unittest.mock import patch

from itsdangerous import TimestampSigner
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import asyncflask
from asyncflask.asgi.scope import malformed, normalised
from fuzz.common import SECONDS, Answer, ask_flask, cut, expect, mutated, real_flask, served

QUIET_SECONDS: Final = 0.05
"""A parser that has said nothing for so long waits for more, which does not come."""

TARGETS: Final = [
    *(b"/look", b"/path/a/b", b"/path/%C3%A9%FF", b"/slash", b"/slash/", b"/nowhere", b"/form"),
    *(b"/json", b"/data", b"/redirect", b"//look", b"/look/", b"*", b"look", b"/look#a"),
    *(b"http://localhost/look", b"/int/7", b"/int/-7", b"/int/x", b"/%6Cook"),
]
QUERIES: Final = [b"", b"?", b"?a=b&a=c", b"?%FF=%C3%A9", b"?a;b", b"?a=%", b"?=&&=", b"?a=b?c=d"]
METHODS: Final = [b"GET", b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"]
HEADERS: Final = [
    b"Cookie: a=b; session=x",
    b'Cookie: a="b\\073c"; b',
    b"Cookie: \xe9=\xff",
    b"Accept: text/html;q=0.5, */*;q=x",
    b"Accept-Language: de, en;q=0.5,",
    b"Authorization: Basic YTpi",
    b"Authorization: Basic %%%",
    b"Authorization: Bearer",
    b"Range: bytes=0-1,5-",
    b"Range: bytes=-",
    b'If-None-Match: W/"a", *',
    b"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    b"If-Modified-Since: yesterday",
    b'Cache-Control: max-age=x, no-cache="a"',
    b"X-A: 1",
    b"X-A: 2",
    b"X_A: 3",
    b"X-Empty:",
    b"X-Blank: \t a \t",
    b"User-Agent: \xff\xfe",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Date: Tue, 99 Foo",
]
BODIES: Final = [
    (b"application/x-www-form-urlencoded", b"a=b&a=%C3%A9&c=%FF&=&d"),
    (b"multipart/form-data; boundary=B", b'--B\r\nContent-Disposition: form-data; name="a"\r\n'),
    (
        b"multipart/form-data; boundary=B",
        b'--B\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--B--\r\n',
    ),
    (b"multipart/form-data", b"x"),
    (b"application/json", b'{"a": [1, 2.5, null, "\\u00e9"]}'),
    (b"application/json", b'{"a": '),
    (b"application/json", b"\xff"),
    (b"text/plain; charset=latin-1", b"\xe9\xff"),
    (b"a/b; c", b""),
]


def build(flask: Any) -> Any:
    """The same app, of one framework or the other."""
    app: asyncflask.Flask = flask.Flask(__name__, static_folder=None)
    app.config["SECRET_KEY"] = "fuzz"
    request = flask.request

    @app.route("/look", methods=["GET", "POST", "PUT"])
    def look() -> Any:
        seen = {
            "method": request.method,
            "url": request.url,
            "path": request.full_path,
            "args": request.args.to_dict(flat=False),
            "headers": sorted(map(list, request.headers.items())),
            "cookies": request.cookies.to_dict(flat=False),
            "accept": [str(request.accept_mimetypes), str(request.accept_languages)],
            "authorization": repr(request.authorization),
            "range": repr(request.range and request.range.ranges),
            "match": [str(request.if_none_match), str(request.if_modified_since)],
            "cache": repr(request.cache_control),
            "mimetype": [request.mimetype, request.mimetype_params],
            "length": request.content_length,
            "date": str(request.date),
            "session": dict(flask.session),
        }
        return json.dumps(seen)

    @app.post("/form")
    def form() -> Any:
        files = [[n, f.filename, f.read().decode("latin-1")] for n, f in request.files.items()]
        return json.dumps([request.form.to_dict(flat=False), files, list(request.values)])

    @app.post("/data")
    def data() -> Any:
        return request.get_data()

    @app.post("/json")
    def as_json() -> Any:
        return flask.jsonify(request.get_json())

    @app.route("/path/<path:rest>", methods=["GET", "DELETE"])
    def path(rest: str) -> Any:
        return flask.jsonify(rest, flask.url_for("path", rest=rest, _external=True))

    @app.get("/int/<int(signed=True):n>")
    def number(n: int) -> Any:
        return [n]

    @app.get("/slash/")
    def slash() -> Any:
        return "slash"

    @app.get("/redirect")
    def redirect() -> Any:
        flask.session["a"] = 1
        return flask.redirect(request.args.get("a", "/look"))

    return app


class Exchange:
    """A request as the server told it, and what the app answered."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self._send = send
        self.transport = send.__self__.transport  # type: ignore[attr-defined]
        """As the app finds it at the server's own `send`."""
        self.body = b""
        self.is_whole = False
        self.sent: list[Message] = []
        self.has_ended = threading.Event()

    async def send(self, message: Message) -> None:
        await self._send(message)
        self.sent.append(message)

    @property
    def answer(self) -> Answer | None:
        last = self.sent[-1] if self.sent else {}
        if last.get("type") != "http.response.body" or last.get("more_body"):
            return None
        pairs = [(n.decode(), v.decode("latin-1")) for n, v in self.sent[0]["headers"]]
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return Answer(self.sent[0]["status"], sorted(pairs), body)


class Recorder:
    """ASGI middleware that keeps each request with its answer, all of its body read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.exchanges: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        exchange = Exchange(dict(scope), send)
        self.exchanges.append(exchange)
        messages: list[Message] = []

        async def receive_first() -> Message:
            return messages.pop(0) if messages else await receive()

        try:
            while not exchange.is_whole:
                messages.append(message := await receive())
                if message["type"] == "http.disconnect":
                    break
                exchange.body += message.get("body", b"")
                exchange.is_whole = not message.get("more_body", False)
            await self.app(scope, receive_first, exchange.send)
        finally:
            exchange.has_ended.set()


def random_request(chance: Random) -> bytes:
    method = chance.choice(METHODS)
    target = chance.choice(TARGETS) + chance.choice(QUERIES)
    lines = [b"Host: localhost", *(chance.choice(HEADERS) for _ in range(chance.randrange(5)))]
    body = b""
    if method in (b"POST", b"PUT"):
        kind, body = chance.choice(BODIES)
        lines.append(b"Content-Type: " + kind)
        if chance.random() < 0.3:
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in cut(chance, body) if part]
            body = b"".join(parts) + b"0\r\n\r\n"
            lines.append(b"Transfer-Encoding: chunked")
        else:
            lines.append(b"Content-Length: %d" % len(body))
    chance.shuffle(lines)
    version = chance.choice([b"1.1", b"1.1", b"1.1", b"1.0"])
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version), *lines, b"", body])


def talk(port: int, data: list[bytes], recorder: Recorder) -> list[Exchange]:
    """Send *data*; give the requests that the server made of it, once all have ended."""
    recorder.exchanges.clear()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(QUIET_SECONDS)
        try:
            for part in data:
                connection.sendall(part)
            deadline = time.monotonic() + SECONDS
            while connection.recv(65_536) or True:
                answered = all(e.has_ended.is_set() for e in recorder.exchanges if e.is_whole)
                if time.monotonic() > deadline or (answered and not connection.recv(65_536)):
                    break
        except (TimeoutError, ConnectionError):
            pass
        for exchange in recorder.exchanges:
            if exchange.is_whole and not exchange.has_ended.wait(SECONDS):
                raise AssertionError(f"no answer to {exchange.scope}, {exchange.body!r}")
    exchanges = list(recorder.exchanges)
    for exchange in exchanges:
        if not exchange.has_ended.wait(SECONDS):
            raise AssertionError(f"no end of {exchange.scope}, {exchange.body!r}")
    return exchanges


@contextmanager
def fuzzer() -> Iterator[Any]:
    theirs = build(real_flask())
    recorder = Recorder(build(asyncflask))
    with (
        served(recorder, "h11") as (h11, errors),
        served(recorder, "httptools") as (httptools, _),
        patch.object(TimestampSigner, "get_timestamp", lambda self: 1_700_000_000),
    ):

        def case(chance: Random) -> None:
            data = b"".join(random_request(chance) for _ in range(chance.choice([1, 1, 1, 3])))
            if chance.random() < 0.7:
                data = mutated(chance, data)
            for port in h11, httptools:
                for exchange in talk(port, cut(chance, data, 4), recorder):
                    compare(theirs, exchange, data)
            errors.check()

        yield case


def compare(theirs: Any, exchange: Exchange, data: bytes) -> None:
    answer, scope = exchange.answer, normalised(exchange.scope)
    what = f"{data!r}\n    as {scope['method']} {scope['raw_path']!r} {scope['headers']}"
    if answer is None:  # the server closes the connection after a malformed request
        return
    if malformed(scope) is not None:
        expect(what, answer.status, 400)
    elif exchange.is_whole and scope["method"].isupper():
        expected = ask_flask(theirs, scope, exchange.body)
        expect(what, answer, expected)
