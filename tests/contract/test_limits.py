"""Limits on bodies: exceeding one is a 413, and a client that keeps sending is cut off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asyncflask.asgi.body import SPOOL_BYTES
from contract.raw import PARSERS, Connection, Parser, Reply, get, serve, until
from support.servers import Server

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"


@pytest.fixture(scope="module", params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Parser:
    parser: Parser = request.param
    return parser


@pytest.fixture(scope="module")
def server(parser: Parser) -> Iterator[Server]:
    with serve("limits:app", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture(scope="module")
def without(parser: Parser) -> Iterator[Server]:
    """Flask's defaults."""
    with serve("limits:without", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def post(server: Server, path: str, kind: str, body: bytes, chunked: bool, *lines: str) -> Reply:
    with Connection(server) as connection:
        lines = (f"Content-Type: {kind}", *lines)
        try:
            if chunked:
                parts = [body[start : start + 5_000] for start in range(0, len(body), 5_000)]
                connection.request(path, "POST", b"", *lines, "Transfer-Encoding: chunked")
                sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
                connection.send(sent + b"0\r\n\r\n")
            else:
                connection.request(path, "POST", body, *lines)
        except ConnectionError:
            pass  # it was cut off; the reply came before that
        return connection.reply("POST")


def fields(count: int, size: int) -> bytes:
    return b"&".join(b"f%d=%b" % (n, b"x" * size) for n in range(count))


def parts(count: int, size: int, file: bytes = b"") -> bytes:
    return (
        b"".join(
            b'--B\r\nContent-Disposition: form-data; name="f%d"%b\r\n\r\n%b\r\n'
            % (n, file, b"x" * size)
            for n in range(count)
        )
        + b"--B--\r\n"
    )


def part(file: bytes) -> bytes:
    """The beginning of one."""
    return b'--B\r\nContent-Disposition: form-data; name="f"%b\r\n\r\n' % file


FILE = b'; filename="f"'
CASES = [
    ("data", "text/plain", b"x" * 300_000, b"300000"),
    ("data", "text/plain", b"x" * 300_001, None),
    ("data", "text/plain", b"x" * 1_000_000, None),
    ("stream", "text/plain", b"x" * 300_000, b"300000"),
    ("stream", "text/plain", b"x" * 300_001, None),
    ("raw", "text/plain", b"x" * 300_000, b"300000"),
    ("raw", "text/plain", b"x" * 300_001, None),
    ("json", "application/json", b"[1, 2]", b"2"),
    ("json", "application/json", b"[" + b"1," * 160_000 + b"1]", None),
    # The size of the form's memory.
    ("form", URLENCODED, fields(1, 149_997), b"1 149997 0"),
    ("form", URLENCODED, fields(1, 149_998), None),
    ("form", URLENCODED, fields(4, 50_000), None),
    ("form", MULTIPART, parts(1, 150_000), b"1 150000 0"),
    ("form", MULTIPART, parts(1, 150_001), None),
    ("form", MULTIPART, parts(1, 250_000, FILE), b"0 0 1"),
    ("form", MULTIPART, parts(1, 310_000, FILE), None),
    # How many parts.
    ("form", URLENCODED, fields(10, 1), b"10 10 0"),
    ("form", URLENCODED, fields(11, 1), None),
    ("form", MULTIPART, parts(10, 1), b"10 10 0"),
    ("form", MULTIPART, parts(11, 1), None),
    ("form", MULTIPART, parts(11, 1, FILE), None),
]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("view", "kind", "body", "expected"),
    CASES,
    ids=[f"{view}-{len(body)}-{n}" for n, (view, _, body, _) in enumerate(CASES)],
)
@pytest.mark.limit("MAX_CONTENT_LENGTH")
@pytest.mark.limit("MAX_FORM_MEMORY_SIZE")
@pytest.mark.limit("MAX_FORM_PARTS")
def test_of_the_app(
    server: Server,
    view: str,
    kind: str,
    body: bytes,
    expected: bytes | None,
    colour: str,
    chunked: bool,
) -> None:
    if view == "raw":
        colour = "async"
    reply = post(server, f"/{view}/{colour}", kind, body, chunked)
    if expected is None:
        assert (reply.status, reply.body) == (413, b"too large")
    else:
        assert (reply.status, reply.body) == (200, expected)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("view", "limit", "kind", "body", "status"),
    [
        ("data", "max_content_length=10", "text/plain", b"x" * 11, 413),
        ("data", "max_content_length=10", "text/plain", b"x" * 10, 200),
        ("data", "max_content_length=400000", "text/plain", b"x" * 400_000, 200),
        ("data", "max_content_length=none", "text/plain", b"x" * 400_000, 413),
        ("form", "max_form_memory_size=10", URLENCODED, fields(1, 10), 413),
        ("form", "max_form_memory_size=10", MULTIPART, parts(1, 11), 413),
        ("form", "max_form_memory_size=250000", URLENCODED, fields(1, 249_000), 200),
        ("form", "max_form_memory_size=250000", MULTIPART, parts(1, 249_000), 200),
        ("form", "max_form_parts=2", URLENCODED, fields(3, 1), 413),
        ("form", "max_form_parts=2", MULTIPART, parts(3, 1), 413),
        ("form", "max_form_parts=20", URLENCODED, fields(20, 1), 200),
        ("form", "max_form_parts=20", MULTIPART, parts(20, 1), 200),
    ],
    ids=range(12),
)
def test_of_the_request(
    server: Server,
    view: str,
    limit: str,
    kind: str,
    body: bytes,
    status: int,
    colour: str,
    chunked: bool,
) -> None:
    assert post(server, f"/{view}/{colour}?{limit}", kind, body, chunked).status == status


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("view", "kind", "body", "status"),
    [
        ("data", "text/plain", b"x" * 3_000_000, 200),
        ("form", URLENCODED, fields(1, 499_000), 200),
        ("form", URLENCODED, fields(1, 500_000), 413),
        ("form", MULTIPART, parts(1, 499_000), 200),
        ("form", MULTIPART, parts(1, 501_000), 413),
        ("form", MULTIPART, parts(1, 3_000_000, FILE), 200),
        ("form", URLENCODED, fields(1_001, 1), 413),
        ("form", MULTIPART, parts(1_001, 1), 413),
    ],
    ids=range(8),
)
def test_defaults(
    without: Server, view: str, kind: str, body: bytes, status: int, colour: str
) -> None:
    assert post(without, f"/{view}/{colour}", kind, body, chunked=False).status == status


