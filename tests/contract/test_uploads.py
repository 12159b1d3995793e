"""An uploaded file is what its client sent, whatever the size and pieces of the body."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.raw import PARSERS, Connection, Parser, serve
from support.servers import Server

HEAD = b'--B\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"


@pytest.fixture(scope="module", params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    parser: Parser = request.param
    with serve("uploads:app", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def body_of(size: int) -> bytes:
    """A body of *size* bytes."""
    return HEAD + b"x" * (size - len(HEAD) - len(TAIL)) + TAIL


def content_of(body: bytes) -> bytes:
    return body[len(HEAD) : -len(TAIL)]


@pytest.mark.parametrize("view", ["/sync", "/async"])
def test_size(server: Server, view: str) -> None:
    # Of 16,387 bytes, the first 16,384 end between the last two dashes of the boundary.
    with Connection(server) as connection:
        for size in range(16_384, 16_392):
            body = body_of(size)
            connection.request(view, "POST", body, "Content-Type: multipart/form-data; boundary=B")
            reply = connection.reply("POST")
            assert (reply.status, reply.body) == (200, content_of(body)), size


@pytest.mark.parametrize("view", ["/sync", "/async"])
def test_cut(server: Server, view: str) -> None:
    body = body_of(500)
    lines = "Content-Type: multipart/form-data; boundary=B", "Transfer-Encoding: chunked"
    with Connection(server) as connection:
        for cut in range(len(body) - len(TAIL), len(body)):
            connection.request(view, "POST", b"", *lines)
            for piece in (body[:cut], body[cut:]):
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
            reply = connection.reply("POST")
            assert (reply.status, reply.body) == (200, content_of(body)), cut
