"""Malformed input gets a 400 or a sensible answer: no 500, no traceback, no silence."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from asyncflask import Flask, request
from contract.raw import PARSERS, SECONDS, Connection, Parser, Reply, exchange, get, serve
from support.servers import Server

VIEWS = ["/sync", "/async"]
LONG = b"x" * 200_000


@pytest.fixture(scope="module", params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Parser:
    parser: Parser = request.param
    return parser


@pytest.fixture(scope="module")
def server(parser: Parser) -> Iterator[Server]:
    with serve("malformed:app", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def head(*lines: bytes, target: bytes = b"/sync", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""])


def post(target: bytes, kind: bytes, body: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return head(b"Host: a", b"Content-Type: " + kind, length, target=target, method=b"POST") + body


def sane(reply: Reply, *more: int) -> None:
    """400 from the server or from the app, or another answer that is allowed here."""
    assert reply.status in (400, *more), (reply.status, reply.body)


# -- Host and target: RFC 9112 section 3.2

BAD_HOSTS = [
    [],
    [b"Host: a", b"Host: b"],
    [b"Host: a", b"Host: a"],
    [b"Host:"],
    [b"Host: a b"],
    [b"Host: a/b"],
    [b"Host: a@b"],
    [b"Host: a?b"],
    [b"Host: a#b"],
    [b"Host: a\\b"],
    [b"Host: a:b"],
    [b"Host: a,b"],
    [b"Host: a:1:2"],
    [b"Host: a:99999999"],
    [b"Host: [::1"],
    [b"Host: ::1]"],
    [b"Host: \xff\xfe"],
    [b"Host: \xe2\x98\x83.example"],
    [b"Host: http://a"],
    [b"Host: a%00b"],
    [b"Host: <script>"],
    [b"Host: a..b"],
    [b"Host: .a"],
    [b"Host: " + b"a" * 64 + b".example"],
]


@pytest.mark.parametrize("view", [*VIEWS, "/nowhere", "/slash"])
@pytest.mark.parametrize("hosts", BAD_HOSTS, ids=repr)
def test_host(server: Server, hosts: list[bytes], view: str) -> None:
    reply = exchange(server, head(*hosts, target=view.encode()))
    assert reply.status == 400
    assert "Location" not in reply.headers


@pytest.mark.parametrize(
    "host", [b"a", b"a:80", b"a.example:8000", b"127.0.0.1", b"[::1]", b"[::1]:80", b"A.eXample"]
)
def test_good_host(server: Server, host: bytes) -> None:
    reply = exchange(server, head(b"Host: " + host))
    assert reply.status == 200
    assert json.loads(reply.body)["host"].lower() == host.decode().lower().removesuffix(":80")


@pytest.mark.parametrize("host", [b"my_app", b"my_app:8000", b"_a.b_", b"a "])
@pytest.mark.parametrize("view", VIEWS)
def test_host_that_flask_takes_too(server: Server, host: bytes, view: str) -> None:
    """Proxies send their upstream's name, which may have an underscore."""
    reply = exchange(server, head(b"Host: " + host, target=view.encode()))
    assert reply.status == 200
    origin = b"Origin: http://" + host.strip()
    with Connection(server) as connection:
        connection.send(handshake(b"Host: " + host, origin))
        assert b" 101 " in connection.read_until(b"\r\n")


@pytest.mark.parametrize("hosts", BAD_HOSTS, ids=repr)
def test_host_of_a_websocket(server: Server, hosts: list[bytes]) -> None:
    reply = exchange(server, handshake(*hosts))
    assert reply.status == 400


def handshake(*lines: bytes, target: bytes = b"/ws") -> bytes:
    return head(
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *lines,
        target=target,
    )


