"""A response that cannot be sent becomes an error while it still can: no reply is empty."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from contract.apps.responses import BAD
from contract.raw import PARSERS, Connection, Parser, get, serve
from support.servers import Server


@pytest.fixture(scope="module", params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    parser: Parser = request.param
    with serve("responses:app", parser) as server:
        yield server
        assert "Exception in ASGI application" not in server.output, server.output


def check(server: Server, path: str, how: str, body: bytes) -> None:
    with Connection(server) as connection:
        connection.request(f"{path}?how={quote(how)}")
        reply = connection.reply()
        assert (reply.status, reply.body) == (500, body), reply
        assert "Set-Cookie" not in reply.headers
        connection.request("/")  # the connection is in order
        assert connection.reply().body == b"fine"


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("path", ["/view", "/view/async", "/tuple", "/after"])
def test_goes_to_the_error_handler(server: Server, path: str, how: str) -> None:
    if path == "/tuple" and "length" in how:  # set right by Werkzeug, which knows the body
        assert get(server, f"{path}?how={quote(how)}").body == b"abc"
        return
    check(server, path, how, b"the page for errors")


@pytest.mark.parametrize("how", BAD)
def test_bare_when_all_are_bad(server: Server, how: str) -> None:
    reply = get(server, f"/always?how={quote(how)}")
    assert reply.status == 500
    assert b"Internal Server Error" in reply.body or reply.body == b"the page for errors"


def test_starlette_cookie(server: Server) -> None:
    check(server, "/starlette", "", b"the page for errors")


def test_spaces_round_a_value(server: Server) -> None:
    """They are no part of it (RFC 9110 section 5.5), and h11 refuses them."""
    reply = get(server, "/spaces")
    assert (reply.status, reply.headers["X-Spaces"]) == (200, "a b")


@pytest.mark.parametrize("how", ["chunked", "gzip", "chunked&length"])
def test_transfer_encoding_is_the_servers_own(server: Server, how: str) -> None:
    with Connection(server) as connection:
        connection.request(f"/coding?how={how}")
        reply = connection.reply()
        assert (reply.status, reply.body) == (200, b"abc")
        assert reply.headers["Transfer-Encoding"] == (None if "length" in how else "chunked")
        connection.request("/")
        assert connection.reply().body == b"fine"


def test_logged(server: Server) -> None:
    before = server.output.count("X Bad")
    get(server, "/after?how=space+in+name")
    assert server.output.count("X Bad") > before
