"""A request without `Host` is a 400, within WSGI middleware too. HTTP/1.0 needs none, and
middleware may remove it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.raw import PARSERS, exchange, serve
from support.servers import Server


@pytest.fixture(scope="module", params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("host_within_middleware:app", request.param) as server:
        yield server
        assert "Traceback" not in server.output


def test_none(server: Server) -> None:
    assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").status == 400


def test_none_in_http_1_0(server: Server) -> None:
    reply = exchange(server, b"GET / HTTP/1.0\r\n\r\n")
    assert (reply.status, reply.body) == (200, f"127.0.0.1:{server.port}".encode())


def test_removed_by_the_middleware(server: Server) -> None:
    reply = exchange(server, b"GET /?remove HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert (reply.status, reply.body) == (200, f"127.0.0.1:{server.port}".encode())