@pytest.mark.parametrize("target", [b"/sync", b"/stream"])
def test_requests_before_a_malformed_one(server: Server, target: bytes) -> None:
    """The server answers that one, closes the connection, and does not tell the first."""
    with Connection(server) as connection:
        connection.send(head(b"Host: a", target=target) * 2 + b"no request\r\n\r\n")
        connection.read_to_end()
    assert get(server, "/sync").status == 200


def test_websocket_that_breaks_the_protocol_before_its_handshake(server: Server) -> None:
    with Connection(server) as connection:
        connection.send(handshake(b"Host: a", target=b"/ws/never") + b"\x0b\x80\0\0\0\0")
        connection.read_to_end()
    assert get(server, "/sync").status == 200


def test_http_1_0_without_host(server: Server) -> None:
    reply = exchange(server, b"GET /async HTTP/1.0\r\n\r\n")
    assert reply.status == 200


@pytest.mark.parametrize(
    "target",
    [
        b"sync",
        b"@google.com",
        b"*",
        b"google.com:443",
        b"http://google.com/sync",
        b"//google.com/sync",
        b"///",
        b"?a=b",
        b"#",
        b"/sync#fragment",
        b"/\xff",
        b"/sync?\xff=\xff",
        b"/path/\xe2\x98\x83",
        b"",
        b"/sync ",
        b"/sy nc",
        b"\\sync",
    ],
    ids=lambda target: repr(target[:30]),
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"CONNECT", b"X"])
def test_target(server: Server, target: bytes, method: bytes) -> None:
    reply = exchange(server, head(b"Host: a", target=target, method=method))
    sane(reply, 200, 404, 405, 414, 308)
    if not target.startswith((b"/", b"http:")):
        assert reply.status == 400
    assert "google" not in reply.headers.get("Location", "")


@pytest.mark.parametrize("view", VIEWS)
def test_absolute_target(server: Server, parser: Parser, view: str) -> None:
    """RFC 9112 section 3.2.2: servers must accept it, and its host is that of the request. Of
    httptools uvicorn takes the path alone."""
    target = b"http://b.example:81" + view.encode() + b"?q=1"
    reply = exchange(server, head(b"Host: a", target=target))
    assert reply.status == 200
    seen = json.loads(reply.body)
    assert seen["full_path"] == f"{view}?q=1"
    assert seen["host"] == ("b.example:81" if parser == "h11" else "a")
    assert exchange(server, head(b"Host: a", target=b"HTTP://b" + view.encode())).status == 200
    sane(exchange(server, head(b"Host: a", target=b"http://b.example")), 404)
    sane(exchange(server, head(b"Host: a", target=b"http://b.example/%zz")), 404)


@pytest.mark.parametrize("target", [b"http:///sync", b"http://u@b/sync", b"http://a b/sync"])
def test_absolute_target_without_a_host(server: Server, parser: Parser, target: bytes) -> None:
    sane(exchange(server, head(b"Host: a", target=target)), *([200] * (parser == "httptools")))


@pytest.mark.parametrize("hosts", [[], [b"Host: a", b"Host: b"]])
def test_absolute_target_needs_one_host_too(server: Server, hosts: list[bytes]) -> None:
    assert exchange(server, head(*hosts, target=b"http://a/sync")).status == 400


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("method", ["get", "Get", "post", "head", "options", "delete"])
def test_method_in_small_letters(server: Server, parser: Parser, method: str, view: str) -> None:
    """It is another method (RFC 9110 section 9.1), which Werkzeug takes for the known one; and
    httptools for none. The answer is complete, so the connection goes on."""
    if parser == "httptools":
        assert get(server, view, method).status == 400
        return
    with Connection(server) as connection:
        for _ in range(2):
            connection.request(view, method, b"a=b" if method == "post" else b"")
            reply = connection.reply()  # with content, as there is for all but HEAD
            assert reply.status == (405 if method == "delete" else 200)
            assert reply.body or method == "options"