ENOUGH = 200_000_000
"""What a client tries to send, far more than all buffers on the way take."""


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("view", "kind", "start"),
    [
        ("data", "text/plain", b""),
        ("stream", "text/plain", b""),
        ("raw", "text/plain", b""),
        ("json", "application/json", b""),
        ("form", URLENCODED, b"f="),
        ("form", MULTIPART, part(b"")),
        ("form", MULTIPART, part(FILE)),
    ],
    ids=["data", "stream", "raw", "json", "urlencoded", "multipart", "file"],
)
def test_cut_off(
    server: Server, view: str, kind: str, start: bytes, colour: str, chunked: bool
) -> None:
    if view == "raw":
        colour = "async"
    assert_cut_off(server, f"/{view}/{colour}", kind, start, chunked)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART], ids=["urlencoded", "multipart"])
def test_form_is_cut_off_by_default(
    without: Server, kind: str, colour: str, chunked: bool
) -> None:
    start = b"f=" if kind == URLENCODED else part(b"")
    assert_cut_off(without, f"/form/{colour}", kind, start, chunked)


def assert_cut_off(server: Server, path: str, kind: str, start: bytes, chunked: bool) -> None:
    with Connection(server, small_buffers=True) as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {ENOUGH}"
        connection.request(path, "POST", b"", f"Content-Type: {kind}", length)
        piece = b"x" * 65_536
        if chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            start = b"%x\r\n%b\r\n" % (len(start), start) if start else b""
        connection.send(start)
        sent = 0
        try:
            while sent < ENOUGH:
                connection.send(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        assert sent < 16_000_000
        assert connection.reply("POST").status == 413


# -- what is received, and when


@pytest.fixture(scope="module")
def guarded(parser: Parser) -> Iterator[Server]:
    with serve("limits:guarded", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture(scope="module")
def unlimited(parser: Parser) -> Iterator[Server]:
    with serve("limits:unlimited", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


LOGGED_IN = "Authorization: Bearer x"
SMALL = 65_536


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("line", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_async_hook_refuses_by_the_headers(guarded: Server, line: str, colour: str) -> None:
    with Connection(guarded) as connection:
        connection.request(f"/plain/{colour}", "POST", b"", line)
        assert connection.reply("POST").status == 401


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("line", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_unread_body_is_left_alone(unlimited: Server, line: str, colour: str) -> None:
    if colour == "async" and "chunked" in line:
        pytest.skip("up to its limit it is received, for the view may read it")
    with Connection(unlimited) as connection:
        connection.request(f"/ignore/{colour}", "POST", b"", line, LOGGED_IN)
        connection.send(b"%x\r\n%b\r\n" % (SMALL + 1, b"x" * (SMALL + 1)))
        assert connection.reply("POST").body == b"ignored"


@pytest.mark.limit("ASYNC_MAX_CONTENT_LENGTH")
def test_unread_body_does_not_fill_the_disk(unlimited: Server) -> None:
    with Connection(unlimited) as connection:
        connection.request("/ignore/async", "POST", b"", "Transfer-Encoding: chunked", LOGGED_IN)
        piece = b"x" * 100_000
        for _ in range(15):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        until(lambda: spooled(unlimited) > 1_000_000)
        for _ in range(10):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert connection.reply("POST").body == b"ignored"
    until(lambda: spooled(unlimited) < 1_000_000)


@pytest.mark.limit("SPOOL_BYTES")
def test_longer_body_goes_to_a_file(unlimited: Server) -> None:
    before = spooled(unlimited)
    with Connection(unlimited) as connection:
        length = "Content-Length: 1900000"
        connection.request(
            "/plain/async", "POST", b"", length, "Content-Type: text/plain", LOGGED_IN
        )
        connection.send(b"x" * SPOOL_BYTES)
        assert spooled(unlimited) == before
        connection.send(b"x" * 100_000)
        until(lambda: spooled(unlimited) > before + 1_000_000)
        connection.send(b"x" * (1_800_000 - SPOOL_BYTES))
        assert connection.reply("POST").body == b"1900000"
    until(lambda: spooled(unlimited) == before)


def spooled(server: Server) -> int:
    return int(get(server, "/spooled", "GET", b"", LOGGED_IN).body)


@pytest.mark.limit("ASYNC_MAX_CONTENT_LENGTH")
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_async_view_without_a_limit_of_its_own(unlimited: Server, chunked: bool) -> None:
    for size, status in ((2_000_000, 200), (2_000_001, 413)):
        body = b"x" * size
        reply = post(unlimited, "/plain/async", "text/plain", body, chunked, LOGGED_IN)
        assert reply.status == status
    assert "The async view of 'plain_async' read a body that was not" in unlimited.output
    assert "Write 'max_content_length=' on the route" in unlimited.output
    reply = post(unlimited, "/plain/sync", "text/plain", body, chunked, LOGGED_IN)
    assert reply.body == b"2000001"


@pytest.mark.limit("SMALL_BODY_BYTES")
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_async_hook_reads_a_small_body(unlimited: Server, colour: str) -> None:
    path = f"/plain/{colour}?hook=reads"
    reply = post(unlimited, path, "text/plain", b"x" * SMALL, False)
    assert reply.body == b"65536"
    assert post(unlimited, path, "text/plain", b"x" * (SMALL + 1), False).status == 413
    assert post(unlimited, path, "text/plain", b"x", True).status == 411
    assert "Make that function 'def', or read the body in the view." in unlimited.output


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("path", ["/app/sync", "/app/async", "/part/sync", "/part/async"])
def test_limit_of_a_route(guarded: Server, path: str, chunked: bool) -> None:
    for size, status in ((200_000, 200), (200_001, 413)):
        reply = post(guarded, path, "text/plain", b"x" * size, chunked, LOGGED_IN)
        assert reply.status == status


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_limit_that_the_view_sets(guarded: Server, colour: str, chunked: bool) -> None:
    for limit, size, status in ((10, 10, 200), (10, 11, 413), (5_000, 5_000, 200)):
        path = f"/plain/{colour}?limit={limit}"
        reply = post(guarded, path, "text/plain", b"x" * size, chunked, LOGGED_IN)
        assert reply.status == status


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_limit_that_a_hook_raises(guarded: Server, colour: str, chunked: bool) -> None:
    path = f"/plain/{colour}?hook=raises the limit".replace(" ", "%20")
    for size, status in ((300_000, 200), (300_001, 413)):
        reply = post(guarded, path, "text/plain", b"x" * size, chunked, LOGGED_IN)
        assert reply.status == status


# -- what takes long


@pytest.mark.limit("PATH_LENGTH")
def test_path_with_two_placeholders_of_any_length(unlimited: Server) -> None:
    head = "/two/"
    for length, status in ((4_096, 200), (4_097, 414), (60_000, 414)):
        target = (head + "a/" * length)[: length - 1] + "x"
        assert get(unlimited, target, "GET", b"", LOGGED_IN).status == status


@pytest.mark.limit("BOUNDARY_LENGTH")
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_boundary(unlimited: Server, colour: str) -> None:
    for length, names in ((256, b"f"), (257, b""), (50_000, b"")):
        boundary = "B" * length
        body = parts(1, 1).replace(b"--B", b"--" + boundary.encode()).replace(b"f0", b"f")
        kind = f"multipart/form-data; boundary={boundary}"
        reply = post(unlimited, f"/fields/{colour}", kind, body, False, LOGGED_IN)
        assert (reply.status, reply.body) == (200, names)