@pytest.mark.parametrize("view", VIEWS)
def test_blanks_round_a_value(server: Server, view: str) -> None:
    """They are no part of it (RFC 9110 section 5.5)."""
    lines = (b"Host: a \t", b"X-Any: \t b c \t ", b"Cookie:  d=e  ", b"User-Agent: f ")
    seen = json.loads(exchange(server, head(*lines, target=view.encode())).body)
    assert seen["headers"]["X-Any"] == "b c"
    assert (seen["cookies"], seen["user_agent"]) == ({"d": "e"}, "f")
    assert seen["headers"]["Host"] == seen["host"] == "a"


@pytest.mark.parametrize("target", [b"//google.com/slash", b"//google.com/..%2fslash"])
def test_no_redirect_to_another_host(server: Server, target: bytes) -> None:
    reply = exchange(server, head(b"Host: a", target=target))
    assert reply.status in (400, 404)


# -- encodings


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "query",
    [b"a=%ff", b"%ff=a", b"a=%", b"a=%zz", b"&&=&=", b"a=%ed%a0%80", b"a=%00", b"a=" * 500],
)
def test_query(server: Server, view: str, query: bytes) -> None:
    reply = exchange(server, head(b"Host: a", target=view.encode() + b"?" + query))
    assert reply.status == 200
    json.loads(reply.body)


@pytest.mark.parametrize("raw", [b"a=\xff", b"\xff", b"a=\xe2\x98\x83", b"a=\xed\xa0\x80"])
def test_raw_bytes_in_the_query(server: Server, raw: bytes) -> None:
    sane(exchange(server, head(b"Host: a", target=b"/async?" + raw)), 200)
    sane(exchange(server, head(b"Host: a", target=b"/sync?" + raw)), 200)
    sane(exchange(server, handshake(b"Host: a", target=b"/nowhere?" + raw)), 404)


@pytest.mark.parametrize(
    "path", [b"%ff", b"%ed%a0%80", b"%00", b"%", b"%zz", b"..%2f..", b"%2e%2e"]
)
def test_path(server: Server, path: bytes) -> None:
    reply = exchange(server, head(b"Host: a", target=b"/path/" + path))
    sane(reply, 200, 404)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "line",
    [
        b"X-Any: \xff\xfe",
        b"X-Any: \xe2\x98\x83",
        b"X-Any: " + b"x" * 60_000,
        b"Cookie: \xff=\xff",
        b"Cookie: a=\xe2\x98\x83; b",
        b"Cookie: session=\xff\xfe.x.y",
        b"Cookie: session=.eJw.x.y",
        b"Cookie: session=" + b"." * 1000,
        b'Cookie: =;;=;a="\\377\\400"',
        b'Cookie: a="\\',
        b"Accept: ;;;q=abc",
        b"Accept: text/html;q=\xff, */*;q=1e400, a/b;q=-1, a;q=nan",
        b"Accept: " + b"a/b," * 5_000,
        b"Accept-Language: \xff, ;q=",
        b"Accept-Charset: ,,,",
        b"Accept-Encoding: ;q=0",
        b"Authorization: Basic ====",
        b"Authorization: Basic gICAgA==",
        b'Authorization: Digest a="',
        b"Authorization: Digest \xff",
        b"Authorization:",
        b"Range: bytes=a-b",
        b"Range: bytes=--1",
        b"Range: bytes=9-1,-",
        b"Range: \xff",
        b"Range: bytes=" + b"9" * 5_000 + b"-",
        b"If-Range: \xff",
        b"If-Modified-Since: \xff",
        b"If-Modified-Since: Mon, 99 Foo 9999999999 99:99:99 GMT",
        b'If-None-Match: "',
        b"If-None-Match: W/\xff",
        b"Cache-Control: max-age=\xff, =,",
        b"Date: Fri, 31 Dec 99999 23:59:59 +9999",
        b"Content-Type: \xff/\xff; charset=\xff",
        b"Content-Type: multipart/form-data",
        b"Content-Type: text/plain; charset*=x'y'%ff; charset*0*=a",
        b"Content-Type: ;=;=",
        b"Content-Type: application/json; charset=no-such",
        b"X-Forwarded-For: \xff, ,",
        b"Pragma: \xff",
        b"User-Agent: \xff\x80",
        b"Expect: 100-continue",
        b"Expect: nothing",
        b"Connection: \xff",
        b"Upgrade: \xff",
        b"Connection: upgrade\r\nUpgrade: h2c",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, gzip\r\nContent-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: " + b"9" * 30,
        b"Content-Length: \xb2",
        b"no colon",
        b": no name",
        b"a b: c",
    ],
    ids=lambda line: repr(line[:50]),
)
def test_header(server: Server, view: str, line: bytes) -> None:
    data = head(b"Host: a", line, target=view.encode())
    if line.startswith((b"Content-Length", b"Transfer-Encoding")):
        # Whatever of a body it may wait for. At once: the server resets the connection when it
        # has closed it and more comes, and then its answer may be lost.
        data += b"0\r\n\r\n" * 2
    assert exchange(server, data).status < 500


def test_credentials() -> None:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: repr(request.authorization))
    reply = app.test_client().get("/", headers={"Authorization": "Basic \xff"})
    assert (reply.status_code, reply.text) == (200, "None")


def test_large_header(server: Server, parser: Parser) -> None:
    if parser == "h11":
        pytest.skip("refuses more than 64 KiB itself, by breaking the connection off")
    sane(exchange(server, head(b"Host: a", target=b"/" + LONG)), 404, 414)
    sane(exchange(server, head(b"Host: a", target=b"/sync?" + LONG)), 200, 414)
    sane(exchange(server, head(b"Host: a", b"X-Any: " + LONG)), 200, 431)
    sane(exchange(server, head(b"Host: a", b"Cookie: a=" + LONG)), 200, 431)
    sane(exchange(server, head(b"Host: a", *[b"X-%d: a" % n for n in range(3_000)])), 200, 431)


@pytest.mark.parametrize("view", VIEWS)
def test_header_with_underscore(server: Server, view: str) -> None:
    """It must not pass for the one with a hyphen, which a proxy may have set."""
    reply = exchange(
        server,
        head(b"Host: a", b"X_Real_User: evil", b"X-Real-User: good", target=view.encode()),
    )
    seen = json.loads(reply.body)
    assert seen["headers"]["X-Real-User"] == "good"
    assert seen["environ"] == 2  # with HTTP_HOST
    reply = exchange(server, head(b"Host: a", b"Content_Length: 5", target=view.encode()))
    assert json.loads(reply.body)["length"] is None


# -- bodies


@pytest.mark.parametrize("view", [b"/json/sync", b"/json/async"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b'"\xff"',
        b"\xff\xfe\xfd",
        b"\x00",
        b"1" * 5_000,
        b'"\x01"',
        b"'a'",
        b"\xff\xfe1\x002",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_json(server: Server, view: bytes, body: bytes) -> None:
    assert exchange(server, post(view, b"application/json", body)).status == 400


@pytest.mark.parametrize("view", [b"/json/sync", b"/json/async"])
def test_json_with_surrogates(server: Server, view: bytes) -> None:
    reply = exchange(server, post(view, b"application/json", rb'{"\ud800": ["\udfff"]}'))
    assert reply.status == 200
    assert reply.body.strip() == rb'{"json":{"\ud800":["\udfff"]}}'


def test_surrogates_in_an_answer(server: Server) -> None:
    reply = exchange(server, head(b"Host: a", target=b"/surrogate"))
    assert reply.status == 200
    assert json.loads(reply.body.decode()) == {"text": "a\ud800b", "\udfff": ["\udc80"]}


def test_data_that_is_no_utf_8(server: Server) -> None:
    reply = exchange(server, post(b"/data", b"text/plain", b"a\xffb\xed\xa0\x80"))
    assert reply.status == 200
    assert reply.body.decode()


@pytest.mark.parametrize("view", [b"/sync", b"/async"])
@pytest.mark.parametrize(
    "body", [b"a=\xff", b"\xff=%ff", b"=&=;", b"a=%zz", b"\x00", b"a=%ed%a0%80", b"&" * 900]
)
def test_form(server: Server, view: bytes, body: bytes) -> None:
    reply = exchange(server, post(view, b"application/x-www-form-urlencoded", body))
    sane(reply, 200)


def part(header: bytes, body: bytes = b"x") -> bytes:
    return b"--B\r\n" + header + b"\r\n\r\n" + body + b"\r\n--B--\r\n"


NAMED = b'Content-Disposition: form-data; name="a"'


@pytest.mark.parametrize("view", [b"/sync", b"/async"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--B",
        b"--B--",
        b"--B\r\n\r\n",
        b"no boundary",
        b"--B\r\n" + NAMED,
        part(b"Content-Disposition: form-data"),
        part(b"Content-Disposition: \xff"),
        part(b'Content-Disposition: form-data; name="\xff"'),
        part(b'Content-Disposition: form-data; name="a"; filename="\xff"'),
        part(b"Content-Disposition: form-data; name*=utf-8''%ff"),
        part(b"Content-Disposition: form-data; name*=no-such''%ff; filename*=x"),
        part(b"X: y"),
        part(b"no colon"),
        part(b": "),
        part(b""),
        part(NAMED, b"\xff\xfe"),
        part(NAMED + b"\r\nContent-Type: text/plain; charset=no-such", b"\xff"),
        part(NAMED + b"\r\nContent-Type: text/plain; charset=utf-16", b"\xff"),
        part(NAMED + b"\r\nContent-Type: \xff"),
        part(NAMED + b"\r\nContent-Transfer-Encoding: base64", b"!"),
        part(NAMED + b'; filename="f"\r\nContent-Length: many'),
        part(NAMED + b"\r\n folded\r\n\tagain"),
        part(NAMED + b"; x=" + b"y" * 5_000),
        part(NAMED)[:-4],
        b"\r\n" * 10_000 + part(NAMED),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_multipart(server: Server, view: bytes, body: bytes) -> None:
    sane(exchange(server, post(view, b"multipart/form-data; boundary=B", body)), 200, 413)


@pytest.mark.parametrize("view", [b"/sync", b"/async"])
@pytest.mark.parametrize("boundary", [b"", b"\xff", b'"', b'""', b"a" * 300, b"a b", b"*=x"])
def test_boundary(server: Server, view: bytes, boundary: bytes) -> None:
    kind = b"multipart/form-data; boundary=" + boundary
    sane(exchange(server, post(view, kind, part(NAMED))), 200)


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"-1\r\n", b"5\r\nab", b"ffffffffffffffffff\r\n", b"1\r\nabc\r\n", b"0\r\nX"],
)
@pytest.mark.parametrize("view", [b"/sync", b"/async", b"/data"])
def test_broken_chunks(server: Server, view: bytes, chunks: bytes) -> None:
    lines = (
        b"Host: a",
        b"Content-Type: multipart/form-data; boundary=B",
        b"Transfer-Encoding: chunked",
    )
    with Connection(server) as connection:
        connection.send(head(*lines, target=view, method=b"POST") + chunks)
    assert exchange(server, head(b"Host: a", target=b"/plain")).body == b"fine"


@pytest.mark.parametrize(
    "message", ["[" * 100_000, "NaN", "{", "", b"\xff", "1" * 5_000], ids=range(6)
)
def test_json_message(server: Server, message: str | bytes) -> None:
    with connect(f"{server.ws_url}/ws/json") as connection:
        connection.send(message)
        assert connection.recv(SECONDS) == "no JSON"
        connection.send('"fine"')
        assert json.loads(connection.recv(SECONDS)) == {"json": "fine"}
